"""Maps of where features lie: exact sums, masks, and derivatives against counts that are changed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from iuscore import phantoms
from iuscore.explain.maps import CountedImage, group_rows, measured_image
from iuscore.explain.slopes import mean_slopes
from iuscore.features import FEATURES, texture_features
from iuscore.models import EPUCNN, AdditiveModel, Ensemble, TextureModel
from iuscore.ops import Kind

Array = npt.NDArray[Any]
SIZE = (40, 48)


def image_of(kind: Kind, seed: int = 3) -> torch.Tensor:
    family: phantoms.Kind = "radiograph" if kind == "gray" else "endoscopy"
    image = torch.from_numpy(phantoms.draw(family, "abnormal", 1, size=64, seed=seed)[0])
    return image if image.ndim == 3 else image[..., None]


def counted_image(kind: Kind, mask: Any = None, seed: int = 3) -> CountedImage:
    pixels, counted = measured_image(image_of(kind, seed), mask, SIZE)
    return CountedImage(torch.from_numpy(pixels), None if counted is None else torch.from_numpy(counted), kind)


def columns(kind: Kind) -> dict[str, int]:
    return {feature.name: i for i, feature in enumerate(FEATURES[kind])}


def given_mask() -> torch.Tensor:
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[10:50, 8:60] = True
    return mask


@pytest.mark.parametrize("kind", ["gray", "color"])
@pytest.mark.parametrize("mask", [None, "border", "given"])
def test_the_parts_of_every_feature_sum_to_its_difference_from_real_images(kind: Kind, mask: str | None) -> None:
    given = given_mask() if mask == "given" else mask
    counted = counted_image(kind, given)
    measured = texture_features(
        image_of(kind)[None], kind=kind, size=SIZE, layout="NHWC", mask=given[None] if mask == "given" else mask
    )[0].numpy()  # fmt: skip
    # float32 rounding, and the clamp of the correlation in float32: the inverse tanh is steep there
    np.testing.assert_allclose(counted.features, measured, rtol=2e-6, atol=2e-6)
    means = np.random.default_rng(0).random(len(measured))
    parts = counted.parts(np.eye(len(measured)), means)
    np.testing.assert_allclose(parts.sum((1, 2)), counted.features - means, rtol=0, atol=1e-9)
    assert (parts[:, ~counted.counted] == 0).all()
    if mask == "given":
        assert 0.2 < counted.counted.mean() < 0.8


@pytest.mark.parametrize("kind", ["gray", "color"])
def test_a_feature_that_is_a_mean_over_pixels_gives_every_pixel_its_own_value(kind: Kind) -> None:
    """Features linear in counts: the part of a pixel is (its value - the real mean) / N, by hand."""
    counted = counted_image(kind)
    place = columns(kind)
    n = counted.counted.sum()
    light = (counted.codes[0].numpy() + 0.5) / 256
    means = np.zeros(len(place))
    means[place["lightness mean"]] = 0.3
    row = np.zeros((1, len(place)))
    row[0, place["lightness mean"]] = 2.0
    np.testing.assert_allclose(counted.parts(row, means)[0], 2.0 * (light - 0.3) / n, atol=1e-12)
    if kind == "color":
        colored = counted.valid[4].numpy()
        row = np.eye(len(place))[[place["hue colored"]]]
        np.testing.assert_allclose(counted.parts(row, means)[0], colored / n, atol=1e-12)


def test_pairs_give_half_of_their_value_to_each_pixel() -> None:
    """Mean difference of pairs 1 apart is linear in the counts of each direction; summed by hand over all pairs."""
    counted = counted_image("gray")
    place = columns("gray")["fine-contrast mean difference"]
    level = (counted.codes[0].numpy() * 32) >> 8
    height, width = level.shape
    expected, total = np.zeros(level.shape), 0.0
    for down, right in ((0, 1), (1, 1), (1, 0), (1, -1)):
        here = level[: height - down, max(0, -right) : width - max(0, right)]
        there = level[down:, max(0, right) : width - max(0, -right)]
        difference = np.abs(here - there) / 32.0
        mean = difference.mean()
        total += mean / 4
        part = (difference - mean) / (4 * difference.size) / 2
        expected[: height - down, max(0, -right) : width - max(0, right)] += part
        expected[down:, max(0, right) : width - max(0, -right)] += part
    feature = counted.features[place]
    assert feature == pytest.approx(total, abs=1e-12)
    found = counted.parts(np.eye(len(FEATURES["gray"]))[[place]], counted.features)[0]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("name", ["lightness sd", "lightness skewness", "lightness entropy", "lightness 44 to 50 %"])
def test_parts_follow_the_feature_as_pixels_are_counted_twice(name: str) -> None:
    """The derivative with respect to a count, against the feature of an image in which one code occurs more often."""
    counted = counted_image("gray")
    place = columns("gray")[name]
    parts = counted.parts(np.eye(len(FEATURES["gray"]))[[place]], counted.features)[0]
    codes = counted.codes[0].numpy().ravel().astype(np.int64)
    for code in (int(codes.min()), int(np.median(codes)), int(codes.max())):
        copies = 400
        many = np.concatenate([np.repeat(codes, copies), [code]])
        change = statistic(many, name) - statistic(codes, name)
        # one more of n copies: the derivative by one count of n, over the number of copies; error of second order
        expected = change * copies
        found = parts.ravel()[np.flatnonzero(codes == code)[0]]
        assert found == pytest.approx(expected, rel=2e-2, abs=1e-9)


def statistic(codes: Array, name: str) -> float:
    values = (codes + 0.5) / 256
    away = values - values.mean()
    if name.endswith("sd"):
        return float(values.std())
    if name.endswith("skewness"):
        return float(np.arcsinh((away**3).mean() / values.std() ** 3))
    if name.endswith("entropy"):
        share = np.bincount(codes, minlength=256) / len(codes)
        return float(-(share[share > 0] * np.log2(share[share > 0])).sum())
    return float(np.sqrt(((codes >= 112) & (codes < 128)).mean()))  # bin 7 of 16


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("value", [0, 7])
def test_flat_images_have_finite_parts_with_the_right_sum(channels: int, value: int) -> None:
    kind: Kind = "gray" if channels == 1 else "color"
    counted = CountedImage(torch.full((16, 20, channels), value, dtype=torch.uint8), None, kind)
    means = np.full(len(FEATURES[kind]), 0.3)
    parts = counted.parts(np.eye(len(means)), means)
    np.testing.assert_allclose(parts.sum((1, 2)), counted.features - means, atol=1e-9)


def test_layout_points_at_the_half_that_is_lighter() -> None:
    """ "light-dark top" of an image that is light above: pixels of the upper half raise it, by their lightness."""
    image = torch.full((32, 32, 1), 40, dtype=torch.uint8)
    image[:16] = 200
    counted = CountedImage(image, None, "gray")
    place = columns("gray")["light-dark top"]
    parts = counted.parts(np.eye(len(FEATURES["gray"]))[[place]], np.zeros(len(FEATURES["gray"])))[0]
    difference = float((counted.codes[0, 0, 0] - counted.codes[0, -1, 0]) / 256)
    assert counted.features[place] == pytest.approx(difference)
    np.testing.assert_allclose(parts, difference / 1024, atol=1e-12)  # both halves: lighter above, darker below


def model(heads: str = "linear", classes: str = "ab", members: int = 2) -> Ensemble:
    found: list[AdditiveModel] = []
    for seed in range(members):
        torch.manual_seed(seed)
        low, high = np.array([feature.range for feature in FEATURES["gray"]]).T
        mean, sd = ((low + high) / 2).tolist(), ((high - low) / 30).tolist()
        found.append(
            TextureModel(list(classes), color="gray", heads=heads, feature_mean=mean, feature_sd=sd)  # type: ignore[arg-type]
        )
    return Ensemble(found).eval()


@pytest.mark.parametrize("space", ["paper", "evidence"])
@pytest.mark.parametrize(("heads", "classes", "target"), [("linear", "ab", "a"), ("tanh", "ab", "b"),
                                                          ("tanh", "abc", "c")])  # fmt: skip
def test_slopes_sum_to_the_change_of_the_contribution(space: Any, heads: str, classes: str, target: str) -> None:
    """Against the model itself; features lie beyond the clamp, too."""
    ensemble = model(heads, classes)
    member = ensemble.members[0]
    assert isinstance(member, TextureModel)
    rng = np.random.default_rng(1)
    for _ in range(5):
        start, end = (member.feature_mean + rng.normal(0, 3, len(member.feature_sd)) * member.feature_sd for _ in "ab")
        found = mean_slopes(ensemble, start, end, target, space)
        inputs = torch.from_numpy(np.stack([start, end])).float()
        with torch.no_grad():
            contributions = ensemble.contributions_of(inputs, space)[..., ensemble.target_column(target)].numpy()
        np.testing.assert_allclose([found.start, found.end], contributions, atol=2e-4)  # float32 of the model
        rows = group_rows("gray", found.slopes)
        np.testing.assert_allclose(rows @ (end - start), found.end - found.start, atol=1e-9)


def test_slopes_are_gradients_where_the_way_is_short() -> None:
    ensemble = model()
    member = ensemble.members[0]
    assert isinstance(member, TextureModel)
    start = member.feature_mean + 0.1 * member.feature_sd
    inputs = torch.from_numpy(start)[None].float().requires_grad_()
    (gradient,) = torch.autograd.grad(ensemble.contributions_of(inputs).sum(), inputs)
    found = mean_slopes(ensemble, inputs.detach().numpy()[0], inputs.detach().numpy()[0], "b")
    np.testing.assert_allclose(found.slopes, gradient[0].numpy(), rtol=1e-4, atol=1e-5)


def test_another_kind_of_model_has_no_slopes() -> None:
    epu = Ensemble([EPUCNN(["a", "b"], size=(8, 8), base_channels=1)])
    with pytest.raises(ValueError, match="expected a model of kind 'texture', got 'epu'"):
        mean_slopes(epu, np.zeros(1), np.ones(1), "a")


@pytest.mark.parametrize("name", ["fine-contrast homogeneity", "fine-contrast mean difference", "coarse-fine mean",
                                  "fine-regularity entropy", "broad-contrast difference"])  # fmt: skip
def test_a_defect_in_one_half_is_found_there(name: str) -> None:
    """Even noise, smoothed in the left half: that half has nearly all of the change of the feature."""
    noise = np.random.default_rng(0).integers(60, 200, (96, 96)).astype(np.float64)
    smooth = noise.copy()
    padded = np.pad(noise[:, :48], 2, mode="reflect")
    smooth[:, :48] = np.mean([padded[i : i + 96, j : j + 48] for i in range(5) for j in range(5)], axis=0)
    sharp, defective = (
        CountedImage(torch.from_numpy(image.round().astype(np.uint8))[..., None], None, "gray")
        for image in (noise, smooth)
    )
    place = columns("gray")[name]
    parts = defective.parts(np.eye(len(FEATURES["gray"]))[[place]], sharp.features)[0]
    change = defective.features[place] - sharp.features[place]
    assert abs(change) > 0.02
    left, right = parts[:, :46].sum() / change, parts[:, 50:].sum() / change
    assert left + right == pytest.approx(1.0, abs=0.1)
    assert left > 0.75 > 0.3 > abs(right)
