"""The images of one set as arrays, and those of the real reference: what a comparison and a selection work on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from iuscore.explain.value.linear import Array, Labels
from iuscore.explain.value.views import View


@dataclass(frozen=True, eq=False)
class ScoredSet:
    """Scored images of one set, N of them.

    Attributes:
        name: of the set. source: path of its images.
        uids: names of the images in their source, N.
        labels: int64 [N]: place of the claimed class in ``classes``.
        groups: int64 [N]: number of the group (patient) of each image; None where these are not known.
        rows: view -> float32 [N, d]: as `iuscore.explain.value.ReferenceViews.embed` returns them.
        ius: float64 [N]. probabilities: float64 [N, K]. contributions: float64 [N, G], towards the claimed class.
        classes: K names. components: G names.
        n_listed: images of the whole set; N is smaller where only some of them, evenly spread, were read.
        n_unreadable: images of the whole set that could not be read.
    """

    name: str
    source: str
    uids: tuple[str, ...]
    labels: Labels
    groups: Labels | None
    rows: Mapping[View, npt.NDArray[np.float32]]
    ius: Array
    probabilities: Array
    contributions: Array
    classes: tuple[str, ...]
    components: tuple[str, ...]
    n_listed: int
    n_unreadable: int

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def confidence(self) -> Array:
        """Probability of the claimed class, float64 [N]."""
        found: npt.NDArray[Any] = self.probabilities[np.arange(len(self.labels)), self.labels]
        return found
