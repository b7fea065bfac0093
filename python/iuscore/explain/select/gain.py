"""What a selection is expected to gain over random and over confident images, judged by real images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from iuscore.explain.select.records import Gain, Policy, Prediction
from iuscore.explain.value.judge import PIXEL_VIEWS, at_most, halves, moments_of, resamples
from iuscore.explain.value.learners import Floats, lda_scores, neighbor_scores
from iuscore.explain.value.linear import Array, Labels, problems
from iuscore.explain.value.of_sets import LEARNABLE, MIN_REFERENCE, MIN_SET, RESAMPLES
from iuscore.explain.value.reference import ReferenceViews
from iuscore.explain.value.views import View

DRAWS = 5
"""Random selections whose mean a selection is compared with."""

JUDGED = 2000
"""Images of a class, at most, by which a selection is judged: the first by random key."""

SPLITS = 4
"""Random halves of the real images, one judged by the other."""

BY_REAL: tuple[Policy, ...] = ("value", "covariance")
"""Policies that choose by the real images."""

BY_MODEL: tuple[Policy, ...] = ("ius", "confidence")
"""Policies that choose by what a model fitted to the real images says."""


@dataclass(frozen=True, eq=False)
class JudgedSet:
    """Images of a selection by which it is judged.

    Attributes:
        rows: view -> [n, d], of ``thumb`` and ``patch`` at least. labels: int64 [n], places in the reference's classes.
    """

    rows: Mapping[View, Floats]
    labels: Labels


def weighted_aurocs(scores: Array, positive: npt.NDArray[np.bool_], weights: Array) -> Array:
    """AUROC for many weightings of the same images at once.

    Args:
        scores: [n]. positive: bool [n]. weights: [b, n], how often each image counts.

    Returns:
        float64 [b], ties as half; NaN without both. As `iuscore.explain.value.learners.auroc` for each weighting.

    Example:
        >>> scores, positive = np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True])
        >>> weighted_aurocs(scores, positive, np.array([[1.0, 1, 1, 1], [0, 1, 1, 0]])).tolist()
        [0.875, 0.5]
    """
    order = np.argsort(scores, kind="stable")
    ascending = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))
    up = np.add.reduceat(np.where(positive[order], weights[:, order], 0.0), starts, axis=1)
    down = np.add.reduceat(np.where(positive[order], 0.0, weights[:, order]), starts, axis=1)
    below = np.cumsum(down, axis=1) - down
    pairs = up.sum(1) * down.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Array = (up * (below + down / 2)).sum(1) / pairs
    return found


def expected_aurocs(
    judged: JudgedSet, real: Mapping[View, Floats], labels: Labels, classes: int, weights: Array
) -> Array:
    """PIX4 of a set, for many weightings of the real images: {discriminant, 7 nearest neighbors} x {thumb, patch}.

    Args:
        judged: the set; each class needs an image. real: view -> [m, d]. labels: [m]. classes: their number.
        weights: [b, m].

    Returns:
        float64 [b].
    """
    found = []
    for view in PIXEL_VIEWS:
        rows = judged.rows[view]
        scores = (
            lda_scores(moments_of(rows, judged.labels, classes), real[view]),
            neighbor_scores(rows, judged.labels, classes, real[view]),
        )
        for each in scores:
            found += [weighted_aurocs(each[:, i], labels == k, weights) for i, k in enumerate(problems(classes))]
    mean: Array = np.mean(found, axis=0)
    return mean


def predict(
    reference: ReferenceViews,
    policy: Policy,
    chosen: JudgedSet,
    random: Sequence[JudgedSet],
    confident: JudgedSet,
    *,
    resampled: int = RESAMPLES,
    splits: int = SPLITS,
) -> Prediction:
    """Judge a selection beside others of equal size.

    Args:
        reference: real images of the model.
        policy: by what the images were chosen.
        chosen: the selection; each class of the reference needs an image. random: random selections. confident: the
            most confident images.
        resampled: bootstrap resamples of the real images, by group where these are known; at least 2.
        splits: random halves of the real images, for real against real.

    Returns:
        The same for the same arguments on one machine. What the policy itself is, is left out of the gains.
    """
    record = reference.record
    classes = len(record.classes)
    drawn = list(resamples(reference.labels, reference.groups, classes, resampled, record.seed))
    weights = np.stack([np.ones(len(reference.labels)), *drawn])

    def judged(some: JudgedSet) -> Array:
        return expected_aurocs(some, reference.rows, reference.labels, classes, weights)

    here, there = judged(chosen), np.mean([judged(some) for some in random], axis=0)
    counts = np.bincount(chosen.labels, minlength=classes)
    real = real_on_real(reference, counts, splits)
    return Prediction(
        auroc=float(here[0]),
        gains=gains_of(policy, here, there, judged(confident), len(random)),
        n_images=int(counts.max()),
        n_real=record.counts,
        real=real,
        doubts=doubts_of(reference, counts, real, policy),
    )


def gains_of(policy: Policy, here: Array, random: Array, confident: Array, draws: int = DRAWS) -> tuple[Gain, ...]:
    """Over random and over confident images, but not over what the policy itself is; arguments as of `gain_of`."""
    found = []
    if policy != "random":
        found.append(gain_of("random", here, random, draws))
    if policy != "confidence":
        found.append(gain_of("confidence", here, confident, 1))
    return tuple(found)


def gain_of(over: Literal["random", "confidence"], here: Array, other: Array, draws: int) -> Gain:
    """The difference of two expected AUROCs and its interval.

    Args:
        over: what the other one is. here, other: float64 [1 + b], the numbers, then those of b resamples.
        draws: random selections whose mean ``other`` is.
    """
    difference = here - other
    value, resampled = float(difference[0]), difference[1:]
    # Resampled real images repeat, which shifts some numbers: the spread counts, about the number itself.
    low, high = np.quantile(resampled, [0.025, 0.975]) - resampled.mean() + value
    return Gain(over, float(other[0]), value, float(low), float(high), draws)


def real_on_real(reference: ReferenceViews, counts: Labels, splits: int = SPLITS) -> float | None:
    """Expected AUROC of real images, ``counts`` of each class at most, on other real ones; None of too few groups."""
    classes = len(reference.record.classes)
    rng = np.random.default_rng([reference.record.seed, 3])
    found = []
    for first, second in halves(reference.labels, reference.groups, classes, splits, reference.record.seed):
        places = first[at_most(reference.labels[first], counts, rng)]
        half = JudgedSet({view: reference.rows[view][places] for view in PIXEL_VIEWS}, reference.labels[places])
        others = {view: reference.rows[view][second] for view in PIXEL_VIEWS}
        found.append(expected_aurocs(half, others, reference.labels[second], classes, np.ones((1, len(second))))[0])
    return float(np.mean(found)) if found else None


def doubts_of(reference: ReferenceViews, counts: Labels, real: float | None, policy: Policy) -> tuple[str, ...]:
    """Why the numbers are not to be trusted; ``counts``: chosen images of each class."""
    found = []
    if policy in BY_MODEL:
        found.append("the model that scored the images may know the real images that judge them: the gain is too high")
    for k, name in enumerate(reference.record.classes):
        unit = "images" if reference.record.n_groups is None else "groups"
        n = len(np.unique(reference.groups[reference.labels == k]))
        if n < MIN_REFERENCE:
            found.append(f"the model's reference has {n} {unit} of {name}, fewer than {MIN_REFERENCE}")
        if counts[k] < MIN_SET:
            found.append(f"{counts[k]} images of {name} are chosen, fewer than {MIN_SET}")
    if real is None:
        found.append("real images were not compared with real ones, so nothing says whether the task can be learned")
    elif real < LEARNABLE:
        found.append(
            f"small learners fitted to real images reach an AUROC of {real:.2f} on other real images, below "
            f"{LEARNABLE}: on such tasks these numbers agreed little with measured usefulness"
        )
    return tuple(found)
