"""What the additive ops take and return: weights, tables, outputs."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from iuscore.ops._arguments import device_of, is_whole, shown

MAX_INPUTS = 2**31 - 1


@dataclass(frozen=True)
class AdditiveWeights:
    """Weights of G networks with two hidden layers; all float32, on one device.

    Attributes:
        w1: [F, H1]; row f belongs to the group that has input f.
        b1: [G, H1].
        w2: [G, H1, H2].
        b2: [G, H2].
        w3: [G, H2, C].
        b3: [G, C].

    Example:
        >>> import torch, iuscore
        >>> iuscore.ops.AdditiveWeights.random((1, 1, 32), hidden=(8, 4), outputs=2).w1.shape
        torch.Size([34, 8])
    """

    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor
    w3: Tensor
    b3: Tensor

    @staticmethod
    def random(
        groups: Sequence[int],
        *,
        hidden: tuple[int, int],
        outputs: int = 1,
        generator: torch.Generator | None = None,
    ) -> AdditiveWeights:
        """Normal weights of variance 2 / inputs (He et al., ICCV 2015), biases 0.

        Args:
            groups: number of inputs of each group.
            hidden: (H1, H2), units of the hidden layers.
            outputs: C.
            generator: of the random numbers; torch's own when None.

        Raises:
            TypeError: groups that are no integers. ValueError: a number below 1.
        """
        groups = group_sizes(groups)
        pair = isinstance(hidden, Sequence) and not isinstance(hidden, str | bytes) and len(hidden) == 2
        if not pair or not all(is_whole(units) and 1 <= units <= MAX_INPUTS for units in hidden):
            raise ValueError(f"hidden: expected (H1, H2), two integers of at least 1, got {shown(hidden)}")
        if not is_whole(outputs) or not 1 <= outputs <= MAX_INPUTS:
            raise ValueError(f"outputs: expected an integer of at least 1, got {shown(outputs)}")
        n, (h1, h2) = len(groups), hidden
        weights = AdditiveWeights(
            torch.empty(sum(groups), h1),
            torch.zeros(n, h1),
            torch.empty(n, h1, h2),
            torch.zeros(n, h2),
            torch.empty(n, h2, outputs),
            torch.zeros(n, outputs),
        )
        if not weights.b1.is_meta:  # on the meta device nothing is drawn, and trying imports PyTorch's compiler
            scale = torch.tensor([(2.0 / size) ** 0.5 for size in groups for _ in range(size)])
            weights.w1.normal_(generator=generator).mul_(scale[:, None])
            weights.w2.normal_(generator=generator).mul_((2.0 / h1) ** 0.5)
            weights.w3.normal_(generator=generator).mul_((2.0 / h2) ** 0.5)
        return weights


class AdditiveOutput(NamedTuple):
    """What `additive_mlp` and `additive_lookup` return."""

    contributions: Tensor
    """[B, G, C] float32."""
    total: Tensor
    """[B, C] float32: the contributions added up in the order of the groups."""


@dataclass(frozen=True)
class AdditiveTables:
    """G functions of one variable, each linear between evenly spaced knots; float32 but for `error`.

    Attributes:
        values: [G, P, C] at the knots.
        low: [G], x of the first knot; below it a function keeps the value it has there.
        high: [G], x of the last knot; above it, alike.
        error: [G, C] float64: for every float32 x, `additive_lookup` differs from the network in real numbers, at x
            clamped to [low, high], by at most this.
    """

    values: Tensor
    low: Tensor
    high: Tensor
    error: Tensor

    def to(self, device: torch.device | str) -> AdditiveTables:
        """The same tables on another device.

        Raises:
            ValueError: a device that does not exist.
        """
        device = device_of(device)
        return AdditiveTables(*(getattr(self, field.name).to(device) for field in fields(self)))


def group_sizes(groups: object) -> tuple[int, ...]:
    """The sizes of groups as integers.

    Raises:
        TypeError: no integers. ValueError: none, or one below 1.
    """
    if isinstance(groups, str | bytes) or not isinstance(groups, Iterable):
        raise TypeError(f"groups: expected integers, got {shown(groups)}")
    try:
        sizes = tuple(operator.index(size) for size in groups)
    except TypeError:
        raise TypeError(f"groups: expected integers, got {shown(groups)}") from None
    if not sizes or min(sizes) < 1 or sum(sizes) > MAX_INPUTS:
        raise ValueError(f"groups: expected sizes of at least 1, got {shown(groups)}")
    return sizes
