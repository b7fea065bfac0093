"""The networks of `additive_cnn` in float64, written from docs/additive_cnn.md; slow and plain.

Knows nothing of the package. The trace keeps what tests/tolerances_cnn.py propagates rounding errors along.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass
class Block:
    kernels: list[Array]  # [out, in, 3, 3]
    biases: list[Array]  # [out]
    mean: Array  # [out] of the last, as those below
    variance: Array
    weight: Array
    bias: Array
    eps: float


@dataclass
class Network:
    blocks: list[Block]
    linears: list[tuple[Array, Array]]  # [out, in], [out]


@dataclass
class Trace:
    """What goes into every layer of one image's pass, and what comes out in the end."""

    convolutions: list[list[Array]] = field(default_factory=list)  # [block][i]: [in, h, w]
    before_pool: list[Array] = field(default_factory=list)  # [block]: [out, h, w]
    linears: list[Array] = field(default_factory=list)  # [in]
    evidence: Array = field(default_factory=lambda: np.zeros(0))


def relu(z: Array) -> Array:
    return np.where(z < 0.0, 0.0, z)


def convolve(x: Array, kernels: Array, bias: Array) -> Array:
    """[in, h, w] -> [out, h, w]; what lies around the image is 0."""
    _, height, width = x.shape
    out = np.zeros((len(kernels), height, width)) + bias[:, None, None]
    for dy in range(3):
        for dx in range(3):
            for y in range(max(0, 1 - dy), min(height, height + 1 - dy)):
                low, high = max(0, 1 - dx), min(width, width + 1 - dx)
                out[:, y, low:high] += kernels[:, :, dy, dx] @ x[:, y + dy - 1, low + dx - 1 : high + dx - 1]
    return out


def pool(x: Array) -> Array:
    """The largest of 2x2; an odd last row or column is dropped."""
    channels, height, width = x.shape
    out = np.empty((channels, height // 2, width // 2))
    for y in range(height // 2):
        for column in range(width // 2):
            out[:, y, column] = x[:, 2 * y : 2 * y + 2, 2 * column : 2 * column + 2].max(axis=(1, 2))
    return out


def scale_of(block: Block) -> Array:
    return block.weight / np.sqrt(block.variance + block.eps)


def forward(image: Array, network: Network) -> Trace:
    """Of one map [h, w]."""
    trace = Trace()
    x = image[None]
    for block in network.blocks:
        trace.convolutions.append([])
        for kernels, bias in zip(block.kernels, block.biases, strict=True):
            trace.convolutions[-1].append(x)
            x = relu(convolve(x, kernels, bias))
        trace.before_pool.append(x)
        scale = scale_of(block)
        x = (pool(x) - block.mean[:, None, None]) * scale[:, None, None] + block.bias[:, None, None]
    values = x.reshape(-1)
    for i, (weight, bias) in enumerate(network.linears):
        values = relu(values) if i else values
        trace.linears.append(values)
        values = weight @ values + bias
    trace.evidence = values
    return trace
