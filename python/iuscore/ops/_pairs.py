"""Which pixels make a pair: distances and angles by scikit-image's rounding, or offsets."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from iuscore.ops._arguments import is_whole, numbers, shown

Offset: TypeAlias = "tuple[int, int]"

FOUR_ANGLES = (0.0, math.pi / 4.0, math.pi / 2.0, 3.0 * math.pi / 4.0)
MAX_PAIRS = 4096  # offsets of one call: time and memory grow with their number
_LARGEST = 2**31 - 1
_HUGE = sys.float_info.max


def pair_offsets(
    distances: float | Sequence[float], angles: float | Sequence[float], offsets: Sequence[Offset] | None
) -> tuple[tuple[Offset, ...], tuple[int, ...]]:
    """Offsets (rows down, columns to the right), and the shape of the axes they stand for: (D, A) or (O,).

    Raises:
        TypeError: no numbers, or an offset that is no pair of integers. ValueError: none, one too large, or a value not
            finite.
    """
    if offsets is not None:
        if not isinstance(offsets, Sequence | np.ndarray) or isinstance(offsets, str | bytes):
            raise TypeError(f"offsets: expected pairs (rows, columns), got {shown(offsets)}")
        pairs = tuple(_offset(offset) for offset in offsets)
        if not pairs:
            raise ValueError("offsets: expected at least one (rows, columns), got none")
        if len(pairs) > MAX_PAIRS:
            raise ValueError(f"offsets: expected at most {MAX_PAIRS}, got {len(pairs)}; make several calls")
        return pairs, (len(pairs),)
    far, turned = numbers("distances", distances), numbers("angles", angles)
    for name, given, values in (("distances", distances, far), ("angles", angles, turned)):
        if not values or not all(-_HUGE < value < _HUGE for value in values):  # also integers that no float can be
            raise ValueError(f"{name}: expected at least one finite number, got {shown(given)}")
    if min(far) < 0.0 or max(far) > _LARGEST:
        raise ValueError(f"distances: expected 0 or more and below 2^31, got {shown(distances)}")
    if len(far) * len(turned) > MAX_PAIRS:
        raise ValueError(
            f"distances, angles: expected at most {MAX_PAIRS} pairs of one of each, got {len(far)} x {len(turned)}; "
            "make several calls"
        )
    return _rounded(far, turned), (len(far), len(turned))


def _rounded(distances: tuple[float, ...], angles: tuple[float, ...]) -> tuple[Offset, ...]:
    return tuple((_round(math.sin(a) * d), _round(math.cos(a) * d)) for d in distances for a in angles)


def _offset(offset: Offset) -> Offset:
    if not isinstance(offset, Sequence | np.ndarray) or len(offset) != 2:
        raise TypeError(f"offsets: expected pairs (rows, columns), got {shown(offset)}")
    if not all(is_whole(x) for x in offset):
        raise TypeError(f"offsets: expected pairs of integers, got {shown(offset)}")
    if any(abs(int(x)) > _LARGEST for x in offset):
        raise ValueError(f"offsets: expected magnitudes below 2^31, got {shown(offset)}")
    return int(offset[0]), int(offset[1])


def _round(value: float) -> int:
    """To the nearest integer, half away from zero, as C's ``round``."""
    size = abs(value)
    whole = math.floor(size)
    return int(math.copysign(whole + (size - whole >= 0.5), value))
