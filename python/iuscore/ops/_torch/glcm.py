"""`glcm` in plain PyTorch: the fallback on any device, and an oracle of the kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from iuscore.ops._quantize import Quantization
from iuscore.ops._torch._quantize import levels_of

_CHUNK_PIXELS = 1 << 22  # bounds the 64-bit indices of a large batch to 32 MiB


def glcm(
    images: Tensor, mask: Tensor | None, by: Quantization, offsets: Sequence[tuple[int, int]], symmetric: bool
) -> Tensor:
    """Images [B, H, W, C] -> int32 counts [B, O, L, L]."""
    batch, height, width, _ = images.shape
    counts = torch.zeros((batch, len(offsets), by.levels, by.levels), dtype=torch.int32, device=images.device)
    step = max(1, _CHUNK_PIXELS // (height * width))
    for i in range(0, batch, step):
        levels, counted = levels_of(images[i : i + step], by, None if mask is None else mask[i : i + step])
        for k, offset in enumerate(offsets):
            counts[i : i + step, k] = count_pairs(levels, counted, by.levels, offset)
    return counts + counts.transpose(2, 3) if symmetric else counts


def count_pairs(levels: Tensor, counted: Tensor, level_count: int, offset: tuple[int, int]) -> Tensor:
    """int32 [B, L, L] of levels [B, H, W] where both pixels of a pair are counted, bool [B, H, W]."""
    batch, height, width = levels.shape
    cells = batch * level_count * level_count
    counts = torch.zeros(cells + 1, dtype=torch.int32, device=levels.device)
    down, right = offset
    if abs(down) < height and abs(right) < width:
        here = (slice(None), slice(max(0, -down), height - max(0, down)), slice(max(0, -right), width - max(0, right)))
        there = (slice(None), slice(max(0, down), height - max(0, -down)), slice(max(0, right), width - max(0, -right)))
        image = torch.arange(batch, device=levels.device).view(-1, 1, 1) * level_count
        at = (image + levels[here]) * level_count + levels[there]
        # Pairs that are not counted go to a cell past the end.
        at = torch.where(counted[here] & counted[there], at, cells).flatten()
        counts.scatter_add_(0, at, torch.ones_like(at, dtype=torch.int32))
    return counts[:cells].view(batch, level_count, level_count)
