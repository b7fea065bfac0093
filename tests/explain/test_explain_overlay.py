"""Pictures of explanations: colors that color-blind readers tell apart, a scale around 0, and safe names."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from iuscore.explain.overlay import DOWN, RELEVANT, UP, colored, picture_name, smoothed

colors = pytest.importorskip("matplotlib.colors")
lab = pytest.importorskip("skimage.color")

# Machado, Oliveira, Fernandes, "A physiologically-based model for simulation of color vision deficiency", IEEE TVCG
# 2009, severity 1, of linear RGB.
DEFICIENT = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def seen(color: str, deficiency: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    rgb = np.array(colors.to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    changed = np.clip(np.array(DEFICIENT[deficiency]) @ linear, 0, 1)
    back = np.where(changed <= 0.0031308, 12.92 * changed, 1.055 * changed ** (1 / 2.4) - 0.055)
    found: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = lab.rgb2lab(back[None, None])[0, 0]
    return found


@pytest.mark.parametrize("deficiency", sorted(DEFICIENT))
def test_color_blind_readers_tell_the_colors_from_each_other_and_from_gray(deficiency: str) -> None:
    """A distance of 2.3 in CIELab is just noticeable (Sharma 2003); ten times as much is plain."""
    for one, other in itertools.combinations([UP, DOWN, "#8C8C8C"], 2):
        assert np.linalg.norm(seen(one, deficiency) - seen(other, deficiency)) > 23
    assert np.linalg.norm(seen(RELEVANT, deficiency) - seen("#8C8C8C", deficiency)) > 23


def test_colors_are_centered_on_zero() -> None:
    ground = np.linspace(0.15, 0.85, 9)[None]
    assert np.allclose(colored(ground, np.zeros((1, 9))), ground[..., None])
    up, down = colored(ground, np.full((1, 9), 0.5)), colored(ground, np.full((1, 9), -0.5))
    for part, color in ((up, UP), (down, DOWN)):
        strength = (part - ground[..., None]) / (np.array(colors.to_rgb(color)) - ground[..., None])
        assert np.allclose(strength, strength.ravel()[0])  # the same opacity on both sides
    assert (colored(ground, np.full((1, 9), 5.0)) <= 1).all()


def test_smoothing_leaves_out_pixels_that_do_not_count() -> None:
    mask = np.zeros((48, 48), bool)
    mask[8:40, 8:40] = True
    found = smoothed(np.where(mask, 2.0, 99.0), mask)
    assert np.allclose(found[mask], 2.0)
    assert (found[~mask] == 0).all()


@pytest.mark.parametrize("uid", ["a/b/../c.png", "白/é 1.dcm", "x" * 300 + ".png", "a\nb.png", "..", "/"])
def test_names_of_pictures_are_safe(uid: str) -> None:
    name = picture_name(7, uid)
    assert name.startswith("007_")
    assert len(name) <= 84
    assert "/" not in name
    assert name.isprintable()
    assert picture_name(8, uid) != name
