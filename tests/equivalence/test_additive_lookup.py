"""Tables of the additive model: within their stated error of the network, equal in every bit on every back end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iuscore import ops
from iuscore.ops import _backend
from tests.conftest import BackendUnderTest
from tests.equivalence.additive_cases import VIEWS, Case, doubles, make, view_of
from tests.equivalence.test_additive_mlp import assert_same_bits
from tests.isas import ISAS, available, using
from tests.reference import additive_lookup as reference
from tests.reference import additive_mlp
from tests.tolerances import U

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Tabulated:
    network: Case
    points: int
    low: float
    width: float

    def tables(self) -> ops.AdditiveTables:
        _, weights = make(self.network)
        low = torch.linspace(self.low, self.low + 1.0, len(self.network.groups))
        return ops.additive_tables(weights, low=low, high=low + self.width, points=self.points)

    def x(self, tables: ops.AdditiveTables) -> Tensor:
        """Inside, outside, at the ends and at knots."""
        generator = torch.Generator().manual_seed(self.network.seed)
        share = torch.rand(self.network.rows, len(self.network.groups), generator=generator) * 1.4 - 0.2
        knots = (share * (self.points - 1)).round() / (self.points - 1)
        share = torch.where(torch.rand(share.shape, generator=generator) < 0.3, knots, share)
        return tables.low + share * (tables.high - tables.low)


def tabulated() -> st.SearchStrategy[Tabulated]:
    network = st.builds(
        Case, st.sampled_from([0, 1, 7, 8, 33, 130]), st.integers(1, 40).map(lambda g: (1,) * g),
        st.tuples(st.integers(1, 9), st.integers(1, 9)), st.integers(1, 3), st.just("contiguous"),
        st.integers(0, 2**16),
    )  # fmt: skip
    points = st.sampled_from([2, 3, 16, 17, 100, 1025])
    return st.builds(Tabulated, network, points, st.floats(-100, 100, width=32), st.floats(0.25, 8.0, width=32))


def on(tables: ops.AdditiveTables, x: Tensor, backend: BackendUnderTest) -> list[Tensor]:
    out = ops.additive_lookup(x.to(backend.device), tables.to(backend.device), backend=backend.backend)
    assert out.contributions.device.type == out.total.device.type == backend.device.type
    return [t.cpu() for t in out]


@given(case=tabulated())
def test_differs_from_the_network_by_the_stated_error_at_most(backend: BackendUnderTest, case: Tabulated) -> None:
    tables = case.tables()
    x = case.x(tables)
    contributions, total = (t.double().numpy() for t in on(tables, x, backend))
    inside = x.double().clamp(tables.low.double(), tables.high.double()).numpy()
    weights = doubles(make(case.network)[1])
    exact = np.stack([t.contribution for t in additive_mlp.forward(inside, case.network.groups, weights)], axis=1)
    error = tables.error.numpy()
    assert (np.abs(contributions - exact) <= error).all()
    sums = (len(error) + 1) * U * np.abs(contributions).sum(1)
    assert (np.abs(total - exact.sum(1)) <= error.sum(0) + sums).all()


@given(case=tabulated())
def test_equals_the_reference(backend: BackendUnderTest, case: Tabulated) -> None:
    """Rounding alone; its part of the stated error, derived in ops/_torch/additive_tables.py."""
    tables = case.tables()
    x = case.x(tables)
    values, low, high = (t.double().numpy() for t in (tables.values, tables.low, tables.high))
    expected = reference.lookup(x.double().numpy(), values, low, high)
    largest, step = np.abs(values).max(1), np.abs(np.diff(values, axis=1)).max(1)
    allowed = 2.2 * U * largest + (2.2 + 3.3 * (case.points - 1)) * U * step
    assert (np.abs(on(tables, x, backend)[0].double().numpy() - expected) <= allowed).all()


@given(case=tabulated())
def test_all_back_ends_have_equal_bits(native: BackendUnderTest, case: Tabulated) -> None:
    tables = case.tables()
    x = case.x(tables)
    if len(x):
        x[0, 0], x[-1, -1] = float("inf"), float("nan")
    expected = list(ops.additive_lookup(x, tables, backend="torch"))
    for form in VIEWS[:-1]:
        assert_same_bits(on(tables, view_of(x, form), native), expected)
    cut = len(x) // 3
    parts = [on(tables, part, native) for part in (x[:cut], x[cut:])]
    assert_same_bits((torch.cat(both) for both in zip(*parts, strict=True)), expected)
    if native.device.type != "cpu":
        return
    for isa, threads in zip(available(), (1, 2, 5), strict=False):
        torch.set_num_threads(threads)
        with using(isa):
            assert_same_bits(on(tables, x, native), expected)
    torch.set_num_threads(1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 3e38, -3e38])
def test_what_lies_outside(backend: BackendUnderTest, value: float) -> None:
    weights = ops.AdditiveWeights.random((1,) * 5, hidden=(8, 4), generator=torch.Generator().manual_seed(0))
    tables = ops.additive_tables(weights, low=-2.0, high=2.0, points=33)
    x = torch.zeros(3, 5)
    expected = on(tables, x, backend)
    x[1, 2] = value
    contributions, total = on(tables, x, backend)
    if value != value:
        assert contributions[1, 2].isnan().all()
        assert total[1].isnan().all()
    else:
        end = tables.values[2, -1 if value > 0.0 else 0]
        assert (contributions[1, 2] - end).abs().max() <= 2.0 * U * tables.values[2].abs().max()
    contributions[1, 2] = expected[0][1, 2]
    assert torch.equal(contributions, expected[0])
    assert torch.equal(total[[0, 2]], expected[1][[0, 2]])


@pytest.mark.parametrize("points", [17, 257])
def test_the_stated_error_is_not_far_from_the_largest_there_is(points: int) -> None:
    case = Case(0, (1,) * 8, (24, 12), 2, "contiguous", 3)
    _, weights = make(case)
    tables = ops.additive_tables(weights, low=-3.0, high=3.0, points=points)
    fine = np.linspace(-3.0, 3.0, 20_001)[:, None].repeat(8, axis=1)
    exact = np.stack([t.contribution for t in additive_mlp.forward(fine, case.groups, doubles(weights))], axis=1)
    got = ops.additive_lookup(torch.from_numpy(fine).float(), tables).contributions.double().numpy()
    largest = np.abs(got - exact).max(0)
    assert (largest <= tables.error.numpy()).all()
    assert (largest >= 0.9 * tables.error.numpy()).all()


@given(tolerance=st.sampled_from([1e-1, 1e-2, 1e-3]), seed=st.integers(0, 1000))
def test_a_tolerance_is_met_with_the_fewest_knots(tolerance: float, seed: int) -> None:
    _, weights = make(Case(0, (1,) * 3, (8, 6), 1, "contiguous", seed))
    tables = ops.additive_tables(weights, low=-2.0, high=2.0, tolerance=tolerance)
    knots = tables.values.shape[1]
    assert tables.error.max() <= tolerance
    assert (
        knots == 17 or ops.additive_tables(weights, low=-2.0, high=2.0, points=knots // 2 + 1).error.max() > tolerance
    )


@given(case=tabulated())
def test_the_gradient_is_the_slope_between_knots(case: Tabulated) -> None:
    tables = case.tables()
    x = case.x(tables).requires_grad_()
    out = ops.additive_lookup(x, tables)
    if not len(x):
        return
    (gradient,) = torch.autograd.grad(out.contributions[..., 0].sum(), x)
    scale = (case.points - 1) / (tables.high - tables.low)
    at = (x.detach() - tables.low) * scale
    inside = (at > 0.001) & (at < case.points - 1.001) & ((at - at.round()).abs() > 0.001)
    cell = at.long().clamp(0, case.points - 2)
    group = torch.arange(len(scale))
    slope = (tables.values[group, cell + 1, 0] - tables.values[group, cell, 0]) * scale
    assert torch.allclose(gradient[inside], slope[inside], rtol=1e-5, atol=0.0)
    assert not gradient[(at < -0.001) | (at > case.points - 0.999)].any()


def test_instruction_sets_named_here_are_all_there_are() -> None:
    core, why = _backend.extension("_core")
    assert core, why
    assert core.build_info()["cpu_isa"] in ISAS
