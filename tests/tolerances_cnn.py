"""How far `additive_cnn` may be from its float64 reference, derived as in tests/tolerances.py (u = 2^-24).

- The error of what comes in goes through a layer by the magnitudes of its weights; ReLU and the largest of four
  lengthen no error.
- The first convolution and the linear layers are sums of n products and a bias: at most (n + 3) u of the magnitudes.
- The other convolutions may be sums of n = 9 in, or go through Winograd's points: B'dB takes at most 3 roundings in
  each direction, a kernel's number one, the sum over channels one each, A'mA at most 4 in each direction, bias and
  ReLU two; all of them of the magnitudes |A'|(sum of |G g G'| |B'||d||B|)|A|, which are no smaller than those of
  the plain sum. Narrow convolutions round patches to multiples of their largest number / 4095, of all channels at a
  point, and kernels to multiples of a unit: half of that each, and two roundings of the units themselves.
- Pooled values times scale plus shift: 6 u of |scale| (|value| + |mean|) + |bias|, whichever way it is written.

On a GPU values between the steps are float16, and convolutions are sums of products (`bound_on_gpu`):

- A value that is written is off by 2^-11 of itself more, or 2^-25 near 0; so is every weight of a convolution and of
  the first linear layer, whose sums are in float32, in any order.
- A convolution is written before its bias is added, and again after the ReLU, or after pooling and batch norm.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.reference import additive_cnn as reference
from tests.reference.additive_cnn import Array, Network, Trace
from tests.tolerances import U

NARROW = 4095
HALF, LEAST = 2.0**-11, 2.0**-25  # unit roundoff of float16, and its largest error near 0
_A, _B = 0.75, 1.5
POINTS = np.array([0.0, _A, -_A, _B, -_B])


def matrices() -> tuple[Array, Array, Array]:
    """A' [4, 6], G [6, 3], B' [6, 6] of the five points and infinity, by Toom and Cook."""
    a = np.array([[*POINTS**i, float(i == 3)] for i in range(4)])
    g, b = np.zeros((6, 3)), np.zeros((6, 6))
    for i, p in enumerate(POINTS):
        others = np.delete(POINTS, i)
        g[i] = p ** np.arange(3) / np.prod(p - others)
        b[i, :5] = np.poly(others)[::-1]
    g[5, 2] = 1.0
    b[5] = np.poly(POINTS)[::-1]
    return a, g, b


def _unit(points: Array) -> Array:
    """[out, 6, 6] of kernels' numbers [out, in, 6, 6]: their magnitudes add up to what leaves sums in 32 bits."""
    terms = points.shape[1] + points.shape[1] % 2
    most = (2**31 - 1) / NARROW - terms / 2
    return np.maximum(points.max(1) / 32767, points.sum(1) / most) * (1 + 4 * U)


