"""Sets and images beside real ones: phantoms with known defects, controls, intervals, records, bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from iuscore import UserError, phantoms
from iuscore.explain.value import (
    LEARNABLE,
    ImageValues,
    Measure,
    ReferenceViews,
    SetValue,
    image_values,
    set_value,
)
from iuscore.explain.value.learners import auroc
from iuscore.explain.value.linear import ClassMoments, discriminants, macro_transfer
from iuscore.features import FEATURES
from iuscore.phantoms import Defects

N, SIDE = 60, 48
CLASSES = ("normal", "abnormal")
LABELS = np.repeat([0, 1], N)

CHANCE = 0.3
"""T that a direction drawn at random hardly reaches: its cosine has a standard deviation of 1/8 in 64 dimensions."""

pytestmark = pytest.mark.usefixtures("one_thread")


def drawn(kind: Any = "radiograph", seed: int = 1, only: str | None = None, **dials: float) -> np.ndarray[Any, Any]:
    """A set, its defects in both classes or in one."""
    defects = {label: Defects(**dials) if only in (None, label) else Defects() for label in CLASSES}
    return np.concatenate(
        [phantoms.draw(kind, label, N, size=SIDE, seed=seed, defects=defects[label]) for label in CLASSES]
    )


def brighter(seed: int) -> np.ndarray[Any, Any]:
    """A set whose classes no learner confuses."""
    images = drawn(seed=seed)
    images[LABELS == 1] = np.clip(images[LABELS == 1].astype(int) + 60, 0, 255)
    return images


def of(reference: ReferenceViews, images: Any, labels: Any = LABELS, **options: Any) -> SetValue:
    return set_value(reference, images, labels, **{"resampled": 0, "splits": 0, "trees": False} | options)


@pytest.fixture(scope="module")
def real() -> ReferenceViews:
    return ReferenceViews.fit(drawn(seed=0), LABELS, CLASSES, size=(SIDE, SIDE))


@pytest.fixture(scope="module")
def colored() -> ReferenceViews:
    return ReferenceViews.fit(drawn("endoscopy", seed=0), LABELS, CLASSES, size=(SIDE, SIDE))


@pytest.fixture(scope="module")
def clean(real: ReferenceViews) -> SetValue:
    return of(real, drawn(), resampled=40, splits=4, trees=True)


@pytest.mark.parametrize("kind", ["radiograph", "endoscopy"])
@pytest.mark.parametrize(
    ("dial", "strengths"), [("lesion_contrast", (0.0, 0.25, 0.5)), ("swapped_labels", (0.0, 0.25, 0.5, 0.75, 1.0))]
)
def test_value_falls_with_the_strength_of_a_defect(
    kind: str, dial: str, strengths: tuple[float, ...], request: pytest.FixtureRequest
) -> None:
    reference = request.getfixturevalue("real" if kind == "radiograph" else "colored")
    found = [of(reference, drawn(kind, **{dial: strength})) for strength in strengths]
    for pick in ("transfer", "pix4", "label_agreement"):
        values = [getattr(each, pick).value for each in found]
        assert values == sorted(values, reverse=True), pick
        assert values[0] - values[-1] > 0.1
    assert abs(found[strengths.index(0.5)].transfer.value) < CHANCE  # no lesion, or labels that say nothing


def test_exchanged_labels_teach_the_wrong_thing(real: ReferenceViews) -> None:
    found, swapped = of(real, drawn()), of(real, drawn(), 1 - LABELS)
    assert found.transfer.value > 0.3
    assert swapped.transfer.value == pytest.approx(-found.transfer.value)
    assert swapped.pix4.value == pytest.approx(1 - found.pix4.value)


@pytest.mark.parametrize(
    ("kind", "dials", "groups"),
    [
        ("radiograph", {"blur": 0.6}, {"fine-contrast", "fine-regularity", "coarse-fine"}),
        ("radiograph", {"texture_loss": 0.6}, {"fine-contrast", "fine-regularity", "coarse-fine"}),
        ("endoscopy", {"texture_loss": 0.6}, {"fine-contrast", "fine-regularity", "coarse-fine"}),
        ("endoscopy", {"color_cast": 0.6}, {"hue", "blue-yellow", "saturation", "red-green"}),
    ],
)
@pytest.mark.parametrize("only", CLASSES)
def test_a_defect_of_one_class_is_named_with_its_class(
    kind: str, dials: dict[str, float], groups: set[str], only: str, request: pytest.FixtureRequest
) -> None:
    reference = request.getfixturevalue("real" if kind == "radiograph" else "colored")
    found = of(reference, drawn(kind, only=only, **dials), splits=3)
    first = found.contrast[0]
    assert first.group in groups
    assert first.sides == (only,)
    assert first.beyond_chance
    assert (first.target, first.other) == ("abnormal", "normal")
    assert first.words in first.line
    assert f"images of {only} alone moved" in first.line
    feature = next(f for f in FEATURES[reference.record.kind] if f.name == first.feature)
    assert first.words == feature.words(first.shift)


def test_clean_sets_rarely_have_a_group_beyond_chance(real: ReferenceViews) -> None:
    """About one in nine: of 12 more than 5 with a chance of 1 in 1,000."""
    found = [of(real, drawn(seed=seed), splits=8) for seed in range(10, 22)]
    assert sum(any(each.beyond_chance for each in one.contrast) for one in found) <= 5


def test_a_blurred_class_is_softer_whichever_it_is(real: ReferenceViews) -> None:
    for only, softer in (("abnormal", 1), ("normal", -1)):
        by_group = {each.group: each for each in of(real, drawn(only=only, blur=0.8)).contrast}
        fine = by_group["fine-contrast"]
        homogeneous = -1 if "homogeneity" in fine.feature else 1  # this one falls where contrasts rise
        assert np.sign(fine.shift) == -softer * homogeneous


class TestCopies:
    def test_repeated_images_are_counted(self, real: ReferenceViews) -> None:
        images = drawn()
        images[3:6] = images[2]
        found = image_values(real, images, LABELS)
        assert (found.copies[2:6] == 4).all()
        assert (np.delete(found.copies, range(2, 6)) == 1).all()
        assert of(real, images).near_copies.value == pytest.approx(4 / len(images))

    def test_the_same_image_in_two_classes_is_no_copy(self, real: ReferenceViews) -> None:
        images = drawn()
        images[N] = images[0]
        assert image_values(real, images, LABELS).copies[[0, N]].tolist() == [1, 1]

    def test_copies_of_real_images(self, real: ReferenceViews) -> None:
        images = drawn()
        images[:30] = drawn(seed=0)[:30]
        assert of(real, drawn()).copies_of_real.value == 0
        assert of(real, images).copies_of_real.value == 0.25

    def test_a_collapsed_set_repeats_itself(self, real: ReferenceViews) -> None:
        found = of(real, drawn(mode_collapse=1.0))
        assert found.near_copies.value > 0.9
        assert found.transfer.value < of(real, drawn()).transfer.value


class TestControls:
    def test_labels_that_say_nothing_have_no_transfer(self, clean: SetValue) -> None:
        assert clean.transfer.real is not None
        assert clean.transfer.real > 0.2
        for useless in (clean.transfer.swapped, clean.transfer.shuffled):
            assert abs(useless or 0) < 0.15
        for useless in (clean.pix4.swapped, clean.pix4.shuffled):
            assert useless == pytest.approx(0.5, abs=0.1)

    def test_intervals_hold_the_numbers(self, clean: SetValue) -> None:
        measures = [clean.transfer, clean.pix4, clean.pix5, clean.label_agreement, *clean.learners.values()]
        for each in measures:
            assert each is not None
            assert each.low is not None
            assert each.high is not None
            assert each.low < each.value < each.high
            assert each.high - each.low < 0.4

    def test_means_are_those_of_their_parts(self, clean: SetValue) -> None:
        assert clean.transfer.value == pytest.approx(np.mean([m.value for m in clean.transfer_by_view.values()]))
        names = ["lda thumb", "neighbors thumb", "lda patch", "neighbors patch"]
        assert clean.pix4.value == pytest.approx(np.mean([clean.learners[name].value for name in names]))
        assert clean.pix5 is not None
        assert clean.pix5.value == pytest.approx(np.mean([m.value for m in clean.learners.values()]))
        assert len(clean.learners) == 5

    def test_the_interval_is_narrower_with_more_real_images(self, clean: SetValue, real: ReferenceViews) -> None:
        images = np.concatenate([drawn(seed=seed) for seed in (0, 5, 6, 7)])
        large = ReferenceViews.fit(images, np.tile(LABELS, 4), CLASSES, size=(SIDE, SIDE))
        found = of(large, drawn(), resampled=40).pix4
        assert found.high is not None
        assert found.low is not None
        assert clean.pix4.high is not None
        assert clean.pix4.low is not None
        assert found.high - found.low < 0.75 * (clean.pix4.high - clean.pix4.low)

    def test_groups_widen_the_interval(self, real: ReferenceViews) -> None:
        """Every real image four times in its group is no more than one."""
        places = np.tile(np.concatenate([np.arange(15), N + np.arange(15)]), 4)
        options: dict[str, Any] = {"size": (SIDE, SIDE)}
        images, labels = drawn(seed=0)[places], LABELS[places]
        grouped = ReferenceViews.fit(images, labels, CLASSES, [str(place) for place in places], **options)
        alone = ReferenceViews.fit(images, labels, CLASSES, **options)
        widths = []
        for reference in (grouped, alone):
            found = of(reference, drawn(), resampled=60).pix4
            widths.append((found.high or 0) - (found.low or 0))
        assert widths[0] > 1.5 * widths[1]
        assert of(grouped, drawn()).real_groups == 30


class TestDoubts:
    def test_a_task_that_small_learners_do_not_learn(self, clean: SetValue) -> None:
        assert clean.pix4.real is not None
        assert clean.pix4.real < LEARNABLE
        assert clean.cannot_be_said == (
            f"small learners fitted to real images reach an AUROC of {clean.pix4.real:.2f} on other real images, below "
            "0.8: on such tasks these numbers agreed little with measured usefulness",
        )
        assert clean.lines[0] == f"cannot be said: {clean.cannot_be_said[0]}"

    def test_few_images(self, real: ReferenceViews) -> None:
        few = np.r_[:24, N : 2 * N]
        small = ReferenceViews.fit(drawn(seed=0)[few], LABELS[few], CLASSES, size=(SIDE, SIDE))
        found = of(small, drawn()[few], LABELS[few]).cannot_be_said
        assert found[:2] == (
            "the reference has 24 images of normal, fewer than 50",
            "the set has 24 images of normal, fewer than 25: another draw may have quite another value",
        )
        assert found[2].startswith("real images were not compared with real ones")

    def test_groups_count_not_images(self, real: ReferenceViews) -> None:
        groups = [str(i // 10) for i in range(2 * N)]
        grouped = ReferenceViews.fit(drawn(seed=0), LABELS, CLASSES, groups, size=(SIDE, SIDE))
        assert of(grouped, drawn()).cannot_be_said[0] == "the reference has 6 groups of normal, fewer than 50"

    def test_an_easy_task_is_not_doubted(self) -> None:
        found = of(ReferenceViews.fit(brighter(0), LABELS, CLASSES, size=(SIDE, SIDE)), brighter(3), splits=2)
        assert found.cannot_be_said == ()
        assert found.lines[0].startswith("transfer 0.")


def test_the_order_of_the_images_does_not_show(real: ReferenceViews, clean: SetValue) -> None:
    order = np.random.default_rng(0).permutation(2 * N)
    found = of(real, drawn()[order], LABELS[order])
    for pick in ("transfer", "pix4", "label_agreement", "near_copies"):
        assert getattr(found, pick).value == pytest.approx(getattr(clean, pick).value, abs=1e-9)
    whole, shuffled = image_values(real, drawn(), LABELS), image_values(real, drawn()[order], LABELS[order])
    for name in ("value", "shapley_texture", "shapley_patch", "influence", "copies", "own_share", "contradicted"):
        np.testing.assert_allclose(getattr(shuffled, name), getattr(whole, name)[order], atol=1e-9)


def test_the_same_arguments_give_the_same_bits(real: ReferenceViews, clean: SetValue) -> None:
    again = ReferenceViews.fit(drawn(seed=0), LABELS, CLASSES, size=(SIDE, SIDE))
    assert of(again, drawn(), resampled=40, splits=4, trees=True) == clean


def test_what_was_saved_judges_the_same(real: ReferenceViews, clean: SetValue, tmp_path: Any) -> None:
    found = ReferenceViews.load(real.save(tmp_path))
    assert of(found, drawn(), resampled=40, splits=4, trees=True) == clean


def test_json_and_back(clean: SetValue) -> None:
    assert SetValue.from_json(json.loads(json.dumps(clean.to_json(), allow_nan=False))) == clean
    assert SetValue.from_json(replace(clean, pix5=None).to_json()).pix5 is None
    with pytest.raises(UserError, match="format: 2 is newer than 1"):
        SetValue.from_json(clean.to_json() | {"format": 2})
    with pytest.raises(UserError, match=r"transfer\.value: expected a number, got 'x'"):
        SetValue.from_json(clean.to_json() | {"transfer": {"value": "x"}})


def test_three_classes() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3

    def images(seed: int) -> Any:
        drawn_images = phantoms.draw("radiograph", "normal", 90, size=32, seed=seed)[..., 0].astype(int)
        return np.clip(drawn_images + 40 * labels[:, None, None], 0, 255).astype(np.uint8)

    reference = ReferenceViews.fit(images(0), labels, ["dark", "middle", "light"], size=(32, 32))
    found = set_value(reference, images(1), labels, resampled=5, splits=2)
    mixed = set_value(reference, images(1), rng.permutation(labels), resampled=0, splits=0)
    assert found.transfer.value > 0.5 > abs(mixed.transfer.value)
    assert found.pix5 is not None
    assert found.pix5.value > 0.75
    assert {(each.target, each.other) for each in found.contrast} == {
        (name, "the others") for name in ("dark", "middle", "light")
    }
    values = image_values(reference, images(1), labels)
    assert values.influence.shape == (90,)
    assert SetValue.from_json(found.to_json()) == found


@pytest.fixture(scope="module")
def with_wrong_labels() -> tuple[Any, ImageValues]:
    labels = LABELS.copy()
    wrong = np.r_[:6, N : N + 6]
    labels[wrong] = 1 - labels[wrong]
    reference = ReferenceViews.fit(brighter(0), LABELS, CLASSES, size=(SIDE, SIDE))
    return wrong, image_values(reference, brighter(1), labels)


class TestImages:
    def test_wrong_labels_have_little_value_and_are_contradicted(self, with_wrong_labels: Any) -> None:
        wrong, found = with_wrong_labels
        others = np.setdiff1d(np.arange(2 * N), wrong)
        is_wrong = np.isin(np.arange(2 * N), wrong)
        assert auroc(-found.value, is_wrong) > 0.95
        assert found.contradicted[wrong].mean() > 0.9
        assert found.own_share[wrong].max() < found.own_share[others].mean()
        assert found.contradicted[others].mean() < 0.1
        assert found.influence[wrong].mean() < 0 < found.influence[others].mean()

    def test_ranks_sum_to_what_ranks_sum_to(self, with_wrong_labels: Any) -> None:
        found = with_wrong_labels[1]
        n = 2 * N
        assert found.value.sum() == pytest.approx(n * (n + 1))
        assert 2 <= found.value.min() <= found.value.max() <= 2 * n
        order = np.argsort(found.shapley_texture + found.shapley_patch)
        assert found.value[order[:20]].mean() < found.value[order[-20:]].mean()

    def test_influence_is_what_one_more_of_an_image_does(self, real: ReferenceViews) -> None:
        """Measured with the whole chain: one image counted 1.001 times, its shrinkage computed again."""
        rows, found = real.embed(drawn()), image_values(real, drawn(), LABELS)
        for view in ("thumb", "patch", "texture"):
            of_real = discriminants(ClassMoments(2, rows[view].shape[1]).add(real.rows[view], real.labels))
            measured = []
            for i in range(0, 2 * N, 8):
                ends = []
                for step in (1e-3, -1e-3):
                    weights = np.ones(2 * N)
                    weights[i] += step
                    moments = ClassMoments(2, rows[view].shape[1]).add(rows[view], LABELS, weights)
                    ends.append(macro_transfer(discriminants(moments), of_real))
                measured.append((ends[0] - ends[1]) / 2e-3)
            expected = found.influence_by_view[view][::8]
            assert np.corrcoef(measured, expected)[0, 1] > 0.98
        mean = np.mean([found.influence_by_view[view] for view in ("thumb", "patch", "texture")], axis=0)
        np.testing.assert_allclose(found.influence, mean)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"labels": [0]}, "labels: expected one per image, 120, got 1"),
        ({"labels": [0] * 119 + [1]},
         "labels: expected at least 2 images of each class, got 1 of 'abnormal'; a set of one class trains no "
         "classifier: judge it together with the classes that it is used with, or by 'iuscore compare --target', where "
         "real images stand in for them"),
        ({"labels": ["norml"] * 120}, "labels[0]: expected one of normal, abnormal, got 'norml'; "
                                      "did you mean 'normal'?"),
        ({"resampled": -1}, "resampled: expected a whole number of at least 0, got -1"),
        ({"splits": 1.5}, "splits: expected a whole number of at least 0, got 1.5"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(real: ReferenceViews, change: dict[str, Any], expected: str) -> None:
    given: dict[str, Any] = {"images": drawn(), "labels": LABELS} | change
    with pytest.raises(UserError) as caught:
        set_value(real, **given)
    assert str(caught.value) == expected


def test_images_of_one_class_are_refused(real: ReferenceViews) -> None:
    with pytest.raises(UserError, match="got none of 'abnormal'; judge a set of one class together"):
        image_values(real, drawn()[:N], [0] * N)


def test_a_measure_without_controls_says_only_itself(real: ReferenceViews) -> None:
    found = of(real, drawn())
    assert found.transfer == Measure(found.transfer.value)
    assert found.lines[-1] == "difference between classes: nothing beyond what halves of real images show"
