"""`UserError`, for mistakes that a user can correct, and helpers for its messages."""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Iterable

# A name from a file may have a million characters. The end of a message is kept: it says what to do.
_LONGEST, _END = 1000, 400

_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxlist, _REPR.maxtuple, _REPR.maxdict = 2, 4, 4, 4
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 60


class UserError(ValueError):
    """A mistake in what the user gave: a path, a class name, an option, a file's content.

    The message says what was expected, what was given and what to do. The command line prints it as one line and exits
    with 2; in Python it is an ordinary ``ValueError``. Beyond 1,000 characters, the middle of the message is left out.

    Example:
        >>> raise UserError("no class 'wbc': the model knows benign, malignant")
        Traceback (most recent call last):
        ...
        iuscore.errors.UserError: no class 'wbc': the model knows benign, malignant
    """

    def __init__(self, message: str = "") -> None:
        if len(message) > _LONGEST:
            message = f"{message[: _LONGEST - _END - 5]} ... {message[-_END:]}"
        super().__init__(message)


def class_named(name: str, classes: Collection[str]) -> str | None:
    """The class called ``name``: an exact match, else the only class that differs in upper and lower case alone.

    All functions and options that take the name of a class use this rule.

    Example:
        >>> [class_named(name, ["wbc", "rbc", "a", "A"]) for name in ("wbc", "WBC", "A", "platelets")]
        ['wbc', 'wbc', 'A', None]
    """
    if name in classes:
        return name
    alike = [each for each in classes if each.casefold() == name.casefold()]
    return alike[0] if len(alike) == 1 else None


def closest_match(name: str, choices: Iterable[str]) -> str | None:
    """The one of ``choices`` that ``name`` may mean: in another case, or with a typing error; None if none is close.

    Example:
        >>> [closest_match(name, ["benign", "malignant"]) for name in ("Benign", "malignent", "x")]
        ['benign', 'malignant', None]
    """
    from difflib import get_close_matches

    by_folded = {choice.casefold(): choice for choice in reversed(list(choices))}
    close = get_close_matches(name.casefold(), by_folded, n=1)
    return by_folded[close[0]] if close else None


def bounded(value: object) -> str:
    """``repr`` of any value, in at most a few hundred characters.

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
