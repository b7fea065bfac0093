"""The additive model's networks of one input as tables: looked up in a fraction of the time, with a bounded error."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TypeAlias, cast

import torch
from torch import Tensor

from iuscore.ops._additive import AdditiveOutput, AdditiveTables, AdditiveWeights
from iuscore.ops._arguments import dense, is_real, is_whole, shown
from iuscore.ops._backend import Backend, choose, public_op, traced
from iuscore.ops._constants import MAX_KNOTS
from iuscore.ops._native import additive_lookup as _native
from iuscore.ops._torch import additive_lookup as _torch
from iuscore.ops._torch.additive_tables import Network, additive_table
from iuscore.ops.additive_mlp import check_weights

Implementation: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]

_POINTS = [2**k + 1 for k in range(4, 17)]  # tried in turn until the tolerance is met


def additive_tables(
    weights: AdditiveWeights,
    *,
    low: float | Sequence[float] | Tensor,
    high: float | Sequence[float] | Tensor,
    points: int | None = None,
    tolerance: float | None = None,
) -> AdditiveTables:
    """Tabulate the networks of an additive model whose groups have one input each.

    A ReLU network of one variable is linear between its kinks. All of them are computed, so the error of a table is
    known and not estimated.

    Args:
        weights: of G networks of one input: w1 is [G, H1].
        low: of each group's table, or one number for all: the smallest x that occurs.
        high: above `low`; the largest.
        points: P, number of knots, 2 to 2^24.
        tolerance: instead of `points`: the fewest of 17, 33, 65, ..., 65,537 knots whose error is at most this.

    Returns:
        Tables on the weights' device.

    Raises:
        TypeError: another type. ValueError: groups of several inputs, weights or ends that are not finite, neither or
            both of `points` and `tolerance`, a tolerance that 65,537 knots do not meet. RuntimeError: inside of
            torch.compile or vmap, which hide the weights' values.

    Example:
        >>> import torch, iuscore
        >>> weights = iuscore.ops.AdditiveWeights.random((1, 1, 1), hidden=(16, 8))
        >>> tables = iuscore.ops.additive_tables(weights, low=-3.0, high=3.0, tolerance=0.01)
        >>> x = torch.rand(5, 3) * 6.0 - 3.0
        >>> exact = iuscore.ops.additive_mlp(x, (1, 1, 1), weights).total
        >>> bool((iuscore.ops.additive_lookup(x, tables).total - exact).abs().max() < 0.031)
        True
    """
    if traced(*vars(weights).values()) if isinstance(weights, AdditiveWeights) else False:
        raise RuntimeError(
            "additive_tables: reads the weights' values, which torch.compile and vmap hide; make the tables before"
        )
    networks = _networks(weights)
    lows, highs = _ends(low, len(networks), "low"), _ends(high, len(networks), "high")
    for g, (a, b) in enumerate(zip(lows.tolist(), highs.tolist(), strict=True)):
        if not (math.isfinite(a) and math.isfinite(b) and a < b):
            raise ValueError(f"low, high: expected finite numbers, low below high, got {a:g} and {b:g} for group {g}")
    if (points is None) == (tolerance is None):
        raise ValueError("points, tolerance: expected one of the two")
    if points is not None and not (is_whole(points) and 2 <= points <= MAX_KNOTS):
        raise ValueError(f"points: expected an integer, 2 to {MAX_KNOTS}, got {shown(points)}")
    if tolerance is not None and not (is_real(tolerance) and tolerance > 0.0):
        raise ValueError(f"tolerance: expected a positive number, got {shown(tolerance)}")
    for count in _POINTS if points is None else [points]:
        ends = zip(lows.tolist(), highs.tolist(), strict=True)
        made = [additive_table(network, a, b, count) for network, (a, b) in zip(networks, ends, strict=True)]
        values, error = (torch.stack(part) for part in zip(*made, strict=True))
        if tolerance is None or float(error.max()) <= tolerance:
            return AdditiveTables(values, lows, highs, error).to(weights.w1.device)
    raise ValueError(
        f"tolerance: {_POINTS[-1]} knots have an error of up to {float(error.max()):.2g}, more than {tolerance:g}; "
        "allow more, or choose low and high closer to each other"
    )


@public_op
def additive_lookup(x: Tensor, tables: AdditiveTables, *, backend: Backend = "auto") -> AdditiveOutput:
    """What `additive_mlp` gives for groups of one input, from tables.

    Args:
        x: [B, G] float32, any strides, on the tables' device. Outside a table a function keeps its value at the nearest
            end; NaN gives NaN in its own contribution and row.
        tables: from `additive_tables`.
        backend: "auto" takes the compiled kernel where there is one for the device and no gradient is asked for;
            "native" insists on it; "torch" is differentiable in x (the slope between two knots; 0 outside). All give
            the same bits.

    Returns:
        Contributions [B, G, C] and their sum [B, C] on x's device.

    Raises:
        TypeError: another type or dtype, of x or of a table. ValueError: another shape or device, an unknown back end.
            RuntimeError: backend="native" where it cannot run.

    Example:
        >>> import torch, iuscore
        >>> weights = iuscore.ops.AdditiveWeights.random((1, 1), hidden=(4, 4), outputs=3)
        >>> tables = iuscore.ops.additive_tables(weights, low=0.0, high=1.0, points=65)
        >>> iuscore.ops.additive_lookup(torch.rand(7, 2), tables).contributions.shape
        torch.Size([7, 2, 3])
    """
    if not isinstance(tables, AdditiveTables):
        raise TypeError(f"tables: expected AdditiveTables, got {type(tables).__name__}")
    dense("x", x)
    groups, knots = _check_tables(tables)
    if x.ndim != 2 or x.shape[1] != groups:
        raise ValueError(f"x: expected [B, {groups}] for {groups} tables, got {list(x.shape)}")
    if x.device != tables.values.device:
        raise ValueError(f"x: expected on the tables' device, {tables.values.device}, got {x.device}")
    if traced(x, tables.values, tables.low, tables.high):
        from iuscore.ops._traced import additive_lookup as _traced

        return _traced.additive_lookup(x, tables, backend)
    needs_grad = torch.is_grad_enabled() and x.requires_grad
    choice = choose("additive_lookup", x.device, needs_grad=needs_grad, backend=backend)
    run = _torch.additive_lookup if choice.implementation == "torch" else cast(Implementation, _native.additive_lookup)
    return AdditiveOutput(*run(x, tables.values, tables.low, _scale(tables.low, tables.high, knots)))


def _check_tables(tables: AdditiveTables) -> tuple[int, int]:
    """Groups and knots; what the kernel reads must be what it takes it for."""
    values = tables.values
    for name in ("values", "low", "high"):
        part = dense(f"tables.{name}", getattr(tables, name))
        if part.device != values.device:
            raise ValueError(f"tables.{name}: expected on the device of the values, {values.device}, got {part.device}")
    if values.ndim != 3 or values.shape[0] < 1 or values.shape[1] < 2 or values.shape[2] < 1:
        raise ValueError(f"tables.values: expected [G, P, C] of at least 2 knots, got {list(values.shape)}")
    for name in ("low", "high"):
        if (ends := getattr(tables, name)).shape != values.shape[:1]:
            raise ValueError(f"tables.{name}: expected [{len(values)}], got {list(ends.shape)}")
    return values.shape[0], values.shape[1]


def _scale(low: Tensor, high: Tensor, knots: int) -> Tensor:
    """Knots per unit of x, rounded once."""
    return ((knots - 1) / (high.double() - low.double())).float()


def _networks(weights: AdditiveWeights) -> list[Network]:
    """One at a time, on the CPU."""
    if not isinstance(weights, AdditiveWeights):
        raise TypeError(f"weights: expected AdditiveWeights, got {type(weights).__name__}")
    groups = len(weights.b1)
    if len(weights.w1) != groups:
        raise ValueError(f"weights: expected groups of one input, got {groups} groups of {len(weights.w1)} inputs")
    check_weights(weights, (1,) * groups)
    parts = [getattr(weights, field.name).detach().cpu() for field in fields(weights)]
    if not all(bool(part.isfinite().all()) for part in parts):
        raise ValueError("weights: expected finite numbers")
    return [cast(Network, tuple(part[g] for part in parts)) for g in range(groups)]


def _ends(value: float | Sequence[float] | Tensor, groups: int, name: str) -> Tensor:
    try:
        ends = torch.as_tensor(value, dtype=torch.float32).detach().cpu()
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise TypeError(f"{name}: expected a number or [{groups}], got {shown(value)}") from None
    if ends.ndim == 0:
        ends = ends.expand(groups)
    if tuple(ends.shape) != (groups,):
        raise ValueError(f"{name}: expected a number or [{groups}], got {list(ends.shape)}")
    return ends.contiguous()