def _magnitudes(x: Array, kernels: Array) -> tuple[Array, Array]:
    """|A'|(sum over channels of |G g G'| |B'||d||B|)|A|, and what rounding to integers adds; [out, h, w] both.

    x has no signs.
    """
    a, g, b = matrices()
    channels, height, width = x.shape
    down, across = -(-height // 4), -(-width // 4)
    padded = np.zeros((channels, 4 * down + 2, 4 * across + 2))
    padded[:, 1 : height + 1, 1 : width + 1] = x
    points = np.abs(np.einsum("pi,ocij,qj->ocpq", g, kernels, g))
    step = _unit(points) / 2
    out = np.zeros((2, len(kernels), 4 * down, 4 * across))
    for y in range(down):
        for column in range(across):
            patch = padded[:, 4 * y : 4 * y + 6, 4 * column : 4 * column + 6]
            v = np.abs(b) @ patch @ np.abs(b).T
            of_patch = v.max(0) / NARROW / 2
            integers = step * v.sum(0) + of_patch * (points.sum(1) + channels * step)
            for part, each in enumerate((np.einsum("ocpq,cpq->opq", points, v), integers)):
                tile = np.abs(a) @ each @ np.abs(a).T
                out[part, :, 4 * y : 4 * y + 4, 4 * column : 4 * column + 4] = tile
    return out[0, :, :height, :width], out[1, :, :height, :width]


def _convolution(x: Array, e: Array, kernels: Array, bias: Array, narrow: bool) -> Array:
    none = np.zeros_like(bias)
    through = reference.convolve(e, np.abs(kernels), none)
    size, integers = _magnitudes(np.abs(x) + e, kernels)
    rounding = (9 * x.shape[0] + 22) * U * (size + np.abs(bias)[:, None, None])
    return through + rounding + (1 + 32 * U) * integers * narrow


def bound(trace: Trace, network: Network, narrow: bool) -> Array:
    """Of the evidence [K] of one map."""
    e = np.zeros_like(trace.convolutions[0][0])
    for b, block in enumerate(network.blocks):
        for i, (kernels, bias) in enumerate(zip(block.kernels, block.biases, strict=True)):
            e = _convolution(trace.convolutions[b][i], e, kernels, bias, narrow and (b, i) != (0, 0))
        e, value = reference.pool(e), np.abs(reference.pool(trace.before_pool[b]))
        scale = np.abs(reference.scale_of(block))[:, None, None]
        mean, bias = (np.abs(part)[:, None, None] for part in (block.mean, block.bias))
        e = scale * e + 6 * U * (scale * (value + e + mean) + bias)
    error = e.reshape(-1)
    for values, (weight, bias) in zip(trace.linears, network.linears, strict=True):
        size = np.abs(weight) @ (np.abs(values) + error) + np.abs(bias)
        error = np.abs(weight) @ error + (len(values) + 3) * U * size
    return error


def _written(value: Array, error: Array) -> Array:
    """The error once the value, which is off by as much, is float16."""
    return error + HALF * (np.abs(value) + error) + LEAST


def _product(weights: Array, x: Array, error: Array, product: Callable[[Array, Array], Array], terms: int) -> Array:
    """Of a product with weights in float16 of an x that is off by `error`."""
    size = product(np.abs(x) + error, np.abs(weights) + LEAST)
    through, tiny = product(error, np.abs(weights)), product(np.abs(x) + error, np.full_like(weights, LEAST))
    return through + tiny + (HALF + (terms + 3) * U) * (1 + HALF) * size


def bound_on_gpu(trace: Trace, network: Network) -> Array:
    """Of the evidence [K] of one map, in float16."""
    error = np.zeros_like(trace.convolutions[0][0])
    for b, block in enumerate(network.blocks):
        after = [*trace.convolutions[b][1:], trace.before_pool[b]]
        for i, (kernels, bias) in enumerate(zip(block.kernels, block.biases, strict=True)):
            x, none, place = trace.convolutions[b][i], np.zeros_like(bias), np.abs(bias)[:, None, None]
            size = reference.convolve(np.abs(x), np.abs(kernels), none)
            if b == i == 0:
                error = _written(after[i], (9 + 3) * U * (size + place))
                continue
            error = _product(kernels, x, error, lambda a, w, none=none: reference.convolve(a, w, none), 9 * len(x))
            error = _written(reference.convolve(x, kernels, none), error)
            error = error + U * (np.abs(after[i]) + error)
            if i + 1 < len(after):
                error = _written(after[i], error)
        pooled, error = reference.pool(trace.before_pool[b]), reference.pool(error)
        scale = np.abs(reference.scale_of(block))[:, None, None]
        mean, shift = (part[:, None, None] for part in (block.mean, block.bias))
        value = (pooled - mean) * reference.scale_of(block)[:, None, None] + shift
        error = scale * error + 6 * U * (scale * (pooled + error + np.abs(mean)) + np.abs(shift))
        error = _written(value, error)
    error = error.reshape(-1)
    for i, (values, (weight, bias)) in enumerate(zip(trace.linears, network.linears, strict=True)):
        if i == 0:
            error = _product(weight, values, error, lambda a, w: w @ a, len(values)) + 3 * U * np.abs(bias)
        else:
            size, through = np.abs(weight) @ np.abs(values), np.abs(weight) @ error
            error = through + (len(values) + 3) * U * (size + through + np.abs(bias))
    return error
