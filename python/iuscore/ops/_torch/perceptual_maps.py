"""Perceptual maps in plain PyTorch. What they are: docs/perceptual_maps.md."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_GRAY = (0.299, 0.587, 0.114)
_RGB_TO_XYZ_D65 = (  # rows divided by the white point (0.95047, 1, 1.08883) after the sum
    (0.412453, 0.357580, 0.180423, 0.95047),
    (0.212671, 0.715160, 0.072169, 1.0),
    (0.019334, 0.119193, 0.950227, 1.08883),
)
_GAUSSIAN = (0.10628852, 0.14032133, 0.16577007, 0.17524014, 0.16577007, 0.14032133, 0.10628852)
_LARGEST_MAGNITUDE = 1e30
_SMALLEST_IMAGE_RANGE = 255.0 / 4096.0
_ELEMENTS_AT_ONCE = 1 << 26  # bounds the float32 copies of a large batch to 256 MiB each


def perceptual_maps(
    images: Tensor, color: bool, clean: bool, height: int, width: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Maps [B, 4, height, width] of ``dtype`` and ranges [B, 4] float32 of images [B, H, W, C]."""
    _, h, w, c = images.shape
    step = max(1, _ELEMENTS_AT_ONCE // max(h * w * c, 4 * height * width))
    starts = range(0, max(len(images), 1), step)
    parts = [_chunk(images[i : i + step], color, clean, height, width) for i in starts]
    maps = torch.cat([m for m, _ in parts]) if len(parts) > 1 else parts[0][0]
    ranges = torch.cat([r for _, r in parts]) if len(parts) > 1 else parts[0][1]
    return maps.to(dtype), ranges


def _chunk(images: Tensor, color: bool, clean: bool, height: int, width: int) -> tuple[Tensor, Tensor]:
    if len(images) == 0:
        return (
            images.new_empty((0, 4, height, width), dtype=torch.float32),
            images.new_empty((0, 4), dtype=torch.float32),
        )
    x = _to_255(images).permute(0, 3, 1, 2)
    usable = (x.abs() <= _LARGEST_MAGNITUDE).flatten(1).all(1).view(-1, 1, 1, 1)
    x = torch.where(usable, x, 0.0)
    if not color:
        # One channel counts as R = G = B. The weighted sum is rounded, which matters at the edges of bands.
        x = _weighted(x.expand(-1, 3, -1, -1), _GRAY)
    x = _resize(x, height, width, clean)
    noise = _rounding_noise(x) & (not clean)
    x = _normalize_image(x, clean)
    maps = _color_maps(x, clean) if color else _gray_maps(x, clean)
    ranges = torch.where(noise.view(-1, 1), 0.0, maps.amax((2, 3)) - maps.amin((2, 3)))
    if not clean:
        stretched = 4 if color else 2
        maps = torch.cat([_min_max(maps[:, :stretched]), maps[:, stretched:]], dim=1)
    nan = torch.tensor(float("nan"), device=x.device)
    return torch.where(usable, maps, nan), torch.where(usable.view(-1, 1), ranges, nan)


def _to_255(images: Tensor) -> Tensor:
    if images.dtype == torch.uint8:
        return images.float()
    if images.dtype == torch.uint16:
        return images.float() / 257.0
    return images.float() * 255.0


def _weighted(x: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Sum of the channels times their weights, [B, 3, H, W] -> [B, 1, H, W]."""
    return weights[0] * x[:, 0:1] + weights[1] * x[:, 1:2] + weights[2] * x[:, 2:3]


def _resize(x: Tensor, height: int, width: int, clean: bool) -> Tensor:
    if x.shape[2:] == (height, width):
        return x
    return F.interpolate(x, size=(height, width), mode="bicubic", align_corners=False, antialias=clean)


def _rounding_noise(x: Tensor) -> Tensor:
    """Images [B] with a channel whose whole range is rounding of the resize."""
    low, high = x.amin((2, 3)), x.amax((2, 3))
    return ((high > low) & (high - low < 1e-5 * torch.maximum(high, -low))).any(1)


def _normalize_image(x: Tensor, clean: bool) -> Tensor:
    if not clean:
        return _min_max(x)
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    return (x - low) / (high - low).clamp(min=_SMALLEST_IMAGE_RANGE)


def _min_max(x: Tensor) -> Tensor:
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    return (x - low) / (high - low + 1e-6)


def _color_maps(x: Tensor, clean: bool) -> Tensor:
    rgb = x.expand(-1, 3, -1, -1)
    a, b = _opponent_colors(rgb)
    if clean:
        a, b = (a + 110.0) / 220.0, (b + 110.0) / 220.0
    gray = _weighted(rgb, _GRAY)
    return torch.cat([a, b, _coarse_fine(gray, clean), _light_dark(gray)], dim=1)


def _gray_maps(g: Tensor, clean: bool) -> Tensor:
    one = torch.where((g >= 0.0) & (g < 0.3), g, 0.0)
    two = torch.where((g >= 0.3) & (g < 0.6), g, 0.0)
    return torch.cat([_coarse_fine(g, clean), _light_dark(g), one, two], dim=1)


def _opponent_colors(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """CIELab a* and b* (D65), each [B, 1, H, W], of sRGB [B, 3, H, W] in [0, 1]."""
    # The clamps keep the branch that is not selected, and its gradient, finite.
    curved = ((rgb + 0.055) / 1.055).clamp(min=0.0904) ** 2.4
    linear = torch.where(rgb > 0.04045, curved, rgb / 12.92)
    fx, fy, fz = (_lab_f(_weighted(linear, row[:3]) / row[3]) for row in _RGB_TO_XYZ_D65)
    return 500.0 * (fx - fy), 200.0 * (fy - fz)


def _lab_f(t: Tensor) -> Tensor:
    root = t.clamp(min=0.008856) ** (1.0 / 3.0)
    return torch.where(t > 0.008856, root, 7.787 * t + 4.0 / 29.0)


def _coarse_fine(gray: Tensor, clean: bool) -> Tensor:
    """Gradient magnitude of the Sobel kernels divided by 8, replicate border."""
    p = F.pad(gray, (1, 1, 1, 1), mode="replicate")
    across = p[:, :, :-2] + 2.0 * p[:, :, 1:-1] + p[:, :, 2:]
    down = p[..., :-2] + 2.0 * p[..., 1:-1] + p[..., 2:]
    gx = (across[..., 2:] - across[..., :-2]) / 8.0
    gy = (down[:, :, 2:] - down[:, :, :-2]) / 8.0
    magnitude = (gx**2 + gy**2 + 1e-6).sqrt()
    if not clean:
        return magnitude
    edge = magnitude - 1e-3
    return edge / (edge + 0.05)


def _light_dark(gray: Tensor) -> Tensor:
    """Gaussian 7x7, sigma 3, reflect border; as shifted sums, whose bits depend on no batch size."""
    height, width = gray.shape[2:]
    p = F.pad(gray, (3, 3, 3, 3), mode="reflect")
    rows = _sum([w * p[..., k : k + width] for k, w in enumerate(_GAUSSIAN)])
    return _sum([w * rows[:, :, k : k + height] for k, w in enumerate(_GAUSSIAN)])


def _sum(terms: list[Tensor]) -> Tensor:
    """In ascending order; a reduction over a stack of them takes another order in its last few elements."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
