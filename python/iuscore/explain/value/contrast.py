"""What is wrong with a set: how its difference between classes departs from the real one, group by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from iuscore.explain.value.linear import Array, problems
from iuscore.features import Feature


@dataclass(frozen=True)
class GroupDifference:
    """One group of features, one class against another or against all others.

    Attributes:
        group: its name.
        moved: root mean square over the group's features of D_S - D_R, D the difference of two class means in standard
            deviations of the real images.
        moved_of: how far the means of the two sides themselves lie from the real ones, as root mean squares: of the
            class, and of what it is set against.
        feature: the statistic of the group whose D_S - D_R is largest.
        shift: that difference, with its sign.
        words: what the class looks like beside the other, more than it does in real images.
    """

    group: str
    moved: float
    moved_of: tuple[float, float]
    feature: str
    shift: float
    words: str


def against_rest(means: Array, shares: Array, k: int) -> tuple[Array, Array]:
    """Mean [F] of class k, and of all others together, from class means [K, F] and counts [K]."""
    rest = [i for i in range(len(means)) if i != k]
    return means[k], shares[rest] @ means[rest] / shares[rest].sum()


def group_differences(
    of_set: Array, of_real: Array, counts: Array, features: Sequence[Feature], k: int
) -> tuple[GroupDifference, ...]:
    """Contrast differences of every group, class ``k`` against the others.

    Args:
        of_set, of_real: class means in the view ``texture``, [K, F].
        counts: real images of each class, [K]: weights of the other classes on both sides.
        features: what the columns are.
        k: the class.

    Returns:
        In the order of the groups.

    Example:
        >>> from iuscore.features import FEATURES
        >>> features = FEATURES["gray"]
        >>> real, moved = np.zeros((2, len(features))), np.zeros((2, len(features)))
        >>> moved[1, [f.name for f in features].index("lightness mean")] = -2.0
        >>> found = max(group_differences(moved, real, np.ones(2), features, 1), key=lambda each: each.moved)
        >>> found.group, found.feature, found.shift, found.words
        ('lightness', 'lightness mean', -2.0, 'on average, pixels are darker')
    """
    sides = [against_rest(means, counts, k) for means in (of_set, of_real)]
    (set_one, set_rest), (real_one, real_rest) = sides
    change = (set_one - set_rest) - (real_one - real_rest)
    found = []
    for group in dict.fromkeys(feature.group for feature in features):
        columns = [i for i, feature in enumerate(features) if feature.group == group]
        named = [i for i in columns if features[i].role == "statistic"]
        farthest = named[int(np.abs(change[named]).argmax())]
        moved = [_root_mean_square(part[columns]) for part in (change, set_one - real_one, set_rest - real_rest)]
        shift = float(change[farthest])
        found.append(
            GroupDifference(
                group, moved[0], (moved[1], moved[2]), features[farthest].name, shift, features[farthest].words(shift)
            )
        )
    return tuple(found)


def moved_groups(of_set: Array, of_real: Array, counts: Array, features: Sequence[Feature]) -> Array:
    """``moved`` of every problem and group: [P, G]."""
    found = [group_differences(of_set, of_real, counts, features, k) for k in problems(len(of_set))]
    return np.array([[each.moved for each in groups] for groups in found])


def _root_mean_square(values: Array) -> float:
    return float(np.sqrt(np.square(values).mean()))
