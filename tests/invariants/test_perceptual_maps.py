"""What must hold of the perceptual maps whatever computes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iuscore import ops
from tests import tolerances
from tests.conftest import BackendUnderTest
from tests.reference import perceptual_maps as reference

pytestmark = pytest.mark.usefixtures("one_thread")

DTYPES = (torch.uint8, torch.uint16, torch.float16, torch.bfloat16, torch.float32)
KINDS = ("color", "gray")
MODES = ("clean", "published")
seeds = st.integers(0, 2**16)
sides = st.integers(4, 40)


def bytes_of(seed: int, *shape: int, low: int = 0, high: int = 256) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(low, high, shape, dtype=np.uint8))


def bounds_of(image: Tensor, kind: str, mode: str) -> tolerances.Bounds:
    """Bounds for one image [H, W, C] that is not resized."""
    name = str(image.dtype).removeprefix("torch.")
    size = (image.shape[0], image.shape[1])
    return tolerances.perceptual_maps(reference.trace(image.numpy(), name, kind=kind, mode=mode, size=size))


def assert_close(one: Tensor, two: Tensor, *bounds: tolerances.Bounds) -> None:
    """Two results whose references are the same: they differ by at most the sum of their bounds."""
    total = sum(b.maps for b in bounds)
    sure = ~np.logical_or.reduce([b.either for b in bounds]) & (total <= tolerances.MEANINGLESS)
    error = np.abs(one.double().numpy() - two.double().numpy())
    assert (error <= total)[sure].all()


@given(seed=seeds, kind=st.sampled_from(KINDS), mode=st.sampled_from(MODES), size=st.tuples(sides, sides))
def test_maps_lie_in_the_unit_interval(
    backend: BackendUnderTest, seed: int, kind: str, mode: str, size: tuple[int, int]
) -> None:
    images = bytes_of(seed, 2, 1 + seed % 50, 1 + seed % 37, 3)
    maps, ranges = backend.maps(images, kind=kind, mode=mode, size=size, layout="NHWC")
    slack = tolerances.SLACK
    assert maps.min() >= -slack
    assert maps.max() <= 1.0 + slack
    assert (ranges >= 0.0).all()
    if mode == "clean":
        assert torch.equal(ranges, maps.amax((2, 3)) - maps.amin((2, 3)))
        if kind == "color":  # sRGB's a* is in -86.2 .. 98.3 and b* in -107.9 .. 94.5
            assert maps[:, 0].min() >= (110.0 - 86.2) / 220.0 - slack
            assert maps[:, 0].max() <= (110.0 + 98.3) / 220.0 + slack
            assert maps[:, 1].min() >= (110.0 - 107.9) / 220.0 - slack
            assert maps[:, 1].max() <= (110.0 + 94.5) / 220.0 + slack
        edges = maps[:, ops.COMPONENTS[kind].index("coarse-fine")]
        steepest = (2.0 * 0.5**2 + 1e-6) ** 0.5  # each of gx and gy is at most 4 / 8
        assert edges.max() <= (steepest - 1e-3) / (steepest - 1e-3 + 0.05) + slack


@given(seed=seeds, scale=st.sampled_from([1, 2, 3]), offset=st.integers(0, 60), mode=st.sampled_from(MODES))
def test_gray_maps_ignore_brightness_and_contrast(
    backend: BackendUnderTest, seed: int, scale: int, offset: int, mode: str
) -> None:
    image = bytes_of(seed, 24, 20, 1, high=65)
    changed = image * scale + offset
    options: dict[str, Any] = {"kind": "gray", "mode": mode, "size": (24, 20), "layout": "NHWC"}
    one, two = (backend.maps(x[None], **options)[0][0] for x in (image, changed))
    assert_close(one, two, bounds_of(image, "gray", mode), bounds_of(changed, "gray", mode))


@given(seed=seeds, offset=st.integers(0, 60))
def test_clean_color_maps_ignore_an_offset_common_to_all_channels(
    backend: BackendUnderTest, seed: int, offset: int
) -> None:
    image = bytes_of(seed, 24, 20, 3, high=196)
    changed = image + offset
    one, two = (backend.maps(x[None], size=(24, 20), layout="NHWC")[0][0] for x in (image, changed))
    assert_close(one, two, bounds_of(image, "color", "clean"), bounds_of(changed, "color", "clean"))


@given(seed=seeds, kind=st.sampled_from(KINDS), mode=st.sampled_from(MODES), size=st.tuples(sides, sides))
def test_flips_and_transposition_commute_with_the_maps(
    backend: BackendUnderTest, seed: int, kind: str, mode: str, size: tuple[int, int]
) -> None:
    image = bytes_of(seed, *size, 3)
    bounds = bounds_of(image, kind, mode)
    options: dict[str, Any] = {"kind": kind, "mode": mode, "layout": "NHWC"}
    maps = backend.maps(image[None], size=size, **options)[0][0]
    for axis in (0, 1):
        flipped = backend.maps(image.flip(axis)[None], size=size, **options)[0][0]
        assert_close(flipped.flip(axis + 1), maps, bounds, bounds)
    turned = backend.maps(image.transpose(0, 1)[None], size=size[::-1], **options)[0][0]
    assert_close(turned.transpose(1, 2), maps, bounds, bounds)


@given(seed=seeds, mode=st.sampled_from(MODES), channels=st.sampled_from((1, 3)))
def test_bands_partition_the_gray_levels(backend: BackendUnderTest, seed: int, mode: str, channels: int) -> None:
    image = bytes_of(seed, 1, 17, 33, channels)
    maps = backend.maps(image, kind="gray", mode=mode, size=(17, 33), layout="NHWC")[0][0]
    one, two = maps[2], maps[3]
    assert not ((one != 0.0) & (two != 0.0)).any()
    assert one.max() < 0.3
    assert ((two == 0.0) | ((two >= 0.3) & (two < 0.6))).all()
    x = reference.trace(image[0].numpy(), "uint8", kind="gray", mode=mode, size=(17, 33)).gray
    assert ((one + two).numpy()[x < 0.59] > 0.0).sum() == ((x > 0.0) & (x < 0.59)).sum()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_gray_images_are_neutral_in_clean_color(backend: BackendUnderTest, dtype: torch.dtype, channels: int) -> None:
    for seed, shape in enumerate([(32, 32), (50, 41), (9, 70)]):
        image = bytes_of(seed, 1, *shape, 1).expand(-1, -1, -1, channels)
        image = (
            image / 255.0 if dtype.is_floating_point else image.to(torch.int32) * (257 if dtype == torch.uint16 else 1)
        )
        maps, _ = backend.maps(image.to(dtype), size=(32, 32), layout="NHWC")
        assert (maps[:, :2] - 0.5).abs().max() <= 1e-4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_constant_images_have_exact_and_degenerate_maps(
    backend: BackendUnderTest, dtype: torch.dtype, kind: Any, channels: int
) -> None:
    """Constant images give exact values, not amplified rounding errors."""
    for value in (0.0, 0.25, 0.7, 1.0):
        stored = value if dtype.is_floating_point else round(value * (255 if dtype == torch.uint8 else 65535))
        image = torch.full((2, 13, 21, channels), stored).to(dtype)
        options: dict[str, Any] = {"kind": kind, "size": (13, 21), "layout": "NHWC"}
        maps, ranges = backend.maps(image, mode="clean", **options)
        neutral = 2 if kind == "color" else 0
        assert torch.equal(maps[:, :neutral], torch.full_like(maps[:, :neutral], 0.5))
        assert maps[:, neutral:].abs().max() <= 1e-8  # sqrt(1e-6) - 1e-3 in float32
        assert ranges.abs().max() <= 1e-8
        maps, ranges = backend.maps(image, mode="published", **options)
        assert not maps.any()
        assert not ranges.any()
        assert ops.degenerate_maps(ranges, kind=kind).all()


def test_color_cast_survives_in_clean_and_not_in_published(backend: BackendUnderTest) -> None:
    image = bytes_of(7, 1, 32, 32, 3, low=60, high=200)
    cast = image.float()
    cast[..., 2] *= 0.7  # less blue: yellowish
    cast = cast.round().to(torch.uint8)
    for mode, moves in (("clean", True), ("published", False)):
        before, after = (
            backend.maps(x, mode=mode, size=(32, 32), layout="NHWC")[0][0, 1].mean().item() for x in (image, cast)
        )
        assert (after - before > 0.05) if moves else (abs(after - before) < 0.01), mode


@given(seed=seeds, kind=st.sampled_from(KINDS), size=st.tuples(st.integers(16, 40), st.integers(16, 40)))
def test_ordinary_images_are_not_degenerate(
    backend: BackendUnderTest, seed: int, kind: Any, size: tuple[int, int]
) -> None:
    """An image of 16 pixels may have none in a band; with 256 pixels every band has many."""
    images = bytes_of(seed, 1, 20 + seed % 40, 20 + seed % 33, 3)
    _, ranges = backend.maps(images, kind=kind, mode="published", size=size, layout="NHWC")
    assert not ops.degenerate_maps(ranges, kind=kind).any()


@given(
    value=st.integers(0, 255),
    shape=st.one_of(st.just((1, 1)), st.tuples(st.integers(1, 40), st.integers(1, 40))),
    size=st.tuples(sides, sides),
    kind=st.sampled_from(KINDS),
    channels=st.sampled_from((1, 3)),
)
def test_resized_constant_images_are_degenerate(
    backend: BackendUnderTest, value: int, shape: tuple[int, int], size: tuple[int, int], kind: Any, channels: int
) -> None:
    """1x1 images among them."""
    images = torch.full((1, *shape, channels), value, dtype=torch.uint8)
    _, ranges = backend.maps(images, kind=kind, mode="published", size=size, layout="NHWC")
    assert ops.degenerate_maps(ranges, kind=kind).all()


@given(seed=seeds, channels=st.sampled_from((1, 3)), size=st.tuples(sides, sides))
def test_gray_images_have_degenerate_opponent_colors(
    backend: BackendUnderTest, seed: int, channels: int, size: tuple[int, int]
) -> None:
    images = bytes_of(seed, 1, 20 + seed % 40, 20 + seed % 33, 1).expand(-1, -1, -1, channels)
    _, ranges = backend.maps(images, kind="color", mode="published", size=size, layout="NHWC")
    assert ops.degenerate_maps(ranges, kind="color").tolist() == [[True, True, False, False]]


def test_degenerate_limits_have_a_component_each() -> None:
    assert set(ops.DEGENERATE_RANGE) == {name for names in ops.COMPONENTS.values() for name in names}
    nan = torch.full((1, 4), float("nan"))
    assert not ops.degenerate_maps(nan, kind="color").any()
