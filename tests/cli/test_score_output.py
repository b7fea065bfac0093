"""Output of `iuscore score` besides the table: mean over classes, groups, CSV, notes, help."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import iuscore
from iuscore.engine import score_source, summary, verify
from iuscore.errors import UserError
from iuscore.images import open_shards
from iuscore.images.marks import KEPT, KnownImages
from iuscore.models.record import DataRecord, KnownImagesRecord
from iuscore.scoring.intervals import mean_interval
from tests.fixtures import TINY, Command, class_folders, rows_of, summary_of, write_images, write_record

NUMBER = r"-?\d\.\d{3}"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "images", n=9, seed=5)


class TestMeanOverClasses:
    def test_each_class_counts_once(self, command: Command, fitted: Path, tmp_path: Path) -> None:
        images = class_folders(tmp_path / "images", "a", n=20)
        class_folders(tmp_path / "images", "b", n=6, seed=1)
        ran = command("score", fitted, images, "--target", "from-folder", "--out", tmp_path / "o")
        assert ran.status == 0, ran.err
        by_class = {name: [row["ius"] for row in rows_of(tmp_path / "o") if row["target"] == name] for name in "ab"}
        over = summary_of(tmp_path / "o")["mean_over_classes"]
        means = [float(np.mean(by_class[name])) for name in "ab"]
        assert over["mean"] == pytest.approx(np.mean(means), abs=1e-6)
        assert over["classes"] == ["a", "b"]
        assert over["low"] < over["mean"] < over["high"]
        record = json.loads((fitted / "config.json").read_text())
        for key in ("ceiling", "floor"):
            assert over[key] == pytest.approx(np.mean([record[key]["paper"][name]["mean"] for name in "ab"]))
        # The first line is the one that counts.
        first = rf"mean over 2 classes, equally weighted: IUS {over['mean']:.3f} \[{NUMBER}, {NUMBER}\]"
        assert re.fullmatch(first, ran.out.splitlines()[0])
        assert ran.out.splitlines()[1].startswith("  real images of each class: ")

    def test_one_class_has_no_mean_over_classes(
        self, command: Command, fitted: Path, images: Path, tmp_path: Path
    ) -> None:
        ran = command("score", fitted, images, "--target", "a", "--out", tmp_path / "o")
        assert summary_of(tmp_path / "o")["mean_over_classes"] is None
        assert "mean over" not in ran.out

    def test_few_images_get_no_interval(self, command: Command, fitted: Path, tmp_path: Path) -> None:
        class_folders(tmp_path / "images", n=4)
        ran = command(
            "score", fitted, tmp_path / "images", "--target", "from-folder", "--out", tmp_path / "o", "--plot"
        )
        assert ran.status == 0, ran.err
        found = summary_of(tmp_path / "o")
        entry = found["targets"]["a"]
        assert (entry["ius"]["low"], entry["ius"]["high"], found["mean_over_classes"]["low"]) == (None, None, None)
        assert {component["low"] for component in entry["components"]} == {None}
        assert re.search(rf"^4 images against real a: IUS {NUMBER} \(no interval: too few\)$", ran.out, re.M)

    def test_no_number_stands_alone_that_a_note_takes_back(
        self, command: Command, texture: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for line_is_a_guess, threshold in ((False, np.inf), (True, -1.0)):
            for bound in ("MAX_DISTANCE", "MAX_JOINT_DISTANCE"):  # the images have no color, the real ones have
                monkeypatch.setattr(summary, bound, threshold)
            ran = command("score", texture, images, "--target", "from-folder", "--out", tmp_path / "o")
            assert ran.status == 0, ran.err
            lines = [line for line in ran.out.splitlines() if re.search(r"(against real [ab]|classes).*: IUS", line)]
            assert len(lines) == 3
            assert all(("a guess" in line) == line_is_a_guess for line in lines)
            assert ("lie far outside real ones" in ran.out) == line_is_a_guess
            found = summary_of(tmp_path / "o")
            assert [entry["out_of_distribution"] for entry in found["targets"].values()] == [line_is_a_guess] * 2
            assert found["mean_over_classes"]["out_of_distribution"] == (["a", "b"] if line_is_a_guess else [])


class TestGroups:
    @pytest.fixture
    def of_patients(self, tmp_path: Path) -> Path:
        return write_images(tmp_path / "images", [f"{c}/P{i // 3}_{i}.png" for c in "ab" for i in range(18)])

    def test_column_interval_and_identity(
        self, command: Command, fitted: Path, of_patients: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "o"
        common = ("score", fitted, of_patients, "--target", "from-folder", "--out", out)
        ran = command(*common, "--group-by", r"^P(\d+)_")
        assert ran.status == 0, ran.err
        rows = rows_of(out)
        assert list(rows[0])[:4] == ["uid", "target", "group", "ius"]
        assert [row["group"] for row in rows] == [row["uid"][3] for row in rows]
        own = [row for row in rows if row["target"] == "a"]
        wanted = mean_interval(np.array([[row["ius"]] for row in own]), [row["group"] for row in own])
        assert wanted is not None
        entry = summary_of(out)["targets"]["a"]
        assert (entry["n"], entry["n_groups"]) == (18, 6)
        assert (entry["ius"]["low"], entry["ius"]["high"]) == pytest.approx((wanted[0][0], wanted[1][0]), abs=1e-12)
        assert "18 images of 6 groups against real a: IUS " in ran.out
        assert command("verify", out).status == 0
        said = "has groups by another pattern"
        assert f"{said} (^P(\\d+)_, not None)" in command(*common).refusal()
        assert f"{said} (^P(\\d+)_, not P)" in command(*common, "--group-by", "P").refusal()
        # The numbers themselves are those of a run without groups.
        assert command(*common[:-1], tmp_path / "alone").status == 0
        assert [{k: v for k, v in row.items() if k != "group"} for row in rows] == rows_of(tmp_path / "alone")

    def test_a_name_without_one_stops_the_run(self, fitted: Path, of_patients: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"is not found in the file name of a/P4_12\.png"):
            score_source(iuscore.load(fitted), of_patients, tmp_path / "o", target="a", group_by="^P[0-3]")

    def test_four_groups_get_no_interval(self, fitted: Path, tmp_path: Path) -> None:
        images = write_images(tmp_path / "images", [f"P{i % 4}_{i}.png" for i in range(20)])
        run = score_source(iuscore.load(fitted), images, tmp_path / "o", target="a", group_by=r"^P\d")
        assert (run.summary.targets["a"].ius.low, run.summary.targets["a"].n_groups) == (None, 4)

    @pytest.mark.parametrize(
        ("pattern", "said"),
        [("^Q", "group_by: '^Q' is not found in the file name of a/P0_0.png"),
         ("(", "group_by: '(' is not a regular expression: missing ), unterminated subpattern at position 0")],
    )  # fmt: skip
    def test_unusable_patterns_of_groups_are_refused(
        self, command: Command, fitted: Path, of_patients: Path, tmp_path: Path, pattern: str, said: str
    ) -> None:
        ran = command("score", fitted, of_patients, "--target", "a", "--out", tmp_path / "o", "--group-by", pattern)
        assert ran.refusal() == said
        assert not list((tmp_path / "o").rglob("*.parquet/*"))

    def test_intervals_of_baselines_count_groups(self, command: Command, tmp_path: Path) -> None:
        """Four copies of each image have one patient's name, so forty images count as ten."""
        once = write_images(tmp_path / "once", [f"{c}/P{c}{i:02d}_0.png" for c in "ab" for i in range(20)])
        for path in list(once.rglob("*.png")):
            for k in (1, 2, 3):
                shutil.copy(path, path.with_name(path.name.replace("_0", f"_{k}")))
        options = ("--model", "epu", "--epochs", 1, "--fractions", "0.5,0.5,0", "--group-by", r"^P\w\d+", *TINY)
        ran = command("fit", once, "--out", tmp_path / "model", *options)
        assert ran.status == 0, ran.err
        profile = json.loads((tmp_path / "model/config.json").read_text())["profiles"]["evidence"]["a"]
        assert profile["n"] == 40
        of_images = 1.96 * np.array(profile["sd"]) / np.sqrt(40)
        width = (np.array(profile["high"]) - np.array(profile["low"])) / 2
        assert (width > 1.8 * of_images).all()  # twice as wide, and wider because there are few groups


