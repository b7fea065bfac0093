"""The row filters of PNG undone by the formulas of ISO/IEC 15948, 9.2 to 9.4, byte by byte."""

from __future__ import annotations

import numpy as np


def png_rows(filtered: np.ndarray, channels: int) -> np.ndarray:
    """[height, 1 + n] of filter types and filtered bytes -> [height, n / channels, channels]."""
    height, n = filtered.shape[0], filtered.shape[1] - 1
    rows = np.zeros((height, n), dtype=np.uint8)
    for y in range(height):
        for x in range(n):
            a = int(rows[y, x - channels]) if x >= channels else 0
            b = int(rows[y - 1, x]) if y > 0 else 0
            c = int(rows[y - 1, x - channels]) if y > 0 and x >= channels else 0
            value = int(filtered[y, 1 + x]) + predicted(int(filtered[y, 0]), a, b, c)
            rows[y, x] = value % 256
    return rows.reshape(height, n // channels, channels)


def predicted(kind: int, a: int, b: int, c: int) -> int:
    """Prediction by filter type 0 to 4 from left, above and upper left."""
    p = a + b - c
    nearest = min((abs(p - v), i, v) for i, v in enumerate((a, b, c)))[2]
    return (0, a, b, (a + b) // 2, nearest)[kind]
