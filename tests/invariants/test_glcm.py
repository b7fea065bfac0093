"""What must hold of co-occurrence matrices and their features whatever computes them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iuscore import ops
from tests.conftest import BackendUnderTest

pytestmark = pytest.mark.usefixtures("one_thread")

seeds = st.integers(0, 2**16)
sides = st.integers(1, 40)
levels_drawn = st.sampled_from((2, 5, 32, 64, 100, 256))
offsets_drawn = st.tuples(st.integers(-5, 5), st.integers(-5, 5))
NAMES = tuple(ops.GLCM_FEATURES)
# Unchanged where every level is raised by the same amount.
# Features that divide by the number of gray levels, from the first bin to the largest level; this number grows.
BY_GRAY_LEVELS = (
    "difference_variance_of_bins",
    "inverse_difference_normalized",
    "inverse_difference_moment_normalized",
)
SHIFT_INVARIANT = tuple(
    name
    for name in NAMES
    if name not in ("mean", "joint_average", "sum_average", "sum_average_zero_based", "autocorrelation")
    and name not in BY_GRAY_LEVELS
)


def bytes_of(seed: int, *shape: int, high: int = 256) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, high, shape, dtype=np.uint8))


def count(backend: BackendUnderTest, images: Tensor, **options: Any) -> Tensor:
    return ops.glcm(images.to(backend.device), layout="NHWC", backend=backend.backend, **options).cpu()


def features(backend: BackendUnderTest, images: Tensor, **options: Any) -> Tensor:
    options = {"features": NAMES, "dtype": torch.float64, **options}
    given = {"layout": "NHWC"} if options["levels"] is not None else {}
    return ops.glcm_features(images.to(backend.device), backend=backend.backend, **given, **options).values.cpu()


def close(a: Tensor, b: Tensor) -> bool:
    """Of one value computed twice in float64, but for imc2's square root, which takes 1e-15 to 3e-8."""
    return torch.allclose(a, b, rtol=1e-9, atol=1e-7)


@given(seed=seeds, height=sides, width=sides, levels=levels_drawn, offset=offsets_drawn)
def test_counts_sum_to_the_pairs_and_transpose_with_the_offset(
    backend: BackendUnderTest, seed: int, height: int, width: int, levels: int, offset: tuple[int, int]
) -> None:
    images = bytes_of(seed, 2, height, width, 1)
    counts = count(backend, images, levels=levels, offsets=[offset])
    pairs = max(0, height - abs(offset[0])) * max(0, width - abs(offset[1]))
    assert counts.sum((1, 2, 3)).tolist() == [pairs, pairs]
    both = count(backend, images, levels=levels, offsets=[offset], symmetric=True)
    assert torch.equal(both, counts + counts.transpose(2, 3))
    opposite = count(backend, images, levels=levels, offsets=[(-offset[0], -offset[1])])
    assert torch.equal(opposite, counts.transpose(2, 3))
    shares = count(backend, images, levels=levels, offsets=[offset], normalize=True)
    assert torch.allclose(shares.sum((1, 2, 3)), torch.tensor(1.0 if pairs else 0.0, dtype=torch.float64))


@given(seed=seeds, height=sides, width=sides, levels=levels_drawn, distance=st.integers(1, 4))
def test_a_quarter_turn_exchanges_the_angles(
    backend: BackendUnderTest, seed: int, height: int, width: int, levels: int, distance: int
) -> None:
    images = bytes_of(seed, 2, height, width, 1)
    options: dict[str, Any] = {"levels": levels, "distances": [distance], "symmetric": True}
    counts = count(backend, images, **options)
    turned = count(backend, images.rot90(1, (1, 2)), **options)
    assert torch.equal(turned, counts[:, :, [2, 3, 0, 1]])
    mirrored = count(backend, images.flip(2), **options)
    assert torch.equal(mirrored, counts[:, :, [0, 3, 2, 1]])


