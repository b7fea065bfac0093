"""Histograms pixel by pixel in float64, from the definitions in docs/color_histogram.md."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Range = tuple[float, float]
LARGEST = {"uint8": 255.0, "uint16": 65535.0}


def edges(low: float, high: float, bins: int) -> list[float]:
    step = (high - low) / bins
    return [low + i * step for i in range(bins)] + [high]


def slot(value: float, bounds: Sequence[float]) -> int:
    """The bin of a value, or behind the bins: 0 below, 1 above, 2 not a number."""
    bins = len(bounds) - 1
    if math.isnan(value):
        return bins + 2
    if value < bounds[0]:
        return bins
    if value > bounds[-1]:
        return bins + 1
    return max(i for i in range(bins) if bounds[i] <= value)


def channels(image: npt.NDArray[np.generic], dtype: str, space: str) -> npt.NDArray[np.float64]:
    """[H, W, 1 or 3] -> [C, H, W]; NaN where a pixel has no place in the space. Gray is defined in float32."""
    r, g, b = (image[..., min(c, image.shape[2] - 1)] for c in range(3))
    if space == "rgb":
        return np.stack([r, g, b]).astype(np.float64)
    if space == "gray":
        if image.shape[2] == 1:
            return r[None].astype(np.float64)
        f = np.float32
        with np.errstate(invalid="ignore"):
            gray = f(0.299) * r.astype(f) + f(0.587) * g.astype(f) + f(0.114) * b.astype(f)
        return (np.floor(gray + f(0.5)) if dtype in LARGEST else gray)[None].astype(np.float64)
    unit = np.stack([r, g, b]).astype(np.float64) / LARGEST.get(dtype, 1.0)
    finite = np.isfinite(unit).all(0)
    unit = np.clip(np.where(finite, unit, 0.0), 0.0, 1.0)
    found = np.empty_like(unit)
    convert = hsv if space == "hsv" else lab
    for y in range(unit.shape[1]):
        for x in range(unit.shape[2]):
            found[:, y, x] = convert(*unit[:, y, x]) if finite[y, x] else math.nan
    return found


def hsv(r: float, g: float, b: float) -> tuple[float, float, float]:
    high, low = max(r, g, b), min(r, g, b)
    if high == low:
        return 0.0, 0.0, high
    if high == r:
        sixth = ((g - b) / (high - low)) % 6.0
    elif high == g:
        sixth = (b - r) / (high - low) + 2.0
    else:
        sixth = (r - g) / (high - low) + 4.0
    return sixth / 6.0, (high - low) / high, high


def lab(r: float, g: float, b: float) -> tuple[float, float, float]:
    def linear(v: float) -> float:
        return ((v + 0.055) / 1.055) ** 2.4 if v > 0.04045 else v / 12.92

    def f(t: float) -> float:
        return t ** (1.0 / 3.0) if t > 0.008856 else 7.787 * t + 4.0 / 29.0

    lr, lg, lb = linear(r), linear(g), linear(b)
    x = f((0.412453 * lr + 0.357580 * lg + 0.180423 * lb) / 0.95047)
    y = f(0.212671 * lr + 0.715160 * lg + 0.072169 * lb)
    z = f((0.019334 * lr + 0.119193 * lg + 0.950227 * lb) / 1.08883)
    return 116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)


def histograms(
    values: npt.NDArray[np.float64], mask: npt.NDArray[np.generic] | None, bins: Sequence[int], ranges: Sequence[Range]
) -> list[list[int]]:
    """Of channels [C, H, W]: for each its bins, then below, above and not a number."""
    found = []
    for channel, n, (low, high) in zip(values, bins, ranges, strict=True):
        bounds = edges(low, high, n)
        counts = [0] * (n + 3)
        for y in range(channel.shape[0]):
            for x in range(channel.shape[1]):
                if mask is None or mask[y, x] != 0:
                    counts[slot(float(channel[y, x]), bounds)] += 1
        found.append(counts)
    return found


def joint_histogram(
    values: npt.NDArray[np.float64], mask: npt.NDArray[np.generic] | None, bins: Sequence[int], ranges: Sequence[Range]
) -> tuple[npt.NDArray[np.int64], list[int]]:
    """Of three channels [3, H, W]: counts [bins 0, bins 1, bins 2]; pixels below, above, not a number."""
    bounds = [edges(low, high, n) for n, (low, high) in zip(bins, ranges, strict=True)]
    counts, outside = np.zeros(tuple(bins), np.int64), [0, 0, 0]
    for y in range(values.shape[1]):
        for x in range(values.shape[2]):
            if mask is not None and mask[y, x] == 0:
                continue
            slots = [slot(float(values[c, y, x]), bounds[c]) for c in range(3)]
            worst = max(s - n for s, n in zip(slots, bins, strict=True))
            if worst >= 0:
                outside[worst] += 1
            else:
                counts[tuple(slots)] += 1
    return counts, outside
