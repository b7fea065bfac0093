"""Distributions of scores that a report draws; the caller counts them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from iuscore.errors import bounded

Score = Literal["ius", "value"]

RANGES: Mapping[Score, tuple[float, float]] = MappingProxyType({"ius": (-1.0, 1.0), "value": (0.0, 1.0)})
"""Score -> first and last edge of its bins. ``value`` is the place of an image among the images of its class of all
compared sets, 0 (least useful) to 1."""

BINS: Mapping[Score, int] = MappingProxyType({"ius": 40, "value": 20})
"""Score -> number of its bins, all of one width."""


@dataclass(frozen=True)
class ScoreReference:
    """Scores of held-out real images, drawn below a distribution.

    Attributes:
        n: number of images.
        mean: of their scores.
        low, high: lower and upper quartile of their scores; None where they are not known.
    """

    n: int
    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ScoreHistogram:
    """How the scores of the images of one class of one set are distributed.

    Attributes:
        set_name: name of the set, as in `iuscore.explain.compare.ComparedSet`.
        target: the class that the images claim.
        score: which score.
        counts: images in each of the `BINS` bins over `RANGES`; the last bin includes its upper edge.
        ceiling: the same score of held-out real images of the class; None where it is not known.
        floor: of held-out real images of the other classes; None likewise.

    Raises:
        ValueError: another number of bins, or a negative count.

    """

    set_name: str
    target: str
    score: Score
    counts: tuple[int, ...]
    ceiling: ScoreReference | None = None
    floor: ScoreReference | None = None

    def __post_init__(self) -> None:
        if self.score not in BINS:
            raise ValueError(f"score: expected 'ius' or 'value', got {bounded(self.score)}")
        if len(self.counts) != BINS[self.score]:
            raise ValueError(f"counts: expected {BINS[self.score]} bins of {self.score!r}, got {len(self.counts)}")
        if min(self.counts) < 0:
            raise ValueError(f"counts: expected numbers of images, got {min(self.counts)}")

    @classmethod
    def of(
        cls,
        set_name: str,
        target: str,
        score: Score,
        values: npt.ArrayLike,
        ceiling: ScoreReference | None = None,
        floor: ScoreReference | None = None,
    ) -> ScoreHistogram:
        """Count scores.

        Args:
            set_name, target, score, ceiling, floor: of the histogram.
            values: [N], scores in `RANGES`; those that are not finite are left out, others beyond an end count there.

        Example:
            >>> found = ScoreHistogram.of("gan", "benign", "value", [0.0, 0.01, 0.5, 1.0, float("nan")])
            >>> found.n, found.counts[0], found.counts[10], found.counts[-1]
            (4, 2, 1, 1)
        """
        if score not in BINS:
            raise ValueError(f"score: expected 'ius' or 'value', got {bounded(score)}")
        given = np.asarray(values, dtype=np.float64).ravel()
        counts, _ = np.histogram(given[np.isfinite(given)].clip(*RANGES[score]), BINS[score], RANGES[score])
        return cls(set_name, target, score, tuple(counts.tolist()), ceiling, floor)

    @property
    def n(self) -> int:
        """Number of images."""
        return sum(self.counts)