class TestCsv:
    def test_the_csv_file_has_the_rows_of_the_table(
        self, command: Command, fitted: Path, images: Path, tmp_path: Path
    ) -> None:
        (images / 'a/odd, "name"\n=1+1.png').write_bytes(b"no image")
        out = tmp_path / "o"
        ran = command("score", fitted, images, "--target", "a", "--out", out, "--csv", "--shard-size", 5)
        assert ran.status == 1
        assert f"written: {out / 'scores.csv'}" in ran.out
        with open(out / "scores.csv", newline="", encoding="utf-8") as file:
            found = list(csv.DictReader(file))
        rows = rows_of(out)
        assert list(found[0]) == list(rows[0])
        assert len(found) == len(rows) == 19
        for text, row in zip(found, rows, strict=True):
            for key, value in row.items():
                if isinstance(value, float):
                    assert np.float32(text[key]) == np.float32(value)  # every bit
                else:
                    assert text[key] == ("" if value is None else str(value))
        # Again; then in a folder where the user has a file of this name.
        assert command("score", fitted, images, "--target", "a", "--out", out, "--csv").status == 1
        (out / "scores.csv").write_text("mine")
        said = command("score", fitted, images, "--target", "a", "--out", out, "--csv").refusal()
        assert said.startswith(f"{out / 'scores.csv'} is not of a run of iuscore")
        assert (out / "scores.csv").read_text() == "mine"


