"""What changed: how far the features of an image or a set lie from those of real images, in the spread of these."""

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
"""Real images whose spread is below one 8-bit step count as this far apart, or a change of rounding would be large."""

COLORLESS = "the images have no color"
"""What is said of color groups where images have no color. The hue of a gray pixel means nothing."""

COLORED_SHARE = 1e-3
"""Share of colored pixels below which images are said to have none, where real ones have more."""

RIDGE = 0.1
"""Share of the unit matrix in the correlation of statistics, so that small differences between statistics that nearly
always agree, as rounding and compression make them, count little."""

CORRELATION_DIGITS = 3

MIN_NEIGHBORS, MAX_NEIGHBORS = 25, 1600
"""Images between which nearest neighbors are compared; fewer say nothing, more cost the square of their number."""


_Number = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]


@dataclass(frozen=True)
class FeatureProfile:
    """Features of the real images of one class.

    Attributes:
        n: number of images, at least 2.
        mean, sd: of each feature over the images, [F].
        nearest: number of images -> median distance of an image to the one most like it among so many, in
            standardized statistics; for 25, 50, 100, ... as far as there are images.
        correlation: of every two statistics, the rows of the matrix below its diagonal one after the other, rounded
            to `CORRELATION_DIGITS`; None of a model of an earlier version.
    """

    n: Annotated[int, msgspec.Meta(ge=2, le=10**15)]
    mean: tuple[_Number, ...]
    sd: tuple[Annotated[float, msgspec.Meta(ge=0, le=1e15)], ...]
    nearest: dict[Annotated[int, msgspec.Meta(ge=2)], Annotated[float, msgspec.Meta(ge=0, le=1e15)]]
    correlation: tuple[Annotated[float, msgspec.Meta(ge=-1, le=1)], ...] | None = None

    @cached_property
    def unmixing(self) -> Array | None:
        """[S, S], what makes statistics in spreads uncorrelated among real images, ridged; None where not known."""
        if self.correlation is None:
            return None
        size = (1 + math.isqrt(1 + 8 * len(self.correlation))) // 2  # rows of a matrix with so many below its diagonal
        matrix = np.eye(size)
        matrix[np.tril_indices(size, -1)] = self.correlation
        values, vectors = np.linalg.eigh(matrix, "L")
        found: Array = (vectors / np.sqrt(np.maximum((1 - RIDGE) * values + RIDGE, RIDGE / 2))).T
        return found


@dataclass(frozen=True)
class GroupChange:
    """How far one group of features moved.

    Attributes:
        name: of the group.
        moved: root mean square, over the group's statistics, of the distance from the real mean in real standard
            deviations. Of a set near 0 where nothing changed; a single real image has about 1.
        feature: the statistic that moved farthest.
        shift: how far that one moved, in real standard deviations ("spreads"), with its sign.
        noise: what ``moved`` of real images reaches by chance: in 95 % of sets of as many images no group is beyond.
        words: what images look like whose ``feature`` moved that way, and whose mean did, where that says more;
            `COLORLESS` of all color groups of images without color, where real ones have some; "" where the move is
            not known.
    """

    name: str
    moved: float
    feature: str
    shift: float
    noise: float = 0.0
    words: str = ""

    @property
    def beyond_chance(self) -> bool:
        """Whether so many real images rarely move as far."""
        return self.moved > self.noise


def feature_profile(values: Array, features: Sequence[Feature], *, seed: int = 0) -> FeatureProfile | None:
    """Describe the features of real images [N, F] of one class; None for fewer than two.

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
    return FeatureProfile(len(wide), tuple(mean.tolist()), tuple(sd.tolist()), nearest, correlation)


def chance(n: int, profile: FeatureProfile, groups: int) -> float:
    """How far the farthest of some groups of statistics moves where nothing changed.

    The mean of n images of a class, less that of the profile's N in their standard deviation, has Student's
    distribution with N - 1 degrees of freedom, times sqrt(1/n + 1/N). Of the root mean square of several such numbers,
    dependent or not, far values are no likelier than of one (Szekely, Bakirov, Probab. Theory Relat. Fields 2003), and
    the 5 % are divided among the groups (Bonferroni). Images are taken as independent: several of one patient are not,
    and their mean strays farther.

    Args:
        n: images in the set.
        profile: of the real class.
        groups: how many there are.

    Returns:
        What ``moved`` exceeds, in any group, in at most about 5 % of real sets.

    Example:
        >>> profile = FeatureProfile(400, (0.0,), (1.0,), {})
        >>> [round(chance(n, profile, 12), 2) for n in (1, 20, 400)]
        [2.89, 0.66, 0.2]
    """
    from scipy.special import stdtrit

    quantile = float(stdtrit(max(profile.n - 1, 1), 1 - 0.05 / (2 * groups)))
    return quantile * math.sqrt(1 / max(n, 1) + 1 / max(profile.n, 1))


def changes(profile: FeatureProfile, values: Array, features: Sequence[Feature], n: int = 1) -> tuple[GroupChange, ...]:
    """How far each group lies from real images.

    Args:
        profile: of the real class.
        values: [F], of an image or the mean of a set.
        features: what the columns are.
        n: number of images that ``values`` are the mean of.

    Returns:
        One a group, in the order of the groups. Shares of a histogram are left out: statistics have names that can be
        said, and a share that no real image has would be infinitely far off.

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
    """Whether images have no color where real ones have some."""
    place = next((i for i, feature in enumerate(features) if feature.name == "hue colored"), None)
    return place is not None and float(values[place]) < COLORED_SHARE <= profile.mean[place]


def farthest_moved(profile: FeatureProfile, values: Array, features: Sequence[Feature]) -> Array:
    """``moved`` of the group that lies farthest from real images, of each image of [N, F]: [N].

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
    found: Array = np.sqrt(np.max([squares[:, each].mean(axis=1) for each in columns], axis=0))
    return found


LEVELS = ("mean", "p05", "median", "p95")
"""Statistics that say by themselves whether a plane's values are higher or lower."""


def _words(statistics: Sequence[Feature], shifts: Array, farthest: int, noise: float) -> str:
    """The sentence of the statistic that moved farthest; a shape of the histogram has that of the mean before it.

    A dark image has fewer different values too, and that may be what moved farthest; but it is dark.
    """
    said = statistics[farthest].words(shifts[farthest])
    names = [feature.name.removeprefix(f"{feature.group} ") for feature in statistics]
    if "mean" not in names or names[farthest] in LEVELS:
        return said
    mean = names.index("mean")
    if abs(shifts[mean]) <= max(noise, 1.0):
        return said
    return f"{statistics[mean].words(shifts[mean])}; {said}"


def nearest_ratio(profile: FeatureProfile, values: Array, features: Sequence[Feature]) -> float | None:
    """How far the images of a set are from their nearest neighbors in it, compared with real images.

    Args:
        profile: of the real class.
        values: [N, F], the set.
        features: what the columns are.

    Returns:
        Median distance to the nearest neighbor, divided by that among as many real images: 1 where the set is as
        varied as real images, 0 where it repeats itself. None for fewer than `MIN_NEIGHBORS` images of either.
    """
    sizes = [n for n in profile.nearest if n <= len(values)]
    if not sizes:
        return None
    n = max(sizes)
    # Evenly, so that neighbors in a list of frames are not the ones compared.
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
