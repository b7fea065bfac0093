"""What holds of `resize` whatever computes it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iuscore import ops
from tests.conftest import BackendUnderTest
from tests.equivalence.test_resize import Case, cases, images_of, run

NOISE = torch.randint(0, 256, (5, 40, 31, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@given(value=st.integers(0, 255), case=cases())
def test_constant_images_stay_as_they_are(backend: BackendUnderTest, value: int, case: Case) -> None:
    images = torch.full((1, *case.shape, case.channels), value, dtype=torch.uint8)
    assert (run(backend, images, case.size, "NHWC") == value).all()


@given(case=cases(), cut=st.integers(0, 3))
def test_an_image_does_not_depend_on_its_batch(backend: BackendUnderTest, case: Case, cut: int) -> None:
    images = images_of(case)
    whole = run(backend, images, case.size, "NHWC")
    parts = [
        run(backend, images[part], case.size, "NHWC") for part in (slice(0, cut), slice(cut, None)) if len(images[part])
    ]
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(run(backend, list(images), case.size, "NHWC"), whole)


def test_lists_of_any_sizes_keep_their_order(backend: BackendUnderTest) -> None:
    images = [NOISE[0], NOISE[1, :20], NOISE[2], NOISE[3, :, :9], NOISE[4, :20]]
    got = run(backend, images, (16, 12), "NHWC")
    for image, one in zip(images, got, strict=True):
        assert torch.equal(run(backend, image[None], (16, 12), "NHWC")[0], one)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_change_nothing(threads: int) -> None:
    expected = ops.resize(NOISE, (16, 16), backend="native")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert torch.equal(ops.resize(NOISE, (16, 16), backend="native"), expected)
    finally:
        torch.set_num_threads(before)


def test_the_same_size_is_a_copy(backend: BackendUnderTest) -> None:
    got = run(backend, NOISE, (40, 31), "NHWC")
    assert torch.equal(got, NOISE)
    assert got.data_ptr() != NOISE.data_ptr()
