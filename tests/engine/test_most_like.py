"""Sets that mix classes, labels that were exchanged, and figures that a note takes back."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iuscore.engine.most_like import (
    exchange_notes,
    mixture_note,
    most_probable,
    others_line,
    outside_of_mixture,
)
from iuscore.features import FEATURES, feature_profile
from iuscore.fit import TextureOptions, fit, open_splits
from iuscore.models.record import Figures, ModelRecord
from tests.fixtures import Command, class_folders, record_of, rows_of, summary_of, write_record


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A texture model of classes a, b and c that differ in noise; 20 images each in the sibling folder real."""
    root = tmp_path_factory.mktemp("three")
    real = class_folders(root / "real", "abc", n=20, channels=3, size=32)
    return fit(open_splits(real), root / "model", model="texture", model_options=TextureOptions(size=(32, 32))).folder


def counts(**rows: tuple[int, ...]) -> dict[str, dict[str, int]]:
    return {name: dict(zip("abcd", row, strict=False)) for name, row in rows.items()}


class TestNotes:
    def test_every_exchange_of_classes_is_named_by_its_cycles(self) -> None:
        """Every derangement of three and four classes is named by its cycles, and nothing else is."""
        for n in (3, 4):
            for order in itertools.permutations(range(n)):
                found = {"abcd"[i]: dict.fromkeys("abcd"[:n], 0) | {"abcd"[order[i]]: 20} for i in range(n)}
                cycles = set()
                for i in range(n):
                    ring = [i]
                    while order[ring[-1]] != i:
                        ring.append(order[ring[-1]])
                    if len(ring) > 1:
                        cycles.add(frozenset("abcd"[k] for k in ring))
                notes = exchange_notes(found, 1.0)
                said = {
                    frozenset(note.split("labels of ")[1].split(" are")[0].replace(" and ", ", ").split(", "))
                    for note in notes
                }
                assert said == cycles, (order, notes)

    def test_a_class_that_is_taken_for_another(self) -> None:
        (note,) = exchange_notes(counts(a=(3, 7, 0), b=(0, 10, 0), c=(0, 0, 10)), 0.9)
        assert note.startswith("labels of a may be wrong: 7 of 10 images of a look most like b. ")
        assert exchange_notes(counts(a=(3, 7, 0), b=(0, 10, 0), c=(0, 0, 10)), 0.9, ["a"]) == []
        assert exchange_notes(counts(a=(5, 5, 0), b=(0, 10, 0)), 0.9) == []

    @pytest.mark.parametrize(
        ("accuracy", "right", "said"), [(0.9, 34, True), (0.9, 60, False), (0.45, 34, False), (None, 34, False)]
    )
    def test_shuffled_labels_are_told_from_a_weak_model(self, accuracy: float | None, right: int, said: bool) -> None:
        rest = (100 - right) // 2
        found = counts(a=(right, rest, rest), b=(rest, right, rest), c=(rest, rest, right))
        notes = exchange_notes(found, accuracy)
        assert [note.split(":")[0] for note in notes] == (["labels may be shuffled"] if said else [])

    def test_images_count_for_their_most_probable_class(self) -> None:
        table = np.array([[0.2, 0.5, 0.3], [0.6, 0.2, 0.2], [np.nan] * 3, [0.1, 0.2, 0.7], [0.0, 0.0, 1.0]])
        assert most_probable(table).tolist() == [1, 1, 2]
        assert most_probable(table[:0]).tolist() == [0, 0, 0]
        assert others_line("c", {"a": 1, "b": 1, "c": 2}, None) == (
            "to the model, 2 of 4 images look most like another class: a 1, b 1"
        )
        assert others_line("c", {"a": 0, "b": 0, "c": 4}, 0.5) is None


@pytest.mark.parametrize(
    ("most_like", "recall", "said"),
    [
        ({"a": 40, "b": 40, "c": 0}, 0.95, True),
        ({"a": 20, "b": 40, "c": 40}, 1.0, True),
        ({"a": 72, "b": 8, "c": 0}, 0.95, False),  # few
        ({"a": 60, "b": 20, "c": 0}, 0.7, False),  # at most twice the share of held-out real images
        ({"a": 2, "b": 78, "c": 0}, 0.95, False),  # the whole set looks like another class
        ({"a": 4, "b": 4, "c": 0}, 1.0, False),  # too few images
        ({"a": 40, "b": 40, "c": 0}, None, False),
    ],
)
def test_a_part_that_looks_like_another_class(most_like: dict[str, int], recall: float | None, said: bool) -> None:
    note = mixture_note("a", most_like, recall)
    assert (note is not None) == said
    assert note is None or note.startswith(f"the images compared with a may mix classes (a {most_like['a']}, ")


