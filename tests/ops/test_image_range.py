"""Images on another scale than their type stands for: one warning a call, with what to do."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import iuscore
from iuscore import ops
from iuscore.features import FEATURES, texture_features
from iuscore.models import EPUCNN, TextureModel
from iuscore.ops import _range

pytestmark = pytest.mark.usefixtures("one_thread")

UNIT = torch.rand(3, 24, 20, 3, generator=torch.Generator().manual_seed(0))
BYTES = (UNIT * 255).round()
IN_UINT16 = BYTES.to(torch.int32).to(torch.uint16)
FLOATS = r"images: expected floats in \[0, 1\], got "
SHORTS = r"images: expected uint16 in 0\.\.65535, got 0 to 25[0-5]; pass bytes as uint8"

TEXTURE = TextureModel(["a", "b"], size=(16, 16)).eval()
EPU = EPUCNN(["a", "b"], size=(16, 16), base_channels=2, hidden_units=4).eval()
CALLS: dict[str, Callable[[Any], Any]] = {
    "perceptual_maps": lambda x: ops.perceptual_maps(x, size=(8, 8)),
    "color_histogram": ops.color_histogram,
    "color_histogram lab": lambda x: ops.color_histogram(x, space="lab", range=((0, 100), (-110, 110), (-110, 110))),
    "glcm": lambda x: ops.glcm(x, levels=8),
    "glcm_features": lambda x: ops.glcm_features(x, levels=8),
    "texture_stats": ops.texture_stats,
    "texture_features": lambda x: texture_features(x, size=(16, 16)),
    "texture_features as they are": lambda x: texture_features(x, size=None),
    "TextureModel": TEXTURE.prepare,
    "TextureModel with warnings": TEXTURE.prepare_with_warnings,
    "EPUCNN": EPU.prepare,
}


def told(call: Callable[[Any], Any], images: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(images)
    assert [Path(one.filename).name for one in caught] == [Path(__file__).name] * len(caught)  # the caller's line
    assert {one.category for one in caught} <= {UserWarning}
    return [str(one.message) for one in caught]


def lists(images: torch.Tensor) -> list[torch.Tensor]:
    """Of several sizes, so that several calls of a kernel are needed."""
    return [images[0], images[1, 2:], images[2, :, 3:]]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("form", [torch.clone, torch.Tensor.numpy, lists, lambda x: x.permute(0, 3, 1, 2)])
def test_bytes_in_another_type_are_told_once(name: str, form: Callable[[Any], Any]) -> None:
    (said,) = told(CALLS[name], form(BYTES))
    assert re.match(FLOATS + "0.* to 25.; divide them by 255, or pass uint8", said)
    (said,) = told(CALLS[name], form(IN_UINT16))
    assert re.match(SHORTS, said)


@pytest.mark.parametrize("name", CALLS)
def test_other_scales_are_told(name: str) -> None:
    (said,) = told(CALLS[name], UNIT * 2 - 1)
    assert re.match(FLOATS + r"-\S+ to \S+; scale them, those in \[-1, 1\] by \(x \+ 1\) / 2", said)
    (said,) = told(CALLS[name], UNIT * 0.8 - 0.4)  # of a tanh, though nothing is far out
    assert re.match(FLOATS + r"-0.\S+ to 0.\S+; scale them, those in \[-1, 1\]", said)
    (said,) = told(CALLS[name], UNIT * 1.4 - 0.4)  # of a tanh, of bright images: hardly anything is below 0
    assert re.match(FLOATS + r"-0.\S+ to \S+; scale them, those in \[-1, 1\]", said)
    (said,) = told(CALLS[name], UNIT * 3000 - 1000)  # Hounsfield units
    assert re.match(FLOATS + r"-\S+ to \S+; scale them", said)
    for dtype in (torch.float16, torch.bfloat16):
        assert len(told(CALLS[name], BYTES.to(dtype))) == 1


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_hide_nothing(name: str, bad: float) -> None:
    images = BYTES.clone()
    images[1, 3, 3, 0] = bad
    (said,) = told(CALLS[name], images)
    assert re.match(FLOATS + "0.* to 25.; divide", said)
    fine = UNIT.clone()
    fine[1, 3, 3, 0] = bad
    assert told(CALLS[name], fine) == []
    assert told(CALLS[name], torch.full_like(UNIT, bad)) == []


@pytest.mark.parametrize("name", CALLS)
def test_images_on_their_scale_are_not_told_of(name: str) -> None:
    overshoot = UNIT * 1.3 - 0.15
    for images in (
        UNIT, UNIT.numpy(), list(UNIT), overshoot, UNIT.half(), UNIT[:0], BYTES.byte(), torch.zeros_like(UNIT),
        (UNIT * 65535).to(torch.int32).to(torch.uint16), torch.zeros_like(IN_UINT16),
    ):  # fmt: skip
        assert told(CALLS[name], images) == []


def test_who_says_the_range_is_believed() -> None:
    gray = BYTES[..., :1]
    for images in (gray, gray.to(torch.int32).to(torch.uint16)):
        for options in ({"range": (0, 256)}, {"quantize": "minmax"}, {"quantize": "width", "width": 8.0}):
            assert told(lambda x, given=options: ops.glcm(x, levels=8, **given), images) == []
            assert told(lambda x, given=options: ops.glcm_features(x, levels=8, **given), images) == []
        assert told(lambda x: ops.color_histogram(x, range=(0, 256)), images) == []
    levels = (gray / 32).floor().to(torch.int32).to(torch.uint16)
    assert told(lambda x: ops.glcm(x, levels=8, quantize="levels"), levels) == []


@pytest.mark.parametrize("model", ["fitted", "texture"])
def test_a_scorer_tells_once_a_call(model: str, request: pytest.FixtureRequest) -> None:
    scorer = iuscore.load(request.getfixturevalue(model))
    channels = 1 if model == "fitted" else 3
    floats, shorts = BYTES[..., :channels], IN_UINT16[..., :channels]
    for images, text in ((floats, FLOATS), (lists(floats), FLOATS), (shorts, SHORTS), (lists(shorts), SHORTS)):
        for call in (scorer, scorer.explain):
            (said,) = told(lambda x, one=call: one(x, target="a", batch_size=1, layout="NHWC"), images)
            assert re.match(text, said)
    with_nan = floats.clone()
    with_nan[0, 0, 0, 0] = torch.nan
    assert len(told(lambda x: scorer(x, target="a"), with_nan)) == 1
    assert told(lambda x: scorer.score_list(list(x), ["a"] * len(x)), floats) == []  # its caller read files and knows


def test_images_on_a_device_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tensor elsewhere is not looked at: every look asks for a value, which waits for the device."""
    elsewhere = torch.rand(2, 8, 8, 3, device="meta")
    monkeypatch.setattr(_range, "beyond", lambda *_: pytest.fail("looked at"))
    _range.warn_of_range([elsewhere])


def test_a_large_batch_is_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    ends = _range._ends
    monkeypatch.setattr(_range, "_ends", lambda values: seen.append(values.numel()) or ends(values))
    batch = torch.rand(1, 1, 1, 3).expand(64, 512, 512, 3)
    assert _range.beyond(batch) == ""
    assert seen[0] <= 2 * _range._LOOKED_AT
    seen.clear()
    assert _range.beyond(torch.rand(1, 1, 1, 3).expand(4096, 128, 128, 3)) == ""
    assert seen[0] == 4096 * 16 * 3  # at least 16 pixels of every image


def test_a_dark_image_of_16_bits_with_one_bright_pixel_is_not_taken_for_bytes() -> None:
    images = torch.full((1, 512, 512, 3), 200, dtype=torch.int32)
    images[0, 501, 503, 1] = 256
    assert told(ops.texture_stats, images[:, :64, :64].to(torch.uint16)) != []
    assert told(ops.texture_stats, images.to(torch.uint16)) == []
    images[0, 501, 503, 1] = 40000
    assert told(ops.texture_stats, images.to(torch.uint16)) == []


def test_what_is_measured_stays_what_it_was() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = texture_features(BYTES, size=None)
    assert values.shape == (3, len(FEATURES["color"]))
