"""Integer weights of `resize`: one table for all back ends, so that they have the same bits."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from iuscore.ops._constants import MAX_RESIZE_SHIFT

_CUBIC = -0.5  # Keys' parameter with which the kernel is Catmull-Rom's
_REACH = 2.0  # pixels that the kernel reaches to either side where nothing shrinks


class Taps(NamedTuple):
    """One direction of a resize: output o = (sum over j of weights[o, j] * input[start[o] + j]) / 2^shift, rounded.

    Attributes:
        start: int32 [out].
        weights: int16 [out, taps], filled up with zeros.
        shift: fraction bits of the weights.
    """

    start: npt.NDArray[np.int32]
    weights: npt.NDArray[np.int16]
    shift: int


@functools.lru_cache(maxsize=64)
def taps(size: int, out: int) -> Taps:
    """Weights that bring ``size`` pixels to ``out``: Keys' cubic, stretched where it shrinks, cut at the border.

    Source: Keys, "Cubic convolution interpolation for digital image processing", IEEE ASSP 1981; the rounding of
        the weights is that of PyTorch's 8-bit resize.

    Example:
        >>> taps(8, 4).weights[1].tolist(), taps(8, 4).shift
        ([-2277, 7338, 28087, 28087, 7338, -2277, -759], 16)
    """
    scale = size / out
    stretch = max(scale, 1.0)
    center = scale * (np.arange(out) + 0.5)
    first, end = windows(size, out)
    most = int((end - first).max())
    index = first[:, None] + np.arange(most)
    values = np.where(index < end[:, None], _cubic((index - center[:, None] + 0.5) * (1.0 / stretch)), 0.0)
    total = np.zeros(out)
    for column in values.T:  # in order, as a loop would add them
        total += column
    values *= (1.0 / total)[:, None]
    largest = values.max()
    shift = 0
    while shift < MAX_RESIZE_SHIFT and int(0.5 + largest * (1 << (shift + 1))) < 1 << 15:
        shift += 1
    scaled = values * (1 << shift)
    weights = np.trunc(scaled + np.where(scaled < 0, -0.5, 0.5)).astype(np.int16)
    return Taps(first.astype(np.int32), weights, shift)


def windows(size: int, out: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First pixel that each output is made of and the one after the last, int64 [out] each.

    Example:
        >>> [end.tolist() for end in windows(8, 4)]
        [[0, 0, 1, 3], [5, 7, 8, 8]]
    """
    scale = size / out
    reach = _REACH * max(scale, 1.0)
    center = scale * (np.arange(out) + 0.5)
    first = np.maximum((center - reach + 0.5).astype(np.int64), 0)  # truncated: values below 0 become 0 anyway
    return first, np.minimum((center + reach + 0.5).astype(np.int64), size)


def _cubic(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    x = np.abs(x)
    near = ((_CUBIC + 2.0) * x - (_CUBIC + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * _CUBIC
    return np.where(x < 1.0, near, np.where(x < _REACH, far, 0.0))
