"""Sets side by side: their order and whether it can be told, what they add, which images are shown, and the words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from iuscore import UserError, phantoms
from iuscore.explain.compare import Comparison, Gain, Pair, ScoredSet, compare_sets
from iuscore.explain.compare.gains import gains
from iuscore.explain.compare.gallery import shown_images
from iuscore.explain.compare.ranking import ranked_pairs, resampled_transfers, ties_of
from iuscore.explain.compare.sentences import lines_of, words_of
from iuscore.explain.compare.sets import completed
from iuscore.explain.value import ReferenceViews, SetValue
from iuscore.explain.value.of_images import values_of_rows
from iuscore.explain.value.of_sets import set_value_of_rows
from iuscore.explain.value.views import VIEWS
from iuscore.models.record import Figures, HeldOut, ModelRecord, Profile
from iuscore.phantoms import Defects

CLASSES = ("normal", "abnormal")
COMPONENTS = ("edges", "grain")


def separable(seed: int, n: int, gap: float = 2.0) -> tuple[dict[Any, Any], Any]:
    """Rows of every view whose classes differ in the first column by ``gap``."""
    rng, labels = np.random.default_rng(seed), np.arange(n) % 2
    rows = {view: rng.normal(size=(n, 64 if view != "texture" else 76)).astype(np.float32) for view in VIEWS}
    for view in VIEWS:
        rows[view][:, 0] += gap * labels
    return rows, labels


def scored(name: str, rows: Any, labels: Any, **others: Any) -> ScoredSet:
    n, rng = len(labels), np.random.default_rng(0)
    given: dict[str, Any] = {
        "uids": tuple(f"{CLASSES[k]}/{i}.png" for i, k in enumerate(labels)), "groups": None,
        "ius": rng.uniform(-1, 1, n), "probabilities": np.full((n, 2), 0.5),
        "contributions": rng.normal(size=(n, len(COMPONENTS))), "n_listed": n, "n_unreadable": 0,
    }  # fmt: skip
    return ScoredSet(name, f"/sets/{name}", labels=labels, rows=rows, classes=CLASSES, components=COMPONENTS,
                     **{**given, **others})  # fmt: skip


@pytest.fixture(scope="module")
def drawn() -> ReferenceViews:
    """Real images, as views that no image stands behind."""
    images = np.concatenate([phantoms.draw("radiograph", c, 12, size=32) for c in CLASSES])
    small = ReferenceViews.fit(images, np.repeat([0, 1], 12), CLASSES, size=(32, 32))
    rows, labels = separable(1, 240)
    record = replace(small.record, counts=(120, 120), uids=tuple(f"real/{i}.png" for i in range(240)))
    return replace(small, record=record, rows=rows, labels=labels, groups=np.arange(240))


QUANTILES = {"0.05": -0.9, "0.25": -0.1, "0.5": 0.1, "0.75": 0.5, "0.95": 0.9}
MODEL = ModelRecord(
    kind="texture",
    profiles={"paper": {c: Profile((0.0, 0.0), (1.0, 1.0), None, None, 50, ((0.0, 0.0),)) for c in CLASSES}},
    ceiling={"paper": {c: HeldOut(20, 0.4, QUANTILES) for c in CLASSES}},
    floor={"paper": {c: HeldOut(20, -0.2, QUANTILES) for c in CLASSES}},
    validation=Figures(40, 0.9),
)


def value_of(reference: ReferenceViews, given: ScoredSet) -> SetValue:
    return set_value_of_rows(reference, given.rows, given.labels, resampled=20, splits=2, trees=False)


class TestOrder:
    def test_a_better_set_is_told_from_a_worse_one(self, drawn: ReferenceViews) -> None:
        good, noise = scored("good", *separable(2, 200)), scored("noise", *separable(3, 200, gap=0.0))
        values = {each.name: value_of(drawn, each) for each in (good, noise)}
        (pair,) = ranked_pairs(values, resampled_transfers(drawn, [good, noise]))
        assert (pair.first, pair.second, pair.told) == ("good", "noise", True)
        assert pair.low <= pair.difference <= pair.high

    def test_sets_of_one_distribution_are_seldom_told_apart(self, drawn: ReferenceViews) -> None:
        """At most 5 % of pairs, and 3 standard errors of 60 pairs more."""
        told = 0
        for seed in range(60):
            sets = [scored(name, *separable(100 + 2 * seed + i, 120)) for i, name in enumerate("ab")]
            values = {each.name: set_value_of_rows(drawn, each.rows, each.labels, resampled=0, splits=0, trees=False)
                      for each in sets}  # fmt: skip
            (pair,) = ranked_pairs(values, resampled_transfers(drawn, sets, 60))
            told += pair.told
        assert told <= 60 * (0.05 + 3 * np.sqrt(0.05 * 0.95 / 60))

    def test_groups_of_images_widen_the_interval(self, drawn: ReferenceViews) -> None:
        rows, labels = separable(5, 40)
        many = {view: np.repeat(each, 10, axis=0) for view, each in rows.items()}
        apart = scored("apart", many, np.repeat(labels, 10))
        together = scored("together", many, np.repeat(labels, 10), groups=np.repeat(np.arange(40), 10))
        found = resampled_transfers(drawn, [apart, together], 80)
        assert found["together"].std() > 1.5 * found["apart"].std()

    def test_an_order_against_the_expected_auroc_is_not_told(self, drawn: ReferenceViews) -> None:
        values = {name: value_of(drawn, scored(name, *separable(6, 100))) for name in "ab"}
        values["a"] = replace(values["a"], transfer=replace(values["a"].transfer, value=0.9))
        values["b"] = replace(values["b"], pix4=replace(values["b"].pix4, value=0.99))
        (pair,) = ranked_pairs(values, {"a": np.full(9, 0.9), "b": np.full(9, 0.1)})
        assert (pair.first, pair.agrees, pair.told) == ("a", False, False)
        assert ties_of("b", [pair]) == ("a",)


class TestGains:
    def test_a_good_set_adds_to_few_real_images_and_less_to_many(self, drawn: ReferenceViews) -> None:
        found = {(gain.n_real, gain.n_set): gain for gain in gains(drawn, scored("good", *separable(7, 400)))}
        assert {n for n, part in found if part is None} == {10, 25, 50}
        assert {part for n, part in found if n == 50} == {None, 50, 100}
        assert found[10, None].gain > 0.05
        assert found[10, None].gain > found[50, None].gain
        assert found[10, None].low < found[10, None].gain < found[10, None].high

    def test_a_set_with_swapped_labels_harms(self, drawn: ReferenceViews) -> None:
        rows, labels = separable(8, 400)
        found = gains(drawn, scored("swapped", rows, 1 - labels))
        assert found[0].n_real == 10
        assert found[0].high < 0

    def test_a_reference_that_cannot_be_split_gives_none(self, drawn: ReferenceViews) -> None:
        alone = replace(drawn, groups=np.zeros(240, np.int64))
        assert gains(alone, scored("good", *separable(7, 40))) == ()


class TestGallery:
    def test_images_are_shown_for_what_is_true_of_them(self, drawn: ReferenceViews) -> None:
        rows, labels = separable(9, 100)
        for view in VIEWS:
            rows[view][90] = rows[view][0]  # a copy within the set
            rows[view][91] = drawn.rows[view][1]  # a copy of a real image
        given = scored("set", rows, labels)
        values = values_of_rows(drawn, rows, labels)
        found = {image.uid: image for image in shown_images(drawn, given, values)}
        assert "copy" in found["normal/0.png"].reasons
        assert "copy of real" in found["abnormal/91.png"].reasons
        assert found["abnormal/91.png"].nearest_real == "real/1.png"
        assert "a near copy of a real image" in found["abnormal/91.png"].words
        for k, name in enumerate(CLASSES):
            best = [image for image in found.values() if "best" in image.reasons and image.target == name]
            worst = [image for image in found.values() if "worst" in image.reasons and image.target == name]
            assert len(best) == len(worst) == 4
            assert max(image.value for image in worst) < min(image.value for image in best)
            places = values.place[(labels == k)]
            assert min(image.value for image in worst) == pytest.approx(places.min())
        wrong = {image.uid for image in found.values() if "contradicted" in image.reasons}
        assert wrong <= {uid for uid, flag in zip(given.uids, values.contradicted, strict=True) if flag}

    def test_a_score_that_is_missing_is_missing(self, drawn: ReferenceViews) -> None:
        rows, labels = separable(9, 20)
        given = scored("set", rows, labels, ius=np.full(20, np.nan), probabilities=np.full((20, 2), np.nan))
        found = shown_images(drawn, given, values_of_rows(drawn, rows, labels))
        assert {(image.ius, image.confidence) for image in found} == {(None, None)}


@pytest.fixture(scope="module")
def comparison(drawn: ReferenceViews) -> Comparison:
    rows, labels = separable(10, 200)
    sets = [
        scored("noise", *separable(11, 160, gap=0.0)), scored("good", rows, labels),
        scored("swapped", *((lambda rows, labels: (rows, 1 - labels))(*separable(12, 200)))),
    ]  # fmt: skip
    return compare_sets(drawn, sets, MODEL, real="/real", command="iuscore compare")


class TestComparison:
    def test_the_most_useful_comes_first(self, comparison: Comparison) -> None:
        assert [each.name for each in comparison.sets] == ["good", "noise", "swapped"]
        assert [each.place for each in comparison.sets] == [1, 2, 3]
        good = (
            "A guess, for the reasons given. " * bool(comparison.doubts)
            + "good is the most useful of 3 sets (transfer "
        )
        assert comparison.verdict.startswith(good)
        assert comparison.sets[2].verdict == "swapped teaches the wrong thing: its labels may be swapped"
        assert comparison.sets[1].verdict == "noise cannot be told from images with labels in random order"
        assert len(comparison.pairs) == 3

    def test_a_record_can_be_read_again(self, comparison: Comparison) -> None:
        import json

        assert Comparison.from_json(json.loads(json.dumps(comparison.to_json()))) == comparison

    def test_measures_stand_beside_held_out_references(self, comparison: Comparison) -> None:
        controls = comparison.sets[0].controls
        assert (controls["ius"].real, controls["ius"].swapped) == (0.4, pytest.approx(-0.2))
        assert controls["confidence"].value == 0.5
        assert controls["frechet distance"].real is not None
        assert comparison.model_auroc == 0.9

    def test_contradicted_labels_are_counted(self, comparison: Comparison) -> None:
        counts = {each.name: sum(each.n_contradicted.values()) for each in comparison.sets}
        assert counts["good"] < counts["noise"] < counts["swapped"]
        assert any(problem.startswith("labels: ") for problem in comparison.sets[2].problems)

    def test_lines_say_the_verdict_first(self, comparison: Comparison) -> None:
        lines = lines_of(comparison)
        assert lines[0] == comparison.verdict
        assert "1. good: 200 images" in lines

    def test_names_and_classes_are_checked(self, drawn: ReferenceViews) -> None:
        one = scored("a", *separable(1, 20))
        with pytest.raises(UserError, match="expected one or more, with different names, got a, a"):
            compare_sets(drawn, [one, one], MODEL)
        labels = np.zeros(20, np.int64)
        labels[0] = 1
        with pytest.raises(UserError, match="a: expected at least 2 images of each class, got 1 of 'abnormal'"):
            compare_sets(drawn, [scored("a", one.rows, labels)], MODEL)


class TestSetsOfOneClass:
    def test_real_images_of_the_other_half_stand_in(self, drawn: ReferenceViews) -> None:
        rows, labels = separable(20, 120)
        mine = np.flatnonzero(labels == 1)
        one = scored("one", {view: each[mine] for view, each in rows.items()}, labels[mine])
        whole = scored("whole", rows, labels)
        judge, (with_real, same) = completed(drawn, [one, whole])
        assert same is whole
        assert len(judge.labels) == 120
        assert judge.record.counts == (60, 60)
        assert (int(with_real.real.sum()), len(with_real)) == (60, 120)  # type: ignore[union-attr]
        added = {row.tobytes() for row in with_real.rows["texture"][60:]}
        assert not added & {row.tobytes() for row in judge.rows["texture"]}
        assert set(with_real.labels[60:]) == {0}
        assert with_real.only(with_real.own).uids == one.uids

    def test_complete_sets_are_judged_by_all_real_images(self, drawn: ReferenceViews) -> None:
        whole = scored("whole", *separable(20, 120))
        judge, _ = completed(drawn, [whole])
        assert judge is drawn

    def test_a_good_class_is_told_from_a_wrong_one(self, drawn: ReferenceViews) -> None:
        rows, labels = separable(21, 200)
        sets = [scored(name, {view: each[labels == k] for view, each in rows.items()}, np.ones(100, np.int64))
                for k, name in enumerate(("wrong", "right"))]  # fmt: skip
        found = compare_sets(drawn, sets, MODEL)
        assert [each.name for each in found.sets] == ["right", "wrong"]
        assert found.sets[0].n == 100
        assert "together with real images of normal" in found.sets[0].verdict
        assert {image.target for each in found.sets for image in each.images} == {"abnormal"}
        assert [part.target for part in found.sets[0].coverage] == ["abnormal"]
        assert found.sets[0].n_contradicted["normal"] == 0
        assert found.sets[0].value.counts == (0, 100)
        assert found.sets[0].controls["ius"].real == pytest.approx(0.4)

    def test_a_reference_that_cannot_be_halved_is_refused(self, drawn: ReferenceViews) -> None:
        alone = replace(drawn, groups=np.zeros(240, np.int64))
        rows, _ = separable(21, 20)
        with pytest.raises(UserError, match="cannot be halved to stand in"):
            completed(alone, [scored("one", rows, np.ones(20, np.int64))])


def test_a_gain_that_most_real_images_do_not_show_is_said_for_few() -> None:
    images = np.concatenate([phantoms.draw("radiograph", c, 30, size=32) for c in CLASSES])
    reference = ReferenceViews.fit(images, np.repeat([0, 1], 30), CLASSES, size=(32, 32))
    value = set_value_of_rows(reference, reference.rows, reference.labels, resampled=5, splits=2, trees=False)
    found = [Gain(10, 0.6, 0.1, 0.05, 0.15), Gain(25, 0.7, 0.01, -0.02, 0.04), Gain(50, 0.8, 0.05, 0.01, 0.09),
             Gain(50, 0.8, 0.048, 0.0, 0.09, 70), Gain(100, 0.85, 0.0, -0.1, 0.1)]  # fmt: skip
    words = words_of(scored("set", *separable(1, 20)), value, found, (), (), (), {}, 0)
    assert words.use_for == (
        "adding it to up to 50 real images of each class: at that number small learners gain 0.050 AUROC "
        "[0.010, 0.090]",
        "70 images of each class are enough: the whole set adds hardly more",
    )
    assert words.not_for[0] == "a gain beside 100 real images of each class or more: none was found"


def test_faults_of_both_classes_are_named() -> None:
    """A contrast difference cannot see them, since both classes move alike."""

    def images(seed: int, **dials: float) -> Any:
        return np.concatenate([
            phantoms.draw("radiograph", c, 60, size=48, seed=seed, defects=Defects(**dials)) for c in CLASSES
        ])  # fmt: skip

    labels = np.repeat([0, 1], 60)
    reference = ReferenceViews.fit(images(0), labels, CLASSES, size=(48, 48))
    blurred = scored("blurred", reference.embed(images(1, blur=1.0)), labels, far_outside=("normal", "abnormal"))
    found = compare_sets(reference, [blurred, scored("faithful", reference.embed(images(2)), labels)], MODEL)
    problems = {each.name: each.problems for each in found.sets}
    assert problems["blurred"][0] == "images of normal and abnormal lie far outside real images of any class"
    assert any(
        "edges are softer" in problem or "fine grain is weaker" in problem for problem in problems["blurred"][1:4]
    )
    assert problems["blurred"][1].endswith("spreads higher than in real images)")
    assert not any("than in real images)" in problem for problem in problems["faithful"])


def test_copies_of_real_images_are_named(drawn: ReferenceViews) -> None:
    given = scored("copies", drawn.rows, drawn.labels)
    (found,) = compare_sets(drawn, [given], MODEL).sets
    assert any(problem.startswith("100 % of the images are near copies of real images") for problem in found.problems)
    assert "privacy: 240 images are near copies of a real image" in found.problems
    assert any("near copies of real images" in line for line in found.value.lines)


def test_sets_without_a_use_are_not_recommended(drawn: ReferenceViews) -> None:
    rows, labels = separable(12, 200)
    found = compare_sets(drawn, [scored("swapped", rows, 1 - labels)], MODEL)
    assert "The set is not recommended for training. swapped teaches the wrong thing" in found.verdict
    assert "the set teaches the wrong thing: its labels may be swapped" in found.sets[0].value.lines


def test_texture_lost_in_one_class_is_named(tmp_path: Any) -> None:
    """Phantoms: the set whose abnormal images are too smooth comes second, and the fault is named."""

    def images(seed: int, **dials: float) -> Any:
        return np.concatenate([
            phantoms.draw("radiograph", "normal", 60, size=48, seed=seed),
            phantoms.draw("radiograph", "abnormal", 60, size=48, seed=seed, defects=Defects(**dials)),
        ])  # fmt: skip

    labels = np.repeat([0, 1], 60)
    reference = ReferenceViews.fit(images(0), labels, CLASSES, size=(48, 48))
    sets = [scored("smooth", reference.embed(images(1, texture_loss=0.8)), labels),
            scored("faithful", reference.embed(images(2)), labels)]  # fmt: skip
    found = compare_sets(reference, sets, MODEL)
    assert found.sets[0].name == "faithful"
    assert any("contrast" in problem and "images of abnormal alone" in problem for problem in found.sets[1].problems)
    assert Pair in {type(pair) for pair in found.pairs}
