"""Tables of functions of one variable in float64, written from docs/additive_mlp.md; slow and plain."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def lookup(x: Array, values: Array, low: Array, high: Array) -> Array:
    """Contributions [B, G, C] of x [B, G] from values [G, P, C] at even steps from low [G] to high [G]."""
    groups, points, outputs = values.shape
    out = np.full((len(x), groups, outputs), np.nan)
    for row in range(len(x)):
        for g in range(groups):
            if math.isnan(x[row, g]):
                continue
            inside = min(max(x[row, g], low[g]), high[g])
            at = (inside - low[g]) / (high[g] - low[g]) * (points - 1)
            cell = min(int(at), points - 2)
            for c in range(outputs):
                left, right = values[g, cell, c], values[g, cell + 1, c]
                out[row, g, c] = left + (at - cell) * (right - left)
    return out
