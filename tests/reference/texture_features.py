"""The features of a texture model from the statistics of one image, one formula at a time, in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

PROPERTIES = (
    "contrast",
    "dissimilarity",
    "homogeneity",
    "ASM",
    "energy",
    "correlation",
    "mean",
    "variance",
    "std",
    "entropy",
)
STATISTICS = ("mean", "sd", "skewness", "kurtosis", "entropy", "p05", "median", "p95")
PLANES = {
    "color": ("lightness", "red-green", "blue-yellow", "saturation", "hue", "coarse-fine"),
    "gray": ("lightness", "coarse-fine"),
}
LEVELS = 32


def features(kind: str, histograms: Any, statistics: Any, counted: Any, pairs: Any, blocks: Any) -> dict[str, float]:
    """Name -> value; histograms [P, bins], statistics [P, 8], counted [P], pairs [D, 4, 10], blocks [8, 8]."""
    found: dict[str, float] = {}
    for p, plane in enumerate(PLANES[kind]):
        for i, count in enumerate(histograms[p]):
            found[f"{plane} {100 * i / 16:.0f} to {100 * (i + 1) / 16:.0f} %"] = math.sqrt(
                int(count) / max(int(counted[p]), 1)
            )
        for s, name in enumerate(STATISTICS):
            value = float(statistics[p][s])
            found[f"{plane} {name}"] = math.asinh(value) if name in ("skewness", "kurtosis") else value
        if plane == "hue":
            found["hue colored"] = int(counted[p]) / max(int(counted[0]), 1)
    for d, scale in enumerate(("fine", "broad")):
        mean = {name: sum(float(pairs[d][a][i]) for a in range(4)) / 4 for i, name in enumerate(PROPERTIES)}
        found[f"{scale}-contrast difference"] = math.sqrt(mean["contrast"]) / LEVELS
        found[f"{scale}-contrast mean difference"] = mean["dissimilarity"] / LEVELS
        found[f"{scale}-contrast homogeneity"] = mean["homogeneity"]
        found[f"{scale}-regularity energy"] = mean["energy"]
        found[f"{scale}-regularity correlation"] = math.atanh(min(max(mean["correlation"], -0.999), 0.9999))
        found[f"{scale}-regularity entropy"] = mean["entropy"]
    for d, scale in enumerate(("fine", "broad")):
        for name in ("contrast", "correlation", "homogeneity", "entropy"):
            values = [float(pairs[d][a][PROPERTIES.index(name)]) for a in range(4)]
            middle = sum(values) / 4
            spread = math.sqrt(sum((value - middle) ** 2 for value in values) / 4)
            found[f"direction {scale} {name}"] = spread / (middle + 1e-3) if name == "contrast" else spread
    found |= {f"light-dark {name}": value for name, value in _layout(np.asarray(blocks, dtype=np.float64)).items()}
    return found


def _layout(b: Any) -> dict[str, float]:
    mean = b.mean()
    inner = [b[i, j] for i in range(8) for j in range(8) if 2 <= i < 6 and 2 <= j < 6]
    rim = [b[i, j] for i in range(8) for j in range(8) if not (2 <= i < 6 and 2 <= j < 6)]
    down = [abs(b[i + 1, j] - b[i, j]) for i in range(7) for j in range(8)]
    across = [abs(b[i, j + 1] - b[i, j]) for i in range(8) for j in range(7)]
    return {
        "spread": math.sqrt(((b - mean) ** 2).mean()),
        "center": float(np.mean(inner) - np.mean(rim)),
        "top": b[:4].mean() - b[4:].mean(),
        "left": b[:, :4].mean() - b[:, 4:].mean(),
        "asymmetry": float(np.mean([abs(b[i, j] - b[i, 7 - j]) for i in range(8) for j in range(8)])),
        "lightest": b.max() - mean,
        "darkest": mean - b.min(),
        "unevenness": float(np.mean(down) + np.mean(across)),
    }
