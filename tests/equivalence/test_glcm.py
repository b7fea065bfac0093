"""Every back end of `glcm` counts what the loops count: equal integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iuscore import ops
from tests.conftest import BackendUnderTest
from tests.equivalence.glcm_cases import Case, cases, expected_counts, make_images, make_mask
from tests.equivalence.perceptual_maps_cases import view_of
from tests.isas import available, using
from tests.reference import glcm as reference

pytestmark = pytest.mark.usefixtures("one_thread")


def count(backend: BackendUnderTest, images: Any, mask: Any = None, **options: Any) -> Tensor:
    images, mask = backend.moved(images), backend.moved(mask)
    counts = ops.glcm(images, mask=mask, backend=backend.backend, **options)
    assert counts.device.type == backend.device.type
    return counts.cpu()


@given(case=cases())
def test_equals_the_reference(backend: BackendUnderTest, case: Case) -> None:
    view, layout = view_of(make_images(case), case.view)
    counts = count(backend, view, make_mask(case), layout=layout, **case.options)
    assert counts.dtype == torch.int32
    assert counts.is_contiguous() or backend.backend == "torch"
    assert np.array_equal(counts.numpy(), expected_counts(case)[0])


@given(case=cases(), cut=st.integers(0, 3))
def test_counts_do_not_depend_on_how_the_op_is_called(backend: BackendUnderTest, case: Case, cut: int) -> None:
    images, mask = make_images(case), make_mask(case)
    expected = count(backend, images, mask, layout="NHWC", **case.options)
    parts = [
        count(backend, images[at], None if mask is None else mask[at], layout="NHWC", **case.options)
        for at in (slice(0, cut), slice(cut, None))
    ]
    assert torch.equal(torch.cat(parts), expected)
    listed = ops.glcm(
        list(images), mask=None if mask is None else list(mask), layout="NHWC", backend="auto", **case.options
    )
    assert torch.equal(listed, expected)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(count(backend, images, mask, layout="NHWC", **case.options), expected)
    finally:
        torch.set_num_threads(threads)


@given(case=cases())
def test_cpu_isas_count_the_same(several_isas: tuple[str, ...], case: Case) -> None:
    images, mask = make_images(case), make_mask(case)
    results = []
    for isa in several_isas:
        with using(isa):
            results.append(ops.glcm(images, mask=mask, layout="NHWC", backend="native", **case.options))
    for result in results[1:]:
        assert torch.equal(result, results[0])


RELATED = ([(0, 1), (1, 1), (1, 0), (1, -1)], [(0, 2), (1, 1), (2, 0), (1, -1)], [(1, 2), (-1, 1), (-2, -1)])


@given(
    shape=st.tuples(st.integers(60, 140), st.integers(60, 140)),
    levels=st.sampled_from((2, 9, 31, 32, 33, 64)),
    offsets=st.one_of(
        st.sampled_from(RELATED), st.lists(st.tuples(st.integers(-9, 9), st.integers(-70, 70)), min_size=1, max_size=6)
    ),
    content=st.sampled_from(("noise", "black-border", "constant", "stripes")),
    symmetric=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_images_large_enough_to_count_three_pixels_at_a_time(
    native: BackendUnderTest,
    shape: tuple[int, int],
    levels: int,
    offsets: list[tuple[int, int]],
    content: str,
    symmetric: bool,
    seed: int,
) -> None:
    """Where offsets are differences of others and where not; against torch, which equals the loops."""
    images = np.random.default_rng(seed).integers(0, levels, (2, *shape, 1), dtype=np.uint8)
    if content == "black-border":
        images[:, : shape[0] // 3] = 0
        images[:, :, -shape[1] // 2 :] = levels - 1
    elif content != "noise":
        images[:] = images[:, :1, : shape[1] if content == "stripes" else 1]
    options: dict[str, Any] = {"offsets": offsets, "levels": levels, "symmetric": symmetric, "quantize": "levels"}
    expected = ops.glcm(images, layout="NHWC", backend="torch", **options)
    for isa in available() if native.device.type == "cpu" else available()[-1:]:
        with using(isa):
            counts = count(native, torch.from_numpy(images), layout="NHWC", **options)
            assert torch.equal(counts, expected)
            of_images, of_counts = (
                ops.glcm_features(x, preset="ibsi", backend="native", dtype=torch.float64, **given)
                for x, given in (
                    (torch.from_numpy(images).to(native.device), {"layout": "NHWC", **options}),
                    (counts.to(native.device), {"levels": None, "symmetric": False}),
                )
            )
        # A matrix does not know the gray levels of pixels without a neighbor, by whose number these two are normalized.
        known = [i for i, name in enumerate(of_images.names) if not name.endswith("_normalized")]
        assert torch.allclose(of_images.values[..., known], of_counts.values[..., known], rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("levels", [32, 256])
@pytest.mark.parametrize("symmetric", [False, True])
def test_images_of_more_pixels_than_a_small_counter_holds(
    native: BackendUnderTest, levels: int, symmetric: bool
) -> None:
    """Constant 300 x 300 images: one cell gets 89,700 pairs; 1 x 2,000 images: rows in more than one piece."""
    constant = torch.full((1, 300, 300, 1), 7, dtype=torch.uint8)
    options: dict[str, Any] = {"levels": levels, "quantize": "levels", "symmetric": symmetric, "layout": "NHWC"}
    counts = count(native, constant, offsets=[(0, 1), (1, 0), (2, -3)], **options)
    pairs = [300 * 299, 299 * 300, 298 * 297]
    assert counts[0, :, 7, 7].tolist() == [(2 if symmetric else 1) * n for n in pairs]
    assert counts.sum().item() == (2 if symmetric else 1) * sum(pairs)
    wide = torch.from_numpy(np.random.default_rng(0).integers(0, levels, (1, 3, 2000, 1), dtype=np.uint8))
    options["offsets"] = [(0, 1), (1, -600), (0, 1999), (0, 2000), (3, 0), (-2, 513)]
    expected = ops.glcm(wide, backend="torch", **options)
    assert torch.equal(count(native, wide, **options), expected)


@pytest.mark.parametrize(
    ("distance", "angle"), [(d, a) for d in (0.4, 0.5, 1, 2.5, 3, 5) for a in (0.0, 0.7, 2.0, 3.9)]
)
def test_distances_and_angles_are_offsets(backend: BackendUnderTest, distance: float, angle: float) -> None:
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (2, 9, 8, 1), dtype=np.uint8))
    by_angle = count(backend, images, levels=8, distances=[distance], angles=[angle], layout="NHWC")
    offset = reference.offset_of(distance, angle)
    assert by_angle.shape == (2, 1, 1, 8, 8)
    assert torch.equal(by_angle[:, 0], count(backend, images, levels=8, offsets=[offset], layout="NHWC"))


def test_more_offsets_than_one_call_takes(backend: BackendUnderTest) -> None:
    images = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (2, 12, 11, 1), dtype=np.uint8))
    offsets = [(r, c) for r in range(-4, 5) for c in range(-4, 5)]
    counts = count(backend, images, levels=4, offsets=offsets, layout="NHWC")
    for k in (0, 40, 63, 64, 80):
        assert torch.equal(counts[:, k], count(backend, images, levels=4, offsets=[offsets[k]], layout="NHWC")[:, 0])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_a_gray_file_and_its_rgb_copy_have_equal_levels(backend: BackendUnderTest, dtype: torch.dtype) -> None:
    values = torch.arange(0, 65536, 257 if dtype == torch.uint8 else 61, dtype=torch.int32)
    if dtype == torch.uint8:
        values = values // 257
    gray = values.to(dtype).reshape(1, 1, -1, 1)
    options: dict[str, Any] = {"levels": 256, "layout": "NHWC"}
    assert torch.equal(count(backend, gray, **options), count(backend, gray.expand(-1, -1, -1, 3), **options))