class TestNotes:
    def test_a_model_fitted_on_other_features(self, command: Command, texture: Path, tmp_path: Path) -> None:
        images = write_images(tmp_path / "images", ["x.png"], channels=3)
        assert "earlier version" not in command("score", texture, images, "--target", "a", "--out", tmp_path / "o").out
        for version, said in ((None, "note: the model was fitted by an earlier version"), (99, "upgrade iuscore")):
            model = shutil.copytree(texture, tmp_path / f"model{version}")
            config = json.loads((model / "config.json").read_text())
            config["feature_version"] = version
            if version is None:
                del config["feature_version"]
            write_record(model, config)
            ran = command("score", model, images, "--target", "a", "--out", tmp_path / f"out{version}")
            assert said in ran.out + ran.err
            assert ran.status == (0 if version is None else 2)

    def test_class_folders_against_one_class(
        self, command: Command, fitted: Path, images: Path, tmp_path: Path
    ) -> None:
        ran = command("score", fitted, images, "--target", "a", "--out", tmp_path / "o")
        hint = f"note: {images} has folders named a, b, and all images were compared with a: --target from-folder"
        assert hint in ran.out
        for target, folder in (("from-folder", images), ("a", images / "a")):
            ran = command("score", fitted, folder, "--target", target, "--out", tmp_path / f"o_{target}")
            assert "has folders named" not in ran.out

    @pytest.mark.parametrize(
        ("n", "said"),
        [(2, "2, left out (a/0.txt, a/1.txt)"), (7, "7, left out (a/0.txt, a/1.txt, a/2.txt, a/3.txt, a/4.txt, ...)")],
    )
    def test_files_passed_over_are_counted_and_five_named(
        self, command: Command, fitted: Path, images: Path, tmp_path: Path, n: int, said: str
    ) -> None:  # fmt: skip
        for i in range(n):
            (images / f"a/{i}.txt").touch()
        for _ in range(2):  # the second run finds all parts finished
            ran = command("score", fitted, images, "--target", "a", "--out", tmp_path / "o")
            names = sorted(re.findall(r"a/\d\.txt", ran.out))
            assert f"note: files that are no images: {n}, left out (" in ran.out
            assert len(names) == min(n, 5)
            assert ran.out.count(", ...)") == (n > 5)

    def test_an_interrupted_training_is_named(
        self, command: Command, fitted: Path, images: Path, tmp_path: Path
    ) -> None:
        model = tmp_path / "model"
        shutil.copytree(fitted, model)
        record = json.loads((model / "config.json").read_text())
        assert record["training"]["interrupted"] is False
        record["training"]["interrupted"] = True
        write_record(model, record)
        said = "note: the training of this model was interrupted: fit it to the end before trusting its scores"
        for folder, is_said in ((fitted, False), (model, True)):
            ran = command("score", folder, images, "--target", "a", "--out", tmp_path / f"o_{folder.name}_{is_said}")
            assert (said in ran.out) == is_said


