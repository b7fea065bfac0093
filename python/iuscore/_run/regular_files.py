"""Opening files that others name, without waiting for ever where the name is that of something else."""

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
    """What lies at a path in the place of a file, in words; None where there is a file, or nothing.

    Example:
        >>> not_a_file(Path("/dev/null")), not_a_file(Path("/"))
        ('a device', 'a folder')
    """
    try:
        return _kind_of(path.stat().st_mode)
    except (OSError, ValueError):
        return None


def regular_only(path: str, flags: int) -> int:
    """The ``opener`` of `open` that takes files, and links to files, alone.

    To open a named pipe waits for someone to write, and a device such as ``/dev/zero`` has no end.

    Raises:
        OSError: anything else, which its ``strerror`` names; or as of `os.open`.

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
    # Should the file have been replaced by a named pipe meanwhile, opening that does not wait.
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    try:
        _require_file(path, os.fstat(descriptor).st_mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_file(path: str, mode: int) -> None:
    if (kind := _kind_of(mode)) is not None:
        # Of this number, a failure is about what is there and not about the machine, which may be mended.
        raise OSError(errno.EINVAL, f"expected a file, got {kind}", path)


def _kind_of(mode: int) -> str | None:
    if stat.S_ISREG(mode):
        return None
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "a device")
