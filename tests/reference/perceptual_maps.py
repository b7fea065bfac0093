"""The perceptual maps of one image in float64, written from docs/perceptual_maps.md; slow and plain.

Knows nothing of the package. Besides the maps it returns every intermediate value, because tests/tolerances.py
propagates rounding errors along the same path.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

GRAY = (0.299, 0.587, 0.114)
RGB_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
WHITE = np.array([0.95047, 1.0, 1.08883])  # D65
SOBEL = np.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8.0
LARGEST_MAGNITUDE = 1e30
BAND_EDGES = (0.0, 0.3, 0.6)


@dataclass
class Taps:
    """What each output of one direction of the resize is made of; `weight` is already divided by `total`."""

    n_in: int
    a: float  # Keys' parameter
    stretch: float  # of the kernel; above 1 only where an antialiased resize shrinks
    center: list[float]  # [out], in pixels
    index: list[list[int]]  # [out][tap]; an index may stand twice where taps are clamped
    distance: list[list[float]]  # [out][tap], from the center in units of the kernel
    weight: list[list[float]]  # [out][tap]
    total: list[float]  # [out], sum of the weights before the division


@dataclass
class Trace:
    """Maps, ranges and how they came about. `usable` is False for non-finite images; then all else is NaN or unset."""

    kind: str
    mode: str
    usable: bool
    maps: Array  # [4, h, w]
    ranges: Array  # [4]
    dtype: str = ""
    pixels: Array = field(default_factory=lambda: np.empty(0))  # [C, H, W] on the 0..255 scale, as they came
    kept: Array = field(default_factory=lambda: np.empty(0))  # [K, H, W], gray where the kind is
    rows: Taps | None = None  # None: this direction keeps its size
    columns: Taps | None = None
    halfway: Array = field(default_factory=lambda: np.empty(0))  # [K, h, W], after the vertical pass
    resized: Array = field(default_factory=lambda: np.empty(0))  # [K, h, w]
    low: Array = field(default_factory=lambda: np.empty(0))  # [K], of the resized channels
    high: Array = field(default_factory=lambda: np.empty(0))  # [K]
    divisor: Array = field(default_factory=lambda: np.empty(0))  # [K], of the image normalization
    unit: Array = field(default_factory=lambda: np.empty(0))  # [K, h, w], the normalised image in [0, 1]
    linear: Array = field(default_factory=lambda: np.empty(0))  # [3, h, w], "color" only, as the next three
    xyz: Array = field(default_factory=lambda: np.empty(0))  # [3, h, w], over the white point
    f: Array = field(default_factory=lambda: np.empty(0))  # [3, h, w]
    gray: Array = field(default_factory=lambda: np.empty(0))  # [h, w]
    gx: Array = field(default_factory=lambda: np.empty(0))  # [h, w]
    gy: Array = field(default_factory=lambda: np.empty(0))  # [h, w]
    plain: Array = field(default_factory=lambda: np.empty(0))  # [4, h, w]: a*, b*, magnitude, blur, bands; no last step


def trace(pixels: npt.NDArray[np.generic], dtype: str, *, kind: str, mode: str, size: tuple[int, int]) -> Trace:
    """Of one image [H, W, C] whose values are stored as `dtype` ("uint8", "uint16", "float16", ...)."""
    x = to_255(pixels, dtype).transpose(2, 0, 1)
    if not bool(np.all(np.abs(x) <= LARGEST_MAGNITUDE)):  # NaN compares false
        return Trace(kind, mode, False, np.full((4, *size), np.nan), np.full(4, np.nan))
    kept = x if kind == "color" else weighted(np.broadcast_to(x, (3, *x.shape[1:])), GRAY)[None]
    antialias = mode == "clean"
    rows = None if kept.shape[1] == size[0] else taps(kept.shape[1], size[0], antialias)
    columns = None if kept.shape[2] == size[1] else taps(kept.shape[2], size[1], antialias)
    halfway = np.stack([resample(channel, rows) for channel in kept])
    resized = np.stack([resample(channel.T, columns).T for channel in halfway])
    low, high = resized.min((1, 2)), resized.max((1, 2))
    if mode == "published":
        divisor = high - low + 1e-6
        start = low
    else:
        start = np.full_like(low, low.min())
        divisor = np.full_like(low, max(high.max() - low.min(), 255.0 / 4096.0))
    unit = (resized - start[:, None, None]) / divisor[:, None, None]
    result = Trace(kind, mode, True, np.empty(0), np.empty(0), dtype, x, kept, rows, columns, halfway, resized)
    result.low, result.high, result.divisor, result.unit = low, high, divisor, unit
    plain_maps(result)
    final_maps(result)
    return result


def to_255(pixels: npt.NDArray[np.generic], dtype: str) -> Array:
    """The 0..255 scale is float32 by definition, so this one rounding is part of the formula."""
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype == "uint8":
            value = pixels.astype(np.float32)
        elif dtype == "uint16":
            value = pixels.astype(np.float32) / np.float32(257.0)
        else:
            value = pixels.astype(np.float32) * np.float32(255.0)
    return value.astype(np.float64)


def weighted(x: Array, weights: tuple[float, ...] | Array) -> Array:
    return weights[0] * x[0] + weights[1] * x[1] + weights[2] * x[2]


# ---- Resize ----------------------------------------------------------------------------------------------------------


def keys(x: float, a: float) -> float:
    """Keys' cubic convolution kernel."""
    x = abs(x)
    if x < 1.0:
        return (a + 2.0) * x**3 - (a + 3.0) * x**2 + 1.0
    if x < 2.0:
        return a * x**3 - 5.0 * a * x**2 + 8.0 * a * x - 4.0 * a
    return 0.0


