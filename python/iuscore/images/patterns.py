"""Regular expressions that users give."""

from __future__ import annotations

import re

from iuscore.errors import UserError

_SHOWN = 80


def compiled(name: str, pattern: str) -> re.Pattern[str]:
    """A regular expression.

    Args:
        name: of the argument, for the message.
        pattern: what was given for it.

    Raises:
        UserError: it is none, or one that is too large or too deep to be compiled.

    Example:
        >>> compiled("group_by", "P_([0-9]+)").search("P_07.png")[1]
        '07'
        >>> compiled("group_by", "a{99999999999}")
        Traceback (most recent call last):
        ...
        iuscore.errors.UserError: group_by: 'a{99999999999}' is not a regular expression: a number in it is too large
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        reason = str(error)
    except OverflowError:
        reason = "a number in it is too large"
    except RecursionError:
        reason = "too many brackets inside each other"
    except MemoryError:
        reason = "there is not enough memory for it"
    shown = pattern if len(pattern) <= _SHOWN else f"{pattern[:_SHOWN]}..."
    raise UserError(f"{name}: '{shown}' is not a regular expression: {reason}")
