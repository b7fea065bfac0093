"""`texture_stats` in plain PyTorch: the fallback on any device, and an oracle of the kernels."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from iuscore.ops._constants import TEXTURE_GRID as GRID
from iuscore.ops._haralick import GLCM_PRESETS
from iuscore.ops._torch import _color
from iuscore.ops._torch.glcm import count_pairs
from iuscore.ops._torch.glcm_features import matrix_features

PROPERTIES = GLCM_PRESETS["skimage"]
PERCENTILES = (5, 50, 95)
MIN_HUE = 1.0 / 16.0  # saturation and value below which a hue is noise
HALF_EDGE = 13.0  # gray levels a pixel at which coarse-fine reaches half its range

Result: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
_CHUNK_PIXELS = 1 << 22


def texture_stats(
    images: Tensor, mask: Tensor | None, color: bool, bins: int, levels: int, offsets: Sequence[tuple[int, int]]
) -> Result:
    """Images [B, H, W, C] -> what the op returns, with co-occurrence [B, O, F]."""
    batch, height, width, _ = images.shape
    step = max(1, _CHUNK_PIXELS // (height * width))
    parts = [
        _chunk(images[i : i + step], None if mask is None else mask[i : i + step], color, bins, levels, offsets)
        for i in range(0, max(batch, 1), step)
    ]
    histograms, statistics, counted, features, blocks = (torch.cat(part) for part in zip(*parts, strict=True))
    return histograms, statistics, counted, features, blocks


def _chunk(
    images: Tensor, mask: Tensor | None, color: bool, bins: int, levels: int, offsets: Sequence[tuple[int, int]]
) -> Result:
    codes, valid = plane_codes(images, mask, color)
    fine = _histograms(codes, valid)
    counted = fine.sum(2)
    histograms = fine.view(*fine.shape[:2], bins, 256 // bins).sum(3)
    lightness, usable = codes[:, 0], valid[:, 0]
    features = _cooccurrence(lightness * levels >> 8, usable, levels, offsets)
    return (
        histograms.to(torch.int32),
        _statistics(fine, counted).to(torch.float32),
        counted.to(torch.int32),
        features.to(torch.float32),
        _blocks(lightness, usable).to(torch.float32),
    )


def plane_codes(images: Tensor, mask: Tensor | None, color: bool) -> tuple[Tensor, Tensor]:
    """8-bit codes and validity of each plane, int64 and bool [B, P, H, W]."""
    unit = _color.unit(images)
    usable = unit.isfinite().all(3)
    if mask is not None:
        usable = usable & (mask != 0)
    unit = torch.where(usable[..., None], unit, 0.0).clamp(0.0, 1.0)
    r, g, b = (unit[..., min(c, images.shape[3] - 1)] for c in range(3))
    planes: list[tuple[Tensor, Tensor]] = []
    if color:
        lightness, red_green, blue_yellow = _color.lab(r, g, b)
        # Black, whose a* and b* are 0, gets the codes of the other grays: csrc/core/texture.h.
        planes += [(lightness * 2.56, usable), ((red_green + 110.0) * (256.0 / 220.0), usable)]
        planes += [(blue_yellow * (256.0 / 220.0) + 128.0, usable)]
        if images.is_floating_point():
            saturation, hue, has_hue = _hsv_codes(r, g, b)
        else:
            whole = images.to(torch.int64).expand(-1, -1, -1, 3)
            saturation, hue, has_hue = _hsv_codes_of_integers(whole, torch.iinfo(images.dtype).max)
        planes += [(saturation, usable), (hue, usable & has_hue)]
    else:
        planes += [(_color.gray(r, g, b) * 256.0, usable)]
    planes = [(_code(x), counts) for x, counts in planes]
    planes.append((_coarse_fine(planes[0][0]), _eroded(usable)))
    return torch.stack([x for x, _ in planes], 1).long(), torch.stack([counts for _, counts in planes], 1)


def _hsv_codes(r: Tensor, g: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of values in [0, 1]: saturation and hue before they are cut to codes, and where a hue is counted."""
    hue, saturation, value = _color.hsv(r, g, b)
    turned = hue + 0.5
    turned = torch.where(turned >= 1.0, turned - 1.0, turned)
    return saturation * 256.0, turned * 256.0, (saturation >= MIN_HUE) & (value >= MIN_HUE)


