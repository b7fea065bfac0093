"""What a set is worth for training, beside real reference images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from iuscore.errors import UserError, bounded
from iuscore.explain.value.arguments import label_numbers
from iuscore.explain.value.contrast import GroupDifference, group_differences
from iuscore.explain.value.judge import Judge, Numbers, at_most, half_swapped, halves, moments_of, resamples
from iuscore.explain.value.linear import TINY, Array, Labels, problems
from iuscore.explain.value.records import GroupContrast, Measure, SetValue
from iuscore.explain.value.reference import ReferenceViews
from iuscore.explain.value.views import VIEWS, View, count_of
from iuscore.features import FEATURES
from iuscore.ops._images import Images, Layout

LEARNABLE = 0.8
"""Expected AUROC of real images against real ones below which agreement with measured usefulness was low."""

MIN_REFERENCE = 50
"""Real images of each class, or groups where these are known, below which the reference counts as small."""

MIN_SET = 25
"""Images of each class below which a set counts as small."""

SIDE_RATIO = 2.0
"""A class alone moved where its mean lies this many times as far from the real one as that of the other."""

SPLITS = 8
RESAMPLES = 200


def set_value(
    reference: ReferenceViews,
    images: Images,
    labels: Sequence[str] | Sequence[int] | npt.NDArray[Any],
    *,
    layout: Layout | None = None,
    resampled: int = RESAMPLES,
    splits: int = SPLITS,
    trees: bool = True,
) -> SetValue:
    """Judge a set by real reference images.

    Args:
        reference: fitted to real images with labels.
        images: the set, as in `iuscore.features.texture_features`.
        labels: class name of each image, or its place in ``reference.record.classes``; each class has two images.
        layout: "NHWC" or "NCHW"; needed only where the shape fits both.
        resampled: bootstrap resamples of the reference, by group where these are known; 0: no intervals.
        splits: random halves of the reference for real against real; 0: none, and nothing beside the numbers.
        trees: whether the five learners of PIX5 are fitted, or the four of PIX4.

    Returns:
        The same in every bit for the same arguments on one machine.

    Raises:
        UserError: unknown labels, fewer than two images of a class, images that are not finite. TypeError, ValueError:
            see `iuscore.ops.texture_stats`.

    Source: docs/value.md has formulas and evidence.

    Example:
        >>> from iuscore import phantoms
        >>> def drawn(seed, n):
        ...     return np.concatenate([phantoms.draw("radiograph", c, n, size=32, seed=seed)
        ...                            for c in ("normal", "abnormal")])
        >>> names = ["normal"] * 30 + ["abnormal"] * 30
        >>> real = ReferenceViews.fit(drawn(0, 30), names, ["normal", "abnormal"], size=(32, 32))
        >>> found = set_value(real, drawn(1, 30), names, resampled=20, splits=2, trees=False)
        >>> swapped = set_value(real, drawn(1, 30), names[::-1], resampled=0, splits=0, trees=False)
        >>> swapped.transfer.value < 0 < found.transfer.value
        True
        >>> found.cannot_be_said[0]
        'the reference has 30 images of normal, fewer than 50'
    """
    numbers = label_numbers(labels, reference.record.classes, count_of(images))
    for name, given in (("resampled", resampled), ("splits", splits)):
        if isinstance(given, bool) or not isinstance(given, int) or given < 0:
            raise UserError(f"{name}: expected a whole number of at least 0, got {bounded(given)}")
    if (missing := too_few(reference, numbers)) is not None:
        raise UserError(f"labels: {missing}")
    rows = reference.embed(images, layout=layout)
    return set_value_of_rows(reference, rows, numbers, resampled=resampled, splits=splits, trees=trees)


def too_few(reference: ReferenceViews, labels: Labels) -> str | None:
    """Why a set with these labels cannot be judged; None where it can."""
    counts = np.bincount(labels, minlength=len(reference.record.classes))
    if counts.min() >= 2:
        return None
    few = reference.record.classes[int(counts.argmin())]
    return (
        f"expected at least 2 images of each class, got {counts.min()} of {few!r}; "
        "a set of one class trains no classifier: judge it together with the classes that it is used with, or by "
        "'iuscore compare --target', where real images stand in for them"
    )


def set_value_of_rows(
    reference: ReferenceViews,
    rows: Mapping[View, npt.NDArray[np.float32]],
    numbers: Labels,
    *,
    resampled: int = RESAMPLES,
    splits: int = SPLITS,
    trees: bool = True,
) -> SetValue:
    """`set_value` of images whose views are known.

    Args:
        rows: view -> float32 [N, d], as of `ReferenceViews.embed`.
        numbers: int64 [N], places in ``reference.record.classes``; each class has two images.
        resampled, splits, trees: as in `set_value`.
    """
    record = reference.record
    classes = len(record.classes)
    counts = np.bincount(numbers, minlength=classes)
    judge = _judge(reference, rows, numbers, np.arange(len(reference.labels)), trees)
    here = judge.numbers()
    drawn = [
        judge.numbers(weights)
        for weights in resamples(reference.labels, reference.groups, classes, resampled, record.seed)
    ]
    controls = _controls(reference, counts, splits, trees)

    def measure(pick: Callable[[Numbers], float], low: float, high: float) -> Measure:
        return _measure(pick, here, drawn, controls, low, high)

    def named(name: str, low: float = 0.0) -> Measure:
        return measure(lambda found: found.named[name], low, 1.0)

    contrast = _contrast(reference, judge, measure, controls)
    pix4 = named("pix4")
    return SetValue(
        classes=record.classes,
        counts=tuple(counts.tolist()),
        real_counts=record.counts,
        real_groups=record.n_groups,
        transfer=named("transfer", -1.0),
        transfer_by_view={view: named(f"transfer {view}", -1.0) for view in VIEWS},
        pix4=pix4,
        pix5=named("pix5") if trees else None,
        learners={name: named(name) for name in judge.scores},
        label_agreement=named("label_agreement"),
        near_copies=named("near_copies"),
        copies_of_real=named("copies_of_real"),
        contrast=contrast,
        cannot_be_said=_doubts(reference, counts, pix4.real),
    )


def _judge(
    reference: ReferenceViews, rows: Mapping[View, npt.NDArray[np.float32]], labels: Labels, places: Labels, trees: bool
) -> Judge:
    return Judge(
        rows,
        labels,
        {view: reference.rows[view][places] for view in VIEWS},
        reference.labels[places],
        classes=len(reference.record.classes),
        features=FEATURES[reference.record.kind],
        seed=reference.record.seed,
        trees=trees,
    )


def _controls(reference: ReferenceViews, counts: Labels, splits: int, trees: bool) -> dict[str, list[Numbers]]:
    """Real images with their labels, half of them swapped, and shuffled, against other real images."""
    classes = len(reference.record.classes)
    found: dict[str, list[Numbers]] = {"real": [], "swapped": [], "shuffled": []}
    rng = np.random.default_rng([reference.record.seed, 3])
    for first, second in halves(reference.labels, reference.groups, classes, splits, reference.record.seed):
        places = first[at_most(reference.labels[first], counts, rng)]
        rows = {view: reference.rows[view][places] for view in VIEWS}
        labels = reference.labels[places]
        for name, given in (
            ("real", labels),
            ("swapped", half_swapped(labels, classes, rng)),
            ("shuffled", rng.permutation(labels)),
        ):
            found[name].append(_judge(reference, rows, given, second, trees).numbers())
    return found


def _measure(
    pick: Callable[[Numbers], float],
    here: Numbers,
    drawn: Sequence[Numbers],
    controls: dict[str, list[Numbers]],
    least: float,
    most: float,
) -> Measure:
    known = {name: [pick(each) for each in some] for name, some in controls.items()}
    return summarized(pick(here), [pick(each) for each in drawn], known, least, most)


def summarized(
    value: float, drawn: Sequence[float], known: Mapping[str, Sequence[float]], least: float, most: float
) -> Measure:
    """A number of a set with its interval, beside the same number of sets that are known.

    Args:
        value: of the set. drawn: of it beside resampled real images; empty: no interval.
        known: "real", "swapped" and "shuffled" -> the number of each such set.
        least, most: the smallest and largest possible number.

    Example:
        >>> summarized(0.5, [0.3, 0.6], {"real": [0.9, 0.7], "swapped": [0.1], "shuffled": []}, 0, 1).real
        0.8
    """
    low = high = None
    if drawn:
        # Resampled real images repeat, which shifts some numbers: the spread counts, about the number itself.
        resampled = np.array(drawn)
        ends = np.quantile(resampled, [0.025, 0.975]) - resampled.mean() + value
        low, high = (float(end) for end in np.clip(ends, least, most))
    means = {name: float(np.mean(some)) if some else None for name, some in known.items()}
    sd = float(np.std(known["real"], ddof=1)) if len(known["real"]) > 1 else None
    return Measure(value, low, high, means["real"], sd, means["swapped"], means["shuffled"])


def _contrast(
    reference: ReferenceViews,
    judge: Judge,
    measure: Callable[[Callable[[Numbers], float], float, float], Measure],
    controls: dict[str, list[Numbers]],
) -> tuple[GroupContrast, ...]:
    names = reference.record.classes
    features = FEATURES[reference.record.kind]
    real = moments_of(reference.rows["texture"], reference.labels, len(names))
    means = real.total / real.count[:, None]
    bounds = chance_bounds([some.moved for some in controls["real"]])
    found = []
    for p, k in enumerate(problems(len(names))):
        other = names[1 - k] if len(names) == 2 else "the others"
        for g, each in enumerate(group_differences(judge.means, means, real.count, features, k)):
            moved = measure(lambda numbers, p=p, g=g: float(numbers.moved[p, g]), 0.0, np.inf)  # type: ignore[misc]
            beyond = bounds is not None and bool(each.moved > bounds[p, g])
            found.append(
                GroupContrast(
                    each.group, names[k], other, moved, beyond, each.feature, each.shift, each.words,
                    _sides(each, names[k], other),
                )
            )  # fmt: skip
    return tuple(sorted(found, key=lambda each: -each.moved.value))


def chance_bounds(real: Sequence[Array]) -> Array | None:
    """What no group of real images exceeds: the mean of each group, times the largest such ratio of any group.

    A new real set like them exceeds its bound in any group with a chance of about 1 in the number of halves + 1, since
    its largest ratio is as likely as any to be the largest of all.

    Args:
        real: ``moved`` of halves of real images, [P, G] each.

    Returns:
        [P, G]; None of no halves.

    Example:
        >>> chance_bounds([np.array([[1.0, 10.0]]), np.array([[3.0, 10.0]])]).tolist()
        [[3.0, 15.0]]
    """
    if not real:
        return None
    moved = np.stack(real)
    mean = moved.mean(axis=0)
    bounds: Array = mean * (moved / np.maximum(mean, TINY)).max()
    return bounds


def _sides(difference: GroupDifference, target: str, other: str) -> tuple[str, ...]:
    one, rest = difference.moved_of
    if one > SIDE_RATIO * rest:
        return (target,)
    return (other,) if rest > SIDE_RATIO * one else (target, other)


def _doubts(reference: ReferenceViews, counts: Labels, real: float | None) -> tuple[str, ...]:
    found = []
    for k, name in enumerate(reference.record.classes):
        grouped = reference.record.n_groups is not None
        n = len(np.unique(reference.groups[reference.labels == k]))
        if n < MIN_REFERENCE:
            unit = "groups" if grouped else "images"
            found.append(f"the reference has {n} {unit} of {name}, fewer than {MIN_REFERENCE}")
        if counts[k] < MIN_SET:
            found.append(
                f"the set has {counts[k]} images of {name}, fewer than {MIN_SET}: another draw may have quite another "
                "value"
            )
    if real is None:
        found.append("real images were not compared with real ones, so nothing says whether the task can be learned")
    elif real < LEARNABLE:
        found.append(
            f"small learners fitted to real images reach an AUROC of {real:.2f} on other real images, below "
            f"{LEARNABLE}: on such tasks these numbers agreed little with measured usefulness"
        )
    return tuple(found)
