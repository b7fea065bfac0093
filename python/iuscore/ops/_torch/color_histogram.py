"""`color_histogram` in plain PyTorch: the fallback on any device, and an oracle of the kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from iuscore.ops._edges import float32_edges
from iuscore.ops._torch import _color

Range = tuple[float, float]
OUTSIDE = 3  # below, above, not a number; one more slot is for masked pixels
_CHUNK_PIXELS = 1 << 22


def color_histogram(
    images: Tensor, mask: Tensor | None, space: str, joint: bool, bins: Sequence[int], ranges: Sequence[Range]
) -> tuple[Tensor, Tensor]:
    """Images [B, H, W, C] -> int32 counts [B, sum or product of bins] and outside [B, channels or 1, 3]."""
    batch, height, width, _ = images.shape
    step = max(1, _CHUNK_PIXELS // (height * width))
    parts = [
        _chunk(images[i : i + step], None if mask is None else mask[i : i + step], space, joint, bins, ranges)
        for i in range(0, max(batch, 1), step)
    ]
    counts, outside = (torch.cat(part) for part in zip(*parts, strict=True))
    return counts, outside


def fractions(counts: Tensor, dims: Sequence[int]) -> Tensor:
    """float32 shares of the sum over ``dims``, 0 where that is 0; rounded once."""
    total = counts.sum(list(dims), keepdim=True)
    return (counts.double() / total.clamp(min=1).double()).float()


def _chunk(
    images: Tensor, mask: Tensor | None, space: str, joint: bool, bins: Sequence[int], ranges: Sequence[Range]
) -> tuple[Tensor, Tensor]:
    values, unusable = _channels(images, space)
    slots = []
    for value, n, (low, high) in zip(values, bins, ranges, strict=True):
        edges = torch.from_numpy(float32_edges(low, high, n).copy()).to(value.device)
        bin_ = torch.bucketize(value.contiguous(), edges, right=True) - 1
        slot = torch.where(bin_ < 0, n, torch.where(bin_ >= n, n + 1, bin_))
        slot = torch.where(value.isnan() | unusable, n + 2, slot)
        slots.append(slot if mask is None else torch.where(mask != 0, slot, n + 3))
    if joint:
        slots, bins = [_joined(slots, bins)], [bins[0] * bins[1] * bins[2]]
    found = [_count(slot, n + OUTSIDE + 1) for slot, n in zip(slots, bins, strict=True)]
    counts = torch.cat([f[:, :n] for f, n in zip(found, bins, strict=True)], dim=1)
    outside = torch.stack([f[:, n : n + OUTSIDE] for f, n in zip(found, bins, strict=True)], dim=1)
    return counts.to(torch.int32), outside.to(torch.int32)


def _channels(images: Tensor, space: str) -> tuple[tuple[Tensor, ...], Tensor]:
    """float32 channels [B, H, W] of the space, and where a pixel has none, bool [B, H, W] or [1, 1, 1]."""
    last = images.shape[3] - 1
    none = torch.zeros(1, 1, 1, dtype=torch.bool, device=images.device)
    stored = tuple(images[..., min(c, last)].to(torch.float32) for c in range(3))
    if space == "rgb":
        return stored, none
    if space == "gray":
        if last == 0:
            return stored[:1], none
        gray = _color.gray(*stored)
        return (gray if images.is_floating_point() else (gray + 0.5).floor(),), none
    unit = _color.unit(images)
    finite = unit.isfinite().all(3)
    unit = torch.where(finite[..., None], unit, 0.0).clamp(0.0, 1.0)
    r, g, b = (unit[..., min(c, last)] for c in range(3))
    return (_color.hsv if space == "hsv" else _color.lab)(r, g, b), ~finite


def _joined(slots: Sequence[Tensor], bins: Sequence[int]) -> Tensor:
    """Cells, or behind them the slot that stands last among those of the channels outside."""
    outside = torch.stack([slot - n for slot, n in zip(slots, bins, strict=True)]).amax(0)
    cell = (slots[0] * bins[1] + slots[1]) * bins[2] + slots[2]
    return torch.where(outside >= 0, bins[0] * bins[1] * bins[2] + outside, cell)


def _count(slots: Tensor, n: int) -> Tensor:
    """int64 [B, H, W] in 0..n-1 -> counts [B, n]."""
    batch = len(slots)
    first = torch.arange(batch, device=slots.device).view(-1, 1, 1) * n
    return torch.bincount((slots + first).flatten(), minlength=batch * n).view(batch, n)
