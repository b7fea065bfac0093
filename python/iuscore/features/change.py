"""What changed: distances of features from real images, in standard deviations of the real images (spreads)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from iuscore.features.registry import COLOR_GROUPS, Feature

Array = npt.NDArray[np.floating[Any]]

MIN_SD = 1.0 / 256.0
"""Smallest standard deviation to divide by, one 8-bit step. Otherwise a change of rounding would look large."""

COLORLESS = "the images have no color"
"""Text for the color groups of images without color, because the hue of a gray pixel has no meaning."""

COLORED_SHARE = 1e-3
"""Share of colored pixels below which images count as without color, if real images have more."""

RIDGE = 0.1
"""Weight of the unit matrix in the correlation matrix (ridge). It reduces the weight of small differences between
highly correlated statistics, such as rounding and compression cause."""

CORRELATION_DIGITS = 3
"""Decimals of the correlations in a profile."""

MIN_NEIGHBORS, MAX_NEIGHBORS = 25, 1600
"""Fewest and most images for nearest-neighbor distances. Fewer say too little, and the cost grows with the square."""

QUANTILES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Shares of the images whose largest value of a feature stands in a profile."""

_QUANTILE_DIGITS = 6


_Number = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]


@dataclass(frozen=True)
class FeatureProfile:
    """Features of the real images of one class.

    Attributes:
        n: number of images, at least 2.
        mean, sd: mean and standard deviation of each feature over the images, [F].
        nearest: number of images k -> median nearest-neighbor distance among k images, in standardized statistics; for
            k = 25, 50, 100, ... up to the number of images.
        correlation: correlation of each pair of statistics: the lower triangle of the matrix, row by row, rounded to
            `CORRELATION_DIGITS`; None for a model of an earlier version.
        quantiles: `QUANTILES` of each feature over the images, [F][13], with linear interpolation and 6 digits; None
            for a model of an earlier version.
    """

    n: Annotated[int, msgspec.Meta(ge=2, le=10**15)]
    mean: tuple[_Number, ...]
    sd: tuple[Annotated[float, msgspec.Meta(ge=0, le=1e15)], ...]
    nearest: dict[Annotated[int, msgspec.Meta(ge=2)], Annotated[float, msgspec.Meta(ge=0, le=1e15)]]
    correlation: tuple[Annotated[float, msgspec.Meta(ge=-1, le=1)], ...] | None = None
    quantiles: tuple[tuple[_Number, ...], ...] | None = None

    def __post_init__(self) -> None:
        for i, values in enumerate(self.quantiles or ()):
            if len(values) != len(QUANTILES) or list(values) != sorted(values):
                raise ValueError(f"quantiles[{i}]: expected {len(QUANTILES)} numbers that do not fall")

    @cached_property
    def unmixing(self) -> Array | None:
        """Whitening matrix [S, S] of the statistics in spreads, with ridge; None if the correlation is unknown."""
        if self.correlation is None:
            return None
        size = (1 + math.isqrt(1 + 8 * len(self.correlation))) // 2  # the triangle has size (size - 1) / 2 numbers
        matrix = np.eye(size)
        matrix[np.tril_indices(size, -1)] = self.correlation
        values, vectors = np.linalg.eigh(matrix, "L")
        whitening: Array = (vectors / np.sqrt(np.maximum((1 - RIDGE) * values + RIDGE, RIDGE / 2))).T
        return whitening


@dataclass(frozen=True)
class GroupChange:
    """How far one group of features moved.

    Attributes:
        name: name of the group.
        moved: root mean square, over the group's statistics, of the distance from the mean of real images in real
            standard deviations. Near 0 for an unchanged set; about 1 for a single real image.
        feature: the statistic that moved farthest.
        shift: signed distance that this statistic moved, in real standard deviations ("spreads").
        noise: bound on ``moved`` by chance: in 95 % of real sets of as many images, no group exceeds it.
        words: how images look whose ``feature`` moved in this direction, after the words for the mean where these say
            more; `COLORLESS` for the color groups of images without color, if real images have color; "" if unknown.
    """

    name: str
    moved: float
    feature: str
    shift: float
    noise: float = 0.0
    words: str = ""

    @property
    def beyond_chance(self) -> bool:
        """Whether ``moved`` is larger than chance explains."""
        return self.moved > self.noise


