"""Gray levels, pairs and co-occurrence features, written from their formulas. Slow and obvious.

Gray of three channels is float32 by definition (docs/glcm.md); the rest is exact or float64. Formulas:
Haralick, Shanmugam, Dinstein 1973 (f1 .. f14); the IBSI reference manual, section 3.6; scikit-image's and mahotas's
documentation for what is theirs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
F = np.float32
HIGH = {"uint8": 256.0, "uint16": 65536.0}  # floating types: 1


def raw_values(pixels: npt.NDArray[np.generic], dtype: str) -> npt.NDArray[np.float32]:
    """float32 [H, W] of pixels [H, W, C]."""
    x = pixels.astype(F)
    if x.shape[2] == 1:
        return x[..., 0]
    with np.errstate(invalid="ignore", over="ignore"):
        gray = F(0.299) * x[..., 0] + F(0.587) * x[..., 1] + F(0.114) * x[..., 2]
    return np.floor(gray + F(0.5)) if dtype in HIGH else gray


def levels_of(
    pixels: npt.NDArray[np.generic],
    dtype: str,
    mask: npt.NDArray[np.generic] | None,
    *,
    levels: int,
    quantize: str,
    value_range: tuple[float, float | None] | None = None,
    width: float | None = None,
) -> tuple[Ints, Bools]:
    """Levels and which pixels are counted, [H, W] each, of pixels [H, W, C]."""
    x = raw_values(pixels, dtype)
    counted = np.isfinite(x) if mask is None else np.isfinite(x) & (mask != 0)
    smallest, largest = (x[counted].min(), x[counted].max()) if counted.any() else (F(0), F(0))
    low, factor, divisor = float(smallest), float(levels), float(largest) - float(smallest)
    if quantize == "levels":
        low, factor, divisor = 0.0, 1.0, 1.0
    elif quantize == "range":
        given = (0.0, HIGH.get(dtype, 1.0)) if value_range is None else value_range
        assert given[1] is not None
        low, divisor = float(given[0]), float(given[1]) - float(given[0])
    elif quantize == "width":
        assert width is not None
        low, factor, divisor = float(smallest if value_range is None else value_range[0]), 1.0, width
    out = np.zeros(x.shape, np.int64)
    for at in np.ndindex(*x.shape):
        if counted[at] and divisor > 0.0:
            position = factor * (float(x[at]) - low) / divisor
            out[at] = math.floor(min(max(position, 0.0), levels - 1.0))
    return out, counted


def offset_of(distance: float, angle: float) -> tuple[int, int]:
    """Rows and columns, rounded half away from zero."""

    def rounded(x: float) -> int:
        down = math.floor(abs(x))
        return int(math.copysign(down + (1 if abs(x) - down >= 0.5 else 0), x))

    return rounded(math.sin(angle) * distance), rounded(math.cos(angle) * distance)


def count_pairs(level: Ints, counted: Bools, levels: int, offset: tuple[int, int], symmetric: bool) -> Ints:
    """[L, L]."""
    counts = np.zeros((levels, levels), np.int64)
    height, width = level.shape
    for r in range(height):
        for c in range(width):
            r2, c2 = r + offset[0], c + offset[1]
            if 0 <= r2 < height and 0 <= c2 < width and counted[r, c] and counted[r2, c2]:
                counts[level[r, c], level[r2, c2]] += 1
                if symmetric:
                    counts[level[r2, c2], level[r, c]] += 1
    return counts


@dataclass
class Matrix:
    """A matrix of counts and what the formulas share."""

    counts: Ints
    largest_level: int  # of the image, or of the matrices of the image

    def __post_init__(self) -> None:
        self.levels = len(self.counts)
        self.bins = self.largest_level + 1  # IBSI's Ng: gray levels counted from the first bin to the largest one
        self.n = int(self.counts.sum())
        self.p = self.counts / max(self.n, 1)
        self.i, self.j = np.mgrid[: self.levels, : self.levels].astype(np.float64)
        self.row, self.column = self.p.sum(1), self.p.sum(0)
        self.level = np.arange(self.levels, dtype=np.float64)
        self.m, self.c = float(self.row @ self.level), float(self.column @ self.level)
        self.plus = np.array([self.p[self.i + self.j == k].sum() for k in range(2 * self.levels - 1)])
        self.minus = np.array([self.p[abs(self.i - self.j) == k].sum() for k in range(self.levels)])

    def cluster(self, power: int) -> float:
        return float((self.p * (self.i + self.j - self.m - self.c) ** power).sum())


def entropy(p: Array) -> float:
    """In bits."""
    some = p[p > 0.0]
    return float(-(some * np.log2(some)).sum())


def cross_entropy(m: Matrix) -> tuple[float, float]:
    """HXY1 and HXY2."""
    product = np.outer(m.row, m.column)
    inside = product > 0.0
    logs = np.log2(np.where(inside, product, 1.0))
    return float(-(m.p * logs).sum()), float(-(product * logs).sum())


def correlation(m: Matrix) -> float:
    if (m.row > 0.0).sum() == 1 or (m.column > 0.0).sum() == 1:
        return 1.0
    spread = math.sqrt(m.row @ (m.level - m.m) ** 2) * math.sqrt(m.column @ (m.level - m.c) ** 2)
    return float((m.p * (m.i - m.m) * (m.j - m.c)).sum() / spread)


def imc1(m: Matrix) -> float:
    most = max(entropy(m.row), entropy(m.column))
    return 0.0 if most == 0.0 else (entropy(m.p) - cross_entropy(m)[0]) / most


def imc2(m: Matrix) -> float:
    return math.sqrt(max(0.0, 1.0 - math.exp(-2.0 * (cross_entropy(m)[1] - entropy(m.p)))))


def maximal_correlation(m: Matrix) -> float:
    """Root of the second largest eigenvalue of Q[i, j] = sum_k p[i, k] p[j, k] / (P[i] Q[k])."""
    rows, columns = m.row > 0.0, m.column > 0.0
    p = m.p[rows][:, columns]
    q = (p / m.row[rows][:, None]) @ (p / m.column[columns]).T
    values = np.sort(np.linalg.eigvals(q).real)
    return math.sqrt(max(0.0, values[-2])) if len(values) > 1 else 0.0


def _variance(p: Array, x: Array) -> float:
    return float(p @ (x - p @ x) ** 2)


FORMULAS: dict[str, Callable[[Matrix], float]] = {
    "contrast": lambda m: float((m.p * (m.i - m.j) ** 2).sum()),
    "dissimilarity": lambda m: float((m.p * abs(m.i - m.j)).sum()),
    "homogeneity": lambda m: float((m.p / (1.0 + (m.i - m.j) ** 2)).sum()),
    "ASM": lambda m: float((m.p**2).sum()),
    "energy": lambda m: math.sqrt((m.p**2).sum()),
    "correlation": correlation,
    "mean": lambda m: m.m,
    "variance": lambda m: float((m.p * (m.i - m.m) ** 2).sum()),
    "std": lambda m: math.sqrt((m.p * (m.i - m.m) ** 2).sum()),
    "entropy": lambda m: entropy(m.p) * math.log(2.0),
    "joint_entropy": lambda m: entropy(m.p),
    "joint_maximum": lambda m: float(m.p.max()),
    "joint_average": lambda m: float((m.p * (m.i + 1.0)).sum()),
    "sum_average": lambda m: float(m.plus @ np.arange(2.0, 2.0 * m.levels + 1.0)),
    "sum_average_zero_based": lambda m: float(m.plus @ np.arange(2.0 * m.levels - 1.0)),
    "sum_variance": lambda m: _variance(m.plus, np.arange(2.0 * m.levels - 1.0)),
    "sum_entropy": lambda m: entropy(m.plus),
    "difference_variance": lambda m: _variance(m.minus, m.level),
    "difference_variance_of_bins": lambda m: float(np.var(m.minus[: m.largest_level + 1])),
    "difference_entropy": lambda m: entropy(m.minus),
    "imc1": imc1,
    "imc2": imc2,
    "inverse_difference": lambda m: float((m.p / (1.0 + abs(m.i - m.j))).sum()),
    "inverse_difference_normalized": lambda m: float((m.p / (1.0 + abs(m.i - m.j) / m.bins)).sum()),
    "inverse_difference_moment_normalized": lambda m: float((m.p / (1.0 + (m.i - m.j) ** 2 / m.bins**2)).sum()),
    "inverse_variance": lambda m: float(sum(m.minus[k] / k**2 for k in range(1, m.levels))),
    "autocorrelation": lambda m: float((m.p * (m.i + 1.0) * (m.j + 1.0)).sum()),
    "cluster_shade": lambda m: m.cluster(3),
    "cluster_prominence": lambda m: m.cluster(4),
    "maximal_correlation_coefficient": maximal_correlation,
    "angular_second_moment": lambda m: float((m.p**2).sum()),
    "joint_variance": lambda m: float((m.p * (m.i - m.m) ** 2).sum()),
    "difference_average": lambda m: float(m.minus @ m.level),
    "inverse_difference_moment": lambda m: float((m.p / (1.0 + (m.i - m.j) ** 2)).sum()),
    "cluster_tendency": lambda m: m.cluster(2),
}


def features(counts: Ints, largest_level: int) -> dict[str, float]:
    """All features of a matrix; 0 of an empty one."""
    m = Matrix(counts, largest_level)
    return {name: formula(m) if m.n else 0.0 for name, formula in FORMULAS.items()}
