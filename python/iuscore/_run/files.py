"""Write files in one atomic write, and remove folders that stay empty."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from iuscore._run.regular_files import not_a_file
from iuscore.errors import UserError

TEMPORARY_SUFFIX = ".tmp"
"""End of the hidden names that `atomic_write` uses."""

_DISK_ERRORS = {
    getattr(errno, name, 0)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO")  # Windows has no EDQUOT
}


def is_disk_error(error: OSError) -> bool:
    """Whether the disk caused an error that the user can mend: full, over quota, read-only, no permission, broken.

    Example:
        >>> is_disk_error(OSError(errno.ENOSPC, "No space left on device")), is_disk_error(FileNotFoundError())
        (True, False)
    """
    return bool(error.errno) and error.errno in _DISK_ERRORS


@contextmanager
def disk_errors_as_user_errors(message: Callable[[OSError], str]) -> Iterator[None]:
    """Turn a disk error in the block into a `UserError` with the text that ``message`` returns.

    Example:
        >>> with disk_errors_as_user_errors(lambda error: f"cannot write: {error.strerror}"):
        ...     raise OSError(errno.ENOSPC, "No space left on device")
        Traceback (most recent call last):
        ...
        iuscore.errors.UserError: cannot write: No space left on device
    """
    try:
        yield
    except OSError as error:
        if not is_disk_error(error):
            raise
        raise UserError(message(error)) from error


@contextmanager
def output_folder(folder: Path, *inside: str) -> Iterator[None]:
    """Make ``folder`` and the sub-folders ``inside`` it; after the block, remove the ones that are empty.

    Folders outside ``inside`` that existed before stay, even if they are empty.

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
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """An atomic write: a temporary file that is synchronized and renamed to ``path`` when the block ends.

    The temporary file has a hidden name. If the block raises, it is removed, and ``path`` stays unchanged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with atomic_write(Path(root, "a.txt")) as file:
        ...         _ = file.write(b"all of it")
        ...     Path(root, "a.txt").read_text()
        'all of it'
    """
    if (actual := not_a_file(path)) is not None:
        raise OSError(errno.EINVAL, f"expected a file to replace, got {actual}", str(path))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        try:
            with open(temporary, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            # Report ``path``, not the hidden name; an error of a full disk has no name.
            if error.filename in (None, str(temporary)):
                error.filename = str(path)
            raise
        try:
            os.replace(temporary, path)
        except FileNotFoundError:  # another process finished the run and removed this temporary file
            if not path.exists():
                raise
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":
        # The new name is on the disk once the folder is synchronized; network file systems that refuse do not need it.
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            with suppress(OSError):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Write plain dicts, lists and values as indented JSON, in one atomic write.

    Raises:
        ValueError: a number is not finite. OSError: the file cannot be written.
    """
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_write(path) as file:
        file.write(text.encode())
