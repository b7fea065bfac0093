"""Opens what lies at a path: `open_shards` as a stream, `open_source` as a list, with one reader of each format."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from iuscore.errors import UserError
from iuscore.images.decoded import MAX_PIXELS, checked_bits
from iuscore.images.labels import renamed
from iuscore.images.listing import (
    is_folder,
    is_image_name,
    is_passed_over,
    nothing_there,
    require_image_file,
)
from iuscore.images.sample import Source
from iuscore.images.sources.archive import ArchiveShards
from iuscore.images.sources.base import ARCHIVES, READERS, LabelsFrom, ShardedSource
from iuscore.images.sources.folder import FolderShards
from iuscore.images.split import find_explicit_splits, split_folder, with_groups

__all__ = ["open_shards", "open_source"]

_COMPRESSED = re.compile(r"\.(tgz|tar\.(gz|bz2|xz|zst))$", re.IGNORECASE)


def open_shards(
    path: str | Path,
    *,
    labeled: bool = False,
    split: str | None = None,
    column: str | None = None,
    max_pixels: int = MAX_PIXELS,
    bits: int | None = None,
    by_content: bool = False,
    labels_from: LabelsFrom = "folder",
) -> ShardedSource:
    """Open any number of images; of a folder, names are looked at up to the first images or archives.

    Args:
        path: a folder of images or an image file (`FolderShards`); a MedMNIST .npz (`NpzShards`); a file, a folder of
            files or a pattern such as ``shards-{000..099}.tar`` of WebDataset's .tar archives (`TarShards`), Parquet
            files (`ParquetShards`) or .npy arrays (`NpyShards`). Of a folder with nothing but folders in it, what lies
            below decides.
        labeled: images have classes; where they are found: see the reader of the format.
        split: ``"train"``, ``"val"`` or ``"test"``: that part only, of an .npz, of a folder with folders of these
            names, or of archives with names such as ``train-00000.parquet``.
        column: the column of images of Parquet files; the extension of members of a .tar archive.
        max_pixels: larger images are refused when read, from their header.
        bits: depth of the values in 16-bit files and arrays, see `iuscore.images.decode`.
        by_content: files of any name in folders are images if they begin as one.
        labels_from: "prefix": classes are what the file names in a folder begin with, see `FolderShards`; "auto": what
            the names begin with, where no folder lies in the folder.

    Raises:
        UserError: no such path, nothing that is read here, or archives and images side by side.

    Example:
        >>> import tempfile
        >>> from iuscore.images import read_item
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in "abc":
        ...         _ = Path(root, f"{name}.pgm").write_bytes(b"P5 2 1 255 " + bytes([0, 200]))
        ...     source = open_shards(root)
        ...     for shard in source.shards(2):
        ...         print(shard.index, [read_item(item).uid for item in source.items(shard)])
        0 ['a.pgm', 'b.pgm']
        1 ['c.pgm']
    """
    checked_bits(bits)
    if labels_from not in ("auto", "folder", "prefix"):
        raise UserError(f"labels_from: expected auto, folder or prefix, got {labels_from!r}")
    if split not in ("train", "val", "test", None):
        raise UserError(f"split: expected train, val or test, got {split!r}")
    source = _opened(Path(path), labeled, split, column, max_pixels, by_content, labels_from)
    if labels_from == "prefix" != source.labels_from:
        raise UserError(_NO_PREFIXES.format(path=path))
    source.bits = bits
    return source


def open_source(
    path: str | Path,
    *,
    labels_from: LabelsFrom | None = None,
    classes: Sequence[str] | None = None,
    split: str | None = None,
    group_by: str | None = None,
    class_map: Mapping[str, str] | None = None,
    column: str | None = None,
    group_column: str | None = None,
    max_pixels: int = MAX_PIXELS,
    bits: int | None = None,
    by_content: bool = False,
) -> Source:
    """List images of any format as `open_shards` reads it; nothing is decoded yet.

    Only names, classes and groups are in memory. Pixels are read when they are asked for; of Parquet files and
    compressed .npz archives that is fast in the order of the list alone.

    Args:
        path: see `open_shards`.
        labels_from: of image files, see `FolderSource`. Archives, tables and arrays bring their own labels: "auto" and
            "folder" take these. None: no classes, as for a generated set that is scored as a whole.
        classes: the classes to take, in any case: others are left out. Where all labels of an archive are integers: the
            names of labels 0, 1, ...
        split: ``"train"``, ``"val"`` or ``"test"``: that part only, see `open_shards`.
        group_by: regular expression that finds the group (a patient, a video), see `with_groups`.
        class_map: label -> class, such as {"0": "benign"}, or several labels to one class; labels that are not in it
            are classes themselves. ``classes`` are then those to take.
        column: see `open_shards`.
        group_column: of Parquet files: the column of groups, texts or integers.
        max_pixels: larger images are refused when read, from their header.
        bits: depth of the values in 16-bit files and arrays, see `decode`.
        by_content: files of any name in folders are images if they begin as one.

    Returns:
        A source sorted by uid.

    Raises:
        UserError: one line that says what is wrong with the path, its files, its classes or its groups. Where classes
            are asked for, also an archive that is damaged and an image whose class is missing or not certain.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     _ = Path(root, "a.pgm").write_bytes(b"P5 2 1 255 " + bytes([0, 200]))
        ...     [(sample.uid, sample.pixels.shape) for sample in open_source(root)]
        [('a.pgm', (1, 2, 1))]
    """
    path = Path(path)
    if labels_from not in ("auto", "folder", "prefix", None):
        raise UserError(f"labels_from: expected auto, folder, prefix or None, got {labels_from!r}")
    if labels_from is None and classes is not None:
        raise UserError("classes: they need labels_from='auto', 'folder' or 'prefix'")
    if labels_from is None and class_map:
        raise UserError("class_map: it needs labels_from='auto', 'folder' or 'prefix'")
    checked_bits(bits)
    # Of a map, classes are known once the labels are.
    reader = open_shards(path, split=split, column=column, max_pixels=max_pixels, by_content=by_content)
    if group_column is not None and reader.format != "parquet":
        raise UserError(
            f"group_column: only Parquet files have columns, not {path}: use --group-by or a table of groups"
        )
    reader.group_column = group_column
    source = _listed(reader, path, labels_from, None if class_map else classes)
    source.bits = bits
    if class_map:
        source = renamed(source, class_map, classes)
    return source if group_by is None else with_groups(source, group_by)


def _listed(reader: ShardedSource, path: Path, labels_from: LabelsFrom | None, classes: Sequence[str] | None) -> Source:
    from iuscore.images.sources.class_folders import FolderSource
    from iuscore.images.sources.listed import listed_archives

    if not isinstance(reader, ArchiveShards):
        return FolderSource(
            reader.path,
            labels_from=labels_from,
            classes=classes,
            max_pixels=reader.max_pixels,
            by_content=reader.by_content,
        )
    if labels_from == "prefix":
        raise UserError(_NO_PREFIXES.format(path=path))
    reader.labeled = labels_from is not None
    return listed_archives(reader, classes)


_NO_PREFIXES = "labels_from: only image files have classes in their names, not {path}: leave it out"


def _opened(
    path: Path, labeled: bool, split: str | None, column: str | None, max_pixels: int, by_content: bool,
    labels_from: LabelsFrom,
) -> ShardedSource:  # fmt: skip
    if path.is_dir() and split is not None and find_explicit_splits(path):
        path, split = split_folder(path, split), None
    suffix = _suffix(path, by_content)
    if suffix and by_content:
        raise UserError(f"by_content: expected a folder of images or an image file, got {path}: leave it out")
    if split is not None and path.is_dir() and not suffix:
        split_folder(path, split)  # raises: there is none
    reader = READERS.get(suffix)
    if split is not None and path.is_file() and (reader is None or "split" not in reader.options):
        raise UserError(f"split: {path} has no parts: give the folder or archive of {split} itself")
    if column is not None and (reader is None or "column" not in reader.options):
        raise UserError(f"column: only Parquet files and tar archives have columns, not {path}")
    source: ShardedSource
    if reader is None:
        found = _found_from(path, labeled) if labels_from == "auto" else labels_from
        source = FolderShards(path, labeled=labeled, max_pixels=max_pixels, by_content=by_content, labels_from=found)
    else:
        # Each is loaded when it is needed: pyarrow takes long.
        reader_class = getattr(importlib.import_module(f"iuscore.images.sources.{reader.module}"), reader.name)
        options = {name: value for name, value in (("column", column), ("split", split)) if name in reader.options}
        source = reader_class(path, labeled=labeled, max_pixels=max_pixels, **options)
    if split is not None:
        source.split = split
    return source


def _found_from(path: Path, labeled: bool) -> Literal["folder", "prefix"]:
    """Where the classes of image files are: in their names if no folder lies beside them."""
    return "prefix" if labeled and not (path.is_dir() and _formats_in(path)[1]) else "folder"


def _suffix(path: Path, by_content: bool = False) -> str:
    """Extension of the archives at ``path``; empty for images."""
    if path.is_dir():
        return _suffix_in(path)
    suffix = path.suffix.lower()
    if not path.exists() and not ("{" in str(path) and suffix in ARCHIVES):
        raise UserError(nothing_there(path))
    if _COMPRESSED.search(path.name):
        raise UserError(
            f"{path} is compressed as a whole, so that no image in it can be found without reading all before it: "
            "unpack it to a .tar first"
        )
    if suffix in READERS:
        return suffix
    require_image_file(path, by_content)
    return ""


def _suffix_in(folder: Path) -> str:
    found, folders = _formats_in(folder)
    archives = [each for each in found if each != "image"]
    if archives and len(found) + bool(folders) > 1:
        examples = ", ".join(sorted([*found.values(), *folders[:1]]))
        raise UserError(f"{folder} holds {examples} side by side: give one of them, or a folder of files of one format")
    if not found and folders:
        return _suffix_below(folder, folders)
    return _suffix_of(folder, found)


def _suffix_below(root: Path, folders: Sequence[str]) -> str:
    """Suffix of the archives in the first folder below ``root`` that has archives or images, such as ``data``."""
    waiting = [root / name for name in reversed(folders)]
    seen = set()
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(folder)
        except OSError as error:
            raise UserError(f"cannot list {folder}: {error.strerror}") from error
        if (status.st_dev, status.st_ino) in seen:  # links to what was looked at
            continue
        seen.add((status.st_dev, status.st_ino))
        found, below = _formats_in(folder)
        if found:
            return "" if "image" in found else _suffix_of(folder, found)
        waiting += [folder / name for name in reversed(below)]
    return ""


def _suffix_of(folder: Path, found: Mapping[str, str]) -> str:
    archives = [each for each in found if each != "image"]
    if archives == ["compressed"]:
        return _suffix(folder / found["compressed"])
    return archives[0] if archives else ""


def _formats_in(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Formats of the files in a folder, each with its first name; names of the folders in it, sorted."""
    found: dict[str, str] = {}
    folders = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_passed_over(entry.name):
                    continue
                each = _format_of(entry)
                if each == "folder":
                    folders.append(entry.name)
                elif each and (each not in found or entry.name < found[each]):
                    found[each] = entry.name
    except OSError as error:
        raise UserError(f"cannot list {folder}: {error.strerror}") from error
    return found, sorted(folders)


def _format_of(entry: os.DirEntry[str]) -> str:
    name = entry.name.lower()
    if is_folder(entry):
        return "folder"
    if is_image_name(name):
        return "image"
    return "compressed" if _COMPRESSED.search(name) else next((end for end in ARCHIVES if name.endswith(end)), "")
