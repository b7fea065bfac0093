"""What images belong together, such as those of one patient, read from their names."""

from __future__ import annotations

from iuscore.errors import UserError
from iuscore.images.patterns import compiled


class GroupBy:
    """Finds the group of an image, by the same rule as `iuscore.images.with_groups`.

    Args:
        pattern: regular expression searched in the last part of each uid; its first capture group if it has one, else
            the whole match, is the group.

    Raises:
        UserError: not a regular expression.

    Example:
        >>> GroupBy(r"^P_(\\d+)").of("benign/P_07_mass2.png")
        '07'
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = compiled("group_by", pattern)

    def of(self, uid: str) -> str:
        """The group of one image.

        Raises:
            UserError: the pattern is not found in its name.
        """
        match = self._pattern.search(uid.rsplit("/", 1)[-1])
        group: str | None = match and (match[1] if self._pattern.groups else match[0])
        if not group:
            raise UserError(f"group_by: '{self._pattern.pattern}' is not found in the file name of {uid}")
        return group
