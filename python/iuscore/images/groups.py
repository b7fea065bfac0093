"""Which images belong together, such as those of one patient, read from their names."""

from __future__ import annotations

from iuscore.errors import UserError
from iuscore.images.patterns import compiled


class GroupBy:
    r"""Finds the group of an image in its name, for `iuscore fit` and `iuscore score` alike.

    Args:
        pattern: regular expression searched in the last part of each uid, or in the whole uid where the expression
            holds a slash; its first capture group if it has one, else the whole match, is the group.

    Raises:
        UserError: not a regular expression.

    Example:
        >>> GroupBy(r"^P_(\d+)").of("benign/P_07_mass2.png"), GroupBy("/(P[^/]+)/").of("benign/P_07/2.png")
        ('07', 'P_07')
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = compiled("group_by", pattern)
        self._whole = "/" in pattern

    def of(self, uid: str) -> str:
        """The group of one image.

        Raises:
            UserError: the pattern is not found in its name.
        """
        match = self._pattern.search(uid if self._whole else uid.rsplit("/", 1)[-1])
        group: str | None = match and (match[1] if self._pattern.groups else match[0])
        if not group:
            where = "path" if self._whole else "file name"
            raise UserError(f"group_by: '{self._pattern.pattern}' is not found in the {where} of {uid}")
        return group
