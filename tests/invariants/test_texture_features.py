"""Names and ranges of features, and transformations that must not change them."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iuscore import UserError, phantoms
from iuscore.features import FEATURES, GROUPS, group_sizes, texture_features
from iuscore.ops import Kind
from tests.tolerances import TEXTURE_FEATURES

KINDS: tuple[Kind, ...] = ("color", "gray")
COLOR_GROUPS = ("lightness", "red-green", "blue-yellow", "saturation", "hue", "coarse-fine")


def measured(images: Any, kind: Kind = "color", **options: Any) -> Tensor:
    return texture_features(images, kind=kind, layout="NHWC", size=options.pop("size", None), **options)


def columns(kind: Kind, *groups: str) -> list[int]:
    return [i for i, feature in enumerate(FEATURES[kind]) if feature.group in groups]


def named(kind: Kind, name: str) -> int:
    return [feature.name for feature in FEATURES[kind]].index(name)


@pytest.mark.parametrize("kind", KINDS)
def test_the_registry_is_complete_and_names_are_unique(kind: Kind) -> None:
    names = [feature.name for feature in FEATURES[kind]]
    assert len(set(names)) == len(names)
    runs = [(group, len(list(run))) for group, run in groupby(FEATURES[kind], key=lambda f: f.group)]
    assert tuple(runs) == tuple(zip(GROUPS[kind], group_sizes(kind), strict=True))
    assert 8 <= len(GROUPS[kind]) <= 16
    for feature in FEATURES[kind]:
        assert feature.name.startswith(f"{feature.group} ")
        assert feature.range[0] < feature.range[1]
        assert feature.unit
        assert feature.higher
        assert feature.reference
    assert set(GROUPS["gray"]) < set(GROUPS["color"])


@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 999), steps=st.integers(1, 255), cells=st.integers(1, 32))
def test_values_lie_in_their_ranges(kind: Kind, seed: int, steps: int, cells: int) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (2, cells, cells, 3)) // steps * steps
    images = np.kron(images, np.ones((1, 32 // cells, 32 // cells, 1))).astype(np.uint8)
    values = measured(images, kind)
    low, high = (torch.tensor([f.range[end] for f in FEATURES[kind]]) for end in (0, 1))
    outside = ((values < low - 1e-6) | (values > high + 1e-6)).any(0)
    assert [f.name for f, wrong in zip(FEATURES[kind], outside.tolist(), strict=True) if wrong] == []


@pytest.mark.parametrize("kind", KINDS)
def test_ranges_hold_for_one_pixel_that_stands_out(kind: Kind) -> None:
    images = np.zeros((3, 170, 170, 3), np.uint8)
    images[0, 85, 85] = 255
    images[1], images[1, 85, 85] = 255, 0
    images[2], images[2, 85, 85] = (255, 0, 0), (0, 255, 0)
    values = texture_features(images, kind=kind, size=None)
    low, high = (torch.tensor([f.range[end] for f in FEATURES[kind]]) for end in (0, 1))
    outside = ((values < low - 1e-6) | (values > high + 1e-6)).any(0)
    assert [f.name for f, wrong in zip(FEATURES[kind], outside.tolist(), strict=True) if wrong] == []
    kurtosis = values[0, named(kind, "lightness kurtosis")]
    assert kurtosis > 10.9  # the stated range is tight


def test_a_feature_is_higher_in_the_picture_that_shows_it() -> None:
    """For some features, one picture that should raise the feature, by its text in the registry."""
    black = np.zeros((64, 64, 3), np.uint8)
    tints = {"red-green mean": (255, 0, 0), "blue-yellow mean": (255, 255, 0), "lightness mean": (255, 255, 255)}
    plain = measured(black[None])[0]
    for name, tint in tints.items():
        assert measured((black + np.uint8(tint))[None])[0, named("color", name)] > plain[named("color", name)] + 0.2
    disk = black.copy()
    disk[24:40, 24:40] = 200
    above = black.copy()
    above[:32] = 200
    stripes = black.copy()
    stripes[::2] = 200
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 1), dtype=np.uint8).repeat(3, 2)
    for name, picture in {
        "light-dark center": disk,
        "light-dark top": above,
        "light-dark spread": above,
        "direction fine contrast": stripes,
        "coarse-fine mean": noise,
        "fine-contrast difference": noise,
        "fine-regularity entropy": noise,
    }.items():
        assert measured(picture[None])[0, named("color", name)] > plain[named("color", name)] + 0.1, name


@pytest.mark.parametrize("kind", KINDS)
def test_a_quarter_turn_changes_only_the_layout(kind: Kind) -> None:
    images = phantoms.draw("endoscopy", "abnormal", 3, size=48)
    turned = np.rot90(images, axes=(1, 2)).copy()
    first, second = measured(images, kind), measured(turned, kind)
    same = [i for i, f in enumerate(FEATURES[kind]) if f.group != "light-dark"]
    same += [named(kind, f"light-dark {name}") for name in ("spread", "center", "lightest", "darkest", "unevenness")]
    np.testing.assert_allclose(first[:, same], second[:, same], **TEXTURE_FEATURES)
    top, left = (named(kind, f"light-dark {name}") for name in ("top", "left"))
    np.testing.assert_allclose(second[:, left], first[:, top], **TEXTURE_FEATURES)


def test_batches_lists_and_layouts_agree() -> None:
    images = torch.from_numpy(phantoms.draw("endoscopy", "normal", 5, size=40))
    whole = measured(images)
    assert torch.equal(whole, torch.cat([measured(images[i : i + 2]) for i in range(0, 5, 2)]))
    assert torch.equal(whole, measured(list(images)))
    assert torch.equal(whole, texture_features(images.permute(0, 3, 1, 2), layout="NCHW", size=None))
    padded = torch.zeros(5, 50, 50, 3, dtype=torch.uint8)
    padded[:, 3:43, 5:45] = images
    assert torch.equal(whole, measured(padded[:, 3:43, 5:45]))


def test_a_list_may_mix_sizes_and_types() -> None:
    """Sizes, channels and dtypes mixed; every image as if it were alone."""
    rng = np.random.default_rng(1)
    images: list[Any] = [
        rng.integers(0, 256, (20, 30, 3), dtype=np.uint8),
        rng.integers(0, 65536, (16, 16, 1), dtype=np.uint16),
        rng.random((9, 40, 3), dtype=np.float32),
        rng.integers(0, 256, (16, 16, 3), dtype=np.uint8),
        torch.from_numpy(rng.random((20, 30, 1), dtype=np.float32)).half(),
        rng.integers(0, 256, (20, 30, 3), dtype=np.uint8),
    ]
    for size in (None, (16, 16)):
        together = texture_features(images, layout="NHWC", size=size)
        for i, image in enumerate(images):
            assert torch.equal(together[i], texture_features(image[None], layout="NHWC", size=size)[0]), (size, i)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float16, torch.float32])
def test_features_of_resized_images_are_those_of_their_pixels(dtype: torch.dtype) -> None:
    images = torch.from_numpy(phantoms.draw("endoscopy", "normal", 2, size=96))
    unit = images.float() / 255
    scale = {torch.uint8: 255.0, torch.uint16: 65535.0}.get(dtype, 1.0)
    given = (unit * scale).round().to(dtype) if scale > 1 else unit.to(dtype)
    got = texture_features(given, layout="NHWC", size=(64, 64))
    fitting = torch.nn.functional.interpolate(unit.permute(0, 3, 1, 2), (64, 64), mode="bicubic", antialias=True)
    expected = texture_features(fitting.clamp(0, 1), layout="NCHW", size=(64, 64))
    # Rounding to 8 or 11 bits moves values by about one code of 256; shares and tails are left out.
    means = [named("color", f"{plane} mean") for plane in COLOR_GROUPS if plane != "hue"]
    np.testing.assert_allclose(got[:, means], expected[:, means], atol=2 / 256)
    assert torch.equal(texture_features(given, layout="NHWC", size=(96, 96)), measured(given))


def test_images_that_are_not_finite_spoil_only_themselves() -> None:
    images = torch.rand(3, 12, 12, 3)
    images[1, 2, 3, 0] = torch.nan
    for size in (None, (16, 16)):
        values = texture_features(images, layout="NHWC", size=size)
        assert values[1].isnan().all()
        assert values[[0, 2]].isfinite().all()


def test_empty_batches_and_single_pixels_have_features() -> None:
    assert measured(torch.zeros(0, 8, 8, 3, dtype=torch.uint8)).shape == (0, len(FEATURES["color"]))
    assert texture_features([]).shape == (0, len(FEATURES["color"]))
    assert measured(torch.zeros(1, 1, 1, 1, dtype=torch.uint8)).isfinite().all()


def test_a_gradient_is_refused() -> None:
    images = torch.rand(1, 16, 16, 3, requires_grad=True)
    with pytest.raises(UserError, match=r"a gradient is asked for, .* use a model of kind 'epu' for it, or"):
        measured(images)
    with torch.no_grad():
        assert measured(images).isfinite().all()
