"""The sentences about a change are true: images are damaged in a known way, and the words must say so."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter
from scipy import stats

from iuscore import phantoms
from iuscore.features import FEATURES, GROUPS, FeatureProfile, GroupChange, changes, feature_profile, texture_features
from iuscore.features.change import chance
from iuscore.ops import Kind
from iuscore.scoring.words import change_lines

pytestmark = pytest.mark.usefixtures("one_thread")

Pixels = NDArray[np.uint8]
SCENES: dict[Kind, phantoms.Kind] = {"color": "endoscopy", "gray": "radiograph"}
N = 60


@cache
def scenes(kind: Kind) -> Pixels:
    return phantoms.draw(SCENES[kind], "abnormal", 2 * N, size=128, seed=5)


@cache
def profile_of(kind: Kind) -> FeatureProfile:
    found = feature_profile(measured(scenes(kind)[:N], kind), FEATURES[kind])
    assert found is not None
    return found


def measured(images: Pixels, kind: Kind) -> NDArray[np.float32]:
    found: NDArray[np.float32] = texture_features(images, kind=kind, layout="NHWC").numpy()
    return found


def pixelwise(change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Callable[[Pixels], Pixels]:
    return lambda image: np.clip(np.round(change(image.astype(np.float64))), 0, 255).astype(np.uint8)


def by_pillow(change: Callable[[Image.Image], Image.Image]) -> Callable[[Pixels], Pixels]:
    def changed(image: Pixels) -> Pixels:
        picture = Image.fromarray(image if image.shape[2] == 3 else image[..., 0])
        return np.asarray(change(picture)).reshape(image.shape)

    return changed


def compressed(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=8)
    return Image.open(io.BytesIO(file.getvalue()))


def bordered(image: NDArray[np.float64]) -> NDArray[np.float64]:
    inner = np.zeros_like(image)
    inner[16:-16, 16:-16] = image[16:-16, 16:-16]
    return inner


def tinted(red: float, green: float, blue: float) -> Callable[[Pixels], Pixels]:
    return pixelwise(lambda image: image + np.array([red, green, blue]))


GRAIN = np.random.default_rng(0).normal(0, 20, (128, 128, 3))
DAMAGES: dict[str, Callable[[Pixels], Pixels]] = {
    "blurred": by_pillow(lambda picture: picture.filter(ImageFilter.GaussianBlur(2))),
    "sharpened": by_pillow(lambda picture: picture.filter(ImageFilter.UnsharpMask(2, 250, 0))),
    "noisy": pixelwise(lambda image: image + GRAIN[..., : image.shape[2]]),
    "compressed": by_pillow(compressed),
    "dark": pixelwise(lambda image: 0.5 * image),
    "bright": pixelwise(lambda image: 0.5 * image + 127),
    "low contrast": pixelwise(lambda image: (image - image.mean()) * 0.4 + image.mean()),
    "high contrast": pixelwise(lambda image: (image - image.mean()) * 1.7 + image.mean()),
    "black border": pixelwise(bordered),
    "striped": pixelwise(lambda image: image + 15.0 * ((np.arange(128) // 2) % 2)[:, None, None]),
    "lit from the right": pixelwise(lambda image: image * np.linspace(0.4, 1.2, 128)[None, :, None]),
    "lit from below": pixelwise(lambda image: image * np.linspace(0.4, 1.2, 128)[:, None, None]),
    "red": tinted(40, -15, -15),
    "green": tinted(-15, 40, -15),
    "blue": tinted(-15, -15, 40),
    "yellow": tinted(20, 20, -40),
    "pale": by_pillow(lambda picture: ImageEnhance.Color(picture).enhance(0.4)),
    "vivid": by_pillow(lambda picture: ImageEnhance.Color(picture).enhance(1.8)),
    "gray": by_pillow(lambda picture: ImageEnhance.Color(picture).enhance(0.0)),
}
# damage: what the group that it must hit has to say (of both kinds where they have the group)
SAID: dict[str, dict[str, str]] = {
    "blurred": {"fine-contrast": "edges are softer|softer edges", "coarse-fine": "smoother|weaker|softer|perhaps blur",
                "fine-regularity": "fine grain is weaker|fill more of the image|combine in fewer ways"},
    "sharpened": {"fine-contrast": "edges are sharper|sharper edges", "coarse-fine": "stronger|rougher",
                  "broad-contrast": "differ more"},
    "noisy": {"fine-contrast": "noise is stronger|differ more .perhaps noise", "coarse-fine": "grain",
              "fine-regularity": "noise", "broad-contrast": "noise"},
    "compressed": {"coarse-fine": "JPEG", "direction": "edges of blocks"},
    "dark": {"lightness": "darker", "fine-contrast": "contrast is lower|lower contrast"},
    "bright": {"lightness": "lighter", "fine-contrast": "contrast is lower|lower contrast"},
    "low contrast": {"lightness": "lower contrast|darkest parts are lighter|lightest parts are darker",
                     "fine-contrast": "contrast is lower|lower contrast", "broad-contrast": "lower",
                     "broad-regularity": "lower contrast", "light-dark": "differ less|stands out less"},
    "high contrast": {"fine-contrast": "contrast is higher|higher contrast", "broad-contrast": "higher",
                      "light-dark": "differ more|stands out more"},
    "black border": {"broad-regularity": "border", "coarse-fine": "border|smoother", "lightness": "darker"},
    "striped": {"direction": "stripes"},
    "lit from the right": {"light-dark": "left and right differ more|left half is darker"},
    "lit from below": {"light-dark": "upper half is darker"},
    "red": {"red-green": "redder"},
    "green": {"red-green": "greener"},
    "blue": {"blue-yellow": "bluer"},
    "yellow": {"blue-yellow": "yellower"},
    "pale": {"saturation": "paler|fewer different"},
    "vivid": {"saturation": "stronger"},
    "gray": dict.fromkeys(("hue", "saturation", "red-green"), "the images have no color"),
}  # fmt: skip
CASES = [(kind, damage) for kind in SCENES for damage in DAMAGES
         if kind == "color" or not set(SAID[damage]) - set(GROUPS["gray"])]  # fmt: skip


@cache
def damaged(kind: Kind, damage: str | None) -> tuple[GroupChange, ...]:
    images = scenes(kind)[N:]
    if damage is not None:
        images = np.stack([DAMAGES[damage](image) for image in images])
    return changes(profile_of(kind), measured(images, kind).mean(0), FEATURES[kind], N)


@pytest.mark.parametrize(("kind", "damage"), CASES)
def test_a_damage_is_said(kind: Kind, damage: str) -> None:
    found = {change.name: change for change in damaged(kind, damage)}
    for group, words in SAID[damage].items():
        assert found[group].beyond_chance, group
        assert re.search(words, found[group].words), f"{group}: {found[group].words}"


@pytest.mark.parametrize(("kind", "damage", "words"), [
    ("color", "blurred", "edges are softer"), ("gray", "blurred", "edges are softer"),
    ("color", "noisy", "grain or noise is stronger"), ("gray", "noisy", "grain or noise is stronger"),
    ("color", "compressed", "JPEG"), ("gray", "compressed", "JPEG"),
    ("color", "black border", "border"), ("gray", "black border", "border"),
    ("color", "red", "are redder"), ("color", "green", "are greener"),
    ("color", "blue", "are bluer"), ("color", "yellow", "are yellower"),
    ("color", "pale", "are paler"), ("color", "vivid", "are stronger"), ("color", "gray", "the images have no color"),
    ("color", "dark", "are darker"), ("gray", "dark", "are darker"),
    ("color", "bright", "are lighter"), ("gray", "bright", "are lighter"),
    ("color", "low contrast", "contrast is lower"), ("gray", "low contrast", "contrast is lower"),
    ("color", "striped", "stripes"), ("gray", "striped", "stripes"),
])  # fmt: skip
def test_the_printed_lines_name_the_damage(kind: Kind, damage: str, words: str) -> None:
    said = change_lines(damaged(kind, damage), "abnormal", N)
    assert 2 <= len(said) <= 6
    assert words in "\n".join(said)
    assert "by less than" not in said[0]


@pytest.mark.parametrize("kind", SCENES)
def test_undamaged_images_are_within_chance(kind: Kind) -> None:
    (line,) = change_lines(damaged(kind, None), "abnormal", N)
    assert line.endswith("nothing beyond what real sets of 60 images show by chance")


def test_opposite_damages_have_opposite_words() -> None:
    """If the same statistic moves in the other direction, the sentence is the opposite one."""
    compared = 0
    for one, other in (("blurred", "sharpened"), ("dark", "bright"), ("pale", "vivid"), ("red", "green"),
                       ("blue", "yellow"), ("low contrast", "high contrast")):  # fmt: skip
        for a, b in zip(damaged("color", one), damaged("color", other), strict=True):
            if a.feature == b.feature:
                assert (a.words == b.words) == (a.shift * b.shift > 0)
                compared += 1
    assert compared > 20


@pytest.mark.parametrize("kind", SCENES)
def test_every_feature_has_a_sentence_for_both_signs(kind: Kind) -> None:
    for feature in FEATURES[kind]:
        assert feature.words(1.0) == feature.higher
        assert feature.words(-1.0) == feature.lower
        assert feature.lower
        assert feature.lower != feature.higher
        for words in (feature.higher, feature.lower):
            assert words[0].islower()
            assert not words.endswith(".")


@pytest.mark.parametrize(("n", "known", "groups"), [(1, 200, 12), (20, 60, 8), (500, 1000, 12)])
def test_chance_is_the_quantile_of_student(n: int, known: int, groups: int) -> None:
    profile = FeatureProfile(known, (), (), {})
    expected = stats.t.ppf(1 - 0.025 / groups, known - 1) * np.sqrt(1 / n + 1 / known)
    assert chance(n, profile, groups) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("draw", ["independent", "one factor a group", "skewed"])
@pytest.mark.parametrize(("n", "known"), [(1, 40), (12, 40), (100, 300)])
def test_sets_like_the_real_ones_are_rarely_beyond_chance(draw: str, n: int, known: int) -> None:
    """At most 5 % of 600 sets (plus three standard errors) exceed chance; single skewed images exceed it more often."""
    features = FEATURES["gray"]
    group = np.array([GROUPS["gray"].index(f.group) for f in features])
    rng = np.random.default_rng(7)

    def images(count: int) -> NDArray[np.float64]:
        if draw == "one factor a group":
            return rng.normal(size=(count, len(GROUPS["gray"])))[:, group]
        values: NDArray[np.float64] = rng.normal(size=(count, len(features)))
        return values if draw == "independent" else rng.gamma(4.0, size=values.shape)

    if (draw, n) == ("skewed", 1):
        return
    beyond = 0
    for _ in range(600):
        real, scored = images(known), images(n)
        profile = FeatureProfile(known, tuple(real.mean(0)), tuple(real.std(0, ddof=1)), {})
        beyond += any(change.beyond_chance for change in changes(profile, scored.mean(0), features, n))
    assert beyond <= 600 * 0.05 + 3 * np.sqrt(600 * 0.05 * 0.95)


def test_a_mean_is_said_beside_the_shape_of_the_histogram() -> None:
    features = FEATURES["gray"]
    profile = FeatureProfile(200, (0.0,) * len(features), (1.0,) * len(features), {})
    entropy, mean = ("the strength of edges takes more different values", "on average, edges and grain are weaker")

    def said(**moved: float) -> str:
        values = np.array([moved.get(f.name.split()[-1], 0.0) * (f.group == "coarse-fine") for f in features])
        return next(c.words for c in changes(profile, values, features, 50) if c.name == "coarse-fine")

    assert said(entropy=5.0, mean=-2.0) == f"{mean}; {entropy}"
    assert said(entropy=5.0, mean=-0.9) == entropy  # smaller than the differences among real images
    assert said(entropy=5.0, mean=-6.0) == mean
    assert said(p95=5.0, mean=-2.0) == "the strongest edges are stronger"


@pytest.mark.parametrize("label", ["benign", "malignant"])
def test_held_out_mammograms_are_rarely_beyond_chance(shared: Path, label: str) -> None:
    """Sets of other patients; several images come from one of them."""
    data = shared / "data"
    if not data.is_dir():
        pytest.skip("no folder shared/data")
    train, test = (
        np.stack([np.asarray(Image.open(path))[..., None] for path in sorted((data / "mammography").glob(found))])
        for found in (f"real_train/{label}/*.png", f"real_test/{label}/*.png")
    )
    profile = feature_profile(measured(train, "gray"), FEATURES["gray"])
    assert profile is not None
    real, rng = measured(test, "gray"), np.random.default_rng(0)
    for n in (1, 5, 20, 50):
        means = [real[rng.choice(len(real), n, replace=False)].mean(0) for _ in range(200)]
        beyond = [any(c.beyond_chance for c in changes(profile, mean, FEATURES["gray"], n)) for mean in means]
        assert np.mean(beyond) <= 0.05


def test_what_is_beyond_chance_is_found() -> None:
    features = FEATURES["gray"]
    profile = FeatureProfile(200, (0.0,) * len(features), (1.0,) * len(features), {})
    moved = np.where([f.group == "lightness" for f in features], 0.5, 0.0)
    for n, found in ((1, []), (200, ["lightness"])):
        assert [c.name for c in changes(profile, moved, features, n) if c.beyond_chance] == found


class TestNoColor:
    """Gray pictures, compared with colored real images and with gray ones."""

    def lines(self, real: Pixels, images: Pixels) -> list[str]:
        features = FEATURES["color"]
        profile = feature_profile(measured(real, "color"), features)
        assert profile is not None
        values = measured(images, "color")
        return change_lines(changes(profile, values.mean(axis=0), features, len(values)), "a", len(values))

    def test_a_lack_of_color_is_said_once(self) -> None:
        rng = np.random.default_rng(0)
        real = rng.integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
        gray = np.repeat(rng.integers(0, 256, (30, 32, 32, 1), dtype=np.uint8), 3, axis=3)
        said = self.lines(real, gray)
        assert said[1] == "  the images have no color, but real a have: feature groups of color are left out"
        assert sum("color" in line for line in said) == 1
        for group in ("hue", "saturation", "red-green", "blue-yellow"):
            assert not any(group in line for line in said)

    def test_gray_images_beside_gray_real_ones_lack_no_color(self) -> None:
        rng = np.random.default_rng(1)
        real, dark = (
            np.repeat(rng.integers(0, high, (30, 32, 32, 1), dtype=np.uint8), 3, axis=3) for high in (256, 100)
        )
        assert not any("no color" in line for line in self.lines(real, dark))
