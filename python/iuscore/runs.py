"""How a long run ends: Ctrl-C waits for a consistent state, and a run that fails leaves no empty folders."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off Ctrl-C until the block is done, so that it never finds a result half counted.

    For blocks of milliseconds. A second Ctrl-C does not wait. Outside the main thread, where no signal arrives,
    nothing is changed.

    Example:
        >>> done = []
        >>> try:
        ...     with uninterrupted():
        ...         signal.raise_signal(signal.SIGINT)
        ...         done.append("all of it")
        ... except KeyboardInterrupt:
        ...     print(done)
        ['all of it']
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    caught: list[tuple[int, FrameType | None]] = []

    def note(number: int, frame: FrameType | None) -> None:
        caught.append((number, frame))
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if caught:
            before(*caught[0])


@contextmanager
def output_folder(folder: Path, *inside: str) -> Iterator[None]:
    """Make ``folder`` and folders ``inside`` it; in the end remove those that the block left empty.

    A folder that was there before stays, but for those ``inside``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with output_folder(Path(root, "a", "b"), "c"):
        ...         made = Path(root, "a", "b", "c").is_dir()
        ...     made, Path(root, "a").exists()
        (True, False)
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    working = [folder / name for name in inside]
    try:
        for path in (folder, *working):
            path.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for path in (*working, *made):
            with suppress(OSError):  # rmdir refuses a folder that holds something
                path.rmdir()
