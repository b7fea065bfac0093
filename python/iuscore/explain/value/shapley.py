"""What each image of a set adds to a nearest-neighbor learner judged on real images: exact Shapley values."""

from __future__ import annotations

import numpy as np

from iuscore.explain.value.learners import NEIGHBORS, Floats, blocks, squared_distances
from iuscore.explain.value.linear import Array, Labels


def neighbor_shapley(
    of_set: Floats, labels: Labels, real: Floats, real_labels: Labels, neighbors: int = NEIGHBORS
) -> Array:
    """Exact Shapley values of the images of a set for the utility of a K-nearest-neighbor learner.

    The utility of images A for a real image r is the number of those among its min(K, |A|) nearest in A that have the
    label of r, over K; of no image it is 0. The utility of a set is its mean over real images. With the images sorted
    by their distance to r,

        s_(N) = 1[y_(N) = y_r] min(K, N) / (K N)
        s_(i) = s_(i+1) + (1[y_(i) = y_r] - 1[y_(i+1) = y_r]) min(K, i) / (K i)

    Of images at one distance those with another label count as nearer, so that the order of the set does not show.

    Args:
        of_set: [N, d], the set in a view; labels: [N].
        real: [M, d], real images in the same view, as many of each class; real_labels: [M].
        neighbors: K.

    Returns:
        float64 [N]; their sum is the utility of the whole set.

    Source: Jia, Dao, Wang, Hubis, Gurel, Li, Zhang, Spanos, Song, "Efficient task-specific data valuation for nearest
        neighbor algorithms", VLDB 2019, theorem 1.

    Example:
        >>> rows, labels = np.array([[0.0], [1.0], [5.0]]), np.array([0, 1, 1])
        >>> values = neighbor_shapley(rows, labels, np.array([[0.2]]), np.array([0]), neighbors=1)
        >>> values.tolist()  # the nearest one has the label of the real image, and all the worth
        [1.0, 0.0, 0.0]
    """
    n = len(of_set)
    found = np.zeros(n)
    if not n or not len(real):
        return found
    places = np.arange(1, n + 1)
    steps = np.minimum(neighbors, places) / (neighbors * places)
    for label in np.unique(real_labels):
        same = labels == label
        others_first = np.argsort(same, kind="stable")
        right = same[others_first].astype(np.float64)
        rows = real[real_labels == label]
        sums = np.zeros(n)
        for part in blocks(len(rows), n):
            order = np.argsort(squared_distances(rows[part], of_set[others_first]), axis=1, kind="stable")
            sorted_right = right[order]
            change = -np.diff(sorted_right, axis=1, append=0.0) * steps
            values = np.cumsum(change[:, ::-1], axis=1)[:, ::-1]
            sums += np.bincount(order.ravel(), values.ravel(), minlength=n)
        found[others_first] += sums
    return found / len(real)


KEPT = 512
"""Images of a set that are kept for each real image where not all can be sorted."""


class NearestLists:
    """The images of a set nearest to each real image, of a set that comes in parts.

    Args:
        real: [M, d], real images in a view, as many of each class; real_labels: [M].
        kept: images that are kept for each real image.
    """

    def __init__(self, real: Floats, real_labels: Labels, kept: int = KEPT) -> None:
        self.real, self.real_labels, self.kept = np.asarray(real, np.float32), real_labels, kept
        self.squares = np.full((len(real), kept), np.inf, np.float32)
        self.places = np.full((len(real), kept), -1, np.int64)
        self.right = np.zeros((len(real), kept), bool)
        self.n = 0

    def add(self, rows: Floats, labels: Labels) -> None:
        """Add rows [n, d] of the set with their labels [n]."""
        for part in blocks(len(rows), len(self.real)):
            self._add(np.asarray(rows[part], np.float32), labels[part])

    def _add(self, rows: Floats, labels: Labels) -> None:
        squares = (np.float32(-2) * self.real) @ rows.T
        squares += np.einsum("ij,ij->i", self.real, self.real)[:, None]
        squares += np.einsum("ij,ij->i", rows, rows)
        last = self.squares.max(1)
        for r in np.flatnonzero((squares < last[:, None]).any(1)):
            near = np.flatnonzero(squares[r] < last[r])
            both = np.concatenate([self.squares[r], squares[r, near]])
            right = np.concatenate([self.right[r], labels[near] == self.real_labels[r]])
            places = np.concatenate([self.places[r], near + self.n])
            first = np.argpartition(both, self.kept - 1)[: self.kept]
            self.squares[r], self.right[r], self.places[r] = both[first], right[first], places[first]
        self.n += len(rows)

    def shapley(self, n: int, neighbors: int = NEIGHBORS) -> Array:
        """`neighbor_shapley` of all n images: 0 beyond the lists, and within 1 / kept of it in them."""
        found = np.zeros(n)
        filled = min(self.kept, n)
        steps = np.minimum(neighbors, np.arange(1, filled + 1)) / (neighbors * np.arange(1, filled + 1))
        for squares, right, places in zip(self.squares, self.right, self.places, strict=True):
            order = np.lexsort((right, squares))[:filled]
            ones = right[order].astype(np.float64)
            change = -np.diff(ones, append=0.0 if n <= self.kept else ones[-1]) * steps
            np.add.at(found, places[order], np.cumsum(change[::-1])[::-1])
        return found / len(self.real)
