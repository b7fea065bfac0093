"""`texture_stats` against scikit-image 0.26, SciPy 1.17 and NumPy 2.4."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from skimage.color import rgb2hsv, rgb2lab
from skimage.feature import graycomatrix, graycoprops

from iuscore import images as image_files
from iuscore import ops
from tests.conftest import BackendUnderTest

ANGLES = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]


def _gray(seed: int, shape: tuple[int, int] = (50, 70)) -> np.ndarray:
    random = np.random.default_rng(seed)
    smooth = random.integers(0, 256, shape).astype(float)
    for axis in (0, 1):
        smooth = (smooth + np.roll(smooth, 1, axis) + np.roll(smooth, 2, axis)) / 3
    return smooth.astype(np.uint8)


@pytest.mark.parametrize("levels", [8, 32, 64, 256])
@pytest.mark.parametrize("distances", [(1,), (1, 4), (2, 3, 5)])
def test_cooccurrence_is_that_of_scikit_image(
    backend: BackendUnderTest, levels: int, distances: tuple[int, ...]
) -> None:
    image = _gray(levels)
    got = ops.texture_stats(
        torch.from_numpy(image)[None, ..., None].to(backend.device),
        kind="gray", levels=levels, distances=distances, backend=backend.backend,
    ).cooccurrence.cpu()  # fmt: skip
    matrix = graycomatrix(
        (image.astype(int) * levels // 256).astype(np.uint8), distances, ANGLES, levels, symmetric=True, normed=True
    )
    for k, name in enumerate(ops.PROPERTIES):
        np.testing.assert_allclose(got[0, :, :, k], graycoprops(matrix, name), rtol=1e-6, atol=1e-7, err_msg=name)


def test_statistics_are_those_of_scipy(backend: BackendUnderTest) -> None:
    image = _gray(1)
    got = ops.texture_stats(
        torch.from_numpy(image)[None, ..., None].to(backend.device), kind="gray", bins=256, backend=backend.backend
    )
    values = image.ravel().astype(float)
    counts = np.bincount(image.ravel(), minlength=256)
    np.testing.assert_array_equal(got.histograms[0, 0].cpu(), counts)
    expected = [
        (values.mean() + 0.5) / 256,
        values.std() / 256,
        scipy.stats.skew(values),
        scipy.stats.kurtosis(values),
        scipy.stats.entropy(counts, base=2),
        *((np.percentile(values, (5, 50, 95), method="inverted_cdf") + 0.5) / 256),
    ]
    np.testing.assert_allclose(got.statistics[0, 0].cpu(), expected, rtol=1e-6)


def test_color_planes_are_those_of_scikit_image(backend: BackendUnderTest, shared: Path) -> None:
    source = image_files.open_source(shared / "data" / "blood_cells" / "wbc")
    pixels = next(sample.pixels for sample in map(source.read, range(len(source))) if sample.pixels is not None)
    assert pixels.shape[2] == 3
    got = ops.texture_stats(torch.from_numpy(pixels)[None].to(backend.device), bins=256, backend=backend.backend)
    lab, hsv = rgb2lab(pixels), rgb2hsv(pixels)
    planes = {
        "lightness": lab[..., 0] * 2.56,
        "red-green": (lab[..., 1] + 110) * 256 / 220,
        "blue-yellow": (lab[..., 2] + 110) * 256 / 220,
        "saturation": hsv[..., 1] * 256,
        "hue": ((hsv[..., 0] + 0.5) % 1.0 * 256)[(hsv[..., 1] >= 1 / 16) & (hsv[..., 2] >= 1 / 16)],
    }
    for name, values in planes.items():
        p = ops.PLANES["color"].index(name)
        codes = np.clip(np.floor(values), 0, 255).astype(int)
        unsure = int((abs(values - np.round(values)) < 1e-3).sum())
        different = abs(np.bincount(codes.ravel(), minlength=256) - got.histograms[0, p].cpu().numpy()).sum()
        assert different <= 2 * unsure, name
        assert different < 0.05 * codes.size, name
