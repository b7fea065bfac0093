"""Every back end of `additive_cnn` equals the float64 reference; the compiled kernels' bits depend on nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iuscore import ops
from tests import tolerances_cnn as tolerances
from tests.equivalence.cnn_cases import VIEWS, Case, cases, doubles, make, view_of
from tests.isas import using
from tests.reference import additive_cnn as reference

pytestmark = pytest.mark.usefixtures("one_thread")

PRECISIONS: tuple[ops.Precision, ...] = ("exact", "fast")


def assert_equals_reference(evidence: Tensor, maps: Tensor, networks: list[ops.CnnNetwork], fast: bool) -> None:
    got = evidence.double().numpy()
    assert got.shape == (len(maps), len(networks), len(networks[0].linears[-1][1]))
    for g, network in enumerate(map(doubles, networks)):
        for b in range(len(maps)):
            trace = reference.forward(maps[b, g].double().numpy(), network)
            error = np.abs(got[b, g] - trace.evidence)
            allowed = tolerances.bound(trace, network, fast)
            assert (error <= allowed).all(), f"image {b}, map {g}: off by {error}, allowed {allowed}"


def assert_same_bits(got: Tensor, expected: Tensor) -> None:
    assert got.shape == expected.shape
    assert torch.equal(got.view(torch.int32), expected.view(torch.int32)), float((got - expected).abs().max())


@given(case=cases())
@pytest.mark.parametrize("way", ["native exact", "native fast", "torch exact"])
def test_equals_the_reference(way: str, case: Case) -> None:
    backend, precision = way.split()
    maps, networks = make(case)
    evidence = ops.additive_cnn(view_of(maps, case.view), networks, precision=precision, backend=backend)  # type: ignore[arg-type]
    assert_equals_reference(evidence, maps, networks, fast=ops.chosen_precision(precision) == "fast")  # type: ignore[arg-type]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_largest_sums_of_integers_stay_in_range(sign: float) -> None:
    """Equal channels and kernels of one sign: every product is the largest there is, and the sums lie at the edge."""
    maps, networks = make(Case(1, 1, (12, 12), ((64, 64),), (3,), "contiguous", 3))
    (block,) = networks[0].blocks
    first, second = (torch.ones_like(kernels) for kernels in block.kernels)
    biases = (torch.zeros(64), torch.full((64,), 1.0 if sign > 0 else 1e6))
    block = block._replace(kernels=(first, sign * second), biases=biases, mean=torch.zeros(64))
    networks = [networks[0]._replace(blocks=(block,))]
    evidence = ops.additive_cnn(maps.abs() + 100.0, networks, precision="fast", backend="native")
    assert_equals_reference(evidence, maps.abs() + 100.0, networks, fast=ops.chosen_precision("fast") == "fast")


@given(case=cases(largest=2, side=12))
def test_cpu_isas_have_equal_bits(several_isas: tuple[str, ...], case: Case) -> None:
    maps, networks = make(case)
    results = []
    for isa in several_isas:
        with using(isa):
            results.append(ops.additive_cnn(maps, networks, backend="native"))
    for result in results[1:]:
        assert_same_bits(result, results[0])


@given(case=cases(), cut=st.integers(0, 3), precision=st.sampled_from(PRECISIONS))
def test_bits_do_not_depend_on_how_it_is_called(case: Case, cut: int, precision: ops.Precision) -> None:
    maps, networks = make(case)

    def run(maps: Tensor) -> Tensor:
        return ops.additive_cnn(maps, networks, precision=precision, backend="native")

    expected = run(maps)
    for form in VIEWS[:-1]:
        assert_same_bits(run(view_of(maps, form)), expected)
    assert_same_bits(torch.cat([run(maps[:cut]), run(maps[cut:])]), expected)
    assert_same_bits(run(maps.flip(0)).flip(0), expected)
    threads = torch.get_num_threads()
    try:
        for count in (2, 5, 16):
            torch.set_num_threads(count)
            assert_same_bits(run(maps), expected)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_many_images_and_tiles_have_equal_bits_one_by_one(precision: ops.Precision) -> None:
    """More images than share a pass through the linear layers, more tiles than are transformed at a time."""
    maps, networks = make(Case(33, 2, (37, 41), ((17, 16), (33,)), (18, 2), "contiguous", 7))
    together = ops.additive_cnn(maps, networks, precision=precision, backend="native")
    alone = [ops.additive_cnn(one[None], networks, precision=precision, backend="native") for one in maps]
    assert_same_bits(torch.cat(alone), together)
    torch.set_num_threads(3)
    assert_same_bits(ops.additive_cnn(maps, networks, precision=precision, backend="native"), together)
    torch.set_num_threads(1)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("block", [0, 1])
@pytest.mark.parametrize("kernels", [0, 1])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3e38])
def test_what_stops_being_a_number_in_a_network_does_not_become_one_again(
    precision: ops.Precision, block: int, kernels: int, value: float
) -> None:
    """A weight of a broken training, or values that leave the range of float32."""
    maps, networks = make(Case(2, 2, (12, 12), ((16, 16), (16, 16)), (3,), "contiguous", 5))
    maps = maps.abs() + 10.0
    networks[1].blocks[block].kernels[kernels][3] = value
    evidence = ops.additive_cnn(maps, networks, precision=precision, backend="native")
    assert evidence[:, 0].isfinite().all()
    assert evidence[:, 1].isnan().all()


@given(case=cases(), value=st.sampled_from([float("nan"), float("inf"), -float("inf")]), where=st.integers(0, 10**6))
@pytest.mark.parametrize("way", ["native exact", "native fast", "torch exact"])
def test_a_map_that_is_not_finite_spoils_its_own_evidence_only(way: str, case: Case, value: float, where: int) -> None:
    backend, precision = way.split()
    maps, networks = make(case)
    if not maps.numel():
        return
    broken = maps.clone()
    broken.view(-1)[where % maps.numel()] = value
    hit = torch.isfinite(broken).flatten(2).all(2)
    before, after = (
        ops.additive_cnn(m, networks, precision=precision, backend=backend)  # type: ignore[arg-type]
        for m in (maps, broken)
    )
    assert after[~hit].isnan().all()
    assert torch.equal(after[hit], before[hit])
