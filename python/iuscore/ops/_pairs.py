"""Which pixels make a pair: distances and angles by scikit-image's rounding, or offsets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

Offset: TypeAlias = "tuple[int, int]"

FOUR_ANGLES = (0.0, math.pi / 4.0, math.pi / 2.0, 3.0 * math.pi / 4.0)
_LARGEST = 2**31 - 1


def pair_offsets(
    distances: Sequence[float], angles: Sequence[float], offsets: Sequence[Offset] | None
) -> tuple[tuple[Offset, ...], tuple[int, ...]]:
    """Offsets (rows down, columns to the right), and the shape of the axes they stand for: (D, A) or (O,).

    Raises:
        TypeError: an offset that is no pair of integers. ValueError: none, one too large, or a value not finite.
    """
    if offsets is not None:
        pairs = tuple(_offset(offset) for offset in offsets)
        if not pairs:
            raise ValueError("offsets: expected at least one (rows, columns), got none")
        return pairs, (len(pairs),)
    for name, values in (("distances", distances), ("angles", angles)):
        if not isinstance(values, Sequence | np.ndarray) or isinstance(values, str):
            raise TypeError(f"{name}: expected a sequence of numbers, got {type(values).__name__}")
        if len(values) == 0 or not all(math.isfinite(value) for value in values):
            raise ValueError(f"{name}: expected at least one finite number, got {values!r}")
    if not all(0.0 <= d <= _LARGEST for d in distances):
        raise ValueError(f"distances: expected 0 or more and below 2^31, got {distances!r}")
    pairs = tuple((_round(math.sin(a) * d), _round(math.cos(a) * d)) for d in distances for a in angles)
    return pairs, (len(distances), len(angles))


def _offset(offset: Offset) -> Offset:
    if not isinstance(offset, Sequence | np.ndarray) or len(offset) != 2:
        raise TypeError(f"offsets: expected pairs (rows, columns), got {offset!r}")
    if any(isinstance(x, bool) or not isinstance(x, int | np.integer) for x in offset):
        raise TypeError(f"offsets: expected pairs of integers, got {offset!r}")
    if any(abs(int(x)) > _LARGEST for x in offset):
        raise ValueError(f"offsets: expected magnitudes below 2^31, got {offset!r}")
    return int(offset[0]), int(offset[1])


def _round(value: float) -> int:
    """To the nearest integer, half away from zero, as C's ``round``."""
    size = abs(value)
    whole = math.floor(size)
    return int(math.copysign(whole + (size - whole >= 0.5), value))
