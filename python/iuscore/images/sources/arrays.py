"""Arrays of images in files: MedMNIST's .npz archives and .npy files."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from iuscore._run.regular_files import regular_only
from iuscore.errors import UserError
from iuscore.images.decoded import MAX_PIXELS
from iuscore.images.listing import uid_of
from iuscore.images.reasons import message_of
from iuscore.images.sample import Stored, StoredArray
from iuscore.images.sources.archive import ArchiveShards, Damaged, listed, size_and_date
from iuscore.images.sources.array_files import (
    SPLITS,
    checked_labels,
    pixel_type,
    read_header,
    require_images,
    require_one_label,
    unpacked_bytes,
)
from iuscore.images.sources.base import Listed
from iuscore.images.sources.forward import read_from


class _Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pixels: str  # type in which the pixels are given
    start: int  # bytes of the file before the first image

    @property
    def n_bytes(self) -> int:
        """Bytes of one image."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def image(self, content: bytes) -> StoredArray:
        values = np.frombuffer(content, self.dtype).reshape(1, *self.shape[1:])
        return StoredArray(values.astype(self.pixels, copy=False), 0)


class NpzShards(ArchiveShards):
    """A MedMNIST archive, see `NpzSource`; uids are ``train/000012``.

    Compressed data cannot be read from the middle: a process that takes shards in ascending order reads the archive
    once, an image at a time; one that goes back begins again.

    Args:
        path: .npz file.
        labeled: read the class of every image: the number in ``{split}_labels``.
        split: ``"train"``, ``"val"`` or ``"test"``; None takes all that are there.
        max_pixels: larger images are refused when read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     path = Path(root, "m.npz")
        ...     np.savez(path, train_images=np.zeros((3, 28, 28), np.uint8))
        ...     [shard.n for shard in NpzShards(path).shards(2)]
        [2, 1]
    """

    format: ClassVar[str] = "npz"
    suffix: ClassVar[str] = ".npz"
    split_in_archive: ClassVar[bool] = True

    def __init__(
        self, path: str | Path, *, labeled: bool = False, split: str | None = None, max_pixels: int = MAX_PIXELS
    ) -> None:
        super().__init__(path, labeled=labeled, max_pixels=max_pixels)
        if split is not None and split not in SPLITS:
            raise UserError(f"split: expected train, val or test, got {split!r}")
        self.split = split

    def _parts(self, path: Path, name: str, size: int) -> Iterator[tuple[Sequence[Listed], dict[str, Any]]]:
        with _zip(path) as archive:
            present = sorted(member.removesuffix(".npy") for member in archive.namelist())
            splits = (self.split,) if self.split else tuple(s for s in sorted(SPLITS) if f"{s}_images" in present)
            for key in (f"{s}_{k}" for s in splits or SPLITS for k in ("images", "labels")[: 1 + self.labeled]):
                if key not in present:
                    raise UserError(f"{path} has no {key}: it has {listed(present, instead='no arrays')}")
            for split in splits:
                key = f"{split}_images"
                member = archive.getinfo(f"{key}.npy")
                there = unpacked_bytes(path, member)
                with _member(archive, key) as stream:
                    header = _header(stream, path, key)
                n = _whole(path, header, there, self.max_pixels)
                require_images(path, member, n)
                labels = self._labels(path, archive, split, header.shape[0], n) if self.labeled else None
                for start in range(0, n, size):
                    stop = min(start + size, n)
                    known = [None] * (stop - start) if labels is None else [str(k) for k in labels[start:stop].tolist()]
                    # The date of a member says nothing; its checksum says all.
                    images = [
                        Listed(_uid(split, start + i), label, header.n_bytes, member.CRC)
                        for i, label in enumerate(known)
                    ]
                    yield images, {"split": split, "rows": [start, stop]}
                _require_all(key, header, n)

    def _labels(self, path: Path, archive: zipfile.ZipFile, split: str, claimed: int, n: int) -> NDArray[Any]:
        """Labels of the first ``n`` of ``claimed`` images."""
        key = f"{split}_labels"
        unpacked_bytes(path, archive.getinfo(f"{key}.npy"))
        with _member(archive, key) as stream:
            return _labels(stream, path, key, claimed, n)

    def _uids(self, where: dict[str, Any]) -> Iterator[str]:
        return (_uid(where["split"], i) for i in range(*where["rows"]))

    def _one(self, where: dict[str, Any], i: int) -> dict[str, Any]:
        row = where["rows"][0] + i
        return {"split": where["split"], "rows": [row, row + 1]}

    def _stored(self, path: Path, where: dict[str, Any]) -> Iterator[Stored]:
        start, stop = where["rows"]
        key = (str(path), size_and_date(path), where["split"])
        with read_from(start, key, partial(_Images, path, f"{where['split']}_images")) as images:
            for _ in range(start, stop):
                yield images.read()


