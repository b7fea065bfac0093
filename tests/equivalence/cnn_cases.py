"""Networks and maps that the tests of `additive_cnn` draw."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from iuscore import ops
from tests import tolerances_cnn as tolerances
from tests.reference import additive_cnn as reference


@dataclass(frozen=True)
class Case:
    batch: int
    groups: int
    size: tuple[int, int]
    convolutions: tuple[tuple[int, ...], ...]  # channels of every convolution of every block
    units: tuple[int, ...]
    view: str
    seed: int


VIEWS = ("contiguous", "every-other", "channels-last", "expanded")
EPU = (2, 2, 3)


@st.composite
def cases(draw: st.DrawFn, largest: int = 5, side: int = 18) -> Case:
    blocks: tuple[tuple[int, ...], ...]
    if draw(st.booleans()):
        base = draw(st.integers(1, largest))
        blocks = tuple((base * 2**i,) * n for i, n in enumerate(EPU))
    else:  # around the width of a vector, odd and even
        width = st.sampled_from([1, 2, 3, 7, 16, 17, 32, 33])
        blocks = ((draw(width), draw(width)),)
        if draw(st.booleans()):
            blocks += ((draw(width),),)
    least = 2 ** len(blocks)
    size = st.one_of(st.integers(least, side), st.sampled_from([8, 9, 12, 16, 17]))
    units = st.lists(st.sampled_from([1, 2, 3, 8, 17, 33]), min_size=1, max_size=3).map(tuple)
    return Case(
        draw(st.integers(0, 3)), draw(st.integers(1, 4)), (draw(size), draw(size)), blocks, draw(units),
        draw(st.sampled_from(VIEWS)), draw(st.integers(0, 2**16)),
    )  # fmt: skip


def make(case: Case) -> tuple[Tensor, list[ops.CnnNetwork]]:
    """Maps, standardized like, and networks with statistics as after training."""
    generator = torch.Generator().manual_seed(case.seed)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return torch.randn(shape, generator=generator) * scale

    def network() -> ops.CnnNetwork:
        blocks, width = [], 1
        height, across = case.size
        for widths in case.convolutions:
            kernels = []
            for out in widths:
                kernels.append(normal(out, width, 3, 3, scale=(2 / (9 * width)) ** 0.5))
                width = out
            variance = torch.rand(width, generator=generator) + 0.5
            biases = tuple(normal(out, scale=0.2) for out in widths)
            weight, bias = (None, None) if case.seed % 5 == 0 else (normal(width), normal(width))
            blocks.append(ops.CnnBlock(tuple(kernels), biases, normal(width), variance, weight, bias, 1e-3))
            height, across = height // 2, across // 2
        linears, features = [], width * height * across
        for out in case.units:
            linears.append((normal(out, features, scale=(2 / features) ** 0.5), normal(out)))
            features = out
        return ops.CnnNetwork(tuple(blocks), tuple(linears))

    maps = normal(case.batch, case.groups, *case.size)
    if case.view == "expanded":
        maps = maps[:1].expand_as(maps).clone() if case.batch else maps
    return maps, [network() for _ in range(case.groups)]


def view_of(maps: Tensor, form: str) -> Tensor:
    """The same values in other memory; NaN between them."""
    if form == "every-other":
        wide = torch.full((*maps.shape[:3], 2 * maps.shape[3]), float("nan"))
        wide[..., ::2] = maps
        return wide[..., ::2]
    if form == "channels-last":
        return maps.contiguous(memory_format=torch.channels_last)
    return maps[:1].expand_as(maps) if form == "expanded" and len(maps) else maps


def doubles(network: ops.CnnNetwork) -> reference.Network:
    def array(tensor: Tensor) -> reference.Array:
        return tensor.double().numpy()

    blocks = [
        reference.Block(
            [array(kernels) for kernels in block.kernels], [array(bias) for bias in block.biases],
            array(block.mean), array(block.variance),
            array(torch.ones_like(block.mean) if block.weight is None else block.weight),
            array(torch.zeros_like(block.mean) if block.bias is None else block.bias), block.eps,
        )
        for block in network.blocks
    ]  # fmt: skip
    return reference.Network(blocks, [(array(weight), array(bias)) for weight, bias in network.linears])


def assert_near_reference(evidence: Tensor, maps: Tensor, networks: list[ops.CnnNetwork]) -> None:
    """Within the bound of "fast" on a GPU."""
    got = evidence.double().cpu().numpy()
    assert got.shape == (len(maps), len(networks), len(networks[0].linears[-1][1]))
    for g, network in enumerate(map(doubles, networks)):
        for b in range(len(maps)):
            trace = reference.forward(maps[b, g].double().numpy(), network)
            error, allowed = abs(got[b, g] - trace.evidence), tolerances.bound_on_gpu(trace, network)
            assert (error <= allowed).all(), f"image {b}, map {g}: off by {error}, allowed {allowed}"
