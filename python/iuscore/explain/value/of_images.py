"""What each image of a set adds, beside real reference images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from iuscore.errors import UserError
from iuscore.explain.value.arguments import label_numbers
from iuscore.explain.value.duplicates import COPY_VIEWS, CopyBuckets, copy_counts, nearest_real
from iuscore.explain.value.judge import NeighborVotes, moments_of
from iuscore.explain.value.linear import Array, ClassMoments, Labels, discriminants, influence_by_column, problems
from iuscore.explain.value.records import ImageValues
from iuscore.explain.value.reference import ReferenceViews
from iuscore.explain.value.shapley import NearestLists, neighbor_shapley
from iuscore.explain.value.views import VIEWS, View, count_of
from iuscore.features import FEATURES
from iuscore.ops._images import Images, Layout

Rows: TypeAlias = "npt.NDArray[np.float32]"

EXACT = 10_000
"""Images up to which all are compared with all."""


def image_values(
    reference: ReferenceViews,
    images: Images,
    labels: Sequence[str] | Sequence[int] | npt.NDArray[Any],
    *,
    layout: Layout | None = None,
) -> ImageValues:
    """Judge every image of a set by real reference images.

    Args:
        reference: fitted to real images with labels.
        images: the set, as in `iuscore.features.texture_features`.
        labels: class name of each image, or its place in ``reference.record.classes``.
        layout: "NHWC" or "NCHW"; needed only where the shape fits both.

    Returns:
        In the order of the images. Time grows with the number of images times that of real ones, and for ``copies``
        with the square of the number of images of a class.

    Raises:
        UserError: unknown labels, no image of a class, images that are not finite. TypeError, ValueError: see
            `iuscore.ops.texture_stats`.

    Source: docs/value.md has formulas and evidence.

    Example:
        >>> from iuscore import phantoms
        >>> def drawn(seed):
        ...     return np.concatenate([phantoms.draw("radiograph", c, 12, size=32, seed=seed)
        ...                            for c in ("normal", "abnormal")])
        >>> names = ["normal"] * 12 + ["abnormal"] * 12
        >>> real = ReferenceViews.fit(drawn(0), names, ["normal", "abnormal"], size=(32, 32))
        >>> found = image_values(real, drawn(1), names)
        >>> found.value.shape, float(found.value.sum())  # ranks 1 to 24, in two views
        ((24,), 600.0)
    """
    classes = reference.record.classes
    numbers = label_numbers(labels, classes, count_of(images))
    counts = np.bincount(numbers, minlength=len(classes))
    if counts.min() < 1:
        raise UserError(
            f"labels: expected images of each class, got none of {classes[int(counts.argmin())]!r}; "
            "judge a set of one class together with the classes that it is used with"
        )
    return values_of_rows(reference, reference.embed(images, layout=layout), numbers)


def values_of_rows(reference: ReferenceViews, rows: Mapping[View, Rows], labels: Labels) -> ImageValues:
    """`image_values` of images whose views are known.

    Args:
        rows: view -> float32 [N, d], as of `ReferenceViews.embed`.
        labels: int64 [N], places in ``reference.record.classes``, an image of each.
    """
    places = reference.balanced
    shapley = {
        view: neighbor_shapley(rows[view], labels, reference.rows[view][places], reference.labels[places])
        for view in COPY_VIEWS
    }
    moments = {view: moments_of(rows[view], labels, len(reference.record.classes)) for view in VIEWS}
    value = ranks(shapley["texture"]) + ranks(shapley["patch"])
    return _assembled(
        reference, rows, labels, shapley["texture"], shapley["patch"], value, places_of(value),
        copy_counts(rows, labels, reference.median_distance), Influences(reference, moments),
    )  # fmt: skip


def values_of_parts(
    reference: ReferenceViews, parts: Callable[[], Iterator[tuple[Mapping[View, Rows], Labels]]], n: int
) -> Iterator[ImageValues]:
    """`values_of_rows` of more images than fit into memory; up to `EXACT` images they are the same.

    Of more images, the 512 nearest ones of each real image have their exact Shapley value less a constant of at most
    1 / 512, and the others count as 0 (Jia et al., VLDB 2019, theorem 2); copies are looked for among images of the
    class with the same nearest real image. Memory: the rows of a part, and 60 bytes for each image.

    Args:
        parts: called twice; yields the rows of some images, and their labels as in `values_of_rows`.
        n: number of images in all parts.

    Yields:
        For each part in turn; ``value`` is the rank among all images.
    """
    if n <= EXACT:
        yield from _in_memory(reference, parts)
        return
    places, classes = reference.balanced, len(reference.record.classes)
    lists = {view: NearestLists(reference.rows[view][places], reference.labels[places]) for view in COPY_VIEWS}
    moments = {view: ClassMoments(classes, reference.rows[view].shape[1]) for view in VIEWS}
    buckets = CopyBuckets(reference.rows, reference.median_distance)
    for rows, labels in parts():
        for view in VIEWS:
            moments[view].add(rows[view], labels)
        for view in COPY_VIEWS:
            lists[view].add(rows[view], labels)
        buckets.add(rows, labels)
    shapley = {view: lists[view].shapley(n) for view in COPY_VIEWS}
    value = ranks(shapley["texture"]) + ranks(shapley["patch"])
    place = places_of(value)
    copies, influences = buckets.counts(), Influences(reference, moments)
    at = 0
    for rows, labels in parts():
        part = slice(at, at + len(labels))
        at = part.stop
        yield _assembled(reference, rows, labels, shapley["texture"][part], shapley["patch"][part], value[part],
                         place[part], copies[part], influences)  # fmt: skip


def _in_memory(
    reference: ReferenceViews, parts: Callable[[], Iterator[tuple[Mapping[View, Rows], Labels]]]
) -> Iterator[ImageValues]:
    found = list(parts())
    rows = {view: np.concatenate([each[view] for each, _ in found]) for view in VIEWS}
    whole = values_of_rows(reference, rows, np.concatenate([labels for _, labels in found]))
    at = 0
    for _, labels in found:
        yield whole.at(slice(at, at + len(labels)))
        at += len(labels)


def _assembled(
    reference: ReferenceViews, rows: Mapping[View, Rows], labels: Labels, shapley_texture: Array, shapley_patch: Array,
    value: Array, place: Array, copies: Labels, influences: Influences,
) -> ImageValues:  # fmt: skip
    votes = NeighborVotes(
        rows, labels, reference.rows, reference.labels, len(reference.record.classes), reference.record.seed
    )  # fmt: skip
    own, contradicted = votes.contradicted()
    nearest, nearness = nearest_real(rows, reference.rows, reference.median_distance)
    by_view, by_group = influences.of(rows, labels)
    return ImageValues(
        value=value,
        place=place,
        shapley_texture=shapley_texture,
        shapley_patch=shapley_patch,
        influence=np.mean([by_view[view] for view in VIEWS], axis=0),
        influence_by_view={str(view): each for view, each in by_view.items()},
        influence_by_group=by_group,
        copies=copies,
        own_share=own,
        contradicted=contradicted,
        nearest_real=nearest,
        nearness=nearness,
    )


def ranks(values: Array) -> Array:
    """1 for the least; equal values share the mean of their ranks."""
    from scipy.stats import rankdata

    found: Array = rankdata(values)
    return found


def places_of(value: Array) -> Array:
    """0 for the least of n values, 1 for the largest.

    Example:
        >>> places_of(np.array([4.0, 9.0, 5.0])).tolist()
        [0.0, 1.0, 0.5]
    """
    return (ranks(value) - 1) / max(len(value) - 1, 1)


class Influences:
    """What images of a set do to T, from the sums of the whole set.

    Args:
        moments: view -> of the whole set.
    """

    def __init__(self, reference: ReferenceViews, moments: Mapping[View, ClassMoments]) -> None:
        self.classes = len(reference.record.classes)
        self.features = FEATURES[reference.record.kind]
        self.of_set = {view: discriminants(moments[view]) for view in VIEWS}
        self.of_real = {
            view: discriminants(moments_of(reference.rows[view], reference.labels, self.classes)) for view in VIEWS
        }

    def of(self, rows: Mapping[View, Rows], labels: Labels) -> tuple[dict[View, Array], dict[str, Array]]:
        """View -> influence on T of the view, [n], and group of features -> its part of that of ``texture``."""
        by_column = {view: self._by_column(rows[view], labels, view) for view in VIEWS}
        by_view: dict[View, Array] = {view: each.sum(1) for view, each in by_column.items()}
        names = [feature.group for feature in self.features]
        by_group = {
            group: by_column["texture"][:, [i for i, name in enumerate(names) if name == group]].sum(1)
            for group in dict.fromkeys(names)
        }
        return by_view, by_group

    def _by_column(self, rows: Rows, labels: Labels, view: View) -> Array:
        found = [
            influence_by_column(s, r, rows, labels == k)
            for s, r, k in zip(self.of_set[view], self.of_real[view], problems(self.classes), strict=True)
        ]
        mean: Array = np.mean(found, axis=0)
        return mean