def _hsv_codes_of_integers(rgb: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Codes of saturation and hue and where a hue is counted, of integers [..., 3] in 0 .. most: exact."""
    r, g, b = rgb.unbind(-1)
    high, low = torch.maximum(torch.maximum(r, g), b), torch.minimum(torch.minimum(r, g), b)
    spread = high - low
    difference = torch.where(b == high, r - g, torch.where(g == high, b - r, g - b))
    sixths = torch.where(b == high, 1, torch.where(g == high, 5, 3))  # with red in the middle
    hue = 128 * (difference + sixths * spread) // (3 * spread.clamp(min=1))
    saturation = 256 * spread // high.clamp(min=1)
    return saturation.float(), hue.float(), (16 * spread >= high) & (16 * high >= most)


def _code(x: Tensor) -> Tensor:
    return x.floor().clamp(0.0, 255.0)


def _coarse_fine(lightness: Tensor) -> Tensor:
    """Codes of the Sobel magnitude of codes [B, H, W], replicate border."""
    p = F.pad(lightness[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    across = p[:, :-2] + 2.0 * p[:, 1:-1] + p[:, 2:]
    down = p[..., :-2] + 2.0 * p[..., 1:-1] + p[..., 2:]
    gx = across[..., 2:] - across[..., :-2]
    gy = down[:, 2:] - down[:, :-2]
    return _edge_codes(lightness.device)[(gx * gx + gy * gy).long()]


@functools.cache
def _edge_codes(device: torch.device) -> Tensor:
    """Code of every gx^2 + gy^2; by NumPy, because torch's square root on a CPU is not always the nearest float."""
    largest = 2 * (4 * 255) ** 2
    magnitude = np.sqrt(np.arange(largest + 1, dtype=np.float32)) * np.float32(0.125)
    codes = np.floor(magnitude * np.float32(256.0) / (magnitude + np.float32(HALF_EDGE)))
    return torch.from_numpy(codes).to(device)


def _eroded(usable: Tensor) -> Tensor:
    """Pixels whose whole 3x3 neighborhood, as far as it is inside the image, is usable."""
    p = F.pad((~usable).to(torch.float32)[:, None], (1, 1, 1, 1))
    return F.max_pool2d(p, 3, 1)[:, 0] == 0.0


def _histograms(codes: Tensor, valid: Tensor) -> Tensor:
    """int64 [B, P, 256]."""
    batch, planes = codes.shape[:2]
    which = torch.arange(batch * planes, device=codes.device).view(batch, planes, 1, 1)
    # Pixels that are not counted go to a cell past the end.
    cells = torch.where(valid, codes + which * 256, batch * planes * 256).flatten()
    return _counts(cells, batch * planes * 256).view(batch, planes, 256)


def _counts(cells: Tensor, n: int) -> Tensor:
    counts = torch.zeros(n + 1, dtype=torch.int64, device=cells.device)
    return counts.scatter_add_(0, cells, torch.ones_like(cells))[:n]


def _statistics(fine: Tensor, counted: Tensor) -> Tensor:
    """float64 [B, P, 8]: mean, sd, skewness, excess kurtosis, entropy, percentiles; 0 where nothing is counted."""
    n = counted.clamp(min=1)
    codes = torch.arange(256, device=fine.device)
    center = ((fine * codes).sum(2) * 2 + n).div(2 * n, rounding_mode="floor")  # the mean, rounded to a code
    away = codes - center[..., None]
    s1, s2, s3, s4 = ((fine * away**k).sum(2).double() / n for k in (1, 2, 3, 4))
    m2 = s2 - s1 * s1
    m3 = s3 - 3.0 * (s1 * s2) + 2.0 * (s1 * s1 * s1)
    m4 = s4 - 4.0 * (s1 * s3) + 6.0 * (s1 * s1 * s2) - 3.0 * (s1 * s1 * (s1 * s1))
    flat = m2 <= 0.0
    divisor = torch.where(flat, 1.0, m2)
    logs = torch.where(fine > 1, fine * fine.clamp(min=1).double().log2(), 0.0).sum(2)
    cumulative = fine.cumsum(2)
    ranks = [(cumulative * 100 < n[..., None] * q).sum(2) for q in PERCENTILES]
    statistics = torch.stack(
        [
            (center + s1 + 0.5) / 256.0,
            m2.clamp(min=0.0).sqrt() / 256.0,
            torch.where(flat, 0.0, m3 / (divisor * divisor.sqrt())),
            torch.where(flat, 0.0, m4 / (divisor * divisor) - 3.0),
            n.double().log2() - logs / n,
            *((rank + 0.5) / 256.0 for rank in ranks),
        ],
        2,
    )
    return torch.where(counted[..., None] > 0, statistics, 0.0)


def _blocks(lightness: Tensor, usable: Tensor) -> Tensor:
    """Mean code of each block of the grid over 256, float64 [B, 8, 8]."""
    batch, height, width = lightness.shape
    rows, columns = (block_of(n, lightness.device) for n in (height, width))
    cells = rows[:, None] * GRID + columns
    cells = cells + GRID * GRID * torch.arange(batch, device=lightness.device).view(-1, 1, 1)
    cells = cells.masked_fill(~usable, batch * GRID * GRID).flatten()
    sums = torch.zeros(batch * GRID * GRID + 1, dtype=torch.int64, device=lightness.device)
    sums = sums.scatter_add_(0, cells, lightness.flatten())[:-1].view(batch, GRID * GRID)
    n = _counts(cells, batch * GRID * GRID).view(batch, GRID * GRID)
    total, counted = sums.sum(1, keepdim=True), n.sum(1, keepdim=True)
    sums, n = torch.where(n > 0, sums, total), torch.where(n > 0, n, counted)
    means = (sums.double() / n.clamp(min=1) + 0.5) / 256.0
    return torch.where(counted > 0, means, 0.0).view(batch, GRID, GRID)


def block_of(size: int, device: torch.device) -> Tensor:
    """The block i of each index r: i * size // 8 <= r < (i + 1) * size // 8."""
    starts = torch.arange(1, GRID, device=device) * size // GRID
    return torch.searchsorted(starts, torch.arange(size, device=device), right=True)


def _cooccurrence(level: Tensor, usable: Tensor, levels: int, offsets: Sequence[tuple[int, int]]) -> Tensor:
    """Properties of the symmetric matrix of each offset, float64 [B, O, 10]."""
    if not offsets:
        return torch.zeros(len(level), 0, len(PROPERTIES), dtype=torch.float64, device=level.device)
    counts = torch.stack([count_pairs(level, usable, levels, offset) for offset in offsets], 1)
    return matrix_features(counts, True, PROPERTIES)