class TestKnownImages:
    def test_training_images_are_recognized_by_their_pixels(
        self, command: Command, fitted: Path, images: Path, tmp_path: Path
    ) -> None:
        """The training images come in another format, under other names, among new images."""
        from PIL import Image

        real = fitted.parent / "real"
        for i, path in enumerate(sorted(real.rglob("*.png"))):
            with Image.open(path) as image:
                image.save(images / f"a/copy{i}.bmp")
        ran = command("score", fitted, images, "--target", "a", "--out", tmp_path / "o", "--shard-size", 7)
        assert ran.status == 0, ran.err
        record = json.loads((fitted / "config.json").read_text())["data"]
        n = sum(sum(record["counts"][part].values()) for part in ("train", "val"))
        total = 18 + len(list(real.rglob("*.png")))
        assert f"note: {n} of {total} images are training or validation images of this model: " in ran.out
        assert summary_of(tmp_path / "o")["n_known"] == n == record["known_images"]["n"]
        verified = verify(tmp_path / "o", iuscore.load(fitted), open_shards(images))
        assert verified.problems == ()

    def test_new_images_are_not_taken_for_training_images(
        self, command: Command, fitted: Path, images: Path, tmp_path: Path
    ) -> None:
        ran = command("score", fitted, images, "--target", "a", "--out", tmp_path / "o")
        assert "training or validation images" not in ran.out
        assert summary_of(tmp_path / "o")["n_known"] == 0

    def test_a_model_without_marks_recognizes_nothing(self, fitted: Path, images: Path, tmp_path: Path) -> None:
        scorer = iuscore.load(fitted)
        scorer.record = replace(scorer.record, data=DataRecord())
        assert score_source(scorer, images, tmp_path / "o", target="a").summary.n_known == 0
        scorer.record = replace(scorer.record, data=DataRecord(known_images=KnownImagesRecord(3, "?")))
        with pytest.raises(UserError, match=r"^data\.known_images: expected n and marks of the images of a model"):
            score_source(scorer, images, tmp_path / "damaged", target="a")

    def test_of_many_training_images_a_sample_is_recognized(self) -> None:
        marks = np.random.default_rng(0).integers(0, 2**63, 50_000).tolist()
        known = KnownImages.of(marks)
        assert (known.n, len(known.marks)) == (50_000, KEPT)
        hits, looked_at = known.look_at(marks[:10_000] + np.random.default_rng(1).integers(0, 2**63, 10_000).tolist())
        # A kept mark is one of the KEPT smallest of 50,000: of 20,000 images 2 * 10,000 * KEPT / 50,000 can be told
        expected = 20_000 * KEPT / 50_000
        assert abs(looked_at - expected) < 6 * np.sqrt(expected)
        assert abs(hits / looked_at - 0.5) < 6 * np.sqrt(0.25 / looked_at)
        assert KnownImages.from_json(json.loads(json.dumps(known.to_json()))) == known


@pytest.mark.parametrize("name", ["score", "verify", "plot-features"])
def test_help_has_an_example(command: Command, name: str) -> None:
    said = command(name, "--help").out
    (example,) = re.findall(r"^  Example:\n    (iuscore .*)$", said, re.M)
    assert example.split()[1] == name
    options = set(re.findall(r"--[\w-]+", said.replace(example, "")))
    assert set(re.findall(r"--[\w-]+", example)) <= options


@pytest.mark.parametrize(
    ("option", "value"), [("--batch-size", 0), ("--batch-size", 10**12), ("--workers", -1), ("--shard-size", 10**9)]
)
def test_numbers_out_of_range_are_refused(
    command: Command, fitted: Path, images: Path, tmp_path: Path, option: str, value: int
) -> None:
    said = command("score", fitted, images, "--target", "a", "--out", tmp_path / "o", option, value).refusal()
    assert f"Invalid value for '{option}': {value} is not in the range 1<=x<=" in said


def test_too_many_processes_are_refused(command: Command, fitted: Path, images: Path, tmp_path: Path) -> None:
    said = command("score", fitted, images, "--target", "a", "--out", tmp_path / "o", "--workers", 60_000).refusal()
    assert re.fullmatch(r"workers: expected 1 to \d+.*, got 60000", said)
