"""Measures of other papers for a set beside real images: what a comparison shows next to the value of the set.

All work on rows of features [n, d], here of the view ``texture``, in standard deviations of the real images. Those of
one distribution take the images of one class; `controls` compares each class with real images of that class and takes
the mean over classes. ``weights`` say how often each real image counts: as if its row were repeated.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from iuscore.errors import UserError
from iuscore.explain.compare.pairs import Folds, Pair, Squares, span
from iuscore.explain.value.judge import at_most, half_swapped, resamples
from iuscore.explain.value.judge import halves as halves_of
from iuscore.explain.value.learners import Floats, squared_distances
from iuscore.explain.value.linear import Array, Labels
from iuscore.explain.value.of_sets import summarized
from iuscore.explain.value.records import Measure

NEIGHBORS = 5
RESAMPLES = 100
HALVES = 8

MIN_IMAGES = 2
"""Images of a class on either side below which the class is left out of a measure."""

MOST_OF_CLASS, MOST = 1000, 3000
"""Images of a class, and of all classes together, that `controls` looks at on either side."""

BOUNDS: Mapping[str, tuple[float, float]] = {
    "frechet distance": (0.0, np.inf),
    "kernel distance": (-np.inf, np.inf),
    "energy distance": (0.0, np.inf),
    "precision": (0.0, 1.0),
    "recall": (0.0, 1.0),
    "density": (0.0, np.inf),
    "coverage": (0.0, 1.0),
    "discriminative span": (0.0, 1.0),
    "two-sample auroc": (0.0, 1.0),
}
"""Name of each measure of `controls` -> smallest and largest possible value."""


def frechet_distance(rows: Floats, real: Floats, weights: Array | None = None) -> float:
    """Squared Frechet distance between the normal distributions with the means and covariances of two sets of rows.

    |m_S - m_R|^2 + tr(C_S + C_R - 2 (C_S C_R)^(1/2)), covariances over n - 1. With C = F'F for either side, the trace
    of the root is the sum of the singular values of F_S F_R': real, and exact also for fewer rows than columns.

    Args:
        rows: [n, d]. real: [m, d]. weights: how often each row of ``real`` counts, [m]; None: once.

    Returns:
        At least 0; 0 of equal means and covariances. It falls with n and m: compare at equal numbers.

    Source: Dowson, Landau, J. Multivariate Analysis 12 (1982), 450-455; Heusel et al., "GANs trained by a two
        time-scale update rule converge to a local Nash equilibrium", NeurIPS 2017, on features of a network.

    Example:
        >>> rows = np.array([[0.0], [2.0]])
        >>> frechet_distance(rows + 3.0, rows), round(frechet_distance(3.0 * rows, rows), 6)
        (9.0, 12.0)
    """
    return Pair(rows, real).frechet(weights)


def kernel_distance(rows: Floats, real: Floats, weights: Array | None = None) -> float:
    """Unbiased squared maximum mean discrepancy for the kernel (x'y / d + 1)^3.

    Mean of the kernel over pairs of different rows of the set, plus that of the real ones, less twice the mean over
    pairs of either. All rows at once, no subsets.

    Args:
        rows: [n, d], n at least 2. real: [m, d], m at least 2. weights: as in `frechet_distance`.

    Returns:
        0 on average for sets of one distribution, so below 0 for about half of them.

    Source: Binkowski et al., "Demystifying MMD GANs", ICLR 2018; Gretton et al., JMLR 13 (2012), 723-773, Lemma 6.

    Example:
        >>> kernel_distance(np.array([[1.0], [1.0]]), np.array([[0.0], [0.0]]))
        7.0
    """
    return Pair(rows, real).kernel(weights)


def energy_distance(rows: Floats, real: Floats, weights: Array | None = None) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| over all pairs of rows, each with itself as well (a V-statistic).

    Args:
        rows: [n, d]. real: [m, d]. weights: as in `frechet_distance`.

    Returns:
        At least 0, and 0 only of equal sets; its root is a metric between distributions.

    Source: Szekely, Rizzo, "Energy statistics: a class of statistics based on distances", J. Statistical Planning and
        Inference 143 (2013), 1249-1272.

    Example:
        >>> energy_distance(np.array([[1.0], [1.0]]), np.array([[0.0]]))
        2.0
    """
    return Pair(rows, real).energy(weights)


def precision_recall_density_coverage(
    rows: Floats, real: Floats, k: int = NEIGHBORS, weights: Array | None = None
) -> dict[str, float]:
    """How rows of a set and real rows lie within each other's neighborhoods.

    The neighborhood of a row is the open ball up to its k-th nearest other row on its own side (the farthest one where
    there are no more than k). Precision: share of the set in the neighborhood of any real row. Recall: share of real
    rows in that of any row of the set. Density: neighborhoods of real rows that a row of the set lies in, on average,
    over k. Coverage: share of real rows with a row of the set in their neighborhood.

    Args:
        rows: [n, d], n at least 2. real: [m, d], m at least 2. weights: as in `frechet_distance`.

    Returns:
        "precision", "recall" and "coverage" in [0, 1], and "density", which can exceed 1.

    Source: Kynkaanniemi et al., "Improved precision and recall metric for assessing generative models", NeurIPS 2019;
        Naeem et al., "Reliable fidelity and diversity metrics for generative models", ICML 2020.

    Example:
        >>> real = np.array([[0.0], [1.0], [2.0], [10.0]])
        >>> precision_recall_density_coverage(np.array([[0.5], [0.6]]), real, k=1)
        {'precision': 1.0, 'recall': 0.0, 'density': 2.0, 'coverage': 0.5}
    """
    return Pair(rows, real).neighborhoods(k, weights)


def discriminative_span(
    rows: Floats, labels: Labels, real: Floats, real_labels: Labels, classes: int, weights: Array | None = None
) -> float:
    """How well the weights of a classifier of real images are made up of differences that the set shows.

    For class k: w are the weights of a logistic regression (penalty |w|^2 / 2) of class k against the rest, fitted to
    real rows with columns in standard deviations. D has a row for each image of the set that claims k: itself less its
    nearest real image of another class. Of D = U S V', the first floor(exp H) singular values are kept, H the entropy
    of their shares. Then 1 - |w - w_p| / |w|, where w_p = D'a and a solves the ridge regression (D D' + .01 I) a = D w.
    The mean over classes.

    The authors generate each image of the positive class from a real negative one, which gives the pairs; sets of other
    origin have none, so the nearest real image takes its place. They use features of DINOv2 or CLIP.

    Args:
        rows: [n, d]. labels: int64 [n]. real: [m, d]. real_labels: int64 [m]. classes: their number.
        weights: as in `frechet_distance`.

    Returns:
        In [0, 1]: 1 if the differences span the weights. Classes that the set lacks are left out.

    Source: Desai, Narendra, "Discriminative Span as a Predictor of Synthetic Data Utility via Classifier
        Reconstruction", arXiv:2605.09697 (2026), and the authors' code.

    Example:
        >>> labels = np.arange(200) % 2
        >>> real = np.random.default_rng(0).normal(size=(200, 2)) + 3 * labels[:, None] * [1, 0]
        >>> found = [discriminative_span(real[:4] + np.array([way]), labels[:4], real, labels, 2)
        ...          for way in ([99, 0], [0, 99])]
        >>> found[0] > .8 > .2 > found[1]
        True
    """
    wide, wide_real = np.asarray(rows, np.float64), np.asarray(real, np.float64)
    return span(wide, labels, wide_real, real_labels, classes, squared_distances(wide, wide_real), weights)


def classifier_two_sample(rows: Floats, real: Floats, seed: int) -> float:
    """AUROC of a linear discriminant that tells rows of the set from real ones: the mean of 5 folds.

    Args:
        rows: [n, d], n at least 2. real: [m, d], m at least 2. seed: of the folds.

    Returns:
        .5 on average for sets of one distribution, 1 for sets that the discriminant tells apart.

    Source: Lopez-Paz, Oquab, "Revisiting classifier two-sample tests", ICLR 2017, who report the accuracy.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(40, 2))
        >>> classifier_two_sample(rows + 9.0, rows, seed=0)
        1.0
    """
    return Folds(rows, real, seed).auroc()


def confidence(probabilities: Array, labels: Labels) -> float:
    """Mean probability of the claimed class, [N, K] for labels [N]: the mean over the classes that are claimed.

    Example:
        >>> confidence(np.array([[0.75, 0.25], [0.25, 0.75], [0.75, 0.25]]), np.array([0, 0, 1]))
        0.375
    """
    return _mean_over_classes(probabilities[np.arange(len(labels)), labels], labels)


def published_ius(ius: Array, labels: Labels) -> float:
    """Mean IUS of the images of a class, [N] for labels [N]: the mean over classes.

    Source: Gatoula, Dimas, Iakovidis, "Interpretable Similarity of Synthetic Image Utility", IEEE TMI 2026.

    Example:
        >>> published_ius(np.array([0.5, 0.75, -0.125]), np.array([0, 0, 1]))
        0.25
    """
    return _mean_over_classes(ius, labels)


def _mean_over_classes(values: Array, labels: Labels) -> float:
    return float(np.mean([values[labels == k].mean() for k in np.unique(labels)]))


def controls(
    set_rows: Floats,
    set_labels: Labels,
    real_rows: Floats,
    real_labels: Labels,
    classes: int,
    seed: int,
    *,
    groups: Labels | None = None,
    halves: int = HALVES,
    resampled: int = RESAMPLES,
) -> dict[str, Measure]:
    """Every measure of distributions for a set, beside the same measure for real images.

    Each class is compared with the real images of that class; the mean over classes, of those with two images on both
    sides. At most 1,000 images of a class on either side, and 3,000 of all classes, are looked at, drawn by seed.

    Args:
        set_rows: [N, d] of the set. set_labels: int64 [N] in 0..classes - 1.
        real_rows: [M, d] of real images. real_labels: int64 [M].
        classes: number of classes, two or more.
        seed: of the draws, folds, halves and resamples.
        groups: int64 [M], number of the group (patient) of each real image; None: each image is its own.
        halves: random halves of the real images, by group. Beside one half stand the other half (`Measure.real`), the
            other half with half or all of its labels exchanged (``swapped``, ``shuffled``), and the set (``value``):
            all with as many images of each class as the smaller one of the set and the half has, because most of these
            measures depend on numbers of images. Each number is the mean over the halves. 0, or where a class has one
            group: ``value`` is that of all images, and nothing stands beside it.
        resampled: bootstrap resamples of the real images, all of them and by group, for the intervals about ``value``,
            which are widened by the variance of the mean over the halves. 0: no intervals.

    Returns:
        Name, as in `BOUNDS`, -> `Measure`. The same in every bit for the same arguments on one machine.

    Raises:
        UserError: a class without real images, or no class with two images on both sides.

    Example:
        >>> rng, labels = np.random.default_rng(0), np.arange(80) % 2
        >>> real, good = (rng.normal(size=(80, 3)) + labels[:, None] for _ in range(2))
        >>> found = controls(good + [3, 0, 0], labels, real, labels, 2, seed=0, resampled=20)["frechet distance"]
        >>> found.low > 9 > found.real
        True
    """
    missing = np.flatnonzero(np.bincount(real_labels, minlength=classes) == 0)
    if len(missing):
        raise UserError(f"real_labels: expected real images of each class, got none of class {missing[0]}; add some")
    rng = np.random.default_rng([seed, 5])
    most = np.full(classes, min(MOST_OF_CLASS, MOST // classes))
    mine, theirs = (at_most(each, most, rng) for each in (set_labels, real_labels))
    rows, labels = np.asarray(set_rows, np.float64)[mine], set_labels[mine]
    real, known = np.asarray(real_rows, np.float64)[theirs], real_labels[theirs]
    of_image = np.arange(len(known)) if groups is None else groups[theirs]
    squares = Squares.of(rows, real)
    here = _Beside(rows, labels, real, known, classes, seed, squares)
    if not here.pairs:
        raise UserError(
            "set_labels: expected at least 2 images of a class of which there are 2 real images, got none; "
            "check that the set and the real images have the same classes"
        )
    drawn = [
        here.numbers(weights)
        for weights in resamples(known, of_image, classes, resampled, seed)
        if all(weights[known == k].sum() >= MIN_IMAGES for k in here.pairs)
    ]
    beside: dict[str, list[dict[str, float]]] = {"set": [], "real": [], "swapped": [], "shuffled": []}
    counts = np.bincount(labels, minlength=classes)
    for first, second in halves_of(known, of_image, classes, halves, seed):
        places = first[at_most(known[first], counts, rng)]
        own = known[places]
        some = at_most(labels, np.bincount(own, minlength=classes), rng)
        half = Squares.within(squares.of_real, places, second)
        for kind, taken, given, part in (
            ("set", rows[some], labels[some], squares.part(some, second)),
            ("real", real[places], own, half),
            ("swapped", real[places], half_swapped(own, classes, rng), half),
            ("shuffled", real[places], rng.permutation(own), half),
        ):
            found = _Beside(taken, given, real[second], known[second], classes, seed, part)
            if found.pairs:
                beside[kind].append(found.numbers())
    of_set = beside.pop("set") or [here.numbers()]
    return {
        name: summarized(
            float(np.mean([each[name] for each in of_set])),
            _widened([each[name] for each in drawn], [each[name] for each in of_set]),
            {kind: [each[name] for each in some] for kind, some in beside.items()},
            *bounds,
        )
        for name, bounds in BOUNDS.items()
    }


def _widened(drawn: list[float], of_halves: list[float]) -> list[float]:
    """Resampled numbers, spread about their mean so that their variance is larger by that of the mean over halves."""
    if len(drawn) < 2 or len(of_halves) < 2:
        return drawn
    numbers = np.array(drawn)
    variance = float(numbers.var(ddof=1))
    more = float(np.var(of_halves, ddof=1)) / len(of_halves)
    factor = np.sqrt(1 + more / variance) if variance > 0 else 1.0
    found: list[float] = (numbers.mean() + (numbers - numbers.mean()) * factor).tolist()
    return found


class _Beside:
    """A set beside real images.

    Attributes:
        pairs, folds: of each class with two images on both sides.
    """

    def __init__(
        self, rows: Array, labels: Labels, real: Array, real_labels: Labels, classes: int, seed: int, squares: Squares
    ) -> None:
        self.rows, self.labels, self.real, self.real_labels, self.classes = rows, labels, real, real_labels, classes
        self.between = squares.between
        self.pairs: dict[int, Pair] = {}
        self.folds: dict[int, Folds] = {}
        for k in range(classes):
            mine, theirs = np.flatnonzero(labels == k), np.flatnonzero(real_labels == k)
            if min(len(mine), len(theirs)) >= MIN_IMAGES:
                self.pairs[k] = Pair(rows[mine], real[theirs], squares.part(mine, theirs))
                self.folds[k] = Folds(rows[mine], real[theirs], seed)

    def numbers(self, weights: Array | None = None) -> dict[str, float]:
        """Every measure of `BOUNDS`, each real image counted as often as ``weights`` say."""
        found: dict[str, list[float]] = {name: [] for name in BOUNDS}
        for k, pair in self.pairs.items():
            own = None if weights is None else weights[self.real_labels == k]
            found["frechet distance"].append(pair.frechet(own))
            found["kernel distance"].append(pair.kernel(own))
            found["energy distance"].append(pair.energy(own))
            for name, value in pair.neighborhoods(NEIGHBORS, own).items():
                found[name].append(value)
            found["two-sample auroc"].append(self.folds[k].auroc(own))
        found["discriminative span"].append(
            span(self.rows, self.labels, self.real, self.real_labels, self.classes, self.between, weights)
        )
        return {name: float(np.mean(values)) for name, values in found.items()}
