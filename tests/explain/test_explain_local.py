"""Local explanations: shares sum to the IUS, features with ranges, nearest images, maps, InterpretML's conventions."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import iuscore
from iuscore import UserError, demo, phantoms
from iuscore.explain.local import LocalExplanation, explain_local
from iuscore.explain.nearest import Gallery
from iuscore.explain.ranges import feature_range, feature_reasons
from iuscore.explain.value import ReferenceViews
from iuscore.features import FEATURES, feature_profile
from iuscore.features.change import QUANTILES
from iuscore.fit import TextureOptions, fit, open_splits
from iuscore.scoring import Scorer

CLASSES = ["normal", "abnormal"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    root = tmp_path_factory.mktemp("explain")
    demo.tiny_model(root)  # "model", an epu model
    phantoms.write(root / "train", "radiograph", n_per_class=24, size=32, seed=1)
    options = TextureOptions(size=(24, 32))
    fit(
        open_splits(root / "train"),
        root / "texture",
        model="texture",
        classes=CLASSES,
        model_options=options,
        members=2,
    )
    bordered = TextureOptions(size=(24, 32), mask="border")
    fit(
        open_splits(root / "train"),
        root / "border",
        model="texture",
        classes=CLASSES,
        model_options=bordered,
        members=1,
    )
    return root


@pytest.fixture(scope="module")
def texture(folders: Path) -> Scorer:
    return iuscore.load(folders / "texture")


@pytest.fixture(scope="module")
def epu(folders: Path) -> Scorer:
    return iuscore.load(folders / "model")


def images(n: int = 3, seed: int = 5, **defects: float) -> Any:
    return phantoms.draw("radiograph", "abnormal", n, size=48, seed=seed, defects=phantoms.Defects(**defects))


@pytest.mark.parametrize("kind", ["texture", "epu"])
def test_shares_sum_to_the_ius_of_the_scorer(kind: str, request: pytest.FixtureRequest) -> None:
    scorer: Scorer = request.getfixturevalue(kind)
    found = explain_local(scorer, images(), target="abnormal")
    ius = scorer(images(), target="abnormal").ius.tolist()
    for i, each in enumerate(found.images):
        data = found.data(i)
        assert each.why.ius == pytest.approx(ius[i], abs=1e-6)
        assert sum(data["scores"]) + sum(data["extra"]["scores"]) == pytest.approx(ius[i], abs=1e-6)
        assert data["names"] == list(scorer.components)
        assert set(each.maps) == set(scorer.components)


@pytest.mark.parametrize("kind", ["texture", "epu"])
def test_an_image_is_explained_alike_alone_and_in_a_batch(kind: str, request: pytest.FixtureRequest) -> None:
    scorer: Scorer = request.getfixturevalue(kind)
    together = explain_local(scorer, images(), target="abnormal").images
    for i, each in enumerate(together):
        alone = explain_local(scorer, images()[i : i + 1], target="abnormal", names=[each.uid]).images[0]
        assert alone.to_json() == each.to_json()
        assert all(np.array_equal(alone.maps[name], each.maps[name]) for name in each.maps)


@pytest.mark.parametrize("kind", ["texture", "epu"])
def test_gradients_may_be_off_or_asked_for(kind: str, request: pytest.FixtureRequest) -> None:
    scorer: Scorer = request.getfixturevalue(kind)
    given = torch.from_numpy(images(1)).float() / 255
    expected = explain_local(scorer, given, target="abnormal").images[0]
    with torch.inference_mode():
        inside = explain_local(scorer, given, target="abnormal").images[0]
    asked = explain_local(scorer, given.clone().requires_grad_(), target="abnormal").images[0]
    for other in (inside, asked):
        assert other.to_json() == expected.to_json()
        assert all(np.array_equal(other.maps[name], part) for name, part in expected.maps.items())


def test_maps_of_a_texture_model_sum_to_the_contribution_beside_mean_features(texture: Scorer) -> None:
    """Against the model itself, evaluated at the features of the image and at the means of the real class."""
    (each,) = explain_local(texture, images(1, blur=1.0), target="abnormal").images
    scores = texture(images(1, blur=1.0), target="abnormal")
    assert scores.features is not None
    inputs = torch.stack([torch.tensor(texture.feature_profiles["abnormal"].mean), scores.features[0].double()]).float()
    with torch.no_grad():
        start, end = texture.model.contributions_of(inputs)[..., 0].double().numpy()
    for g, name in enumerate(texture.components):
        # float32 of the model and of the map
        assert each.reached[name] == pytest.approx(end[g] - start[g], abs=2e-5)
        assert float(each.maps[name].astype(np.float64).sum()) == pytest.approx(end[g] - start[g], abs=2e-5)
        own = [feature.part for feature in each.features if feature.group == name]
        assert sum(own) == pytest.approx(each.reached[name], abs=1e-9)
    assert each.behind("fine-contrast")[0].part == max(
        (f.part for f in each.features if f.group == "fine-contrast"), key=abs
    )


def test_maps_of_chosen_components_and_features(texture: Scorer, epu: Scorer) -> None:
    """The map of a feature sums to its part; the maps of all features of a group sum to the map of the group."""
    group = [f.name for f in FEATURES["gray"] if f.group == "broad-contrast"]
    (each,) = explain_local(texture, images(1), target="abnormal", maps=["broad-contrast", *group]).images
    assert list(each.maps) == ["broad-contrast", *group]
    together = np.sum([each.maps[name].astype(np.float64) for name in group], axis=0)
    np.testing.assert_allclose(together, each.maps["broad-contrast"], atol=1e-6)
    for feature in each.behind("broad-contrast"):
        assert float(each.maps[feature.name].astype(np.float64).sum()) == pytest.approx(feature.part, abs=1e-5)
        assert each.reached[feature.name] == feature.part
    assert list(explain_local(epu, images(1), target="abnormal", maps="light-dark").images[0].maps) == ["light-dark"]
    with pytest.raises(UserError, match="maps: the model has no component or feature 'broad-contras'; did you mean"):
        explain_local(texture, images(1), target="abnormal", maps=["broad-contras"])
    with pytest.raises(UserError, match="maps: the model has no component 'x': expected one of coarse-fine"):
        explain_local(epu, images(1), target="abnormal", maps=["x"])


def test_maps_are_zero_outside_of_masks(folders: Path) -> None:
    scorer = iuscore.load(folders / "border")
    image = np.zeros((1, 64, 64), np.uint8)
    image[0, 12:52, 10:60] = phantoms.draw("radiograph", "abnormal", 1, size=64, seed=2)[0].reshape(64, 64)[
        12:52, 10:60
    ]
    image[0, 12:52, 10:60] = image[0, 12:52, 10:60].clip(40)
    (each,) = explain_local(scorer, image, target="abnormal").images
    assert 0.2 < each.mask.mean() < 0.9
    for part in each.maps.values():
        assert (part[~each.mask] == 0).all()
    assert (each.picture[~each.mask] == 0).all()
    changed = image.copy()
    changed[0, :10] = 20  # still black enough to be border
    (other,) = explain_local(scorer, changed, target="abnormal").images
    assert all(np.array_equal(each.maps[name], other.maps[name]) for name in each.maps)


def test_ranges_are_percentiles_or_two_deviations(texture: Scorer) -> None:
    features = FEATURES["gray"]
    values = np.random.default_rng(0).gamma(2.0, 0.05, (80, len(features)))
    profile = feature_profile(values, features)
    assert profile is not None
    column = [f.name for f in features].index("fine-contrast homogeneity")
    low, high, by = feature_range(features[column], profile, column)
    np.testing.assert_allclose([low, high], np.quantile(values[:, column], [0.05, 0.95]), rtol=1e-5)
    assert by == "percentiles"
    old = replace(profile, quantiles=None)
    low, high, by = feature_range(features[column], old, column)
    mean, sd = values[:, column].mean(), values[:, column].std(ddof=1)
    np.testing.assert_allclose([low, high], [max(mean - 2 * sd, 0.0), mean + 2 * sd])
    assert by == "deviations"
    (reason, *_) = feature_reasons(features, profile, np.full(len(features), 0.9), np.zeros(len(features)))
    assert not reason.inside
    assert reason.line("benign") == (
        f"lightness 0 to 6 %: 81 % of pixels, real benign {100 * reason.low**2:.2g} to {100 * reason.high**2:.2g} %: "
        "more pixels at 0 to 6.25 % of the way from dark to light"
    )


def test_quantiles_of_a_profile_are_those_of_numpy() -> None:
    values = np.random.default_rng(0).random((60, len(FEATURES["gray"])))
    profile = feature_profile(values, FEATURES["gray"])
    assert profile is not None
    assert profile.quantiles is not None
    np.testing.assert_allclose(np.array(profile.quantiles).T, np.quantile(values, QUANTILES, axis=0), rtol=1e-5)


def test_the_nearest_image_of_a_copy_is_the_original(texture: Scorer) -> None:
    real = np.concatenate([phantoms.draw("radiograph", c, 12, size=48, seed=3) for c in ("normal", "abnormal")])
    reference = ReferenceViews.fit(real, [0] * 12 + [1] * 12, CLASSES, size=(32, 32))
    names = [f"real/{i}.png" for i in range(24)]
    other = reference.embed(images(4, seed=8))
    generated = Gallery(reference, [f"made/{i}.png" for i in range(4)], rows=other)
    found = explain_local(texture, np.concatenate([real[15:16], images(4, seed=8)[2:3]]), target="abnormal",
                          real=Gallery(reference, names), generated=generated)  # fmt: skip
    first, second = found.images
    assert [first.nearest_real[0].uid, first.nearest_real[0].label] == ["real/15.png", "abnormal"]
    assert first.nearest_real[0].distance == pytest.approx(0, abs=1e-6)
    assert second.nearest_generated[0].uid == "made/2.png"
    distances = [each.distance for each in first.nearest_real]
    assert distances == sorted(distances)
    assert 0.2 < distances[1] < 3
    with pytest.raises(UserError, match="names: expected one per image, 24, got 1"):
        Gallery(reference, ["a"])


def test_conventions_of_interpretml(texture: Scorer, epu: Scorer) -> None:
    for scorer in (texture, epu):
        found = explain_local(scorer, images(2), target="abnormal", names=["x.png", "y.png"])
        assert found.explanation_type == "local"
        assert found.feature_names == list(scorer.components)
        assert len(found.feature_types) == len(found.feature_names)
        assert found.selector["Image"].tolist() == ["x.png", "y.png"]
        assert list(found.selector.columns) == ["Image", "Class", "IUS"]
        assert {"type", "names", "scores", "values", "extra", "perf"} <= set(found.data(0))
        assert found.data()["type"] == "univariate"
        everything = found.data(-1)
        assert set(everything) == {"overall", "specific"}
        assert everything["specific"][1] == found.data(1)
        json.dumps(everything, allow_nan=False)
        frame = found.to_frame()
        assert frame.groupby("image")["share"].sum()["y.png"] == pytest.approx(found.images[1].why.ius, abs=1e-6)
        for key in (2, -2, True, "x"):
            with pytest.raises(UserError, match="key: expected None, -1 or a number from 0 to 1"):
                found.data(key)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["texture", "epu"])
def test_pages_are_whole_and_the_same_each_time(kind: str, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("matplotlib")
    found = explain_local(request.getfixturevalue(kind), images(2), target="abnormal", names=["a$b.png", "白.png"])
    for key in (None, 0, 1):
        page = found.visualize(key)
        assert page.startswith("<!DOCTYPE html>")
        assert "<svg" in page
        assert "http://" not in page.split("<svg")[1].split(">", 1)[1].split("<metadata>")[0]
    assert found.visualize(0) == found.visualize(0)


def test_interpret_draws_explanations(texture: Scorer) -> None:
    inline = pytest.importorskip("interpret.visual._inline", reason="interpret is not installed")
    pytest.importorskip("dash_cytoscape", reason="what interpret draws with is not installed")
    found = explain_local(texture, images(2), target="abnormal")
    drawn = inline._build_viz_obj(found, [])
    assert drawn["overall"]["type"] == "html"
    assert [each["type"] for each in drawn["specific"]] == ["html", "html"]


def test_an_image_without_a_score_says_why(texture: Scorer) -> None:
    broken = np.full((1, 32, 32), np.nan, np.float32)
    (each,) = explain_local(texture, broken, target="abnormal", names=["bad"]).images
    assert math.isnan(each.why.ius)
    assert each.maps == {}
    assert each.lines[0].startswith("bad: no score; ")
    json.dumps(each.to_json(), allow_nan=False)


def test_wrong_arguments(texture: Scorer) -> None:
    with pytest.raises(UserError, match="images: expected at least one to explain, got none"):
        explain_local(texture, [], target="abnormal")
    with pytest.raises(UserError, match="names: expected one per image, 2, got 1"):
        explain_local(texture, images(2), target="abnormal", names=["a"])
    with pytest.raises(UserError, match="no class 'x'"):
        explain_local(texture, images(1), target="x")


def test_an_image_without_color_is_said_to_have_none(tmp_path: Path) -> None:
    phantoms.write(tmp_path / "real", "endoscopy", n_per_class=14, size=32)
    options = TextureOptions(size=(24, 24))
    fit(open_splits(tmp_path / "real"), tmp_path / "m", model="texture", classes=CLASSES, model_options=options,
        members=1)  # fmt: skip
    gray = phantoms.draw("endoscopy", "abnormal", 1, size=32)[..., 1:2]
    (each,) = explain_local(iuscore.load(tmp_path / "m"), gray, target="abnormal").images
    first, *others = each.feature_lines(3)
    assert first == "the image has no color, and real abnormal have: blue-yellow, hue, red-green, saturation"
    assert len(others) == 6
    assert not any(line.startswith(("hue", "saturation", "red-green", "blue-yellow")) for line in others)


def test_profiles_of_another_model_are_refused(texture: Scorer) -> None:
    profile = texture.record.features["normal"]
    assert profile.quantiles is not None
    short = replace(texture.record, features={"normal": replace(profile, quantiles=profile.quantiles[:5])})
    with pytest.raises(UserError, match=r"features.normal.quantiles: expected \d+ lists; fit the model again"):
        Scorer(texture.model, short)
    with pytest.raises(ValueError, match=r"quantiles\[0\]: expected 13 numbers that do not fall"):
        replace(profile, quantiles=((1.0, 0.5),))


def test_positive_is_the_second_class(texture: Scorer) -> None:
    found = explain_local(texture, images(1), target="normal")
    assert isinstance(found, LocalExplanation)
    assert (found.positive, found.negative) == (("abnormal",), ("normal",))


def test_a_wrong_range_is_said_once(texture: Scorer) -> None:
    with pytest.warns(UserWarning, match="images: ") as said:
        explain_local(texture, images(2).astype(np.float32), target="abnormal")
    assert len(said) == 1
