"""Image files in a folder as a list, and which class each belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from iuscore.errors import UserError
from iuscore.images.decoded import MAX_PIXELS
from iuscore.images.listing import (
    are_splits,
    beside_class_folders,
    no_class_folders,
    require_image_file,
    splits_not_classes,
)
from iuscore.images.sample import Source
from iuscore.images.sources.base import LabelsFrom
from iuscore.images.sources.folder import DERIVED_CLASS, FolderShards
from iuscore.images.sources.listed import checked_classes, entries_of, labels_of


class FolderSource(Source):
    """The image files of a folder and all folders below it, or one image file.

    Files are told by their extension, in any case: png jpg jpeg bmp tif tiff webp gif pgm ppm pnm dcm.
    Hidden files and what file managers leave behind (``Thumbs.db``) are passed over; other files are
    counted in ``ignored``. Links to files and folders are followed; one that leads back into a folder
    above itself is not.

    Args:
        path: folder or image file.
        labels_from: ``"folder"``: the first folder below ``path`` is the class. ``"prefix"``: the file
            name begins with the class; the longest of ``classes`` wins, in any case; without ``classes``
            all names must look like ``benign_17.png``. ``"auto"``: by folder if the images lie in folders,
            else by prefix, and there must be two classes or more. None: no labels.
        classes: classes to take. By folder, others are left out (``left_out``); by prefix, a file of
            another class is an error.
        max_pixels: larger images are refused.
        by_content: files of any name are images if they begin as one, such as DICOM files named ``IM0001``.

    Raises:
        UserError: no such path, no images, an image beside class folders, a class without images.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("benign_1.pgm", "benign_2.pgm", "malignant_1.pgm", "malignant_2.pgm"):
        ...         _ = Path(root, name).write_bytes(b"P5 1 1 255 0")
        ...     source = FolderSource(root, labels_from="auto")
        ...     source.classes, source.read(2).label
        (('benign', 'malignant'), 'malignant')
    """

    def __init__(
        self,
        path: str | Path,
        *,
        labels_from: LabelsFrom | None = None,
        classes: Sequence[str] | None = None,
        max_pixels: int = MAX_PIXELS,
        by_content: bool = False,
    ) -> None:
        if labels_from not in ("auto", "folder", "prefix", None):
            raise UserError(f"labels_from: expected auto, folder, prefix or None, got {labels_from!r}")
        path = Path(path)
        if not path.is_dir():
            require_image_file(path, by_content)
        reader = FolderShards(path, max_pixels=max_pixels, by_content=by_content)
        items = entries_of(reader)
        uids = [item.uid for item in items]
        wanted = checked_classes(classes)
        labels: dict[str, str] | None = None
        if labels_from is not None and path.is_dir():
            by = _detect(uids, wanted) if labels_from == "auto" else labels_from
            labels = (_by_folder if by == "folder" else _by_prefix)(path, uids, wanted)
            if labels_from == "auto":
                _require_two(path, labels, by)
        super().__init__(
            path,
            [replace(item, label=labels[item.uid]) for item in items if item.uid in labels] if labels else items,
            max_pixels=max_pixels,
            ignored=reader.ignored,
            ignored_names=tuple(reader.ignored_names),
            left_out=_left_out(reader.folders(), labels) if labels is not None else (),
        )


def _detect(uids: Sequence[str], wanted: tuple[str, ...] | None) -> Literal["folder", "prefix"]:
    heads = {uid.split("/")[0].casefold() for uid in uids if "/" in uid}
    if not heads:
        return "prefix"
    return "folder" if wanted is None or heads & {name.casefold() for name in wanted} else "prefix"


def _by_folder(path: Path, uids: Sequence[str], wanted: tuple[str, ...] | None) -> dict[str, str]:
    heads = {uid: uid.split("/")[0] for uid in uids if "/" in uid}
    present = sorted(set(heads.values()))
    if not present:
        raise UserError(no_class_folders(path))
    loose = sorted(uid for uid in uids if "/" not in uid)
    if loose:
        raise UserError(beside_class_folders(path, loose, present))
    if wanted is None:
        if are_splits(present):
            raise UserError(splits_not_classes(path, present))
        return heads
    names = labels_of(path, present, wanted)
    return {uid: names[head] for uid, head in heads.items() if head in names}


def _by_prefix(path: Path, uids: Sequence[str], wanted: tuple[str, ...] | None) -> dict[str, str]:
    names = {uid: uid.split("/")[-1] for uid in uids}
    if wanted is None:
        return _derived(path, names)
    longest_first = sorted(wanted, key=len, reverse=True)
    labels = {}
    strangers = []
    for uid, name in sorted(names.items()):
        fits = [c for c in longest_first if name.casefold().startswith(c.casefold())]
        if fits:
            labels[uid] = fits[0]
        else:
            strangers.append(uid)
    if strangers:
        more = f" (and {len(strangers) - 1} more)" if len(strangers) > 1 else ""
        raise UserError(
            f"{strangers[0]}{more} in {path} begins with none of the classes {', '.join(wanted)}: "
            "name its class or move it out"
        )
    for name in wanted:
        if name not in labels.values():
            raise UserError(f"no images of class {name!r} in {path}: no file name begins with it")
    return labels


def _derived(path: Path, names: dict[str, str]) -> dict[str, str]:
    advice = "sort the images into one folder per class, or name the classes"
    heads = {}
    for uid, name in sorted(names.items()):
        match = DERIVED_CLASS.match(Path(name).stem)
        if match is None:
            raise UserError(f"no class can be read from {uid} in {path}: {advice}")
        heads[uid] = match[1]
    spelling = {head.casefold(): head for head in sorted(heads.values(), reverse=True)}
    labels = {uid: spelling[head.casefold()] for uid, head in heads.items()}
    # A "class" of one file is more likely a name than a class.
    lone = sorted(label for label, n in Counter(labels.values()).items() if n == 1)
    if lone:
        example = next(uid for uid, label in labels.items() if label == lone[0])
        raise UserError(f"{example} would be the only image of class {lone[0]!r} in {path}: {advice}")
    return labels


def _require_two(path: Path, labels: dict[str, str], by: str) -> None:
    present = sorted(set(labels.values()))
    if len(present) < 2:
        where = "class folder with images" if by == "folder" else "class among the file names"
        raise UserError(f"only one {where} in {path}: {present[0]}; two or more are needed")


def _left_out(folders: Sequence[str], labels: dict[str, str]) -> tuple[str, ...]:
    used = {uid.split("/")[0] for uid in labels if "/" in uid}
    return tuple(folder for folder in folders if folder not in used)
