"""The images of a collection that are most like an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from iuscore.errors import UserError
from iuscore.explain.value import ReferenceViews
from iuscore.explain.value.duplicates import COPY_VIEWS
from iuscore.explain.value.learners import squared_distances
from iuscore.explain.value.views import View
from iuscore.ops._images import Images, Layout


@dataclass(frozen=True)
class Neighbor:
    """An image of a collection that is like another image.

    Attributes:
        uid: its name, or its place in the collection where it has none.
        label: its class; None if unknown.
        distance: mean over the views ``texture`` and ``patch`` of its distance, in median distances between two real
            images: 0 for the same image, about 1 for any two real images.
    """

    uid: str
    label: str | None
    distance: float

    @property
    def line(self) -> str:
        """In words.

        Example:
            >>> Neighbor("a.png", "benign", 0.42).line
            'a.png (benign, distance 0.42)'
        """
        return f"{self.uid} ({self.label + ', ' if self.label else ''}distance {self.distance:.2f})"


class Gallery:
    """A collection of images as views, in which the nearest ones are looked up.

    Args:
        reference: views of real images; these are the collection unless ``rows`` are given.
        names: of the images of the collection.
        rows: view -> float32 [N, d]: other images, as ``reference.embed`` returns them.
        labels: class of each of these, if known.

    Raises:
        UserError: names or labels of another number than images.

    Example:
        >>> from iuscore import phantoms
        >>> images = np.concatenate([phantoms.draw("radiograph", c, 12, size=32) for c in ("normal", "abnormal")])
        >>> real = ReferenceViews.fit(images, [0] * 12 + [1] * 12, ["normal", "abnormal"], size=(32, 32))
        >>> Gallery(real).nearest(real.embed(images[13:14]), 1)[0].line
        '13 (abnormal, distance 0.00)'
    """

    def __init__(
        self,
        reference: ReferenceViews,
        names: Sequence[str] | None = None,
        *,
        rows: Mapping[View, npt.NDArray[np.float32]] | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        self.reference = reference
        self.rows = reference.rows if rows is None else rows
        n = len(self.rows[COPY_VIEWS[0]])
        self.names = [str(i) for i in range(n)] if names is None else list(names)
        self.labels: list[str | None] = [None] * n if labels is None else list(labels)
        if rows is None and labels is None:
            self.labels = [reference.record.classes[k] for k in reference.labels]
        for what, given in (("names", self.names), ("labels", self.labels)):
            if len(given) != n:
                raise UserError(f"{what}: expected one per image, {n}, got {len(given)}")

    def of_image(self, image: Images, count: int, *, layout: Layout | None = None) -> tuple[Neighbor, ...]:
        """`nearest` of a batch of one image, given as in `ReferenceViews.embed`."""
        return self.nearest(self.reference.embed(image, layout=layout), count)

    def nearest(self, rows: Mapping[View, npt.NDArray[np.float32]], count: int) -> tuple[Neighbor, ...]:
        """The nearest images of one image.

        Args:
            rows: view -> [1, d], as ``reference.embed`` returns them.
            count: number of images.

        Returns:
            The nearest first; of equal distances, the first in the collection.
        """
        medians = self.reference.median_distance
        each = [np.sqrt(squared_distances(rows[view], self.rows[view])[0]) / medians[view] for view in COPY_VIEWS]
        distance = np.mean(each, axis=0)
        order = np.argsort(distance, kind="stable")[:count]
        return tuple(Neighbor(self.names[i], self.labels[i], float(distance[i])) for i in order)
