"""What holds for `texture_stats` whatever computes it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iuscore import ops
from tests.conftest import BackendUnderTest

pytestmark = pytest.mark.usefixtures("one_thread")


@st.composite
def batches(draw: st.DrawFn) -> Tensor:
    shape = (2, draw(st.integers(1, 24)), draw(st.integers(1, 24)), 3)
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    return torch.from_numpy(random.integers(0, 256, shape, dtype=np.uint8))


def stats(backend: BackendUnderTest, images: Tensor, mask: Tensor | None = None) -> ops.TextureStats:
    mask = None if mask is None else mask.to(backend.device)
    result = ops.texture_stats(images.to(backend.device), mask=mask, layout="NHWC", backend=backend.backend)
    return ops.TextureStats(*(tensor.cpu() for tensor in result))


@given(images=batches())
def test_every_pixel_is_counted_once_in_every_plane_but_hue(backend: BackendUnderTest, images: Tensor) -> None:
    got = stats(backend, images)
    assert torch.equal(got.histograms.sum(2), got.counted.long())
    pixels = images.shape[1] * images.shape[2]
    hue = ops.PLANES["color"].index("hue")
    assert (got.counted[:, hue] <= pixels).all()
    assert (got.counted[:, [p for p in range(6) if p != hue]] == pixels).all()


@given(images=batches())
def test_a_quarter_turn_swaps_angles_and_leaves_counts(backend: BackendUnderTest, images: Tensor) -> None:
    got, turned = stats(backend, images), stats(backend, images.rot90(1, (1, 2)))
    for name in ("histograms", "statistics", "counted"):
        assert torch.equal(getattr(got, name), getattr(turned, name)), name
    assert torch.equal(got.cooccurrence[:, :, [2, 3, 0, 1]], turned.cooccurrence)


@given(images=batches())
def test_a_mirror_image_swaps_the_diagonals(backend: BackendUnderTest, images: Tensor) -> None:
    got, mirrored = stats(backend, images), stats(backend, images.flip(2))
    assert torch.equal(got.histograms, mirrored.histograms)
    assert torch.equal(got.cooccurrence[:, :, [0, 3, 2, 1]], mirrored.cooccurrence)


@given(images=batches(), border=st.integers(1, 5))
def test_a_masked_border_does_not_count(backend: BackendUnderTest, images: Tensor, border: int) -> None:
    """Except coarse-fine: it leaves out pixels with an incomplete neighborhood at a mask, but not at an edge."""
    framed = torch.nn.functional.pad(images, (0, 0, border, border, border, border))
    mask = torch.zeros(framed.shape[:3], dtype=torch.bool)
    mask[:, border:-border, border:-border] = True
    got, expected = stats(backend, framed, mask), stats(backend, images)
    assert torch.equal(got.histograms[:, :5], expected.histograms[:, :5])
    assert torch.equal(got.statistics[:, :5], expected.statistics[:, :5])
    # The shift of the fixed-point entropies depends on the number of pixels, masked or not.
    torch.testing.assert_close(got.cooccurrence, expected.cooccurrence, rtol=3e-7, atol=3e-7)


def test_features_of_a_checkerboard(backend: BackendUnderTest) -> None:
    """Neighbors always differ, pixels two steps or a diagonal apart never do."""
    board = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 255
    got = ops.texture_stats(
        board.to(torch.uint8)[None, ..., None].to(backend.device), kind="gray", levels=2, distances=(1, 2),
        backend=backend.backend,
    ).cooccurrence.cpu()  # fmt: skip
    contrast = ops.PROPERTIES.index("contrast")
    assert got[0, 0, :, contrast].tolist() == [1.0, 0.0, 1.0, 0.0]
    assert got[0, 1, :, contrast].tolist() == [0.0, 0.0, 0.0, 0.0]
    correlation = ops.PROPERTIES.index("correlation")
    torch.testing.assert_close(got[0, 0, :, correlation], torch.tensor([-1.0, 1.0, -1.0, 1.0]))