class _Images:
    """The images of one array of an .npz archive, in order."""

    def __init__(self, path: Path, key: str) -> None:
        self.position = 0
        self._archive = _zip(path)
        self._stream = _member(self._archive, key)
        self._header = _header(self._stream, path, key)

    def read(self) -> StoredArray:
        image = self._header.image(_exactly(self._stream, self._header.n_bytes))
        self.position += 1
        return image

    def skip_to(self, position: int) -> None:
        while self.position < position:
            _exactly(self._stream, self._header.n_bytes)
            self.position += 1

    def close(self) -> None:
        self._stream.close()
        self._archive.close()


class NpyShards(ArchiveShards):
    """A .npy array [N, H, W], [N, H, W, 1] or [N, H, W, 3], a folder of them, or a pattern with braces.

    Values are uint8, uint16, or floats in [0, 1]. Uids are ``<file>/<image>`` with nine digits. An image is read from
    its place in the file when it is asked for. Classes of ``x.npy`` are integers [N] or [N, 1] in ``x_labels.npy``
    beside it, those of ``train_images.npy`` in ``train_labels.npy``.

    Args:
        path: file, folder or pattern.
        labeled: read the class of every image.
        max_pixels: larger images are refused when read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     np.save(Path(root, "x.npy"), np.zeros((3, 8, 8), np.uint8))
        ...     source = NpyShards(root)
        ...     [item.uid for shard in source.shards(2) for item in source.items(shard)][2]
        'x.npy/000000002'
    """

    format: ClassVar[str] = "npy"
    suffix: ClassVar[str] = ".npy"

    def _archives(self) -> Sequence[str]:
        """The arrays of images, without those of their labels."""
        names = super()._archives()
        labels = {_labels_name(name) for name in names}
        for name in names:
            if name in labels and len(names) > 1:
                self._leave_out(uid_of(name))
        return [name for name in names if name not in labels] if len(names) > 1 else names

    def _parts(self, path: Path, name: str, size: int) -> Iterator[tuple[Sequence[Listed], dict[str, Any]]]:
        with open(path, "rb", opener=regular_only) as stream:
            header = _header(stream, path, name)
        if len(header.shape) == 3 and header.shape[2] in (1, 3):
            raise UserError(
                f"{path}: {list(header.shape)} looks like one image: save a stack of them, [N, H, W] or [N, H, W, 3]"
            )
        n_bytes, date = size_and_date(path)
        n = _whole(path, header, n_bytes, self.max_pixels)
        labels = self._labels(path, header.shape[0], n) if self.labeled else None
        for start in range(0, n, size):
            stop = min(start + size, n)
            known = [None] * (stop - start) if labels is None else [str(k) for k in labels[start:stop].tolist()]
            images = [Listed(f"{name}/{start + i:09d}", label, header.n_bytes, date) for i, label in enumerate(known)]
            yield images, {"rows": [start, stop]}
        _require_all(name, header, n)

    def _labels(self, path: Path, claimed: int, n: int) -> NDArray[Any]:
        """Labels of the first ``n`` of ``claimed`` images."""
        beside = path.with_name(_labels_name(path.name))
        if not beside.exists():
            raise UserError(
                f"{path} has no classes: save an integer for each image as {beside.name} beside it, or use an .npz "
                "with labels"
            )
        with open(beside, "rb", opener=regular_only) as stream:
            return _labels(stream, beside, "the array", claimed, n)

    def _uids(self, where: dict[str, Any]) -> Iterator[str]:
        return (f"{where['uid']}/{i:09d}" for i in range(*where["rows"]))

    def _one(self, where: dict[str, Any], i: int) -> dict[str, Any]:
        row = where["rows"][0] + i
        return {"rows": [row, row + 1]}

    def _stored(self, path: Path, where: dict[str, Any]) -> Iterator[Stored]:
        # Not a memory map: where the file is cut short, touching that kills the process.
        with open(path, "rb", opener=regular_only) as stream:
            header = _header(stream, path, path.name)
            start, stop = where["rows"]
            stream.seek(header.start + start * header.n_bytes)
            for _ in range(start, stop):
                yield header.image(_exactly(stream, header.n_bytes))


