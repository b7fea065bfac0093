"""WebDataset: tar archives in which the members of one sample share a name up to its first dot."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import IO, Any, ClassVar

from iuscore._run.regular_files import regular_only
from iuscore.errors import UserError
from iuscore.images.listing import is_image_name, is_passed_over, uid_of
from iuscore.images.reasons import message_of
from iuscore.images.sample import Stored, StoredBytes, StoredNothing
from iuscore.images.sources.archive import ColumnShards, Damaged, size_and_date
from iuscore.images.sources.base import Listed
from iuscore.images.sources.tar_samples import TarMember, TarSample, labeled

_LARGEST = 2**31
_LONGEST_CLASS = 1000
_BLOCK = 512

# Headers before the one of a member: its long name, its times, ...; real archives have one to three of some kB.
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
             tarfile.GNUTYPE_LONGLINK)  # fmt: skip
_MAX_EXTENSIONS = 32
_LARGEST_EXTENSION = 1 << 20
_MAX_SPARSE_PIECES = 21 * 4096
_SPARSE_IN_CONTENT = b"GNU.sparse.major=1\n"
# The longest path that Linux takes.
_LONGEST_NAME = 4096


class TarShards(ColumnShards):
    """A .tar archive, a folder of them, or a pattern such as ``shards-{000..099}.tar``.

    By WebDataset's conventions: a member's key is its path up to the first dot of the file name, what follows is
    its extension, and members of one key that follow each other are one sample, up to one whose extension was there
    before, which begins the next sample. Those whose name ends as an image's are the images. The class of an image,
    a text or an integer, is in the ``.cls`` member of its whole name (``1.5T.cls`` of ``1.5T.png``), else in that of
    the sample (``1.cls``). Images whose class is not certain cannot be read: the reason says why. Uids are
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

    format: ClassVar[str] = "webdataset"
    suffix: ClassVar[str] = ".tar"

    def _column(self, name: str) -> str:
        return name.lower().lstrip(".")

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

    def _one(self, where: dict[str, Any], i: int) -> dict[str, Any]:
        return {"members": [where["members"][i]]}

    def _stored(self, path: Path, where: dict[str, Any]) -> Iterator[Stored]:
        with open(path, "rb", buffering=0, opener=regular_only) as stream:
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

    def _images(self, path: Path, archive: str) -> Iterator[tuple[TarMember, str | None]]:
        seen: dict[str, int] = {}
        with open(path, "rb", opener=regular_only) as stream:
            if not self.labeled:  # each image stands alone
                for member in _members(stream):
                    if self._is_wanted(member):
                        yield _numbered(member, seen), None
                    else:
                        self._leave_out(f"{archive}/{member.name}")
                return
            for _, members in groupby(_members(stream), lambda member: member.key):
                samples, damage = self._samples(stream, members, archive, seen)
                yield from labeled(samples, archive)
                if damage is not None:
                    raise damage

    def _samples(
        self, stream: IO[bytes], members: Iterator[TarMember], archive: str, seen: dict[str, int]
    ) -> tuple[list[TarSample], Damaged | None]:
        """Samples of one key that follow each other, and the damage at which the archive ends among them, if any."""
        samples: list[TarSample] = []
        try:
            for member in members:
                if not samples or member.extension in samples[-1].extensions:
                    samples.append(TarSample())
                sample = samples[-1]
                sample.extensions.add(member.extension)
                stem, _, last = member.extension.rpartition(".")
                if last == "cls":
                    sample.add_class(stem, _class(stream, member, archive))
                elif self._is_wanted(member):
                    sample.add_image(stem, _numbered(member, seen))
                else:
                    self._leave_out(f"{archive}/{member.name}")
        except Damaged as error:
            # The class of the last images may have been in what is lost.
            if samples and not samples[-1].pairs_up:
                samples.pop()
            return samples, error
        return samples, None

    def _is_wanted(self, member: TarMember) -> bool:
        return is_image_name(member.name) and self.column in (None, member.extension)


