"""What a model has learned, as a record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from iuscore.explain.shapes import ShapeFunction

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClassProfile:
    """Mean contributions of the real images of one class, [G] each.

    Attributes:
        mean: over images, of the mean over members.
        low, high: ends of the 95 % interval over images (groups); None if there are too few.
        member_low, member_high: ends of the 95 % bootstrap interval over members; None of one member.
        n: number of images; None if unknown.
        by: "bootstrap" over the images given, or "model": the interval that the model folder keeps.
    """

    mean: tuple[float, ...]
    low: tuple[float, ...] | None
    high: tuple[float, ...] | None
    member_low: tuple[float, ...] | None
    member_high: tuple[float, ...] | None
    n: int | None
    by: Literal["bootstrap", "model"]


@dataclass(frozen=True, eq=False)
class Learned:
    """What a model has learned.

    Attributes:
        target: class whose output is shown.
        classes, components: names.
        importance: mean absolute contribution of each component over real images, each class counting the same, after
            the mean is taken off, [G]; None if unknown.
        importance_by: "images" that were given, "model": validation images, or "unknown".
        profiles: class -> `ClassProfile`; of more than two classes each towards its own output.
        shapes: shape functions of the features; empty of an epu model.
        densities: class -> share of its real images in each of the P - 1 intervals of each shape function, [F, P - 1];
            empty if unknown.
        name: for a title.
    """

    target: str
    classes: tuple[str, ...]
    components: tuple[str, ...]
    importance: tuple[float, ...] | None
    importance_by: Literal["images", "model", "unknown"]
    profiles: dict[str, ClassProfile]
    shapes: tuple[ShapeFunction, ...]
    densities: dict[str, Array]
    name: str = "model"

    def density(self, i: int) -> Array | None:
        """Share of real images in each interval of shape function i, each class counting the same."""
        return np.mean([rows[i] for rows in self.densities.values()], axis=0) if self.densities else None
