"""Binary PGM and PPM files whose largest value is not 255, by NumPy: Pillow takes a second for a million pixels.

The values are those of Pillow, bit for bit.
"""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from iuscore.images.decoded import DEPTH_REDUCED, UnreadableImage, full_range, note_small_range


def is_scaled(tile: Any) -> bool:
    """Whether Pillow would take its slow decoder."""
    return bool(tile.codec_name == "ppm")


def scaled_pixels(
    stream: BinaryIO, tile: Any, size: tuple[int, int], notes: list[str], bits: int | None
) -> NDArray[Any]:
    """[height, width, C] of values stretched from 0..maximum: uint16 gray where the maximum is above 255, else uint8.

    Raises:
        UnreadableImage: truncated, or more bits than ``bits`` in color files of 16 bits.
    """
    channels = 3 if tile.args[0] == "RGB" else 1
    most = int(tile.args[1])
    kind = np.dtype(np.uint8 if most < 256 else ">u2")
    width, height = size
    n = width * height * channels
    stream.seek(tile.offset)
    content = stream.read(n * kind.itemsize)
    if len(content) < n * kind.itemsize:
        raise UnreadableImage("truncated: image file is truncated", width, height)
    values = np.frombuffer(content, kind).reshape(height, width, channels)
    if channels == 3 and most == 65535 and bits is not None and bits < 16:
        return full_range(values, notes, bits=bits)
    deep = channels == 1 and most > 255
    top = 65535 if deep else 255
    table = np.minimum(np.rint(np.arange(1 << 8 * kind.itemsize) / most * top), top)
    pixels: NDArray[Any] = table.astype(np.uint16 if deep else np.uint8)[values]
    if channels == 3 and most > 255:
        notes.append(DEPTH_REDUCED)
        if most == 65535:
            note_small_range(int(values.max()).bit_length(), 16, notes)
    return pixels
