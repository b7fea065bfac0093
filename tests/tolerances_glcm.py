"""How far two implementations of a co-occurrence feature may be apart, derived and not fitted.

u = 2^-53. A float64 sum of n terms, each after at most five roundings, is off by at most (n + 5) u times the sum of the
terms' magnitudes, in any order; n is at most 256^2, so relative to that sum by SUM = 65541 u < 7.3e-12. One side of a
comparison is such a sum, the other one too or an integer sum that is exact, so 2 SUM covers both.

- Sums of terms that are not negative (most features): 2 SUM of the value. sqrt halves a relative error.
- A mean of levels: 2 SUM of it, so d = 2 SUM (m + n) for the center of a cluster. Central moments of power k move by
  k d times the moment of power k - 1 of magnitudes, besides 2 SUM of the moment of power k of magnitudes.
- correlation: covariance and variances move by 2 SUM each, relative to the product of the deviations, and by d^2, which
  shows where a deviation is small against the mean.
- Entropies: 2 SUM (1 + H), for the logarithm of rounded p, and the fixed point, a third of 2^-shift and roundings
  (csrc/core/entropy.h): at most 2^-44 for the images of at most 2^13 pixels that this is used for.
- imc1: three entropies over the larger one. imc2: 1 - imc2^2 = exp(-2 I) moves by 2 exp(-2 I) times the error of I, so
  the squares are compared.
- difference_variance_of_bins: a difference of terms up to 1; absolute.
- maximal correlation: squares again, which are eigenvalues; a solver's backward error, 1e-12 of a matrix of norm 1,
  moves eigenvalues of the reference's nonsymmetric matrix by that times the condition of its eigenvectors, at most
  sqrt(max P / min P) <= sqrt(N) < 100 here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

SUM = 65541.0 * 2.0**-53
FIXED_POINT = 2.0**-44
ENTROPIES = {"entropy", "joint_entropy", "sum_entropy", "difference_entropy"}
SQUARED = {"imc2", "maximal_correlation_coefficient"}
FLOAT32 = 2.0**-24


def bound(name: str, counts: npt.NDArray[np.int64], values: Mapping[str, float]) -> float:
    """Of a feature of a matrix with these values; of its square for SQUARED."""
    p = counts / max(int(counts.sum()), 1)
    i, j = np.mgrid[: len(p), : len(p)]
    m, n = float((p * i).sum()), float((p * j).sum())
    shift = 2.0 * SUM * (m + n)
    entropy = 2.0 * SUM * (1.0 + values["joint_entropy"]) + FIXED_POINT
    if name in ("cluster_shade", "cluster_prominence"):
        power = 3 if name == "cluster_shade" else 4
        away = abs(i + j - m - n)
        return float(2.0 * SUM * (p * away**power).sum() + power * shift * (p * away ** (power - 1)).sum() + shift**2)
    if name in ("variance", "joint_variance", "sum_variance", "cluster_tendency", "difference_variance"):
        return 2.0 * SUM * values[name] + shift**2
    if name == "std":
        return 2.0 * SUM * values[name] + shift
    if name == "correlation":
        least = min(float((p * (i - m) ** 2).sum()), float((p * (j - n) ** 2).sum()))
        return 8.0 * SUM + (2.0 * shift**2 / least if least > 0.0 else 0.0)
    if name in ENTROPIES:
        return entropy
    if name == "imc1":
        rows, columns = p.sum(1), p.sum(0)
        most = max(float(-(x * np.log2(np.where(x > 0, x, 1.0))).sum()) for x in (rows, columns))
        return 4.0 * entropy / most if most > 0.0 else 0.0
    if name == "imc2":
        return 6.0 * entropy
    if name == "maximal_correlation_coefficient":
        return 1e-10
    if name == "difference_variance_of_bins":
        return 4.0 * SUM
    return 2.0 * SUM * abs(values[name])


def assert_features(
    got: npt.NDArray[np.float64],
    names: tuple[str, ...],
    counts: npt.NDArray[np.int64],
    values: Mapping[str, float],
    rounding: float = 0.0,
) -> None:
    """got [F] are the features of counts [L, L]; rounding: relative, of a narrower type they were written in."""
    for value, name in zip(got, names, strict=True):
        expected, limit = values[name], bound(name, counts, values)
        square = name in SQUARED
        error = abs(value**2 - expected**2) if square else abs(value - expected)
        limit += rounding * (2.0 * expected**2 if square else abs(expected))
        assert math.isfinite(value), f"{name}: {value}"
        assert error <= limit, f"{name}: {value!r}, expected {expected!r} within {limit:.2g}{' (squares)' * square}"
