"""Which files of a folder count as images, what they are called, and what is said where there are none."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from iuscore._run.regular_files import regular_only
from iuscore.errors import UserError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".pgm", ".ppm", ".pnm", ".dcm")
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}

NAMED = 5
"""Number of files other than images that a message names; the rest are counted."""

_IMAGES_A_BYTE, _FEW_IMAGES = 8, 1 << 16

_BEGINNING = 132
_SIGNATURES = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF87a",
    b"GIF89a",
    b"II*\0",
    b"MM\0*",
    b"II+\0",
    b"MM\0+",
    b"\xff\x4f\xff\x51",
    b"\0\0\0\x0cjP  \r\n\x87\n",
)
_SYSTEM_FILES = {"thumbs.db", "desktop.ini", "__macosx"}


def is_image_name(name: str) -> bool:
    """Whether the extension, in any case, is that of an image.

    Example:
        >>> is_image_name("a.PNG"), is_image_name("a.png.txt")
        (True, False)
    """
    return name.lower().endswith(EXTENSIONS)


def is_image_file(path: str | Path, by_content: bool) -> bool:
    """Whether the name is that of an image or, where asked ``by_content``, the file begins as one.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "IM0001").write_bytes(bytes(128) + b"DICM")
        ...     is_image_file(f"{folder}/IM0001", False), is_image_file(f"{folder}/IM0001", True)
        (False, True)
    """
    if is_image_name(os.fspath(path)):
        return True
    if not by_content:
        return False
    try:
        with open(path, "rb", opener=regular_only) as stream:
            return begins_as_image(stream.read(_BEGINNING))
    except OSError:
        return False


def begins_as_image(head: bytes) -> bool:
    """Whether a file that begins with ``head``, 132 bytes or all there are, is an image of a format that is decoded.

    Example:
        >>> begins_as_image(b"P5 2 1 255 ab"), begins_as_image(b"Patient")
        (True, False)
    """
    if head[128:132] == b"DICM" or head.startswith(_SIGNATURES):
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    if head[:2] == b"BM":  # two fields that are always 0
        return head[6:10] == bytes(4)
    return re.match(rb"P[1-6]\s", head) is not None


def most_images(n_bytes: int) -> int:
    """The number of images above which an archive of ``n_bytes`` is refused, since each would be a row of a run.

    A table that holds a repeated image once needs as little as one bit for each of its rows.

    Example:
        >>> most_images(100_000)
        865536
    """
    return _IMAGES_A_BYTE * n_bytes + _FEW_IMAGES


def is_passed_over(name: str) -> bool:
    """Whether a file is hidden, or one that file managers leave behind: neither read nor counted."""
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; most file systems tell with the listing, without another call."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def uid_of(name: str) -> str:
    """``name`` as UTF-8: names that are not could not be written to a table.

    Example:
        >>> print(uid_of("caf\\udce9.png"))
        caf\\xe9.png
    """
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")


def looked_for() -> str:
    return ", ".join(f"*{extension}" for extension in EXTENSIONS)


def nothing_found(path: Path, n_others: int, others: Sequence[str], by_content: bool = False) -> str:
    found = f"found {counted(n_others, 'other file')} such as {others[0]}" if n_others else "found no files"
    wanted = "files that begin as images" if by_content else looked_for()
    return f"no images in {path}: looked for {wanted}; {found}"


def require_image_file(path: Path, by_content: bool) -> None:
    """Raise a UserError where ``path`` is no image file."""
    if not path.exists():
        raise UserError(nothing_there(path))
    if not path.is_file() or not is_image_file(path, by_content):
        raise UserError(f"{path} is no image file: looked for {looked_for()}")


def nothing_there(path: Path) -> str:
    return f"no such file or folder: {path}"


def beside_class_folders(path: Path, loose: Sequence[str], classes: Sequence[str]) -> str:
    more = f" (and {len(loose) - 1} more)" if len(loose) > 1 else ""
    return f"{loose[0]}{more} lies in {path} beside the class folders {', '.join(classes)}: move it into one of them"


def no_class_folders(path: Path) -> str:
    return f"no class folders in {path}: its images lie in no sub-folder"


def are_splits(names: Sequence[str]) -> bool:
    """Whether folders are the parts of a data set rather than its classes: all named so, or by different parts.

    Example:
        >>> are_splits(["real_train", "real_val", "synthetic"]), are_splits(["test_negative", "test_positive"])
        (True, False)
    """
    parts = [parts_in(name) for name in names]
    return len(set().union(*parts)) > 1 or (bool(names) and {name.lower() for name in names} <= set(SPLIT_NAMES))


def part_of(name: str) -> str | None:
    """The part of a data set that the name of an archive tells, ``"train"``, ``"val"`` or ``"test"``.

    None where it tells none, or several.

    Example:
        >>> [part_of(name) for name in ("data/train-00000-of-00002.parquet", "cells-valid-01.tar", "a.tar")]
        ['train', 'val', None]
    """
    found = parts_in(name.rpartition(".")[0])
    return found.pop() if len(found) == 1 else None


def parts_in(name: str) -> set[str]:
    """The parts of a data set that words of ``name`` stand for."""
    return {SPLIT_NAMES[word] for word in re.split(r"[\W_]+", name.lower()) if word in SPLIT_NAMES}


def splits_not_classes(path: Path, present: Sequence[str]) -> str:
    return f"{path} holds {', '.join(present)}: these are splits, not classes; give --split, or one of them"


def counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
