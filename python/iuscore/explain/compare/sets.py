"""The images of one set as arrays, and those of the real reference: what a comparison and a selection work on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from iuscore.errors import UserError
from iuscore.explain.value import ReferenceViews
from iuscore.explain.value.judge import at_most, halves
from iuscore.explain.value.linear import Array, Labels
from iuscore.explain.value.views import View


@dataclass(frozen=True, eq=False)
class ScoredSet:
    """Scored images of one set, N of them.

    Attributes:
        name: of the set. source: path of its images.
        uids: names of the images in their source, N.
        labels: int64 [N]: place of the claimed class in ``classes``.
        groups: int64 [N]: number of the group (patient) of each image; None where these are not known.
        rows: view -> float32 [N, d]: as `iuscore.explain.value.ReferenceViews.embed` returns them.
        ius: float64 [N]. probabilities: float64 [N, K]. contributions: float64 [N, G], towards the claimed class.
        classes: K names. components: G names.
        n_listed: images of the whole set; N is smaller where only some of them, evenly spread, were read.
        n_unreadable: images of the whole set that could not be read.
        real: bool [N]: real images that stand in for a class which the set has no images of (`completed`), without
            scores; None: none of them.
        far_outside: classes whose images lie far outside real ones of any class, as the summary of the run says.
    """

    name: str
    source: str
    uids: tuple[str, ...]
    labels: Labels
    groups: Labels | None
    rows: Mapping[View, npt.NDArray[np.float32]]
    ius: Array
    probabilities: Array
    contributions: Array
    classes: tuple[str, ...]
    components: tuple[str, ...]
    n_listed: int
    n_unreadable: int
    real: npt.NDArray[np.bool_] | None = None
    far_outside: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def confidence(self) -> Array:
        """Probability of the claimed class, float64 [N]."""
        found: npt.NDArray[Any] = self.probabilities[np.arange(len(self.labels)), self.labels]
        return found

    @property
    def own(self) -> Labels:
        """Places of the images that are the set's own."""
        return np.arange(len(self)) if self.real is None else np.flatnonzero(~self.real)

    def only(self, places: Labels) -> ScoredSet:
        """The images at some places."""
        return replace(
            self,
            uids=tuple(self.uids[place] for place in places),
            labels=self.labels[places],
            groups=None if self.groups is None else self.groups[places],
            rows={view: rows[places] for view, rows in self.rows.items()},
            ius=self.ius[places],
            probabilities=self.probabilities[places],
            contributions=self.contributions[places],
            real=None if self.real is None else self.real[places],
        )

    @property
    def missing(self) -> tuple[int, ...]:
        """Classes that the set has no image of."""
        return tuple(k for k in range(len(self.classes)) if not (self.labels == k).any())


def completed(reference: ReferenceViews, sets: Sequence[ScoredSet]) -> tuple[ReferenceViews, list[ScoredSet]]:
    """Give sets that lack a class real images of it, so that a classifier can be fitted to them.

    Where any set lacks a class, the reference is halved, by group where groups are known. Real images of one half stand
    in for the classes that a set lacks, as many as the set has of its largest class; the other half judges all sets.

    Returns:
        The reference that judges, and the sets; the same ones where no set lacks a class.

    Raises:
        UserError: the reference cannot be halved.
    """
    if not any(each.missing for each in sets):
        return reference, list(sets)
    record, classes = reference.record, len(reference.record.classes)
    parted = next(iter(halves(reference.labels, reference.groups, classes, 1, record.seed)), None)
    if parted is None:
        raise UserError(
            "sets: one lacks a class, and the real images cannot be halved to stand in for it: a class has one group "
            "alone; give sets with images of every class"
        )
    first, second = parted
    rng = np.random.default_rng([record.seed, 7])
    return reference.only(second), [_completed(reference, each, first, rng) for each in sets]


def _completed(reference: ReferenceViews, given: ScoredSet, half: Labels, rng: np.random.Generator) -> ScoredSet:
    if not given.missing:
        return given
    counts = np.zeros(len(given.classes), np.int64)
    counts[list(given.missing)] = np.bincount(given.labels).max()
    places = half[at_most(reference.labels[half], counts, rng)]
    n, more = len(given), len(places)
    last = 0 if given.groups is None else int(given.groups.max()) + 1
    return replace(
        given,
        uids=(*given.uids, *("" for _ in places)),
        labels=np.concatenate([given.labels, reference.labels[places]]),
        groups=None if given.groups is None else np.concatenate([given.groups, last + reference.groups[places]]),
        rows={view: np.concatenate([rows, reference.rows[view][places]]) for view, rows in given.rows.items()},
        ius=np.concatenate([given.ius, np.full(more, np.nan)]),
        probabilities=np.concatenate([given.probabilities, np.full((more, len(given.classes)), np.nan)]),
        contributions=np.concatenate([given.contributions, np.full((more, len(given.components)), np.nan)]),
        real=np.arange(n + more) >= n,
    )
