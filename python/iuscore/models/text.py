"""Values that were read from files: checks of numbers, and words of older versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from iuscore.ops.perceptual_maps import RENAMED_MODES

if TYPE_CHECKING:
    from typing_extensions import TypeIs

LARGEST = 1e15
"""Largest magnitude of a contribution or feature: squares of larger numbers overflow in float32."""


def is_number(value: object) -> TypeIs[int | float]:
    """Whether ``value`` is a finite number (not a bool) of a magnitude up to `LARGEST`.

    Example:
        >>> is_number(0.5), is_number(True), is_number(1e300), is_number(10**400), is_number("1")
        (True, False, False, False, False)
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def is_numbers(value: object) -> TypeIs[Sequence[Any]]:
    """Whether ``value`` is a sequence of numbers that `is_number` accepts.

    Example:
        >>> is_numbers([1, 2.5]), is_numbers([float("nan")]), is_numbers("12")
        (True, False, False)
    """
    return isinstance(value, Sequence) and not isinstance(value, str | bytes) and all(map(is_number, value))


def with_present_mode(model: Any) -> Any:
    """The description of a model, with the present name of its mode in place of that of version 0.1.

    Example:
        >>> with_present_mode({"mode": "paper", "size": [8, 8]})
        {'mode': 'published', 'size': [8, 8]}
    """
    mode = model.get("mode") if isinstance(model, Mapping) else None
    return {**model, "mode": RENAMED_MODES[mode]} if isinstance(mode, str) and mode in RENAMED_MODES else model
