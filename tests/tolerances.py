"""How far a float32 implementation of an op may be from its float64 reference, derived and not fitted.

u = 2^-24 is float32's unit roundoff: every +, -, *, / and sqrt adds at most u times its result, every constant at most
u times itself. The bounds follow one image through the steps of docs/perceptual_maps.md, pixel by pixel; each step adds
its own roundings and amplifies the error so far. They hold for any order of the sums: for all back ends on any machine.

- Load: 2u x for uint16, whose division may be a multiplication by 1/257; 0 for the others, exact by definition.
- Gray before the resize, of one channel too: 4u sum(w x), for weight, product and two sums; the error so far by
  the same weights.
- Resize weights: their rounding is computed instead of bounded, as the formula in float32 against float64 (0 for ratios
  like 2 or 1/4), in two orders of its operations, with and without fused multiplication and addition; the largest,
  doubled for yet other orders.
- Resize sum, each direction: (n + 2) u sum(|w x|) for n taps; the error so far times sum(|w|), at most 1.6.
- Image normalization: 4u; (e + e of low) / divisor + y (e of divisor) / divisor, which amplifies by magnitude / range.
- sRGB curve: 19u relative (pow 8.75u, torch's 5.8u; its base 4u times 2.4); slope up to 2.28.
- XYZ: 6u; rows of the matrix.
- Lab's f: 4u relative (cube root 1.62u; torch's 2.8u, whose exponent 1/3 is rounded); slope up to 7.787 near black.
- a*, b*: 2u; 500 (e_x + e_y), 200 (e_y + e_z).
- Gray: 4u sum(w y); the same weights.
- Sobel / 8: 3u sum(|k| g); sum(|k| e).
- Magnitude: 4u; slope up to 1, and up to 1 / (2 x 1e-3) on the error of gx^2 + gy^2 where that is near 0.
- Clean coarse-fine: 4u, and 20u x 1e-3 for its constant; slope up to 1 / 0.05 = 20.
- Gaussian: 18u sum(w g), for two directions of 7 products and sums and taps given to 8 digits; sum(w e).
- Min-max of a map, mode published: as the image normalization.

Slopes are not linearized: a monotone f adds max(f(v + e) - f(v), f(v) - f(v - e)), which also covers the small steps of
the sRGB and Lab curves at their thresholds. A gray within e of a band's edge (0, .3, .6) may fall on either side: both
values are allowed there. Where the bound of a pixel exceeds 0.5 the formula says nothing about it in float32
(a min-max of rounding noise); such a pixel must be finite and in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.reference import perceptual_maps as reference
from tests.reference.perceptual_maps import Array, Taps, Trace

U = 2.0**-24
MEANINGLESS = 0.5
SLACK = 1e-6  # how far rounding may carry a map out of [0, 1]


@dataclass
class Bounds:
    """Around a Trace: |map - reference| <= maps, or |map - other| <= maps where `either`."""

    maps: Array  # [4, h, w]
    other: Array  # [4, h, w], the value on the other side of a band's edge
    either: npt.NDArray[np.bool_]  # [4, h, w]
    ranges: Array  # [4]
    noise: tuple[bool, bool]  # ranges of mode published (may be, must be) reported as 0: a channel's range is rounding


def perceptual_maps(t: Trace) -> Bounds:
    """Of the maps and ranges of one usable image."""
    unit, noise = _unit_error(t)
    if t.kind == "color":
        e = np.broadcast_to(unit, (3, *unit.shape[1:]))
        y = np.broadcast_to(t.unit, e.shape)
        e_gray = _weighted_error(y, e)
        plain = [*_opponent_error(t, y, e), _magnitude_error(t, e_gray), _blur_error(t.gray, e_gray)]
    else:
        e_gray = unit[0]
        plain = [_magnitude_error(t, e_gray), _blur_error(t.gray, e_gray), e_gray, e_gray]
    other, either = _band_sides(t, e_gray)
    names, maps = reference.map_names(t.kind), np.stack(plain)
    if t.mode == "published":
        ranges = _range_errors(t.plain, other, either, maps)
        for k, name in enumerate(names):
            if not name.startswith("band"):
                maps[k] = _min_max_error(t.plain[k], t.maps[k], maps[k], ranges[k])
    else:
        for k, name in enumerate(names):
            if name in ("red-green", "blue-yellow"):
                maps[k] = maps[k] / 220.0 + 4.0 * U
            if name == "coarse-fine":
                maps[k] = _clean_coarse_fine_error(t.plain[k], t.maps[k], maps[k])
        ranges = _range_errors(t.maps, other, either, maps)
    return Bounds(maps, other, either, ranges, noise)


def assert_perceptual_maps(
    maps: npt.ArrayLike, ranges: npt.ArrayLike | None, t: Trace, bounds: Bounds | None = None
) -> None:
    """float32 maps [4, h, w] and ranges [4] of one image are those of the reference."""
    got = np.asarray(maps, dtype=np.float64)
    assert got.shape == t.maps.shape
    if not t.usable:
        assert np.isnan(got).all()
        assert ranges is None or np.isnan(np.asarray(ranges)).all()
        return
    bounds = bounds or perceptual_maps(t)
    assert np.isfinite(got).all()
    assert got.min() >= -SLACK
    assert got.max() <= 1.0 + SLACK
    error = np.abs(got - t.maps)
    error = np.where(bounds.either, np.minimum(error, np.abs(got - bounds.other)), error)
    wrong = (error > bounds.maps) & (bounds.maps <= MEANINGLESS)
    if wrong.any():
        k, y, x = (int(i) for i in np.argwhere(wrong)[0])
        name = reference.map_names(t.kind)[k]
        raise AssertionError(
            f"{name} ({t.mode}) at row {y}, column {x}: {got[k, y, x]!r}, expected {t.maps[k, y, x]!r} "
            f"within {bounds.maps[k, y, x]:.2g}; {int(wrong.sum())} such values"
        )
    if ranges is None:
        return
    got_ranges = np.asarray(ranges, dtype=np.float64)
    may_be_noise, must_be_noise = bounds.noise
    if may_be_noise and not got_ranges.any():
        return
    expected = t.maps if t.mode == "clean" else t.plain
    far = np.abs(got_ranges - np.ptp(expected, axis=(1, 2))) > bounds.ranges
    assert not must_be_noise, f"ranges {got_ranges} of rounding noise, expected zeros"
    assert not far.any(), f"ranges {got_ranges}, expected {t.ranges} within {bounds.ranges}"


# ---- Steps -----------------------------------------------------------------------------------------------------------


def _spread(f: Callable[[Array], Array], v: Array, e: Array) -> Array:
    """How far a monotone f moves where v moves by e."""
    middle = f(v)
    return np.maximum(f(v + e) - middle, middle - f(v - e))


def _weighted_error(x: Array, e: Array) -> Array:
    return reference.weighted(e, reference.GRAY) + 4.0 * U * reference.weighted(np.abs(x), reference.GRAY)


def _load_error(t: Trace) -> Array:
    e = (2.0 * U if t.dtype == "uint16" else 0.0) * np.abs(t.pixels)
    if t.kind == "gray":
        shape = (3, *t.pixels.shape[1:])
        return _weighted_error(np.broadcast_to(t.pixels, shape), np.broadcast_to(e, shape))[None]
    return e


def _unit_error(t: Trace) -> tuple[Array, tuple[bool, bool]]:
    """Errors of the normalised image [K, h, w], and whether the ranges may and must be reported as 0."""
    loaded = _load_error(t)
    e = np.stack([_resize_error(t.rows, x, d) for x, d in zip(t.kept, loaded, strict=True)])
    e = np.stack([_resize_error(t.columns, x.T, d.T).T for x, d in zip(t.halfway, e, strict=True)])
    if t.rows is None and t.columns is None and (t.mode == "published" or len(t.kept) == 1):
        # Equal values stay equal: nothing is left of a constant channel after its low is subtracted.
        constant = np.ptp(t.pixels, axis=(1, 2)) == 0.0
        e[constant if len(constant) == len(e) else np.array([constant.all()])] = 0.0
    low = np.array([_low_error(x, d) for x, d in zip(t.resized, e, strict=True)])
    high = np.array([_low_error(-x, d) for x, d in zip(t.resized, e, strict=True)])
    spread = t.high - t.low
    noise = (False, False)
    if t.mode == "published":
        limit, most, least = 1e-5 * np.maximum(t.high, -t.low), spread + low + high, spread - low - high
        may_be = (most > 0.0) & (least < limit * (1.0 + 1e-5))
        must_be = (least > 0.0) & (most < limit * (1.0 - 1e-5))
        noise = bool(may_be.any()), bool(must_be.any())
    else:
        low, high = np.full_like(low, _low_error(t.resized, e)), np.full_like(high, _low_error(-t.resized, e))
    relative = ((low + high) / t.divisor + 4.0 * U)[:, None, None]
    error = (e + low[:, None, None]) / t.divisor[:, None, None] + relative * np.abs(t.unit)
    # Values in [0, 1] are never further apart than 1.
    error = np.where(relative < 1.0, error / np.maximum(1.0 - relative, U), 1.0)
    return np.minimum(error, 1.0), noise


def _low_error(x: Array, e: Array) -> float:
    """Of the minimum of x."""
    low = x.min()
    return float(max(low - (x - e).min(), (x + e).min() - low))


def _resize_error(table: Taps | None, x: Array, e: Array) -> Array:
    """After one direction of the resize along the first axis, of x known to e."""
    if table is None:
        return e
    middle = (x.max() + x.min()) / 2.0
    size, from_middle = np.abs(x), np.abs(x - middle)
    out = np.zeros((len(table.center), x.shape[1]))
    for o in range(len(out)):
        at, w = table.index[o], np.array(table.weight[o])
        rounding = np.stack([_float32_weights(table, o, torch, fused) - w for torch in (0, 1) for fused in (0, 1)])
        # Weights that moved still sum to 1, so only differences from the middle count; and what their sum is off by.
        off = np.abs(rounding.sum(1)).max()
        out[o] = 2.0 * (np.abs(rounding).max(0) @ from_middle[at] + off * abs(middle))
        out[o] += (len(w) + 2.0) * U * (np.abs(w) @ size[at]) + np.abs(w) @ e[at]
    return out


def _float32_weights(table: Taps, o: int, torch: int, fused: int) -> Array:
    """The weights of output o in float32, step by step, in csrc/core's or torch's order, with or without fma."""
    f = np.float32
    scale, half = f(table.n_in) / f(len(table.center)), f(0.5)
    where = np.round(np.array(table.distance[o]) * table.stretch + table.center[o]).astype(f)
    if table.a == -0.75:
        center = _multiply_add(scale, f(o) + half, -half, fused)
        t = center - where[1]  # where[1] is the floor of the center
        taps = [t + f(1), t, f(1) - t, f(1) - t + f(1)] if torch else [t + f(1) - f(j) for j in range(4)]
        return _float32_keys(np.array(taps, f), f(table.a), torch, fused).astype(np.float64)
    center = scale * (f(o) + half)
    distance = np.arange(len(where), dtype=f) + (where[0] - center) + half if torch else where - center + half
    weight = _float32_keys(distance * (f(1) / max(scale, f(1))), f(table.a), torch, fused)
    total = f(0)
    for one in weight:
        total += one
    return (weight / total).astype(np.float64)


def _float32_keys(distance: npt.NDArray[np.float32], a: np.float32, torch: int, fused: int) -> npt.NDArray[np.float32]:
    x, (two, three, four, five, eight) = np.abs(distance), (np.float32(k) for k in (2, 3, 4, 5, 8))
    inner = _multiply_add(_multiply_add(a + two, x, -(a + three), fused) * x, x, np.float32(1.0), fused)
    if torch:
        outer = _multiply_add(_multiply_add(a, x, -five * a, fused), x, eight * a, fused)
        outer = _multiply_add(outer, x, -four * a, fused)
    else:
        outer = _multiply_add(_multiply_add(x - five, x, eight, fused), x, -four, fused) * a
    return np.where(x < 1.0, inner, np.where(x < two, outer, np.float32(0.0)))


def _multiply_add(x: Any, y: Any, z: Any, fused: int) -> Any:
    """x y + z in float32, rounded once or twice."""
    if fused:
        return (np.asarray(x, np.float64) * np.asarray(y, np.float64) + np.asarray(z, np.float64)).astype(np.float32)
    return x * y + z


def _opponent_error(t: Trace, y: Array, e: Array) -> list[Array]:
    linear = _spread(reference.srgb_to_linear, y, e) + 19.0 * U * np.abs(t.linear)
    rows = zip(reference.RGB_TO_XYZ, reference.WHITE, strict=True)
    xyz = np.stack([reference.weighted(linear, row) / white for row, white in rows])
    xyz += 6.0 * U * np.abs(t.xyz)
    f = _spread(reference.lab_f, t.xyz, xyz) + 4.0 * U * np.abs(t.f)
    a = 500.0 * (f[0] + f[1]) + 2.0 * U * np.abs(t.plain[0])
    b = 200.0 * (f[1] + f[2]) + 2.0 * U * np.abs(t.plain[1])
    return [a, b]


def _magnitude_error(t: Trace, e: Array) -> Array:
    square_low, square_high = np.zeros_like(e), np.zeros_like(e)
    for kernel, g in ((reference.SOBEL, t.gx), (reference.SOBEL.T, t.gy)):
        d = reference.neighborhood(e + 3.0 * U * np.abs(t.gray), np.abs(kernel), "edge")
        square_low += np.maximum(np.abs(g) - d, 0.0) ** 2
        square_high += (np.abs(g) + d) ** 2
    magnitude = np.sqrt(t.gx**2 + t.gy**2 + 1e-6)
    return (
        np.maximum(np.sqrt(square_high + 1e-6) - magnitude, magnitude - np.sqrt(square_low + 1e-6))
        + 4.0 * U * magnitude
    )


def _blur_error(gray: Array, e: Array) -> Array:
    return reference.neighborhood(e + 18.0 * U * np.abs(gray), reference.gaussian(), "reflect")


def _band_sides(t: Trace, e: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    other, either = np.zeros_like(t.plain), np.zeros(t.plain.shape, dtype=bool)
    if t.kind == "gray":
        for k, (start, stop) in ((2, reference.BAND_EDGES[:2]), (3, reference.BAND_EDGES[1:])):
            g, rounded = t.gray, e + U  # the edges themselves are rounded
            inside = (g >= start) & (g < stop)
            other[k] = np.where(inside, 0.0, g)
            either[k] = (np.abs(g - start) <= rounded) | (np.abs(g - stop) <= rounded)
    return other, either


def _clean_coarse_fine_error(magnitude: Array, value: Array, e: Array) -> Array:
    smallest = np.sqrt(1e-6)
    moved = _spread(lambda m: reference.clean_coarse_fine(np.maximum(m, smallest)), magnitude, e)
    return moved + 4.0 * U * value + 20.0 * U * 1e-3


def _range_errors(x: Array, other: Array, either: npt.NDArray[np.bool_], e: Array) -> Array:
    """Of max - min of each map whose values are x or, where `either`, other, within e."""
    low = (np.where(either, np.minimum(x, other), x) - e).reshape(4, -1)
    high = (np.where(either, np.maximum(x, other), x) + e).reshape(4, -1)
    spread = np.ptp(x, axis=(1, 2))
    largest, smallest = high.max(1) - low.min(1), low.max(1) - high.min(1)
    return np.maximum(largest - spread, spread - smallest) + U * spread + 2.0 * U * np.abs(x).max((1, 2))


def _min_max_error(x: Array, y: Array, e: Array, spread_error: np.float64) -> Array:
    divisor = float(np.ptp(x)) + 1e-6
    relative = spread_error / divisor + 4.0 * U
    if not relative < 1.0:
        return np.full_like(x, np.inf)
    return (e + _low_error(x, e)) / divisor / (1.0 - relative) + relative / (1.0 - relative) * y


# Features are a handful of float32 operations on float32 statistics: sums of up to 64 block means (6 roundings deep),
# and differences of such means, so absolute; asinh, atanh and sqrt are accurate to 2 ulp. atanh near its clamp at
# 0.9999 magnifies an ulp of its argument by 1 / (1 - 0.9999^2) = 5,000: 3e-4 of the value 4.95.
TEXTURE_FEATURES = {"rtol": 4e-4, "atol": 2e-6}
