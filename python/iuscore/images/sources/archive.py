"""What the formats with many images in a file have in common: which files are read, and what is said of damage."""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

from iuscore.errors import UserError
from iuscore.images.decoded import MAX_PIXELS, Decoded
from iuscore.images.listing import EXTENSIONS, counted, is_passed_over, nothing_there, part_of, uid_of
from iuscore.images.passing import is_passing
from iuscore.images.reasons import message_of, one_line
from iuscore.images.sample import Item, Stored, StoredNothing
from iuscore.images.sources.base import ARCHIVES, Listed, Shard, ShardedSource
from iuscore.images.sources.walk import Walk

_BRACES = re.compile(r"\{([^{}]*)\}")
_MAX_LISTED, _LONGEST_NAME = 20, 100
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


GROUPS = "group_of_each"
"""Key of `Shard.where` under which a reader puts the groups of the images, where a column of them was asked for."""


class Damaged(Exception):
    """The rest of an archive cannot be read; the message is one line of bounded length."""

    def __init__(self, reason: str) -> None:
        super().__init__(one_line(reason))


class ArchiveShards(ShardedSource):
    """One archive, a folder of them or of folders of them, or a pattern with braces. A shard never spans two archives.

    An archive that is damaged is one more item ``<archive>/#damaged`` that says so, after what can be read of it;
    a ``UserError`` where it is the only one and nothing can be read.

    Args:
        path: file, folder or pattern.
        labeled: read the class of every image.
        max_pixels: larger images are refused when read.
    """

    suffix: ClassVar[str]
    split_in_archive: ClassVar[bool] = False
    """Whether one archive holds training, validation and test images, and not the names of several archives tell."""

    def __init__(self, path: str | Path, *, labeled: bool = False, max_pixels: int = MAX_PIXELS) -> None:
        super().__init__(Path(path), max_pixels)
        self.labeled = labeled
        self._folder, self._names = _found(self.path)

    @abstractmethod
    def _parts(self, path: Path, name: str, size: int) -> Iterator[tuple[Sequence[Listed], dict[str, Any]]]:
        """Images of the next shards of one archive, and where they are; raises Damaged or UserError."""

    @abstractmethod
    def _uids(self, where: dict[str, Any]) -> Iterator[str]:
        """uids of a shard's images from ``where``, without a look at the archive."""

    @abstractmethod
    def _stored(self, path: Path, where: dict[str, Any]) -> Iterator[Stored]:
        """Images of a shard; where it raises, the rest are unreadable."""

    @abstractmethod
    def _one(self, where: dict[str, Any], i: int) -> dict[str, Any]:
        """Where image ``i`` of a shard is: the ``where`` of a shard of this image alone."""

    def archive_path(self, name: str) -> Path:
        """The archive that a shard names in its ``where``."""
        return self._folder / name

    def fetch(self, path: Path, where: dict[str, Any], i: int) -> Stored:
        """Image ``i`` of a shard in the archive ``path``; one that cannot be read says so when it is decoded."""
        with closing(_without_end(self._stored(path, self._one(where, i)))) as stored:
            return next(stored)

    def _shards(self, size: int) -> Iterator[Shard]:
        self.ignored, self.ignored_names = 0, []
        index = 0
        archives = self._wanted()
        for name in archives:
            path = self._folder / name
            try:
                if path.exists() and not path.is_file():  # opening a named pipe would wait for ever
                    raise Damaged("no regular file")
                for found, where in self._parts(path, uid_of(name), size):
                    classes = self.classes_of([image.label for image in found], path)
                    images = [image._replace(label=name) for image, name in zip(found, classes, strict=True)]
                    labels = {"labels": classes} if self.labeled else {}
                    yield self._new_shard(index, images, {"archive": name, **labels, **where})
                    index += 1
            except (Damaged, OSError) as error:
                reason = str(error) if isinstance(error, Damaged) else reason_of(error)
                if index == 0 and len(archives) == 1:
                    raise UserError(f"{path}: {reason}") from error
                listed = Listed(_damaged(name), None, *size_and_date(path))
                yield self._new_shard(index, [listed], {"archive": name, "damaged": reason})
                index += 1
        if index == 0:
            others = f"; found {counted(self.ignored, 'other member')}" if self.ignored else ""
            raise UserError(f"no images in {self.path}{others}")

    def _wanted(self) -> Sequence[str]:
        """The archives to read: all, or those of one part of a data set, which their names tell."""
        names = self._archives()
        if self.split is None or self.split_in_archive:
            return names
        found = [name for name in names if part_of(name) == self.split]
        if not found:
            raise UserError(
                f"split: no {self.suffix} file in {self.path} is named after {self.split}: it has {listed(names)}"
            )
        return found

    def _archives(self) -> Sequence[str]:
        if self._names is not None:
            return self._names
        try:
            names = [name for name in os.listdir(self._folder) if name.lower().endswith(self.suffix)]
        except OSError as error:
            raise UserError(f"cannot list {self._folder}: {error.strerror}") from error
        found = sorted((name for name in names if not is_passed_over(name)), key=uid_of)
        return found or self._below()

    def _below(self) -> Sequence[str]:
        """Archives in the folders below, where there are none at the top: their paths below it."""
        found, example = [], None
        for file in Walk(self._folder, (*ARCHIVES, *EXTENSIONS)).files():
            path = f"{file.folder}/{file.name}" if file.folder else file.name
            if path.lower().endswith(self.suffix):
                found.append(path)
            else:
                example = example or file.uid
        if found and example:
            raise UserError(
                f"{self._folder} holds {uid_of(found[0])} and {example} below it: give a folder of files of one format"
            )
        return found

    def items(self, shard: Shard) -> Iterator[Item]:
        where = dict(shard.where)
        name = where["archive"]
        if "damaged" in where:
            yield Item(_damaged(name), None, None, StoredNothing(where["damaged"]))
            return
        where["uid"] = uid_of(name)
        labels = where.get("labels") or [None] * shard.n
        with closing(_without_end(self._stored(self._folder / name, where))) as stored:
            for uid, label in zip(self._uids(where), labels, strict=True):
                yield Item(uid, label, None, next(stored), archive=_archive(uid, name))

    def entries(self, shard: Shard) -> Iterator[Item]:
        where = dict(shard.where)
        name = where["archive"]
        if "damaged" in where:
            yield from self.items(shard)
            return
        where["uid"] = uid_of(name)
        labels = where.pop("labels", None) or [None] * shard.n
        groups = where.pop(GROUPS, None) or [None] * shard.n
        for i, (uid, label, group) in enumerate(zip(self._uids(where), labels, groups, strict=True)):
            stored = StoredEntry(self, self._folder / name, where, i)
            yield Item(uid, label, group, stored, archive=_archive(uid, name))


