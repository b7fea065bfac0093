"""Global explanations: importance, intervals over images and members, densities, InterpretML's conventions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import iuscore
from iuscore import UserError, phantoms
from iuscore.explain import overall, plot_overall
from iuscore.explain.overall import RealImages, explain_global, mean_interval, of_quantiles, of_values
from iuscore.explain.reading import real_images
from iuscore.features import FEATURES, feature_profile
from iuscore.fit import TextureOptions, TrainingOptions, fit, open_splits
from iuscore.images import open_source
from iuscore.models import EPUCNN, Ensemble, ModelRecord
from iuscore.models.record import Profile
from iuscore.scoring import Scorer
from iuscore.scoring.baseline import baseline_profiles, importance

CLASSES = ["normal", "abnormal"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    root = tmp_path_factory.mktemp("global")
    phantoms.write(root / "real", "radiograph", n_per_class=40, size=32)
    fit(open_splits(root / "real"), root / "model", model="texture", classes=CLASSES,
        model_options=TextureOptions(size=(24, 24)), training=TrainingOptions(
            epochs=20, batch_size=16, learning_rate=1e-2, optimizer="adamw"), members=3)  # fmt: skip
    return root


@pytest.fixture(scope="module")
def scorer(folder: Path) -> Scorer:
    return iuscore.load(folder / "model")


def test_importance_is_the_centered_mean_absolute_contribution() -> None:
    """Each class counts the same, however many images it has; by hand in plain loops."""
    rng = np.random.default_rng(0)
    values, labels = rng.normal(3.0, 1.0, (50, 2)), np.array([0] * 40 + [1] * 10)
    for g in range(2):
        means = [sum(values[labels == k, g]) / sum(labels == k) for k in (0, 1)]
        middle = sum(means) / 2
        each = [sum(abs(v - middle) for v in values[labels == k, g]) / sum(labels == k) for k in (0, 1)]
        assert importance(values, labels)[g] == pytest.approx(sum(each) / 2)
    profiles = baseline_profiles(values[:, :, None], labels, classes=["a", "b"])
    np.testing.assert_allclose(profiles["a"].importance or (), importance(values, labels))


def test_the_model_folder_keeps_importance_and_measured_images_agree(folder: Path, scorer: Scorer) -> None:
    """The validation images, read again, give what fitting wrote."""
    kept = explain_global(scorer)
    assert kept.importance_by == "model"
    source = open_source(folder / "real" / "val", labels_from="auto", classes=CLASSES)
    measured = explain_global(scorer, real=real_images(scorer, source, "abnormal"))
    assert measured.importance_by == "images"
    np.testing.assert_allclose(measured.importance or (), kept.importance or (), rtol=1e-5)
    for name in CLASSES:
        assert measured.profiles[name].by == "bootstrap"
        assert measured.profiles[name].n == kept.profiles[name].n
        np.testing.assert_allclose(measured.profiles[name].mean, kept.profiles[name].mean, rtol=1e-5, atol=1e-6)


def test_intervals_over_images_cover_the_mean_of_a_known_distribution() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        low, high = mean_interval(rng.normal(1.0, 2.0, (40, 1)), None, rng)
        assert low is not None
        assert high is not None
        covered += low[0] <= 1.0 <= high[0]
    assert 0.89 <= covered / 300 <= 0.98  # 95 %, less what percentile intervals of 40 rows miss; 4 standard errors
    low, high = mean_interval(rng.normal(0.0, 1.0, (400, 1)), None, rng)
    assert low is not None
    assert high is not None
    assert high[0] - low[0] == pytest.approx(2 * 1.96 / 20, rel=0.15)


def test_intervals_over_groups_are_wider_where_images_of_a_group_are_alike() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 10)
    rows = rng.normal(0, 1, (20, 1))[groups] + 0.01 * rng.normal(0, 1, (200, 1))
    ends = [mean_interval(rows, g, np.random.default_rng(1)) for g in (None, groups)]
    narrow, wide = (float(np.subtract(*pair[::-1])[0]) for pair in ends)
    assert wide / narrow == pytest.approx(np.sqrt(10), rel=0.2)
    assert mean_interval(rows[:40], groups[:40], rng) == (None, None)  # four groups


def test_intervals_over_members_come_from_their_means(scorer: Scorer) -> None:
    found = explain_global(scorer)
    profile = found.profiles["abnormal"]
    means = np.array(scorer.profiles["abnormal"].member_means)
    assert profile.member_low is not None
    assert profile.member_high is not None
    assert (means.min(0) <= profile.member_low).all()
    assert (means.max(0) >= profile.member_high).all()
    assert (np.array(profile.member_low) <= np.array(profile.mean) + 1e-9).all()
    assert (np.array(profile.member_high) >= np.array(profile.mean) - 1e-9).all()
    again = explain_global(scorer)
    assert again.data(-1) == found.data(-1)


def test_densities_of_values_and_of_quantiles_agree() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, (4000, len(FEATURES["gray"])))
    profile = feature_profile(values, FEATURES["gray"])
    assert profile is not None
    edges = np.linspace(-0.5, 1.5, 11)
    exact = np.histogram(values[:, 3], edges)[0] / 4000
    np.testing.assert_allclose(of_values(values[:, 3], edges), exact, atol=1e-9)
    np.testing.assert_allclose(of_quantiles(profile, 3, edges), exact, atol=0.08)
    assert of_quantiles(profile, 3, edges).sum() == pytest.approx(1.0)
    nothing = replace(profile, quantiles=((0.0,) * 8 + (0.1, 0.2, 0.3, 0.4, 0.5),) * len(FEATURES["gray"]))
    # 60 % of the images are 0, and half of the 10 % up to 0.1 lie below 0.05
    np.testing.assert_allclose(of_quantiles(nothing, 0, np.array([0.0, 0.05, 1.0]))[0], 0.65)


def test_shapes_hold_the_curve_the_members_and_the_density(scorer: Scorer) -> None:
    found = explain_global(scorer)
    place = found.feature_names.index("fine-contrast homogeneity")
    data, shape = found.data(place), found.shapes[place]
    assert len(data["names"]) == len(data["scores"]) + 1 == len(data["density"]["scores"]) + 1
    middle = (np.array(data["names"][1:]) + data["names"][:-1]) / 2
    np.testing.assert_allclose(data["scores"], np.interp(middle, shape.values, shape.contributions), atol=1e-9)
    assert sum(data["density"]["scores"]) == pytest.approx(1.0, abs=0.02)  # few images lie beyond 3 sd
    single = explain_global(Scorer(Ensemble(scorer.model.members[:1]), replace(  # type: ignore[arg-type]
        scorer.record, members=scorer.record.members[:1], profiles={"paper": {
            name: replace(p, member_means=p.member_means[:1]) for name, p in scorer.record.profiles["paper"].items()}},
    )))  # fmt: skip
    assert single.data(place)["upper_bounds"] is None
    each = [
        explain_global(Scorer(Ensemble([member]), single_record(scorer, m))).shapes[place].contributions  # type: ignore[list-item]
        for m, member in enumerate(scorer.model.members)
    ]
    assert shape.member_sd is not None
    np.testing.assert_allclose(shape.member_sd, np.std(each, axis=0, ddof=1), atol=1e-6)


def single_record(scorer: Scorer, m: int) -> ModelRecord:
    profiles: dict[str, Profile] = {
        name: replace(p, member_means=p.member_means[m : m + 1]) for name, p in scorer.record.profiles["paper"].items()
    }
    return replace(scorer.record, members=scorer.record.members[m : m + 1], profiles={"paper": profiles})


def test_a_model_of_an_older_version_says_what_is_unknown(scorer: Scorer, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    old = replace(
        scorer.record,
        profiles={"paper": {n: replace(p, importance=None) for n, p in scorer.record.profiles["paper"].items()}},
        features={n: replace(p, quantiles=None) for n, p in scorer.record.features.items()},
    )
    found = explain_global(Scorer(scorer.model, old))
    assert (found.importance, found.importance_by, found.densities) == (None, "unknown", {})
    assert found.data(0)["density"] is None
    assert found.data()["scores"] == [None] * len(scorer.components)
    assert all(path.stat().st_size > 1000 for path in plot_overall.write_pictures(found, tmp_path))


def test_conventions_of_interpretml(scorer: Scorer) -> None:
    found = explain_global(scorer)
    assert found.explanation_type == "global"
    assert len(found.feature_names) == len(found.feature_types) == len(found) == len(FEATURES["gray"])
    assert found.selector["Name"].tolist() == found.feature_names
    assert found.data()["names"] == list(scorer.components)
    json.dumps(found.data(-1), allow_nan=False)
    frame = found.to_frame()
    assert len(frame) == 2 * len(scorer.components)
    pytest.importorskip("matplotlib")
    assert found.visualize(3) == explain_global(scorer).visualize(3)
    assert "<svg" in found.visualize()


def test_more_classes_have_each_its_own_output() -> None:
    model = Ensemble([EPUCNN(["a", "b", "c"], size=(8, 8), base_channels=1, hidden_units=2)]).eval()
    profile = Profile((0.1,) * 4, None, None, None, 3, ((0.1,) * 4,))
    scorer = Scorer(model, ModelRecord(profiles={"paper": dict.fromkeys("abc", profile)}))
    rng = np.random.default_rng(0)
    real = RealImages(rng.normal(0, 1, (30, 4)), None, np.repeat(np.arange(3), 10))
    found = explain_global(scorer, target="b", real=real)
    assert {name: each.by for name, each in found.profiles.items()} == {"a": "model", "b": "bootstrap", "c": "model"}
    assert found.feature_names == list(scorer.components)
    assert found.data(1)["scores"] == pytest.approx([0.1, real.contributions[10:20, 1].mean(), 0.1])
    with pytest.raises(UserError, match="labels: expected real images of every class, got none of c"):
        explain_global(scorer, real=RealImages(real.contributions[:20], None, real.labels[:20]))
    with pytest.raises(UserError, match=r"contributions: expected \[30, 4\], finite, got \[30, 2\]"):
        explain_global(scorer, real=RealImages(real.contributions[:, :2], None, real.labels))


def test_bootstrap_uses_the_stated_number_of_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    ends = overall._ends
    monkeypatch.setattr(overall, "_ends", lambda means: (seen.append(means.shape), ends(means))[1])
    mean_interval(np.arange(20.0)[:, None], None, np.random.default_rng(0))
    assert seen == [(overall.RESAMPLED, 1)]
