"""The CUDA side of `additive_cnn`: kernels equal PyTorch's formulas, the whole equals the float64 reference.

Without a GPU the bindings, launchers and kernel bodies run on the host, under the same Python code; only convolutions
are PyTorch's on a CPU instead of cuDNN's.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from iuscore import ops
from iuscore.ops._native import additive_cnn_cuda as _cuda
from tests import tolerances_cnn as tolerances
from tests.equivalence.cnn_cases import Case, assert_near_reference, cases, make, view_of
from tests.tolerances import U

pytestmark = pytest.mark.usefixtures("one_thread")
HALF = torch.float16


@given(case=cases(side=14))
@settings(max_examples=15)
def test_equals_the_reference(host_kernels: ModuleType, case: Case) -> None:
    maps, networks = make(case)
    assert_near_reference(_cuda.additive_cnn(view_of(maps, case.view), networks), maps, networks)


def test_bits_do_not_depend_on_the_batch(host_kernels: ModuleType) -> None:
    """But for cuDNN, which may choose by the batch."""
    maps, networks = make(Case(9, 2, (9, 20), ((9, 8), (16, 16)), (5, 5, 2), "contiguous", 4))
    together = _cuda.additive_cnn(maps, networks)
    parts = [_cuda.additive_cnn(maps[i : i + 1], networks) for i in range(len(maps))]
    assert torch.equal(torch.cat(parts), together)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_map_that_is_not_finite_spoils_its_own_evidence_only(host_kernels: ModuleType, value: float) -> None:
    maps, networks = make(Case(3, 2, (9, 8), ((3, 2), (4,)), (5, 2), "contiguous", 1))
    before = _cuda.additive_cnn(maps, networks)
    maps[1, 0, 8, 7] = value
    after = _cuda.additive_cnn(maps, networks)
    assert after[1, 0].isnan().all()
    before[1, 0] = after[1, 0] = 0
    assert torch.equal(after, before)


@pytest.mark.parametrize("where", ["map", "kernel", "bias", "linear"])
def test_what_is_too_large_for_float16_gives_nan(host_kernels: ModuleType, where: str) -> None:
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


@pytest.mark.parametrize("value", [float("nan"), -float("nan")])
@pytest.mark.parametrize(
    "where", ["first kernel", "first bias", "bias", "last bias", "mean", "variance", "weight", "shift", "linear"]
)
def test_weights_that_are_not_numbers_give_nan(host_kernels: ModuleType, where: str, value: float) -> None:
    """Of the network that they are in: a largest value or a ReLU could pass them over."""
    maps, networks = make(Case(2, 2, (9, 8), ((3, 2), (4,)), (5, 2), "contiguous", 1))
    before = _cuda.additive_cnn(maps, networks)
    first, last = networks[1].blocks
    assert first.weight is not None
    assert first.bias is not None
    parts = {
        "first kernel": first.kernels[0], "first bias": first.biases[0], "bias": first.biases[1],
        "last bias": last.biases[0], "mean": first.mean, "variance": first.variance, "weight": first.weight,
        "shift": first.bias, "linear": networks[1].linears[0][1],
    }  # fmt: skip
    parts[where].flatten()[0] = value
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
    host_kernels: ModuleType, batch: int, groups: int, height: int, width: int, channels: int, seed: int
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
    host_kernels: ModuleType, batch: int, height: int, width: int, used: int, affine: bool, pooled: bool, seed: int
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
    nonfinite = torch.zeros(batch, dtype=torch.int32)
    _cuda._network(layers, F.pad(x, [0, channels - used]), out, nonfinite)
    assert not nonfinite.any()
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
def test_heads(host_kernels: ModuleType, batch: int, groups: int, terms: int, units: list[int], seed: int) -> None:
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
