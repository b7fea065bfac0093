"""Samples of a WebDataset archive with all their members, to be copied as they are."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import groupby
from pathlib import Path

from iuscore._run.regular_files import regular_only
from iuscore.images.sources.tar import _members
from iuscore.images.sources.tar_samples import TarMember


def samples_at(path: Path, offsets: Collection[int]) -> Iterator[list[TarMember]]:
    """The samples of an archive in which a member begins at one of ``offsets``, all members of each.

    What a sample is, is said in `TarShards`: members of one key that follow each other, each extension once.

    Raises:
        Damaged: the headers end before the archive.

    Example:
        >>> import io, tarfile, tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     with tarfile.open(Path(root, "x.tar"), "w", format=tarfile.USTAR_FORMAT) as tar:
        ...         for name in ("1.cls", "1.pgm", "2.pgm"):
        ...             tar.addfile(tarfile.TarInfo(name), io.BytesIO())
        ...     [[member.name for member in sample] for sample in samples_at(Path(root, "x.tar"), {1024})]
        [['1.cls', '1.pgm']]
    """
    with open(path, "rb", opener=regular_only) as stream:
        for _, members in groupby(_members(stream), lambda member: member.key):
            sample: list[TarMember] = []
            for member in members:
                if any(member.extension == other.extension for other in sample):
                    if _is_wanted(sample, offsets):
                        yield sample
                    sample = []
                sample.append(member)
            if _is_wanted(sample, offsets):
                yield sample


def _is_wanted(sample: list[TarMember], offsets: Collection[int]) -> bool:
    return any(member.offset in offsets for member in sample)
