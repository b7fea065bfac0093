"""Masks of images: one image file for each, in a folder of the same form."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from iuscore.errors import UserError
from iuscore.images.listing import is_image_name, is_passed_over
from iuscore.images.sample import Item, Source, Stored, StoredFile, StoredNothing
from iuscore.images.sources.base import Shard, ShardedSource

__all__ = ["MaskFolder", "MaskedShards", "with_masks"]


class MaskFolder:
    """A folder of masks: that of ``a/b.jpg`` is ``a/b.jpg``, or the one image ``a/b`` of another extension.

    Args:
        path: the folder.
        images: folder of the images that the masks belong to. Masks must lie outside, or they would count as images.

    Raises:
        UserError: no such folder, or one inside the folder of the images.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("images/a/1.png", "masks/a/1.pgm"):
        ...         Path(root, name).parent.mkdir(parents=True)
        ...         _ = Path(root, name).write_bytes(b"P5 1 1 255 0")
        ...     masks = MaskFolder(Path(root, "masks"), Path(root, "images"))
        ...     masks.of("a/1.png").path.name, masks.of("a/2.png").reason
        ('1.pgm', 'no mask of this name in the folder of masks')
    """

    def __init__(self, path: str | Path, images: Path) -> None:
        self.path = Path(path).absolute()
        if not self.path.is_dir():
            raise UserError(f"mask: no folder {path}: give the folder that holds one mask for every image")
        if images.is_dir() and images.resolve() in (self.path.resolve(), *self.path.resolve().parents):
            raise UserError(f"mask: {path} lies in the folder of the images, {images}: give a folder outside")
        self._listed: tuple[str, dict[str, list[str]]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_listed": None}

    def of(self, relative: str) -> Stored:
        """The mask of the image at ``relative``, a path with forward slashes."""
        folder, _, name = relative.rpartition("/")
        names = self._names(folder).get(os.path.splitext(name)[0], [])
        if name in names:
            names = [name]
        if not names:
            return StoredNothing("no mask of this name in the folder of masks")
        if len(names) > 1:
            return StoredNothing("several masks of this name in the folder of masks")
        return StoredFile(self.path / folder / names[0])

    def _names(self, folder: str) -> dict[str, list[str]]:
        """Names by stem of the masks in one folder; of no more than one at a time."""
        if self._listed is None or self._listed[0] != folder:
            names: dict[str, list[str]] = {}
            try:
                with os.scandir(self.path / folder) as entries:
                    for entry in entries:
                        if is_image_name(entry.name) and not is_passed_over(entry.name):
                            names.setdefault(os.path.splitext(entry.name)[0], []).append(entry.name)
            except (FileNotFoundError, NotADirectoryError):
                pass
            except OSError as error:
                raise UserError(f"cannot list {self.path / folder}: {error.strerror}") from error
            self._listed = (folder, names)
        return self._listed[1]


def with_masks(source: Source, path: str | Path) -> Source:
    """The same images, each with its mask.

    Args:
        source: image files.
        path: folder of masks, see `MaskFolder`.

    Raises:
        UserError: no such folder, or images that are no files.
    """
    masks = MaskFolder(path, source.path)
    return source._with([replace(item, mask=masks.of(_relative(item, source.path))) for item in source.items])


class MaskedShards(ShardedSource):
    """The images of a folder, each with its mask; the signatures of its shards know the masks too.

    Args:
        source: a folder of image files.
        path: folder of masks, see `MaskFolder`.

    Raises:
        UserError: no such folder, or images that are no files.
    """

    format: ClassVar[str] = "folder"

    def __init__(self, source: ShardedSource, path: str | Path) -> None:
        super().__init__(source.path, source.max_pixels)
        if source.format != "folder":
            raise UserError(_NO_FILES)
        self.source = source
        self.split, self.by_content, self.labels_from = source.split, source.by_content, source.labels_from
        self.folders = MaskFolder(path, source.path)
        self.masks = self.folders.path

    def _shards(self, size: int) -> Iterator[Shard]:
        for shard in self.source.shards(size):
            masks = [_size_and_date(item.mask) for item in self.items(shard)]
            known = json.dumps([shard.signature, masks])
            yield replace(shard, signature=hashlib.sha256(known.encode()).hexdigest())
        self.ignored, self.ignored_names = self.source.ignored, self.source.ignored_names

    def items(self, shard: Shard) -> Iterator[Item]:
        for item in self.source.items(shard):
            yield replace(item, mask=self.folders.of(_relative(item, self.path)))


_NO_FILES = "mask: only images in a folder can have a folder of masks: unpack archives and arrays into one first"


def _relative(item: Item, root: Path) -> str:
    if not isinstance(item.stored, StoredFile):
        raise UserError(_NO_FILES)
    # Not the uid, in which names that are not UTF-8 are written otherwise.
    return item.stored.path.relative_to(root if root.is_dir() else root.parent).as_posix()


def _size_and_date(mask: Stored | None) -> tuple[str, int, int]:
    """Name, bytes and whole seconds of a mask; of one that is not there, what is said of it."""
    if not isinstance(mask, StoredFile):
        return (mask.reason if isinstance(mask, StoredNothing) else "", -1, -1)
    try:
        status = os.stat(mask.path)
    except OSError:
        return (mask.path.name, -1, -1)
    return (mask.path.name, status.st_size, status.st_mtime_ns // 10**9)
