"""Small pictures of images, for pages and tables."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt


def png(pixels: npt.NDArray[Any], side: int) -> bytes:
    """An image as PNG with a longer side of at most ``side`` pixels.

    Args:
        pixels: uint8 [H, W, C], C = 1 or 3.

    Example:
        >>> png(np.zeros((4, 4, 1), np.uint8), 2)[1:4]
        b'PNG'
    """
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))
    picture.thumbnail((side, side))
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()
