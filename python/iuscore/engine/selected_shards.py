"""Write chosen images as WebDataset shards: the bytes of their files and members, never encoded again."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from iuscore._run.files import atomic_write
from iuscore._run.regular_files import regular_only
from iuscore.engine.selected_files import (
    Chosen,
    ChosenImages,
    beginning,
    extension_of,
    new_folder,
    safe_names,
    stored_content,
)
from iuscore.errors import UserError
from iuscore.images.listing import is_image_name
from iuscore.images.sources.archive import Damaged
from iuscore.images.sources.tar import TarShards
from iuscore.images.sources.tar_copy import samples_at
from iuscore.images.sources.tar_samples import TarMember
from iuscore.progress import Progress


class Stretch(NamedTuple):
    """Bytes of a file."""

    path: Path
    offset: int
    size: int


class Member(NamedTuple):
    """A member of a sample: its extension, its date in seconds, and its bytes."""

    extension: str
    date: int
    content: bytes | Stretch


class ShardWriter:
    """Writes samples into ``selected-000000.tar``, ... of at most ``size`` samples each; used in a ``with`` statement.

    Members of a sample follow each other. A key that an archive has already gets a number, since readers would take
    both samples for one.

    Args:
        folder: for the archives. size: samples in an archive.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size
        self.archives = 0
        self._keys: set[str] = set()
        self._open = ExitStack()
        self._tar: tarfile.TarFile | None = None

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *raised: Any) -> None:
        self._open.__exit__(*raised)

    def write(self, key: str, members: list[Member]) -> None:
        """Append one sample."""
        if self._tar is None or len(self._keys) >= self.size:
            self._open.close()
            self._keys = set()
            file = self._open.enter_context(atomic_write(self.folder / f"selected-{self.archives:06d}.tar"))
            self._tar = self._open.enter_context(tarfile.TarFile(fileobj=file, mode="w", format=tarfile.PAX_FORMAT))
            self.archives += 1
        unused, number = key, 1
        while unused in self._keys:
            number += 1
            unused = f"{key}_{number}"
        self._keys.add(unused)
        for member in members:
            info = tarfile.TarInfo(f"{unused}.{member.extension}" if member.extension else unused)
            info.mtime = member.date
            if isinstance(member.content, bytes):
                info.size = len(member.content)
                self._tar.addfile(info, io.BytesIO(member.content))
            else:
                _append(self._tar, info, member.content)


def _append(tar: tarfile.TarFile, info: tarfile.TarInfo, stretch: Stretch) -> None:
    info.size = stretch.size
    with open(stretch.path, "rb", opener=regular_only) as stream:
        stream.seek(stretch.offset)
        try:
            tar.addfile(info, stream)
        except OSError as error:
            if error.errno:
                raise
            raise UserError(f"{stretch.path}: cut off in {info.name}: score the images again") from None


def write_shards(folder: Path, chosen: ChosenImages, size: int, progress: Progress) -> int:
    """Chosen images as .tar archives, byte for byte.

    Of .tar archives, whole samples are copied, with everything that stands beside an image. Other images become samples
    of their own. A sample without a member ``.cls`` gets one with the class that the image claims.

    Args:
        folder: new or empty; it appears when all images are there. size: samples in an archive.

    Returns:
        Number of archives.
    """
    progress.start("writing", len(chosen), "image")
    with new_folder(folder) as root, ShardWriter(root, size) as writer:
        samples = _tar_samples(chosen) if isinstance(chosen.source, TarShards) else _single_samples(chosen)
        for key, members, n in samples:
            writer.write(key, members)
            progress.advance(n)
    progress.stop()
    return writer.archives


def _single_samples(chosen: ChosenImages) -> Iterator[tuple[str, list[Member], int]]:
    for _, images in chosen.by_shard():
        for _, (item, target) in images:
            content = stored_content(item)
            names = safe_names(item.uid, target)
            stem, dot, extension = names[-1].rpartition(".")
            if not (dot and stem and is_image_name(names[-1])):
                stem, extension = names[-1], extension_of(beginning(content)).removeprefix(".") or "bin"
            # Readers take a name up to its first dot for the key.
            key = "/".join([*names[:-1], stem.replace(".", "_")])
            if isinstance(content, Path):
                status = content.stat()
                image = Member(extension, int(status.st_mtime), Stretch(content, 0, status.st_size))
            else:
                image = Member(extension, 0, content)
            yield key, [image, Member("cls", 0, target.encode())], 1


def _tar_samples(chosen: ChosenImages) -> Iterator[tuple[str, list[Member], int]]:
    source = chosen.source
    assert isinstance(source, TarShards)
    for archive, shards in groupby(chosen.by_shard(), lambda found: str(found[0].where["archive"])):
        claimed: dict[int, str] = {}
        for shard, images in shards:
            for i, image in images:
                claimed[_offset(shard.where["members"][i][1], image)] = image.target
        path = source.archive_path(archive)
        try:
            for sample in samples_at(path, claimed):
                classes = {claimed[member.offset] for member in sample if member.offset in claimed}
                n = sum(member.offset in claimed for member in sample)
                yield _key(sample[0]), _copied(path, sample, classes), n
        except Damaged as error:
            raise UserError(f"{path}: {error}") from None


def _offset(place: object, image: Chosen) -> int:
    if not isinstance(place, int):
        raise UserError(f"{image.item.uid} cannot be copied: {place}")
    return place


def _key(member: TarMember) -> str:
    """The key as a path that leads nowhere."""
    folder, _, name = member.key.rpartition("/")
    return "/".join([part for part in folder.split("/") if part not in ("", ".", "..")] + [name or "_"])


def _copied(path: Path, sample: list[TarMember], classes: set[str]) -> list[Member]:
    members = []
    for member in sample:
        if member.problem:
            raise UserError(f"{path}: {member.name} cannot be copied: {member.problem}")
        content = Stretch(path, member.offset, member.size)
        members.append(Member(member.name[len(member.key) + 1 :], member.date, content))
    has_class = any(member.extension.rpartition(".")[2] == "cls" for member in sample)
    if not has_class and len(classes) == 1:
        members.append(Member("cls", 0, next(iter(classes)).encode()))
    return members
