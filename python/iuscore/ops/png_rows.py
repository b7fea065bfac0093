"""The row filters of PNG, undone in C++: a step of reading files, not an op on tensors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from iuscore.ops._backend import extension


def png_rows(inflated: bytes, height: int, width: int, channels: int) -> NDArray[np.uint8] | None:
    """Pixels of the inflated data of a PNG file that is not interlaced.

    Args:
        inflated: height rows of 1 + width * channels bytes: type of the filter, then what it left of the row.
        height: rows, at least 1.
        width: columns, at least 1.
        channels: bytes of a pixel: 1 or 3.

    Returns:
        [height, width, channels], uint8; None where a row has an unknown filter or the compiled module is missing.

    Raises:
        ValueError: ``inflated`` has another length, or a number is out of range.

    Example:
        >>> png_rows(bytes([1, 5, 1, 1]), 1, 3, 1).ravel().tolist()
        [5, 6, 7]
    """
    core = extension("_core")[0]
    if core is None:
        return None
    filtered = np.frombuffer(inflated, np.uint8)
    pixels = np.empty((max(height, 0), max(width, 0), max(channels, 0)), np.uint8)
    known = core.png_rows(
        filtered=(filtered.ctypes.data, filtered.size),
        pixels=(pixels.ctypes.data, pixels.size),
        height=height,
        width=width,
        channels=channels,
    )
    return pixels if known else None
