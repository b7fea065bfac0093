"""The additive model in float64, written from docs/additive_mlp.md; slow and plain.

Knows nothing of the package. The trace keeps what tests/tolerances_additive.py propagates rounding errors along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Weights = dict[str, Array]  # w1 [F, H1], b1 [G, H1], w2 [G, H1, H2], b2 [G, H2], w3 [G, H2, C], b3 [G, C]


@dataclass
class Group:
    """One group's network: z before and h after each ReLU, and the gradients of sum(contribution * gradient)."""

    x: Array  # [B, d]
    z1: Array  # [B, H1]
    h1: Array
    z2: Array  # [B, H2]
    h2: Array
    contribution: Array  # [B, C]


@dataclass
class Gradients:
    """Of one group, for an incoming gradient [B, C]."""

    g: Array  # [B, C]
    d2: Array  # [B, H2], of z2
    d1: Array  # [B, H1], of z1
    x: Array  # [B, d]
    w1: Array  # [d, H1]
    b1: Array
    w2: Array
    b2: Array
    w3: Array
    b3: Array


def relu(z: Array) -> Array:
    return np.where(z < 0.0, 0.0, z)  # NaN stays


def columns(groups: Sequence[int]) -> list[slice]:
    ends = np.cumsum(groups)
    return [slice(int(end) - size, int(end)) for end, size in zip(ends, groups, strict=True)]


def forward(x: Array, groups: Sequence[int], w: Weights) -> list[Group]:
    result = []
    for g, place in enumerate(columns(groups)):
        inputs = x[:, place]
        z1 = inputs @ w["w1"][place] + w["b1"][g]
        h1 = relu(z1)
        z2 = h1 @ w["w2"][g] + w["b2"][g]
        h2 = relu(z2)
        result.append(Group(inputs, z1, h1, z2, h2, h2 @ w["w3"][g] + w["b3"][g]))
    return result


def total(traces: Sequence[Group]) -> Array:
    return np.sum([t.contribution for t in traces], axis=0)


def backward(traces: Sequence[Group], groups: Sequence[int], w: Weights, gradient: Array) -> list[Gradients]:
    """For gradient [B, G, C] of the contributions; where a ReLU is 0 its derivative is 0."""
    result = []
    for k, (t, place) in enumerate(zip(traces, columns(groups), strict=True)):
        g = gradient[:, k]
        d2 = np.where(t.h2 <= 0.0, 0.0, g @ w["w3"][k].T)
        d1 = np.where(t.h1 <= 0.0, 0.0, d2 @ w["w2"][k].T)
        result.append(
            Gradients(
                g, d2, d1, d1 @ w["w1"][place].T,
                t.x.T @ d1, d1.sum(0), t.h1.T @ d2, d2.sum(0), t.h2.T @ g, g.sum(0),
            )
        )  # fmt: skip
    return result
