"""Shapes, strides and weights that the tests of `additive_mlp` draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from iuscore import ops

NAMES = ("w1", "b1", "w2", "b2", "w3", "b3")


@dataclass(frozen=True)
class Case:
    rows: int
    groups: tuple[int, ...]
    hidden: tuple[int, int]
    outputs: int
    view: str
    seed: int


VIEWS = ("contiguous", "transposed", "every-other", "shifted", "expanded")


def cases() -> st.SearchStrategy[Case]:
    # Around the widths of a vector (4, 8, 16), of a block of vectors and of a tile of rows.
    rows = st.one_of(st.integers(0, 40), st.sampled_from([47, 48, 63, 64, 65, 100, 129, 255, 257, 300]))
    units = st.one_of(st.integers(1, 9), st.sampled_from([15, 16, 17, 24, 32, 33]))
    sizes = st.one_of(
        st.lists(st.just(1), min_size=1, max_size=6),
        st.lists(st.integers(1, 5), min_size=1, max_size=5),
        st.lists(st.sampled_from([1, 8, 17, 32]), min_size=1, max_size=3),
    ).map(tuple)
    return st.builds(
        Case, rows, sizes, st.tuples(units, units), st.integers(1, 3), st.sampled_from(VIEWS), st.integers(0, 2**16)
    )


def make(case: Case) -> tuple[Tensor, ops.AdditiveWeights]:
    """x and weights with biases on both sides of 0, so that units are open, closed and, where x is 0, at the edge."""
    generator = torch.Generator().manual_seed(case.seed)
    x = torch.randn(case.rows, sum(case.groups), generator=generator)
    x = torch.where(torch.rand(x.shape, generator=generator) < 0.1, 0.0, x)
    if case.view == "expanded":
        x = x[:1].expand(case.rows, -1).clone() if case.rows else x
    weights = ops.AdditiveWeights.random(case.groups, hidden=case.hidden, outputs=case.outputs, generator=generator)
    for name in ("b1", "b2", "b3"):
        bias = getattr(weights, name)
        bias.copy_(torch.randn(bias.shape, generator=generator) * (torch.rand(bias.shape, generator=generator) < 0.8))
    return x, weights


def view_of(x: Tensor, form: str) -> Tensor:
    """The same values in other memory; NaN between them."""
    rows, inputs = x.shape
    if form == "transposed":
        return x.T.contiguous().T
    if form == "every-other":
        wide = torch.full((2 * rows, 3 * inputs), float("nan"))
        wide[::2, 1::3] = x
        return wide[::2, 1::3]
    if form == "shifted":
        wide = torch.full((rows, inputs + 3), float("nan"))
        wide[:, 1:-2] = x
        return wide[:, 1:-2]
    if form == "expanded" and rows:
        return x[:1].expand(rows, -1)
    return x


def doubles(weights: ops.AdditiveWeights) -> dict[str, Any]:
    """As the reference wants them."""
    return {name: getattr(weights, name).detach().double().cpu().numpy() for name in NAMES}
