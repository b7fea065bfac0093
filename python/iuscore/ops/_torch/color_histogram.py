"""`color_histogram` in plain PyTorch: the fallback on any device, and an oracle of the kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from iuscore.ops._edges import float32_edges
from iuscore.ops._torch import _color

Range = tuple[float, float]
OUT_OF_RANGE = 3  # below, above, not a number; one more slot is for masked pixels
_CHUNK_PIXELS = 1 << 22
_INTEGERS = (torch.uint8, torch.uint16)


def color_histogram(
    images: Tensor, mask: Tensor | None, space: str, joint: bool, bins: Sequence[int], ranges: Sequence[Range]
) -> tuple[Tensor, Tensor]:
    """Images [B, H, W, C] -> int32 counts [B, sum or product of bins] and out_of_range [B, channels or 1, 3]."""
    batch, height, width, _ = images.shape
    step = max(1, _CHUNK_PIXELS // (height * width))
    parts = [
        _chunk(images[i : i + step], None if mask is None else mask[i : i + step], space, joint, bins, ranges)
        for i in range(0, max(batch, 1), step)
    ]
    counts, out_of_range = (torch.cat(part) for part in zip(*parts, strict=True))
    return counts, out_of_range


def fractions(counts: Tensor, dims: Sequence[int]) -> Tensor:
    """float32 shares of the sum over ``dims``, 0 where that is 0; rounded once."""
    total = counts.sum(list(dims), keepdim=True)
    return (counts.double() / total.clamp(min=1).double()).float()


def _chunk(
    images: Tensor, mask: Tensor | None, space: str, joint: bool, bins: Sequence[int], ranges: Sequence[Range]
) -> tuple[Tensor, Tensor]:
    values, unusable = _channels(images, space)
    slots = []
    for value, n, limits in zip(values, bins, ranges, strict=True):
        slot = _slots(value, n, limits)
        if unusable is not None:
            slot = torch.where(unusable, n + 2, slot)
        slots.append(slot if mask is None else torch.where(mask != 0, slot, n + 3))
    if joint:
        slots, bins = [_joined(slots, bins)], [bins[0] * bins[1] * bins[2]]
    found = [_count(slot, n + OUT_OF_RANGE + 1) for slot, n in zip(slots, bins, strict=True)]
    counts = torch.cat([f[:, :n] for f, n in zip(found, bins, strict=True)], dim=1)
    out_of_range = torch.stack([f[:, n : n + OUT_OF_RANGE] for f, n in zip(found, bins, strict=True)], dim=1)
    return counts.to(torch.int32), out_of_range.to(torch.int32)


def _slots(values: Tensor, bins: int, limits: Range) -> Tensor:
    """The bin of every value; or bins + 0, 1 or 2: below, above, not a number."""
    if not values.is_floating_point():  # 8 or 16 bits: each of them once
        every = torch.arange(256 if values.dtype == torch.uint8 else 65536, device=values.device)
        return _slots(every.float(), bins, limits)[values.long()]
    edges = torch.from_numpy(float32_edges(*limits, bins).copy()).to(values.device)
    found = torch.bucketize(values.contiguous(), edges, right=True) - 1
    found = torch.where(found < 0, bins, torch.where(found >= bins, bins + 1, found))
    return torch.where(values.isnan(), bins + 2, found)


def _channels(images: Tensor, space: str) -> tuple[tuple[Tensor, ...], Tensor | None]:
    """Channels [B, H, W] of the space, float32 or as they are stored, and where a pixel has none, bool [B, H, W]."""
    last = images.shape[3] - 1
    stored = tuple(images[..., min(c, last)] for c in range(3))
    if images.is_floating_point():
        stored = tuple(channel.float() for channel in stored)
    if space == "rgb":
        return stored, None
    if space == "gray":
        if last == 0:
            return stored[:1], None
        gray = _color.gray(*(channel.float() for channel in stored))
        return (gray if images.is_floating_point() else (gray + 0.5).to(images.dtype),), None
    unit = _color.unit(images)
    finite = unit.isfinite().all(3)
    unit = torch.where(finite[..., None], unit, 0.0).clamp(0.0, 1.0)
    r, g, b = (unit[..., min(c, last)] for c in range(3))
    return (_color.hsv if space == "hsv" else _color.lab)(r, g, b), None if images.dtype in _INTEGERS else ~finite


def _joined(slots: Sequence[Tensor], bins: Sequence[int]) -> Tensor:
    """The cell of each pixel, or the last of its channels' slots out of range, numbered after the cells."""
    out_of_range = torch.stack([slot - n for slot, n in zip(slots, bins, strict=True)]).amax(0)
    cell = (slots[0] * bins[1] + slots[1]) * bins[2] + slots[2]
    return torch.where(out_of_range >= 0, bins[0] * bins[1] * bins[2] + out_of_range, cell)


def _count(slots: Tensor, n: int) -> Tensor:
    """int64 [B, H, W] in 0..n-1 -> counts [B, n]."""
    batch = len(slots)
    first = torch.arange(batch, device=slots.device).view(-1, 1, 1) * n
    return torch.bincount((slots + first).flatten(), minlength=batch * n).view(batch, n)
