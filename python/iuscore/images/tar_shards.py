"""WebDataset: tar archives in which the members of one sample share a name up to its first dot."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import IO, Any, ClassVar

from iuscore.errors import UserError
from iuscore.images.archives import ArchiveShards, Damaged, one_line, size_and_date
from iuscore.images.decode import MAX_PIXELS
from iuscore.images.listing import is_image_name, is_passed_over, uid_of
from iuscore.images.sample import Stored, StoredBytes, StoredNothing
from iuscore.images.shards import Listed

_LARGEST = 2**31
_LONGEST_CLASS = 1000
_BLOCK = 512


class TarShards(ArchiveShards):
    """A .tar archive, a folder of them, or a pattern such as ``shards-{000..099}.tar``.

    By WebDataset's conventions: a member's key is its path up to the first dot of the file name, what follows is
    its extension, and members of one key that follow each other are one sample. Those whose name ends as an
    image's are the images; the sample's ``.cls`` member, a text or an integer, is their class. Uids are
    ``<archive>/<member>``; further members of one name get ``#2``, ``#3``. Names are only names: nothing is
    unpacked. Headers alone are read for the listing.

    Args:
        path: file, folder or pattern.
        labeled: read the class of every sample.
        column: extension of the members to take, such as ``jpg`` or ``left.png``; None: all images.
        max_pixels: larger images are refused when read.

    Example:
        >>> import io, tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with tarfile.open(Path(root, "x.tar"), "w") as tar:
        ...         for name, content in (("1.cls", b"7"), ("1.pgm", b"P5 1 1 255 0")):
        ...             member = tarfile.TarInfo(name)
        ...             member.size = len(content)
        ...             tar.addfile(member, io.BytesIO(content))
        ...     source = TarShards(root, labeled=True)
        ...     [(item.uid, item.label) for shard in source.shards(10) for item in source.items(shard)]
        [('x.tar/1.pgm', '7')]
    """

    kind: ClassVar[str] = "webdataset"
    suffix: ClassVar[str] = ".tar"

    def __init__(
        self,
        path: str | Path,
        *,
        labeled: bool = False,
        column: str | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        super().__init__(path, labeled=labeled, max_pixels=max_pixels)
        self.column = None if column is None else column.lower().lstrip(".")

    def _parts(self, path: Path, name: str, size: int) -> Iterator[tuple[list[Listed], dict[str, Any]]]:
        date = size_and_date(path)[1]
        images: list[Listed] = []
        members: list[list[object]] = []
        damage: Damaged | None = None
        try:
            for member, label in self._images(path, name):
                images.append(Listed(f"{name}/{member.name}", label, member.size, max(date, member.date)))
                members.append([member.name, member.problem or member.offset, member.size])
                if len(images) == size:
                    yield images, {"members": members}
                    images, members = [], []
        except Damaged as error:
            damage = error
        if images:
            yield images, {"members": members}
        if damage is not None:
            raise damage

    def _uids(self, where: dict[str, Any]) -> Iterator[str]:
        return (f"{where['uid']}/{name}" for name, _, _ in where["members"])

    def _stored(self, path: Path, where: dict[str, Any]) -> Iterator[Stored]:
        with open(path, "rb", buffering=0) as stream:
            there = os.fstat(stream.fileno()).st_size
            for _, offset, size in where["members"]:
                if isinstance(offset, str):
                    yield StoredNothing(offset)
                elif offset + size > there:
                    yield StoredNothing("truncated: the archive ends inside it")
                elif size > _LARGEST:
                    yield StoredNothing(f"too large: {size} bytes")
                else:
                    yield StoredBytes(_read(stream, offset, size))

    def _images(self, path: Path, archive: str) -> Iterator[tuple[_Member, str | None]]:
        seen: dict[str, int] = {}
        with open(path, "rb") as stream:
            for key, sample in groupby(_members(stream), lambda member: member.key):
                label: str | None = None
                images: list[_Member] = []
                damage: Damaged | None = None
                try:
                    for member in sample:
                        if self.labeled and member.extension == "cls":
                            label = _class(stream, member, archive)
                        elif self._is_wanted(member):
                            images.append(_numbered(member, seen))
                        else:
                            self.ignored += 1
                except Damaged as error:
                    damage = error
                    images = images if label is not None or not self.labeled else []
                if images and self.labeled and label is None:
                    raise UserError(f"{archive}/{images[0].name} has no class: no member {key}.cls beside it")
                yield from ((member, label) for member in images)
                if damage is not None:
                    raise damage

    def _is_wanted(self, member: _Member) -> bool:
        return is_image_name(member.name) and self.column in (None, member.extension)


@dataclass
class _Member:
    name: str
    offset: int
    size: int
    date: int
    problem: str
    key: str = field(init=False)
    extension: str = field(init=False)

    def __post_init__(self) -> None:
        folder, slash, last = self.name.rpartition("/")
        stem, _, extension = last.partition(".")
        self.key = folder + slash + stem
        self.extension = extension.lower()


def _members(stream: IO[bytes]) -> Iterator[_Member]:
    """Files and links, but hidden ones, from the headers; raises Damaged where these end before the archive."""
    tar = _tar(stream)
    last = "its beginning"
    while True:
        try:
            info = tar.next()
        except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError) as error:
            raise Damaged(f"damaged or cut off after {last}: {one_line(error)}") from error
        tar.members = []  # type: ignore[attr-defined]  # tarfile keeps them all
        if info is None:
            break
        if info.size < 0:
            raise Damaged(f"damaged after {last}: a member of {info.size} bytes")
        name = last = uid_of(info.name.removeprefix("./"))
        hidden = any(is_passed_over(part) and part != ".." for part in name.split("/"))
        if not hidden and (info.isreg() or info.islnk() or info.issym()):
            date = int(info.mtime) if abs(info.mtime) < 1e12 else 0
            yield _Member(name, info.offset_data, info.size, date, _problem(info))
    # tarfile takes any header it cannot read for the end; an archive that is whole ends with a block of zeros.
    stream.seek(tar.offset)
    if stream.read(_BLOCK) != bytes(_BLOCK):
        raise Damaged(f"damaged or cut off after {last}: no end of the archive is there")


def _tar(stream: IO[bytes]) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=stream, mode="r:", encoding="utf-8", errors="surrogateescape")
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise Damaged(f"damaged, or no tar archive: {one_line(error)}") from error


def _problem(info: tarfile.TarInfo) -> str:
    if info.issparse():
        return "stored as a sparse file: pack the archive again without --sparse"
    if info.islnk() or info.issym():
        return (
            f"stored as a link to {uid_of(info.linkname)}: pack the archive again with --dereference --hard-dereference"
        )
    return ""


def _numbered(member: _Member, seen: dict[str, int]) -> _Member:
    """``member`` by a name of its own."""
    number = seen[member.name] = seen.get(member.name, 0) + 1
    return member if number == 1 else replace(member, name=f"{member.name}#{number}")


def _class(stream: IO[bytes], member: _Member, archive: str) -> str:
    if member.size <= _LONGEST_CLASS:
        stream.seek(member.offset)
        label = stream.read(member.size).decode("utf-8", "replace").strip()
        if label and label.isprintable():
            return label
    raise UserError(f"{archive}/{member.name}: expected a class, one line of text or an integer")


def _read(stream: IO[bytes], offset: int, size: int) -> bytes:
    stream.seek(offset)
    content = b""
    while len(content) < size and (more := stream.read(size - len(content))):
        content += more
    return content
