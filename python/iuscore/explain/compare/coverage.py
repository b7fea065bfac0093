"""Which real images a set resembles, and how those differ that it does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from iuscore.errors import UserError
from iuscore.explain.compare.changes import Sample, holm, welch
from iuscore.explain.compare.pairs import Neighbors
from iuscore.explain.compare.records import Coverage
from iuscore.explain.value.duplicates import COPY_VIEWS
from iuscore.explain.value.judge import at_most, half_swapped, resamples
from iuscore.explain.value.judge import halves as halves_of
from iuscore.explain.value.learners import Floats, blocks, squared_distances
from iuscore.explain.value.linear import TINY, Array, Labels
from iuscore.explain.value.of_sets import summarized
from iuscore.explain.value.views import View
from iuscore.features import Feature
from iuscore.scoring.words import spreads

NEIGHBORS = 5
RESAMPLES = 100
HALVES = 8

MOST_OF_CLASS, MOST = 1000, 3000
"""Real images of a class, and of all classes together, that are looked at."""

SHOWN = 12
"""Most uncovered images that are named."""

MIN_SIDE, MIN_SIDE_BY_CHANCE = 10, 3
"""Fewest covered and uncovered images (groups) of a class for words on how they differ; in halves of the real images,
which have half as many."""

ALPHA = 0.05

CHANCE_HALVES = 39
"""Halves of the real images that differences are compared with: none of 39 goes as far with a chance of 1 in 40."""


def coverage(
    rows: Mapping[View, Floats],
    labels: Labels,
    real: Mapping[View, Floats],
    real_labels: Labels,
    classes: Sequence[str],
    features: Sequence[Feature],
    seed: int,
    *,
    uids: Sequence[str] | None = None,
    groups: Labels | None = None,
    halves: int = HALVES,
    resampled: int = RESAMPLES,
) -> tuple[Coverage, ...]:
    """Which real images of each class the set resembles.

    In a view, a real image is covered if an image of the set that claims its class lies nearer than its 5th nearest
    real image of the class. `Coverage.covered` is the share of real images that are covered, the mean of the views
    ``texture`` and ``patch``, at the numbers of images that `iuscore.explain.compare.controls.controls` has: the share
    depends on these. ``uncovered`` and ``words`` come from all images; an image is named as uncovered if no view covers
    it. A single image unlike all others has a far 5th nearest one and is covered: an uncovered image is of a kind. At
    most 1,000 real images of a class, and 3,000 of all classes, are looked at, drawn by seed.

    Args:
        rows: of the set, view -> [N, d], ``texture`` and ``patch``. labels: int64 [N].
        real: of the real images, view -> [M, d]. real_labels: int64 [M].
        classes: two names or more. features: columns of the view ``texture``.
        seed: of the draws.
        uids: names of the real images, M; None: not known.
        groups: int64 [M], number of the group (patient) of each real image; None: each image is its own.
        halves, resampled: as in `iuscore.explain.compare.controls.controls`.

    Returns:
        One for each class, in their order. ``words`` name the statistic that differs most between uncovered and covered
        real images, in standard deviations of the real class, among those that differ beyond chance: p < .05 by Welch's
        t-test, adjusted by Holm over all statistics and classes, and t beyond that of any statistic for 39 halves of
        the real images in the place of the set. (Images near each other are covered together, which Welch's test does
        not know.)

    Raises:
        UserError: a class with fewer than two real images.

    Source: Naeem et al., "Reliable fidelity and diversity metrics for generative models", ICML 2020.

    Example:
        >>> from iuscore.features import FEATURES
        >>> features, rng, labels = FEATURES["gray"], np.random.default_rng(0), np.arange(60) % 2
        >>> real = {"texture": rng.normal(size=(60, len(features))), "patch": rng.normal(size=(60, 9))}
        >>> two = {view: np.tile(each[:2], (30, 1)) for view, each in real.items()}
        >>> found = coverage(two, labels, real, labels, ["normal", "abnormal"], features, 0, halves=2, resampled=0)
        >>> [each.covered.value < .5 < each.covered.real for each in found]
        [True, True]
    """
    few = np.bincount(real_labels, minlength=len(classes))
    if few.min() < 2:
        raise UserError(
            f"real_labels: expected at least 2 real images of each class, got {few.min()} of "
            f"{classes[int(few.argmin())]!r}; add some"
        )
    rng = np.random.default_rng([seed, 6])
    kept = at_most(real_labels, np.full(len(classes), min(MOST_OF_CLASS, MOST // len(classes))), rng)
    known = real_labels[kept]
    of_image = np.arange(len(known)) if groups is None else groups[kept]
    squares = {view: squared_distances(real[view][kept], real[view][kept]) for view in COPY_VIEWS}
    here = _Covered(
        {view: _nearest(rows[view], labels, real[view][kept], known) for view in COPY_VIEWS},
        squares, known, len(classes),
    )  # fmt: skip
    drawn = [here.shares(weights) for weights in resamples(known, of_image, len(classes), resampled, seed)]
    part = _Halves({view: real[view][kept] for view in COPY_VIEWS}, squares, known, of_image, len(classes), seed)
    beside = part.beside(rows, labels, halves, rng)
    of_set = beside.pop("set") or [here.shares()]
    misses = here.misses()
    describe = _Described(np.asarray(real["texture"][kept], np.float64), known, groups is not None, of_image, features)
    words = describe.words(misses, np.bincount(labels, minlength=len(classes)), part)
    found = []
    for k, target in enumerate(classes):
        measure = summarized(
            float(np.mean([each[k] for each in of_set])), [each[k] for each in drawn],
            {kind: [each[k] for each in some] for kind, some in beside.items()}, 0.0, 1.0,
        )  # fmt: skip
        uncovered = np.flatnonzero((known == k) & (misses > 0))
        farthest = uncovered[np.argsort(-misses[uncovered], kind="stable")][:SHOWN]
        named = () if uids is None else tuple(uids[kept[i]] for i in farthest)
        found.append(Coverage(target, measure, named, words[k]))
    return tuple(found)


def _nearest(rows: Floats, labels: Labels, real: Floats, real_labels: Labels) -> Array:
    """Squared distance of each real image to the nearest of the set that claims its class; infinite without: [M]."""
    found = np.full(len(real), np.inf)
    for k in np.unique(real_labels):
        theirs, mine = np.flatnonzero(real_labels == k), rows[labels == k]
        for part in blocks(len(mine), len(theirs)):
            found[theirs] = np.minimum(found[theirs], squared_distances(mine[part], real[theirs]).min(axis=0))
    return found


class _Covered:
    """Real images beside the nearest image of a set of their class.

    Args:
        nearest: view -> squared distance to it, [M]. squares: view -> squared distances between real images, [M, M].
        labels: of the real images, [M]. classes: their number.
    """

    def __init__(
        self, nearest: Mapping[View, Array], squares: Mapping[View, Array], labels: Labels, classes: int
    ) -> None:
        self.nearest = nearest
        self.places = [np.flatnonzero(labels == k) for k in range(classes)]
        self.neighbors = {
            view: [Neighbors(squares[view][np.ix_(mine, mine)]) for mine in self.places] for view in COPY_VIEWS
        }

    def shares(self, weights: Array | None = None) -> list[float]:
        """Share of the real images of each class that are covered, each counted as often as ``weights`` [M] say."""
        found = []
        for k, mine in enumerate(self.places):
            own = None if weights is None else weights[mine]
            covered = [self.nearest[view][mine] < self.neighbors[view][k].radii(NEIGHBORS, own) for view in COPY_VIEWS]
            found.append(float(np.average(np.mean(covered, axis=0), weights=own)))
        return found

    def misses(self) -> Array:
        """0 where a view covers the image; else distance over radius, the smaller one of the views: [M]."""
        found = np.zeros(sum(len(mine) for mine in self.places))
        for k, mine in enumerate(self.places):
            ratios = []
            for view in COPY_VIEWS:
                radii = np.maximum(self.neighbors[view][k].radii(NEIGHBORS), TINY)
                ratios.append(np.sqrt(self.nearest[view][mine] / radii))
            least = np.minimum(*ratios)
            found[mine] = np.where(least >= 1, least, 0.0)
        return found


class _Halves:
    """Halves of the real images beside their other halves.

    Args:
        real: view -> [M, d]. squares: view -> squared distances [M, M]. labels, groups: of the real images, [M].
        classes: their number. seed: of the halves.
    """

    def __init__(
        self,
        real: Mapping[View, Floats],
        squares: Mapping[View, Array],
        labels: Labels,
        groups: Labels,
        classes: int,
        seed: int,
    ) -> None:
        self.real, self.squares, self.labels, self.groups = real, squares, labels, groups
        self.classes, self.seed = classes, seed

    def _of(self, nearest: Mapping[View, Array], second: Labels) -> _Covered:
        within = {view: each[np.ix_(second, second)] for view, each in self.squares.items()}
        return _Covered(nearest, within, self.labels[second], self.classes)

    def _claimed(self, places: Labels, claims: Labels, second: Labels) -> dict[View, Array]:
        """`_nearest` to ``second`` of real images that claim these classes."""
        same = claims[:, None] == self.labels[second]
        return {
            view: np.where(same, each[np.ix_(places, second)], np.inf).min(axis=0, initial=np.inf)
            for view, each in self.squares.items()
        }

    def beside(
        self, rows: Mapping[View, Floats], labels: Labels, count: int, rng: np.random.Generator
    ) -> dict[str, list[list[float]]]:
        """Shares of the second halves that the set covers, the first half, and this one with exchanged labels."""
        found: dict[str, list[list[float]]] = {"set": [], "real": [], "swapped": [], "shuffled": []}
        counts = np.bincount(labels, minlength=self.classes)
        for first, second in halves_of(self.labels, self.groups, self.classes, count, self.seed):
            places = first[at_most(self.labels[first], counts, rng)]
            own = self.labels[places]
            some = at_most(labels, np.bincount(own, minlength=self.classes), rng)
            of_set = {
                view: _nearest(rows[view][some], labels[some], self.real[view][second], self.labels[second])
                for view in COPY_VIEWS
            }
            found["set"].append(self._of(of_set, second).shares())
            for name, claims in (
                ("real", own),
                ("swapped", half_swapped(own, self.classes, rng)),
                ("shuffled", rng.permutation(own)),
            ):
                found[name].append(self._of(self._claimed(places, claims, second), second).shares())
        return found

    def misses(self, counts: Labels) -> Iterator[tuple[Labels, Array]]:
        """Places of each second half, and its `_Covered.misses` beside half of ``counts`` images of the first one."""
        rng = np.random.default_rng([self.seed, 7])
        few = (counts + 1) // 2
        for first, second in halves_of(self.labels, self.groups, self.classes, CHANCE_HALVES, self.seed + 1):
            places = first[at_most(self.labels[first], few, rng)]
            yield second, self._of(self._claimed(places, self.labels[places], second), second).misses()


@dataclass(frozen=True, eq=False)
class _Described:
    """How uncovered real images differ from covered ones.

    Attributes:
        rows: of the real images in the view ``texture``, [M, F]. labels: [M]. grouped: whether groups are known.
        groups: [M]. features: what the columns are.
    """

    rows: Array
    labels: Labels
    grouped: bool
    groups: Labels
    features: Sequence[Feature]

    def words(self, misses: Array, counts: Labels, halves: _Halves) -> list[str]:
        """Of each class; "" where nothing differs beyond chance, or the real images have no halves to tell."""
        classes = len(counts)
        here = self._differences(np.arange(len(self.labels)), misses, classes, MIN_SIDE)
        if not here:
            return [""] * classes
        adjusted = np.split(holm(np.concatenate([p for *_, p in here.values()])), len(here))
        if min(each.min() for each in adjusted) >= ALPHA:
            return [""] * classes
        by_chance = [
            self._differences(second, missed, classes, MIN_SIDE_BY_CHANCE) for second, missed in halves.misses(counts)
        ]
        if not by_chance:
            return [""] * classes
        bound = max((np.abs(t).max() for each in by_chance for _, t, _ in each.values()), default=0.0)
        found = [""] * classes
        for (k, (shift, t, _)), corrected in zip(here.items(), adjusted, strict=True):
            beyond = np.flatnonzero((corrected < ALPHA) & (np.abs(t) > bound))
            if len(beyond):
                at = int(beyond[np.abs(shift[beyond]).argmax()])
                feature, moved = self._statistics[at], float(shift[at])
                found[k] = (
                    f"{feature.group}: {feature.words(moved)} ({feature.name}, {spreads(moved)} than in covered ones)"
                )
        return found

    @cached_property
    def _statistics(self) -> list[Feature]:
        return [feature for feature in self.features if feature.role == "statistic"]

    def _differences(
        self, places: Labels, misses: Array, classes: int, least: int
    ) -> dict[int, tuple[Array, Array, Array]]:
        """Class -> uncovered less covered images of these places: shift in real sd, Welch's t, and p, each [S]."""
        columns = [i for i, feature in enumerate(self.features) if feature.role == "statistic"]
        found = {}
        for k in range(classes):
            own = places[self.labels[places] == k]
            missed = misses[self.labels[places] == k] > 0
            sides = [own[missed], own[~missed]]
            if min(len(np.unique(self.groups[side])) for side in sides) < least:
                continue
            samples = [
                Sample.of(self.rows[np.ix_(side, columns)], self.groups[side] if self.grouped else None)
                for side in sides
            ]
            apart, _, p = welch(*samples)
            error = np.sqrt(sum(each.variance / each.n for each in samples))
            sd = self.rows[np.ix_(own, columns)].std(axis=0, ddof=1)
            shift, t = (apart / np.where(each > TINY, each, 1.0) for each in (sd, error))
            found[k] = (shift, t, p)
        return found
