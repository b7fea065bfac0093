"""Images of a set that nearly repeat each other, or a real image."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from iuscore.explain.value.learners import Floats, blocks, roughly_squared_distances, squared_distances
from iuscore.explain.value.linear import TINY, Array, Labels
from iuscore.explain.value.views import View

COPY_VIEWS: tuple[View, ...] = ("texture", "patch")
NEAR = 0.35
"""Share of the median distance between two real images below which two images count as copies."""

PAIRED = 150
"""Real images of a class, at most, between which distances are taken for their median."""


def balanced_places(labels: Labels, classes: int, seed: int, most: int) -> Labels:
    """Places of as many images of each class, ``most`` at most, ascending.

    Example:
        >>> balanced_places(np.array([0, 0, 0, 1]), 2, 0, 500).tolist()[-1]
        3
    """
    rng = np.random.default_rng(seed)
    each = min(most, int(np.bincount(labels, minlength=classes).min()))
    chosen = [rng.permutation(np.flatnonzero(labels == k))[:each] for k in range(classes)]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


class RealPairs:
    """Distances between real images, as many of each class, for their median.

    Args:
        rows: view -> [N, d] of real images. labels: [N]. classes: their number. seed: of the draw.
    """

    def __init__(self, rows: Mapping[View, Floats], labels: Labels, classes: int, seed: int) -> None:
        self.places = balanced_places(labels, classes, seed, PAIRED)
        real = {view: rows[view][self.places] for view in COPY_VIEWS}
        self.distances = {view: np.sqrt(squared_distances(each, each)) for view, each in real.items()}

    def median_distance(self, weights: Array | None = None) -> dict[View, float]:
        """View -> median distance between two different images, each as often as ``weights`` [N] says."""
        counts = np.ones(len(self.places)) if weights is None else weights[self.places]
        chosen = np.repeat(np.arange(len(self.places)), counts.astype(np.int64))
        first, second = np.triu_indices(len(chosen), 1)
        first, second = chosen[first], chosen[second]
        first, second = first[first != second], second[first != second]
        return {view: float(np.median(each[first, second])) for view, each in self.distances.items()}


def copy_counts(rows: Mapping[View, Floats], labels: Labels, distance: Mapping[View, float]) -> Labels:
    """Number of images of the same claimed class that are nearly the same, itself included.

    Args:
        rows: view -> [N, d] of the set. labels: [N].
        distance: view -> median distance between two real images.

    Returns:
        int64 [N]: the smaller one of the counts in ``texture`` and in ``patch``; 1 of an image like no other. Time
        grows with the square of the number of images of a class.

    Example:
        >>> rows = {view: np.array([[0.0], [0.1], [2.0], [0.0]]) for view in COPY_VIEWS}
        >>> copy_counts(rows, np.array([0, 0, 0, 1]), {"texture": 1.0, "patch": 1.0}).tolist()
        [2, 2, 1, 1]
    """
    found = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        counts = [_within(rows[view][mine], NEAR * distance[view]) for view in COPY_VIEWS]
        found[mine] = np.minimum(*counts)
    return found


def _within(rows: Floats, radius: float) -> Labels:
    """Images nearer than ``radius``, itself always counted."""
    found = np.empty(len(rows), np.int64)
    for part in blocks(len(rows), len(rows)):
        near = roughly_squared_distances(rows[part], rows) < radius**2
        near[np.arange(len(near)), np.arange(part.start, part.stop)] = True
        found[part] = near.sum(1)
    return found


def nearest_in_class(rows: Mapping[View, Floats], labels: Labels) -> dict[View, Array]:
    """View -> distance of each image to the nearest other image of its class, [N]; infinite of an only one."""
    found = {view: np.full(len(labels), np.inf) for view in COPY_VIEWS}
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        for view in COPY_VIEWS:
            own = rows[view][mine]
            for part in blocks(len(own), len(own)):
                squares = roughly_squared_distances(own[part], own)
                squares[np.arange(len(squares)), np.arange(part.start, part.stop)] = np.inf
                found[view][mine[part]] = np.sqrt(squares.min(1))
    return found


def nearest_real(
    rows: Mapping[View, Floats], real: Mapping[View, Floats], distance: Mapping[View, float]
) -> tuple[Labels, Array]:
    """The nearest real image of each image, [N], and how near it is, [N]; below 1 the image is a copy of it.

    That is the larger one of the distances in ``texture`` and ``patch``, each over `NEAR` times the median distance
    between two real images.

    Example:
        >>> rows, real = np.array([[0.0], [0.5]]), np.array([[0.07]])
        >>> sides = [dict.fromkeys(COPY_VIEWS, side) for side in (rows, real)]
        >>> nearest, nearness = nearest_real(*sides, dict.fromkeys(COPY_VIEWS, 1.0))
        >>> nearest.tolist(), nearness.round(2).tolist()
        ([0, 0], [0.2, 1.23])
    """
    nearest, nearness = np.empty(len(rows["texture"]), np.int64), np.empty(len(rows["texture"]))
    for part in blocks(len(nearest), len(real["texture"])):
        squares = np.maximum(*(_scaled(rows[v][part], real[v], distance[v]) for v in COPY_VIEWS))
        nearest[part] = squares.argmin(1)
        nearness[part] = np.sqrt(np.take_along_axis(squares, nearest[part][:, None], 1)[:, 0])
    return nearest, nearness


def _scaled(rows: Floats, real: Floats, distance: float) -> Array:
    return roughly_squared_distances(rows, real) / max(NEAR * distance, TINY) ** 2


class CopyBuckets:
    """`copy_counts` of more images than can all be compared: within the class and the same nearest real image.

    A near copy whose nearest real image is another one is not counted, so the counts are lower bounds.

    Args:
        real: view -> rows of the real images. distance: view -> median distance between two real images.
    """

    MOST = 10_000
    """Images of a bucket that are compared with each other; of more, the rest form a bucket of their own."""

    def __init__(self, real: Mapping[View, Floats], distance: Mapping[View, float]) -> None:
        self.real, self.distance = real, distance
        self.rows: dict[View, list[npt.NDArray[np.float16]]] = {view: [] for view in COPY_VIEWS}
        self.keys: list[Labels] = []

    def add(self, rows: Mapping[View, Floats], labels: Labels) -> None:
        """Add images with their labels."""
        nearest, _ = nearest_real(rows, self.real, self.distance)
        self.keys.append(nearest * (1 << 20) + labels)
        for view in COPY_VIEWS:
            self.rows[view].append(np.asarray(rows[view], np.float16))

    def counts(self) -> Labels:
        """As of `copy_counts`, in the order in which images were added."""
        keys = np.concatenate(self.keys)
        rows = {view: np.concatenate(self.rows[view]) for view in COPY_VIEWS}
        order = np.argsort(keys, kind="stable")
        ends = [*np.flatnonzero(np.diff(keys[order])) + 1, len(keys)]
        found, at = np.ones(len(keys), np.int64), 0
        for end in ends:
            for start in range(at, end, self.MOST):
                mine = order[start : min(start + self.MOST, end)]
                counts = [
                    _within(rows[view][mine].astype(np.float32), NEAR * self.distance[view]) for view in COPY_VIEWS
                ]
                found[mine] = np.minimum(*counts)
            at = end
        return found
