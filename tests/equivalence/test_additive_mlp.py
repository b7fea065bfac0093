"""Every back end of `additive_mlp` equals the float64 reference, gradients included."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from torch import Tensor

from iuscore import ops
from tests import tolerances_additive as tolerances
from tests.conftest import BackendUnderTest
from tests.equivalence.additive_cases import NAMES, Case, cases, doubles, make, view_of

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
