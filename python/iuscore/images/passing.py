"""Which failures are passing: caused by the machine and not by the file, so that reading again may succeed."""

from __future__ import annotations

import errno

# Errors of the system that a damaged file causes, by sending a reader to a place that no file has.
_OF_THE_CONTENT = {errno.EINVAL, errno.EOVERFLOW}


def is_passing(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, may be gone the next time: rights, disk, network, memory, an extra.

    Example:
        >>> is_passing(PermissionError(errno.EACCES, "Permission denied")), is_passing(ValueError("damaged"))
        (True, False)
    """
    while error is not None:
        if getattr(error, "passing", False) or isinstance(error, MemoryError | ImportError):
            return True
        # Pillow and pyarrow raise OSErrors without a number, about what they read.
        if isinstance(error, OSError) and error.errno is not None and error.errno not in _OF_THE_CONTENT:
            return True
        error = error.__cause__
    return False
