"""Shape functions against the model itself, and the table and picture made of them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from iuscore import UserError
from iuscore.explain.shapes import REACH, named, shape_functions, write_shapes
from iuscore.features import FEATURES
from iuscore.models import EPUCNN, AdditiveModel, Ensemble, ModelRecord, TextureModel, save_model
from tests.fixtures import Command

N = len(FEATURES["gray"])


def ensemble(classes: str = "ab") -> Ensemble:
    members: list[AdditiveModel] = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        # Within the ranges of the features, so that all values are possible ones.
        low, high = np.array([f.range for f in FEATURES["gray"]]).T
        mean, sd = ((low + high) / 2).tolist(), ((high - low) / 8.3).tolist()
        members.append(TextureModel(list(classes), color="gray", feature_mean=mean, feature_sd=sd))
    return Ensemble(members).eval()


@pytest.mark.parametrize(("classes", "target", "column"), [("ab", "a", 0), ("ab", "b", 0), ("abc", "c", 2)])
def test_curves_are_differences_of_the_logit(classes: str, target: str, column: int) -> None:
    """The logit follows the straight lines between the points of a curve, not only the points."""
    model = ensemble(classes)
    member = model.members[0]
    assert isinstance(member, TextureModel)
    center = torch.from_numpy(member.feature_mean).float()
    rng = np.random.default_rng(0)
    shapes = shape_functions(model, target)
    assert [shape.feature for shape in shapes] == list(FEATURES["gray"])
    for i, shape in enumerate(shapes):
        places = rng.uniform(-REACH, REACH, 20)
        inputs = center.repeat(20, 1)
        inputs[:, i] += torch.from_numpy(places * member.feature_sd[i]).float()
        moved = (model(inputs) - model(center[None]))[:, column].detach().numpy()
        drawn = np.interp(places, shape.positions, shape.contributions)
        assert np.abs(moved - drawn).max() <= shape.error + 1e-5  # float32 of the two logits
        assert shape.error < 0.05 * max(shape.effect, 0.1)
        assert shape.contributions[len(shape.contributions) // 2] == 0
        ends = member.feature_mean[i] + REACH * np.array([-1, 1]) * member.feature_sd[i]
        np.testing.assert_allclose(shape.values[[0, -1]], ends)


def test_shapes_end_where_values_do(tmp_path: Path) -> None:
    """A share has no curve below 0, and a feature that never varied in training has none at all."""
    model = ensemble()
    for member in model.members:
        assert isinstance(member, TextureModel)
        member.feature_mean[0], member.feature_sd[0] = 0.1, 1.0
        member.feature_mean[1], member.feature_sd[1] = 0.1, 0.05
    never, narrow, *others = shape_functions(model, "b")
    assert (never.effect, int(never.possible.sum()), never.varies) == (0.0, 1, False)
    assert narrow.values[narrow.possible].min() >= 0
    assert not narrow.possible.all()
    assert all(shape.possible.all() for shape in others)
    with open(write_shapes([never, narrow], tmp_path / "t.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1 + int(narrow.possible.sum())


def test_the_table_holds_the_points_of_the_curves(tmp_path: Path) -> None:
    shapes = shape_functions(ensemble(), "b")
    with open(write_shapes(shapes, tmp_path / "t.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == N * len(shapes[0].positions)
    assert rows[0]["group"] == "lightness"
    last = [float(rows[-1][key]) for key in ("value", "standardized", "contribution")]
    expected = [shapes[-1].values[-1], REACH, shapes[-1].contributions[-1]]
    np.testing.assert_allclose(last, expected, rtol=1e-5)


def test_the_command_draws_and_refuses_other_kinds(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    save_model(tmp_path / "m", ensemble("abc"), record=ModelRecord.from_json({"members": [{}, {}]}))
    ran = command("plot-features", tmp_path / "m", "-o", tmp_path / "p.png", "--table", tmp_path / "t.csv")
    assert ran.status == 0, ran.err
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "t.csv").stat().st_size > 1000
    said = command("plot-features", tmp_path / "m", "-o", tmp_path / "p.png", "--target", "x").refusal()
    assert said == "no class 'x': the model knows a, b, c"
    for name in ("p.xyz", "p", "m/config.json", ""):
        said = command("plot-features", tmp_path / "m", "-o", tmp_path / name).refusal()
        assert said.endswith("expected a name that ends as a picture does, such as features.png or features.pdf")
    said = command("plot-features", tmp_path / "m", "-o", tmp_path / "p.png", "--table", tmp_path / "p.png").refusal()
    assert said.startswith("--table: expected another file than the picture's")
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"
    save_model(tmp_path / "epu", EPUCNN(["a", "b"], size=(8, 8), base_channels=1), record=ModelRecord())
    said = command("plot-features", tmp_path / "epu", "-o", tmp_path / "q.png").refusal()
    assert said == "shape functions: expected a model of kind 'texture', got 'epu'"
    assert not (tmp_path / "q.png").exists()


def test_the_printed_effect_is_explained_and_can_be_read_from_the_table(command: Command, tmp_path: Path) -> None:
    """Largest less smallest contribution within 2 standard deviations, as the text says."""
    pytest.importorskip("matplotlib")
    save_model(tmp_path / "m", ensemble(), record=ModelRecord.from_json({"members": [{}, {}]}))
    ran = command("plot-features", tmp_path / "m", "-o", tmp_path / "p.png", "--table", tmp_path / "t.csv")
    assert "(largest less smallest change of the contribution, while the feature goes from 2 " in ran.out
    with open(tmp_path / "t.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    effects = {}
    for name in {row["feature"] for row in rows}:
        near = [float(row["contribution"]) for row in rows
                if row["feature"] == name and abs(float(row["standardized"])) <= 2.0 + 1e-9]  # fmt: skip
        effects[name] = max(near) - min(near)
    printed = [line.strip().split(";")[0].rsplit(": ", 1) for line in ran.out.splitlines() if "; higher means" in line]
    assert [name for name, _ in printed] == sorted(effects, key=lambda name: -effects[name])[:3]
    for name, effect in printed:
        assert float(effect) == pytest.approx(effects[name], abs=0.0051)


def test_bands_over_members_are_their_standard_deviation() -> None:
    model = ensemble()
    each = [shape_functions(Ensemble([member]), "b") for member in model.members]  # type: ignore[list-item]
    for i, shape in enumerate(shape_functions(model, "b")):
        assert shape.member_sd is not None
        expected = np.std([curves[i].contributions for curves in each], axis=0, ddof=1)
        np.testing.assert_allclose(shape.member_sd, expected, atol=1e-6)
    assert each[0][0].member_sd is None


def test_models_of_another_kind_are_refused() -> None:
    model = Ensemble([EPUCNN(["a", "b"], size=(8, 8), base_channels=1)])
    with pytest.raises(UserError, match="expected a model of kind 'texture', got 'epu'"):
        shape_functions(model, "a")


def test_legends_have_units_that_readers_know() -> None:
    """A correlation is between -1 and 1, a skewness the third moment itself."""
    place = {feature.name: i for i, feature in enumerate(FEATURES["gray"])}
    bent = {
        "fine-regularity correlation": (np.arctanh, (0.9, 0.98)),
        "lightness skewness": (np.arcsinh, (-2.0, 1.5)),
        "lightness kurtosis": (np.arcsinh, (-0.9, 3.0)),
    }
    mean, sd = np.full(N, 0.5), np.full(N, 0.25)
    for name, (function, (low, high)) in bent.items():  # one standard deviation below and above the mean
        ends = function(low), function(high)
        mean[place[name]], sd[place[name]] = np.mean(ends), np.ptp(ends) / 2
    member = TextureModel(["a", "b"], color="gray", feature_mean=mean.tolist(), feature_sd=sd.tolist())
    shapes = {shape.feature.name: shape for shape in shape_functions(Ensemble([member]).eval(), "b")}
    for name, (_, (low, high)) in bent.items():
        assert named(shapes[name]).endswith(f", 1 sd: {low:.2g} to {high:.2g})")
    assert named(shapes["lightness mean"]) == "mean (mean 0.5, sd 0.2)"  # the sd is 0.25, shown with one digit
    assert [f.name for f in FEATURES["color"] if f.undone is None and ("tanh" in f.unit or "sinh" in f.unit)] == []
