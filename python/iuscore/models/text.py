"""Values from files, in messages and in checks: of bounded length, and never a traceback of their own."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import TypeIs

LARGEST = 1e15
"""Magnitude up to which a number is taken for a contribution or a feature: squares of larger ones leave float32."""

_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxlist, _REPR.maxtuple, _REPR.maxdict = 2, 4, 4, 4
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 60


def bounded(value: object) -> str:
    """``repr`` in at most some hundred characters, whatever the value.

    Example:
        >>> bounded([[["deep"]]] * 100)
        '[[[...]], [[...]], [[...]], [[...]], ...]'
        >>> bounded(10**100)
        '1.0e+100'
    """
    if isinstance(value, int) and abs(value) >= 10**18:
        digits = int(value.bit_length() * 0.30103)
        return f"{value:.1e}" if digits < 300 else f"a number of about {digits} digits"
    return _REPR.repr(value)


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
