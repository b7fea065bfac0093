"""Sources of any number of images: listed as a stream of shards, each of which can be read alone."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from iuscore.errors import UserError
from iuscore.images.decoded import MAX_PIXELS, checked_bits
from iuscore.images.labels import ClassNames
from iuscore.images.listing import (
    NAMED,
    is_folder,
    is_image_file,
    is_image_name,
    is_passed_over,
    no_image_file,
    nothing_there,
)
from iuscore.images.sample import Item, read_item
from iuscore.images.split import split_folder

__all__ = ["Listed", "Shard", "ShardedSource", "open_shards", "read_item"]

ARCHIVES = (".tar", ".parquet", ".npy")

_FIELDS = {"index": int, "n": int, "signature": str, "labels": list, "where": dict}
_COMPRESSED = re.compile(r"\.(tgz|tar\.(gz|bz2|xz|zst))$", re.IGNORECASE)


@dataclass(frozen=True)
class Shard:
    """A run of a source's images, small enough to be done as a whole.

    Attributes:
        index: 0, 1, 2, ... in the order of the source.
        n: images in it; ``items`` yields exactly so many.
        signature: SHA-256 in hex over what is known of every image without decoding it: its uid, its label, its
            size in bytes and its date in whole seconds, or what the kind of source has in their place.
        labels: classes present, sorted; empty without labels.
        where: what ``items`` needs to find the images again, in the types of JSON.

    Example:
        >>> shard = Shard(0, 2, "00ff", ("a",), {"files": [["a", ["1.png", "2.png"]]]})
        >>> Shard.from_json(json.loads(json.dumps(shard.to_json()))) == shard
        True
    """

    index: int
    n: int
    signature: str
    labels: tuple[str, ...]
    where: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The shard in the types of JSON; names that are not UTF-8 need ``ensure_ascii``, json's default."""
        return {**asdict(self), "labels": list(self.labels), "where": dict(self.where)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Shard:
        """The shard that `to_json` wrote.

        Raises:
            UserError: something is missing or of another type.
        """
        for name, kind in _FIELDS.items():
            if not isinstance(value.get(name), kind):
                raise UserError(f"shard: expected {name} to be of type {kind.__name__}, got {value.get(name)!r}")
        return cls(value["index"], value["n"], value["signature"], tuple(value["labels"]), value["where"])


class Listed(NamedTuple):
    """What the signature of a shard knows of one image."""

    uid: str
    label: str | None
    n_bytes: int
    date: int


class ShardedSource(ABC):
    """Images that are listed shard by shard, in an order that is the same on every machine.

    A source can be pickled; what it holds open belongs to one process.

    Attributes:
        kind: ``"folder"``, ``"webdataset"``, ``"parquet"``, ``"npz"`` or ``"npy"``.
        path: what was opened.
        max_pixels: larger images are refused when read.
        ignored: number of files or members that are no images; complete when ``shards`` is exhausted.
        ignored_names: up to five of them.
        split, column: what was asked for, where the kind has these.
        names: which class each label stands for; None: labels are the classes.
        masks: the folder of masks, where the images have some.
        bits: depth of the values in 16-bit files, see `iuscore.images.decode`; None: what the files say.
        by_content: whether files of any name are images if they begin as one.
        labels_from: where classes are found, see `FolderShards`; "folder" of all other kinds.
    """

    kind: ClassVar[str]
    split: str | None = None
    column: str | None = None
    names: ClassNames | None = None
    masks: Path | None = None
    bits: int | None = None
    by_content: bool = False
    labels_from: Literal["folder", "prefix"] = "folder"

    def __init__(self, path: Path, max_pixels: int) -> None:
        if max_pixels < 1:
            raise UserError(f"max_pixels: expected a positive number, got {max_pixels}")
        self.path = path
        self.max_pixels = max_pixels
        self.ignored = 0
        self.ignored_names: list[str] = []

    def _leave_out(self, name: str) -> None:
        self.ignored += 1
        if len(self.ignored_names) < NAMED:
            self.ignored_names.append(name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

    def named(self, names: ClassNames) -> ShardedSource:
        """The same source with classes in the place of labels, in the signatures of shards too.

        Listing it raises a UserError where a label stands for no class.
        """
        source = copy.copy(self)
        source.names = names
        return source

    def classes_of(self, labels: Sequence[str | None], where: object) -> Sequence[str | None]:
        """The classes that ``labels`` stand for; ``where`` they come from."""
        if self.names is None:
            return labels
        known: dict[str | None, str | None] = {None: None}
        for label in labels:
            if label is not None and label not in known:
                known[label] = self.names.of(label)
                if known[label] is None:
                    raise UserError(self.names.unknown((text for text in labels if text is not None), where))
        return [known[label] for label in labels]

    def shards(self, size: int) -> Iterator[Shard]:
        """List the source as a stream, never more of it in memory than one folder's names or one archive's index.

        Args:
            size: most images in a shard, at least 1.

        Raises:
            UserError: no images, a folder or archive that cannot be listed, an image without a class where
                classes are asked for.
        """
        if size < 1:
            raise UserError(f"size: expected 1 or more images a shard, got {size}")
        return self._shards(size)

    @abstractmethod
    def _shards(self, size: int) -> Iterator[Shard]: ...

    @abstractmethod
    def items(self, shard: Shard) -> Iterator[Item]:
        """The images of ``shard`` in their order, ``shard.n`` of them, each found when it is asked for.

        Nothing else of the source is read. What has gone or changed since the listing is an item that
        says so when it is read.
        """


def new_shard(index: int, images: Sequence[Listed], where: Mapping[str, Any]) -> Shard:
    """The shard of ``images``; ``where`` has lists, not tuples, so that it equals its JSON."""
    labels = sorted({image.label for image in images if image.label is not None})
    # Of a table with several columns of images, all else is the same.
    known = [images, where["column"]] if "column" in where else images
    signature = hashlib.sha256(json.dumps(known).encode()).hexdigest()
    return Shard(index, len(images), signature, tuple(labels), where)


def open_shards(
    path: str | Path,
    *,
    labeled: bool = False,
    split: str | None = None,
    column: str | None = None,
    max_pixels: int = MAX_PIXELS,
    bits: int | None = None,
    by_content: bool = False,
    labels_from: Literal["folder", "prefix"] = "folder",
) -> ShardedSource:
    """Open any number of images; of a folder, names are looked at up to the first images or archives.

    Args:
        path: a folder of images or an image file (`FolderShards`); a MedMNIST .npz (`NpzShards`); a file, a folder of
            files or a pattern such as ``shards-{000..099}.tar`` of WebDataset's .tar archives (`TarShards`), Parquet
            files (`ParquetShards`) or .npy arrays (`NpyShards`). Of a folder with nothing but folders in it, what lies
            below decides.
        labeled: images have classes; where they are found: see the source of that kind.
        split: ``"train"``, ``"val"`` or ``"test"``: that part only, of an .npz or of a folder with folders of these
            names.
        column: the column of images of Parquet files; the extension of members of a .tar archive.
        max_pixels: larger images are refused when read, from their header.
        bits: depth of the values in 16-bit files and arrays, see `iuscore.images.decode`.
        by_content: files of any name in folders are images if they begin as one.
        labels_from: "prefix": classes are what the file names in a folder begin with, see `FolderShards`.

    Raises:
        UserError: no such path, nothing that is read here, or archives and images side by side.

    Example:
        >>> import tempfile
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
    source = _opened(Path(path), labeled, split, column, max_pixels, by_content, labels_from)
    if labels_from != source.labels_from:
        raise UserError(f"labels_from: only image files have classes in their names, not {path}: leave it out")
    source.bits = bits
    return source


def _opened(
    path: Path, labeled: bool, split: str | None, column: str | None, max_pixels: int, by_content: bool,
    labels_from: Literal["folder", "prefix"],
) -> ShardedSource:  # fmt: skip
    if path.is_dir() and split is not None:
        path, split = split_folder(path, split), None
    suffix = _suffix(path, by_content)
    if suffix and by_content:
        raise UserError(f"by_content: expected a folder of images or an image file, got {path}: leave it out")
    if split is not None and suffix != ".npz":
        raise UserError(f"split: {path} has no parts: give the folder or archive of {split} itself")
    if column is not None and suffix not in (".tar", ".parquet"):
        raise UserError(f"column: only Parquet files and tar archives have columns, not {path}")
    # Each is loaded when it is needed: pyarrow takes long.
    if suffix == ".tar":
        from iuscore.images.tar_shards import TarShards

        return TarShards(path, labeled=labeled, column=column, max_pixels=max_pixels)
    if suffix == ".parquet":
        from iuscore.images.parquet_shards import ParquetShards

        return ParquetShards(path, labeled=labeled, column=column, max_pixels=max_pixels)
    if suffix == ".npz":
        from iuscore.images.array_shards import NpzShards

        return NpzShards(path, labeled=labeled, split=split, max_pixels=max_pixels)
    if suffix == ".npy":
        from iuscore.images.array_shards import NpyShards

        return NpyShards(path, labeled=labeled, max_pixels=max_pixels)
    from iuscore.images.folder_shards import FolderShards

    return FolderShards(path, labeled=labeled, max_pixels=max_pixels, by_content=by_content, labels_from=labels_from)


def _suffix(path: Path, by_content: bool = False) -> str:
    """Extension of the archives at ``path``; empty for images."""
    if path.is_dir():
        return _told_by_names(path)
    suffix = path.suffix.lower()
    if not path.exists() and not ("{" in str(path) and suffix in ARCHIVES):
        raise UserError(nothing_there(path))
    if _COMPRESSED.search(path.name):
        raise UserError(
            f"{path} is compressed as a whole, so that no image in it can be found without reading all before it: "
            "unpack it to a .tar first"
        )
    if suffix in (*ARCHIVES, ".npz"):
        return suffix
    if not path.is_file() or not is_image_file(path, by_content):
        raise UserError(no_image_file(path))
    return ""


def _told_by_names(folder: Path) -> str:
    found, folders = _kinds_in(folder)
    archives = [kind for kind in found if kind != "image"]
    if archives and len(found) + bool(folders) > 1:
        examples = ", ".join(sorted([*found.values(), *folders[:1]]))
        raise UserError(f"{folder} holds {examples} side by side: give one of them, or a folder of files of one kind")
    if not found and folders:
        return _told_below(folder, folders)
    return _told(folder, found)


def _told_below(root: Path, folders: Sequence[str]) -> str:
    """Kind of the first folder below ``root`` that has images or archives, such as ``data`` of a Hugging Face set."""
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
        found, below = _kinds_in(folder)
        if found:
            return "" if "image" in found else _told(folder, found)
        waiting += [folder / name for name in reversed(below)]
    return ""


def _told(folder: Path, found: Mapping[str, str]) -> str:
    archives = [kind for kind in found if kind != "image"]
    if archives == ["compressed"]:
        return _suffix(folder / found["compressed"])
    return archives[0] if archives else ""


def _kinds_in(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Kinds of files in a folder, each with the first name; names of the folders in it, sorted."""
    found: dict[str, str] = {}
    folders = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_passed_over(entry.name):
                    continue
                kind = _kind_of(entry)
                if kind == "folder":
                    folders.append(entry.name)
                elif kind and (kind not in found or entry.name < found[kind]):
                    found[kind] = entry.name
    except OSError as error:
        raise UserError(f"cannot list {folder}: {error.strerror}") from error
    return found, sorted(folders)


def _kind_of(entry: os.DirEntry[str]) -> str:
    name = entry.name.lower()
    if is_folder(entry):
        return "folder"
    if is_image_name(name):
        return "image"
    return "compressed" if _COMPRESSED.search(name) else next((end for end in ARCHIVES if name.endswith(end)), "")
