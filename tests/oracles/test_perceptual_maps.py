"""`perceptual_maps` against tools and values that nobody here wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F

from iuscore import ops
from tests.conftest import BackendUnderTest
from tests.reference import perceptual_maps as reference

pytestmark = pytest.mark.usefixtures("one_thread")

PUBLISHED = 1e-4  # absolute; the published values are float32 themselves, computed with other roundings

# Of the published images: what degenerate_maps must flag, and nothing else.
GRAY_IMAGES = {
    "grey_as_rgb_128",
    "mammography_real_val_malignant_P_00001_mass0_924515",
    "mammography_real_val_malignant_P_00001_mass1_180834",
    "mammography_synthetic_cdcgan_benign_batch_0_16_benign",
    "mammography_synthetic_cdcgan_benign_batch_0_18_benign",
}
CONSTANT_IMAGES = {"constant_64"}  # all maps of both kinds; of gray images red-green and blue-yellow


@pytest.fixture(scope="module")
def published(shared: Path) -> dict[str, npt.NDArray[Any]]:
    with np.load(shared / "reference" / "perceptual_maps.npz") as file:
        return dict(file)


@pytest.mark.parametrize(("kind", "key"), [("color", "rgb"), ("gray", "gray")])
def test_published_mode_gives_the_published_maps(
    backend: BackendUnderTest, published: dict[str, npt.NDArray[Any]], kind: Any, key: str
) -> None:
    names = [name.removesuffix("/image") for name in published if name.endswith("/image")]
    assert len(names) == 16
    images = [published[f"{name}/image"] for name in names]
    tensors = [torch.from_numpy(image) for image in images]
    maps, ranges = backend.maps(tensors, kind=kind, mode="published", size=(128, 128))
    flagged = ops.degenerate_maps(ranges, kind=kind)
    components = ops.COMPONENTS[kind]
    expected = {(name, component) for name in CONSTANT_IMAGES for component in components}
    if kind == "color":
        expected |= {(name, component) for name in GRAY_IMAGES for component in components[:2]}
    found = {(names[i], components[k]) for i, k in flagged.nonzero().tolist()}
    assert found == expected
    for i, name in enumerate(names):
        error = np.abs(maps[i].numpy() - published[f"{name}/{key}"]).max((1, 2))
        for k, component in enumerate(components):
            assert flagged[i, k] or error[k] <= PUBLISHED, f"{name}, {component}: {error[k]:.2g}"


@pytest.mark.parametrize(("shape", "size"), [((97, 61), (32, 40)), ((20, 33), (48, 64)), ((128, 128), (64, 100))])
def test_resize_is_that_of_torch(shape: tuple[int, int], size: tuple[int, int]) -> None:
    """The reference's two conventions; the back ends equal the reference."""
    x = np.random.default_rng(1).random(shape) * 255.0
    for antialias in (False, True):
        rows, columns = (reference.taps(n, m, antialias) for n, m in zip(shape, size, strict=True))
        ours = reference.resample(reference.resample(x, rows).T, columns).T
        tensor = torch.from_numpy(x)[None, None]
        theirs = F.interpolate(tensor, size=size, mode="bicubic", align_corners=False, antialias=antialias)
        # Torch computes the weights in float32 even here.
        assert np.abs(ours - theirs[0, 0].numpy()).max() < 255.0 * 1e-5, f"torch {torch.__version__}"


@pytest.mark.parametrize(("shape", "size"), [((97, 61), (32, 40)), ((20, 33), (48, 64)), ((200, 160), (64, 64))])
def test_clean_resize_is_that_of_pillow(
    backend: BackendUnderTest, shape: tuple[int, int], size: tuple[int, int]
) -> None:
    """Seen through light-dark of a gray image, the Gaussian of which SciPy computes from Pillow's float32 resize."""
    pil = pytest.importorskip("PIL.Image")
    ndimage = pytest.importorskip("scipy.ndimage")
    image = np.random.default_rng(2).random(shape, dtype=np.float32)
    resized = np.asarray(pil.fromarray(image * 255.0).resize(size[::-1], pil.Resampling.BICUBIC), dtype=np.float64)
    unit = (resized - resized.min()) / np.ptp(resized)
    expected = ndimage.gaussian_filter(unit, 3.0, mode="mirror", radius=3)
    maps, _ = backend.maps(torch.from_numpy(image)[None, ..., None], kind="gray", size=size, layout="NHWC")
    assert np.abs(maps[0, 1].numpy() - expected).max() < 2e-5, f"Pillow {pil.__version__}"


def test_opponent_colors_are_those_of_cielab(backend: BackendUnderTest) -> None:
    """All corners, the neighborhoods of the thresholds and random colors; black and white fix the image's range."""
    levels = [0.0, 0.04, 0.0404, 0.0405, 0.041, 0.08, 0.083, 0.5, 1.0]
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(27, 27, 3)
    colors = np.concatenate([grid, np.random.default_rng(3).random((20, 27, 3))]).astype(np.float32)
    lab, tool = _lab(colors)
    maps, _ = backend.maps(torch.from_numpy(colors)[None], size=colors.shape[:2], layout="NHWC")
    for k in (0, 1):
        ours = maps[0, k].double().numpy() * 220.0 - 110.0
        assert np.abs(ours - lab[..., k + 1]).max() < 1.5e-3, f"{tool}: difference in CIELab units"


def _lab(colors: npt.NDArray[np.float32]) -> tuple[npt.NDArray[Any], str]:
    try:
        import skimage
        from skimage.color import rgb2lab

        return rgb2lab(colors.astype(np.float64)), f"scikit-image {skimage.__version__}"
    except ImportError:
        kornia = pytest.importorskip("kornia")
        tensor = torch.from_numpy(colors.astype(np.float64)).permute(2, 0, 1)[None]
        return kornia.color.rgb_to_lab(tensor)[0].permute(1, 2, 0).numpy(), f"kornia {kornia.__version__}"


@pytest.mark.parametrize("mode", ["clean", "published"])
def test_gradient_and_blur_are_those_of_scipy(backend: BackendUnderTest, mode: Any) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    image = np.random.default_rng(4).integers(0, 256, (40, 31), dtype=np.uint8)
    g = (image - float(image.min())) / float(np.ptp(image))
    gx, gy = (ndimage.sobel(g, axis=axis, mode="nearest") / 8.0 for axis in (1, 0))
    magnitude = np.sqrt(gx**2 + gy**2 + 1e-6)
    blur = ndimage.gaussian_filter(g, 3.0, mode="mirror", radius=3)
    if mode == "clean":
        expected = [(magnitude - 1e-3) / (magnitude - 1e-3 + 0.05), blur]
    else:
        expected = [(m - m.min()) / np.ptp(m) for m in (magnitude, blur)]
    maps, _ = backend.maps(
        torch.from_numpy(image)[None, ..., None], kind="gray", mode=mode, size=(40, 31), layout="NHWC"
    )
    for k in (0, 1):
        assert np.abs(maps[0, k].numpy() - expected[k]).max() < 2e-5
