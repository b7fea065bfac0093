"""The same pixels in another type: a texture model gives the same bits, EPU-CNN the same maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import iuscore
from iuscore.errors import UserError
from iuscore.features import texture_features
from iuscore.features.bytes import as_bytes
from iuscore.models import EPUCNN, TextureModel

pytestmark = pytest.mark.usefixtures("one_thread")

EVERY = torch.arange(256, dtype=torch.int32).to(torch.uint8).view(1, 16, 16, 1)
BYTES = torch.randint(0, 256, (3, 40, 36, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
FLOATING = (torch.float32, torch.float16, torch.bfloat16)


def in_type(images: Tensor, dtype: torch.dtype) -> Tensor:
    """k as k / 255, or as 257 k."""
    if dtype == torch.uint16:
        return (images.to(torch.int32) * 257).to(torch.uint16)
    return (images.float() / 255.0).to(dtype)


def test_every_byte_comes_back_from_every_type() -> None:
    """The bounds of the docstring: half a step of a byte is .5."""
    for dtype, bound in ((torch.float32, 2e-5), (torch.float16, 0.07), (torch.bfloat16, 0.499)):
        held = in_type(EVERY, dtype)
        assert (held.double() * 255.0 - EVERY.double()).abs().max() < bound
        assert torch.equal(as_bytes(held)[0], EVERY)
    assert torch.equal(as_bytes(in_type(EVERY, torch.uint16))[0], EVERY)
    assert as_bytes(EVERY)[0] is EVERY


def test_sixteen_bits_are_rounded_to_the_nearest() -> None:
    values = np.arange(65536)
    images = torch.from_numpy(values.astype(np.uint16)).view(1, 256, 256, 1)
    got = as_bytes(images)[0]
    assert isinstance(got, Tensor)
    np.testing.assert_array_equal(got.flatten().numpy(), np.floor(values / 257.0 + 0.5))


def test_floats_are_rounded_half_up_exactly() -> None:
    """Also beside the halves, where a product in float32 would round first; against the fraction that a float is."""
    halves = ((np.arange(255) + 0.5) / 255.0).astype(np.float32)
    near = np.concatenate([halves, np.nextafter(halves, np.float32(0)), np.nextafter(halves, np.float32(1))])
    random = np.random.default_rng(0).uniform(-0.3, 1.3, 768 - 3).astype(np.float32)
    values = np.concatenate([near, random])

    def rounded(x: np.float32) -> int:
        top, bottom = float(np.clip(x, 0, 1)).as_integer_ratio()
        return (2 * 255 * top + bottom) // (2 * bottom)

    got, broken = as_bytes(torch.from_numpy(values).view(1, 1, -1, 1), "NHWC")
    assert broken == []
    assert isinstance(got, Tensor)
    assert got.flatten().tolist() == [rounded(x) for x in values]


@pytest.mark.parametrize("color", ["color", "gray"])
@pytest.mark.parametrize("size", [(40, 36), (16, 20), (64, 50)])
@pytest.mark.parametrize("dtype", [*FLOATING, torch.uint16])
def test_a_texture_model_measures_the_same_bits(color: Any, size: tuple[int, int], dtype: torch.dtype) -> None:
    model = TextureModel(["a", "b"], color=color, size=size)
    expected = model.prepare(BYTES)
    assert torch.equal(expected, texture_features(BYTES, kind=color, size=size))  # bytes are measured as before
    images = in_type(BYTES, dtype)
    assert torch.equal(model.prepare(images), expected)
    assert torch.equal(model.prepare(images.permute(0, 3, 1, 2)), expected)
    assert torch.equal(model.prepare(list(images)), expected)
    assert torch.equal(model.prepare([BYTES[0], images[1], in_type(BYTES[2], torch.uint16)]), expected)
    if dtype in (torch.float32, torch.float16, torch.uint16):
        assert torch.equal(model.prepare(images.numpy()), expected)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_an_image_that_is_not_finite_spoils_itself_alone(bad: float) -> None:
    model = TextureModel(["a", "b"], size=(16, 16))
    expected = model.prepare(BYTES)
    images = in_type(BYTES, torch.float32)
    images[1, 5, 6, 1] = bad
    for given in (images, list(images), images.numpy()):
        got = model.prepare(given)
        assert got[1].isnan().all()
        assert torch.equal(got[[0, 2]], expected[[0, 2]])


def test_values_outside_0_to_1_are_clamped() -> None:
    images = in_type(BYTES, torch.float32)
    wide = torch.where(images == 0.0, -0.2, torch.where(images == 1.0, 1.3, images))
    model = TextureModel(["a", "b"], size=(16, 16))
    assert torch.equal(model.prepare(wide), model.prepare(BYTES))


def test_a_gradient_is_refused_as_ever() -> None:
    model = TextureModel(["a", "b"], size=(16, 16))
    images = in_type(BYTES, torch.float32).requires_grad_()
    for given in (images, list(images)):
        with pytest.raises(UserError, match="a gradient is asked for, but texture features count pixels"):
            model.prepare(given)
    with torch.no_grad():
        assert torch.equal(model.prepare(images), model.prepare(BYTES))


@pytest.mark.parametrize("mode", ["clean", "published"])
@pytest.mark.parametrize("color", ["color", "gray"])
def test_maps_of_an_epu_model_have_the_same_bits(mode: Any, color: Any) -> None:
    """float32(k / 255) x 255 and 257 k / 257 are k exactly; half types hold other pixels, so their maps differ."""
    model = EPUCNN(["a", "b"], color=color, mode=mode, size=(16, 20), base_channels=2, hidden_units=4)
    expected = model.prepare(BYTES)
    for dtype in (torch.float32, torch.uint16):
        assert torch.equal(model.prepare(in_type(BYTES, dtype)), expected)


@pytest.mark.parametrize("model", ["fitted", "texture"])
def test_scores_do_not_depend_on_the_type(model: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(model)
    scorer = iuscore.load(folder)
    images = BYTES if model == "texture" else BYTES[..., :1]
    expected = scorer(images, target="a")
    for dtype in (torch.float32, torch.uint16, *(FLOATING if model == "texture" else ())):
        got = scorer(in_type(images, dtype), target="a")
        assert torch.equal(got.ius, expected.ius)
        assert torch.equal(got.contributions, expected.contributions)
