"""A folder of image files, of any number, walked in the order of their uids."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from iuscore.errors import UserError
from iuscore.images.decoded import MAX_PIXELS
from iuscore.images.listing import (
    are_splits,
    beside_class_folders,
    no_class_folders,
    nothing_found,
    splits_not_classes,
    uid_of,
)
from iuscore.images.sample import Item, StoredFile
from iuscore.images.sources.base import Listed, Shard, ShardedSource
from iuscore.images.sources.walk import Found, Walk, size_and_date

DERIVED_CLASS = re.compile(r"([^\W\d_][^_.\-\s]*)[_.\-\s]")
"""The class at the beginning of a file name, where nobody says which classes there are."""


class FolderShards(ShardedSource):
    """The image files of a folder and all folders below it, or one image file; which ones: see `FolderSource`.

    A uid is the path below the folder. Folders are walked in the order of the uids: names are compared
    character by character, a folder's with the ``/`` that follows it.

    Args:
        path: folder or image file.
        labeled: images have classes.
        labels_from: "folder": the first folder below ``path`` is the class; "prefix": the file name begins with it, in
            any case, and the longest of the classes that `named` gives wins; without these, what stands before the
            first ``_``, ``-``, ``.`` or space.
        max_pixels: larger images are refused when read.
        by_content: files of any name are images if they begin as one.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("b/1.pgm", "a-c/1.pgm", "b/2.pgm", "a/1.pgm"):
        ...         Path(root, name).parent.mkdir(exist_ok=True)
        ...         _ = Path(root, name).write_bytes(b"P5 1 1 255 0")
        ...     [(shard.n, shard.labels) for shard in FolderShards(root, labeled=True).shards(3)]
        [(3, ('a', 'a-c', 'b')), (1, ('b',))]
    """

    format: ClassVar[str] = "folder"

    def __init__(
        self,
        path: str | Path,
        *,
        labeled: bool = False,
        max_pixels: int = MAX_PIXELS,
        by_content: bool = False,
        labels_from: Literal["folder", "prefix"] = "folder",
    ) -> None:
        super().__init__(Path(path), max_pixels)
        if labels_from not in ("folder", "prefix"):
            raise UserError(f"labels_from: expected folder or prefix, got {labels_from!r}")
        self.labels_from = labels_from
        if labeled and labels_from == "folder" and self.path.is_file():
            raise UserError(f"{path} lies in no class folder: give the folder above the class folders")
        self.labeled = labeled
        self._folders: list[str] = []
        self.by_content = by_content

    def _shards(self, size: int) -> Iterator[Shard]:
        self.ignored = 0
        index = 0
        images: list[Listed] = []
        folders: list[list[object]] = []
        for found in self._walk():
            if not folders or folders[-1][0] != found.folder:
                names: list[str] = []
                folders.append([found.folder, names])
            names.append(found.name)
            images.append(Listed(found.uid, self._label(found.uid), found.n_bytes, found.date))
            if len(images) == size:
                yield self._new_shard(index, images, {"folders": folders})
                index, images, folders = index + 1, [], []
        if images:
            yield self._new_shard(index, images, {"folders": folders})

    def items(self, shard: Shard) -> Iterator[Item]:
        root = self.path.parent if self.path.is_file() else self.path
        for folder, names in shard.where["folders"]:
            for name in names:
                relative = f"{folder}/{name}" if folder else name
                uid = uid_of(relative)
                yield Item(uid, self._label(uid), None, StoredFile(root / relative))

    def _label(self, uid: str) -> str | None:
        if not self.labeled:
            return None
        if self.labels_from == "prefix":
            return self._begins_with(uid)
        folder = uid.partition("/")[0]
        name = folder if self.names is None else self.names.of(folder)
        if name is None and self.names is not None:
            raise UserError(self.names.unknown(self._folders or [folder], self.path))
        return name

    def _begins_with(self, uid: str) -> str:
        """The class that the file name begins with."""
        name = uid.rpartition("/")[2]
        if self.names is None:
            if (match := DERIVED_CLASS.match(name)) is None:
                raise UserError(f"no class can be read from the name of {uid} in {self.path}")
            return match[1]
        known = {*self.names.classes, *self.names.given}
        fits = [label for label in known if name.casefold().startswith(label.casefold())]
        # The longest; of two that differ in case only, the one as it is written.
        label = max(fits, key=lambda each: (len(each), name.startswith(each), each), default=None)
        if label is None or (found := self.names.of(label)) is None:
            begin = match[1] if (match := DERIVED_CLASS.match(name)) else name.partition(".")[0]
            raise UserError(
                f"{uid} in {self.path} begins with no class of the model ({', '.join(self.names.classes)}): move it "
                f"out, or say what its name begins with, such as --map {begin}={self.names.classes[0]}"
            )
        return found

    def _walk(self) -> Iterator[Found]:
        if not self.path.is_dir():
            yield Found("", self.path.name, uid_of(self.path.name), *size_and_date(self.path))
            return
        walk = Walk(self.path, by_content=self.by_content)
        if self.labeled and self.labels_from == "folder":
            self._require_class_folders()
        empty = True
        for found in walk.files():
            empty = False
            yield found
        self.ignored, self.ignored_names = walk.ignored, walk.ignored_names
        if empty:
            raise UserError(nothing_found(self.path, walk.ignored, walk.ignored_names, self.by_content))

    def folders(self) -> list[str]:
        """Names of the folders at the top, sorted; of a single file none."""
        if not self.path.is_dir():
            return []
        names = self._top()
        return sorted(name[:-1] for name in names if name.endswith("/"))

    def _top(self) -> list[str]:
        """Names of images, and of folders with a / behind them, at the top."""
        try:
            return [shown for shown, _ in Walk(self.path, by_content=self.by_content).names(str(self.path)).entries]
        except OSError as error:
            raise UserError(f"cannot list {self.path}: {error.strerror}") from error

    def _require_class_folders(self) -> None:
        names = self._top()
        loose = [shown for shown in names if not shown.endswith("/")]
        folders = sorted(shown[:-1] for shown in names if shown.endswith("/"))
        if loose and not folders:
            raise UserError(
                f"{no_class_folders(self.path)}. Where all images are of one class, name it by --target; where "
                f"file names, such as {loose[0]}, begin with the class, give --labels-from prefix; else sort the "
                "images into one folder per class"
            )
        if loose:
            raise UserError(beside_class_folders(self.path, loose, folders))
        self._folders = folders
        if are_splits(folders):
            raise UserError(splits_not_classes(self.path, folders))