@given(seed=seeds, height=sides, width=sides, levels=levels_drawn)
def test_all_pixels_masked_in_is_no_mask_and_the_rest_is_zero(
    backend: BackendUnderTest, seed: int, height: int, width: int, levels: int
) -> None:
    images = bytes_of(seed, 2, height, width, 1).to(backend.device)
    everything = torch.ones(2, height, width, dtype=torch.uint8, device=backend.device)
    expected = count(backend, images, levels=levels)
    assert torch.equal(count(backend, images, levels=levels, mask=everything), expected)
    half = everything.clone()
    half[:, :, width // 2 :] = 0
    left = count(backend, images[:, :, : max(width // 2, 1)], levels=levels)
    masked = count(backend, images, levels=levels, mask=half)
    assert torch.equal(masked, left) if width > 1 else not masked.any()


@given(seed=seeds, levels=st.sampled_from((2, 5, 32, 100)), symmetric=st.booleans())
def test_features_of_a_permuted_batch_are_permuted(
    backend: BackendUnderTest, seed: int, levels: int, symmetric: bool
) -> None:
    images = bytes_of(seed, 3, 9, 14, 1)
    order = torch.tensor([2, 0, 1])
    values = features(backend, images, levels=levels, symmetric=symmetric)
    again = features(backend, images[order], levels=levels, symmetric=symmetric)
    assert close(again, values[order])


@given(seed=seeds, by=st.integers(1, 6))
def test_raising_all_levels_changes_only_features_of_brightness(backend: BackendUnderTest, seed: int, by: int) -> None:
    low = bytes_of(seed, 1, 12, 15, 1, high=10)
    options: dict[str, Any] = {"levels": 16, "quantize": "levels"}
    before, after = (features(backend, x, **options)[0, 0] for x in (low, low + by))
    at = [NAMES.index(name) for name in SHIFT_INVARIANT]
    assert close(before[:, at], after[:, at])
    for name, factor in (("mean", 1), ("joint_average", 1), ("sum_average", 2), ("sum_average_zero_based", 2)):
        k = NAMES.index(name)
        assert torch.allclose(after[:, k] - before[:, k], torch.tensor(float(factor * by), dtype=torch.float64))
    for name in BY_GRAY_LEVELS[1:]:  # with more gray levels, the same differences are smaller fractions of the range
        assert (after[:, NAMES.index(name)] > before[:, NAMES.index(name)]).all()


@given(seed=seeds, factor=st.sampled_from((0.5, 2.0, 8.0)), offset=st.sampled_from((-4.0, 0.0, 3.0)))
def test_minmax_levels_ignore_brightness_and_contrast(
    backend: BackendUnderTest, seed: int, factor: float, offset: float
) -> None:
    """Exact for factors and offsets that cause no rounding in float32."""
    image = bytes_of(seed, 1, 13, 11, 1).float() / 256.0
    options: dict[str, Any] = {"levels": 32, "quantize": "minmax"}
    assert torch.equal(count(backend, image, **options), count(backend, image * factor + offset, **options))


@given(seed=seeds, levels=st.sampled_from((2, 5, 32, 64)), symmetric=st.booleans())
def test_features_keep_their_bounds_and_identities(
    backend: BackendUnderTest, seed: int, levels: int, symmetric: bool
) -> None:
    images = torch.stack([bytes_of(seed, 10, 21, 1), bytes_of(seed, 10, 21, 1, high=1 + seed % 256)])
    values = dict(zip(NAMES, features(backend, images, levels=levels, symmetric=symmetric).unbind(-1), strict=True))
    slack = 1e-9
    unit = ("homogeneity", "ASM", "energy", "joint_maximum", "imc2", "inverse_difference", "inverse_variance",
            "inverse_difference_normalized", "inverse_difference_moment_normalized",
            "maximal_correlation_coefficient")  # fmt: skip
    for name in unit:
        assert values[name].min() >= -slack
        assert values[name].max() <= 1.0 + slack
    assert values["correlation"].abs().max() <= 1.0 + slack
    assert (values["imc1"] <= slack).all()
    assert (values["imc1"] >= -1.0 - slack).all()
    assert (values["joint_entropy"] <= 2.0 * math.log2(levels) + slack).all()
    assert (values["joint_maximum"] ** 2 <= values["ASM"] + slack).all()
    assert (values["contrast"] + slack >= values["dissimilarity"]).all()
    # Identities that two independent ways of computing keep.
    assert close(values["contrast"], values["difference_variance"] + values["dissimilarity"] ** 2)
    if symmetric:
        assert close(values["sum_variance"] + values["contrast"], 4.0 * values["variance"])


@given(seed=seeds, parts=st.integers(2, 4))
def test_independent_neighbors_share_nothing(backend: BackendUnderTest, seed: int, parts: int) -> None:
    """The matrix is the product of its marginals."""
    rng = np.random.default_rng(seed)
    row, column = rng.integers(1, 9, 6), rng.integers(1, 9, 6)
    matrix = torch.from_numpy(np.outer(row, column).astype(np.int32))[None].expand(parts, 6, 6).contiguous()
    values = features(backend, matrix, levels=None)
    at = {name: values[:, k] for k, name in enumerate(NAMES)}
    for name in ("correlation", "imc1", "imc2", "maximal_correlation_coefficient"):
        assert at[name].abs().max() < 1e-6


@given(seed=seeds)
def test_a_level_that_decides_its_neighbor(backend: BackendUnderTest, seed: int) -> None:
    """The matrix is diagonal, so all measures of dependence have their extreme value."""
    diagonal = np.random.default_rng(seed).integers(1, 50, 7).astype(np.int32)
    values = features(backend, torch.from_numpy(np.diag(diagonal))[None], levels=None)[0]
    at = {name: values[k].item() for k, name in enumerate(NAMES)}
    for name, expected in (("correlation", 1.0), ("imc1", -1.0), ("maximal_correlation_coefficient", 1.0),
                           ("homogeneity", 1.0), ("contrast", 0.0), ("difference_entropy", 0.0)):  # fmt: skip
        assert math.isclose(at[name], expected, abs_tol=1e-9)
