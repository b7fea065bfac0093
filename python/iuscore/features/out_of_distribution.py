"""Whether images are of another kind than real ones: many groups of features moved at once, or gray levels inverted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from iuscore.features.change import MIN_SD, FeatureProfile, chance, changes
from iuscore.features.registry import Feature

Array = npt.NDArray[np.floating[Any]]

MIN_IMAGES_INVERTED = 10
"""Images below which nothing is said of inverted gray levels: of single real ones some look like it."""

MIN_INVERSION = 0.4
"""Spreads below which gray levels are as in real images."""

TURNED_BACK = 0.6
"""Share of their distance to which inverted images come near when turned back."""

_MIRRORED = ("lightness mean", "lightness median")
_SIGNED = ("lightness skewness", "light-dark center", "light-dark top", "light-dark left")
_SWAPPED = (("light-dark lightest", "light-dark darkest"),)
_GROUPS_OF_LIGHT = ("lightness", "light-dark")


def joint_distance(profile: FeatureProfile, values: Array, features: Sequence[Feature], n: int = 1) -> float:
    """How far all groups of features together lie from real images, where they do not move as real images do.

    Args:
        profile: of the real class.
        values: [F], of an image or the mean of a set.
        features: what the columns are.
        n: number of images that ``values`` are the mean of.

    Returns:
        The smaller of two distances in spreads: the root mean square of ``moved`` over the groups, and the Mahalanobis
        distance over the statistics, divided by the square root of their number. The first alone is large of images
        that are much darker, the second alone of compressed ones; of another kind of image both are. 0 where the
        first is within chance, or the profile does not know how statistics vary together.

    Example:
        >>> from iuscore.features import FEATURES, feature_profile
        >>> features = FEATURES["gray"]
        >>> real = np.random.default_rng(0).random((60, len(features)))
        >>> profile = feature_profile(real, features)
        >>> joint_distance(profile, real.mean(axis=0), features, 60)
        0.0
        >>> bool(joint_distance(profile, real.mean(axis=0) + 1, features, 60) > 1)
        True
    """
    unmixing = profile.unmixing
    if unmixing is None:
        return 0.0
    moved = np.array([change.moved for change in changes(profile, values, features, n)])
    groups = float(np.sqrt(np.square(moved).mean()))
    if not groups > chance(n, profile, len(moved)):
        return 0.0
    shifts = _shifts(profile, np.asarray(values, dtype=np.float64))
    part = shifts[[i for i, feature in enumerate(features) if feature.role == "statistic"]]
    return min(groups, float(np.linalg.norm(unmixing @ part) / np.sqrt(len(part))))


def inverted(values: Array, features: Sequence[Feature]) -> Array:
    """Statistics [F] of images whose gray levels are turned round, from those of the images or their mean over a set.

    Statistics that stay the same, shares of histograms and those of color are as given.

    Example:
        >>> from iuscore.features import FEATURES
        >>> names = [feature.name for feature in FEATURES["gray"]]
        >>> values = np.zeros(len(names))
        >>> values[names.index("lightness p05")] = 0.25
        >>> float(inverted(values, FEATURES["gray"])[names.index("lightness p95")])
        0.75
    """
    place = {feature.name: i for i, feature in enumerate(features)}
    given = np.asarray(values, dtype=np.float64)
    found = given.copy()
    for name in _MIRRORED:
        found[place[name]] = 1 - given[place[name]]
    for name in _SIGNED:
        found[place[name]] = -given[place[name]]
    for one, other in _SWAPPED:
        found[place[one]], found[place[other]] = given[place[other]], given[place[one]]
    low, high = place["lightness p05"], place["lightness p95"]
    found[low], found[high] = 1 - given[high], 1 - given[low]
    return found


def looks_inverted(
    profiles: Mapping[str, FeatureProfile], values: Array, features: Sequence[Feature], n: int = 1
) -> bool:
    """Whether the gray levels of a set are unlike real ones of every class, and like them when turned round.

    Args:
        profiles: class -> features of real images.
        values: [F], the mean of the set.
        features: what the columns are.
        n: number of images that ``values`` are the mean of.

    Returns:
        False for fewer than `MIN_IMAGES_INVERTED` images.

    Example:
        >>> from iuscore.features import FEATURES, feature_profile
        >>> features = FEATURES["gray"]
        >>> real = 0.2 * np.random.default_rng(0).random((60, len(features)))
        >>> known = {"a": feature_profile(real, features)}
        >>> looks_inverted(known, real.mean(axis=0), features, 60)
        False
        >>> looks_inverted(known, inverted(real.mean(axis=0), features), features, 60)
        True
    """
    if n < MIN_IMAGES_INVERTED or not profiles:
        return False
    columns = [i for i, f in enumerate(features) if f.group in _GROUPS_OF_LIGHT and f.role == "statistic"]
    given, turned = np.asarray(values, dtype=np.float64), inverted(values, features)
    as_is, back = (
        min(float(np.sqrt(np.square(_shifts(profile, each)[columns]).mean())) for profile in profiles.values())
        for each in (given, turned)
    )
    return as_is > MIN_INVERSION and back < TURNED_BACK * as_is


def _shifts(profile: FeatureProfile, values: Array) -> Array:
    found: Array = (values - profile.mean) / np.maximum(profile.sd, MIN_SD)
    return found
