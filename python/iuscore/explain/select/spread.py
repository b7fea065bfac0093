"""Sets of images chosen for what they are together: spread over all candidates, or like the real images on average."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from iuscore.explain.select.order import Places

Rows: TypeAlias = "npt.NDArray[np.float32]"
Rule: TypeAlias = "Callable[[Rows, int], Places]"

PAIRS = 1 << 28
"""Pairs of a candidate and a choice, at most, that are looked at for one class: about half a minute of one core."""

CANDIDATES = 200_000
"""Candidates of a class, unless more than half as many are wanted: then twice as many as are wanted."""

MOST = 1_000_000
"""Images that these policies choose, at most, in one class: the rows of their candidates are in memory."""

BLOCK = 4096


def joined_rows(texture: npt.NDArray[Any], patch: npt.NDArray[Any]) -> Rows:
    """Rows of the views ``texture`` and ``patch`` side by side, each over the square root of its width.

    So both weigh the same: the squared distance of two rows is the sum of the mean squared differences of the views.

    Args:
        texture: [n, a]. patch: [n, b]; in standard deviations of real images, as `ReferenceViews.embed` gives them.

    Returns:
        float32 [n, a + b].

    Example:
        >>> joined_rows(np.ones((2, 4)), np.full((2, 1), 3.0)).tolist()[0]
        [0.5, 0.5, 0.5, 0.5, 3.0]
    """
    parts = [np.asarray(view, np.float32) / np.float32(np.sqrt(max(view.shape[1], 1))) for view in (texture, patch)]
    return np.concatenate(parts, axis=1)


def most_candidates(count: int) -> int:
    """Candidates that are drawn at random before ``count`` are chosen among them.

    Example:
        >>> most_candidates(1000), most_candidates(150_000)
        (200000, 300000)
    """
    return max(CANDIDATES, 2 * count)


def in_groups(rule: Rule, rows: Rows, count: int, pairs: int = PAIRS) -> tuple[Places, int]:
    """Choose by ``rule``, in random groups of the candidates where all of them together would take too long.

    Args:
        rule: (rows [n, d], count) -> places of the chosen rows.
        rows: [n, d], in random order, so that a stretch of them is a random group. count: at most n.
        pairs: of a candidate and a choice, at most.

    Returns:
        Places of the chosen rows, and the number of groups.

    Example:
        >>> places, groups = in_groups(lambda rows, count: np.arange(count), np.zeros((10, 1), np.float32), 4, pairs=20)
        >>> places.tolist(), groups
        ([0, 1, 5, 6], 2)
    """
    groups = max(1, min(-(-len(rows) * count // pairs), count))
    found, start = [], 0
    for size, wanted in zip(_shares(len(rows), groups), _shares(count, groups), strict=True):
        found.append(start + rule(rows[start : start + size], wanted))
        start += size
    return np.concatenate(found).astype(np.int64), groups


def _shares(n: int, parts: int) -> Iterator[int]:
    each, more = divmod(n, parts)
    return (each + (i < more) for i in range(parts))


def k_center(rows: Rows, count: int) -> Places:
    """Greedy k-center: each next image is the one farthest from all chosen ones; the first is nearest to the mean.

    The largest distance from any candidate to its nearest chosen one is at most twice the smallest possible.

    Args:
        rows: [n, d]. count: at most n.

    Returns:
        int64 [count], places of the chosen rows in their order; of equal distances the first row wins.

    Source: Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical Computer Science 38
        (1985), 293-306.

    Example:
        >>> k_center(np.array([[0.0], [1.0], [2.0], [9.0]], np.float32), 3).tolist()
        [2, 3, 0]
    """
    squares = np.einsum("ij,ij->i", rows, rows)
    from_mean = rows - rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    nearest = np.full(len(rows), np.inf, np.float32)
    found = np.empty(count, np.int64)
    place = int(np.einsum("ij,ij->i", from_mean, from_mean).argmin())
    del from_mean
    for i in range(count):
        found[i] = place
        np.minimum(nearest, squares + squares[place] - 2 * (rows @ rows[place]), out=nearest)
        nearest[place] = -np.inf
        place = int(nearest.argmax())
    return found


def moment_matching(rows: Rows, count: int, real: Rows) -> Places:
    """Greedy matching of mean and covariance: each next image brings those of the chosen ones nearest to the real ones.

    With x the rows less the mean of ``real``, and C the covariance of ``real``, each step minimizes
    |mean of x|^2 + |mean of x x' - C|^2 over the chosen images (squared entries summed).

    Args:
        rows: [n, d]. count: at most n.
        real: [m, d], real images of the class, in the same columns.

    Returns:
        int64 [count], places of the chosen rows in their order; of equal ones the first row wins.

    Source: herding (Welling, "Herding dynamical weights to learn", ICML 2009) with first and second moments.

    Example:
        >>> rows = np.array([[5.0], [1.0], [-1.0], [0.9]], np.float32)
        >>> moment_matching(rows, 2, np.array([[-1.0], [1.0]], np.float32)).tolist()
        [3, 2]
    """
    wide = np.asarray(real, np.float64)
    center = wide.mean(axis=0)
    covariance = (wide - center).T @ (wide - center) / len(wide)
    x = rows - center.astype(np.float32)
    squares = np.einsum("ij,ij->i", x, x).astype(np.float64)
    wanted = np.concatenate([_form(x[at : at + BLOCK], covariance) for at in range(0, len(x), BLOCK)])
    alone = squares + squares**2
    linear, quadratic = np.zeros(len(x)), np.zeros(len(x))  # m.x and x'Mx for the sums m of s and M of s s'
    found = np.empty(count, np.int64)
    free = np.zeros(len(x))
    for i in range(count):
        place = int((alone + 2 * (linear + quadratic - (i + 1) * wanted) + free).argmin())
        found[i] = place
        free[place] = np.inf
        along = (x @ x[place]).astype(np.float64)
        linear += along
        quadratic += along**2
    return found


def _form(rows: Rows, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """x' A x of each row."""
    wide = rows.astype(np.float64)
    found: npt.NDArray[np.float64] = np.einsum("ij,ij->i", wide @ matrix, wide)
    return found
