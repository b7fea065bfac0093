"""Readers that can only go forward, kept open from one image or shard to the next."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar


class Forward(Protocol):
    """Something that reads on from ``position``."""

    position: int

    def skip_to(self, position: int) -> None: ...

    def close(self) -> None: ...


Reader = TypeVar("Reader", bound=Forward)

_lock = threading.Lock()
_kept: tuple[int, Hashable, Forward] | None = None


@contextmanager
def read_from(position: int, key: Hashable, open_: Callable[[], Reader]) -> Iterator[Reader]:
    """A reader of ``key`` at ``position``: the one this process used last if it has not gone past it, or a new one.

    So images in ascending order take one pass through data that cannot be read from the middle. One reader is kept.
    After a fork it is not used, since two processes would share its place in the file. ``key`` changes with the
    content of the file.
    """
    reader = _take(position, key)
    if reader is None:
        reader = open_()
    try:
        reader.skip_to(position)
        yield reader  # type: ignore[misc]  # what was kept under this key is of this type
    except GeneratorExit:  # enough was read; the reader is as good as before
        _keep(key, reader)
        raise
    except BaseException:
        reader.close()
        raise
    _keep(key, reader)


def _take(position: int, key: Hashable) -> Forward | None:
    global _kept
    with _lock:
        if _kept is None or _kept[:2] != (os.getpid(), key) or _kept[2].position > position:
            return None
        reader, _kept = _kept[2], None
    return reader


def _keep(key: Hashable, reader: Forward) -> None:
    global _kept
    with _lock:
        before, _kept = _kept, (os.getpid(), key, reader)
    if before is not None and before[0] == os.getpid():
        before[2].close()
