"""The gray levels of csrc/core/quantize.h, operation by operation in float64: the same levels on any device."""

from __future__ import annotations

import torch
from torch import Tensor

from iuscore.ops._quantize import Quantization
from iuscore.ops._torch import _color


def raw_gray(images: Tensor) -> Tensor:
    """Raw values float32 [B, H, W] of images [B, H, W, C]; three channels as gray, of integers rounded to nearest."""
    values = images.to(torch.float32)
    if images.shape[-1] == 1:
        return values[..., 0]
    gray = _color.gray(values[..., 0], values[..., 1], values[..., 2])
    return gray if images.is_floating_point() else (gray + 0.5).floor()


def levels_of(images: Tensor, by: Quantization, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Levels uint8 [B, H, W] of images [B, H, W, C], and which pixels are counted, bool [B, H, W].

    mask: [B, H, W], nonzero = counted, or None. The level of a pixel that is not counted means nothing.
    """
    x = raw_gray(images)
    counted = x.isfinite()
    if mask is not None:
        counted = counted & (mask != 0)
    x = torch.where(counted, x, 0.0)
    wide = x.double()
    low, factor, divisor = _formula(wide, counted, by)
    # By a tensor: torch divides by a Python number as a product with its reciprocal on a GPU.
    position = (factor * (wide - low) / divisor).clamp(0.0, by.levels - 1.0)
    return position.to(torch.uint8), counted


def _formula(x: Tensor, counted: Tensor, by: Quantization) -> tuple[Tensor | float, Tensor | float, Tensor]:
    """low, factor and divisor, of the whole batch or [B, 1, 1]."""
    divisor = None if by.divisor is None else torch.full((), by.divisor, dtype=x.dtype, device=x.device)
    if by.low is not None and divisor is not None:
        return by.low, by.factor, divisor
    infinity = torch.inf
    low = torch.where(counted, x, infinity).amin((1, 2), keepdim=True)
    high = torch.where(counted, x, -infinity).amax((1, 2), keepdim=True)
    none = low > high
    low = torch.where(none, 0.0, low)
    if divisor is not None:
        return low, by.factor, divisor
    spread = torch.where(none, 0.0, high - low)
    constant = spread == 0.0
    return low, torch.where(constant, 0.0, by.factor), torch.where(constant, 1.0, spread)
