"""Counts of what was said of images, in bounded memory: the texts come from files, and may differ in every one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

MAX_TEXTS = 100
"""Kinds of texts that are counted one by one."""

LONGEST = 300
"""Characters of one text."""

OTHERS = "other texts"

_DIFFERENT = re.compile(r"'[^']*'|\"[^\"]*\"|\S*/\S*|[-+]?\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)?")


def shortened(text: str) -> str:
    """A text of at most `LONGEST` characters.

    Example:
        >>> len(shortened("x" * 10_000))
        300
    """
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


class TextCounts:
    """Counts texts; those that differ only by numbers, quoted words or paths count as one kind.

    Args:
        always: texts that are counted however many others there are.

    Example:
        >>> counts = TextCounts()
        >>> counts.add(["too large: 90000 x 1 pixels", "too large: 80000 x 1 pixels", "empty file (0 bytes)"])
        >>> counts.to_json()
        {'too large: ... x ... pixels': 2, 'empty file (0 bytes)': 1}
    """

    def __init__(self, always: Collection[str] = ()) -> None:
        self._always = frozenset(always)
        self._n: dict[str, int] = {}
        self._text: dict[str, str] = {}  # what was said, as long as a kind has one text only
        self.total = 0

    def add(self, texts: Iterable[str]) -> None:
        """Count texts."""
        for text in texts:
            self.total += 1
            said = shortened(text)
            kind = said if said in self._always else _DIFFERENT.sub("...", said)
            if kind not in self._n and kind not in self._always and len(self._n) >= MAX_TEXTS:
                kind = said = OTHERS
            self._n[kind] = self._n.get(kind, 0) + 1
            if self._text.setdefault(kind, said) != said:
                self._text[kind] = kind

    def __getitem__(self, text: str) -> int:
        """How often a text that is ``always`` counted was said."""
        return self._n.get(text, 0)

    def to_json(self) -> dict[str, int]:
        """Text -> count, the most frequent first; where texts of one kind differ, "..." stands for what differs."""
        ordered = sorted(self._n, key=lambda kind: -self._n[kind])
        return {self._text[kind]: self._n[kind] for kind in ordered}
