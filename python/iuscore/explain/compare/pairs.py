"""What the measures of `iuscore.explain.compare.controls` are made of, computed once for all weights of real images."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from iuscore.explain.value.learners import Floats, squared_distances
from iuscore.explain.value.linear import TINY, Array, ClassMoments, Labels, discriminant, problems

FOLDS = 5

RIDGE = 0.01
"""Of the reconstruction in `span`, as in the code of its authors."""


class Squares(NamedTuple):
    """Squared distances: within the set [n, n], from the set to real rows [n, m], within the real rows [m, m]."""

    of_set: Array
    between: Array
    of_real: Array

    @staticmethod
    def of(rows: Floats, real: Floats) -> Squares:
        """Of rows [n, d] and real rows [m, d]."""
        return Squares(squared_distances(rows, rows), squared_distances(rows, real), squared_distances(real, real))

    @staticmethod
    def within(squares: Array, rows: Labels, real: Labels) -> Squares:
        """Of rows at two lists of places in one array, from all its squared distances."""
        sides = ((rows, rows), (rows, real), (real, real))
        return Squares(*(squares[np.ix_(*places)] for places in sides))

    def part(self, rows: Labels, real: Labels) -> Squares:
        """Of the rows and real rows at these places."""
        return Squares(
            self.of_set[np.ix_(rows, rows)], self.between[np.ix_(rows, real)], self.of_real[np.ix_(real, real)]
        )


class Neighbors:
    """How near the k-th nearest other row lies, for rows that count once or as often as weights say.

    Args:
        squares: squared distances between the rows, [m, m].
    """

    def __init__(self, squares: Array) -> None:
        self._squares = squares.copy()
        np.fill_diagonal(self._squares, -1.0)  # itself first, also where others are equal

    @cached_property
    def _order(self) -> tuple[Labels, Array]:
        order = np.argsort(self._squares, axis=1, kind="stable")
        return order, np.take_along_axis(self._squares, order, axis=1)

    def radii(self, k: int, weights: Array | None = None) -> Array:
        """Squared distance of each row to its k-th nearest other one, or to the farthest where there are fewer: [m].

        A repeat of a row is another row at distance 0.

        Example:
            >>> Neighbors(np.array([[0.0, 1.0, 9.0], [1.0, 0.0, 4.0], [9.0, 4.0, 0.0]])).radii(1).tolist()
            [1.0, 1.0, 4.0]
        """
        found: Array
        if weights is None:
            k = min(k, len(self._squares) - 1)
            found = np.partition(self._squares, k, axis=1)[:, k]
        else:
            order, squares = self._order
            others = np.cumsum(weights[order], axis=1) - 1
            k = min(k, int(weights.sum()) - 1)
            found = squares[np.arange(len(squares)), (others >= k).argmax(axis=1)]
        return np.maximum(found, 0.0)


class Pair:
    """Rows of one class of a set, and real rows: distances between their distributions.

    Args:
        rows: [n, d]. real: [m, d]. squares: their squared distances, where these are known.
    """

    def __init__(self, rows: Floats, real: Floats, squares: Squares | None = None) -> None:
        self.rows, self.real = np.asarray(rows, np.float64), np.asarray(real, np.float64)
        self.squares = Squares.of(self.rows, self.real) if squares is None else squares

    def _counts(self, weights: Array | None) -> Array:
        return np.ones(len(self.real)) if weights is None else weights

    @cached_property
    def _normal_of_set(self) -> tuple[Array, Array]:
        return _normal(self.rows, np.ones(len(self.rows)))

    def frechet(self, weights: Array | None = None) -> float:
        """See `iuscore.explain.compare.controls.frechet_distance`."""
        mean, factor = self._normal_of_set
        real_mean, real_factor = _normal(self.real, self._counts(weights))
        root = np.linalg.svd(factor @ real_factor.T, compute_uv=False).sum()
        traces = np.square(factor).sum() + np.square(real_factor).sum()
        return max(float(np.square(mean - real_mean).sum() + traces - 2 * root), 0.0)

    @cached_property
    def _kernels(self) -> Squares:
        d = self.rows.shape[1]
        both = ((self.rows, self.rows), (self.rows, self.real), (self.real, self.real))
        return Squares(*((first @ second.T / d + 1) ** 3 for first, second in both))

    def kernel(self, weights: Array | None = None) -> float:
        """See `iuscore.explain.compare.controls.kernel_distance`."""
        of_set, between, of_real = self._kernels
        n, counts = len(of_set), self._counts(weights)
        m = counts.sum()
        within = (of_set.sum() - np.trace(of_set)) / (n * (n - 1))
        real = (counts @ of_real @ counts - counts @ np.diag(of_real)) / (m * (m - 1))
        return float(within + real - 2 * (between @ counts).sum() / (n * m))

    @cached_property
    def _distances(self) -> Squares:
        return Squares(*(np.sqrt(each) for each in self.squares))

    def energy(self, weights: Array | None = None) -> float:
        """See `iuscore.explain.compare.controls.energy_distance`."""
        of_set, between, of_real = self._distances
        n, counts = len(of_set), self._counts(weights)
        m = counts.sum()
        found = 2 * (between @ counts).sum() / (n * m) - of_set.sum() / n**2 - counts @ of_real @ counts / m**2
        return max(float(found), 0.0)

    @cached_property
    def _neighbors(self) -> Neighbors:
        return Neighbors(self.squares.of_real)

    def neighborhoods(self, k: int, weights: Array | None = None) -> dict[str, float]:
        """See `iuscore.explain.compare.controls.precision_recall_density_coverage`."""
        counts, between = self._counts(weights), self.squares.between
        near_real = (between < self._neighbors.radii(k, weights)) & (counts > 0)
        near_set = between < Neighbors(self.squares.of_set).radii(k)[:, None]
        m = counts.sum()
        return {
            "precision": float(near_real.any(axis=1).mean()),
            "recall": float(counts @ near_set.any(axis=0) / m),
            "density": float((near_real @ counts).mean() / min(k, m - 1)),
            "coverage": float(counts @ near_real.any(axis=0) / m),
        }


def _normal(rows: Array, counts: Array) -> tuple[Array, Array]:
    """Mean [d] and a factor F [r, d] of the covariance F'F over n - 1, r at most n and d; zero of one row."""
    n = counts.sum()
    mean = counts @ rows / n
    apart = (rows - mean) * np.sqrt(counts / max(n - 1, 1))[:, None]
    factor: Array = np.asarray(np.linalg.qr(apart, mode="r"))
    return mean, factor


