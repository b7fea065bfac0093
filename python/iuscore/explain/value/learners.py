"""Small learners that are fitted to a set and judged on real images, and the AUROC they reach there."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from iuscore.explain.value.linear import Array, ClassMoments, Labels, discriminants, problems

Floats: TypeAlias = "npt.NDArray[np.float32] | npt.NDArray[np.float64]"

NEIGHBORS = 7
TREES = 40
BLOCK = 1 << 24
"""Distances that are held at once, so that memory stays bounded."""


def squared_distances(rows: Floats, others: Floats) -> Array:
    """float64 [n, m]; a distance depends on its two rows alone, not on the others."""
    from scipy.spatial.distance import cdist

    found: Array = cdist(np.asarray(rows, np.float64), np.asarray(others, np.float64), "sqeuclidean")
    return found


def roughly_squared_distances(rows: Floats, others: Floats) -> Array:
    """float64 [n, m], some times faster than `squared_distances`; the last digits depend on the other rows."""
    one, two = np.asarray(rows, np.float64), np.asarray(others, np.float64)
    found: Array = one @ (-2.0 * two.T)
    found += np.einsum("ij,ij->i", one, one)[:, None]
    found += np.einsum("ij,ij->i", two, two)
    return np.maximum(found, 0.0, out=found)


def blocks(rows: int, columns: int) -> list[slice]:
    """Slices of ``rows`` with at most `BLOCK` distances to ``columns`` others.

    Example:
        >>> blocks(3, 10)
        [slice(0, 3, None)]
    """
    step = max(1, BLOCK // max(columns, 1))
    return [slice(at, min(at + step, rows)) for at in range(0, rows, step)]


def lda_scores(moments: ClassMoments, rows: Floats) -> Array:
    """Scores of rows [n, d] by the discriminants of a set: [n, P], a column for each of `problems`."""
    weights = np.stack([found.weights for found in discriminants(moments)], axis=1)
    scores: Array = np.asarray(rows, np.float64) @ weights
    return scores


def neighbor_scores(of_set: Floats, labels: Labels, classes: int, rows: Floats) -> Array:
    """Share of each class among the 7 nearest images of the set: [n, P] for rows [n, d].

    Of images at the distance of the seventh, each counts in part, so that the order of the set does not show.

    Example:
        >>> rows = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> neighbor_scores(rows, np.array([0, 0, 1, 1]), 2, np.array([[0.0]])).tolist()  # all four
        [[0.5]]
    """
    k = min(NEIGHBORS, len(of_set))
    member = np.stack([labels == each for each in problems(classes)], axis=1).astype(np.float64)
    found = np.empty((len(rows), member.shape[1]))
    for part in blocks(len(rows), len(of_set)):
        distances = squared_distances(rows[part], of_set)
        last = np.partition(distances, k - 1, axis=1)[:, k - 1 : k]
        nearer, level = distances < last, distances == last
        missing = (k - nearer.sum(1)) / level.sum(1)
        found[part] = (nearer @ member + missing[:, None] * (level @ member)) / k
    return found


def tree_scores(of_set: Floats, labels: Labels, classes: int, rows: Floats, seed: int) -> Array:
    """Log odds by 40 boosted trees over histograms: [n, P] for rows [n, d].

    The settings are scikit-learn's: learning rate .1, 31 leaves, at least 20 images a leaf.

    Source: Friedman, "Greedy function approximation: a gradient boosting machine", Annals of Statistics 29 (2001);
        `sklearn.ensemble.HistGradientBoostingClassifier`.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    learner = HistGradientBoostingClassifier(max_iter=TREES, early_stopping=False, random_state=seed)
    learner.fit(of_set, labels)
    scores: Array = np.asarray(learner.decision_function(rows), np.float64).reshape(len(rows), -1)
    return scores


def auroc(scores: Array, positive: npt.NDArray[np.bool_], weights: Array | None = None) -> float:
    """Area under the receiver operating characteristic: the chance that a positive scores above a negative.

    Args:
        scores: [n]. positive: bool [n]. weights: how often each counts, [n]; None: once.

    Returns:
        In [0, 1], ties as half; NaN without both.

    Source: Hanley, McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve",
        Radiology 143 (1982), 29-36.

    Example:
        >>> auroc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True]))
        0.875
    """
    from sklearn.metrics import roc_auc_score

    counted = np.ones(len(scores)) if weights is None else weights
    if not counted[positive].any() or not counted[~positive].any():
        return float("nan")
    return float(roc_auc_score(positive, scores, sample_weight=counted))


def macro_auroc(scores: Array, labels: Labels, classes: int, weights: Array | None = None) -> float:
    """Mean of `auroc` over the problems, of scores [n, P]."""
    found = [auroc(scores[:, i], labels == k, weights) for i, k in enumerate(problems(classes))]
    return float(np.mean(found))
