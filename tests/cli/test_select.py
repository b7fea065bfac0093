"""`iuscore select` as a user meets it: what it prints, and one line for every mistake."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.fixtures import Command, class_folders, tree
from tests.scored_runs import drawn_images, write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    images = drawn_images(60, ("benign", "malignant"))
    images.errors = ["empty file (0 bytes)" if i < 3 else None for i in range(60)]
    assert images.values is not None
    images.values["contradicted"][10:14] = True
    return write_run(tmp_path / "scores", images, part=25)


def test_what_is_printed(command: Command, run: Path, tmp_path: Path) -> None:
    best = tmp_path / "best"
    ran = command("select", run, "--per-class", "benign=5,malignant=12", "--drop-contradicted", "--out", best)
    assert ran.status == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[:3] == [
        "chosen: 17 of 60 images, those of the highest value",
        "  benign: 5 of 30 (left out: 2 unreadable, 2 contradicted by their nearest real images); "
        "near copies count less",
        "  malignant: 12 of 30 (left out: 1 unreadable, 2 contradicted by their nearest real images)",
    ]
    assert lines[3].startswith("gain over random and confident images not predicted: ")
    assert lines[4].startswith("note: measured with trained networks: picks by value beat random ones by .11 AUROC; ")
    assert lines[-1] == "written: " + ", ".join(
        str(best / name) for name in ("selected.txt", "random.txt", "confidence.txt", "selection.json")
    )
    record = json.loads((best / "selection.json").read_text())
    assert record["format"] == 1
    assert [each["n_chosen"] for each in record["classes"]] == [5, 12]
    assert len((best / "selected.txt").read_text().splitlines()) == 17


def test_from_folders_to_links_with_a_new_model(command: Command, fitted: Path, tmp_path: Path) -> None:
    class_folders(tmp_path / "images", n=8, seed=3)
    scores, links = tmp_path / "scores", tmp_path / "links"
    assert command("score", fitted, tmp_path / "images", "--target", "from-folder", "--out", scores).status == 0
    ran = command("select", scores, "--fraction", 0.5, "--policy", "ius", "--out", tmp_path / "half", "--link", links,
                  "--shards", tmp_path / "tars", "--shard-size", 3, "--parquet", tmp_path / "half.parquet")  # fmt: skip
    assert ran.status == 0, ran.err
    assert ran.out.splitlines()[0] == "chosen: 8 of 16 images, those of the highest IUS"
    assert f"linked: {links}: 8 hard links" in ran.out
    assert f"written: {tmp_path / 'tars'}: 3 .tar shards" in ran.out
    assert sorted(p.name for p in links.iterdir()) == ["a", "b"]


def test_an_old_run_is_told_what_to_do(command: Command, run: Path, tmp_path: Path) -> None:
    for folder in ("values", "views"):
        for path in (run / f"{folder}.parquet").iterdir():
            path.unlink()
        (run / f"{folder}.parquet").rmdir()
    said = command("select", run, "--count", 4, "--out", tmp_path / "best").refusal()
    assert said == (
        f"policy: value needs the values of the images, and {run} has no values.parquet: fit a model with this version "
        "and score the images again with it; the policies ius, confidence, stratified and random need none"
    )
    assert command("select", run, "--count", 4, "--policy", "random", "--out", tmp_path / "best").status == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "expected one of --count, --fraction and --per-class, got none of them: how many .*"),
        (("--count", 3, "--fraction", 0.5), r"expected one of .*, got --count and --fraction: how many .*"),
        (("--count", 1), r"count: expected at least 2, one for each of benign, malignant, got 1; .*"),
        (("--count", 0), r"count: expected a whole number of at least 1, got 0"),
        (("--fraction", 25), r"fraction: expected a number above 0, at most 1, got 25.0"),
        (
            ("--count", 100),
            r"50 images of benign are wanted, and 28 of 30 can be chosen \(left out: 2 unread.*",
        ),
        (("--per-class", "benin=3"), r"per_class: no image claims class 'benin': .*; did you mean benign=3\?"),
        (("--per-class", "benign:3"), r"--per-class: expected CLASS=NUMBER with commas, such as .*, got 'benign:3'"),
        (("--count", 4, "--policy", "best"), r"Invalid value for '--policy': 'best' is not one of 'value', .*"),
        (("--count", 4, "--model", "nowhere"), r"no model folder nowhere: give the folder that 'iuscore fit' wrote"),
        (("--count", 4, "--policy", "covariance"), r".* does not say where its model is: give --model"),
        (
            ("--count", 4, "--link", "."),
            r"link: expected a new or an empty folder, since no .*",
        ),
        (("--count", 4, "--shard-size", 0), r"Invalid value for '--shard-size': 0 is not in the range .*"),
    ],
)
def test_mistakes_get_one_line_and_write_nothing(
    command: Command, run: Path, tmp_path: Path, words: tuple[object, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = tree(tmp_path)
    assert re.fullmatch(said, command("select", run, "--out", "best", *words).refusal())
    assert tree(tmp_path) == before


def test_a_folder_that_is_no_run(command: Command, tmp_path: Path) -> None:
    said = command("select", tmp_path, "--count", 3, "--out", tmp_path / "best").refusal()
    assert said == f"{tmp_path} holds no run: give the --out folder of 'iuscore score'"


def test_the_names_of_the_policies_are_those_of_the_record() -> None:
    from iuscore.cli._select import POLICIES
    from iuscore.explain.select import POLICIES as KNOWN

    assert KNOWN == POLICIES


def test_help_shows_an_example(command: Command) -> None:
    ran = command("select", "--help")
    assert ran.status == 0
    assert "iuscore select scores --fraction 0.25 --out quarter --link quarter/images" in ran.out


def test_progress_is_left_out_when_asked(command: Command, run: Path, tmp_path: Path) -> None:
    ran = command("select", run, "--count", 4, "--out", tmp_path / "best", "--quiet", "--no-predict")
    assert (ran.status, ran.err) == (0, "")
    assert "not predicted: not asked for" in ran.out


def test_doubts_stand_below_the_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    from iuscore.cli._select import _print_prediction
    from iuscore.explain.select import Gain, Prediction

    gain = Gain("random", 0.7, 0.05, 0.01, 0.09, 5)
    _print_prediction(Prediction(0.75, (gain,), 40, (90, 90), 0.8123, ("few images",)))
    assert capsys.readouterr().out.splitlines() == [
        "expected AUROC of small learners fitted to it: 0.750; real images reach 0.812",
        "  predicted gain over random images: +0.050 [+0.010, +0.090] (these: 0.700, mean of 5 draws)",
        "  in doubt: few images",
    ]
