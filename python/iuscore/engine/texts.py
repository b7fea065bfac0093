"""Counts of warnings and errors in bounded memory: their texts may contain names from files, so all may differ."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

MAX_TEXTS = 100
"""Most texts with a count of their own; all further texts share one count."""

LONGEST = 300
"""Most characters of one text."""

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
    """Counts texts; texts that differ only in numbers, quoted words or paths share one count (one pattern).

    Args:
        always: texts that keep a count of their own, however many other texts there are.

    Example:
        >>> counts = TextCounts()
        >>> counts.add(["too large: 90000 x 1 pixels", "too large: 80000 x 1 pixels", "empty file (0 bytes)"])
        >>> counts.to_json()
        {'too large: ... x ... pixels': 2, 'empty file (0 bytes)': 1}
    """

    def __init__(self, always: Collection[str] = ()) -> None:
        self._always = frozenset(always)
        self._n: dict[str, int] = {}
        self._text: dict[str, str] = {}  # pattern -> its text, or the pattern itself once two texts share it
        self.total = 0

    def add(self, texts: Iterable[str]) -> None:
        """Count texts."""
        for text in texts:
            self.total += 1
            short = shortened(text)
            pattern = short if short in self._always else _DIFFERENT.sub("...", short)
            if pattern not in self._n and pattern not in self._always and len(self._n) >= MAX_TEXTS:
                pattern = short = OTHERS
            self._n[pattern] = self._n.get(pattern, 0) + 1
            if self._text.setdefault(pattern, short) != short:
                self._text[pattern] = pattern

    def __getitem__(self, text: str) -> int:
        """The count of a text in ``always``."""
        return self._n.get(text, 0)

    def to_json(self) -> dict[str, int]:
        """Text -> count, the most frequent first; "..." stands for the words in which counted texts differ."""
        ordered = sorted(self._n, key=lambda pattern: -self._n[pattern])
        return {self._text[pattern]: self._n[pattern] for pattern in ordered}
