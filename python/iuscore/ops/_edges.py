"""Edges of histogram bins: `numpy.linspace`, and the float32 numbers that decide like them (csrc/core/histogram.h)."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt


@functools.lru_cache(maxsize=256)
def float32_edges(low: float, high: float, bins: int) -> npt.NDArray[np.float32]:
    """[bins + 1]: for i < bins the smallest float32 >= edge i, then the smallest float32 > high. Do not modify it.

    With them float32 values fall into [edges[i], edges[i + 1]) as they fall between the float64 edges, the last bin
    closed.
    """
    exact = np.linspace(low, high, bins + 1, dtype=np.float64)
    with np.errstate(over="ignore", under="ignore"):
        edges = exact.astype(np.float32)
    up = edges < exact
    up[-1] = edges[-1] <= exact[-1]
    edges = np.where(up, np.nextafter(edges, np.float32(np.inf)), edges)
    edges.flags.writeable = False
    return edges
