"""Notes that say the same of several classes become one note."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import iuscore
from iuscore import phantoms
from iuscore.engine import score_source
from iuscore.engine.most_like import mixture_of_sets
from iuscore.engine.notes import MAX_NAMED, separation_of_classes, set_notes
from iuscore.engine.texts import TextCounts
from iuscore.fit import TextureOptions, fit, open_splits
from iuscore.scoring import MeanIus, TargetSummary
from iuscore.scoring.records import HeldOut
from iuscore.scoring.words import doubt_of

QUANTILES = {"0.05": 0.0, "0.25": 0.1, "0.5": 0.2, "0.75": 0.3, "0.95": 0.4}
REAL = HeldOut(50, 0.2, QUANTILES)
LOW = HeldOut(50, -0.6, {name: value - 0.9 for name, value in QUANTILES.items()})
WELL = TargetSummary(50, MeanIus(0.15, 0.1, 0.2), (), ceiling=REAL, floor=LOW, most_like={"a": 50, "b": 0})

CASES = {
    "overlap": (replace(WELL, floor=REAL, classes_overlap=True), "does not tell the class"),
    "far outside": (replace(WELL, out_of_distribution=True), "lie far outside real ones"),
    "inverted": (replace(WELL, out_of_distribution=True, inverted=True), "look like negatives of real images"),
    "above": (replace(WELL, ius=MeanIus(0.35, 0.3, 0.4)), "they are more typical of the class"),
    "far above": (replace(WELL, ius=MeanIus(0.9, 0.8, 0.95)), "above 95 % of real ones"),
    "copies": (replace(WELL, diversity=0.125), "nearly copies of each other"),
}


def notes_of(model: Path, targets: dict[str, TargetSummary]) -> list[str]:
    return set_notes(iuscore.load(model), targets, TextCounts(), 100)


@pytest.mark.parametrize("kind", CASES)
def test_one_note_of_both_classes(texture: Path, kind: str) -> None:
    entry, words = CASES[kind]
    assert notes_of(texture, {"a": WELL, "b": replace(WELL, most_like={"a": 0, "b": 50})}) == []
    other = replace(entry, most_like={"a": 0, "b": 50})
    (both,) = notes_of(texture, {"a": entry, "b": other})
    assert words in both
    assert re.search("(against|compared with) a and b ", both)
    (one,) = notes_of(texture, {"a": WELL, "b": other})
    assert words in one
    assert re.search("(against|compared with) b ", one)


def test_each_class_has_its_numbers(texture: Path) -> None:
    high = {
        "a": replace(WELL, ius=MeanIus(0.31, 0.3, 0.4)),
        "b": replace(WELL, ius=MeanIus(0.36, 0.3, 0.4), most_like={"a": 0, "b": 50}),
    }
    (note,) = notes_of(texture, high)
    assert "score 0.31 and 0.36 on average, held-out real ones 0.20 and 0.20: " in note
    mixed = mixture_of_sets({"a": {"a": 30, "b": 20}, "b": {"a": 20, "b": 30}}, {"a": 1.0, "b": 1.0})
    assert mixed is not None
    assert mixed.split(":")[0] == "the images compared with a (a 30, b 20) and b (b 30, a 20) may mix classes"


def test_of_many_classes_it_says_how_many() -> None:
    references = {f"c{i}": (REAL, REAL) for i in range(150)}
    note = separation_of_classes(references)
    assert note is not None
    assert f"against c0, c1, c2, c3, c4 and {150 - MAX_NAMED} others does not tell the class" in note
    assert len(note) < 400


def test_negatives_are_said_to_be_some(tmp_path: Path) -> None:
    for part, classes in (("real", ("normal", "abnormal")), ("negatives", ("normal",))):
        for name in classes:
            (tmp_path / part / name).mkdir(parents=True)
            pixels = phantoms.draw("radiograph", "abnormal" if name == "abnormal" else "normal", 30, size=48, seed=3)
            for i, image in enumerate(pixels[..., 0]):
                Image.fromarray(image if part == "real" else 255 - image).save(tmp_path / part / name / f"{i}.png")
    options = TextureOptions(size=(48, 48))
    model = fit(open_splits(tmp_path / "real"), tmp_path / "model", model="texture", model_options=options).folder
    scorer = iuscore.load(model)
    found = {part: score_source(scorer, tmp_path / part / "normal", tmp_path / f"{part}_scores", target="normal")
             for part in ("real", "negatives")}  # fmt: skip
    for part, run in found.items():
        entry = run.summary.targets["normal"]
        assert entry.inverted == entry.out_of_distribution == (part == "negatives")
        assert entry.joint_distance_from_real is not None
        assert any("look like negatives" in note for note in run.summary.notes) == (part == "negatives")
        assert not any("lie far outside" in note for note in run.summary.notes)


def test_exact_copies_are_counted_among_the_images_looked_at() -> None:
    few = replace(WELL, n=9999, n_compared=1600, n_identical=2)
    assert not few.repeats_itself
    many = replace(few, n_identical=801)
    assert many.repeats_itself
    assert doubt_of(many).startswith("of little meaning: they are nearly copies of each other")
    assert doubt_of(few) == ""


def test_exact_copies_have_one_note(texture: Path) -> None:
    some = replace(WELL, n_compared=50, n_identical=2)
    other = replace(some, n_identical=3, most_like={"a": 0, "b": 50})
    assert notes_of(texture, {"a": some, "b": other}) == [
        "of the images compared with a and b, 2 of 50 and 3 of 50 examined ones are copies of another image: a copy "
        "adds nothing new, but the interval counts it as one more image"
    ]
