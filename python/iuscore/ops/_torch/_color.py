"""The color spaces of csrc/core/color.h, operation by operation: the same float32 bits on any device.

Divisions by constants are written as products with the rounded reciprocal, because PyTorch computes them so on a GPU.
Nothing here may be compiled or fused: contraction to fma would change bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

UNIT_SCALE = {torch.uint8: 1.0 / 255.0, torch.uint16: 1.0 / 65535.0}


def unit(images: Tensor) -> Tensor:
    """Any pixel type as float32 on the unit scale: integers over their largest value, floating types as they are."""
    values = images.to(torch.float32)
    scale = UNIT_SCALE.get(images.dtype)
    return values if scale is None else values * scale


def gray(r: Tensor, g: Tensor, b: Tensor) -> Tensor:
    """.299 R + .587 G + .114 B, on any scale."""
    return 0.299 * r + 0.587 * g + 0.114 * b


def lab(r: Tensor, g: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """CIELab (D65) L*, a*, b* of sRGB in [0, 1]."""
    lr, lg, lb = _linear(r), _linear(g), _linear(b)
    fx = _lab_f(0.43394636 * lr + 0.37621387 * lg + 0.18982503 * lb)
    fy = _lab_f(0.212671 * lr + 0.715160 * lg + 0.072169 * lb)
    fz = _lab_f(0.017756674 * lr + 0.109468879 * lg + 0.872704646 * lb)
    return 116.0 * fy - 16.0, 500.0 * (fx - fy), 200.0 * (fy - fz)


def hsv(r: Tensor, g: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue in [0, 1) with red at 0, saturation, value."""
    high = torch.maximum(torch.maximum(r, g), b)
    low = torch.minimum(torch.minimum(r, g), b)
    spread = high - low
    flat = spread == 0.0
    divisor = torch.where(flat, 1.0, spread)
    from_red = (g - b) / divisor
    from_green = (b - r) / divisor + 2.0
    from_blue = (r - g) / divisor + 4.0
    sixth = torch.where(b == high, from_blue, torch.where(g == high, from_green, from_red))
    hue = torch.where(sixth < 0.0, sixth + 6.0, sixth) * (1.0 / 6.0)
    black = high == 0.0
    saturation = torch.where(black, 0.0, spread / torch.where(black, 1.0, high))
    return torch.where(flat | (hue >= 1.0), 0.0, hue), saturation, high


def _linear(value: Tensor) -> Tensor:
    curved = _pow_2_4(((value + 0.055) * 0.94786730).clamp(min=0.0904))
    return torch.where(value > 0.04045, curved, value * 0.07739938)


def _lab_f(t: Tensor) -> Tensor:
    root = _cbrt(t.clamp(min=0.008856))
    return torch.where(t > 0.008856, root, 7.787 * t + 0.13793103)


def _guess(x: Tensor, magic: int, root: int) -> Tensor:
    """About x^(-1/root) for positive x: a linear guess on the exponent bits."""
    bits = x.contiguous().view(torch.int32)
    return (magic - bits.div(root, rounding_mode="trunc")).view(torch.float32)


def _cbrt(x: Tensor) -> Tensor:
    r = _guess(x, 0x54A22AAA, 3)
    for _ in range(2):
        r = r * (1.3333334 - 0.33333334 * (x * r) * (r * r))
    r2 = r * r
    y = x * r2
    return y - (y * y * y - x) * (0.33333334 * r2)


def _pow_2_4(x: Tensor) -> Tensor:
    r = _guess(x, 0x4C2BB333, 5)
    for _ in range(2):
        r2 = r * r
        e = 1.0 - (x * r) * (r2 * r2)
        r = r + r * (e * (0.2 + 0.12 * e))
    p = x * r
    return p * p * p