def _members(stream: IO[bytes]) -> Iterator[TarMember]:
    """Files and links, but hidden ones, from the headers; raises Damaged where these end before the archive."""
    _require_short_header(stream, 0, "its beginning")
    tar = _tar(stream)  # reads the first header
    last, before = "its beginning", 0
    while True:
        try:
            if before:
                _require_short_header(stream, before, last)
            info = tar.next()
        except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError) as error:
            raise Damaged(f"damaged or cut off after {last}: {message_of(error)}") from error
        tar.members = []  # type: ignore[attr-defined]  # tarfile keeps them all
        if info is None:
            break
        # A sparse member's size is not the one that leads to the next header.
        if info.size < 0 or tar.offset <= before:
            raise Damaged(f"damaged after {last}: a member of a size below 0")
        before = tar.offset
        _keep_little(tar, last)
        if (length := max(len(info.name), len(info.linkname))) > _LONGEST_NAME:
            raise Damaged(f"damaged after {last}: a member with a name of {length} characters")
        name = last = uid_of(info.name.removeprefix("./"))
        hidden = any(is_passed_over(part) and part != ".." for part in name.split("/"))
        if not hidden and (info.isreg() or info.islnk() or info.issym()):
            date = int(info.mtime) if abs(info.mtime) < 1e12 else 0
            yield TarMember(name, info.offset_data, info.size, date, _problem(info))
    # tarfile takes any header it cannot read for the end; an archive that is whole ends with a block of zeros.
    stream.seek(tar.offset)
    if stream.read(_BLOCK) != bytes(_BLOCK):
        raise Damaged(f"damaged or cut off after {last}: no end of the archive is there")


def _require_short_header(stream: IO[bytes], offset: int, last: str) -> None:
    """Raise Damaged where the header of the next member goes on and on: tarfile reads it as a whole, by recursion."""
    stream.seek(offset)
    sparse = False
    for _ in range(_MAX_EXTENSIONS):
        header = stream.read(_BLOCK)
        typeflag = header[156:157]
        if typeflag == tarfile.GNUTYPE_SPARSE or (sparse and typeflag not in _EXTENDED):
            if _has_many_pieces(stream, header, sparse):
                raise Damaged(f"damaged after {last}: a sparse member of more than {_MAX_SPARSE_PIECES} pieces")
            return
        if typeflag not in _EXTENDED:
            return
        try:
            size = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape").size
        except tarfile.TarError:  # no header at all; tarfile says what it takes it for
            return
        if not 0 <= size <= _LARGEST_EXTENSION:
            raise Damaged(f"damaged after {last}: an extended header of {size} bytes")
        sparse |= _SPARSE_IN_CONTENT in stream.read(size)
        stream.seek(-size % _BLOCK, os.SEEK_CUR)
    raise Damaged(f"damaged after {last}: more than {_MAX_EXTENSIONS} extended headers for one member")


def _has_many_pieces(stream: IO[bytes], header: bytes, in_content: bool) -> bool:
    """Whether a sparse file has very many pieces: by its header's blocks, or by the first line of its content."""
    if in_content:
        number = stream.read(_BLOCK).partition(b"\n")[0].strip()
        return not number.isdigit() or len(number) > 9 or int(number) > _MAX_SPARSE_PIECES
    more = header[482]
    for _ in range(_MAX_SPARSE_PIECES // 21):
        block = stream.read(_BLOCK) if more else b""
        if len(block) < _BLOCK:
            return False
        more = block[504]
    return True


def _keep_little(tar: tarfile.TarFile, last: str) -> None:
    """Of a global header, which tarfile applies to every member after it, only what means something and is short."""
    if not tar.pax_headers:
        return
    kept = {key: tar.pax_headers[key] for key in tarfile.PAX_FIELDS if key in tar.pax_headers}
    longest = max(map(len, kept.values()), default=0)
    if longest > _LONGEST_NAME:
        raise Damaged(f"damaged after {last}: a global header with a value of {longest} characters")
    tar.pax_headers = kept


def _tar(stream: IO[bytes]) -> tarfile.TarFile:
    stream.seek(0)
    try:
        return tarfile.open(fileobj=stream, mode="r:", encoding="utf-8", errors="surrogateescape")
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError) as error:
        raise Damaged(f"damaged, or no tar archive: {message_of(error)}") from error


def _problem(info: tarfile.TarInfo) -> str:
    if info.issparse():
        return "stored as a sparse file: pack the archive again without --sparse"
    if info.islnk() or info.issym():
        return (
            f"stored as a link to {uid_of(info.linkname)}: pack the archive again with --dereference --hard-dereference"
        )
    return ""


def _numbered(member: TarMember, seen: dict[str, int]) -> TarMember:
    """``member`` by a name of its own."""
    number = seen[member.name] = seen.get(member.name, 0) + 1
    return member if number == 1 else replace(member, name=f"{member.name}#{number}")


def _class(stream: IO[bytes], member: TarMember, archive: str) -> str:
    if member.size <= _LONGEST_CLASS and not member.problem:
        stream.seek(member.offset)
        content = stream.read(member.size)
        if len(content) < member.size:
            raise Damaged(f"cut off in {member.name}")
        label = content.decode("utf-8", "replace").strip()
        if label and label.isprintable():
            return label
    raise UserError(f"{archive}/{member.name}: expected a class, one line of text or an integer")


def _read(stream: IO[bytes], offset: int, size: int) -> bytes:
    stream.seek(offset)
    content = b""
    while len(content) < size and (more := stream.read(size - len(content))):
        content += more
    return content
