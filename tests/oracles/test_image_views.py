"""`image_views` against SciPy's correlation and scikit-image's block means."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from iuscore import ops
from tests.conftest import BackendUnderTest
from tests.reference.image_views import image_views as reference
from tests.tolerances_views import assert_image_views


def quarters(values: np.ndarray[Any, Any]) -> list[float]:
    return [
        values[rows, columns].mean() for rows in (slice(14), slice(13, 27)) for columns in (slice(14), slice(13, 27))
    ]


@pytest.mark.parametrize("kind", ["color", "gray"])
def test_equals_correlations_of_block_means(backend: BackendUnderTest, kind: Any) -> None:
    """By sums of products with the pixels as they are: the mean of a patch is taken off the sum."""
    signal = pytest.importorskip("scipy.signal")
    measure = pytest.importorskip("skimage.measure")
    channels = 3 if kind == "color" else 1
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (96, 160, channels), dtype=np.uint8)
    weights = random.normal(size=(36 * channels, 64)).astype(np.float32)
    bias = random.normal(size=64).astype(np.float32)
    thumb = measure.block_reduce(image, (12, 20, 1), np.mean).transpose(2, 0, 1).ravel()
    small = measure.block_reduce(image, (3, 5, 1), np.mean).transpose(2, 0, 1)
    box = np.ones((channels, 6, 6))
    mean = signal.correlate(small, box, "valid", method="direct")[0] / box.size
    variance = signal.correlate(small**2, box, "valid", method="direct")[0] / box.size - mean**2
    positive: list[float] = []
    negative: list[float] = []
    for f in range(64):
        window = weights[:, f].astype(np.float64).reshape(channels, 6, 6)
        sums = signal.correlate(small, window, "valid", method="direct")[0] - mean * window.sum()
        answers = sums / np.sqrt(variance + 10) + bias[f]
        positive += quarters(np.maximum(answers - 0.5, 0))
        negative += quarters(np.maximum(-answers - 0.5, 0))
    t = reference(image, weights.astype(np.float64), bias.astype(np.float64), kind == "color")
    np.testing.assert_allclose(t.thumb, thumb, rtol=1e-12)
    np.testing.assert_allclose(t.responses**2, positive + negative, rtol=1e-7, atol=1e-9)
    found = ops.image_views(
        torch.from_numpy(image[None]).to(backend.device),
        torch.from_numpy(weights).to(backend.device),
        torch.from_numpy(bias).to(backend.device),
        kind=kind,
        layout="NHWC",
        backend=backend.backend,
    )
    assert_image_views(found.thumb[0].cpu(), found.patch[0].cpu(), t, weights.astype(np.float64))


@pytest.mark.parametrize("shape", [(50, 37), (7, 100), (129, 65)])
def test_thumbnails_are_those_of_adaptive_pooling(backend: BackendUnderTest, shape: tuple[int, int]) -> None:
    images = torch.randint(0, 256, (3, *shape, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    theirs = torch.nn.functional.adaptive_avg_pool2d(images.permute(0, 3, 1, 2).double(), 8).flatten(1)
    weights, bias = torch.zeros(108, 64, device=backend.device), torch.zeros(64, device=backend.device)
    found = ops.image_views(images.to(backend.device), weights, bias, backend=backend.backend)
    torch.testing.assert_close(found.thumb.cpu().double(), theirs, rtol=2.0**-23, atol=0)
    assert not found.patch.any()
