"""Errors that a user can mend."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake in what the user gave: a path, a class name, an option, a file's content.

    The message says what was expected, what came and what to do. The command line prints it as
    one line and exits with 2; in Python it is an ordinary ``ValueError``.

    Example:
        >>> raise UserError("no class 'wbc': the model knows benign, malignant")
        Traceback (most recent call last):
        ...
        iuscore.errors.UserError: no class 'wbc': the model knows benign, malignant
    """
