"""Every sentence about a score, and when it is left out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import iuscore
from iuscore.features import GroupChange
from iuscore.scoring import ComponentReason, Explanation, MeanIus, TargetSummary
from iuscore.scoring.words import Resolution, change_lines, diversity_line, label_notes, shift_line
from tests.fixtures import Command


def change(name: str, statistic: str, shift: float, moved: float | None = None) -> GroupChange:
    return GroupChange(name, abs(shift) if moved is None else moved, f"{name} {statistic}", shift, 0.5, f"it is {name}")


class TestChanges:
    def test_farthest_first_and_the_rest_by_name(self) -> None:
        names = ("lightness", "hue", "saturation", "coarse-fine", "direction", "light-dark")
        found = [change(name, "mean", 1.0 + i) for i, name in enumerate(names)]
        said = change_lines([*found, change("red-green", "mean", 0.4)], "benign", 9)
        assert (
            said[0] == "what changed, compared with real benign (1 spread = the standard deviation among its images):"
        )
        assert said[1:] == [
            "  it is light-dark: light-dark mean 6.0 spreads higher",
            "  it is direction: direction mean 5.0 spreads higher",
            "  it is coarse-fine: coarse-fine mean 4.0 spreads higher",
            "  it is saturation: saturation mean 3.0 spreads higher",
            "  others beyond chance: hue, lightness",
        ]

    @pytest.mark.parametrize(
        ("one", "other", "together"),
        [
            (("homogeneity", 3.0), ("homogeneity", 2.0), True),
            (("homogeneity", 3.0), ("mean difference", -2.0), True),  # both mean that pixels differ less
            (("homogeneity", 3.0), ("difference", 2.0), False),
            (("homogeneity", 3.0), ("homogeneity", -2.0), False),
        ],
    )
    def test_two_scales_share_a_line_where_they_say_the_same(
        self, one: tuple[str, float], other: tuple[str, float], together: bool
    ) -> None:
        said = change_lines([change("fine-contrast", *one), change("broad-contrast", *other)], "a", 9)
        assert len(said) == (2 if together else 3)
        assert "fine-contrast homogeneity 3.0 spreads higher" in said[1]

    def test_regularity_is_two_things(self) -> None:
        found = [change("fine-regularity", "energy", 3.0), change("broad-regularity", "correlation", -2.0)]
        assert len(change_lines(found, "a", 9)) == 3
        assert len(change_lines([found[0], change("broad-regularity", "entropy", -2.0)], "a", 9)) == 2

    def test_small_changes_of_large_sets(self) -> None:
        small = replace(change("hue", "mean", -0.4), noise=0.05)
        heading = change_lines([small], "a", 9999)[0]
        assert heading.startswith(
            "what changed, compared with real a, by less than its images differ from each other ("
        )

    @pytest.mark.parametrize(
        ("n", "words"),
        [
            (1, "what single real images show"),
            (12, "what real sets of 12 images show by chance"),
            (
                7,
                "what real sets of 7 images show by chance; with so few images, only large changes can be told from "
                "chance",
            ),
        ],
    )
    def test_changes_within_chance_are_not_named(self, n: int, words: str) -> None:
        (line,) = change_lines([change("hue", "mean", 0.3)], "a", n)
        assert line == f"what changed, compared with real a: nothing beyond {words}"

    def test_unknown_changes_are_called_unknown(self) -> None:
        assert change_lines([change("hue", "mean", float("nan"))], "a", 1) == [
            "what changed, compared with real a: unknown"
        ]


def test_the_contribution_farthest_from_real_is_named() -> None:
    assert shift_line("x", 1e9, "a").split(": ")[1].startswith("x, more than 100 spreads higher")


@pytest.mark.parametrize(
    ("nearest", "n", "words"),
    [
        (0.256, 30, "diversity: 0.26 times that of real a ("),
        (None, 24, "diversity: not measured: that takes at least 25 images"),
        (None, 25, "diversity: not measured: the model was fitted to fewer than 25 images of a"),
    ],
)
def test_diversity_is_given_or_the_reason_why_not(nearest: float | None, n: int, words: str) -> None:
    assert diversity_line(nearest, "a", n).startswith(words)


class TestLabels:
    CLASSES = ("benign", "malignant")

    def notes(self, doubtful: tuple[str, ...] = (), **ways: float | None) -> list[str]:
        targets = {name: TargetSummary(9, MeanIus(0.0), (), toward_other=way) for name, way in ways.items()}
        return label_notes(targets, self.CLASSES, doubtful)

    def test_one_class_near_the_other_may_be_swapped(self) -> None:
        (note,) = self.notes(benign=0.96)
        assert note.startswith("labels may be swapped: ")
        assert "96 % of the way from real benign to real malignant" in note
        assert self.notes(benign=0.96, malignant=0.1) == [note]

    def test_a_mixture_is_told_from_swapped_labels(self) -> None:
        for own, begins in (
            (300, "the images compared with benign may mix classes, or "),
            (30, "labels may be swapped: "),
        ):
            most_like = {"benign": own, "malignant": 1000 - own}
            entry = TargetSummary(1000, MeanIus(0.0), (), toward_other=1.2, most_like=most_like)
            (note,) = label_notes({"benign": entry}, self.CLASSES)
            assert note.startswith(begins)
            assert "100 % of the way from real benign to real malignant" in note

    def test_both_classes_near_the_other_are_probably_swapped(self) -> None:
        (note,) = self.notes(benign=0.96, malignant=0.8)
        assert note.startswith(
            "labels are probably swapped: to the model, the images compared with benign and malignant lie 96 %"
        )
        assert "96 % and 80 % of the way" in note

    def test_no_note_below_one_half_or_of_other_numbers_of_classes(self) -> None:
        assert self.notes(benign=0.49, malignant=None) == []
        assert self.notes(benign=-3.0) == []
        assert self.notes(("benign",), benign=0.96) == []
        assert label_notes({"a": TargetSummary(9, MeanIus(0.0), (), toward_other=0.9)}, ("a", "b", "c")) == []

    def test_notes_on_labels_are_printed(self, texture: Path, command: Command, tmp_path: Path) -> None:
        """The images of each class lie in the folder of the other class."""
        real = texture.parent / "real"
        for name, source in (("a", "b"), ("b", "a")):
            (tmp_path / "swapped").mkdir(exist_ok=True)
            (tmp_path / "swapped" / name).symlink_to(next(real.rglob(source)), target_is_directory=True)
        right = command("score", texture, real, "--target", "from-folder", "--out", tmp_path / "r", "--quiet")
        assert "swapped" not in right.out
        for target, words in (("from-folder", "labels are probably swapped"), ("a", None)):
            images = tmp_path / "swapped" if target == "from-folder" else tmp_path / "swapped" / "a"
            ran = command("score", texture, images, "--target", target, "--out", tmp_path / target, "--quiet")
            assert f"note: {words or 'labels may be swapped'}: " in ran.out


class TestResolution:
    def test_the_lost_detail_of_one_size_is_named(self) -> None:
        seen = Resolution((128, 128))
        seen.add([512, 512], [512, 512])
        assert seen.note() == "images are 512x512, measured at 128x128: detail finer than 4 pixels is not seen"

    def test_some_sizes_in_any_order(self) -> None:
        notes = set()
        sizes = [(100, 80), (300, 200), (0, 0), (128, 1280), (64, 64)]
        for order in (sizes, sizes[::-1]):
            seen = Resolution((128, 128))
            for width, height in order:
                seen.add([width], [height])
            notes.add(seen.note())
        assert notes == {
            "2 of 4 images are 300x200 to 128x1280, measured at 128x128: detail finer than 2.3 to 10 pixels is not seen"
        }

    def test_sizes_of_models_are_height_before_width(self) -> None:
        seen = Resolution((64, 128))
        seen.add([128], [64])
        assert seen.note() is None
        seen.add([64], [128])
        assert seen.note() == "1 of 2 images are 64x128, measured at 128x64: detail finer than 2 pixels is not seen"

    @pytest.mark.parametrize("sizes", [[], [(0, 0)], [(128, 128), (128, 90)]])
    def test_images_of_the_size_of_the_model_lose_nothing(self, sizes: list[tuple[int, int]]) -> None:
        seen = Resolution((128, 128))
        seen.add([w for w, _ in sizes], [h for _, h in sizes])
        assert seen.note() is None

    def test_enlarged_images_are_named(self) -> None:
        seen = Resolution((128, 128))
        seen.add([128, 5], [128, 7])
        assert seen.note() == (
            "1 of 2 images are smaller than 128x128, the size at which the model measures: enlarging softens "
            "their edges, which matters where the real images were larger"
        )

    def test_the_lost_detail_is_printed(self, texture: Path, command: Command, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (96, 64, 3), dtype=np.uint8)
        (tmp_path / "images").mkdir()
        Image.fromarray(noise).save(tmp_path / "images" / "x.png")
        (tmp_path / "images" / "broken.png").write_text("no image")
        ran = command("score", texture, tmp_path / "images", "--target", "a", "--out", tmp_path / "s", "--quiet")
        note = "images are 64x96, measured at 32x32: detail finer than 3 pixels is not seen"
        assert f"note: {note}\n" in ran.out
        assert note in json.loads((tmp_path / "s" / "summary.json").read_text())["notes"]


class TestExplanation:
    def why(self, changes: tuple[GroupChange, ...] | None = None, n: int = 1) -> Explanation:
        reasons = (ComponentReason("lightness", 0.5, -0.25, -0.1, -3.0), ComponentReason("hue", 1.0, 1.0, 0.5, None))
        return Explanation("benign", 0.4, reasons, changes, None, n)

    def test_an_explanation_prints_as_a_table(self) -> None:
        assert str(self.why()).splitlines() == [
            "1 image against real benign: IUS 0.400",
            "component  contribution  of real  difference  share    shift",
            "lightness         -0.25    +0.50       -0.75  -0.10     -3.0",
            "hue               +1.00    +1.00       +0.00  +0.50  unknown",
        ]
        said = str(self.why((change("hue", "mean", 2.0), change("lightness", "mean", 0.1)), 20)).splitlines()
        assert said[0] == "20 images against real benign: IUS 0.400"
        assert "shift" not in said[1]
        assert said[-1] == "  it is hue: hue mean 2.0 spreads higher"

    @pytest.mark.parametrize(("toward", "said"), [(0.96, True), (0.5, True), (0.4, False), (None, False)])
    def test_the_way_to_the_other_class(self, toward: float | None, said: bool) -> None:
        text = str(replace(self.why(), toward_other=toward))
        assert ("of the way to the other class" in text) == said
        assert toward != 0.96 or text.endswith("taken together: 96 % of the way to the other class")

    def test_the_repr_is_one_line(self) -> None:
        assert repr(self.why()) == "Explanation(target='benign', ius=0.400, n=1, read_first='lightness')"

    def test_to_dict_has_none_for_nan(self) -> None:
        nan = float("nan")
        found = self.why((change("hue", "mean", 2.0), change("lightness", "mean", nan, nan)), 20).to_dict()
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        assert (found["target"], found["ius"], found["n"], found["read_first"]) == ("benign", 0.4, 20, "hue")
        assert found["components"]["lightness"]["difference"] == -0.75
        assert found["changes"]["hue"]["words"] == "it is hue"
        assert found["changes"]["hue"]["beyond_chance"] is True
        assert found["changes"]["lightness"]["shift"] is None
        assert self.why().to_dict()["changes"] is None

    def test_noise_falls_with_the_number_of_images(self, texture: Path) -> None:
        scorer = iuscore.load(texture)
        images = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
        one, _ = scorer.explain(images, target="a")
        said = str(one).splitlines()
        assert [line.split()[0] for line in said[2 : 2 + len(scorer.components)]] == list(scorer.components)
        assert "what changed, compared with real a" in str(one)
        scores = scorer(images, target=0)
        assert scores.features is not None
        parts: list[Any] = [scores.contributions.numpy(), scores.shares.numpy(), scores.features.numpy().mean(0)]
        assert scorer.explained("a", *parts) == scorer.explained(0, *parts)
        assert scorer.explained("a", *parts).n == 2
        few, many = (scorer.explained("a", *parts, n=n).changes or () for n in (2, 2000))
        assert few[0].noise > many[0].noise
