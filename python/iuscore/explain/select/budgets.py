"""How many images of each class are to be chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from iuscore.errors import UserError, bounded, class_named, closest_match


@dataclass(frozen=True)
class Budget:
    """How many images are wanted: one of the three.

    Attributes:
        count: of all classes together, as many of each: of the remainder, the first classes get one more each.
        fraction: share of the scored images of each class, in (0, 1]; halves are rounded up, and it is at least one.
        per_class: class -> number.

    Raises:
        UserError: none of the three or several; a number below 1; a fraction that is none.

    Example:
        >>> Budget(count=5).of({"benign": 40, "malignant": 10})
        {'benign': 3, 'malignant': 2}
        >>> Budget(fraction=0.25).of({"benign": 40, "malignant": 10})
        {'benign': 10, 'malignant': 3}
    """

    count: int | None = None
    fraction: float | None = None
    per_class: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("count", "fraction", "per_class") if getattr(self, name) is not None]
        if len(given) != 1:
            got = "none of them" if not given else " and ".join(given)
            raise UserError(f"expected one of count, fraction and per_class, got {got}: give how many images you want")
        if self.count is not None and not _is_number_of_images(self.count):
            raise UserError(f"count: expected a whole number of at least 1, got {bounded(self.count)}")
        if self.fraction is not None and not (
            isinstance(self.fraction, float | int) and not isinstance(self.fraction, bool) and 0 < self.fraction <= 1
        ):
            raise UserError(f"fraction: expected a number above 0, at most 1, got {bounded(self.fraction)}")
        for name, number in (self.per_class or {}).items():
            if not _is_number_of_images(number):
                raise UserError(
                    f"per_class: {name}: expected a whole number of at least 1, got {bounded(number)}; "
                    "leave out a class of which no image is wanted"
                )
        if self.per_class is not None and not self.per_class:
            raise UserError("per_class: expected a number for one class at least, such as benign=200, got none")

    def of(self, scored: Mapping[str, int]) -> dict[str, int]:
        """Class -> number of images to choose.

        Args:
            scored: class -> its scored images, of each class that an image claims, in the order of the classes.

        Raises:
            UserError: fewer images than classes, or a class that is not there.
        """
        present = dict(scored)
        if self.per_class is not None:
            return self._named(present)
        if self.fraction is not None:
            return {name: max(1, math.floor(self.fraction * n + 0.5)) for name, n in present.items()}
        assert self.count is not None
        if self.count < len(present):
            raise UserError(
                f"count: expected at least {len(present)}, one for each of {', '.join(present)}, got {self.count}; "
                "per_class chooses from some classes alone"
            )
        each, more = divmod(self.count, len(present))
        return {name: each + (i < more) for i, name in enumerate(present)}

    def _named(self, present: Mapping[str, int]) -> dict[str, int]:
        assert self.per_class is not None
        found: dict[str, int] = {}
        for name, number in self.per_class.items():
            known = class_named(name, list(present))
            if known is None:
                close = closest_match(name, present)
                raise UserError(
                    f"per_class: no image claims class {name!r}: the run has {', '.join(present)}"
                    + (f"; did you mean {close}={number}?" if close else "")
                )
            if known in found:
                raise UserError(f"per_class: class {known} comes twice")
            found[known] = number
        return {name: found[name] for name in present if name in found}

    @property
    def words(self) -> str:
        """What was asked for.

        Example:
            >>> Budget(count=1000).words, Budget(fraction=0.25).words, Budget(per_class={"benign": 2}).words
            ('1000 images, as many of each class', '0.25 of each class', 'benign=2')
        """
        if self.per_class is not None:
            return ",".join(f"{name}={number}" for name, number in self.per_class.items())
        return f"{self.count} images, as many of each class" if self.count else f"{self.fraction:g} of each class"


def _is_number_of_images(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def parse_per_class(text: str) -> dict[str, int]:
    """``benign=200,malignant=300`` as class -> number.

    Raises:
        UserError: a part without a number, or a class that comes twice.

    Example:
        >>> parse_per_class("benign=200, malignant=300")
        {'benign': 200, 'malignant': 300}
    """
    found: dict[str, int] = {}
    for part in text.split(","):
        name, _, number = (piece.strip() for piece in part.rpartition("="))
        if not name or not (number.isascii() and number.isdecimal() and len(number) < 19):
            raise UserError(
                f"--per-class: expected CLASS=NUMBER with commas, such as benign=200,malignant=300, got {bounded(text)}"
            )
        if name in found:
            raise UserError(f"--per-class: class {name} comes twice in {bounded(text)}")
        found[name] = int(number)
    return found
