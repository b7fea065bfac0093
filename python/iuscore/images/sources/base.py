"""What the readers of all formats have in common: any number of images as a stream of shards, each readable alone."""

from __future__ import annotations

import copy
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from iuscore.errors import UserError
from iuscore.images.decoded import MAX_PIXELS
from iuscore.images.labels import ClassNames
from iuscore.images.listing import NAMED
from iuscore.images.sample import Item

LabelsFrom = Literal["auto", "folder", "prefix"]
"""Where classes of image files are: the folder a file lies in, what its name begins with, or whichever of both fits."""


class Reader(NamedTuple):
    """How files of many images are read.

    Attributes:
        module: of this package, imported when such a file is opened.
        name: the class in it.
        options: what its constructor takes besides ``path``, ``labeled`` and ``max_pixels``.
        in_folders: whether a folder of such files is one source.
    """

    module: str
    name: str
    options: tuple[str, ...] = ()
    in_folders: bool = True


READERS = {
    ".tar": Reader("tar", "TarShards", ("column",)),
    ".parquet": Reader("parquet", "ParquetShards", ("column",)),
    ".npy": Reader("arrays", "NpyShards"),
    ".npz": Reader("arrays", "NpzShards", ("split",), in_folders=False),
}
"""End of a file's name, in lower case -> its reader. A format is registered here and nowhere else."""

ARCHIVES = tuple(suffix for suffix, reader in READERS.items() if reader.in_folders)

_FIELDS = {"index": int, "n": int, "signature": str, "labels": list, "where": dict}


@dataclass(frozen=True)
class Shard:
    """Images of a source that follow each other, few enough to be done as a whole.

    Attributes:
        index: 0, 1, 2, ... in the order of the source.
        n: images in it; ``items`` yields exactly so many.
        signature: SHA-256 in hex over what is known of every image without decoding it: its uid, its label, its
            size in bytes and its date in whole seconds, or what its format has in their place.
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
        for name, expected in _FIELDS.items():
            if not isinstance(value.get(name), expected):
                raise UserError(f"shard: expected {name} to be of type {expected.__name__}, got {value.get(name)!r}")
        return cls(value["index"], value["n"], value["signature"], tuple(value["labels"]), value["where"])


class Listed(NamedTuple):
    """What enters the signature of a shard for each image; ``date`` in whole seconds, or a checksum in its place."""

    uid: str
    label: str | None
    n_bytes: int
    date: int


class ShardedSource(ABC):
    """Images that are listed shard by shard, in an order that is the same on every machine.

    A source can be pickled; what it holds open belongs to one process.

    Attributes:
        format: ``"folder"``, ``"webdataset"``, ``"parquet"``, ``"npz"`` or ``"npy"``.
        path: what was opened.
        max_pixels: larger images are refused when read.
        ignored: number of files or members that are no images; complete when ``shards`` is exhausted.
        ignored_names: up to five of them, of a folder the first by name.
        split: ``"train"``, ``"val"`` or ``"test"``, where that part alone was asked for.
        column: the column of images that was asked for, where the format has columns.
        group_column: the column of groups, where a list is made of Parquet files that have one.
        names: which class each label stands for; None: labels are the classes.
        masks: the folder of masks, where the images have some.
        bits: depth of the values in 16-bit files, see `iuscore.images.decode`; None: what the files say.
        by_content: whether files of any name are images if they begin as one.
        labels_from: where classes are found, see `FolderShards`; "folder" of all other formats.
    """

    format: ClassVar[str]
    split: str | None = None
    column: str | None = None
    group_column: str | None = None
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

    def entries(self, shard: Shard) -> Iterator[Item]:
        """The images of ``shard`` as `items` yields them, but none of their content is in memory until it is read.

        Each can be read at any time and in any order; the order of the shard is the fast one.
        """
        return self.items(shard)

    def _new_shard(self, index: int, images: Sequence[Listed], where: Mapping[str, Any]) -> Shard:
        """The shard of ``images``; ``where`` has lists, not tuples, so that it equals its JSON."""
        labels = sorted({image.label for image in images if image.label is not None})
        known: list[Any] = [*images]
        # Two columns of images in one table have the same rows, sizes and dates.
        if "column" in where:
            known = [known, where["column"]]
        # With another limit other images are refused. Without one, the signature is that of version 0.1.
        if self.max_pixels != MAX_PIXELS:
            known = [known, {"max_pixels": self.max_pixels}]
        signature = hashlib.sha256(json.dumps(known).encode()).hexdigest()
        return Shard(index, len(images), signature, tuple(labels), where)
