"""Arrays in .npz archives and .npy files: their headers, how much of them can be there, which are images or labels."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from iuscore.errors import UserError
from iuscore.images.listing import most_images

SPLITS = ("train", "val", "test")

_PIXEL_TYPES = {
    "uint8": "uint8",
    "uint16": "uint16",
    "float16": "float32",
    "float32": "float32",
    "float64": "float32",
}

# NumPy takes headers of up to 10,000 characters.
_LONGEST_HEADER = 1 << 14
# The highest ratio that deflate can reach: 258 bytes from 2 bits.
_MAX_UNPACKED = 1032
_METHODS = {zipfile.ZIP_BZIP2: "bzip2", zipfile.ZIP_LZMA: "lzma"}


class ArrayHeader(NamedTuple):
    """What stands before an array.

    Attributes:
        shape: of the array, as claimed.
        by_columns: whether it is stored in Fortran's order.
        dtype: of its elements.
        start: bytes before the first element.
    """

    shape: tuple[int, ...]
    by_columns: bool
    dtype: np.dtype[Any]
    start: int


def read_header(stream: IO[bytes]) -> ArrayHeader:
    """Header of the array that begins at ``stream``, which is then at its first element; raises ValueError."""
    # A header may say that it has 4 GB.
    head = io.BytesIO(stream.read(_LONGEST_HEADER))
    version = np.lib.format.read_magic(head)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"an array of version {version[0]}.{version[1]}")
    shape, by_columns, dtype = read(head)
    if any(n < 0 for n in shape):
        raise ValueError(f"an array of shape {list(shape)}")
    stream.seek(head.tell())
    return ArrayHeader(shape, by_columns, dtype, head.tell())


def unpacked_bytes(path: Path, member: zipfile.ZipInfo) -> int:
    """Bytes that a member of an .npz can have: what it claims, or what the archive can hold if that is less.

    Raises:
        UserError: compressed by a method whose unpacking has no bound.
    """
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        method = _METHODS.get(member.compress_type, f"method {member.compress_type}")
        raise UserError(
            f"{path}: {member.filename} is compressed by {method}: save it with np.savez_compressed, which uses deflate"
        )
    packed = packed_bytes(path, member)
    ratio = 1 if member.compress_type == zipfile.ZIP_STORED else _MAX_UNPACKED
    return min(member.file_size, packed * ratio)


def packed_bytes(path: Path, member: zipfile.ZipInfo) -> int:
    """Bytes of a member in the archive: what it claims, or what the archive has if that is less."""
    return min(member.compress_size, path.stat().st_size)


def require_images(path: Path, member: zipfile.ZipInfo, n: int) -> None:
    """Raise a UserError where an array of ``n`` images is packed into far too few bytes.

    A hundred million images of one pixel fit into 100 kB, and would be as many rows.
    """
    packed = packed_bytes(path, member)
    if n > most_images(packed):
        raise UserError(
            f"{path}: {member.filename} has {n} images in {packed} bytes, expected at most {most_images(packed)}: "
            "save them without compression"
        )


def pixel_type(path: Path, key: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    """Type in which the pixels of an array are given; a UserError where the array holds no images."""
    described = f"{key} of {path}: expected [N, H, W] or [N, H, W, 3], got {list(shape)}"
    if len(shape) == 4 and shape[3] not in (1, 3):
        raise UserError(f"{described}; 3-D volumes are not supported")
    if len(shape) not in (3, 4) or 0 in shape[1:]:
        raise UserError(described)
    if dtype.name not in _PIXEL_TYPES:
        raise UserError(f"{key} of {path}: expected uint8, uint16 or floats in [0, 1], got {dtype}")
    return _PIXEL_TYPES[dtype.name]


def require_one_label(path: Path, key: str, shape: tuple[int, ...], count: int) -> None:
    """A UserError where an array of this shape has not one label for each of ``count`` images."""
    if len(shape) == 2 and shape[1] > 1:
        raise UserError(f"{key} of {path} has {shape[1]} labels per image: only one per image is supported")
    if len(shape) not in (1, 2) or math.prod(shape) != count:
        raise UserError(f"{key} of {path}: expected [{count}, 1], one label per image, got {list(shape)}")


def checked_labels(path: Path, key: str, labels: NDArray[Any], count: int) -> NDArray[Any]:
    """Labels [count]; a UserError unless ``labels`` are integers from 0, one for each image."""
    require_one_label(path, key, labels.shape, count)
    if labels.dtype.kind not in "iu" or (count and labels.min() < 0):
        raise UserError(f"{key} of {path}: expected integers from 0, got {labels.dtype} {labels.reshape(-1)[:3]}")
    return labels.reshape(-1)