class ColumnShards(ArchiveShards):
    """Archives in which an image is one of several columns of a row, or one of several members of a sample.

    Args:
        path: file, folder or pattern.
        labeled: read the class of every image.
        column: the column of images; None: all images, or the only column of images there is.
        max_pixels: larger images are refused when read.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        labeled: bool = False,
        column: str | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        super().__init__(path, labeled=labeled, max_pixels=max_pixels)
        self.column = None if column is None else self._column(column)

    def _column(self, name: str) -> str:
        """The name of a column as the archive has it."""
        return name


class StoredEntry(Stored):
    """An image in an archive that is not read yet.

    Args:
        reader: of the archive's format.
        path: the archive.
        where: of the shard it is listed in.
        index: which of that shard's images it is.
    """

    __slots__ = ("_digest", "index", "path", "reader", "where")

    def __init__(self, reader: ArchiveShards, path: Path, where: dict[str, Any], index: int) -> None:
        self.reader, self.path, self.where, self.index = reader, path, where, index
        self._digest: str | None = None

    def fetched(self) -> Stored:
        return self.reader.fetch(self.path, self.where, self.index)

    def decode(self, max_pixels: int, bits: int | None = None) -> Decoded:
        return self.fetched().decode(max_pixels, bits)

    def digest(self) -> str:
        if self._digest is None:  # kept: what is compressed is unpacked from its beginning to be read a second time
            self._digest = self.fetched().digest()
        return self._digest


def _archive(uid: str, name: str) -> str | None:
    """The archive ``name`` as uids write it, where ``uid`` begins with it."""
    archive = uid_of(name)
    return archive if uid.startswith(f"{archive}/") else None


def _damaged(name: str) -> str:
    return f"{uid_of(name)}/#damaged"


def _without_end(stored: Iterator[Stored]) -> Generator[Stored]:
    """The images of ``stored``, and after its end or an error, without end, placeholders that say so."""
    reason, passing = "damaged: the archive has fewer images than when it was listed", False
    try:
        yield from stored
    except Exception as error:  # what zip, zlib and Parquet readers raise
        reason, passing = reason_of(error), is_passing(error)
    while True:
        yield StoredNothing(reason, passing)


def reason_of(error: Exception) -> str:
    """Why an archive cannot be read: the system's message, or damage, for which pyarrow raises OSErrors too."""
    known = isinstance(error, OSError) and error.strerror
    return f"cannot be opened: {known}" if known else f"damaged: {message_of(error)}"


