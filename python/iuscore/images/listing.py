"""Which files of a folder count as images, what they are called, and what is said where there are none."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".pgm", ".ppm", ".pnm", ".dcm")
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}

_SYSTEM_FILES = {"thumbs.db", "desktop.ini", "__macosx"}


def is_image_name(name: str) -> bool:
    """Whether the extension, in any case, is that of an image.

    Example:
        >>> is_image_name("a.PNG"), is_image_name("a.png.txt")
        (True, False)
    """
    return name.lower().endswith(EXTENSIONS)


def is_passed_over(name: str) -> bool:
    """Hidden files, and what file managers leave behind."""
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def kind_of(entry: os.DirEntry[str]) -> Literal["folder", "file", "other"]:
    try:
        mode = entry.stat().st_mode
    except OSError:
        # A link to nothing is listed as a file, so that reading it says what is wrong.
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    # Opening a named pipe would wait for ever.
    return "file" if stat.S_ISREG(mode) else "other"


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; without a call to the system where listing told already."""
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


def nothing_found(path: Path, n_others: int, example: str | None) -> str:
    found = f"found {counted(n_others, 'other file')} such as {example}" if n_others else "found no files"
    return f"no images in {path}: looked for {looked_for()}; {found}"


def nothing_there(path: Path) -> str:
    return f"no such file or folder: {path}"


def no_image_file(path: Path) -> str:
    return f"{path} is no image file: looked for {looked_for()}"


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
    parts = [{SPLIT_NAMES[word] for word in re.split(r"[\W_]+", name.lower()) if word in SPLIT_NAMES} for name in names]
    return len(set().union(*parts)) > 1 or (bool(names) and {name.lower() for name in names} <= set(SPLIT_NAMES))


def splits_not_classes(path: Path, present: Sequence[str]) -> str:
    return f"{path} holds {', '.join(present)}: these are splits, not classes; open one of them"


def counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
