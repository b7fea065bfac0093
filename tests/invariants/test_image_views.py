"""What holds for `image_views` whatever computes it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iuscore import ops
from tests.conftest import BackendUnderTest
from tests.equivalence.test_image_views import Case, cases, filters_of, images_of, run, trace
from tests.tolerances_views import image_views as bounds

NOISE = torch.randint(0, 256, (70, 40, 33, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
CASE = Case((40, 33), 3, True, 70, "noise", "contiguous", 0.0, 4)


def same(one: ops.ImageViews, other: ops.ImageViews) -> None:
    assert torch.equal(one.thumb, other.thumb)
    assert torch.equal(one.patch, other.patch)


@given(case=cases(), cut=st.integers(0, 2))
def test_a_row_does_not_depend_on_its_batch(backend: BackendUnderTest, case: Case, cut: int) -> None:
    images = images_of(case)
    whole = run(backend, images, case)
    parts = [run(backend, images[part], case) for part in (slice(0, cut), slice(cut, None)) if len(images[part])]
    same(ops.ImageViews(*(torch.cat(rows) for rows in zip(*parts, strict=True))), whole)
    same(run(backend, list(images), case), whole)


def test_a_row_of_a_large_batch_stands_alone(backend: BackendUnderTest) -> None:
    n = 6 if backend.name == "cuda-native" else len(NOISE)  # each image has a block of its own there
    whole = run(backend, NOISE[:n], CASE)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(1))
    same(run(backend, NOISE[:n][order], CASE), ops.ImageViews(whole.thumb[order], whole.patch[order]))
    for i in (0, 1, 5, 63, 64, 69):
        if i < n:
            same(run(backend, NOISE[i : i + 1], CASE), ops.ImageViews(whole.thumb[i : i + 1], whole.patch[i : i + 1]))


@pytest.mark.parametrize("implementation", ["native", "torch"])
@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_change_nothing(threads: int, implementation: str) -> None:
    backend = BackendUnderTest(f"cpu-{implementation}", torch.device("cpu"), implementation)  # type: ignore[arg-type]
    expected = run(backend, NOISE, CASE)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        same(run(backend, NOISE, CASE), expected)
    finally:
        torch.set_num_threads(before)


@given(case=cases())
def test_memory_layouts_change_nothing(backend: BackendUnderTest, case: Case) -> None:
    images = images_of(case)
    expected = run(backend, images, case)
    same(run(backend, images.permute(0, 3, 1, 2).contiguous(), case, "NCHW"), expected)
    same(run(backend, images.transpose(1, 2).contiguous().transpose(1, 2), case), expected)
    wide = torch.zeros(*images.shape[:2], 2 * images.shape[2], images.shape[3], dtype=torch.uint8)
    wide[:, :, ::2] = images
    same(run(backend, wide[:, :, ::2], case), expected)


def test_lists_of_any_sizes_keep_their_order(backend: BackendUnderTest) -> None:
    images = [NOISE[0], NOISE[1, :20], NOISE[2, ..., :1], NOISE[3, :, :9], NOISE[4, :20]]
    got = run(backend, images, CASE)
    for i, image in enumerate(images):
        same(run(backend, image[None], CASE), ops.ImageViews(got.thumb[i : i + 1], got.patch[i : i + 1]))


@given(value=st.integers(0, 255), case=cases())
def test_a_flat_image_has_its_own_thumbnail_and_answers_by_the_bias(
    backend: BackendUnderTest, value: int, case: Case
) -> None:
    images = torch.full((1, *case.shape, case.channels), value, dtype=torch.uint8)
    found = run(backend, images, case)
    assert (found.thumb == value).all()
    bias = filters_of(case)[1].double()
    expected = torch.cat([bias - 0.5, -bias - 0.5]).clamp(min=0).sqrt().repeat_interleave(4)
    # Sums of equal bytes are exact, so is their mean: nothing but the threshold and sums of 196 numbers is rounded.
    torch.testing.assert_close(found.patch[0].double(), expected, rtol=2e-5, atol=2e-4)


@given(case=cases())
def test_one_channel_stands_for_three(backend: BackendUnderTest, case: Case) -> None:
    gray = images_of(case)[..., :1].contiguous()
    same(run(backend, gray.expand(-1, -1, -1, 3), case), run(backend, gray, case))


def test_whole_pixels_in_place_of_one_change_nothing(backend: BackendUnderTest) -> None:
    for color in (True, False):
        case = Case((32, 64), 3, color, 2, "noise", "contiguous", 0.0, 5)
        images = images_of(case)
        large = images.repeat_interleave(4, 1).repeat_interleave(2, 2)
        same(run(backend, large, case), run(backend, images, case))


def test_a_mirror_image_by_mirrored_filters_swaps_left_and_right(backend: BackendUnderTest) -> None:
    case = Case((64, 96), 3, True, 2, "smooth", "contiguous", 0.0, 6)
    images = images_of(case)
    weights, bias = filters_of(case)
    mirrored = weights.unflatten(0, (3, 6, 6)).flip(2).flatten(0, 2)
    expected = run(backend, images, case)
    found = ops.image_views(
        backend.moved(images.flip(2)), backend.moved(mirrored), backend.moved(bias), backend=backend.backend
    )
    assert torch.equal(found.thumb.cpu().unflatten(1, (3, 8, 8)), expected.thumb.unflatten(1, (3, 8, 8)).flip(3))
    swapped = expected.patch.unflatten(1, (2, 64, 2, 2)).flip(4).flatten(1)
    bound = np.stack([bounds(trace(image, case), weights.double().numpy())[1] for image in images])
    moved = np.stack([each.reshape(2, 64, 2, 2)[..., ::-1].ravel() for each in bound])
    assert (np.abs(found.patch.cpu().double().numpy() - swapped.double().numpy()) <= 2 * moved).all()