def test_each_class_is_compared_with_its_own_recall(three: Path) -> None:
    record = record_of(three)
    recall = ModelRecord.from_json(record).recall
    figures = record["test"] or record["validation"]
    assert set(recall) == {"a", "b", "c"}
    counts_of_part = record["data"]["counts"]["test" if record["test"] else "val"]
    right = sum(recall[name] * counts_of_part[name] for name in recall)
    assert right / sum(counts_of_part.values()) == pytest.approx(figures["accuracy"])
    assert others_line("a", {"a": 8, "b": 2, "c": 0}, 0.75) == (
        "to the model, 2 of 10 images look most like another class: b 2 (of held-out real a, 25 % do)"
    )
    assert ModelRecord(validation=Figures(3, accuracy=1.0)).recall == {}
    assert ModelRecord(validation=Figures(3, accuracy=1.0)).accuracy == 1.0


def test_a_mixture_lies_where_its_parts_do() -> None:
    """The classes are ten spreads apart: the mean of a mixture is five from both, but each image is near its class."""
    features = FEATURES["gray"]
    rng = np.random.default_rng(0)
    one = rng.normal(0.0, 1.0, (200, len(features)))
    other = rng.normal(10.0, 1.0, (200, len(features)))
    profiles = {"one": feature_profile(one, features), "other": feature_profile(other, features)}
    known = {name: profile for name, profile in profiles.items() if profile is not None}
    mixed = np.concatenate([one[:60], other[:40]])
    inside = outside_of_mixture(known, mixed, features)
    assert inside is not None
    assert inside < 0.5
    away = outside_of_mixture(known, mixed + 4.0, features)
    assert away is not None
    assert away > 3.0
    assert outside_of_mixture({}, mixed, features) is None


class TestOnTheCommandLine:
    def score(self, command: Command, model: Path, images: Path, out: Path, target: str) -> tuple[str, Any]:
        ran = command("score", model, images, "--target", target, "--out", out, "--quiet")
        assert ran.status == 0, ran.err
        return ran.out, summary_of(out)

    def test_a_set_that_mixes_classes(self, command: Command, three: Path, tmp_path: Path) -> None:
        said, summary = self.score(command, three, three.parent / "real", tmp_path / "o", "b")
        rows = rows_of(tmp_path / "o")
        by_hand = dict.fromkeys("abc", 0)
        for row in rows:
            by_hand[max("abc", key=lambda name: row[f"probability_{name}"])] += 1
        assert summary["targets"]["b"]["most_like"] == by_hand
        assert min(by_hand.values()) > 10  # the model tells the classes apart
        others = by_hand["a"] + by_hand["c"]
        assert f"  to the model, {others} of 60 images look most like another class: " in said
        assert "a guess" not in said
        assert "far outside" not in said

    def test_labels_that_went_round(self, command: Command, three: Path, tmp_path: Path) -> None:
        real = three.parent / "real"
        for name, source in zip("abc", "bca", strict=True):
            shutil.copytree(real / source, tmp_path / "round" / name)
        said, _ = self.score(command, three, tmp_path / "round", tmp_path / "o", "from-folder")
        assert "note: labels of a, b and c are probably swapped: " in said
        said, _ = self.score(command, three, real, tmp_path / "right", "from-folder")
        assert "note: labels" not in said

    @pytest.mark.parametrize("doubt", ["classes_overlap", "out_of_distribution", "above", None])
    def test_no_praise_that_a_note_takes_back(
        self, command: Command, three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, doubt: str | None
    ) -> None:
        from iuscore.engine import summary

        model = shutil.copytree(three, tmp_path / "model")
        images = class_folders(tmp_path / "images", "a", n=20, channels=3, size=32, seed=7)
        monkeypatch.setattr(
            summary, "separation_note", lambda *_: "they overlap" if doubt == "classes_overlap" else None
        )
        monkeypatch.setattr(summary, "above_note", lambda *_: "no better" if doubt == "above" else None)
        monkeypatch.setattr(summary, "MAX_DISTANCE", -1.0 if doubt == "out_of_distribution" else np.inf)
        said, found = self.score(command, model, images, tmp_path / "o", "a")
        assert "lower quartile" not in said
        assert found["targets"]["a"]["doubtful"] == (doubt is not None)
        headline = said.splitlines()[0]
        assert headline.endswith(
            {
                "classes_overlap": ", of little meaning: real images of other classes score about the same",
                "out_of_distribution": ", a guess: they lie far outside real images",
            }.get(doubt or "", "]")
        ), headline