def _zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except OSError:
        raise
    except Exception as error:  # zipfile lets out more than BadZipFile
        raise Damaged(f"damaged or no .npz archive: {message_of(error)}") from error


def _member(archive: zipfile.ZipFile, key: str) -> IO[bytes]:
    try:
        return archive.open(f"{key}.npy")
    except Exception as error:
        raise Damaged(f"damaged: {key}: {message_of(error)}") from error


def _labels_name(name: str) -> str:
    """The file beside an array of images that has their labels.

    Example:
        >>> [_labels_name(name) for name in ("x.npy", "train_images.npy", "images.npy")]
        ['x_labels.npy', 'train_labels.npy', 'labels.npy']
    """
    stem, dot, suffix = name.rpartition(".")
    return (
        f"{stem.removesuffix('images')}labels{dot}{suffix}"
        if stem.endswith("images")
        else f"{stem}_labels{dot}{suffix}"
    )


def _labels(stream: IO[bytes], path: Path, key: str, claimed: int, n: int) -> NDArray[Any]:
    """Labels of the first ``n`` of ``claimed`` images from the array that ``stream`` holds."""
    try:
        header = read_header(stream)
        require_one_label(path, key, header.shape, claimed)
        if header.dtype.hasobject:
            raise ValueError("objects, not numbers")
        values = np.frombuffer(_exactly(stream, n * header.dtype.itemsize), header.dtype)
    except UserError:
        raise
    except Exception as error:  # whatever zip, zlib and header parsing raise
        raise Damaged(f"damaged: {key}: {message_of(error)}") from error
    return checked_labels(path, key, values, n)


def _header(stream: IO[bytes], path: Path, key: str) -> _Header:
    try:
        header = read_header(stream)
    except Exception as error:
        raise Damaged(f"damaged: {key}: {message_of(error)}") from error
    pixels = pixel_type(path, key, header.shape, header.dtype)
    if header.by_columns and header.shape[0] > 1:
        raise UserError(f"{key} of {path} is stored by columns: save np.ascontiguousarray of it")
    return _Header(header.shape, header.dtype, pixels, header.start)


def _whole(path: Path, header: _Header, there: int, max_pixels: int) -> int:
    """Number of images that ``there`` bytes hold whole."""
    height, width = header.shape[1:3]
    if height * width > max_pixels:
        raise UserError(f"{path}: images of {width} x {height}, more than {max_pixels} pixels")
    return max(0, min(header.shape[0], (there - header.start) // header.n_bytes))


def _require_all(key: str, header: _Header, n: int) -> None:
    if n < header.shape[0]:
        raise Damaged(f"cut off: {n} of {header.shape[0]} images of {key} are there")


def _exactly(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise ValueError("the array ends before its last image")
    return content


def _uid(split: str, i: int) -> str:
    return f"{split}/{i:06d}"
