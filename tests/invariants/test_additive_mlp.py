"""What must hold of the additive model's networks whatever computes them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from iuscore import ops
from tests import tolerances_additive as tolerances
from tests.conftest import BackendUnderTest
from tests.equivalence.additive_cases import NAMES, Case, cases, doubles, make
from tests.reference import additive_mlp as reference

pytestmark = pytest.mark.usefixtures("one_thread")


def run(backend: BackendUnderTest, x: Tensor, groups: tuple[int, ...], weights: ops.AdditiveWeights) -> list[Tensor]:
    there = ops.AdditiveWeights(*(getattr(weights, name).to(backend.device) for name in NAMES))
    return [t.cpu() for t in ops.additive_mlp(x.to(backend.device), groups, there, backend=backend.backend)]


def bound(x: Tensor, groups: tuple[int, ...], weights: ops.AdditiveWeights) -> Tensor:
    """[B, G, C], of the contributions."""
    w = doubles(weights)
    traces = reference.forward(x.double().numpy(), groups, w)
    places = reference.columns(groups)
    errors = [tolerances.forward(t, place, g, w) for g, (t, place) in enumerate(zip(traces, places, strict=True))]
    return torch.stack([torch.from_numpy(e.contribution) for e in errors], 1)


@given(case=cases(), seed=st.integers(0, 100))
def test_groups_in_another_order_have_contributions_in_that_order(
    backend: BackendUnderTest, case: Case, seed: int
) -> None:
    x, weights = make(case)
    order = torch.randperm(len(case.groups), generator=torch.Generator().manual_seed(seed)).tolist()
    places = reference.columns(case.groups)
    columns = [column for g in order for column in range(places[g].start, places[g].stop)]
    moved = ops.AdditiveWeights(weights.w1[columns], *(getattr(weights, name)[order] for name in NAMES[1:]))
    groups = tuple(case.groups[g] for g in order)
    before = run(backend, x, case.groups, weights)[0][:, order]
    after = run(backend, x[:, columns], groups, moved)[0]
    if backend.backend == "native":
        assert torch.equal(after, before)
    else:
        assert ((after - before).abs() <= 2.0 * bound(x, case.groups, weights)[:, order]).all()


@given(case=cases())
def test_total_is_the_sum_of_the_contributions(backend: BackendUnderTest, case: Case) -> None:
    x, weights = make(case)
    contributions, total = run(backend, x, case.groups, weights)
    if backend.backend == "native":
        in_order = contributions[:, 0].clone()
        for g in range(1, len(case.groups)):
            in_order += contributions[:, g]
        assert torch.equal(total, in_order)
    allowed = (len(case.groups) + 1) * tolerances.U * contributions.double().abs().sum(1)
    assert ((total.double() - contributions.double().sum(1)).abs() <= allowed).all()


@given(case=cases(), group=st.integers(0, 5))
def test_a_group_sees_its_own_columns_only(backend: BackendUnderTest, case: Case, group: int) -> None:
    x, weights = make(case)
    assume(group < len(case.groups))
    place = reference.columns(case.groups)[group]
    other = torch.full_like(x, 1e30)
    other[:, place] = x[:, place]
    before = run(backend, x, case.groups, weights)[0][:, group]
    assert torch.equal(run(backend, other, case.groups, weights)[0][:, group], before)
    parts = [getattr(weights, name)[group : group + 1] for name in NAMES[1:]]
    alone = ops.AdditiveWeights(weights.w1[place], *parts)
    single = run(backend, x[:, place], (case.groups[group],), alone)
    if backend.backend == "native":
        assert torch.equal(single[0][:, 0], before)
        assert torch.equal(single[1], before)
    else:
        assert ((single[0][:, 0] - before).abs() <= 2.0 * bound(x, case.groups, weights)[:, group]).all()


@given(case=cases())
def test_without_biases_contributions_scale_with_the_inputs(backend: BackendUnderTest, case: Case) -> None:
    """ReLU is positively homogeneous; a power of two changes no rounding."""
    x, weights = make(case)
    for name in ("b1", "b2", "b3"):
        getattr(weights, name).zero_()
    one, four = (run(backend, scale * x, case.groups, weights)[0] for scale in (1.0, 4.0))
    assert torch.equal(four, 4.0 * one)
