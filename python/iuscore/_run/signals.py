"""Ctrl-C and SIGTERM during a long run: the signal waits for a consistent state."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@contextmanager
def deferred_interrupts(*, repeated: bool = False) -> Iterator[None]:
    """Put off Ctrl-C until the block is done, so that it never finds a result half counted.

    And SIGTERM, where it is taken for one (`sigterm_as_interrupt`). For blocks of milliseconds: a second Ctrl-C
    does not wait, unless ``repeated``. That is for what cannot be done again
    once it was broken off: imports, and the start of processes. Outside the main thread, where no signal arrives,
    nothing is changed.

    Example:
        >>> done = []
        >>> try:
        ...     with deferred_interrupts():
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
        if not repeated:
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
class Termination:
    """Whether SIGTERM ended a block."""

    terminated: bool = False


@contextmanager
def sigterm_as_interrupt() -> Iterator[Termination]:
    """SIGTERM, by which schedulers end a job, as if it were Ctrl-C; what is yielded says whether it came.

    Example:
        >>> try:
        ...     with sigterm_as_interrupt():
        ...         signal.raise_signal(signal.SIGTERM)
        ... except KeyboardInterrupt:
        ...     print("in good order")
        in good order
    """
    ended = Termination()
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
