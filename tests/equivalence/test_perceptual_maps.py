"""Every back end of `perceptual_maps` equals the float64 reference; compiled ones equal themselves bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iuscore import ops
from tests import tolerances
from tests.conftest import BackendUnderTest
from tests.equivalence.perceptual_maps_cases import (
    DTYPES,
    VIEWS,
    Case,
    cases,
    make_images,
    single_sizes,
    view_of,
)
from tests.isas import using
from tests.reference import perceptual_maps as reference

pytestmark = pytest.mark.usefixtures("one_thread")


def traces(case: Case, images: Tensor) -> list[reference.Trace]:
    """Of images [B, H, W, C]."""
    pixels = (images.float() if images.is_floating_point() else images).numpy()
    name = str(images.dtype).removeprefix("torch.")
    return [reference.trace(p, name, kind=case.kind, mode=case.mode, size=case.size) for p in pixels]


def assert_same_bits(got: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for a, b in zip(got, expected, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        whole = torch.int32 if a.dtype == torch.float32 else torch.int16
        different = int((a.contiguous().view(whole) != b.contiguous().view(whole)).sum())
        assert different == 0, f"{different} of {a.numel()} values differ, by up to {float((a - b).abs().max()):.2g}"


@given(case=cases())
def test_equals_the_reference(backend: BackendUnderTest, case: Case) -> None:
    images = make_images(case)
    view, layout = view_of(images, case.view)
    maps, ranges = backend.maps(view, layout=layout, **case.options)
    assert maps.shape == (len(images), 4, *case.size)
    assert maps.dtype == ranges.dtype == torch.float32
    for i, t in enumerate(traces(case, images)):
        tolerances.assert_perceptual_maps(maps[i], ranges[i], t)


@given(case=cases())
def test_native_equals_torch(native: BackendUnderTest, case: Case) -> None:
    """Each may differ from the reference by the bound; from each other they may not differ by more than that either."""
    images = make_images(case)
    one = native.maps(images, layout="NHWC", **case.options)[0].double().numpy()
    two = ops.perceptual_maps(images, layout="NHWC", backend="torch", **case.options).double().numpy()
    for i, t in enumerate(traces(case, images)):
        bounds = tolerances.perceptual_maps(t)
        comparable = ~bounds.either & (bounds.maps <= tolerances.MEANINGLESS)
        assert (np.abs(one[i] - two[i])[comparable] <= bounds.maps[comparable]).all()


@pytest.mark.parametrize("kind", ["color", "gray"])
@pytest.mark.parametrize("mode", ["clean", "published"])
@pytest.mark.parametrize(
    ("shape", "size"),
    [((300, 200), (128, 128)), ((128, 128), (128, 128)), ((256, 256), (128, 128)), ((97, 213), (224, 100))],
)
def test_usual_sizes(
    backend: BackendUnderTest, kind: str, mode: str, shape: tuple[int, int], size: tuple[int, int]
) -> None:
    images = torch.from_numpy(np.random.default_rng(5).integers(0, 256, (1, *shape, 3), dtype=np.uint8))
    case = Case(torch.uint8, 3, kind, mode, 1, shape, size, "contiguous", "noise", 5)
    maps, ranges = backend.maps(images, **case.options)
    tolerances.assert_perceptual_maps(maps[0], ranges[0], traces(case, images)[0])


@given(case=cases(), cut=st.integers(0, 4))
def test_native_bits_do_not_depend_on_how_it_is_called(native: BackendUnderTest, case: Case, cut: int) -> None:
    images = make_images(case)
    expected = native.maps(images, layout="NHWC", **case.options)
    for form in VIEWS:
        view, layout = view_of(images, form)
        assert_same_bits(native.maps(view, layout=layout, **case.options), expected)
    parts = [native.maps(part, layout="NHWC", **case.options) for part in (images[:cut], images[cut:])]
    assert_same_bits([torch.cat(tensors) for tensors in zip(*parts, strict=True)], expected)
    assert_same_bits(native.maps(list(images), layout="NHWC", **case.options), expected)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            assert_same_bits(native.maps(images, layout="NHWC", **case.options), expected)
    finally:
        torch.set_num_threads(threads)


@given(case=cases())
def test_cpu_isas_have_equal_bits(several_isas: tuple[str, ...], case: Case) -> None:
    images = make_images(case)
    options = {**case.options, "layout": "NHWC", "backend": "native", "return_ranges": True}
    results = []
    for isa in several_isas:
        with using(isa):
            results.append(ops.perceptual_maps(images, **options))
    for result in results[1:]:
        assert_same_bits(result, results[0])


@pytest.mark.cuda
@given(case=cases())
def test_cuda_bits_are_those_of_the_cpu(cuda_native: BackendUnderTest, case: Case) -> None:
    images = make_images(case)
    view, layout = view_of(images, case.view)
    expected = ops.perceptual_maps(images, layout="NHWC", backend="native", return_ranges=True, **case.options)
    assert_same_bits(cuda_native.maps(view, layout=layout, **case.options), expected)


@given(case=cases(), cut=st.integers(0, 4))
def test_torch_bits_do_not_depend_on_the_batch(case: Case, cut: int) -> None:
    """But for a* and b*: the last elements of a tensor go through another `pow`, which rounds otherwise."""
    images = make_images(case)
    options = {**case.options, "layout": "NHWC", "backend": "torch", "return_ranges": True}
    expected = ops.perceptual_maps(images, **options)
    parts = [ops.perceptual_maps(part, **options) for part in (images[:cut], images[cut:])]
    first = 2 if case.kind == "color" else 0
    for got in (
        [torch.cat(tensors) for tensors in zip(*parts, strict=True)],
        ops.perceptual_maps(list(images), **options),
    ):
        assert_same_bits([x[:, first:] for x in got], [x[:, first:] for x in expected])
        for i, t in enumerate(traces(case, images)):
            tolerances.assert_perceptual_maps(got[0][i], got[1][i], t)


@given(case=cases(), other_sizes=st.lists(single_sizes, min_size=1, max_size=2))
def test_list_of_several_sizes_and_types(
    backend: BackendUnderTest, case: Case, other_sizes: list[tuple[int, int]]
) -> None:
    """One result per image, in order, the same bits as one by one."""
    images = list(make_images(case))
    for i, shape in enumerate(other_sizes):
        changed = case.changed(shape=shape, channels=4 - case.channels, dtype=DTYPES[(case.seed + i) % len(DTYPES)])
        images.insert(i, make_images(changed)[0])
    got = backend.maps(images, layout="NHWC", **case.options)
    single = [backend.maps(image[None], layout="NHWC", **case.options) for image in images]
    first = 2 if case.kind == "color" and backend.backend == "torch" else 0  # as in the test above
    expected = [torch.cat(tensors) for tensors in zip(*single, strict=True)]
    assert_same_bits([x[:, first:] for x in got], [x[:, first:] for x in expected])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@given(case=cases())
def test_half_maps_are_rounded_float32_maps(backend: BackendUnderTest, dtype: torch.dtype, case: Case) -> None:
    images = make_images(case)
    maps, ranges = backend.maps(images, layout="NHWC", **case.options)
    rounded = backend.maps(images, layout="NHWC", dtype=dtype, **case.options)
    assert_same_bits(rounded, (maps.to(dtype), ranges))


@pytest.mark.parametrize("kind", ["color", "gray"])
@pytest.mark.parametrize("mode", ["clean", "published"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [(17, 12), (24, 10)])
def test_non_finite_images_spoil_only_themselves(
    backend: BackendUnderTest, kind: str, mode: str, dtype: torch.dtype, size: tuple[int, int]
) -> None:
    values = [float("nan"), float("inf"), -float("inf")]
    if dtype != torch.float16:
        values += [1.1e30 / 255.0, -1.1e30 / 255.0]
    good = torch.rand(len(values) + 1, 17, 12, 3, generator=torch.Generator().manual_seed(3)).to(dtype)
    options: dict[str, Any] = {"kind": kind, "mode": mode, "size": size, "layout": "NHWC"}
    expected = backend.maps(good, **options)
    bad = good.clone()
    for i, value in enumerate(values):
        bad[i, (5 * i) % 17, (3 * i) % 12, i % 3] = value
    for out_type in (torch.float32, torch.float16, torch.bfloat16):
        maps, ranges = backend.maps(bad, dtype=out_type, **options)
        assert maps[:-1].isnan().all()
        assert ranges[:-1].isnan().all()
        assert_same_bits((maps[-1], ranges[-1]), (expected[0][-1].to(out_type), expected[1][-1]))
    maps, ranges = backend.maps(list(bad), **options)
    assert maps[:-1].isnan().all()
    assert_same_bits((maps[-1], ranges[-1]), (expected[0][-1], expected[1][-1]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_largest_magnitudes_that_count_as_finite(backend: BackendUnderTest, dtype: torch.dtype) -> None:
    images = (torch.rand(1, 9, 9, 3, generator=torch.Generator().manual_seed(4)) * 2.0 - 1.0) * (0.99e30 / 255.0)
    for kind in ("color", "gray"):
        for mode in ("clean", "published"):
            case = Case(dtype, 3, kind, mode, 1, (9, 9), (6, 12), "contiguous", "noise", 0)
            maps, ranges = backend.maps(images.to(dtype), layout="NHWC", **case.options)
            tolerances.assert_perceptual_maps(maps[0], ranges[0], traces(case, images.to(dtype))[0])


@pytest.mark.parametrize(
    ("mode", "size", "limit"),
    [
        ("clean", (64, 64), 2e-5),
        ("published", (64, 64), 3e-5),
        ("clean", (32, 32), 2e-4),
        ("published", (32, 32), 2e-4),
    ],
)
def test_bounds_are_tight_for_ordinary_images(mode: str, size: tuple[int, int], limit: float) -> None:
    """Random bytes, 64x64. What the bounds come out as; medians are about five times smaller."""
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8))
    for kind in ("color", "gray"):
        case = Case(torch.uint8, 3, kind, mode, 3, (64, 64), size, "contiguous", "noise", 0)
        for t in traces(case, images):
            bounds = tolerances.perceptual_maps(t)
            assert bounds.maps.max() < limit
            assert bounds.either.mean() < 1e-3
            assert bounds.noise == (False, False)
