"""A folder of image files, of any number, walked in the order of their uids."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, NamedTuple

from iuscore.errors import UserError
from iuscore.images.decode import MAX_PIXELS
from iuscore.images.listing import (
    are_splits,
    beside_class_folders,
    is_folder,
    is_image_name,
    is_passed_over,
    no_class_folders,
    nothing_found,
    splits_not_classes,
    uid_of,
)
from iuscore.images.sample import Item, StoredFile
from iuscore.images.shards import Listed, Shard, ShardedSource, new_shard


class FolderShards(ShardedSource):
    """The image files of a folder and all folders below it, or one image file; which ones: see `FolderSource`.

    A uid is the path below the folder. Folders are walked in the order of the uids: names are compared
    character by character, a folder's with the ``/`` that follows it.

    Args:
        path: folder or image file.
        labeled: the first folder below ``path`` is the class.
        max_pixels: larger images are refused when read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("b/1.pgm", "a-c/1.pgm", "b/2.pgm", "a/1.pgm"):
        ...         Path(root, name).parent.mkdir(exist_ok=True)
        ...         _ = Path(root, name).write_bytes(b"P5 1 1 255 0")
        ...     [(shard.n, shard.labels) for shard in FolderShards(root, labeled=True).shards(3)]
        [(3, ('a', 'a-c', 'b')), (1, ('b',))]
    """

    kind: ClassVar[str] = "folder"

    def __init__(self, path: str | Path, *, labeled: bool = False, max_pixels: int = MAX_PIXELS) -> None:
        super().__init__(Path(path), max_pixels)
        if labeled and self.path.is_file():
            raise UserError(f"{path} lies in no class folder: give the folder above the class folders")
        self.labeled = labeled

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
                yield new_shard(index, images, {"folders": folders})
                index, images, folders = index + 1, [], []
        if images:
            yield new_shard(index, images, {"folders": folders})

    def items(self, shard: Shard) -> Iterator[Item]:
        root = self.path.parent if self.path.is_file() else self.path
        for folder, names in shard.where["folders"]:
            for name in names:
                relative = f"{folder}/{name}" if folder else name
                uid = uid_of(relative)
                yield Item(uid, self._label(uid), None, StoredFile(root / relative))

    def _label(self, uid: str) -> str | None:
        return uid.partition("/")[0] if self.labeled else None

    def _walk(self) -> Iterator[_Found]:
        if not self.path.is_dir():
            yield _Found("", self.path.name, uid_of(self.path.name), *_size_and_date(self.path))
            return
        walk = _Walk(self.path, self.labeled)
        empty = True
        for found in walk.below("", "", ()):
            empty = False
            yield found
        self.ignored = walk.ignored
        if empty:
            raise UserError(nothing_found(self.path, walk.ignored, walk.example))


class _Found(NamedTuple):
    """One image file: its folder below the root and its name as the system has them, its uid."""

    folder: str
    name: str
    uid: str
    n_bytes: int
    date: int


class _Walk:
    """One walk through all folders; counts what it leaves out."""

    def __init__(self, root: Path, labeled: bool) -> None:
        self.root = root
        self.labeled = labeled
        self.ignored = 0
        self.example: str | None = None

    def below(self, folder: str, uid: str, above: tuple[tuple[int, int], ...]) -> Iterator[_Found]:
        """Images below ``folder`` (``""``, ``"a"``, ``"a/b"``), which the uids write as ``uid``."""
        path = os.path.join(self.root, folder) if folder else os.fspath(self.root)
        try:
            status = os.stat(path)
            here = (status.st_dev, status.st_ino)
            if here in above:  # a link to a folder above itself
                return
            names = self._names(path, uid)
        except OSError as error:
            raise UserError(f"cannot list {path}: {error.strerror}") from error
        if self.labeled and not folder:
            _require_class_folders(self.root, names)
        # Written out: of a million files, every call counts.
        before = f"{folder}/" if folder else ""
        uid_before = f"{uid}/" if uid else ""
        for shown, name in names:
            if shown.endswith("/"):
                yield from self.below(before + name, uid_before + shown[:-1], (*above, here))
                continue
            n_bytes, date = _size_and_date(f"{path}/{name}")
            if n_bytes == _NO_FILE:
                self._leave_out(uid_before + shown)
            else:
                yield _Found(folder, name, uid_before + shown, n_bytes, date)

    def _names(self, path: str, uid: str) -> list[tuple[str, str]]:
        """Name for the uid, with a / after that of a folder, and name on disk; in the order of the uids."""
        names = []
        with os.scandir(path) as entries:
            for entry in entries:
                name = entry.name
                if is_passed_over(name):
                    continue
                if is_folder(entry):
                    names.append((uid_of(name) + "/", name))
                elif is_image_name(name):
                    names.append((uid_of(name), name))
                else:
                    self._leave_out(f"{uid}/{uid_of(name)}" if uid else uid_of(name))
        names.sort()
        for (first, _), (second, _) in pairwise(names):
            if first == second:
                raise UserError(f"two names in {path} are both written {first}: rename one of them")
        return names

    def _leave_out(self, uid: str) -> None:
        self.ignored += 1
        if self.example is None or uid < self.example:
            self.example = uid


_NO_FILE = -2


def _size_and_date(path: str | Path) -> tuple[int, int]:
    """Bytes and whole seconds; -1 for a link to nothing, which reading it reports, -2 for what is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return -1, -1
    # Opening a named pipe would wait for ever.
    return (status.st_size, status.st_mtime_ns // 10**9) if stat.S_ISREG(status.st_mode) else (_NO_FILE, 0)


def _require_class_folders(root: Path, names: list[tuple[str, str]]) -> None:
    loose = [shown for shown, _ in names if not shown.endswith("/")]
    folders = sorted(shown[:-1] for shown, _ in names if shown.endswith("/"))
    if loose and not folders:
        raise UserError(no_class_folders(root))
    if loose:
        raise UserError(beside_class_folders(root, loose, folders))
    if are_splits(folders):
        raise UserError(splits_not_classes(root, folders))