def taps(n_in: int, n_out: int, antialias: bool) -> Taps:
    scale = n_in / n_out
    table = Taps(n_in, -0.5 if antialias else -0.75, max(scale, 1.0) if antialias else 1.0, [], [], [], [], [])
    for o in range(n_out):
        center = scale * (o + 0.5) - 0.5  # of output pixel o, where input pixel j has its center at j
        if antialias:
            reach = 2.0 * table.stretch
            first = max(int(center + 0.5 - reach + 0.5), 0)
            last = min(int(center + 0.5 + reach + 0.5), n_in)
            where = list(range(first, last))
        else:
            where = list(range(math.floor(center) - 1, math.floor(center) + 3))
        distance = [(j - center) / table.stretch for j in where]
        weight = [keys(d, table.a) for d in distance]
        total = sum(weight) if antialias else 1.0
        table.center.append(center)
        table.index.append([min(max(j, 0), n_in - 1) for j in where])
        table.distance.append(distance)
        table.weight.append([w / total for w in weight])
        table.total.append(total)
    return table


def resample(x: Array, table: Taps | None) -> Array:
    """Along the first axis."""
    if table is None:
        return x
    out = np.zeros((len(table.center), x.shape[1]))
    for o, (indices, weights) in enumerate(zip(table.index, table.weight, strict=True)):
        for j, w in zip(indices, weights, strict=True):
            out[o] += w * x[j]
    return out


# ---- Maps ------------------------------------------------------------------------------------------------------------


def srgb_to_linear(v: Array) -> Array:
    return np.where(v > 0.04045, np.maximum((v + 0.055) / 1.055, 0.0) ** 2.4, v / 12.92)


def lab_f(t: Array) -> Array:
    return np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 4.0 / 29.0)


def neighborhood(x: Array, kernel: Array, border: str) -> Array:
    """Correlation with a small kernel; border "edge" or "reflect" (without repeating the edge pixel)."""
    ry, rx = kernel.shape[0] // 2, kernel.shape[1] // 2
    padded = np.pad(x, ((ry, ry), (rx, rx)), mode=border)  # type: ignore[call-overload]
    out = np.zeros_like(x)
    for dy in range(kernel.shape[0]):
        for dx in range(kernel.shape[1]):
            out += kernel[dy, dx] * padded[dy : dy + x.shape[0], dx : dx + x.shape[1]]
    return out


def gaussian() -> Array:
    taps_1d = np.array([math.exp(-(k**2) / (2.0 * 3.0**2)) for k in range(-3, 4)])
    taps_1d /= taps_1d.sum()
    return np.outer(taps_1d, taps_1d)


def clean_coarse_fine(m: Array) -> Array:
    return (m - 1e-3) / (m - 1e-3 + 0.05)


def plain_maps(t: Trace) -> None:
    """The maps before their own min-max (published) or fixed range (clean)."""
    if t.kind == "color":
        rgb = t.unit if len(t.unit) == 3 else np.repeat(t.unit, 3, axis=0)
        t.linear = srgb_to_linear(rgb)
        t.xyz = np.stack([weighted(t.linear, RGB_TO_XYZ[k]) / WHITE[k] for k in range(3)])
        t.f = lab_f(t.xyz)
        t.gray = weighted(rgb, GRAY)
    else:
        t.gray = t.unit[0]
    g = t.gray
    t.gx, t.gy = neighborhood(g, SOBEL, "edge"), neighborhood(g, SOBEL.T, "edge")
    magnitude = np.sqrt(t.gx**2 + t.gy**2 + 1e-6)
    blur = neighborhood(g, gaussian(), "reflect")
    if t.kind == "color":
        t.plain = np.stack([500.0 * (t.f[0] - t.f[1]), 200.0 * (t.f[1] - t.f[2]), magnitude, blur])
    else:
        zero, one, two = BAND_EDGES
        band_i = np.where((g >= zero) & (g < one), g, 0.0)
        band_ii = np.where((g >= one) & (g < two), g, 0.0)
        t.plain = np.stack([magnitude, blur, band_i, band_ii])


def final_maps(t: Trace) -> None:
    names = map_names(t.kind)
    if t.mode == "published":
        t.ranges = np.ptp(t.plain, axis=(1, 2))
        noise = (t.high > t.low) & (t.high - t.low < 1e-5 * np.maximum(t.high, -t.low))
        if noise.any():
            t.ranges = np.zeros(4)
        t.maps = t.plain.copy()
        for k, name in enumerate(names):
            if not name.startswith("band"):
                t.maps[k] = (t.plain[k] - t.plain[k].min()) / (np.ptp(t.plain[k]) + 1e-6)
        return
    t.maps = t.plain.copy()
    for k, name in enumerate(names):
        if name in ("red-green", "blue-yellow"):
            t.maps[k] = (t.plain[k] + 110.0) / 220.0
        if name == "coarse-fine":
            t.maps[k] = clean_coarse_fine(t.plain[k])
    t.ranges = np.ptp(t.maps, axis=(1, 2))


def map_names(kind: str) -> tuple[str, ...]:
    if kind == "color":
        return ("red-green", "blue-yellow", "coarse-fine", "light-dark")
    return ("coarse-fine", "light-dark", "band-i", "band-ii")
