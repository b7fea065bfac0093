"""Which of two sets is more useful, and whether that can be told: differences of transfer with joint intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from iuscore.explain.compare.records import Pair
from iuscore.explain.compare.sets import ScoredSet
from iuscore.explain.value import ReferenceViews, SetValue
from iuscore.explain.value.judge import moments_of, resamples
from iuscore.explain.value.linear import Array, discriminants, macro_transfer
from iuscore.explain.value.views import VIEWS

RESAMPLES = 200


def resampled_transfers(
    reference: ReferenceViews, sets: Sequence[ScoredSet], resampled: int = RESAMPLES
) -> dict[str, Array]:
    """Transfer of every set with real images and images of the set drawn anew, with replacement.

    The real images are the same for all sets in each draw, so that differences between sets are paired in them. Images
    are drawn within their class, or by group where groups are known.

    Args:
        reference: real images. sets: with views. resampled: number of draws.

    Returns:
        Name of the set -> float64 [resampled].
    """
    classes, seed = len(reference.record.classes), reference.record.seed
    found = {each.name: np.empty(resampled) for each in sets}
    real_draws = resamples(reference.labels, reference.groups, classes, resampled, seed)
    set_draws = [
        resamples(
            each.labels, np.arange(len(each)) if each.groups is None else each.groups, classes, resampled, seed + 1
        )
        for each in sets
    ]
    for i, weights in enumerate(real_draws):
        real = {
            view: discriminants(moments_of(reference.rows[view], reference.labels, classes, weights)) for view in VIEWS
        }
        for each, draws in zip(sets, set_draws, strict=True):
            of_set = next(draws)
            found[each.name][i] = np.mean(
                [
                    macro_transfer(discriminants(moments_of(each.rows[v], each.labels, classes, of_set)), real[v])
                    for v in VIEWS
                ]
            )
    return found


def ranked_pairs(values: Mapping[str, SetValue], drawn: Mapping[str, Array]) -> tuple[Pair, ...]:
    """Every two sets, the one with the higher transfer first, and whether their order can be told.

    The interval holds the difference of transfers in 95 % of the draws, moved so that their mean is the difference
    itself. The order is told only if the interval lies above 0 and the expected AUROC has the same order.

    Args:
        values: name -> value of the set. drawn: name -> transfers of the draws, as of `resampled_transfers`.

    Returns:
        The pairs in the order of the transfers of their sets.
    """
    order = sorted(values, key=lambda name: (-values[name].transfer.value, name))
    found = []
    for first, second in combinations(order, 2):
        difference = values[first].transfer.value - values[second].transfer.value
        apart = drawn[first] - drawn[second]
        low, high = np.quantile(apart, [0.025, 0.975]) - apart.mean() + difference
        agrees = values[first].pix4.value > values[second].pix4.value
        found.append(Pair(first, second, difference, float(low), float(high), agrees, bool(low > 0 and agrees)))
    return tuple(found)


def ties_of(name: str, pairs: Sequence[Pair]) -> tuple[str, ...]:
    """Names of the sets whose order relative to one of them cannot be told.

    Example:
        >>> pairs = [Pair("a", "b", 0.3, 0.1, 0.5, True, True), Pair("b", "c", 0.1, -0.1, 0.3, True, False)]
        >>> ties_of("b", pairs)
        ('c',)
    """
    return tuple(
        pair.second if pair.first == name else pair.first
        for pair in pairs
        if name in (pair.first, pair.second) and not pair.told
    )
