"""`iuscore fit --model texture`, and scoring with such a model."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import iuscore
from iuscore import phantoms
from iuscore.features import FEATURES, GROUPS
from iuscore.fit import EPUOptions, TextureOptions, TrainingOptions, fit, open_splits
from iuscore.fit.kinds import KINDS
from tests.fixtures import TINY, Command, class_folders, log_of, record_of

SMALL = ("--model", "texture", "--size", "16", "--epochs", "8", "--members", "2")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folders(tmp_path_factory.mktemp("texture") / "real", n=20)


@pytest.fixture(scope="module")
def model(real: Path, tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    out = tmp_path_factory.mktemp("texture") / "model"
    options = TextureOptions(size=(16, 16))
    return fit(open_splits(real), out, model="texture", model_options=options, members=2).folder


def ran_well(command: Command, *arguments: object) -> str:
    ran = command(*arguments)
    assert ran.status == 0, ran.err
    return ran.out


class TestFit:
    def test_the_record_holds_profiles_ceiling_and_floor(self, model: Path) -> None:
        record = record_of(model)
        assert record["kind"] == "texture"
        assert record["model"]["color"] == "gray"
        assert record["model"]["heads"] == "linear"
        assert len(record["model"]["feature_mean"]) == len(FEATURES["gray"])
        assert record["training"]["optimizer"] == "adamw"
        assert len(record["members"]) == 2
        assert record["validation"]["auroc"] > 0.9
        for space in ("paper", "evidence"):
            assert len(record["profiles"][space]["a"]["mean"]) == len(GROUPS["gray"])
        assert record["profiles"]["paper"] == record["profiles"]["evidence"]
        assert record["ceiling"]["paper"]["a"]["mean"] > record["floor"]["paper"]["a"]["mean"] + 0.5

    def test_defaults_are_those_of_the_kind(self, command: Command, real: Path, tmp_path: Path) -> None:
        ran = command("fit", real, "--out", tmp_path / "m", "--model", "texture", "--epochs", 2)
        assert ran.status == 0
        assert re.fullmatch(r"about \d+ s an epoch and member on this machine, at most 2 epochs", ran.said()[0])
        record = record_of(tmp_path / "m")
        assert len(record["members"]) == 3
        assert record["model"]["size"] == [128, 128]
        expected = {f.name: getattr(KINDS["texture"].training, f.name) for f in fields(TrainingOptions)}
        written = {name: value for name, value in record["training"].items() if name in expected}
        assert written == expected | {"epochs": 2}
        assert (record["training"]["seeds"], record["training"]["interrupted"]) == (3, False)

    def test_help_says_the_defaults(self, command: Command) -> None:
        text = " ".join(ran_well(command, "fit", "--help").split())
        epu, texture = KINDS["epu"], KINDS["texture"]
        for name, flag in (("learning_rate", "lr"), ("weight_decay", "weight-decay"), ("batch_size", "batch-size"),
                           ("patience", "patience")):  # fmt: skip
            both = f"{getattr(epu.training, name)}; texture: {getattr(texture.training, name)}"
            assert re.search(rf"--{flag} \S+ [^\[]*\[default: \({re.escape(both)}\)\]", text), name
        assert re.search(rf"--members [^\[]*\[default: \({epu.members}; texture: {texture.members}\)", text)
        assert re.search(rf"--epochs [^\[]*\[default: \({epu.training.epochs}\)", text)
        assert epu.training.epochs == texture.training.epochs
        assert re.search(rf"--hidden-units [^\[]*\[default: \({EPUOptions().hidden_units}; texture: 16\)", text)
        for options in (EPUOptions(), TextureOptions()):
            for field in fields(options):
                value = getattr(options, field.name)
                shown = value[0] if isinstance(value, tuple) else value
                flag = field.name.replace("_", "-")
                assert re.search(rf"--{flag} [^\]]*(\[[^\]]*\] [^\[]*)?\[default: \([^)]*\b{shown}\b", text), field.name

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            (
                ("--base-channels", 4),
                "--base-channels belongs to --model epu, not to texture: leave it out, or give --model epu",
            ),
            (
                ("--mode", "published"),
                "--mode belongs to --model epu, not to texture: leave it out, or give --model epu",
            ),
            (("--size", 4), "size: expected (height, width), each at least 8, got [4, 4]"),
            (("--dropout", 1), "dropout: expected a number in [0, 1), got 1.0"),
            (("--hidden-units", 1), "hidden_units: expected an integer of at least 2, got 1"),
            (("--lr", 0), "learning_rate: expected a positive number, got 0.0"),
        ],
    )
    def test_bad_options_are_refused(
        self, command: Command, real: Path, tmp_path: Path, options: tuple[object, ...], text: str
    ) -> None:
        assert command("fit", real, "--out", tmp_path / "m", "--model", "texture", *options).refusal() == text
        assert not (tmp_path / "m").exists()

    def test_options_of_texture_are_refused_with_epu(self, command: Command, real: Path, tmp_path: Path) -> None:
        for option, value in (("--heads", "tanh"), ("--dropout", "0.1")):
            said = command("fit", real, "--out", tmp_path / "m", *TINY, option, value).refusal()
            assert said == f"{option} belongs to --model texture, not to epu: leave it out, or give --model texture"

    def test_options_of_another_type_are_refused_in_python(self, real: Path, tmp_path: Path) -> None:
        splits = open_splits(real)
        with pytest.raises(iuscore.UserError, match="expected TextureOptions for model 'texture', got EPUOptions"):
            fit(splits, tmp_path / "m", model="texture", model_options=EPUOptions())
        with pytest.raises(iuscore.UserError, match="model: expected 'epu' or 'texture', got 'resnet'"):
            fit(splits, tmp_path / "m", model="resnet")  # type: ignore[arg-type]

    def test_a_resumed_training_equals_an_uninterrupted_one(self, command: Command, real: Path, tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
        """The saved state includes the moments and steps of AdamW."""
        import signal

        from iuscore.fit import training

        ran_well(command, "fit", real, "--out", tmp_path / "whole", *SMALL)
        save, calls = training._save, []

        def stopping(*arguments: Any) -> None:
            calls.append(1)
            save(*arguments)
            if len(calls) == 11:
                signal.raise_signal(signal.SIGINT)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training, "_save", stopping)
            assert command("fit", real, "--out", tmp_path / "m", *SMALL).status == 130
        refused = command("fit", real, "--out", tmp_path / "m", *SMALL, "--heads", "tanh", "--resume")
        assert "--heads was 'linear', now it is 'tanh'" in refused.err
        ran_well(command, "fit", real, "--out", tmp_path / "m", *SMALL, "--resume")
        for name in ("model.safetensors", "config.json"):
            assert (tmp_path / "m" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
        assert len(log_of(tmp_path / "m")) == len(log_of(tmp_path / "whole")) == 16

    def test_three_classes_and_tanh_heads_can_be_fitted(self, command: Command, tmp_path: Path) -> None:
        three = class_folders(tmp_path / "three", "abc", n=10, channels=3)
        ran_well(command, "fit", three, "--out", tmp_path / "m", *SMALL, "--heads", "tanh")
        record = record_of(tmp_path / "m")
        assert record["profiles"]["paper"] != record["profiles"]["evidence"]
        assert max(abs(x) for x in record["profiles"]["paper"]["c"]["mean"]) <= 1
        assert record["model"]["color"] == "color"


class TestScore:
    def test_table_and_summary_have_the_groups_as_components(
        self, command: Command, model: Path, real: Path, tmp_path: Path
    ) -> None:
        out = ran_well(command, "score", model, real, "--target", "from-folder", "--out", tmp_path)
        assert "images against real a: IUS" in out
        rows = pq.read_table(tmp_path / "scores.parquet").to_pylist()
        assert len(rows) == 40
        for row in rows:
            assert abs(sum(row[f"share_{group}"] for group in GROUPS["gray"]) - row["ius"]) < 1e-5
        summary = json.loads((tmp_path / "summary.json").read_text())
        assert summary["model"]["kind"] == "texture"
        assert summary["model"]["size"] == [16, 16]
        assert [c["name"] for c in summary["targets"]["a"]["components"]] == list(GROUPS["gray"])

    def test_images_of_any_size_and_color_are_scored(self, command: Command, model: Path, tmp_path: Path) -> None:
        """Colors, sizes and a broken file, against a gray model of 16x16."""
        (tmp_path / "in").mkdir()
        for kind in ("endoscopy", "radiograph"):
            phantoms.write(tmp_path / "in" / kind, kind, n_per_class=2, size=48, splits={"x": 1.0})  # type: ignore[arg-type]
        (tmp_path / "in/broken.png").write_bytes(b"no image")
        ran = command("score", model, tmp_path / "in", "--target", "a", "--out", tmp_path / "out")
        assert ran.status == 1
        assert "8 images against real a" in ran.out

    def test_plot_draws_a_png_file(self, command: Command, model: Path, real: Path, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib")
        ran_well(command, "score", model, real / "a", "--target", "a", "--out", tmp_path, "--plot")
        assert (tmp_path / "contributions.png").read_bytes()[:4] == b"\x89PNG"


@pytest.fixture(scope="session")
def data(shared: Path) -> Path:
    if not (shared / "data").is_dir():
        pytest.skip("no folder shared/data")
    return shared / "data"


class TestSharedData:
    """All shared data sets in their own layouts, with few epochs."""

    FEW = ("--model", "texture", "--epochs", "3", "--members", "1", "--size", "32")

    def test_mammography_can_be_fitted_and_scored(self, command: Command, data: Path, tmp_path: Path) -> None:
        root = data / "mammography"
        parts = ("--val", root / "real_val", "--test", root / "real_test", "--group-by", r"^P_\d+")
        ran_well(command, "fit", root / "real_train", *parts, "--out", tmp_path / "m", *self.FEW)
        record = record_of(tmp_path / "m")
        assert record["data"]["counts"]["train"] == {"benign": 579, "malignant": 525}
        images = root / "synthetic_cdcgan/benign"
        out = ran_well(command, "score", tmp_path / "m", images, "--target", "benign", "--out", tmp_path / "s")
        assert "600 images against real benign" in out

    def test_pneumonia_can_be_fitted_and_scored(self, command: Command, data: Path, tmp_path: Path) -> None:
        file = data / "pneumoniamnist/pneumoniamnist_rebuilt.npz"
        ran_well(command, "fit", file, "--classes", "normal,pneumonia", "--out", tmp_path / "m", *self.FEW)
        assert record_of(tmp_path / "m")["validation"]["auroc"] > 0.95
        out = ran_well(command, "score", tmp_path / "m", file, "--split", "test", "--target", "normal", "--out",
                       tmp_path / "s")  # fmt: skip
        assert "624 images against real normal" in out

    def test_blood_cells_can_be_fitted_and_scored(self, command: Command, data: Path, tmp_path: Path) -> None:
        root = data / "blood_cells"
        ran_well(command, "fit", root, "--group-by", r"BloodImage_\d+", "--out", tmp_path / "m", *self.FEW)
        record = record_of(tmp_path / "m")
        assert record["model"]["classes"] == ["platelets", "rbc", "wbc"]
        assert record["model"]["color"] == "color"
        assert record["validation"]["auroc"] > 0.98
        out = ran_well(command, "score", tmp_path / "m", root, "--target", "from-folder", "--out", tmp_path / "s")
        assert "223 images against real wbc" in out


def test_printed_lines_name_the_planted_defect(command: Command, tmp_path: Path) -> None:
    """What changed, what matters, and the notes, on sets whose defect is known."""
    phantoms.write(tmp_path / "real", "endoscopy", n_per_class=60, size=48, seed=1)
    ran_well(command, "fit", tmp_path / "real", "--model", "texture", "--size", "48", "--classes", "normal,abnormal",
             "--out", tmp_path / "m")  # fmt: skip
    said = {}
    for dial in ("none", "blur", "mode_collapse"):
        defects = phantoms.Defects(**({} if dial == "none" else {dial: 1.0}))
        phantoms.write(
            tmp_path / dial, "endoscopy", n_per_class=30, size=48, seed=2, splits={"x": 1.0}, defects=defects
        )
        images, out = tmp_path / dial / "x", tmp_path / f"scores-{dial}"
        said[dial] = ran_well(command, "score", tmp_path / "m", images, "--target", "from-folder", "--out", out)
        entry = json.loads((out / "summary.json").read_text())["targets"]["abnormal"]
        assert (entry["most_changed"] in said[dial]) == (dial != "none")
        assert ("what matters most" in said[dial]) == (dial != "none")  # where nothing changed, nothing of it matters
        assert [change["name"] for change in entry["changes"]] == list(GROUPS["color"])
        assert (entry["diversity"] < 0.5) == (dial == "mode_collapse")
        assert (entry["distance_from_real"] > 3) == (dial == "blur")
    assert re.search(
        r"  what changed, compared with real abnormal \(1 spread = the standard deviation among its images\):\n"
        r"    edges are softer, grain is weaker, or contrast is lower \(neighboring pixels differ less\): "
        r"fine-contrast homogeneity [\d.]+ spreads higher.*\n"
        r"(    .*\n)+"
        r"  what matters most: [\w-]+, contribution [-+][\d.]+ where real abnormal have [-+][\d.]+\n"
        r"  diversity: [\d.]+ times that of real abnormal ",
        said["blur"],
    )
    for dial, text in said.items():
        printed = re.findall(r"homogeneity ([\d.]+) spreads", text)
        assert not re.search(r"times (the|their) spread", text)  # there must be no second number for the same change
        assert len(printed) == len(set(printed)) or dial == "none"
    still = "nothing beyond what real sets of 30 images show by chance"
    assert said["none"].count(still) == 2
    assert still not in said["blur"]
    assert said["blur"].count("compared with abnormal and normal lie far outside real ones of any class") == 1
    assert (
        "nearly copies of each other: the distance from an image to its nearest neighbor is 0." in said["mode_collapse"]
    )
    for note in ("far outside", "nearly copies"):
        assert note not in said["none"]
    assert "farthest from real" not in "".join(said.values())