def feature_profile(values: Array, features: Sequence[Feature], *, seed: int = 0) -> FeatureProfile | None:
    """The profile of features [N, F] of real images of one class; None for fewer than two images.

    Example:
        >>> from iuscore.features import FEATURES
        >>> values = np.random.default_rng(0).random((60, len(FEATURES["gray"])))
        >>> profile = feature_profile(values, FEATURES["gray"])
        >>> profile.n, sorted(profile.nearest)
        (60, [25, 50])
    """
    if len(values) < 2:
        return None
    wide = values.astype(np.float64)
    mean, sd = wide.mean(axis=0), wide.std(axis=0, ddof=1)
    order = np.random.default_rng(seed).permutation(len(wide))
    standard = _standardized(wide[order], sd, features)
    sizes = [MIN_NEIGHBORS * 2**k for k in range(20) if MIN_NEIGHBORS * 2**k <= min(len(wide), MAX_NEIGHBORS)]
    nearest = {n: _nearest(standard[:n]) for n in sizes}
    apart = _standardized(wide - mean, sd, features)
    together = (apart.T @ apart / (len(wide) - 1))[np.tril_indices(apart.shape[1], -1)]
    correlation = tuple(np.clip(together, -1, 1).round(CORRELATION_DIGITS).tolist())
    levels = np.quantile(wide, QUANTILES, axis=0).T
    quantiles = tuple(tuple(float(f"{x:.{_QUANTILE_DIGITS}g}") for x in row) for row in levels.tolist())
    return FeatureProfile(len(wide), tuple(mean.tolist()), tuple(sd.tolist()), nearest, correlation, quantiles)


def chance(n: int, profile: FeatureProfile, groups: int) -> float:
    """Bound on ``moved`` over all groups for a set in which nothing changed.

    The difference between the means of n images and of the profile's N images of one class, in standard deviations of
    the latter, has Student's distribution with N - 1 degrees of freedom, times sqrt(1/n + 1/N). The root mean square of
    several such numbers, dependent or not, has no heavier tail than one of them (Szekely, Bakirov, Probab. Theory
    Relat. Fields 2003). The 5 % are divided among the groups (Bonferroni). Images are assumed to be independent; with
    several images of one patient, the mean varies more.

    Args:
        n: number of images in the set.
        profile: profile of the real class.
        groups: number of groups.

    Returns:
        Value that ``moved`` exceeds, in any group, in at most about 5 % of real sets.

    Example:
        >>> profile = FeatureProfile(400, (0.0,), (1.0,), {})
        >>> [round(chance(n, profile, 12), 2) for n in (1, 20, 400)]
        [2.89, 0.66, 0.2]
    """
    from scipy.special import stdtrit

    quantile = float(stdtrit(max(profile.n - 1, 1), 1 - 0.05 / (2 * groups)))
    return quantile * math.sqrt(1 / max(n, 1) + 1 / max(profile.n, 1))


def changes(profile: FeatureProfile, values: Array, features: Sequence[Feature], n: int = 1) -> tuple[GroupChange, ...]:
    """Distance of each group from real images.

    Args:
        profile: profile of the real class.
        values: [F], features of an image, or their mean over a set.
        features: the F columns.
        n: number of images that ``values`` are the mean of.

    Returns:
        One `GroupChange` per group, in the order of the groups. Shares of histograms are left out: statistics are
        easier to describe, and a share that is 0 in all real images would be infinitely far off.

    Example:
        >>> from iuscore.features import FEATURES
        >>> features = FEATURES["gray"]
        >>> real = np.random.default_rng(0).random((60, len(features)))
        >>> moved = real.mean(axis=0)
        >>> moved[[f.name for f in features].index("coarse-fine mean")] += 1
        >>> found = max(changes(feature_profile(real, features), moved, features), key=lambda c: c.moved)
        >>> found.feature, found.words
        ('coarse-fine mean', 'on average, edges and grain are stronger')
    """
    shifts = (np.asarray(values, dtype=np.float64) - profile.mean) / np.maximum(profile.sd, MIN_SD)
    found = []
    groups = tuple(dict.fromkeys(feature.group for feature in features))
    noise = chance(n, profile, len(groups))
    colorless = _has_no_color(profile, values, features)
    for group in groups:
        columns = [i for i, f in enumerate(features) if f.group == group and f.role == "statistic"]
        part = shifts[columns]
        farthest = int(np.abs(part).argmax())
        moved = float(np.sqrt(np.square(part).mean()))
        feature, shift = features[columns[farthest]], float(part[farthest])
        words = _words([features[i] for i in columns], part, farthest, noise) if math.isfinite(moved) else ""
        if words and colorless and group in COLOR_GROUPS:
            words = COLORLESS
        found.append(GroupChange(group, moved, feature.name, shift, noise, words))
    return tuple(found)


