"""DICOM files made with pydicom, and some that no program would write."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np


def dataset(
    pixels: np.ndarray,
    bits: int = 8,
    kind: str = "MONOCHROME2",
    *,
    implicit: bool = False,
    big: bool = False,
    **attributes: Any,
) -> Any:
    """[H, W], [H, W, 3] or [frames, H, W] integers; ``implicit`` and ``big`` say how the file is written."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    made = Dataset()
    made.file_meta = FileMetaDataset()
    syntax = ImplicitVRLittleEndian if implicit else ExplicitVRBigEndian if big else ExplicitVRLittleEndian
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = CTImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = "1.2.3"
    many = kind.startswith("MONOCHROME") and pixels.ndim == 3
    made.Rows, made.Columns = pixels.shape[1:3] if many else pixels.shape[:2]
    if many:
        made.NumberOfFrames = len(pixels)
    made.SamplesPerPixel = 1 if kind.startswith(("MONO", "PAL")) else 3
    if made.SamplesPerPixel == 3:
        made.PlanarConfiguration = 0
    made.PhotometricInterpretation = kind
    made.BitsAllocated = pixels.itemsize * 8
    made.BitsStored, made.HighBit = bits, bits - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    stored = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<"))
    content = stored.tobytes() + b"\0" * (pixels.nbytes % 2)
    made.add_new(0x7FE00010, "OB" if pixels.itemsize == 1 and not implicit else "OW", content)
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def saved(made: Any) -> bytes:
    stream = io.BytesIO()
    made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def sequence(**attributes: Any) -> Any:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return Sequence([item])


def item(*elements: tuple[int, int, str, Any]) -> Any:
    """A data set of ``elements``: group, number, kind, value."""
    from pydicom.dataset import Dataset

    made = Dataset()
    for group, number, kind, value in elements:
        made.add_new((group, number), kind, value)
    return made


def items(*found: Any) -> Any:
    from pydicom.sequence import Sequence

    return Sequence(found)


def deflated_bomb(gib: int) -> bytes:
    """A deflated file with one private element of ``gib`` GiB of zeros and no image."""
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    made = dataset(np.zeros((1, 2), np.uint8))
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    whole = saved(made)
    head = whole[: 144 + struct.unpack_from("<I", whole, 140)[0]]
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    element = struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, min(gib << 30, 0xFFFFFFF0))
    content = deflater.compress(element) + deflater.flush(zlib.Z_FULL_FLUSH)
    # After a full flush a block stands for itself, and may be repeated.
    zeros = deflater.compress(bytes(1 << 24)) + deflater.flush(zlib.Z_FULL_FLUSH)
    return head + content + zeros * (gib << 6) + deflater.flush()
