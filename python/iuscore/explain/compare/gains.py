"""What a set adds beside a number of real images: small learners fitted with and without it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from iuscore.explain.compare.records import Gain
from iuscore.explain.compare.sets import ScoredSet
from iuscore.explain.value import ReferenceViews
from iuscore.explain.value.judge import PIXEL_VIEWS, at_most, halves, moments_of
from iuscore.explain.value.learners import Floats, lda_scores, macro_auroc, neighbor_scores
from iuscore.explain.value.linear import Labels
from iuscore.explain.value.views import View

REAL_COUNTS = (10, 25, 50, 100, 250, 500)
"""Real images of each class beside which a set is judged, as far as half of the reference has them."""

SHARES = (0.25, 0.5)
"""Shares of the set that are tried as well, beside the largest number of real images."""

DRAWS = 8


def gains(reference: ReferenceViews, given: ScoredSet, draws: int = DRAWS) -> tuple[Gain, ...]:
    """Expected AUROC of small learners fitted to some real images and the set, less that without the set.

    In each draw the reference is split in halves, by group where groups are known. The learners are the four of
    ``pix4``, fitted to n real images of each class from one half, and judged on the other half.

    Args:
        reference: real images. given: the set. draws: number of halves.

    Returns:
        For each number in `REAL_COUNTS` that half of the reference has, with the whole set; for the largest, also with
        `SHARES` of the set. Intervals: Student's over the draws, for one more draw of real images. Empty where the
        reference cannot be split.
    """
    from scipy.stats import t

    classes, seed = len(reference.record.classes), reference.record.seed
    found: dict[tuple[int, float], list[tuple[float, float]]] = {}
    for number, (first, second) in enumerate(halves(reference.labels, reference.groups, classes, draws, seed)):
        rng = np.random.default_rng([seed, 5, number])
        most = int(np.bincount(reference.labels[first], minlength=classes).min())
        counts = [n for n in REAL_COUNTS if n <= most] or [most]
        for n in counts:
            chosen = first[at_most(reference.labels[first], np.full(classes, n), rng)]
            without = _auroc(reference, chosen, second, {}, np.empty(0, np.int64))
            for share in (1.0, *(SHARES if n == counts[-1] else ())):
                part = _part(given, share, rng, classes)
                rows = {view: given.rows[view][part] for view in PIXEL_VIEWS}
                both = _auroc(reference, chosen, second, rows, given.labels[part])
                found.setdefault((n, share), []).append((without, both - without))
    result = []
    for (n, share), some in sorted(found.items(), key=lambda item: (item[0][0], -item[0][1])):
        if len(some) < 2:
            continue
        alone, gain = np.array(some).T
        half = float(t.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) * np.sqrt(1 + 1 / len(gain)))
        mean, whole = float(gain.mean()), int(np.bincount(given.labels, minlength=classes).min())
        n_set = None if share == 1.0 else max(1, round(share * whole))
        result.append(Gain(n, float(alone.mean()), mean, mean - half, mean + half, n_set))
    return tuple(result)


def _part(given: ScoredSet, share: float, rng: np.random.Generator, classes: int) -> Labels:
    if share == 1.0:
        return np.arange(len(given))
    counts = np.maximum(1, np.round(share * np.bincount(given.labels, minlength=classes))).astype(np.int64)
    return at_most(given.labels, counts, rng)


def _auroc(
    reference: ReferenceViews, real: Labels, judged: Labels, rows: Mapping[View, Floats], labels: Labels
) -> float:
    """Mean over the four learners, fitted to real images and rows of a set."""
    classes = len(reference.record.classes)
    both = np.concatenate([reference.labels[real], labels])
    found = []
    for view in PIXEL_VIEWS:
        known = reference.rows[view]
        fitted = np.concatenate([known[real], rows[view]]) if len(labels) else known[real]
        found.append(lda_scores(moments_of(fitted, both, classes), known[judged]))
        found.append(neighbor_scores(fitted, both, classes, known[judged]))
    return float(np.mean([macro_auroc(scores, reference.labels[judged], classes) for scores in found]))
