"""A resize of bytes in whole numbers, as csrc/core/resize.h: the same bits."""

from __future__ import annotations

import torch
from torch import Tensor

from iuscore.ops._taps import taps

_ELEMENTS_AT_ONCE = 1 << 24  # bounds the sums of a large batch


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """uint8 [B, H, W, C] -> [B, height, width, C], the width first."""
    step = max(1, _ELEMENTS_AT_ONCE // (max(images.shape[1], height) * width * images.shape[3]))
    parts = [_along(_along(images[i : i + step], 2, width), 1, height) for i in range(0, max(len(images), 1), step)]
    return torch.cat(parts)


def _along(images: Tensor, axis: int, out: int) -> Tensor:
    size = images.shape[axis]
    if size == out:
        return images
    table = taps(size, out)
    start = torch.from_numpy(table.start).to(images.device)
    weights = torch.from_numpy(table.weights).to(images.device, torch.int32)
    shape = [out if k == axis else 1 for k in range(4)]
    half = 1 << (table.shift - 1)
    sums = torch.full((), half, dtype=torch.int32, device=images.device)
    for j in range(weights.shape[1]):
        index = (start + j).clamp(max=size - 1).long()
        sums = sums + images.index_select(axis, index).to(torch.int32) * weights[:, j].view(shape)
    return (sums >> table.shift).clamp(0, 255).to(torch.uint8)