def listed(names: Iterable[object], *, instead: str = "none") -> str:
    """Names as one text: the first 20, each cut at 100 characters, and the number of the others.

    Example:
        >>> listed(["a", "b"]), listed([]), listed(range(50))[-20:]
        ('a, b', 'none', '18, 19 and 30 others')
    """
    texts = [text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}..." for text in map(str, names)]
    more = f" and {len(texts) - _MAX_LISTED} others" if len(texts) > _MAX_LISTED else ""
    return (", ".join(texts[:_MAX_LISTED]) or instead) + more


def size_and_date(path: Path) -> tuple[int, int]:
    """Bytes and whole seconds; -1 where there is no such file."""
    try:
        status = os.stat(path)
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns // 10**9


def _found(path: Path) -> tuple[Path, tuple[str, ...] | None]:
    """The folder, and the archives below it where the path itself names them."""
    if path.is_dir():
        return path, None
    if path.exists() or not has_braces(path):
        return path.parent, (path.name,)
    parts = path.parts
    fixed = next(i for i, part in enumerate(parts) if "{" in part)
    folder = Path(*parts[:fixed])
    names = expand_braces("/".join(parts[fixed:]))
    for name in names:
        if not (folder / name).exists():
            raise UserError(nothing_there(folder / name))
    if len(set(names)) != len(names):
        raise UserError(f"{path} names {next(n for n in names if names.count(n) > 1)} twice")
    return folder, tuple(names)


def has_braces(path: Path) -> bool:
    return _BRACES.search(str(path)) is not None


def expand_braces(pattern: str) -> list[str]:
    """``{000..099}`` (as wide as its first number) and ``{a,b}``, in the order they are written.

    Raises:
        UserError: neither of the two between the braces, or more than a million names.

    Example:
        >>> expand_braces("{a,b}/shard-{08..10}.tar")[2:5]
        ['a/shard-10.tar', 'b/shard-08.tar', 'b/shard-09.tar']
    """
    match = _BRACES.search(pattern)
    if match is None:
        return [pattern]
    inside = match[1]
    ends = _RANGE.fullmatch(inside)
    if ends is not None:
        first, last = int(ends[1]), int(ends[2])
        if not 0 <= last - first < 10**6:
            raise UserError(f"{pattern}: expected an ascending range of at most a million, got {{{inside}}}")
        choices = [f"{i:0{len(ends[1])}d}" for i in range(first, last + 1)]
    elif "," in inside:
        choices = inside.split(",")
    else:
        raise UserError(f"{pattern}: expected {{000..099}} or {{a,b}}, got {{{inside}}}")
    rest = expand_braces(pattern[match.end() :])
    return [pattern[: match.start()] + choice + end for choice in choices for end in rest]
