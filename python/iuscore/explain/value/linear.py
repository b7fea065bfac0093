"""Linear discriminants from sums: their shrinkage, the transfer to real images, and what one image does to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = "npt.NDArray[np.float64]"
Labels: TypeAlias = "npt.NDArray[np.int64]"

SHRINKAGE_FLOOR = 0.05
"""Least share of the unit matrix in a covariance."""

TINY = 1e-12  # keeps the covariance of images that are all alike invertible


class ClassMoments:
    """Counts, sums and sums of products of the rows of each class, for any number of rows in any pieces.

    Those up to the second order give means and covariances, two of the third and fourth the shrinkage.

    Args:
        classes: number of classes, K.
        width: of a row, d.

    Attributes:
        count: float64 [K]. total: [K, d], sums of rows x. outer: [K, d, d], of x x'. cubic: [K, d], of |x|^2 x.
        quartic: [K], of |x|^4.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(9, 2))
        >>> labels = np.arange(9) % 2
        >>> whole = ClassMoments(2, 2).add(rows, labels)
        >>> parts = ClassMoments(2, 2).add(rows[5:], labels[5:]).merge(ClassMoments(2, 2).add(rows[:5], labels[:5]))
        >>> bool(np.allclose(whole.outer, parts.outer))
        True
    """

    def __init__(self, classes: int, width: int) -> None:
        self.count = np.zeros(classes)
        self.total = np.zeros((classes, width))
        self.outer = np.zeros((classes, width, width))
        self.cubic = np.zeros((classes, width))
        self.quartic = np.zeros(classes)

    def add(self, rows: npt.NDArray[Any], labels: Labels, weights: Array | None = None) -> ClassMoments:
        """Add rows [n, d] with classes [n] in 0..K-1, each as often as ``weights`` [n] says; returns itself."""
        wide = np.asarray(rows, dtype=np.float64)
        if wide.ndim != 2 or wide.shape[1] != self.total.shape[1]:
            raise ValueError(f"rows: expected [n, {self.total.shape[1]}], got {list(wide.shape)}")
        for k in range(len(self.count)):
            mine = labels == k
            x = wide[mine]
            w = np.ones(len(x)) if weights is None else weights[mine]
            squares = np.einsum("ij,ij->i", x, x)
            self.count[k] += w.sum()
            self.total[k] += w @ x
            self.outer[k] += (x * w[:, None]).T @ x
            self.cubic[k] += (w * squares) @ x
            self.quartic[k] += w @ squares**2
        return self

    def merge(self, other: ClassMoments) -> ClassMoments:
        """Add what another one has seen; returns itself."""
        if other.total.shape != self.total.shape:
            raise ValueError(f"other: expected {list(self.total.shape)} sums, got {list(other.total.shape)}")
        for name, value in vars(other).items():
            getattr(self, name).__iadd__(value)
        return self

    def one_against_rest(self, k: int) -> ClassMoments:
        """Two classes: 0 is all others, 1 is class ``k``."""
        found = ClassMoments(2, self.total.shape[1])
        rest = [i for i in range(len(self.count)) if i != k]
        for name, value in vars(self).items():
            getattr(found, name)[0] = value[rest].sum(axis=0)
            getattr(found, name)[1] = value[k]
        return found


@dataclass(frozen=True)
class Discriminant:
    """The linear discriminant of class 1 against class 0.

    Attributes:
        count: rows of each class, [2].
        mean: of each class, [2, d].
        covariance: shrunk, within classes, [d, d].
        shrinkage: share of the unit matrix in it.
        weights: w = covariance^-1 (mean_1 - mean_0), [d].
    """

    count: Array
    mean: Array
    covariance: Array
    shrinkage: float
    weights: Array

    @property
    def difference(self) -> Array:
        """mean_1 - mean_0, [d]."""
        found: Array = self.mean[1] - self.mean[0]
        return found


def discriminant(moments: ClassMoments) -> Discriminant:
    """w = Sigma^-1 (mu_1 - mu_0), Sigma = (1 - a) C + a tr(C) / d I, of two classes.

    C is the pooled within-class covariance over the number of rows; ``a`` is Ledoit and Wolf's, `SHRINKAGE_FLOOR` at
    least.

    Args:
        moments: of two classes, each with a row.

    Source: Ledoit, Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", J. Multivariate
        Analysis 88 (2004), 365-411.

    Example:
        >>> rows = np.array([[0.0, 0.0], [0.0, 2.0], [3.0, 0.0], [3.0, 2.0]])
        >>> found = discriminant(ClassMoments(2, 2).add(rows, np.array([0, 0, 1, 1])))
        >>> found.difference.tolist(), bool(found.weights[0] > 0), float(found.weights[1])
        ([3.0, 0.0], True, 0.0)
    """
    n, total = moments.count, moments.total
    if len(n) != 2 or not (n > 0).all():
        raise ValueError(f"moments: expected two classes with rows, got {n.tolist()}")
    mean = total / n[:, None]
    scatter = moments.outer.sum(0) - mean.T @ total
    d, rows = len(scatter), n.sum()
    covariance = (scatter + scatter.T) / (2 * rows)
    shrinkage = max(_ledoit_wolf(moments, mean, covariance), SHRINKAGE_FLOOR)
    level = max(float(np.trace(covariance)) / d, TINY)
    shrunk = (1 - shrinkage) * covariance
    shrunk[np.diag_indices(d)] += shrinkage * level
    weights = np.linalg.solve(shrunk, mean[1] - mean[0])
    return Discriminant(n.copy(), mean, shrunk, shrinkage, weights)


def _ledoit_wolf(moments: ClassMoments, mean: Array, covariance: Array) -> float:
    """Of rows less the mean of their class, in [0, 1]."""
    rows, d = moments.count.sum(), len(covariance)
    fourth = 0.0  # sum of |x - mu|^4
    for k in range(2):
        mu = mean[k]
        squared = float(mu @ mu)
        fourth += (
            moments.quartic[k] - 4 * mu @ moments.cubic[k] + 4 * mu @ moments.outer[k] @ mu
            + 2 * squared * np.trace(moments.outer[k]) - 4 * squared * mu @ moments.total[k]
            + moments.count[k] * squared**2
        )  # fmt: skip
    size = float(np.square(covariance).sum())
    level = float(np.trace(covariance)) / d
    spread = size - d * level**2
    if spread <= TINY * size:
        return 1.0
    noise = max((fourth / rows - size) / rows, 0.0)
    return float(min(noise / spread, 1.0))


def problems(classes: int) -> tuple[int, ...]:
    """Which classes are set against the rest: the second of two, each of more.

    Example:
        >>> problems(2), problems(3)
        ((1,), (0, 1, 2))
    """
    return (1,) if classes == 2 else tuple(range(classes))


def discriminants(moments: ClassMoments) -> tuple[Discriminant, ...]:
    """One for each of `problems`."""
    count = len(moments.count)
    return tuple(discriminant(moments if count == 2 else moments.one_against_rest(k)) for k in problems(count))


def transfer(of_set: Discriminant, of_real: Discriminant) -> float:
    """T: the share of the real class separation that a discriminant fitted to a set keeps on real images.

    T = w_S' Delta_R / (sqrt(w_S' Sigma_R w_S) d'_R) with d'_R = sqrt(w_R' Sigma_R w_R).

    Returns:
        In [-1, 1]: 1 as good as real, 0 useless, below 0 it teaches the wrong thing; 0 where a set's classes, or the
        real ones, have one mean.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = np.arange(80) % 2
        >>> rows = rng.normal(size=(80, 3)) + labels[:, None]
        >>> real = discriminant(ClassMoments(2, 3).add(rows, labels))
        >>> swapped = discriminant(ClassMoments(2, 3).add(rows, 1 - labels))
        >>> round(transfer(real, real), 6), round(transfer(swapped, real), 6)
        (1.0, -1.0)
    """
    w = of_set.weights
    length = math.sqrt(max(float(w @ of_real.covariance @ w), 0.0))
    separation = _separation(of_real)
    if length <= 0 or separation <= 0:
        return 0.0
    return float(w @ of_real.difference) / (length * separation)


def _separation(of_real: Discriminant) -> float:
    """d'_R; its square is w_R' Delta_R as well."""
    return math.sqrt(max(float(of_real.weights @ of_real.difference), 0.0))


def macro_transfer(of_set: Sequence[Discriminant], of_real: Sequence[Discriminant]) -> float:
    """Mean of `transfer` over the problems."""
    return float(np.mean([transfer(s, r) for s, r in zip(of_set, of_real, strict=True)]))


def influence(
    of_set: Discriminant, of_real: Discriminant, rows: npt.NDArray[Any], ones: npt.NDArray[np.bool_]
) -> Array:
    """How T changes with the weight of each image of the set: its derivative, the sum of `influence_by_column`.

    Returns:
        float64 [n]; of the n images of a class that are all counted, above 0: more of this image raises T.
    """
    found: Array = influence_by_column(of_set, of_real, rows, ones).sum(1)
    return found


def influence_by_column(
    of_set: Discriminant, of_real: Discriminant, rows: npt.NDArray[Any], ones: npt.NDArray[np.bool_]
) -> Array:
    """How T changes with the weight of each image of the set, column by column of the view.

    With g = Delta_R / (|w| d') - T Sigma_R w / |w|^2, |w|^2 = w' Sigma_R w, u = Sigma_S^-1 g and c = z - mu_y, column j
    has the part

        v_j = +-u_j c_j / n_y - [(1 - a) u_j c_j (w.c) + a c_j^2 / d (u.w)] / N        (+ for class 1)

    The shrinkage ``a`` is held at what it is for the set; the last term comes from the trace in Sigma_S and is small.

    Args:
        of_set, of_real: of the set, and of the real images.
        rows: the set's images in the view, [n, d].
        ones: which are of class 1, [n].

    Returns:
        float64 [n, d].
    """
    w = of_set.weights
    along = of_real.covariance @ w
    squared, separation = float(w @ along), _separation(of_real)
    if squared <= 0 or separation <= 0:
        return np.zeros(rows.shape)
    length = math.sqrt(squared)
    t = float(w @ of_real.difference) / (length * separation)
    gradient = of_real.difference / (length * separation) - t * along / squared
    u = np.linalg.solve(of_set.covariance, gradient)
    side = ones.astype(np.int64)
    c = np.asarray(rows, dtype=np.float64) - of_set.mean[side]
    uc, wc = c * u, c @ w
    a, d, n = of_set.shrinkage, len(w), of_set.count.sum()
    first = (np.where(ones, 1.0, -1.0) / of_set.count[side])[:, None] * uc
    second = ((1 - a) * wc[:, None] * uc + a * float(u @ w) / d * np.square(c)) / n
    found: Array = first - second
    return found
