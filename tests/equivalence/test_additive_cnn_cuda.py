"""The CUDA side of `additive_cnn`: kernels equal PyTorch's formulas, the whole equals the float64 reference.

Without a GPU the bindings, launchers and kernel bodies run on the host, under the same Python code; only convolutions
are PyTorch's on a CPU instead of cuDNN's.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from iuscore import ops
from iuscore.models import EPUCNN
from iuscore.ops._native import additive_cnn_cuda as _cuda
from tests import tolerances_cnn as tolerances
from tests.conftest import BackendUnderTest
from tests.equivalence.cnn_cases import Case, cases, doubles, make, view_of
from tests.equivalence.host_build import build_module
from tests.reference import additive_cnn as reference
from tests.tolerances import U

pytestmark = pytest.mark.usefixtures("one_thread")
HALF = torch.float16


@pytest.fixture(scope="module")
def on_host() -> Iterator[ModuleType]:
    """The kernels on the host, in the place of the compiled module."""
    path = build_module("host_kernels", "tests/cpp/on_host")
    spec = importlib.util.spec_from_file_location("host_kernels", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_cuda, "cuda", lambda: module)
        yield module


def assert_equals_reference(evidence: Tensor, maps: Tensor, networks: list[ops.CnnNetwork]) -> None:
    got = evidence.double().cpu().numpy()
    assert got.shape == (len(maps), len(networks), len(networks[0].linears[-1][1]))
    for g, network in enumerate(map(doubles, networks)):
        for b in range(len(maps)):
            trace = reference.forward(maps[b, g].double().numpy(), network)
            error, allowed = abs(got[b, g] - trace.evidence), tolerances.bound_on_gpu(trace, network)
            assert (error <= allowed).all(), f"image {b}, map {g}: off by {error}, allowed {allowed}"


def moved(networks: list[ops.CnnNetwork], device: torch.device) -> list[ops.CnnNetwork]:
    def move(part: Any) -> Any:
        if isinstance(part, Tensor):
            return part.to(device)
        if isinstance(part, tuple):
            parts = [move(each) for each in part]
            return type(part)(*parts) if hasattr(part, "_fields") else tuple(parts)
        return part

    return [move(network) for network in networks]


@given(case=cases(side=14))
@settings(max_examples=15)
def test_equals_the_reference(on_host: ModuleType, case: Case) -> None:
    maps, networks = make(case)
    assert_equals_reference(_cuda.additive_cnn(view_of(maps, case.view), networks), maps, networks)


@pytest.mark.cuda
@given(case=cases())
@settings(deadline=None)
def test_equals_the_reference_on_a_gpu(cuda_native: BackendUnderTest, case: Case) -> None:
    maps, networks = make(case)
    there = moved(networks, cuda_native.device)
    evidence = ops.additive_cnn(
        view_of(maps, case.view).to(cuda_native.device), there, precision="fast", backend="native"
    )
    assert_equals_reference(evidence, maps, networks)


def test_bits_do_not_depend_on_the_batch(on_host: ModuleType) -> None:
    """But for cuDNN, which may choose by the batch."""
    maps, networks = make(Case(9, 2, (9, 20), ((9, 8), (16, 16)), (5, 5, 2), "contiguous", 4))
    together = _cuda.additive_cnn(maps, networks)
    parts = [_cuda.additive_cnn(maps[i : i + 1], networks) for i in range(len(maps))]
    assert torch.equal(torch.cat(parts), together)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_map_that_is_not_finite_spoils_its_own_evidence_only(on_host: ModuleType, value: float) -> None:
    maps, networks = make(Case(3, 2, (9, 8), ((3, 2), (4,)), (5, 2), "contiguous", 1))
    before = _cuda.additive_cnn(maps, networks)
    maps[1, 0, 8, 7] = value
    after = _cuda.additive_cnn(maps, networks)
    assert after[1, 0].isnan().all()
    before[1, 0] = after[1, 0] = 0
    assert torch.equal(after, before)


@pytest.mark.parametrize("where", ["map", "kernel", "bias", "linear"])
def test_what_is_too_large_for_float16_gives_nan(on_host: ModuleType, where: str) -> None:
    """Of the map or network that it is in."""
    maps, networks = make(Case(2, 2, (9, 8), ((3, 2), (4,)), (5, 2), "contiguous", 1))
    before = _cuda.additive_cnn(maps, networks)
    if where == "map":
        maps[:, 1] *= 1e6
    elif where == "kernel":
        networks[1].blocks[1].kernels[0][0, 0] = 1e5
    elif where == "bias":
        networks[1].blocks[0].biases[0][0] = 1e5
    else:
        networks[1].linears[0][0][2, 3] = 1e5
    after = _cuda.additive_cnn(maps, networks)
    assert after[:, 1].isnan().all()
    assert torch.equal(after[:, 0], before[:, 0])


# ---- Kernel by kernel


def close(got: Tensor, expected: Tensor, size: Tensor, terms: int) -> None:
    """float16 of a sum of `terms` terms, which have `size` in all, in float32."""
    allowed = tolerances.HALF * expected.abs() + tolerances.LEAST + (1 + tolerances.HALF) * (terms + 3) * U * size
    assert ((got.double() - expected).abs() <= allowed).all()


@given(
    batch=st.integers(0, 3), groups=st.integers(1, 3), height=st.integers(1, 4), width=st.sampled_from([1, 31, 33]),
    channels=st.sampled_from([8, 24]), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=12)
def test_first_convolution(
    on_host: ModuleType, batch: int, groups: int, height: int, width: int, channels: int, seed: int
) -> None:
    torch.manual_seed(seed)
    maps, kernels = torch.randn(batch, groups, height, width), torch.randn(groups, channels, 1, 3, 3)
    bias = torch.randn(groups, channels)
    plan: Any = type("Plan", (), {"first": kernels.flatten(2).transpose(1, 2).contiguous(), "first_bias": bias})
    got = _cuda._first(plan, maps, torch.zeros(groups, batch, dtype=torch.int32)).permute(0, 1, 4, 2, 3)
    assert got.dtype == HALF
    for g in range(groups):
        x, k, b = maps[:, g : g + 1].double(), kernels[g].double(), bias[g].double()
        expected, size = F.conv2d(x, k, b, padding=1).relu(), F.conv2d(x.abs(), k.abs(), b.abs(), padding=1)
        close(got[g], expected, size, 10)


@given(
    batch=st.integers(0, 2), height=st.integers(2, 5), width=st.sampled_from([2, 3, 17, 19]),
    used=st.sampled_from([1, 7, 8, 9, 24]), affine=st.booleans(), pooled=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=15)
def test_what_follows_a_convolution(
    on_host: ModuleType, batch: int, height: int, width: int, used: int, affine: bool, pooled: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    x = torch.randn(batch, height, width, used).to(HALF)
    bias, mean, weight, shift = torch.randn(4, used)
    variance = torch.rand(used) + 0.1
    channels = -(-used // 8) * 8
    # a convolution of 1, which leaves values as they are
    kernels = F.pad(torch.eye(channels)[..., None, None], [1, 1, 1, 1]).to(HALF, memory_format=torch.channels_last)
    norm = (mean, variance, weight if affine else None, shift if affine else None, 1e-3) if pooled else None
    layers = [_cuda.Layer(kernels, bias, norm)]
    if not pooled:  # and the same again: bias and ReLU, then what is pooled
        layers.append(_cuda.Layer(kernels, torch.zeros(used), (torch.zeros(used), torch.ones(used), None, None, 0.0)))
    out = torch.empty(batch, height // 2, width // 2, channels, dtype=HALF)
    broken = torch.zeros(batch, dtype=torch.int32)
    _cuda._network(layers, F.pad(x, [0, channels - used]), out, broken)
    assert not broken.any()
    expected = (x.double() + bias.double()).relu().permute(0, 3, 1, 2)
    expected = F.max_pool2d(expected, 2) if batch else expected[..., : height // 2, : width // 2]
    size = expected + bias.abs().double()[:, None, None]
    if pooled:
        numbers = [part.double() for part in (mean, variance)]
        affines = [part.double() if affine else None for part in (weight, shift)]
        scale = (numbers[1] + 1e-3).rsqrt() * (weight.double().abs() if affine else 1.0)
        size = scale[:, None, None] * (size + mean.abs()[:, None, None])
        size = size + (shift.abs()[:, None, None] if affine else 0.0)
        if batch:
            expected = F.batch_norm(expected, *numbers, *affines, eps=1e-3)
    close(out.permute(0, 3, 1, 2)[:, :used], expected, size, 6)
    assert not out[..., used:].any()


@given(
    batch=st.integers(0, 9), groups=st.integers(1, 2), terms=st.sampled_from([8, 264, 2304]),
    units=st.lists(st.sampled_from([1, 3, 4, 33]), min_size=1, max_size=4), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=12)
def test_heads(on_host: ModuleType, batch: int, groups: int, terms: int, units: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    features = torch.randn(groups, batch, terms).to(HALF)
    widths = [terms, *units]
    linears = [
        [(torch.randn(out, width) / width**0.5, torch.randn(out)) for width, out in zip(widths, units, strict=False)]
        for _ in range(groups)
    ]
    rest = [torch.cat([pairs[0][1], *(part for w, b in pairs[1:] for part in (w.T.flatten(), b))]) for pairs in linears]
    dense = torch.stack([_cuda._in(4, pairs[0][0], 0) for pairs in linears]).to(HALF)
    shape = ops._cnn.CnnShape((8,), (True,), tuple(units))
    plan: Any = type("Plan", (), {"rest": torch.stack(rest), "dense": dense, "shape": shape})
    got = _cuda._heads(plan, features, torch.zeros(groups, batch, dtype=torch.int32))
    assert got.shape == (batch, groups, units[-1])
    for g, pairs in enumerate(linears):
        x, error = features[g].double(), torch.zeros(batch, terms, dtype=torch.float64)
        for i, (weight, bias) in enumerate(pairs):
            w = dense[g, : units[0]].double() if i == 0 else weight.double()
            x, error = (x.relu(), error) if i else (x, error)
            size = (x.abs() + error) @ w.abs().T + bias.abs()
            error = error @ w.abs().T + (len(w.T) + 3) * U * size
            x = x @ w.T + bias.double()
        assert ((got[:, g].double() - x).abs() <= error).all()


# ---- On a GPU only


@pytest.mark.cuda
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
        assert_equals_reference(result, maps, networks)
    assert _cuda._kept[there[0].blocks[0].kernels[0]].graphs.allowed
    for network in there:
        network.linears[-1][1].add_(1.0)
    torch.testing.assert_close(run(), results[0] + 1.0, rtol=0, atol=2e-2 * float(results[0].abs().max()))


@pytest.mark.cuda
def test_exact_is_float32_on_a_gpu(cuda_native: BackendUnderTest) -> None:
    """TF32 keeps 11 bits: its errors would be about 2^-12."""
    torch.manual_seed(0)
    model = EPUCNN(["a", "b"], size=(64, 64), base_channels=32, hidden_units=16).eval().requires_grad_(False)
    maps = torch.rand(2, 4, 64, 64)
    expected = model.contributions_of(maps, "evidence")
    got = model.to(cuda_native.device).contributions_of(maps.to(cuda_native.device), "evidence").cpu()
    assert float((got - expected).abs().max()) < 1e-5 * float(expected.abs().max())