def test_file_name_prefixes_are_classes(command: Command, three: Path, tmp_path: Path) -> None:
    """A flat folder of a_00.png, B_00.png, ... is scored as the folders of classes are, and verified."""
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in sorted((three.parent / "real").rglob("*.png")):
        folder = path.parent.name
        shutil.copy(path, flat / f"{folder.upper() if folder == 'b' else folder}_{path.name}")
    options = ("--target", "from-folder", "--quiet")
    by_folder = (*options, "--labels-from", "folder")
    assert "--labels-from prefix" in command("score", three, flat, "--out", tmp_path / "no", *by_folder).refusal()
    ran = command("score", three, flat, "--out", tmp_path / "o", *options, "--labels-from", "prefix")
    assert ran.status == 0, ran.err
    assert command("score", three, three.parent / "real", "--out", tmp_path / "by_folder", *options).status == 0
    one, other = (summary_of(tmp_path / name) for name in ("o", "by_folder"))
    for name in "abc":
        assert one["targets"][name]["n"] == 20
        assert one["targets"][name]["ius"]["mean"] == pytest.approx(other["targets"][name]["ius"]["mean"], abs=1e-7)
    assert command("verify", tmp_path / "o").status == 0
    said = command("score", three, flat, "--target", "a", "--labels-from", "prefix", "--out", tmp_path / "p").refusal()
    assert said == "--labels-from: it needs --target from-folder, got --target a"


def test_an_unknown_class_gets_a_suggestion(command: Command, three: Path, tmp_path: Path) -> None:
    said = command("plot-features", three, "--target", "bb", "--out", tmp_path / "x.png").refusal()
    assert said == "no class 'bb': the model knows a, b, c; did you mean 'b'?"


def test_the_first_five_unreadable_images_are_named(command: Command, three: Path, tmp_path: Path) -> None:
    """Seven damaged files in several shards: five are named with their reasons, all are counted."""
    images = class_folders(tmp_path / "images", "a", n=9, channels=3)
    for i in range(7):
        (images / f"a/x{i}.png").write_bytes(b"" if i % 2 else b"no picture")
    ran = command("score", three, images, "--target", "a", "--out", tmp_path / "o", "--quiet", "--shard-size", 3)
    assert ran.status == 1
    *named, last = ran.said()
    assert [line.split(": ")[:2] for line in named] == [["could not be read", f"a/x{i}.png"] for i in range(5)]
    for i, line in enumerate(named):
        assert ("empty file" if i % 2 else "not an image") in line
    assert last.startswith("7 of 16 images could not be read, the first of them above: ")
    errors = {row["uid"]: row["error"] for row in rows_of(tmp_path / "o") if row["error"]}
    first = {bad["uid"]: bad["error"] for bad in summary_of(tmp_path / "o")["first_unreadable"]}
    assert first == dict(list(errors.items())[:5])


@pytest.mark.parametrize("interrupted", [True, False])
def test_an_interrupted_training_earns_no_praise(
    command: Command, three: Path, tmp_path: Path, interrupted: bool
) -> None:
    model, record = shutil.copytree(three, tmp_path / "model"), record_of(three)
    record["training"]["interrupted"] = interrupted
    write_record(model, record)
    images = class_folders(tmp_path / "images", "a", n=30, channels=3, size=32, seed=7)
    assert command("score", model, images, "--target", "a", "--out", tmp_path / "o", "--quiet").status == 0
    entry = summary_of(tmp_path / "o")["targets"]["a"]
    assert not (interrupted and not entry["doubtful"])
    if not interrupted:
        assert entry["doubtful"] == (entry["ius"]["low"] > entry["ceiling"]["mean"])
