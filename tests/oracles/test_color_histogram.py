"""`color_histogram` against tools that nobody here wrote."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from tests.conftest import BackendUnderTest
from tests.equivalence.color_histogram_cases import run

pytestmark = pytest.mark.usefixtures("one_thread")

BYTES = np.random.default_rng(1).integers(0, 256, (2, 61, 47, 3), dtype=np.uint8)
RANGES = [None, (0.0, 255.0), (10.5, 200.25), (100.0, 101.0)]


@pytest.mark.parametrize("limits", RANGES)
@pytest.mark.parametrize("bins", [1, 7, 64, 256, 1000])
def test_counts_are_those_of_numpy(backend: BackendUnderTest, bins: int, limits: tuple[float, float] | None) -> None:
    got = run(backend, BYTES, bins=bins, range=limits)
    for image, counts in zip(BYTES, got.counts, strict=True):
        for c in range(3):
            expected, _ = np.histogram(image[..., c], bins=bins, range=limits or (0, 256))
            assert np.array_equal(counts[c], expected), f"numpy {np.__version__}"


@pytest.mark.parametrize("bins", [10, 33, 256])
def test_counts_of_floats_are_those_of_numpy(backend: BackendUnderTest, bins: int) -> None:
    """NumPy gets float64, because it would round the edges of float32."""
    images = np.random.default_rng(2).normal(0.5, 0.4, (1, 80, 90, 3)).astype(np.float32)
    images[0, ::7] = np.round(images[0, ::7] * bins) / bins
    images[0, 3, 4] = np.nan
    for limits in (None, (-0.2, 0.9)):
        got = run(backend, images, bins=bins, range=limits)
        for c in range(3):
            expected, _ = np.histogram(images[0, ..., c].astype(np.float64), bins=bins, range=limits or (0.0, 1.0))
            assert np.array_equal(got.counts[0, c], expected)


@pytest.mark.parametrize("bins", [(8, 8, 8), (3, 32, 5)])
def test_joint_counts_are_those_of_numpy(backend: BackendUnderTest, bins: tuple[int, int, int]) -> None:
    limits = [(0.0, 256.0), (20.0, 230.0), (0.0, 255.0)]
    got = run(backend, BYTES, bins=bins, range=limits, joint=True)
    for image, counts, *outside in zip(BYTES, *got, strict=True):
        expected, _ = np.histogramdd(image.reshape(-1, 3).astype(np.float64), bins=bins, range=limits)
        assert np.array_equal(counts, expected)
        assert counts.sum() + sum(outside) == image[..., 0].size


def test_counts_are_those_of_opencv(backend: BackendUnderTest) -> None:
    cv2 = pytest.importorskip("cv2")
    mask = (np.random.default_rng(3).random(BYTES.shape[:3]) < 0.6).astype(np.uint8)
    for bins in (16, 64, 256):
        for given in (None, mask):
            got = run(backend, BYTES, given, bins=bins)
            for i, image in enumerate(BYTES):
                for c in range(3):
                    of_image = None if given is None else given[i]
                    expected = cv2.calcHist([image], [c], of_image, [bins], [0, 256]).ravel()
                    assert np.array_equal(got.counts[i, c], expected), f"OpenCV {cv2.__version__}"
    joint = run(backend, BYTES, bins=8, joint=True).counts
    for image, counts in zip(BYTES, joint, strict=True):
        expected = cv2.calcHist([image], [0, 1, 2], None, [8] * 3, [0, 256] * 3)
        assert np.array_equal(counts, expected)


@pytest.mark.parametrize("space", ["hsv", "lab"])
def test_colors_are_those_of_scikit_image(backend: BackendUnderTest, space: Any) -> None:
    """Random colors, bins as wide as 1/20 of a channel; values that rounding could carry over an edge are left out."""
    color = pytest.importorskip("skimage.color")
    converted = (color.rgb2hsv if space == "hsv" else color.rgb2lab)(BYTES[:1])[0].astype(np.float64)
    limits = [(0.0, 1.0)] * 3 if space == "hsv" else [(0.0, 100.0), (-110.0, 110.0), (-110.0, 110.0)]
    sure = np.ones(converted.shape[:2], bool)
    for c, (low, high) in enumerate(limits):
        place = (converted[..., c] - low) / (high - low) * 20.0
        sure &= (np.abs(place - np.round(place)) > 1e-3) | (converted[..., c] == 0.0) & (low == 0.0)
    assert sure.mean() > 0.9
    got = run(backend, BYTES[:1], sure[None], bins=20, space=space)
    for c, pair in enumerate(limits):
        expected, _ = np.histogram(converted[..., c][sure], bins=20, range=pair)
        assert np.array_equal(got.counts[0, c], expected)
    assert all(int(part.sum()) == 0 for part in got[1:])


def test_gray_is_that_of_opencv(backend: BackendUnderTest) -> None:
    """OpenCV's fixed-point weights move a gray level by one at most."""
    cv2 = pytest.importorskip("cv2")
    gray: npt.NDArray[np.uint8] = cv2.cvtColor(BYTES[0], cv2.COLOR_RGB2GRAY)
    theirs = np.bincount(gray.ravel(), minlength=256).cumsum()
    ours = run(backend, BYTES[:1], bins=256, space="gray").counts[0, 0].numpy().cumsum()
    assert (ours[:-1] <= theirs[1:]).all()
    assert (theirs[:-1] <= ours[1:]).all()
    same = run(backend, torch.from_numpy(gray)[None, ..., None], bins=256, space="gray", layout="NHWC").counts[0, 0]
    assert np.array_equal(same, np.bincount(gray.ravel(), minlength=256))
