"""Tables of networks of one variable, with a bound of their error; in float64.

Such a network is linear between its kinks, where the ReLU of a hidden unit changes sides. So is its difference from a
function that is linear between knots: it is largest at a kink, and all kinks can be computed.
"""

from __future__ import annotations

import torch
from torch import Tensor

_U = 2.0**-24  # half a unit in the last place of a float32 of [1, 2)

Network = tuple[
    Tensor, Tensor, Tensor, Tensor, Tensor, Tensor
]  # w1 [H1], b1 [H1], w2 [H1, H2], b2 [H2], w3 [H2, C], b3


def additive_table(network: Network, low: float, high: float, points: int) -> tuple[Tensor, Tensor]:
    """(values [points, C] float32, bound [C] float64) of one network on [low, high].

    The bound is that of csrc/core/lookup.h in float32 from the network in real numbers. It adds up, with the largest
    value V and the largest step D from knot to knot:

    - the difference at kinks, exact but for float64's rounding: 2^-40 of what the network would be if nothing in it
      cancelled, far more than its own 2^-53 times the number of terms;
    - u V for the values stored and u V for the last sum; 2 u D for the difference of two values and its product;
    - the place, which three roundings shift by up to 3 u (points - 1) cells: as much of D. All with a tenth to spare.
    """
    network = tuple(part.double() for part in network)  # type: ignore[assignment]
    knots = torch.linspace(low, high, points, dtype=torch.float64)
    values = _outputs(network, knots)
    kinks = _kinks(network, low, high)
    at = (kinks - low) * ((points - 1) / (high - low))
    cell = at.long().clamp(0, points - 2)
    left, right = values[cell], values[cell + 1]
    linear = left + (at - cell)[:, None] * (right - left)
    between = (_outputs(network, kinks) - linear).abs().amax(0) if len(kinks) else values.new_zeros(values.shape[1])
    largest, step = values.abs().amax(0), values.diff(dim=0).abs().amax(0)
    rounding = 2.2 * _U * largest + (2.2 + 3.3 * (points - 1)) * _U * step
    return values.float(), between + rounding + 2.0**-40 * _magnitude(network, max(abs(low), abs(high)))


def _hidden(network: Network, x: Tensor) -> Tensor:
    """z of the second layer, [N, H2]."""
    w1, b1, w2, b2, _, _ = network
    return (x[:, None] * w1 + b1).relu() @ w2 + b2


def _outputs(network: Network, x: Tensor) -> Tensor:
    return _hidden(network, x).relu() @ network[4] + network[5]


def _magnitude(network: Network, x: float) -> Tensor:
    w1, b1, w2, b2, w3, b3 = (part.abs() for part in network)
    return ((x * w1 + b1) @ w2 + b2) @ w3 + b3


def _kinks(network: Network, low: float, high: float) -> Tensor:
    """Where the ReLU of a unit of either layer may change sides, inside (low, high)."""
    w1, b1 = network[:2]
    moving = w1 != 0.0
    first = -b1[moving] / w1[moving]
    ends = torch.tensor([low, high], dtype=torch.float64)
    first = torch.cat([first[(first > low) & (first < high)], ends]).sort().values
    # Between two of them a unit of the second layer is linear, so it has one zero at most.
    z = _hidden(network, first)
    left, right = z[:-1], z[1:]
    crossing = left * right < 0.0
    share = torch.where(crossing, left / (left - right), 0.0)
    second = (first[:-1, None] + share * first.diff()[:, None])[crossing]
    return torch.cat([first, second])