def _has_no_color(profile: FeatureProfile, values: Array, features: Sequence[Feature]) -> bool:
    """Whether images have no color although real images have color."""
    place = next((i for i, feature in enumerate(features) if feature.name == "hue colored"), None)
    return place is not None and float(values[place]) < COLORED_SHARE <= profile.mean[place]


def farthest_moved(profile: FeatureProfile, values: Array, features: Sequence[Feature]) -> Array:
    """For each image of [N, F], ``moved`` of the group that lies farthest from real images: [N].

    Example:
        >>> from iuscore.features import FEATURES
        >>> features = FEATURES["gray"]
        >>> real = np.random.default_rng(0).random((60, len(features)))
        >>> profile = feature_profile(real, features)
        >>> one = max(change.moved for change in changes(profile, real[0], features))
        >>> bool(np.isclose(farthest_moved(profile, real, features)[0], one))
        True
    """
    squares = np.square((np.asarray(values, dtype=np.float64) - profile.mean) / np.maximum(profile.sd, MIN_SD))
    groups = dict.fromkeys(feature.group for feature in features)
    columns = [[i for i, f in enumerate(features) if f.group == name and f.role == "statistic"] for name in groups]
    farthest: Array = np.sqrt(np.max([squares[:, each].mean(axis=1) for each in columns], axis=0))
    return farthest


LEVELS = ("mean", "p05", "median", "p95")
"""Statistics that show directly whether the values of a plane are higher or lower."""


def _words(statistics: Sequence[Feature], shifts: Array, farthest: int, noise: float) -> str:
    """The text of the statistic that moved farthest; after the text of the mean, for a statistic of histogram shape.

    Example: a dark image also has fewer different values. Entropy may then move farthest, but darkness explains it.
    """
    text = statistics[farthest].words(shifts[farthest])
    names = [feature.name.removeprefix(f"{feature.group} ") for feature in statistics]
    if "mean" not in names or names[farthest] in LEVELS:
        return text
    mean = names.index("mean")
    if abs(shifts[mean]) <= max(noise, 1.0):
        return text
    return f"{statistics[mean].words(shifts[mean])}; {text}"


def nearest_ratio(profile: FeatureProfile, values: Array, features: Sequence[Feature]) -> float | None:
    """Nearest-neighbor distance within a set, relative to real images.

    Args:
        profile: profile of the real class.
        values: [N, F], features of the set.
        features: the F columns.

    Returns:
        Median nearest-neighbor distance, divided by the median among as many real images: near 1 if the set is as
        varied as real images, 0 if it repeats one image. None for fewer than `MIN_NEIGHBORS` images of either.
    """
    sizes = [n for n in profile.nearest if n <= len(values)]
    if not sizes:
        return None
    n = max(sizes)
    # Evenly spaced: consecutive images may be frames of one video, nearly equal to each other.
    chosen = np.linspace(0, len(values) - 1, n).astype(int)
    sd = np.asarray(profile.sd)
    found = _nearest(_standardized(np.asarray(values, dtype=np.float64)[chosen], sd, features))
    return found / profile.nearest[n] if profile.nearest[n] > 0 else None


def _standardized(values: Array, sd: Array, features: Sequence[Feature]) -> Array:
    columns = [i for i, feature in enumerate(features) if feature.role == "statistic"]
    return values[:, columns] / np.maximum(sd[columns], MIN_SD)


def _nearest(standard: Array) -> float:
    from scipy.spatial.distance import cdist

    distances = cdist(standard, standard)
    np.fill_diagonal(distances, np.inf)
    return float(np.median(distances.min(axis=1)))
