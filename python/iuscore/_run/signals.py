"""Ctrl-C and SIGTERM during a long run: delay the signal until the state is consistent."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@contextmanager
def deferred_interrupts(*, repeated: bool = False) -> Iterator[None]:
    """Delay Ctrl-C until the end of the block, so that the block is never interrupted halfway.

    SIGTERM is delayed too where `sigterm_as_interrupt` handles it. The block should take milliseconds: a second Ctrl-C
    interrupts it, unless ``repeated`` is set. ``repeated`` is for work that cannot be repeated after an interruption:
    imports, and the start of processes. Outside the main thread, which alone receives signals, nothing changes.

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

    def record(number: int, frame: FrameType | None) -> None:
        caught.append((number, frame))
        if not repeated:
            restore()

    for number in before:
        signal.signal(number, record)
    try:
        yield
    finally:
        restore()
        if caught:
            received, frame = caught[0]
            before[signal.Signals(received)](received, frame)


@dataclass
class Termination:
    """Whether SIGTERM ended a block."""

    terminated: bool = False


@contextmanager
def sigterm_as_interrupt() -> Iterator[Termination]:
    """Treat SIGTERM, with which schedulers end a job, like Ctrl-C; yields a `Termination` that records it.

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
