"""Warnings and notes of a scorer about images on another scale or far from real ones."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import iuscore

UNIT = torch.rand(2, 40, 40, 1, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("images", "range_"),
    [
        (UNIT * 255, r"0.* to 255; divide them by 255, or pass uint8"),
        (UNIT * 2 - 1, r"-1 to 1; scale them, those in \[-1, 1\] by \(x \+ 1\) / 2"),
        ((UNIT * 255).numpy(), r"0.* to 255; divide them by 255, or pass uint8"),
        ([UNIT[0], UNIT[1] * 255], r"0.* to 255; divide them by 255, or pass uint8"),
    ],
)
def test_floats_on_another_scale_are_told(fitted: Path, images: Any, range_: str) -> None:
    scorer = iuscore.load(fitted)
    with pytest.warns(UserWarning, match=rf"^images: expected floats in \[0, 1\], got {range_}$") as told:
        scorer(images, target="a", batch_size=1)
    assert [Path(warning.filename).name for warning in told] == [Path(__file__).name]


@pytest.mark.parametrize(
    "images", [UNIT, UNIT * 1.3 - 0.2, UNIT[:0], (UNIT * 255).byte(), UNIT.numpy(), list(UNIT), UNIT.requires_grad_()]
)
def test_images_on_their_own_scale_raise_no_warning(fitted: Path, images: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        iuscore.load(fitted)(images, target="a")


def test_an_explanation_says_that_it_is_a_guess(texture: Path) -> None:
    scorer = iuscore.load(texture)
    noise = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 1), dtype=np.uint8) // 128 * 255
    for why in scorer.explain(noise, target="a"):
        assert why.out_of_distribution
        assert str(why).splitlines()[0].endswith(", a guess: far outside real images")
        assert why.to_dict()["out_of_distribution"] is True
    like = scorer.feature_profiles["a"]
    zeros = np.zeros(len(scorer.components))
    assert not scorer.explained("a", zeros, zeros, np.array(like.mean)).out_of_distribution
