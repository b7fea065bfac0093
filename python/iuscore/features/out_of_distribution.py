"""Tests for images unlike real ones (out of distribution): many feature groups changed, or inverted gray levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from iuscore.features.change import MIN_SD, FeatureProfile, chance, changes
from iuscore.features.registry import Feature

Array = npt.NDArray[np.floating[Any]]

MIN_IMAGES_INVERTED = 10
"""Fewest images for a test of inverted gray levels: some single real images look inverted."""

MIN_INVERSION = 0.4
"""Distance in spreads up to which gray levels count as normal."""

MAX_DISTANCE_INVERTED = 0.6
"""Images look inverted if inverting them reduces their distance from real images to less than this share."""

_MIRRORED = ("lightness mean", "lightness median")
_SIGNED = ("lightness skewness", "light-dark center", "light-dark top", "light-dark left")
_SWAPPED = (("light-dark lightest", "light-dark darkest"),)
_GROUPS_OF_LIGHT = ("lightness", "light-dark")


def joint_distance(profile: FeatureProfile, values: Array, features: Sequence[Feature], n: int = 1) -> float:
    """Distance from real images over all groups of features together, taking their correlation into account.

    Args:
        profile: profile of the real class.
        values: [F], features of an image, or their mean over a set.
        features: the F columns.
        n: number of images that ``values`` are the mean of.

    Returns:
        The smaller of two distances in spreads: the root mean square of ``moved`` over the groups, and the Mahalanobis
        distance over the statistics, divided by the square root of their number. Much darker images have a large first
        distance only, compressed images a large second distance only, and out-of-distribution images have both. 0 if
        the first distance is within chance, or the profile has no correlation.

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
    """Features [F] that images would have after inverting their gray levels, from features of images or their mean.

    Statistics that inverting does not change, shares of histograms, and color features are returned as given.

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
    result = given.copy()
    for name in _MIRRORED:
        result[place[name]] = 1 - given[place[name]]
    for name in _SIGNED:
        result[place[name]] = -given[place[name]]
    for one, other in _SWAPPED:
        result[place[one]], result[place[other]] = given[place[other]], given[place[one]]
    low, high = place["lightness p05"], place["lightness p95"]
    result[low], result[high] = 1 - given[high], 1 - given[low]
    return result


def looks_inverted(
    profiles: Mapping[str, FeatureProfile], values: Array, features: Sequence[Feature], n: int = 1
) -> bool:
    """Whether the gray levels of a set differ from real images of every class, but fit after inverting them.

    Args:
        profiles: class -> feature profile of real images.
        values: [F], mean features of the set.
        features: the F columns.
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
    given, negative = np.asarray(values, dtype=np.float64), inverted(values, features)
    as_is, after_inverting = (
        min(float(np.sqrt(np.square(_shifts(profile, each)[columns]).mean())) for profile in profiles.values())
        for each in (given, negative)
    )
    return as_is > MIN_INVERSION and after_inverting < MAX_DISTANCE_INVERTED * as_is


def _shifts(profile: FeatureProfile, values: Array) -> Array:
    found: Array = (values - profile.mean) / np.maximum(profile.sd, MIN_SD)
    return found
