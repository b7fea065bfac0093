"""The order in which images are chosen: random keys that follow from their names, scores, and what copies cost."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Keys: TypeAlias = "npt.NDArray[np.uint64]"
Places: TypeAlias = "npt.NDArray[np.int64]"
Numbers: TypeAlias = "npt.NDArray[np.float64]"

LARGE_SHARE = 3
"""Near copies count less where a class is thinned out to one part in so many, or to less."""


def name_digests(names: Iterable[bytes], count: int) -> Keys:
    """A 64-bit number for each name, the same on every machine: the first bytes of BLAKE2b.

    Args:
        names: uids in UTF-8. count: their number.

    Returns:
        uint64 [count].

    Example:
        >>> name_digests([b"a.png", b"b.png"], 2).tolist() == name_digests([b"b.png", b"a.png"], 2)[::-1].tolist()
        True
    """
    digests = b"".join(blake2b(name, digest_size=8).digest() for name in names)
    return np.frombuffer(digests, "<u8", count).astype(np.uint64)


def random_keys(digests: Keys, seed: int, draw: int = 0) -> Keys:
    """Random keys of images: the k smallest are a random draw of k of them, whatever else is there.

    Args:
        digests: uint64 [N], of `name_digests`.
        seed, draw: another pair gives other keys.

    Returns:
        uint64 [N].

    Source: the mixing function of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
        OOPSLA 2014).

    Example:
        >>> digests = name_digests([b"a.png", b"b.png"], 2)
        >>> (random_keys(digests, 0) == random_keys(digests, 1)).any()
        np.False_
    """
    salt = _mixed(_mixed(np.array([seed], np.uint64)) + np.uint64(draw))
    return _mixed(digests ^ salt)


def _mixed(values: Keys) -> Keys:
    with np.errstate(over="ignore"):
        x = values + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def rank_sum(texture: npt.NDArray[Any], patch: npt.NDArray[Any]) -> Numbers:
    """Value of images: the rank of the Shapley value in ``texture`` plus that in ``patch``, equal ones sharing theirs.

    Args:
        texture, patch: [N]; NaN where an image has none.

    Returns:
        float64 [N], 2 (least) to 2 N; NaN likewise.

    Example:
        >>> rank_sum(np.array([0.1, np.nan, 0.3, 0.3]), np.array([1.0, np.nan, 2.0, 0.0])).tolist()
        [3.0, nan, 5.5, 3.5]
    """
    from scipy.stats import rankdata

    found = np.full(len(texture), np.nan)
    known = np.isfinite(texture) & np.isfinite(patch)
    found[known] = rankdata(texture[known]) + rankdata(patch[known])
    return found


def standardized(values: npt.NDArray[Any]) -> Numbers:
    """In standard deviations from their mean; all 0 where they are all equal.

    Example:
        >>> standardized(np.array([1.0, 3.0])).tolist(), standardized(np.array([2.0, 2.0])).tolist()
        ([-1.0, 1.0], [0.0, 0.0])
    """
    wide = np.asarray(values, np.float64)
    centered: Numbers = wide - (wide.mean() if len(wide) else 0.0)
    sd = float(np.sqrt(np.square(centered).mean())) if len(wide) else 0.0
    return centered / sd if sd > 0 else np.zeros_like(centered)


def discounts_copies(wanted: int, scored: int) -> bool:
    """Whether near copies count less: where a third or less of a class is wanted.

    Example:
        >>> discounts_copies(10, 30), discounts_copies(11, 30)
        (True, False)
    """
    return LARGE_SHARE * wanted <= scored


def discounted(scores: Numbers, copies: npt.NDArray[Any]) -> Numbers:
    """Scores in standard deviations, less log2 of the number of near copies.

    Args:
        scores: [N], in standard deviations.
        copies: [N], images that are nearly the same, itself included: 1 or more.

    Example:
        >>> discounted(np.array([1.0, 1.0, 0.5]), np.array([1, 4, 1])).tolist()
        [1.0, -1.0, 0.5]
    """
    found: Numbers = scores - np.log2(np.maximum(copies, 1))
    return found


def best_first(scores: npt.NDArray[Any], keys: Keys) -> Places:
    """Places of images, the highest score first; of equal ones, the smaller key first.

    Example:
        >>> best_first(np.array([0.5, 0.9, 0.5]), np.array([7, 8, 3], np.uint64)).tolist()
        [1, 2, 0]
    """
    return np.lexsort((keys, -np.asarray(scores, np.float64))).astype(np.int64)


def without_twins(order: Places, twins: Keys) -> Places:
    """``order`` with the first of the images of one number in ``twins``; 0 stands for an image like no other.

    Args:
        order: places of images. twins: uint64 [N], equal where features are equal.

    Example:
        >>> without_twins(np.array([3, 1, 0, 2]), np.array([5, 0, 7, 5], np.uint64)).tolist()
        [3, 1, 2]
    """
    found = twins[order]
    kept = found == 0
    kept[np.unique(found, return_index=True)[1]] = True
    left: Places = order[kept]
    return left
