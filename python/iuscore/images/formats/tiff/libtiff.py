"""libtiff prints what it finds wrong on standard error; in here it prints nothing: an image has its reason."""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_users = 0
_before: int | None = None


@functools.cache
def _set_handler() -> Any:
    """``TIFFSetErrorHandler`` of the libtiff that Pillow is linked to; None where it cannot be found, as on Windows."""
    from PIL import _imaging

    try:
        found = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    except (AttributeError, OSError):
        return None
    found.argtypes, found.restype = [ctypes.c_void_p], ctypes.c_void_p
    return found


@contextmanager
def silent() -> Iterator[None]:
    """Take libtiff's handler of errors away while one thread or several are inside, and put it back after the last."""
    global _before, _users
    set_handler = _set_handler()
    if set_handler is None:
        yield
        return
    with _lock:
        if _users == 0:
            _before = set_handler(None)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                set_handler(_before)
