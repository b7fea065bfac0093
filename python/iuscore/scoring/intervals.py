"""The 95 % interval of a mean, for few values, skewed values, and values in groups.

Scores are bounded and often close to one end of their range. A symmetric interval then misses the true mean too often
(`tests/invariants/test_intervals.py` counts how often). Source of the correction: Hall, "On the removal of skewness by
transformation", Journal of the Royal Statistical Society B 54 (1992), 221-228, with quantiles of Student's t instead
of normal quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

CONFIDENCE = 0.95

MIN_IMAGES = 5
"""Fewest images (groups, if known) for an interval: the standard deviation of fewer is too uncertain."""

_BLOCK = 512  # rows that are summed together, so that the sums do not depend on how the rows arrive


def mean_interval(values: npt.ArrayLike, groups: Sequence[str] | None = None) -> tuple[Array, Array] | None:
    """95 % interval of the mean of each column.

    With the mean m of n rows, their standard deviation s and their adjusted skewness g, let e = s / sqrt(n),
    k = g / sqrt(n) and t the quantile of Student's distribution with n - 1 degrees of freedom. The ends are m - e h(t)
    and m - e h(-t), where h(t) = 3 ((1 + k (t - k / 6))^(1/3) - 1) / k, or t itself without skewness. With groups, n is
    the number of groups, and the sum of a group's differences from the mean takes the place of a row. For groups of
    unequal sizes, the degrees of freedom are those of an effective number of equal groups (`MeanSums.effective`).

    Args:
        values: float [N, G], finite.
        groups: group of each row, such as its patient; rows of one group are not independent. None: all rows are.

    Returns:
        Lower and upper end, each float64 [G]; both equal the value if all rows agree. None for fewer than `MIN_IMAGES`
        rows or (effective) groups.

    Example:
        >>> low, high = mean_interval(np.array([[0.0, 5.0], [1.0, 5.0]] * 50))
        >>> bool(low[0] < 0.5 < high[0]), float(low[1]), float(high[1])
        (True, 5.0, 5.0)
        >>> mean_interval(np.zeros((4, 1))) is None
        True
    """
    sums = MeanSums()
    sums.add(np.asarray(values, dtype=np.float64), groups)
    return sums.interval()


@dataclass(frozen=True)
class _Moments:
    """Number of rows, their mean [G], and sums of second and third powers of the differences from the mean."""

    n: int
    mean: Array
    second: Array
    third: Array

    @classmethod
    def of(cls, values: Array) -> _Moments:
        mean = exact_mean(values)
        rest = values - mean
        return cls(len(values), mean, np.square(rest).sum(axis=0), (rest**3).sum(axis=0))

    def plus(self, more: _Moments) -> _Moments:
        """The moments of both sets of rows together.

        Source: Pebay, "Formulas for robust, one-pass parallel computation of covariances and arbitrary-order
        statistical moments", Sandia report SAND2008-6212.
        """
        n, gap = self.n + more.n, more.mean - self.mean
        third = self.third + more.third + gap**3 * self.n * more.n * (self.n - more.n) / n**2
        third = third + 3 * gap * (self.n * more.second - more.n * self.second) / n
        second = self.second + more.second + np.square(gap) * self.n * more.n / n
        return _Moments(n, self.mean + gap * more.n / n, second, third)


@dataclass
class MeanSums:
    """The sums for a mean and its interval, over rows that are added in parts.

    Rows without groups need constant memory; each group needs its number of rows and their sum. Either all rows have
    groups, or none has. The results have the same bits, however the rows are divided into parts.

    Example:
        >>> sums, values = MeanSums(), np.random.default_rng(0).random((40, 2))
        >>> sums.add(values[:10])
        >>> sums.add(values[10:])
        >>> bool(np.array_equal(sums.interval(), mean_interval(values)))
        True
    """

    n: int = 0
    _done: _Moments | None = None  # moments of all complete blocks
    _rest: list[Array] = field(default_factory=list)  # rows of the incomplete block
    _places: dict[str, int] = field(default_factory=dict)  # group -> its row in ``_sums``
    _sums: Array = field(default_factory=lambda: np.zeros((0, 0)))  # [groups, 1 + G]: number of rows, their sum

    def add(self, values: Array, groups: Sequence[str] | None = None) -> None:
        """Add rows [N, G]."""
        if len(values) == 0:
            return
        self._rest.append(values)
        before, self.n = self.n % _BLOCK, self.n + len(values)
        if before + len(values) >= _BLOCK:
            rows = np.concatenate(self._rest)
            end = len(rows) // _BLOCK * _BLOCK
            for start in range(0, end, _BLOCK):
                self._done = self._with(rows[start : start + _BLOCK])
            self._rest = [rows[end:].copy()] if end < len(rows) else []
        if groups is not None:
            self._add_groups(values, groups)

    def _with(self, rows: Array) -> _Moments:
        more = _Moments.of(rows)
        return more if self._done is None else self._done.plus(more)

    @property
    def _moments(self) -> _Moments:
        if self._rest:
            return self._with(np.concatenate(self._rest))
        if self._done is None:
            raise ValueError("values: expected at least one row")
        return self._done

    @property
    def mean(self) -> Array:
        """Mean of each column, float64 [G]; exact if all rows agree."""
        return self._moments.mean

    def _add_groups(self, values: Array, groups: Sequence[str]) -> None:
        where = np.array([self._places.setdefault(name, len(self._places)) for name in groups])
        if len(self._places) > len(self._sums):
            larger = np.zeros((2 * len(self._places), 1 + values.shape[1]))
            larger[: len(self._sums)] = self._sums if len(self._sums) else 0.0
            self._sums = larger
        np.add.at(self._sums, where, np.insert(values, 0, 1.0, axis=1))

    @property
    def independent(self) -> int:
        """Number of independent observations, that is groups if there are groups, else rows."""
        return len(self._places) or self.n

    @property
    def n_groups(self) -> int | None:
        """Number of groups; None if rows have no groups."""
        return len(self._places) or None

    @property
    def effective(self) -> float:
        """Number of rows; with groups, the number of equal groups that would determine the variance as well.

        For groups of m rows it is (sum m^2)^2 / sum m^4: the formula of Satterthwaite (Biometrics Bulletin 2 (1946),
        110-114) for a sum of squares whose terms have variances proportional to m^2, as for groups of equal rows.
        """
        if not self._places:
            return float(self.n)
        sizes = self._sums[: len(self._places), 0]
        largest = sizes / sizes.max()
        return float((largest**2).sum() ** 2 / (largest**4).sum())

    def variance_of_mean(self) -> Array:
        """Square of the standard error of the mean [G]; NaN for a single row or group.

        Differences from the sample mean are too small on average. The factor corrects this bias, exactly for groups of
        any sizes whose rows agree; for m groups of equal size it is m / (m - 1).
        """
        m = self.independent
        if m < 2:
            return np.full_like(self.mean, np.nan)
        shares = self._sums[:m, 0] / self.n if self._places else np.full(1, 1.0 / m)
        squares, cubes = ((shares**power).sum() * (1 if self._places else m) for power in (2, 3))
        variance: Array = self._spread()[0] * squares / (squares - 2 * cubes + squares**2) / self.n**2
        return variance

    def _spread(self) -> tuple[Array, Array]:
        """Sums of second and third powers of the differences from the mean, over rows or over groups."""
        if not self._places:
            moments = self._moments
            return moments.second, moments.third
        sums = self._sums[: len(self._places)]
        rest = sums[:, 1:] - sums[:, :1] * self.mean
        return np.square(rest).sum(axis=0), (rest**3).sum(axis=0)

    def interval(self) -> tuple[Array, Array] | None:
        """See `mean_interval`."""
        if round(self.effective, 9) < MIN_IMAGES:
            return None
        constant = self._moments.second == 0
        low, high = _ends(self.mean, self.variance_of_mean(), self._skewness_of_mean(), self.effective - 1.0)
        return np.where(constant, self.mean, low), np.where(constant, self.mean, high)

    def _skewness_of_mean(self) -> Array:
        """Skewness of the mean [G]: adjusted skewness of a row, divided by sqrt(n); 0 if all rows agree."""
        m = self.independent
        second, third = self._spread()
        # Divided three times: the third power of a very small or large number leaves the range of float64.
        root = np.sqrt(np.where(second == 0, 1.0, second / m))
        skewness: Array = third / m / root / root / root * np.sqrt(m * (m - 1)) / (m - 2) / np.sqrt(m)
        finite: Array = np.where(np.isfinite(skewness), skewness, 0.0)
        return finite


def mean_of_means(parts: Sequence[MeanSums]) -> tuple[Array, tuple[Array, Array] | None]:
    """Unweighted mean of the means of independent sets, and its 95 % interval.

    As `mean_interval`, with the degrees of freedom of Welch and Satterthwaite. No interval if one of the sets has no
    interval.

    Example:
        >>> sets = [MeanSums(), MeanSums()]
        >>> for values, part in zip(([0.0, 1.0] * 20, [4.0] * 5), sets):
        ...     part.add(np.array(values)[:, None])
        >>> mean, interval = mean_of_means(sets)
        >>> float(mean[0]), bool(interval[0][0] < 2.25 < interval[1][0])
        (2.25, True)
    """
    mean: Array = np.mean([part.mean for part in parts], axis=0)
    if min(round(part.effective, 9) for part in parts) < MIN_IMAGES:
        return mean, None
    variances = np.stack([part.variance_of_mean() for part in parts]) / len(parts) ** 2
    total = variances.sum(axis=0)
    constant = total == 0
    safe = np.where(constant, 1.0, total)
    each = np.array([part.effective - 1.0 for part in parts])[:, None]
    freedom = np.where(constant, 1.0, safe**2 / np.where(constant, 1.0, (variances**2 / each).sum(axis=0)))
    third = np.stack([part._skewness_of_mean() for part in parts]) * variances**1.5
    low, high = _ends(mean, total, third.sum(axis=0) / safe**1.5, freedom)
    return mean, (np.where(constant, mean, low), np.where(constant, mean, high))


def _ends(mean: Array, variance: Array, skewness: Array, freedom: Array | float) -> tuple[Array, Array]:
    """Ends of the interval of a mean, from the variance and skewness of the mean itself."""
    from scipy.special import stdtrit

    reach = stdtrit(freedom, (1 + CONFIDENCE) / 2)
    error = np.sqrt(variance)
    return mean - error * _untransformed(reach, skewness), mean - error * _untransformed(-reach, skewness)


def _untransformed(t: Array, skewness: Array) -> Array:
    """The Student-like statistic whose transformation is ``t``."""
    shifted = t - skewness / 6
    flat = np.abs(skewness) < 1e-6  # use the limit for skewness 0, which is exact to a relative error of 1e-6
    safe = np.where(flat, 1.0, skewness)
    statistic: Array = np.where(flat, shifted, 3 / safe * (np.cbrt(1 + safe * shifted) - 1))
    return statistic


def exact_mean(values: npt.NDArray[np.floating[Any]]) -> Array:
    """Mean over rows [N, G], float64; exact if all rows agree, where a sum would round."""
    mean: Array = values.mean(axis=0, dtype=np.float64)
    constant = np.ptp(values, axis=0) == 0
    mean[constant] = values[0, constant]
    return mean
