"""`additive_cnn` on a GPU: within its bound, the same by graphs and on other streams, and without TF32.

The same kernels run without a GPU in test_additive_cnn_cuda.py.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from torch import Tensor

from iuscore import ops
from iuscore.models import EPUCNN
from iuscore.ops._native import additive_cnn_cuda as _cuda
from tests.conftest import BackendUnderTest
from tests.equivalence.cnn_cases import Case, assert_near_reference, cases, make, view_of

pytestmark = pytest.mark.cuda


def moved(networks: list[ops.CnnNetwork], device: torch.device) -> list[ops.CnnNetwork]:
    def move(part: Any) -> Any:
        if isinstance(part, Tensor):
            return part.to(device)
        if isinstance(part, tuple):
            parts = [move(each) for each in part]
            return type(part)(*parts) if hasattr(part, "_fields") else tuple(parts)
        return part

    return [move(network) for network in networks]


@given(case=cases())
def test_equals_the_reference_on_a_gpu(cuda_native: BackendUnderTest, case: Case) -> None:
    maps, networks = make(case)
    there = moved(networks, cuda_native.device)
    evidence = ops.additive_cnn(
        view_of(maps, case.view).to(cuda_native.device), there, precision="fast", backend="native"
    )
    assert_near_reference(evidence, maps, networks)


def test_graphs_and_streams_give_the_same(cuda_native: BackendUnderTest) -> None:
    """Eager, captured, replayed, on another stream, within the caller's graph; weights that change are noticed."""
    maps, networks = make(Case(5, 4, (24, 24), ((16, 16), (32, 32), (64, 64, 64)), (8, 8, 1), "contiguous", 3))
    x, there = maps.to(cuda_native.device), moved(networks, cuda_native.device)

    def run() -> Tensor:
        return ops.additive_cnn(x, there, precision="fast", backend="native")

    results = [run() for _ in range(4)]
    other = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    other.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(other):
        results.append(run())
    torch.cuda.current_stream().wait_stream(other)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = run()
    graph.replay()
    for result in [*results, captured]:
        assert_near_reference(result, maps, networks)
    assert _cuda._kept[there[0].blocks[0].kernels[0]].graphs.allowed
    for network in there:
        network.linears[-1][1].add_(1.0)
    torch.testing.assert_close(run(), results[0] + 1.0, rtol=0, atol=2e-2 * float(results[0].abs().max()))


def test_exact_is_float32_on_a_gpu(cuda_native: BackendUnderTest) -> None:
    """TF32 keeps 11 bits: its errors would be about 2^-12."""
    torch.manual_seed(0)
    model = EPUCNN(["a", "b"], size=(64, 64), base_channels=32, hidden_units=16).eval().requires_grad_(False)
    maps = torch.rand(2, 4, 64, 64)
    expected = model.contributions_of(maps, "evidence")
    got = model.to(cuda_native.device).contributions_of(maps.to(cuda_native.device), "evidence").cpu()
    assert float((got - expected).abs().max()) < 1e-5 * float(expected.abs().max())
