"""How images are recognized: a fingerprint of a whole list of files, and short marks of single decoded images.

By its marks a model knows the images that it was made from when it meets them again.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iuscore.errors import UserError
from iuscore.images.sample import Source

KEPT = 2048
"""Marks that a model keeps: of more images the smallest ones, which are a sample drawn by chance."""

_LOOKED_AT = 1 << 14


def fingerprint(source: Source) -> str:
    """SHA-256 in hex over uid, label and content of every image and mask, in uid order: the same data, the same text.

    The folder's own name and place, file dates and the order of the items do not enter.

    Example:
        >>> import tempfile
        >>> from iuscore.images import open_source
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as root:
        ...     _ = Path(root, "a.pgm").write_bytes(b"P5 1 1 255 0")
        ...     fingerprint(open_source(root))[:8]
        'a54a2c6b'
    """
    total = hashlib.sha256()
    for item in sorted(source.items, key=lambda item: item.uid):
        # JSON keeps the three texts apart whatever characters they hold.
        mask = [] if item.mask is None else [item.mask.digest()]
        total.update(json.dumps([item.uid, item.label, item.stored.digest(), *mask]).encode() + b"\n")
    return total.hexdigest()


def mark_of(pixels: NDArray[Any]) -> int:
    """64 bits that are the same for the same pixels, however they are stored.

    Hashed are the shape, the type and some 16,000 bytes spread evenly, so large images take no longer.

    Example:
        >>> image = np.zeros((9, 9, 1), np.uint8)
        >>> mark_of(image) == mark_of(image.copy()), mark_of(image) == mark_of(image + np.uint8(1))
        (True, False)
    """
    content = np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
    spread = content[:: max(1, -(-content.size // _LOOKED_AT))]
    hashed = hashlib.blake2b(f"{pixels.shape} {pixels.dtype.str} ".encode(), digest_size=8)
    hashed.update(spread.tobytes())
    return int.from_bytes(hashed.digest(), "little")


@dataclass(frozen=True)
class KnownImages:
    """Marks of the images that a model was made from.

    Attributes:
        n: number of images.
        marks: of all of them, or the `KEPT` smallest.
    """

    n: int
    marks: frozenset[int]

    @classmethod
    def of(cls, marks: Iterable[int]) -> KnownImages:
        """Those of images with these marks.

        Example:
            >>> KnownImages.of(range(5000)).look_at([7, 4000, 9999])
            (1, 1)
        """
        every = sorted(set(marks))
        return cls(len(every), frozenset(every[:KEPT]))

    def look_at(self, marks: Iterable[int]) -> tuple[int, int]:
        """How many of these images are known, and of how many it can be said."""
        complete, largest = self.n <= len(self.marks), max(self.marks, default=-1)
        looked_at = [mark for mark in marks if complete or mark <= largest]
        return sum(mark in self.marks for mark in looked_at), len(looked_at)

    def to_json(self) -> dict[str, Any]:
        """The marks as they stand in ``config.json``."""
        numbers = np.array(sorted(self.marks), dtype="<u8")
        return {"n": self.n, "marks": base64.b64encode(numbers.tobytes()).decode()}

    @classmethod
    def from_json(cls, value: object, *, where: str = "known_images") -> KnownImages:
        """Read what `to_json` returned; None is no image.

        Raises:
            UserError: it is something else.

        Example:
            >>> known = KnownImages.of([3, 5])
            >>> KnownImages.from_json(known.to_json()) == known
            True
        """
        if value is None:
            return cls(0, frozenset())
        try:
            if not isinstance(value, Mapping) or type(n := value["n"]) is not int:
                raise ValueError
            numbers = np.frombuffer(base64.b64decode(value["marks"], validate=True), dtype="<u8").tolist()
            if not len(numbers) == min(n, KEPT):
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{where}: expected n and marks of the images of a model; fit the model again") from None
        return cls(n, frozenset(numbers))
