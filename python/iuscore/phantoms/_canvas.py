"""Drawing functions for both kinds of phantom: coordinates, smooth noise, blobs, branching curves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Field = NDArray[Any]
"""A plane: float32 [H, W]. Its dtype is not typed, because NumPy's stubs widen float32 times a Python float."""

Kind = Literal["endoscopy", "radiograph"]
Label = Literal["normal", "abnormal"]


class Dice:
    """The random numbers of one scene: standard normals in a fixed order.

    A scene must draw the same number of values whatever the values are, so that a defect changes the scene but not its
    other random choices. With a ``prototype``, each value is cos(a) own + sin(a) prototype's, with a from 0 (``pull`` =
    0) to pi / 2 (``pull`` = 1). This keeps the variance, so the mixed scene stays plausible.
    """

    def __init__(
        self, own: np.random.Generator, prototype: np.random.Generator | None = None, pull: float = 0.0
    ) -> None:
        self._own = own
        self._prototype = prototype
        self._cos = math.cos(pull * math.pi / 2)
        self._sin = math.sin(pull * math.pi / 2)

    def normal(self, *shape: int) -> Field:
        """Standard normals, float32 of the given shape."""
        own = self._own.standard_normal(shape, dtype=np.float32)
        if self._prototype is None:
            return own
        other = self._prototype.standard_normal(shape, dtype=np.float32)
        return self._cos * own + self._sin * other

    def uniform(self, low: float, high: float) -> float:
        """One number in [low, high]."""
        share = 0.5 * (1.0 + math.erf(float(self.normal(1)[0]) / math.sqrt(2.0)))
        return low + (high - low) * share

    def uniforms(self, low: float, high: float, *shape: int) -> Field:
        """Numbers in [low, high], float32 of the given shape."""
        from scipy.special import ndtr

        share: Field = ndtr(self.normal(*shape)).astype(np.float32)
        return low + (high - low) * share


@dataclass(frozen=True)
class Canvas:
    """Coordinates of the pixel centers: ``x`` and ``y`` float32 [H, W] in (-1, 1), right and down.

    Both axes span the image, so a scene is stretched, never cropped, in a rectangular image.
    """

    height: int
    width: int
    x: Field
    y: Field

    @property
    def side(self) -> float:
        """The side of the square of equal area, in pixels: the unit for widths and blurs."""
        return math.sqrt(self.height * self.width)


@lru_cache(maxsize=8)
def canvas(height: int, width: int) -> Canvas:
    """The canvas of a size; its arrays are shared and read-only."""
    x = ((np.arange(width) + 0.5) / width * 2 - 1).astype(np.float32)
    y = ((np.arange(height) + 0.5) / height * 2 - 1).astype(np.float32)
    grid_y, grid_x = (np.ascontiguousarray(a) for a in np.meshgrid(y, x, indexing="ij"))
    grid_x.flags.writeable = grid_y.flags.writeable = False
    return Canvas(height, width, grid_x, grid_y)


@lru_cache(maxsize=64)
def _spline_taps(length: int, cells: int) -> tuple[NDArray[np.intp], Field]:
    """First grid point [length] and four cubic B-spline weights [4, length] of every pixel."""
    position = (np.arange(length) + 0.5) / length * cells
    first = np.floor(position).astype(np.intp)
    t = position - first
    weights = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    return first, (np.stack(weights) / 6).astype(np.float32)


def noise(dice: Dice, size: tuple[int, int], cells: int) -> Field:
    """Smooth noise, float32 [H, W], mean 0, deviation about 1, with `cells` bumps along each axis.

    The random grid does not depend on the size, so a scene looks the same at every size. The spline is evaluated
    without matrix products, because a BLAS may round differently with another number of threads.
    """
    grid = dice.normal(cells + 3, cells + 3)
    first, weight = _spline_taps(size[0], cells)
    rows: Field = np.zeros((size[0], cells + 3), dtype=np.float32)
    for k in range(4):
        rows += weight[k][:, None] * grid[first + k]
    first, weight = _spline_taps(size[1], cells)
    field: Field = np.zeros(size, dtype=np.float32)
    for k in range(4):
        field += weight[k] * rows[:, first + k]
    # A cubic B-spline keeps 151/315 of the variance per axis.
    return field * (315 / 151)


def sigmoid(z: Any) -> Field:
    """1 / (1 + exp(-z)), float32, without overflow."""
    value: Field = 0.5 + 0.5 * np.tanh(0.5 * z)
    return value


