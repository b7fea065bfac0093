"""Checks of numbers from files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import TypeIs

LARGEST = 1e15
"""Magnitude up to which a number is taken for a contribution or a feature: squares of larger ones leave float32."""


def is_number(value: object) -> TypeIs[int | float]:
    """Whether ``value`` is a number, no truth value, finite and of a magnitude up to `LARGEST`.

    Example:
        >>> is_number(0.5), is_number(True), is_number(1e300), is_number(10**400), is_number("1")
        (True, False, False, False, False)
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def is_numbers(value: object) -> TypeIs[Sequence[Any]]:
    """Whether ``value`` is a sequence of such numbers.

    Example:
        >>> is_numbers([1, 2.5]), is_numbers([float("nan")]), is_numbers("12")
        (True, False, False)
    """
    return isinstance(value, Sequence) and not isinstance(value, str | bytes) and all(map(is_number, value))