class Folds:
    """Rows of a set and real ones, told apart by a linear discriminant, each by one fitted to other folds.

    Args:
        rows: [n, d]. real: [m, d]. seed: of the folds.

    Attributes:
        fold: int64 [n + m]: of each row, those of the set first.
    """

    def __init__(self, rows: Floats, real: Floats, seed: int) -> None:
        rng = np.random.default_rng([seed, 4])
        sides = [np.asarray(side, np.float64) for side in (rows, real)]
        count = min(FOLDS, len(rows), len(real))
        folds = [rng.permutation(np.arange(len(side)) % count) for side in sides]
        self.fold = np.concatenate(folds)
        self._rows, self._real = (
            [side[fold == k] for k in range(count)] for side, fold in zip(sides, folds, strict=True)
        )
        self._places = [np.flatnonzero(folds[1] == k) for k in range(count)]
        self._of_set = [self._moments(part, 1, np.ones(len(part))) for part in self._rows]

    @staticmethod
    def _moments(rows: Array, side: int, counts: Array) -> ClassMoments:
        return ClassMoments(2, rows.shape[1]).add(rows, np.full(len(rows), side), counts)

    def auroc(self, weights: Array | None = None) -> float:
        """Mean over the folds, each real row counted as often as ``weights`` say: its repeats stay in its fold."""
        counts = [np.ones(len(mine)) if weights is None else weights[mine] for mine in self._places]
        of_real = [self._moments(part, 0, own) for part, own in zip(self._real, counts, strict=True)]
        found = []
        for k, (rows, real, own) in enumerate(zip(self._rows, self._real, counts, strict=True)):
            rest = ClassMoments(2, rows.shape[1])
            for other in range(len(counts)):
                if other != k:
                    rest.merge(self._of_set[other]).merge(of_real[other])
            if own.any() and rest.count[0] > 0:  # all resampled real rows may be of few folds
                direction = discriminant(rest).weights
                apart = (rows @ direction)[:, None] - real @ direction
                found.append(float(np.average(((apart > 0) + (apart == 0) / 2).mean(axis=0), weights=own)))
        return float(np.mean(found)) if found else 0.5


def span(
    rows: Array,
    labels: Labels,
    real: Array,
    real_labels: Labels,
    classes: int,
    between: Array,
    weights: Array | None = None,
) -> float:
    """See `iuscore.explain.compare.controls.discriminative_span`; ``between``: squared distances [n, m]."""
    counts = np.ones(len(real)) if weights is None else weights
    mean = counts @ real / counts.sum()
    sd = np.sqrt(counts @ np.square(real - mean) / counts.sum())
    sd = np.where(sd > TINY, sd, 1.0)
    used = counts > 0
    standard = (real - mean)[used] / sd
    directions = {k: _logistic(standard, real_labels[used] == k, counts[used]) for k in problems(classes)}
    found = []
    for k in range(classes):
        mine = np.flatnonzero(labels == k)
        others = np.flatnonzero(used & (real_labels != k))
        if not len(mine) or not len(others):
            continue
        nearest = others[between[np.ix_(mine, others)].argmin(axis=1)]
        direction = directions[k] if k in directions else directions[1]  # of two classes, the same with another sign
        found.append(_reconstructed((rows[mine] - real[nearest]) / sd, direction))
    return float(np.mean(found))


def _logistic(rows: Array, positive: Array, counts: Array) -> Array:
    """Weights [d] of a logistic regression with the penalty |w|^2 / 2."""
    from sklearn.linear_model import LogisticRegression

    learner = LogisticRegression(C=1.0, solver="newton-cholesky", max_iter=1000)
    found: Array = learner.fit(rows, positive, sample_weight=counts).coef_[0]
    return found


def _reconstructed(differences: Array, direction: Array) -> float:
    """1 - |w - w_p| / |w| for differences [n, d] and w [d]."""
    values, vectors = np.linalg.eigh(differences.T @ differences)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    singular = np.sqrt(values)
    length = np.linalg.norm(direction)
    if singular[0] <= TINY or length <= TINY:
        return 0.0
    shares = singular / singular.sum()
    entropy = -float(shares @ np.log(np.maximum(shares, TINY)))
    kept = max(1, int(np.exp(entropy)))
    values, vectors = values[:kept], vectors[:, :kept]
    made = vectors @ (values / (values + RIDGE) * (direction @ vectors))
    return float(1 - np.linalg.norm(direction - made) / length)
