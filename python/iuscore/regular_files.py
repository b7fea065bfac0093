"""Opening files that others name, without waiting for ever where the name is that of something else."""

from __future__ import annotations

import errno
import os
import stat

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)


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
        'a folder, not a file'
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "something else")
        # Of this number, a failure is about what is there and not about the machine, which may be mended.
        raise OSError(errno.EINVAL, f"{kind}, not a file", path)
    # Should the file have been replaced by a named pipe meanwhile, opening that does not wait.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
