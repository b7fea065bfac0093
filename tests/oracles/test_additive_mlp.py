"""The additive model's networks against tools nobody here wrote: torch.nn, scikit-learn, numpy.interp."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from iuscore import ops
from tests.conftest import BackendUnderTest

pytestmark = pytest.mark.usefixtures("one_thread")

GROUPS = (1, 4, 2)


def test_results_are_those_of_torch_modules(backend: BackendUnderTest) -> None:
    """One nn.Sequential per group, in float64."""
    torch.manual_seed(0)
    x = torch.randn(50, 7)
    modules = [nn.Sequential(nn.Linear(d, 9), nn.ReLU(), nn.Linear(9, 5), nn.ReLU(), nn.Linear(5, 3)) for d in GROUPS]
    layers = [[m[0], m[2], m[4]] for m in modules]
    weights = ops.AdditiveWeights(
        torch.cat([first.weight.T for first, _, _ in layers]).detach(),
        *(
            torch.stack([getattr(group[layer], name).t() for group in layers]).detach().contiguous()
            for layer, name in ((0, "bias"), (1, "weight"), (1, "bias"), (2, "weight"), (2, "bias"))
        ),
    )
    device = backend.device
    there = ops.AdditiveWeights(*(getattr(weights, n).to(device) for n in ("w1", "b1", "w2", "b2", "w3", "b3")))
    out = ops.additive_mlp(x.to(device), GROUPS, there, backend=backend.backend)
    parts = x.double().split(GROUPS, dim=1)
    expected = torch.stack([m.double()(part) for m, part in zip(modules, parts, strict=True)], dim=1)
    # 16 terms of at most 3 in three layers.
    assert (out.contributions.cpu().double() - expected).abs().max() < 1e-5
    assert (out.total.cpu().double() - expected.sum(1)).abs().max() < 2e-5


def test_results_are_those_of_scikit_learn(backend: BackendUnderTest) -> None:
    """Each fitted MLPRegressor is one group."""
    neural_network = pytest.importorskip("sklearn.neural_network")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 3)), rng.normal(size=80)
    fitted = neural_network.MLPRegressor(
        hidden_layer_sizes=(8, 6), solver="lbfgs", max_iter=20_000, tol=1e-2, random_state=0
    )
    fitted.fit(x, y)
    first, second, third = (torch.from_numpy(w).float() for w in fitted.coefs_)
    b1, b2, b3 = (torch.from_numpy(b).float() for b in fitted.intercepts_)
    parts = (first, b1[None], second[None], b2[None], third[None], b3[None])
    weights = ops.AdditiveWeights(*(part.to(backend.device) for part in parts))
    got = ops.additive_mlp(torch.from_numpy(x).float().to(backend.device), (3,), weights, backend=backend.backend)
    size = 1.0 + max(float(part.abs().max()) for part in parts) ** 3
    assert np.abs(got.total.cpu().numpy()[:, 0] - fitted.predict(x)).max() < 1e-6 * size


def test_tables_are_those_of_numpy_interp(backend: BackendUnderTest) -> None:
    weights = ops.AdditiveWeights.random((1,) * 4, hidden=(16, 8), generator=torch.Generator().manual_seed(1))
    low, high = torch.tensor([-1.0, 0.0, 2.0, -5.0]), torch.tensor([1.0, 0.5, 9.0, -3.0])
    tables = ops.additive_tables(weights, low=low, high=high, points=101)
    x = torch.linspace(-6.0, 10.0, 333)[:, None].expand(-1, 4)
    got = ops.additive_lookup(x.to(backend.device), tables.to(backend.device), backend=backend.backend).contributions
    for g in range(4):
        knots = np.linspace(low[g].item(), high[g].item(), 101)
        expected = np.interp(x[:, g].numpy(), knots, tables.values[g, :, 0].numpy())
        # Three roundings of a place among 100 cells, of a value and of a difference of values.
        assert np.abs(got[:, g, 0].cpu().numpy() - expected).max() < 4e-5 * np.abs(expected).max()
