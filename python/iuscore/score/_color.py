"""Colors that a gray model does not see."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

COLOR_UNSEEN = "color, which this gray model does not see"

_FAINT = 16 / 255  # differences between channels up to this are what JPEG leaves in a gray picture


def colored(images: Sequence[Tensor] | Tensor) -> list[bool]:
    """Whether a pixel of each image [H, W, C] has a color.

    Example:
        >>> gray = torch.full((4, 4, 3), 100, dtype=torch.uint8)
        >>> red = gray.clone()
        >>> red[0, 0, 0] = 200
        >>> colored([gray, red, gray[..., :1]])
        [False, True, False]
    """
    return [_is_colored(image) for image in images]


def _is_colored(image: Tensor) -> bool:
    if image.shape[2] == 1 or not image.numel():
        return False
    largest = 1.0 if image.is_floating_point() else float(torch.iinfo(image.dtype).max)
    wide = image if image.is_floating_point() else image.to(torch.int32)
    return bool((wide.amax(2) - wide.amin(2)).max() > _FAINT * largest)