def bump(z: Any) -> Field:
    """exp(-z^2), float32."""
    value: Field = np.exp(-np.square(z))
    return value


def turned(x: Any, y: Any, angle: float) -> tuple[Any, Any]:
    """The coordinates in a frame turned by `angle` radians."""
    c, s = math.cos(angle), math.sin(angle)
    return c * x + s * y, c * y - s * x


def gaussian(plane: Field, sigma: float) -> Field:
    """Gaussian blur of float32 [H, W] with a deviation of `sigma` pixels, border mirrored."""
    from scipy.ndimage import gaussian_filter

    blurred: Field = gaussian_filter(plane, sigma, mode="reflect", truncate=3.0)
    return blurred


def strokes(points: Field, weight: Field, size: tuple[int, int], sigma: float) -> Field:
    """Soft lines along polylines: float32 [H, W], about `weight` on the line's middle.

    Args:
        points: float32 [L, P, 2], L polylines of P points, (x, y) in canvas coordinates.
        weight: float32 [L, P], darkness of the line at each point.
        size: height and width in pixels.
        sigma: half width of the line in pixels.
    """
    height, width = size
    scale = np.array([width / 2, height / 2], dtype=np.float32)
    at = (points + 1) * scale - 0.5
    # Points at most half a pixel apart; otherwise separate dots would be visible.
    longest = float(np.abs(np.diff(at, axis=1)).max())
    parts = max(1, math.ceil(2 * longest))
    t = (np.arange(parts, dtype=np.float32) + 0.5) / parts
    dense = at[:, :-1, None, :] + (at[:, 1:, None, :] - at[:, :-1, None, :]) * t[:, None]
    length = np.hypot(*np.moveaxis(np.diff(at, axis=1), -1, 0)) / parts
    ink = np.broadcast_to((weight[:, 1:] * length)[..., None], dense.shape[:-1]).ravel()

    x, y = dense[..., 0].ravel(), dense[..., 1].ravel()
    column, row = np.floor(x), np.floor(y)
    fx, fy = x - column, y - row
    total = np.zeros((height + 2) * (width + 2))
    for dy, wy in ((0, 1 - fy), (1, fy)):
        for dx, wx in ((0, 1 - fx), (1, fx)):
            r, c = row + (dy + 1), column + (dx + 1)
            inside = (r >= 0) & (r < height + 2) & (c >= 0) & (c < width + 2)
            cell = (r * (width + 2) + c)[inside].astype(np.intp)
            total += np.bincount(cell, (ink * wy * wx)[inside], minlength=total.size)
    plane = total.reshape(height + 2, width + 2)[1:-1, 1:-1].astype(np.float32)
    return gaussian(plane, sigma) * (math.sqrt(2 * math.pi) * sigma)


def branches(
    dice: Dice, start: Field, angle: Field, *, length: float, wander: float, points: int = 20
) -> tuple[Field, Field]:
    """Wandering curves: points float32 [L, P, 2] and directions float32 [L, P] in radians.

    Args:
        dice: random numbers for the changes of direction.
        start: float32 [L, 2], first point of each curve.
        angle: float32 [L], first direction of each curve, in radians.
        length: length of each curve, in canvas units.
        wander: standard deviation of the change of direction from start to end, in radians.
        points: P, points per curve.
    """
    turns = dice.normal(len(angle), points) * (wander / math.sqrt(points))
    heading = angle[:, None] + np.cumsum(turns, axis=1)
    steps = np.stack([np.cos(heading), np.sin(heading)], axis=-1) * (length / points)
    return start[:, None, :] + np.cumsum(steps, axis=1) - steps[:, :1], heading


def offshoots(dice: Dice, points: Field, heading: Field, per_curve: int, *, fork: float) -> tuple[Field, Field]:
    """Starts [L * per_curve, 2] and directions [L * per_curve] of side branches, evenly along each curve."""
    at = np.linspace(0.15, 0.85, per_curve) * (points.shape[1] - 1)
    index = at.astype(np.intp)
    side = np.where(np.arange(per_curve) % 2 == 0, 1.0, -1.0).astype(np.float32)
    angle = heading[:, index] + side * dice.uniforms(0.6 * fork, 1.4 * fork, len(points), per_curve)
    return points[:, index].reshape(-1, 2), angle.reshape(-1)
