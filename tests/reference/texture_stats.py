"""What `texture_stats` computes, in float64 and pixel by pixel, from docs/texture_stats.md.

Saturation and hue of integers are fractions of integers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

RGB_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
WHITE = (0.95047, 1.0, 1.08883)
GRID = 8


def _lab(rgb: Sequence[float]) -> tuple[float, float, float]:
    linear = [((v + 0.055) / 1.055) ** 2.4 if v > 0.04045 else v / 12.92 for v in rgb]
    f = []
    for row, white in zip(RGB_TO_XYZ, WHITE, strict=True):
        t = sum(w * v for w, v in zip(row, linear, strict=True)) / white
        f.append(t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116)
    return 116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])


def _hsv(rgb: Sequence[float | Fraction]) -> tuple[float | Fraction, float | Fraction, float | Fraction]:
    """Of fractions, fractions."""
    r, g, b = rgb
    high, low = max(rgb), min(rgb)
    if high == low:
        return Fraction(0), Fraction(0), high
    if high == r:
        sixth = ((g - b) / (high - low)) % 6
    elif high == g:
        sixth = (b - r) / (high - low) + 2
    else:
        sixth = (r - g) / (high - low) + 4
    return sixth / 6 % 1.0, (high - low) / high, high


def planes(pixels: npt.NDArray[np.generic], mask: Mask | None, *, color: bool) -> tuple[Array, Mask]:
    """Codes before they are cut to integers and whether they count, [P, H, W] each; without coarse-fine."""
    height, width, channels = pixels.shape
    scale = {"uint8": 255.0, "uint16": 65535.0}.get(pixels.dtype.name, 1.0)
    values = np.zeros((5 if color else 1, height, width))
    counted = np.zeros(values.shape, dtype=bool)
    for y in range(height):
        for x in range(width):
            stored = [float(v) / scale for v in pixels[y, x]]
            if not all(map(math.isfinite, stored)) or (mask is not None and not mask[y, x]):
                continue
            rgb = [min(max(v, 0.0), 1.0) for v in (stored * 3 if channels == 1 else stored)]
            counted[:, y, x] = True
            if not color:
                values[0, y, x] = 256 * (0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2])
                continue
            lightness, a, b = _lab(rgb)
            whole = [Fraction(int(v), int(scale)) for v in (list(pixels[y, x]) * 3)[:3]] if scale > 1.0 else rgb
            hue, saturation, value = _hsv(whole)
            counted[4, y, x] = min(saturation, value) >= Fraction(1, 16)
            values[:, y, x] = (
                2.56 * lightness,
                (a + 110) * 256 / 220,
                (b + 110) * 256 / 220,
                float(256 * saturation),
                float(256 * ((hue + Fraction(1, 2)) % 1)),
            )
    return values, counted


def coarse_fine(codes: npt.NDArray[np.int64], counted: Mask) -> tuple[Array, Mask]:
    """From lightness codes [H, W]: the code before it is cut to an integer, and whether it counts."""
    height, width = codes.shape
    value, usable = np.zeros((height, width)), np.zeros((height, width), dtype=bool)
    for y in range(height):
        for x in range(width):
            near = [
                (dy, dx, min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1))
                for dy in (-1, 0, 1)
                for dx in (-1, 0, 1)
            ]
            usable[y, x] = all(counted[r, c] for _, _, r, c in near)
            gx = sum(dx * (2 - abs(dy)) * codes[r, c] for dy, dx, r, c in near)
            gy = sum(dy * (2 - abs(dx)) * codes[r, c] for dy, dx, r, c in near)
            magnitude = math.sqrt(gx * gx + gy * gy) / 8
            value[y, x] = 256 * magnitude / (magnitude + 13)
    return value, usable


def statistics(histogram: npt.NDArray[np.int64]) -> list[float]:
    """mean, sd, skewness, excess kurtosis, entropy, 5th, 50th and 95th percentile of codes with 256 counts."""
    n = int(histogram.sum())
    if n == 0:
        return [0.0] * 8
    codes = np.arange(256.0)
    p = histogram / n
    mean = float((p * codes).sum())
    m2, m3, m4 = (float((p * (codes - mean) ** k).sum()) for k in (2, 3, 4))
    flat = np.count_nonzero(histogram) == 1
    entropy = -sum(float(q) * math.log2(q) for q in p if q > 0)
    ranks = [int(np.argmax(np.cumsum(histogram) * 100 >= n * q)) for q in (5, 50, 95)]
    return [
        (mean + 0.5) / 256,
        math.sqrt(m2) / 256,
        0.0 if flat else m3 / m2**1.5,
        0.0 if flat else m4 / m2**2 - 3,
        entropy,
        *((rank + 0.5) / 256 for rank in ranks),
    ]


def properties(codes: npt.NDArray[np.int64], counted: Mask, levels: int, offset: tuple[int, int]) -> list[float]:
    """scikit-image's ten properties of the symmetric matrix of one offset."""
    height, width = codes.shape
    matrix = np.zeros((levels, levels))
    for y in range(height):
        for x in range(width):
            r, c = y + offset[0], x + offset[1]
            if 0 <= r < height and 0 <= c < width and counted[y, x] and counted[r, c]:
                i, j = codes[y, x] * levels // 256, codes[r, c] * levels // 256
                matrix[i, j] += 1
                matrix[j, i] += 1
    if matrix.sum() == 0:
        return [0.0] * 10
    p = matrix / matrix.sum()
    i, j = np.indices(p.shape)
    mean = float((p * i).sum())
    variance = float((p * (i - mean) ** 2).sum())
    asm = float((p * p).sum())
    one_level = np.count_nonzero(matrix.sum(1)) == 1
    return [
        float((p * (i - j) ** 2).sum()),
        float((p * abs(i - j)).sum()),
        float((p / (1 + (i - j) ** 2)).sum()),
        asm,
        math.sqrt(asm),
        1.0 if one_level else float((p * (i - mean) * (j - mean)).sum()) / variance,
        mean,
        variance,
        math.sqrt(variance),
        -sum(q * math.log(q) for q in p.ravel() if q > 0),
    ]


def blocks(codes: npt.NDArray[np.int64], counted: Mask) -> Array:
    """Mean code of each block of the grid, as values."""
    height, width = codes.shape
    out = np.zeros((GRID, GRID))
    if not counted.any():
        return out
    whole = codes[counted].mean()
    for i in range(GRID):
        for j in range(GRID):
            part = (
                slice(i * height // GRID, (i + 1) * height // GRID),
                slice(j * width // GRID, (j + 1) * width // GRID),
            )
            inside = codes[part][counted[part]]
            out[i, j] = ((inside.mean() if inside.size else whole) + 0.5) / 256
    return out
