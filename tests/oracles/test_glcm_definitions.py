"""Definitions of IBSI and Haralick that a user can get wrong: the number of gray levels, and symmetry."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from iuscore import ops
from tests.conftest import BackendUnderTest
from tests.oracles.ibsi_phantom import PHANTOM, PUBLISHED, half_a_digit

pytestmark = pytest.mark.usefixtures("one_thread")

Array = npt.NDArray[Any]
NORMALIZED = ("inverse_difference_normalized", "inverse_difference_moment_normalized")
BOUND = 1e-12


def ibsi_normalized(level: Array, counted: Array | None = None) -> list[float]:
    """IBSI's 3.6.16 and 3.6.18 of the pairs to the right of levels [H, W], with Ng the largest level counted from 1."""
    inside = np.ones(level.shape, bool) if counted is None else counted
    ng = int(level[inside].max()) + 1
    both = inside[:, :-1] & inside[:, 1:]
    away = abs(level[:, 1:].astype(int) - level[:, :-1].astype(int))[both]
    return [float((1 / (1 + away / ng)).mean()), float((1 / (1 + (away / ng) ** 2)).mean())]


def normalized(backend: BackendUnderTest, images: Tensor, mask: Tensor | None = None, **options: Any) -> Tensor:
    """float64 [B, 2] of offset (0, 1), in preset ibsi."""
    values, names = ops.glcm_features(
        images.to(backend.device), preset="ibsi", offsets=[(0, 1)],
        mask=None if mask is None else mask.to(backend.device), dtype=torch.float64, layout="NHWC",
        backend=backend.backend, **options,
    )  # fmt: skip
    return values[:, 0, [names.index(name) for name in NORMALIZED]].cpu()


def image_of_0_to_100() -> Array:
    image = np.random.default_rng(7).integers(0, 101, (30, 30)).astype(np.uint8)
    image[0, :2] = 0, 100
    return image


@pytest.mark.parametrize("levels", [11, 12, 32, 64, 65, 256])
def test_ng_follows_from_image_and_width(backend: BackendUnderTest, levels: int) -> None:
    image = image_of_0_to_100()
    for options in ({"range": (0, None)}, {}):
        got = normalized(
            backend, torch.from_numpy(image)[None, ..., None], levels=levels, quantize="width", width=10.0, **options
        )
        assert got[0].tolist() == pytest.approx(ibsi_normalized(image // 10), abs=BOUND)


@pytest.mark.parametrize("levels", [6, 32, 256])
def test_phantom_has_the_published_values_whatever_levels_says(backend: BackendUnderTest, levels: int) -> None:
    images, mask = (
        torch.from_numpy(PHANTOM)[..., None].to(backend.device),
        torch.from_numpy(PHANTOM > 0).to(backend.device),
    )
    values, names = ops.glcm_features(
        images, levels=levels, preset="ibsi", mask=mask, quantize="width", width=1.0, range=(1.0, None),
        dtype=torch.float64, layout="NHWC", backend=backend.backend,
    )  # fmt: skip
    mean = dict(zip(names, values.mean((0, 1, 2)).tolist(), strict=True))
    for name, (text, _) in PUBLISHED.items():
        assert abs(mean[name] - float(text)) <= half_a_digit(text) * (1 + 1e-9), name


@pytest.mark.parametrize("levels", [16, 64, 200, 256])
def test_each_image_and_mask_has_its_own_ng(backend: BackendUnderTest, levels: int) -> None:
    """A batch of images whose largest levels differ, with masks that hide the brightest pixels of some."""
    rng = np.random.default_rng(levels)
    tops = [3, 15, 1, 9, 14, 2]
    level = np.stack([rng.integers(0, top + 1, (19, 23)) for top in tops]).astype(np.uint8)
    for i, top in enumerate(tops):
        level[i, 3, 4] = top
    mask = rng.random(level.shape) < 0.8
    mask[1] &= level[1] < 11
    mask[4, 3, 4] = True
    images = torch.from_numpy(level)[..., None]
    for given in (None, mask):
        expected = [ibsi_normalized(x, None if given is None else given[i]) for i, x in enumerate(level)]
        masks = None if given is None else torch.from_numpy(given)
        got = normalized(backend, images, masks, levels=levels, quantize="levels")
        assert got.numpy() == pytest.approx(np.array(expected), abs=BOUND)
        single = torch.cat(
            [
                normalized(backend, images[i : i + 1], None if masks is None else masks[i : i + 1], levels=levels,
                           quantize="levels")
                for i in range(len(level))
            ]
        )  # fmt: skip
        assert torch.equal(single, got)


def test_ng_of_matrices_is_the_largest_level_with_a_count(backend: BackendUnderTest) -> None:
    image = image_of_0_to_100() // 10
    counts = ops.glcm(
        torch.from_numpy(image)[None, ..., None], levels=64, quantize="levels", offsets=[(0, 1)], layout="NHWC"
    )
    expected = ibsi_normalized(image)
    for matrix in (counts, counts.double()):
        backends = backend.backend if matrix is counts else "auto"
        values = ops.glcm_features(
            matrix.to(backend.device), levels=None, features=NORMALIZED, dtype=torch.float64, backend=backends
        ).values
        assert values[0, 0].tolist() == pytest.approx(expected, abs=BOUND)


@pytest.mark.parametrize("levels", [8, 128])
def test_preset_haralick_counts_both_directions(backend: BackendUnderTest, levels: int) -> None:
    """As the paper's P(i, j, d, 0 degrees), whose pairs have no order. f2, f4, f6, f7 and f14 by their formulas."""
    image = (np.random.default_rng(1).integers(0, 8, (20, 21)) + np.arange(21) // 4).clip(0, 7).astype(np.uint8)
    images = torch.from_numpy(image)[None, ..., None].to(backend.device)
    values, names = ops.glcm_features(
        images, levels=levels, preset="haralick", quantize="levels", offsets=[(0, 1)], dtype=torch.float64,
        layout="NHWC", backend=backend.backend,
    )  # fmt: skip
    got = dict(zip(names, values[0, 0].tolist(), strict=True))
    p = np.zeros((8, 8))
    np.add.at(p, (image[:, :-1], image[:, 1:]), 1)
    p = (p + p.T) / (2 * p.sum())
    i, j = np.mgrid[1:9, 1:9]
    mean = (i * p).sum()
    sum_average = ((i + j) * p).sum()
    q = (p / p.sum(1)[:, None]) @ (p / p.sum(0)).T
    expected = {
        "variance": ((i - mean) ** 2 * p).sum(),
        "sum_average": sum_average,
        "sum_variance": ((i + j - sum_average) ** 2 * p).sum(),  # around f6; the paper prints f8
        "maximal_correlation_coefficient": math.sqrt(np.sort(np.linalg.eigvals(q).real)[-2]),
    }
    assert {name: got[name] for name in expected} == pytest.approx(expected, rel=1e-9)
