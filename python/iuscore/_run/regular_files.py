"""Open regular files only: a named pipe or a device under the given path would block for ever."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def not_a_file(path: Path) -> str | None:
    """What is at a path instead of a file, in words; None where there is a regular file, or nothing.

    Example:
        >>> not_a_file(Path("/dev/null")), not_a_file(Path("/"))
        ('a device', 'a folder')
    """
    try:
        return _kind_of(path.stat().st_mode)
    except (OSError, ValueError):
        return None


def regular_only(path: str, flags: int) -> int:
    """An ``opener`` for `open` that opens regular files, and links to regular files, only.

    Opening a named pipe would wait for a writer, and a device such as ``/dev/zero`` never ends.

    Raises:
        OSError: the path is no regular file, and ``strerror`` says what it is; or an error of `os.open`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     try:
        ...         open(folder, "rb", opener=regular_only)
        ...     except OSError as error:
        ...         error.strerror
        'expected a file, got a folder'
    """
    _require_file(path, os.stat(path).st_mode)
    # O_NONBLOCK: if a named pipe has replaced the file meanwhile, opening it does not wait.
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    try:
        _require_file(path, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_file(path: str, mode: int) -> None:
    if (actual := _kind_of(mode)) is not None:
        # EINVAL counts as a permanent error; errors that the machine caused are transient and tried again.
        raise OSError(errno.EINVAL, f"expected a file, got {actual}", path)


def _kind_of(mode: int) -> str | None:
    if stat.S_ISREG(mode):
        return None
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "a device")
