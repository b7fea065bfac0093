"""A set beside real images: every number of a set, for the real images as they are or resampled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from iuscore.explain.value.contrast import moved_groups
from iuscore.explain.value.duplicates import (
    COPY_VIEWS,
    NEAR,
    RealPairs,
    balanced_places,
    nearest_in_class,
    nearest_real,
)
from iuscore.explain.value.learners import (
    NEIGHBORS,
    Floats,
    blocks,
    lda_scores,
    macro_auroc,
    neighbor_scores,
    squared_distances,
    tree_scores,
)
from iuscore.explain.value.linear import Array, ClassMoments, Labels, discriminants, macro_transfer
from iuscore.explain.value.reference import BALANCED
from iuscore.explain.value.views import VIEWS, View
from iuscore.features import Feature

Bools: TypeAlias = "npt.NDArray[np.bool_]"

PIXEL_VIEWS: tuple[View, ...] = ("thumb", "patch")
TREES_NAME = "trees thumb"
KEPT_NEIGHBORS = 40
"""Nearest real images that are kept, so that 7 are among them in nearly every resample."""


@dataclass(frozen=True)
class Numbers:
    """Every number of a set: by name, and how far groups moved, [P, G]."""

    named: dict[str, float]
    moved: Array


class Judge:
    """A set and real images in the same views.

    Args:
        rows, labels: of the set: view -> [N, d], and [N].
        real, real_labels: of the real images, view -> [M, d], and [M].
        classes: number of classes; each needs an image on both sides.
        features: columns of the view ``texture``.
        seed: of the trees and the class-balanced draw.
        trees: whether boosted trees are fitted.
    """

    def __init__(
        self,
        rows: Mapping[View, Floats],
        labels: Labels,
        real: Mapping[View, Floats],
        real_labels: Labels,
        *,
        classes: int,
        features: Sequence[Feature],
        seed: int,
        trees: bool,
    ) -> None:
        self.real, self.real_labels, self.classes, self.features = real, real_labels, classes, features
        moments = {view: moments_of(rows[view], labels, classes) for view in VIEWS}
        self.of_set = {view: discriminants(moments[view]) for view in VIEWS}
        self.means = moments["texture"].total / moments["texture"].count[:, None]
        self.scores: dict[str, Array] = {}
        for view in PIXEL_VIEWS:
            self.scores[f"lda {view}"] = lda_scores(moments[view], real[view])
            self.scores[f"neighbors {view}"] = neighbor_scores(rows[view], labels, classes, real[view])
        if trees:
            self.scores[TREES_NAME] = tree_scores(rows["thumb"], labels, classes, real["thumb"], seed)
        self.votes = NeighborVotes(rows, labels, real, real_labels, classes, seed)
        self.pairs = RealPairs(real, real_labels, classes, seed)
        self.nearest = nearest_in_class(rows, labels)
        _, self.nearness = nearest_real(rows, real, self.pairs.median_distance())

    def numbers(self, weights: Array | None = None) -> Numbers:
        """Every number, each real image counted as often as ``weights`` [M] says."""
        named: dict[str, float] = {}
        for view in VIEWS:
            moments = moments_of(self.real[view], self.real_labels, self.classes, weights)
            named[f"transfer {view}"] = macro_transfer(self.of_set[view], discriminants(moments))
            if view == "texture":
                means, counts = moments.total / moments.count[:, None], moments.count
        named["transfer"] = float(np.mean([named[f"transfer {view}"] for view in VIEWS]))
        for name, scores in self.scores.items():
            named[name] = macro_auroc(scores, self.real_labels, self.classes, weights)
        named["pix4"] = float(np.mean([named[name] for name in self.scores if name != TREES_NAME]))
        if TREES_NAME in named:
            named["pix5"] = float(np.mean([named[name] for name in self.scores]))
        named["label_agreement"] = float(1 - self.votes.contradicted(weights)[1].mean())
        distance = self.pairs.median_distance(weights)
        near = [self.nearest[view] < NEAR * distance[view] for view in COPY_VIEWS]
        named["near_copies"] = float(np.logical_and(*near).mean())
        named["copies_of_real"] = float((self.nearness < 1).mean())
        return Numbers(named, moved_groups(self.means, means, counts, self.features))


class NeighborVotes:
    """The real images nearest to each image of a set, in ``texture`` and in ``patch``, from as many of each class."""

    def __init__(
        self,
        rows: Mapping[View, Floats],
        labels: Labels,
        real: Mapping[View, Floats],
        real_labels: Labels,
        classes: int,
        seed: int,
    ) -> None:
        self.labels = labels
        places = balanced_places(real_labels, classes, seed, BALANCED)
        kept = min(KEPT_NEIGHBORS, len(places))
        self.nearest = {view: np.empty((len(labels), kept), np.int64) for view in COPY_VIEWS}
        for view in COPY_VIEWS:
            chosen = real[view][places]
            for part in blocks(len(labels), len(places)):
                order = np.argsort(squared_distances(rows[view][part], chosen), axis=1, kind="stable")
                self.nearest[view][part] = places[order[:, :kept]]
        self.member = np.eye(classes)[real_labels]

    def contradicted(self, weights: Array | None = None) -> tuple[Array, Bools]:
        """Share of the claimed class among the nearest real images, [N], and whether another class has more, [N]."""
        votes = np.zeros((len(self.labels), self.member.shape[1]))
        for nearest in self.nearest.values():
            counts = np.ones(nearest.shape) if weights is None else weights[nearest]
            before = np.cumsum(counts, axis=1) - counts
            taken = np.minimum(counts, np.maximum(NEIGHBORS - before, 0))
            votes += np.einsum("ij,ijk->ik", taken, self.member[nearest])
        own = votes[np.arange(len(votes)), self.labels]
        return own / np.maximum(votes.sum(1), 1), votes.max(1) > own


def moments_of(rows: Floats, labels: Labels, classes: int, weights: Array | None = None) -> ClassMoments:
    """Of one view."""
    return ClassMoments(classes, rows.shape[1]).add(rows, labels, weights)


def resamples(labels: Labels, groups: Labels, classes: int, count: int, seed: int) -> Iterator[Array]:
    """Bootstrap weights [M]: groups drawn with replacement among those with the same classes.

    Yields:
        ``count`` times how often each real image is drawn; every class is there.
    """
    rng = np.random.default_rng([seed, 1])
    numbers, strata = _strata(labels, groups, classes)
    for _ in range(count):
        while True:
            drawn = np.zeros(len(strata))
            for stratum in np.unique(strata):
                mine = np.flatnonzero(strata == stratum)
                drawn += np.bincount(rng.choice(mine, len(mine)), minlength=len(strata))
            weights = drawn[numbers]
            if len(np.unique(labels[weights > 0])) == classes:
                yield weights
                break


def halves(labels: Labels, groups: Labels, classes: int, count: int, seed: int) -> Iterator[tuple[Labels, Labels]]:
    """Random halves of the real images, by group, each with as many groups of every kind as can be.

    Yields:
        ``count`` times the places of one half and of the other; none where a class has one group alone.
    """
    rng = np.random.default_rng([seed, 2])
    numbers, strata = _strata(labels, groups, classes)
    if any(len(np.unique(groups[labels == k])) < 2 for k in range(classes)):
        return
    for _ in range(count):
        for _ in range(100):
            first = np.zeros(len(strata), bool)
            for stratum in np.unique(strata):
                mine = rng.permutation(np.flatnonzero(strata == stratum))
                first[mine[: len(mine) // 2 + int(rng.integers(2)) * (len(mine) % 2)]] = True
            places = np.flatnonzero(first[numbers]), np.flatnonzero(~first[numbers])
            if all(len(np.unique(labels[part])) == classes for part in places):
                yield places
                break


def _strata(labels: Labels, groups: Labels, classes: int) -> tuple[Labels, Labels]:
    """The number of each image's group, and of each group the kind: which classes it has."""
    numbers = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    has = np.zeros((numbers.max() + 1, classes), np.int64)
    has[numbers, labels] = 1
    return numbers, np.unique(has, axis=0, return_inverse=True)[1].ravel().astype(np.int64)


def at_most(labels: Labels, counts: Labels, rng: np.random.Generator) -> Labels:
    """Places of at most ``counts`` images of each class, ascending."""
    chosen = [rng.permutation(np.flatnonzero(labels == k))[:n] for k, n in enumerate(counts)]
    return np.sort(np.concatenate(chosen))


def half_swapped(labels: Labels, classes: int, rng: np.random.Generator) -> Labels:
    """Labels of which half of those of each class, rounded down, are another class.

    Example:
        >>> half_swapped(np.array([0, 0, 1, 1]), 2, np.random.default_rng(0)).sum()
        np.int64(2)
    """
    found = labels.copy()
    for k in range(classes):
        mine = rng.permutation(np.flatnonzero(labels == k))
        chosen = mine[: len(mine) // 2]
        found[chosen] = (k + rng.integers(1, classes, len(chosen))) % classes
    return found
