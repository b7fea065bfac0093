"""What changed in a set, feature by feature, what of it matters to the model, and which images carry it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from iuscore.explain.compare.records import Change, Effect
from iuscore.explain.value.learners import Floats
from iuscore.explain.value.linear import Array, Labels
from iuscore.features import Feature

MIN_CLASS_SD = 0.05
"""Smallest standard deviation of a class to divide by, in that of all real images: a feature that hardly varies within
the class would otherwise have changed without bound."""

TOP = 0.1
"""Share of the images of a class for `Carriers.top`."""

CONFIDENCE = 0.95


def holm(p: Array) -> Array:
    """p-values adjusted for their number, [n], in the order given.

    The i-th smallest of n is multiplied by n + 1 - i; none is smaller than that of a smaller p-value, or above 1.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian J. Statistics 6 (1979), 65-70.

    Example:
        >>> holm(np.array([0.04, 0.01, 0.03])).tolist()
        [0.06, 0.03, 0.06]
    """
    order = np.argsort(p, kind="stable")
    scaled = p[order] * np.arange(len(p), 0, -1)
    found = np.empty(len(p))
    found[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return found


class Sample(NamedTuple):
    """Independent observations of G quantities: their number, mean [G], and variance [G] over n - 1."""

    n: int
    mean: Array
    variance: Array

    @staticmethod
    def of(rows: Floats, groups: Labels | None = None) -> Sample:
        """Of rows [n, G]; with groups [n], each group is one observation, the mean of its rows."""
        wide = np.asarray(rows, np.float64)
        if groups is not None:
            wide = group_means(wide, groups)
        variance = wide.var(axis=0, ddof=1) if len(wide) > 1 else np.full(wide.shape[1], np.nan)
        return Sample(len(wide), wide.mean(axis=0), variance)


def group_means(rows: Array, groups: Labels) -> Array:
    """Mean of the rows [n, G] of each group, in the order of the groups' numbers.

    Example:
        >>> group_means(np.array([[1.0], [2.0], [4.0]]), np.array([7, 3, 3])).tolist()
        [[3.0], [1.0]]
    """
    numbers, counts = np.unique(groups, return_inverse=True, return_counts=True)[1:]
    sums = np.zeros((len(counts), rows.shape[1]))
    np.add.at(sums, numbers, rows)
    return sums / counts[:, None]


def welch(first: Sample, second: Sample) -> tuple[Array, Array, Array]:
    """Difference of means [G], half the width of its 95 % interval, and the p-value of no difference.

    Degrees of freedom by Welch and Satterthwaite. Where no observation differs from another on either side, the width
    is 0, and p is 1 for equal means and 0 for others.

    Args:
        first, second: of at least two observations.

    Source: Welch, "The generalization of 'Student's' problem when several different population variances are
        involved", Biometrika 34 (1947), 28-35.

    Example:
        >>> sides = [Sample.of(np.array(rows)[:, None]) for rows in ([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])]
        >>> [round(float(each[0]), 3) for each in welch(*sides)]
        [-2.0, 4.155, 0.221]
    """
    from scipy.special import stdtr, stdtrit

    apart = first.mean - second.mean
    parts = np.stack([first.variance / first.n, second.variance / second.n])
    square = parts.sum(axis=0)
    constant = square == 0
    safe = np.where(constant, 1.0, square)
    freedom = safe**2 / np.where(constant, 1.0, parts[0] ** 2 / (first.n - 1) + parts[1] ** 2 / (second.n - 1))
    error = np.sqrt(square)
    p = 2 * stdtr(freedom, -np.abs(apart) / np.sqrt(safe))
    p = np.where(constant, (apart == 0).astype(np.float64), p)
    return apart, stdtrit(freedom, (1 + CONFIDENCE) / 2) * error, p


def feature_changes(
    rows: Floats,
    labels: Labels,
    real: Floats,
    real_labels: Labels,
    classes: Sequence[str],
    features: Sequence[Feature],
    *,
    groups: Labels | None = None,
    real_groups: Labels | None = None,
) -> tuple[Change, ...]:
    """Every statistic of every class of a set, compared with real images of the class.

    The shift is the difference of means over the standard deviation of the real images of the class, at least .05 of
    that of all real images. p by Welch's t-test, adjusted by Holm. The interval is Welch's for the difference of s = (x
    - real mean) / sd in the set and of z + shift (z^2 - 1) / 2 in the real images, z = (x - real mean) / sd: the second
    term is the part of the real standard deviation, which is estimated too (first order). Where groups are given, a
    group counts once, with the mean of its images.

    Args:
        rows: of the set in the view ``texture``, [N, F]: in standard deviations of all real images.
        labels: int64 [N]. real: [M, F]. real_labels: int64 [M].
        classes: names. features: what the columns are.
        groups, real_groups: int64 [N] and [M], number of the group (patient) of each image; None: unknown.

    Returns:
        The smallest p-value first; of equal ones the larger shift. Shares of histograms are left out, as in
        `iuscore.features.changes`. So are classes with fewer than two images (groups) on either side.

    Example:
        >>> from iuscore.features import FEATURES
        >>> features, rng = FEATURES["gray"], np.random.default_rng(0)
        >>> rows, real = rng.normal(size=(2, 60, len(features)))
        >>> rows[:, [f.name for f in features].index("lightness mean")] -= 2
        >>> found = feature_changes(rows, np.zeros(60, int), real, np.zeros(60, int), ["normal"], features)
        >>> found[0].feature, found[0].high < -1, found[0].p < 1e-9, found[0].words
        ('lightness mean', True, True, 'on average, pixels are darker')
    """
    columns = [i for i, feature in enumerate(features) if feature.role == "statistic"]
    named = [features[i] for i in columns]
    found: list[tuple[str, Array, Array, Array]] = []
    for k, target in enumerate(classes):
        mine, theirs = labels == k, real_labels == k
        own, own_real = (None if each is None else each[of] for each, of in ((groups, mine), (real_groups, theirs)))
        if min(_observations(mine, own), _observations(theirs, own_real)) < 2:
            continue
        z, standard, floored = _standardized(rows[mine][:, columns], real[theirs][:, columns])
        of_set, of_real = Sample.of(standard, own), Sample.of(z, own_real)
        shift, _, p = welch(of_set, of_real)
        moving = np.where(floored, 0.0, shift) * (np.square(z) - 1) / 2
        _, width, _ = welch(of_set, Sample.of(z + moving, own_real))
        found.append((target, shift, width, p))
    if not found:
        return ()
    adjusted = np.split(holm(np.concatenate([p for *_, p in found])), len(found))
    changes = [
        Change(
            target, feature.group, feature.name, float(shift[i]), float(shift[i] - width[i]),
            float(shift[i] + width[i]), float(p[i]), feature.words(float(shift[i])),
        )
        for (target, shift, width, _), p in zip(found, adjusted, strict=True)
        for i, feature in enumerate(named)
    ]  # fmt: skip
    return tuple(sorted(changes, key=lambda change: (change.p, -abs(change.shift))))


def _observations(mine: Array, groups: Labels | None) -> int:
    return int(mine.sum()) if groups is None else len(np.unique(groups))


def _standardized(rows: Floats, real: Floats) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
    """Real rows and rows of the set less the real mean, over the real sd; and where this is `MIN_CLASS_SD`."""
    wide = np.asarray(real, np.float64)
    mean, sd = wide.mean(axis=0), wide.std(axis=0, ddof=1) if len(wide) > 1 else np.zeros(wide.shape[1])
    scale = np.maximum(sd, MIN_CLASS_SD)
    return (wide - mean) / scale, (np.asarray(rows, np.float64) - mean) / scale, sd < MIN_CLASS_SD


def component_effects(
    contributions: Array,
    labels: Labels,
    real: Sequence[Sample | None],
    classes: Sequence[str],
    components: Sequence[str],
    *,
    groups: Labels | None = None,
) -> tuple[Effect, ...]:
    """Mean contribution of every component towards the claimed class, compared with that of real images of the class.

    Args:
        contributions: of the set, [N, G], each towards the image's claimed class.
        labels: int64 [N].
        real: of each class, the contributions of its real images towards it: `Sample.of` them, or number, mean and
            variance as a model keeps them. None: unknown, and the class is left out.
        classes: names. components: G names.
        groups: int64 [N], number of the group (patient) of each image: a group counts once. None: unknown.

    Returns:
        The smallest p-value first; of equal ones the larger difference. Welch's t-test and interval; p adjusted by
        Holm over all components and classes. Classes with fewer than two images (groups) are left out.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> real = rng.normal(size=(50, 2))
        >>> known, names = [Sample.of(real)], ["edges", "grain"]
        >>> found = component_effects(real + [0, 3], np.zeros(50, int), known, ["normal"], names)
        >>> found[0].component, round(found[0].difference, 6), found[1].p
        ('grain', 3.0, 1.0)
    """
    found: list[tuple[str, Array, Array, Array]] = []
    for k, (target, known) in enumerate(zip(classes, real, strict=True)):
        mine = labels == k
        own = None if groups is None else groups[mine]
        if known is None or min(_observations(mine, own), known.n) < 2:
            continue
        found.append((target, *welch(Sample.of(contributions[mine], own), known)))
    if not found:
        return ()
    adjusted = np.split(holm(np.concatenate([p for *_, p in found])), len(found))
    effects = [
        Effect(target, name, float(d[i]), float(d[i] - width[i]), float(d[i] + width[i]), float(p[i]))
        for (target, d, width, _), p in zip(found, adjusted, strict=True)
        for i, name in enumerate(components)
    ]
    return tuple(sorted(effects, key=lambda effect: (effect.p, -abs(effect.difference))))


@dataclass(frozen=True, eq=False)
class Carriers:
    """Which images of a class carry its shift in a group of features.

    Attributes:
        places: int64 [n]: images of the class, those that carry most first.
        shares: float64 [n], in that order: how far each image lies from the real mean in the direction of the shift,
            in lengths of the shift; the mean is 1, and a share of the shift is this over n.
        top: share of the shift that the first tenth of them carries, rounded up; above 1 where others lie behind.
        evenly: the same if all images had moved alike and varied as real ones: not above it, no few images carry it.
    """

    places: Labels
    shares: Array
    top: float
    evenly: float


def images_that_carry(
    rows: Floats,
    labels: Labels,
    real: Floats,
    real_labels: Labels,
    features: Sequence[Feature],
    k: int,
    group: str,
) -> Carriers:
    """The images of class ``k`` that carry the shift of its mean in a group of features.

    With the shift d of the statistics of the group, in standard deviations of the real class, and s an image less the
    real mean in the same units, its share is s'd / |d|^2.

    Args:
        rows, labels, real, real_labels, features: as in `feature_changes`.
        k: place of the class; it has two real images and an image in the set at least.
        group: of ``features``.

    Example:
        >>> from iuscore.features import FEATURES
        >>> features, rng = FEATURES["gray"], np.random.default_rng(0)
        >>> rows, real = rng.normal(size=(2, 60, len(features)))
        >>> rows[:6, [f.name for f in features].index("lightness mean")] -= 30
        >>> found = images_that_carry(rows, np.zeros(60, int), real, np.zeros(60, int), features, 0, "lightness")
        >>> sorted(found.places[:6].tolist()), found.top > 2 * found.evenly
        ([0, 1, 2, 3, 4, 5], True)
    """
    columns = [i for i, each in enumerate(features) if each.group == group and each.role == "statistic"]
    if not columns:
        raise ValueError(f"group: expected one of {sorted({each.group for each in features})}, got {group!r}")
    mine = np.flatnonzero(labels == k)
    z, standard, _ = _standardized(rows[mine][:, columns], real[real_labels == k][:, columns])
    shift = standard.mean(axis=0)
    length = max(float(shift @ shift), np.finfo(np.float64).tiny)
    shares = standard @ shift / length
    order = np.argsort(-shares, kind="stable")
    usual = np.sort(1 + z @ shift / length)[::-1]
    return Carriers(mine[order], shares[order], _top(shares[order]), _top(usual))


def _top(shares: Array) -> float:
    """Of shares in descending order."""
    return float(shares[: int(np.ceil(TOP * len(shares)))].sum() / len(shares))
