"""What each image of a set adds, beside real reference images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from iuscore.errors import UserError
from iuscore.explain.value.arguments import label_numbers
from iuscore.explain.value.duplicates import copy_counts
from iuscore.explain.value.judge import NeighborVotes, moments_of
from iuscore.explain.value.linear import Array, discriminants, influence, problems
from iuscore.explain.value.records import ImageValues
from iuscore.explain.value.reference import ReferenceViews
from iuscore.explain.value.shapley import neighbor_shapley
from iuscore.explain.value.views import VIEWS, View, count_of
from iuscore.ops._images import Images, Layout


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
    rows = reference.embed(images, layout=layout)
    places = reference.balanced
    shapley = {
        view: neighbor_shapley(rows[view], numbers, reference.rows[view][places], reference.labels[places])
        for view in ("texture", "patch")
    }
    influences = {view: _influence(reference, rows[view], numbers, view) for view in VIEWS}
    votes = NeighborVotes(
        rows, numbers, reference.rows, reference.labels, len(classes), reference.record.seed
    )  # fmt: skip
    own, contradicted = votes.contradicted()
    return ImageValues(
        value=_ranks(shapley["texture"]) + _ranks(shapley["patch"]),
        shapley_texture=shapley["texture"],
        shapley_patch=shapley["patch"],
        influence=np.mean([influences[view] for view in VIEWS], axis=0),
        influence_by_view={str(view): each for view, each in influences.items()},
        copies=copy_counts(rows, numbers, reference.median_distance),
        own_share=own,
        contradicted=contradicted,
    )


def _ranks(values: Array) -> Array:
    from scipy.stats import rankdata

    found: Array = rankdata(values)
    return found


def _influence(
    reference: ReferenceViews, rows: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], view: View
) -> Array:
    """Of T of one view, mean over the problems."""
    classes = len(reference.record.classes)
    of_set = discriminants(moments_of(rows, labels, classes))
    of_real = discriminants(moments_of(reference.rows[view], reference.labels, classes))
    found = [influence(s, r, rows, labels == k) for s, r, k in zip(of_set, of_real, problems(classes), strict=True)]
    mean: Array = np.mean(found, axis=0)
    return mean
