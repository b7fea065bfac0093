"""Lookup tables of DICOM files: modality (PS3.3, C.11.1.1) and display (PS3.3, C.11.2.1.1).

Written here and not taken from pydicom because real files deviate from the standard: where the value representation is
implicit the file does not say whether the first value has a sign, entries of 8 bits come as bytes or as words, and
entries have fewer or more bits than the descriptor says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

EMPTY_TABLE = "empty table ignored"
OTHER_DEPTH = "table entries of {used} bits, not {said}"
_USUAL_DEPTHS = (8, 10, 12, 14)


@dataclass(frozen=True)
class Table:
    """A lookup table.

    Attributes:
        first_input: input that the first entry belongs to; lower inputs get the first entry, inputs above the end of
            the table the last.
        entries: [N] integers.
        depth: bits of the entries that are in use; 2**depth - 1 is the full range.
    """

    first_input: int
    entries: NDArray[np.int64]
    depth: int

    def apply(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Entries for ``values`` of any shape, which are rounded.

        Example:
            >>> Table(-1, np.array([5, 6, 7]), 3).apply(np.array([-9, -1, 0.2, 9])).tolist()
            [5, 5, 6, 7]
        """
        places = np.clip(np.rint(values) - self.first_input, 0, len(self.entries) - 1)
        return np.asarray(self.entries[places.astype(np.int64)])


def table(
    sequence: Any, low: float, high: float, little_endian: bool, notes: list[str], *, shows: bool = True
) -> Table | None:
    """The first table of a sequence; None where there is none, or an empty one.

    Args:
        sequence: value of ModalityLUTSequence or VOILUTSequence; may be None.
        low, high: range that the inputs of the table can have.
        little_endian: how words in the file are written.
        notes: gets a note where the table is empty, or its entries have other bits than it says.
        shows: whether entries are brightness: then the usual depth that holds them is full brightness. Entries of a
            modality's table are values of their own, and only more bits than said are taken.

    Raises:
        ValueError: the table is damaged.
    """
    if not sequence:
        return None
    item = sequence[0]
    descriptor, data = item.get("LUTDescriptor"), item.get("LUTData")
    n_said = len(descriptor) if hasattr(descriptor, "__len__") else 0
    if n_said != 3 or data is None or (hasattr(data, "__len__") and not len(data)):
        notes.append(EMPTY_TABLE)
        return None
    n, first, said = (int(value) for value in descriptor)
    n = n & 0xFFFF or 1 << 16
    if not 1 <= said <= 16:
        raise ValueError(f"a table whose entries have {said} bits")
    entries = _entries(data, n, said, little_endian)
    is_signed = item["LUTDescriptor"].VR == "SS"
    return Table(_first(first & 0xFFFF, n, low, high, is_signed), entries, _depth(entries, said, shows, notes))


def _entries(data: Any, n: int, bits: int, little_endian: bool) -> NDArray[np.int64]:
    order = "<" if little_endian else ">"
    if isinstance(data, (bytes, bytearray)):
        words = np.frombuffer(data[: len(data) // 2 * 2], f"{order}u2")
        n_bytes = len(data)
    else:
        words = np.atleast_1d(np.asarray(data, dtype=np.int64)) & 0xFFFF
        n_bytes = 2 * len(words)
    if bits <= 8 and n <= n_bytes <= n + 1 and len(words) < n:
        # Two entries a word, the first in its low byte: PS3.5, 8.1.1.
        if isinstance(data, (bytes, bytearray)) and n_bytes % 2:
            return np.frombuffer(data, np.uint8)[:n].astype(np.int64)
        words = np.stack([words & 0xFF, words >> 8], axis=1).ravel()
    if len(words) < n:
        raise ValueError(f"a table of {len(words)} entries that says {n}")
    return words[:n].astype(np.int64)


def _first(raw: int, n: int, low: float, high: float, is_signed: bool) -> int:
    """The first value, as the 16 bits ``raw`` have it with or without a sign: whichever makes the table fit the inputs.

    Example:
        >>> _first(64512, 4096, -1024, 3071, False), _first(40000, 25536, 0, 65535, False)
        (-1024, 40000)
    """
    if raw < 1 << 15:
        return raw

    def shared(first: int) -> float:
        return max(0.0, min(high, first + n - 1) - max(low, first) + 1)

    positive, negative = shared(raw), shared(raw - (1 << 16))
    return raw - (1 << 16) if negative > positive or (negative == positive and is_signed) else raw


def _depth(entries: NDArray[np.int64], said: int, shows: bool, notes: list[str]) -> int:
    used = int(entries.max()).bit_length()
    if used <= said:
        # The largest entry of many tables lies a little below the end of their range.
        used = next((usual for usual in _USUAL_DEPTHS if shows and 0 < used <= usual < said), said)
    if used != said:
        notes.append(OTHER_DEPTH.format(used=used, said=said))
    return used
