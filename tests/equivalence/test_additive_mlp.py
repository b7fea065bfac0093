"""Every back end of `additive_mlp` equals the float64 reference, gradients included; compiled ones bit for bit."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iuscore import ops
from iuscore.ops._torch import additive_mlp as _torch
from tests import tolerances_additive as tolerances
from tests.conftest import BackendUnderTest
from tests.equivalence.additive_cases import NAMES, VIEWS, Case, cases, doubles, make, view_of
from tests.isas import available, using
from tests.reference import additive_mlp as reference

pytestmark = pytest.mark.usefixtures("one_thread")


def on(weights: ops.AdditiveWeights, device: torch.device) -> ops.AdditiveWeights:
    return ops.AdditiveWeights(*(getattr(weights, name).to(device) for name in NAMES))


def gradients_of(
    x: Tensor, groups: tuple[int, ...], weights: ops.AdditiveWeights, g: Tensor, g_total: Tensor, backend: str
) -> dict[str, Tensor]:
    """Of sum(contributions * g) + sum(total * g_total), for x and every weight."""
    leaves = [t.detach().requires_grad_() for t in (x, *(getattr(weights, name) for name in NAMES))]
    out = ops.additive_mlp(leaves[0], groups, ops.AdditiveWeights(*leaves[1:]), backend=backend)  # type: ignore[arg-type]
    loss = (out.contributions * g).sum() + (out.total * g_total).sum()
    return dict(zip(("x", *NAMES), torch.autograd.grad(loss, leaves), strict=True))


@given(case=cases())
def test_equals_the_reference(backend: BackendUnderTest, case: Case) -> None:
    x, weights = make(case)
    out = ops.additive_mlp(
        view_of(x, case.view).to(backend.device), case.groups, on(weights, backend.device), backend=backend.backend
    )
    assert out.contributions.shape == (case.rows, len(case.groups), case.outputs)
    assert out.total.shape == (case.rows, case.outputs)
    assert out.contributions.device.type == out.total.device.type == backend.device.type
    contributions, total = (t.double().cpu().numpy() for t in out)
    tolerances.assert_forward(contributions, total, x.double().numpy(), case.groups, doubles(weights))


@given(case=cases())
def test_gradients_equal_the_reference(backend: BackendUnderTest, case: Case) -> None:
    x, weights = make(case)
    generator = torch.Generator().manual_seed(case.seed + 1)
    g = torch.randn(case.rows, len(case.groups), case.outputs, generator=generator)
    g_total = torch.randn(case.rows, case.outputs, generator=generator)
    device = backend.device
    got = gradients_of(
        view_of(x, case.view).to(device), case.groups, on(weights, device), g.to(device), g_total.to(device),
        backend.backend,
    )  # fmt: skip
    exact = (g.double() + g_total.double()[:, None]).numpy()
    values = {name: t.double().cpu().numpy() for name, t in got.items()}
    tolerances.assert_gradients(values, x.double().numpy(), case.groups, doubles(weights), exact)


@given(case=cases())
def test_batched_products_equal_the_reference(case: Case) -> None:
    """What PyTorch does on devices other than a CPU."""
    x, weights = make(case)
    contributions = _torch.batched(view_of(x, case.view), case.groups, *(getattr(weights, name) for name in NAMES))
    assert contributions.shape == (case.rows, len(case.groups), case.outputs)
    values = contributions.double().numpy()
    tolerances.assert_forward(values, values.sum(1), x.double().numpy(), case.groups, doubles(weights))


def everything(case: Case, x: Tensor, weights: ops.AdditiveWeights, device: torch.device) -> list[Tensor]:
    """Results and gradients of the compiled kernels, on the CPU."""
    generator = torch.Generator().manual_seed(case.seed + 1)
    g = torch.randn(case.rows, len(case.groups), case.outputs, generator=generator).to(device)
    g_total = torch.randn(case.rows, case.outputs, generator=generator).to(device)
    x, weights = x.to(device), on(weights, device)
    out = ops.additive_mlp(x, case.groups, weights, backend="native")
    gradients = gradients_of(x, case.groups, weights, g, g_total, "native")
    return [t.cpu() for t in (*out, *gradients.values())]


def assert_same_bits(got: Iterable[Tensor], expected: Iterable[Tensor]) -> None:
    for a, b in zip(got, expected, strict=True):
        assert a.shape == b.shape
        different = int((a.contiguous().view(torch.int32) != b.contiguous().view(torch.int32)).sum())
        assert different == 0, f"{different} of {a.numel()} values differ, by up to {float((a - b).abs().max()):.2g}"


@given(case=cases(), cut=st.integers(0, 300))
def test_native_bits_do_not_depend_on_how_it_is_called(native: BackendUnderTest, case: Case, cut: int) -> None:
    x, weights = make(case)
    expected = everything(case, x, weights, native.device)
    for form in VIEWS[:-1]:
        assert_same_bits(everything(case, view_of(x, form), weights, native.device), expected)
    there, w = x.to(native.device), on(weights, native.device)
    parts = [ops.additive_mlp(part, case.groups, w, backend="native") for part in (there[:cut], there[cut:])]
    assert_same_bits((torch.cat(both).cpu() for both in zip(*parts, strict=True)), expected[:2])
    threads = torch.get_num_threads()
    try:
        for count in (2, 5):
            torch.set_num_threads(count)
            assert_same_bits(everything(case, x, weights, native.device), expected)
    finally:
        torch.set_num_threads(threads)


@given(case=cases())
def test_cpu_isas_have_equal_bits(several_isas: tuple[str, ...], case: Case) -> None:
    x, weights = make(case)
    results = []
    for isa in several_isas:
        with using(isa):
            results.append(everything(case, x, weights, torch.device("cpu")))
    for result in results[1:]:
        assert_same_bits(result, results[0])


def test_many_chunks_of_rows_have_equal_bits_in_all_instruction_sets_and_threads() -> None:
    """More rows than one chunk of gradients holds, and more sums than are kept at once."""
    case = Case(1300, (3, 1) * 40, (130, 110), 1, "contiguous", 5)
    x, weights = make(case)
    results = []
    for isa, threads in ((isa, threads) for isa in available()[-2:] for threads in (1, 3)):
        torch.set_num_threads(threads)
        with using(isa):
            results.append(everything(case, x, weights, torch.device("cpu")))
    torch.set_num_threads(1)
    for result in results[1:]:
        assert_same_bits(result, results[0])


@pytest.mark.cuda
@given(case=cases())
def test_cuda_bits_are_those_of_the_cpu(cuda_native: BackendUnderTest, case: Case) -> None:
    x, weights = make(case)
    expected = everything(case, x, weights, torch.device("cpu"))
    assert_same_bits(everything(case, x, weights, cuda_native.device), expected)


@given(case=cases(), value=st.sampled_from([float("nan"), float("inf"), -float("inf")]), where=st.integers(0, 10**6))
def test_what_is_not_finite_spoils_its_own_row_and_group(
    backend: BackendUnderTest, case: Case, value: float, where: int
) -> None:
    if case.rows == 0 or case.view == "expanded":
        return
    x, weights = make(case)
    spoilt = x.clone()
    row, column = where % case.rows, where // case.rows % x.shape[1]
    spoilt[row, column] = value
    group = next(g for g in range(len(case.groups)) if sum(case.groups[: g + 1]) > column)
    w = on(weights, backend.device)
    good, bad = (ops.additive_mlp(t.to(backend.device), case.groups, w, backend=backend.backend) for t in (x, spoilt))
    touched = torch.zeros(good.contributions.shape[:2], dtype=torch.bool)
    touched[row, group] = True
    assert torch.equal(bad.contributions.cpu()[~touched], good.contributions.cpu()[~touched])
    others = torch.arange(case.rows) != row
    assert torch.equal(bad.total.cpu()[others], good.total.cpu()[others])
    with np.errstate(invalid="ignore"):
        exact = reference.forward(spoilt[row : row + 1].double().numpy(), case.groups, doubles(weights))
    got = bad.contributions[row].double().cpu().numpy()
    for g, trace in enumerate(exact):  # infinities and NaN where the formula has them
        finite = np.isfinite(trace.contribution[0])
        assert np.array_equal(got[g][~finite], trace.contribution[0][~finite], equal_nan=True)
        assert np.isfinite(got[g][finite]).all()
