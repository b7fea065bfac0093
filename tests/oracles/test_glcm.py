"""Co-occurrence matrices and features against scikit-image, mahotas and the published values of IBSI's phantom."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import skimage
import torch
from skimage.feature import graycomatrix, graycoprops
from torch import Tensor

from iuscore import ops
from iuscore.ops._haralick import Preset
from tests.conftest import BackendUnderTest
from tests.oracles.ibsi_phantom import LEVELS, PHANTOM, PUBLISHED, half_a_digit
from tests.reference import glcm as reference

pytestmark = pytest.mark.usefixtures("one_thread")

Bytes = npt.NDArray[np.uint8]
ANGLES = (0.0, math.pi / 4.0, math.pi / 2.0, 3.0 * math.pi / 4.0)
TEXTURES = ("noise", "smooth", "black-border", "constant", "checkerboard", "ramp")


def image_of(texture: str, levels: int, shape: tuple[int, int] = (91, 67)) -> Bytes:
    rng = np.random.default_rng(levels)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    if texture == "noise":
        image = rng.integers(0, levels, shape)
    elif texture == "ramp":
        image = (rows + columns) * (levels - 1) // (sum(shape) - 2)
    elif texture == "checkerboard":
        image = (rows // 3 + columns // 3) % 2 * (levels - 1)
    elif texture == "constant":
        image = np.full(shape, levels - 1)
    else:
        image = levels / 2.0 + levels / 3.0 * np.sin(columns / 7.0) * np.cos(rows / 9.0)
        image = image + rng.integers(0, max(2, levels // 10), shape)
        if texture == "black-border":
            image[:, : shape[1] // 2] = 0.0
    return np.clip(image, 0, levels - 1).astype(np.uint8)


def on(backend: BackendUnderTest, image: Bytes) -> Tensor:
    return torch.from_numpy(image)[None, ..., None].to(backend.device)


@pytest.mark.parametrize("levels", [2, 8, 32, 64, 256])
@pytest.mark.parametrize("symmetric", [False, True])
def test_counts_and_probabilities_are_those_of_scikit_image(
    backend: BackendUnderTest, levels: int, symmetric: bool
) -> None:
    """Every angle, distances 1 to 5 and some fractional distances."""
    distances = [0.5, 1, 2, 2.5, 3, 4, 5, 100]
    options: dict[str, Any] = {"levels": levels, "distances": distances, "symmetric": symmetric, "quantize": "levels"}
    for texture in TEXTURES[:3]:
        image = image_of(texture, levels)
        ours = ops.glcm(on(backend, image), layout="NHWC", backend=backend.backend, **options).cpu().numpy()
        theirs = graycomatrix(image, distances, ANGLES, levels, symmetric=symmetric).transpose(2, 3, 0, 1)
        assert np.array_equal(ours[0], theirs), f"scikit-image {skimage.__version__}"
    shares = ops.glcm(on(backend, image), layout="NHWC", backend=backend.backend, normalize=True, **options)
    theirs = graycomatrix(image, distances, ANGLES, levels, symmetric=symmetric, normed=True).transpose(2, 3, 0, 1)
    assert shares.dtype == torch.float64
    assert np.array_equal(shares.cpu().numpy()[0], theirs)


@pytest.mark.parametrize("levels", [2, 8, 32, 64, 256])
@pytest.mark.parametrize("texture", TEXTURES)
def test_preset_skimage_is_graycoprops(backend: BackendUnderTest, levels: int, texture: str) -> None:
    image = image_of(texture, levels)
    for symmetric in (False, True):
        matrix = graycomatrix(image, [1, 3], ANGLES, levels, symmetric=symmetric)
        values, names = ops.glcm_features(
            on(backend, image), levels=levels, preset="skimage", distances=[1, 3], symmetric=symmetric,
            quantize="levels", dtype=torch.float64, layout="NHWC", backend=backend.backend,
        )  # fmt: skip
        for k, name in enumerate(names):
            theirs = graycoprops(matrix, name)
            error = np.abs(values[0, ..., k].cpu().numpy() - theirs) / np.maximum(1.0, np.abs(theirs))
            assert error.max() < 1e-9, f"{name}, scikit-image {skimage.__version__}"


@pytest.mark.parametrize("levels", [2, 8, 32, 64, 256])
@pytest.mark.parametrize("texture", [texture for texture in TEXTURES if texture != "constant"])
def test_preset_mahotas_is_haralick(backend: BackendUnderTest, levels: int, texture: str) -> None:
    """All thirteen features, in each direction."""
    image = image_of(texture, levels)
    image[0, -1] = levels - 1  # a corner, which is in no pair of one diagonal
    theirs = pytest.importorskip("mahotas").features.haralick(image)
    values, names = ops.glcm_features(
        on(backend, image), levels=levels, preset="mahotas", quantize="levels", dtype=torch.float64,
        layout="NHWC", backend=backend.backend,
    )  # fmt: skip
    assert len(names) == 13
    error = np.abs(values[0, 0].cpu().numpy() - theirs) / np.maximum(1.0, np.abs(theirs))
    assert error.max() < 1e-9, dict(zip(names, error.max(0), strict=True))


@pytest.mark.parametrize("preset", ["mahotas", "ibsi", "haralick"])
def test_presets_count_pairs_as_their_tools_do(preset: Preset) -> None:
    image = torch.from_numpy(image_of("smooth", 8))[None, ..., None]
    both: dict[str, Any] = {"levels": 8, "preset": preset, "quantize": "levels", "layout": "NHWC"}
    assert torch.equal(ops.glcm_features(image, **both).values, ops.glcm_features(image, symmetric=True, **both).values)
    once = ops.glcm_features(image, symmetric=False, **both).values
    assert not torch.equal(once, ops.glcm_features(image, **both).values)
    matrix = ops.glcm(image, levels=8, quantize="levels", layout="NHWC")
    of_matrix = ops.glcm_features(matrix, levels=None, preset=preset).values
    assert torch.equal(of_matrix, ops.glcm_features(image, **both).values)


def test_mahotas_without_its_quirk_is_the_difference_variance(backend: BackendUnderTest) -> None:
    image = image_of("smooth", 64)
    theirs = pytest.importorskip("mahotas").features.haralick(image, use_x_minus_y_variance=True)[:, 9]
    values = ops.glcm_features(
        on(backend, image), levels=64, features=["difference_variance"], symmetric=True, quantize="levels",
        dtype=torch.float64, layout="NHWC", backend=backend.backend,
    ).values  # fmt: skip
    assert np.abs(values[0, 0, :, 0].cpu().numpy() - theirs).max() < 1e-9


def phantom_counts(backend: BackendUnderTest) -> Tensor:
    """[z, angle, L, L]; levels start at 1 in the phantom and at 0 in the op."""
    images, mask = (torch.from_numpy(x).to(backend.device) for x in (PHANTOM - 1, PHANTOM > 0))
    counts = ops.glcm(
        images[..., None], levels=LEVELS, mask=mask, symmetric=True, quantize="levels", layout="NHWC",
        backend=backend.backend,
    )  # fmt: skip
    return counts[:, 0]


def assert_published(means: dict[str, float], column: int) -> None:
    for name, texts in PUBLISHED.items():
        text = texts[column]
        # A number half-way between two printed ones may be rounded either way.
        assert abs(means[name] - float(text)) <= half_a_digit(text) * (1.0 + 1e-9), f"{name}: {means[name]}, {text}"


def test_phantom_has_the_published_values(backend: BackendUnderTest) -> None:
    images, mask = (torch.from_numpy(x).to(backend.device) for x in (PHANTOM, PHANTOM > 0))
    values, names = ops.glcm_features(
        images[..., None], levels=LEVELS, preset="ibsi", mask=mask, symmetric=True, quantize="width", width=1.0,
        range=(1.0, None), dtype=torch.float64, layout="NHWC", backend=backend.backend,
    )  # fmt: skip
    assert names == tuple(PUBLISHED)
    assert_published(dict(zip(names, values.mean((0, 1, 2)).tolist(), strict=True)), 0)
    merged = phantom_counts(backend).sum(1, dtype=torch.int32)
    values, names = ops.glcm_features(merged, levels=None, preset="ibsi", dtype=torch.float64, backend=backend.backend)
    assert_published(dict(zip(names, values.mean(0).tolist(), strict=True)), 1)


def test_reference_has_the_published_values() -> None:
    """Checks the reference loops with which the back ends are compared."""
    offsets = [reference.offset_of(1.0, angle) for angle in ANGLES]
    counts = np.array(
        [
            [reference.count_pairs(s.astype(np.int64) - 1, s > 0, LEVELS, offset, True) for offset in offsets]
            for s in PHANTOM
        ]
    )
    for column, matrices in ((0, counts.reshape(-1, LEVELS, LEVELS)), (1, counts.sum(1))):
        values = [reference.features(matrix, LEVELS - 1) for matrix in matrices]
        assert_published({name: float(np.mean([v[name] for v in values])) for name in PUBLISHED}, column)


def test_maximal_correlation_of_mahotas_is_something_else() -> None:
    """mahotas takes the correlation of rows instead of Haralick's Q; its value is no correlation, being above 1."""
    image = image_of("smooth", 8)
    theirs = pytest.importorskip("mahotas").features.haralick(image, compute_14th_feature=True)[:, 13]
    ours = ops.glcm_features(
        torch.from_numpy(image)[None, ..., None], levels=8, features=["maximal_correlation_coefficient"],
        symmetric=True, quantize="levels", dtype=torch.float64, layout="NHWC",
    ).values[0, 0, :, 0].numpy()  # fmt: skip
    assert (theirs > 1.0).all()
    assert ((ours > 0.5) & (ours < 1.0)).all()
