"""How a long run ends: Ctrl-C waits for a consistent state, files are there as a whole, no empty folders are left."""

from __future__ import annotations

import errno
import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from iuscore.errors import UserError
from iuscore.regular_files import not_a_file


@contextmanager
def uninterrupted(*, always: bool = False) -> Iterator[None]:
    """Put off Ctrl-C until the block is done, so that it never finds a result half counted.

    And SIGTERM, where it is taken for one (`terminated_as_interrupted`). For blocks of milliseconds: a second Ctrl-C
    does not wait, unless ``always``. That is for what cannot be done again
    once it was broken off: imports, and the start of processes. Outside the main thread, where no signal arrives,
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
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in handlers.items() if callable(handler)}
    if threading.current_thread() is not threading.main_thread() or not before:
        yield
        return
    caught: list[tuple[int, FrameType | None]] = []

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        caught.append((number, frame))
        if not always:
            restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield
    finally:
        restore()
        if caught:
            first, frame = caught[0]
            before[signal.Signals(first)](first, frame)


@dataclass
class Ended:
    """Whether SIGTERM ended a block."""

    terminated: bool = False


@contextmanager
def terminated_as_interrupted() -> Iterator[Ended]:
    """SIGTERM, by which schedulers end a job, as if it were Ctrl-C; what is yielded says whether it came.

    Example:
        >>> try:
        ...     with terminated_as_interrupted():
        ...         signal.raise_signal(signal.SIGTERM)
        ... except KeyboardInterrupt:
        ...     print("in good order")
        in good order
    """
    ended = Ended()
    if threading.current_thread() is not threading.main_thread():
        yield ended
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        ended.terminated = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield ended
    finally:
        signal.signal(signal.SIGTERM, before)


_REFUSALS = {
    getattr(errno, name, 0)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO")  # Windows has no EDQUOT
}


def refused_by_disk(error: OSError) -> bool:
    """Whether the disk or its rights are the reason, which the user can mend: full, over quota, read-only, broken.

    Example:
        >>> refused_by_disk(OSError(errno.ENOSPC, "No space left on device")), refused_by_disk(FileNotFoundError())
        (True, False)
    """
    return bool(error.errno) and error.errno in _REFUSALS


@contextmanager
def refusals_in_words(words: Callable[[OSError], str]) -> Iterator[None]:
    """Raise a `UserError` of these words where the disk or its rights refuse something.

    Example:
        >>> with refusals_in_words(lambda error: f"cannot write: {error.strerror}"):
        ...     raise OSError(errno.ENOSPC, "No space left on device")
        Traceback (most recent call last):
        ...
        iuscore.errors.UserError: cannot write: No space left on device
    """
    try:
        yield
    except OSError as error:
        if not refused_by_disk(error):
            raise
        raise UserError(words(error)) from error


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


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of ``path`` when the block ends, as a whole and on the disk.

    Until then it has a hidden name of its own; where the block raises it is removed and ``path`` stays as it was.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with replacing(Path(root, "a.txt")) as file:
        ...         _ = file.write(b"all of it")
        ...     Path(root, "a.txt").read_text()
        'all of it'
    """
    if (kind := not_a_file(path)) is not None:
        raise OSError(errno.EINVAL, f"expected a file to replace, got {kind}", str(path))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        try:
            with open(temporary, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if error.filename in (None, str(temporary)):  # a full disk names no file, and the hidden one is of no use
                error.filename = str(path)
            raise
        try:
            os.replace(temporary, path)
        except FileNotFoundError:  # another process found all done, and removed what seemed left over
            if not path.exists():
                raise
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":
        # The new name is on the disk only when the folder is; some network file systems refuse, and need it not.
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            with suppress(OSError):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


TEMPORARY = ".tmp"
"""How the hidden names of `replacing` end."""
