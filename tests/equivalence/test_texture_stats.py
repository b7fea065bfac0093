"""Every back end of `texture_stats` equals the float64 reference; counts are equal in every bit everywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iuscore import ops
from iuscore.ops import TextureStats
from tests.conftest import BackendUnderTest
from tests.isas import using
from tests.reference import texture_stats as reference

pytestmark = pytest.mark.usefixtures("one_thread")

DTYPES = (torch.uint8, torch.uint16, torch.float32, torch.float16, torch.bfloat16)
# A code before it is cut, in float32, is off by at most this: 256 / 220 times the error of a* (500 times some units of
# rounding of two cube roots), and less for the others. Closer to an integer the code may be either.
NEAR_AN_EDGE = 256 / 220 * 500 * 2 * 24 * 2.0**-24


@dataclass(frozen=True)
class Case:
    images: Tensor  # [B, H, W, C]
    mask: Tensor | None
    options: dict[str, Any]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    dtype = draw(st.sampled_from(DTYPES))
    shape = (draw(st.integers(0, 3)), draw(st.integers(1, 20)), draw(st.integers(1, 20)), draw(st.sampled_from((1, 3))))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    values = random.uniform(-0.1, 1.1, shape).clip(None if dtype.is_floating_point else 0.0, None)
    content = draw(st.sampled_from(("noise", "constant", "smooth", "black border", "gray")))
    if content == "constant":
        values[:] = 0.4
    elif content == "smooth":
        values[:] = np.linspace(0.2, 0.9, shape[2])[:, None]
    elif content == "black border":
        values[:, :, : shape[2] // 2] = 0.0
    elif content == "gray":
        values[:] = values[..., :1]
    if dtype.is_floating_point:
        images = torch.from_numpy(values).to(dtype)
        if draw(st.booleans()) and images.numel():
            images.view(-1)[draw(st.integers(0, images.numel() - 1))] = draw(st.sampled_from((np.nan, np.inf)))
    else:
        largest = 255 if dtype == torch.uint8 else 65535
        images = torch.from_numpy((values.clip(0, 1) * largest).round().astype(np.int32)).to(dtype)
    mask = None
    if draw(st.booleans()):
        mask = torch.from_numpy(random.random(shape[:3]) < draw(st.sampled_from((0.0, 0.7, 0.95))))
    options = {
        "kind": draw(st.sampled_from(("color", "gray"))),
        "bins": draw(st.sampled_from((2, 32, 256))),
        "levels": draw(st.sampled_from((2, 5, 32, 64, 256))),
        "distances": draw(st.sampled_from(((1,), (1, 4), (2, 3, 30), ()))),
    }
    return Case(images, mask, options)


def stats(backend: BackendUnderTest, case: Case) -> TextureStats:
    mask = None if case.mask is None else case.mask.to(backend.device)
    images = case.images.to(backend.device)
    result = ops.texture_stats(images, mask=mask, layout="NHWC", backend=backend.backend, **case.options)
    assert {tensor.device.type for tensor in result} == {backend.device.type}
    return TextureStats(*(tensor.cpu() for tensor in result))


def assert_same_bits(got: TextureStats, expected: TextureStats) -> None:
    for name, a, b in zip(TextureStats._fields, got, expected, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert torch.equal(a, b), f"{name}: {(a != b).sum()} of {a.numel()} differ"


def offsets_of(distances: tuple[int, ...]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for d in distances:
        for angle in (0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4):
            rows, columns = (math.copysign(math.floor(abs(v) + 0.5), v) for v in (np.sin(angle) * d, np.cos(angle) * d))
            found.append((int(rows), int(columns)))  # half away from zero, as C rounds
    return found


@given(case=cases())
def test_equals_the_reference(backend: BackendUnderTest, case: Case) -> None:
    got = stats(backend, case)
    fine = stats(backend, Case(case.images, case.mask, {**case.options, "bins": 256})).histograms.numpy()
    color = case.options["kind"] == "color"
    for b, image in enumerate(case.images.float() if case.images.is_floating_point() else case.images):
        mask = None if case.mask is None else case.mask[b].numpy()
        values, counted = reference.planes(image.numpy(), mask, color=color)
        codes = np.clip(np.floor(values), 0, 255).astype(int)
        unsure = counted & (abs(values - np.round(values)) < NEAR_AN_EDGE)
        floating = case.images.is_floating_point()
        if not floating:
            unsure[3:] = False  # saturation and hue are exact
        certain = not unsure[0].any()
        edges, edges_counted = reference.coarse_fine(codes[0], counted[0])
        if certain:
            codes = np.concatenate([codes, np.floor(edges).astype(int)[None]])
            counted = np.concatenate([counted, edges_counted[None]])
            # sqrt(gx^2 + gy^2) of integers: what is rounded to an edge is that edge.
            unsure = np.concatenate([unsure, (abs(edges - np.round(edges)) < 1e-4)[None] & edges_counted])
        for p, (plane, counts, doubtful) in enumerate(zip(codes, counted, unsure, strict=True)):
            expected = np.bincount(plane[counts], minlength=256)
            assert abs(expected - fine[b, p]).sum() <= 2 * doubtful.sum()
            assert got.counted[b, p] == counts.sum() or (p == 4 and color and floating)
        for p in range(fine.shape[1]):
            assert got.counted[b, p] == fine[b, p].sum()
            bins = got.histograms.shape[2]
            np.testing.assert_array_equal(got.histograms[b, p], fine[b, p].reshape(bins, -1).sum(1))
            np.testing.assert_allclose(
                got.statistics[b, p], reference.statistics(fine[b, p].astype(np.int64)), rtol=2e-6, atol=2e-6
            )
        if certain:
            np.testing.assert_allclose(got.blocks[b], reference.blocks(codes[0], counted[0]), rtol=1e-6)
            for o, offset in enumerate(offsets_of(case.options["distances"])):
                expected_properties = reference.properties(codes[0], counted[0], case.options["levels"], offset)
                np.testing.assert_allclose(
                    got.cooccurrence[b, o // 4, o % 4], expected_properties, rtol=2e-6, atol=2e-6, err_msg=str(offset)
                )


@given(case=cases())
def test_counts_are_equal_on_every_back_end(backend: BackendUnderTest, case: Case) -> None:
    got, expected = stats(backend, case), ops.texture_stats(
        case.images, mask=case.mask, layout="NHWC", backend="torch", **case.options
    )  # fmt: skip
    for name in ("histograms", "counted", "blocks"):
        assert torch.equal(getattr(got, name), getattr(expected, name)), name
    # Finished in double from equal integers, then rounded once; logarithms and roots are the libraries' own.
    for name in ("statistics", "cooccurrence"):
        torch.testing.assert_close(getattr(got, name), getattr(expected, name), rtol=3e-7, atol=3e-7)


@given(case=cases(), cut=st.integers(0, 3))
def test_native_bits_do_not_depend_on_how_it_is_called(native: BackendUnderTest, case: Case, cut: int) -> None:
    expected = stats(native, case)
    planar = case.images.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    spread = torch.empty(*case.images.shape[:3], 2 * case.images.shape[3], dtype=case.images.dtype)[..., ::2]
    spread.copy_(case.images)
    for view in (planar, spread):
        assert_same_bits(stats(native, Case(view, case.mask, case.options)), expected)
    parts = []
    for part in (slice(0, cut), slice(cut, None)):
        mask = None if case.mask is None else case.mask[part]
        parts.append(stats(native, Case(case.images[part], mask, case.options)))
    assert_same_bits(TextureStats(*map(torch.cat, zip(*parts, strict=True))), expected)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert_same_bits(stats(native, case), expected)
    finally:
        torch.set_num_threads(threads)


@given(case=cases())
def test_cpu_isas_have_equal_bits(several_isas: tuple[str, ...], case: Case) -> None:
    results = []
    for isa in several_isas:
        with using(isa):
            results.append(
                ops.texture_stats(case.images, mask=case.mask, layout="NHWC", backend="native", **case.options)
            )
    for result in results[1:]:
        assert_same_bits(result, results[0])


@pytest.mark.cuda
@given(case=cases())
def test_cuda_bits_are_those_of_the_cpu(cuda_native: BackendUnderTest, case: Case) -> None:
    expected = ops.texture_stats(case.images, mask=case.mask, layout="NHWC", backend="native", **case.options)
    assert_same_bits(stats(cuda_native, case), expected)
