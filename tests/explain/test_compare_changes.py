"""Changes of features and contributions: tests, intervals and their rates against slow formulas and simulated sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from iuscore.explain.compare.changes import (
    MIN_CLASS_SD,
    Sample,
    component_effects,
    feature_changes,
    holm,
    images_that_carry,
    welch,
)
from iuscore.features import FEATURES

FEATURES_OF_GRAY = FEATURES["gray"]
STATISTICS = [i for i, feature in enumerate(FEATURES_OF_GRAY) if feature.role == "statistic"]
NAMES = [feature.name for feature in FEATURES_OF_GRAY]
CLASSES = ("normal", "abnormal")


def drawn(rng: np.random.Generator, n: int, *, skewed: bool = False) -> Any:
    """Rows whose columns are correlated, as those of images are, with mean 0."""
    common = rng.normal(size=(n, 4)) @ MIX
    rows = common + rng.normal(size=(n, len(NAMES)))
    return np.exp(rows / 4) - np.exp(5 / 32) if skewed else rows


MIX = np.random.default_rng(99).normal(size=(4, len(NAMES))) / 2


class TestHolm:
    @pytest.mark.parametrize("seed", range(5))
    def test_it_is_the_procedure_by_hand(self, seed: int) -> None:
        """An adjusted p is the smallest level at which the sequence of tests rejects."""
        p = np.random.default_rng(seed).random(12) ** 3
        adjusted = holm(p)
        for level in (0.01, 0.05, 0.2, 0.6):
            rejected = set()
            for step, i in enumerate(np.argsort(p)):
                if p[i] > level / (len(p) - step):
                    break
                rejected.add(int(i))
            assert set(np.flatnonzero(adjusted <= level)) == rejected

    def test_order_and_bounds(self) -> None:
        p = np.array([0.5, 0.9, 0.0, 0.5])
        assert holm(p).tolist() == [1, 1, 0, 1]
        assert holm(np.zeros(0)).tolist() == []


class TestWelch:
    @pytest.mark.parametrize(("n", "m"), [(12, 30), (3, 2), (100, 100)])
    def test_scipy_has_the_same(self, n: int, m: int) -> None:
        rng = np.random.default_rng(n)
        first, second = rng.normal(size=(n, 3)) * [1, 2, 5], rng.normal(size=(m, 3)) + np.array([0, 1, 4])
        apart, width, p = welch(Sample.of(first), Sample.of(second))
        wanted = stats.ttest_ind(first, second, equal_var=False)
        ends = wanted.confidence_interval(0.95)
        np.testing.assert_allclose(p, wanted.pvalue, rtol=1e-9)
        np.testing.assert_allclose(apart - width, ends.low, rtol=1e-9)
        np.testing.assert_allclose(apart + width, ends.high, rtol=1e-9)

    def test_what_never_varies_differs_surely_or_not_at_all(self) -> None:
        same, other = (Sample.of(np.full((4, 1), value)) for value in (0.1, 0.2))
        assert [float(each[0]) for each in welch(same, same)] == [0, 0, 1]
        assert [float(each[0]) for each in welch(same, other)] == [pytest.approx(-0.1), 0, 0]


class TestFeatureChanges:
    def test_each_is_welchs_test_in_sd_of_the_class(self) -> None:
        rng = np.random.default_rng(0)
        rows, real = drawn(rng, 50), 2 * drawn(rng, 80) + 1
        labels, known = np.arange(50) % 2, np.arange(80) % 2
        found = feature_changes(rows, labels, real, known, CLASSES, FEATURES_OF_GRAY)
        assert len(found) == 2 * len(STATISTICS)
        raw = []
        for change in found:
            k, column = CLASSES.index(change.target), NAMES.index(change.feature)
            mine, theirs = rows[labels == k, column], real[known == k, column]
            wanted = stats.ttest_ind(mine, theirs, equal_var=False)
            raw.append(wanted.pvalue)
            assert change.shift == pytest.approx((mine.mean() - theirs.mean()) / theirs.std(ddof=1))
            assert change.group == FEATURES_OF_GRAY[column].group
            assert change.words == FEATURES_OF_GRAY[column].words(change.shift)
        assert [change.p for change in found] == pytest.approx(list(holm(np.array(raw))))
        assert [change.p for change in found] == sorted(change.p for change in found)

    def test_a_group_counts_once(self) -> None:
        rng = np.random.default_rng(0)
        of_groups, real = drawn(rng, 30), drawn(rng, 40)
        sizes = rng.integers(1, 6, 30)
        rows, groups = np.repeat(of_groups, sizes, axis=0), np.repeat(rng.permutation(30), sizes)
        alone, together = (
            feature_changes(given, np.zeros(len(given), int), real, np.zeros(40, int), CLASSES[:1], FEATURES_OF_GRAY,
                            groups=names)
            for given, names in ((of_groups, None), (rows, groups))
        )  # fmt: skip
        assert [(a.feature, pytest.approx(a.shift), pytest.approx(a.p)) for a in together] == [
            (b.feature, b.shift, b.p) for b in alone
        ]

    def test_what_hardly_varies_in_the_class_has_no_endless_shift(self) -> None:
        rng = np.random.default_rng(0)
        rows, real = drawn(rng, 40), drawn(rng, 40)
        real[:, STATISTICS[0]] = 0.25
        rows[:, STATISTICS[0]] = 0.5
        found = feature_changes(rows, np.zeros(40, int), real, np.zeros(40, int), CLASSES[:1], FEATURES_OF_GRAY)
        assert found[0].feature == NAMES[STATISTICS[0]]
        assert (found[0].shift, found[0].p) == (pytest.approx(0.25 / MIN_CLASS_SD), 0)

    def test_a_class_of_one_image_is_left_out(self) -> None:
        rows = drawn(np.random.default_rng(0), 41)
        labels = np.repeat([0, 1], [40, 1])
        found = feature_changes(rows, labels, rows, 1 - labels, CLASSES, FEATURES_OF_GRAY)
        assert found == ()
        found = feature_changes(rows, labels, rows, np.arange(41) % 2, CLASSES, FEATURES_OF_GRAY)
        assert {change.target for change in found} == {"normal"}


@pytest.mark.parametrize("skewed", [False, True])
def test_under_no_difference_changes_are_found_seldom_and_intervals_hold_0(skewed: bool) -> None:
    """400 sets of the distribution of the real images: at most 5 % of them have a change at p < .05."""
    rng = np.random.default_rng(1 + skewed)
    wrong, held, count = 0, 0, 400
    for _ in range(count):
        rows, real = drawn(rng, 60, skewed=skewed), drawn(rng, 90, skewed=skewed)
        found = feature_changes(
            rows, np.arange(60) % 2, real, np.arange(90) % 2, CLASSES, FEATURES_OF_GRAY
        )  # fmt: skip
        wrong += found[0].p < 0.05
        held += np.mean([change.low <= 0 <= change.high for change in found])
    assert wrong / count <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / count)
    assert 0.93 <= held / count <= 0.97


def test_with_groups_too() -> None:
    """Five images of each patient, which resemble each other."""
    rng = np.random.default_rng(3)
    wrong, held, count = 0, 0, 200
    for _ in range(count):
        rows, real = (
            np.repeat(drawn(rng, n), 5, axis=0) + 0.3 * rng.normal(size=(5 * n, len(NAMES))) for n in (30, 40)
        )
        groups, known = np.repeat(np.arange(30), 5), np.repeat(np.arange(40), 5)
        found = feature_changes(
            rows, groups % 2, real, known % 2, CLASSES, FEATURES_OF_GRAY, groups=groups, real_groups=known
        )
        wrong += found[0].p < 0.05
        held += np.mean([change.low <= 0 <= change.high for change in found])
    assert wrong / count <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / count)
    assert 0.93 <= held / count <= 0.97


@pytest.mark.parametrize("shift", [0.5, 3.0])
def test_intervals_hold_a_true_shift_too(shift: float) -> None:
    """In true standard deviations of the class: what is known of the sd counts as well."""
    rng = np.random.default_rng(4)
    held, count = 0.0, 200
    sd = np.sqrt(1 + np.square(MIX).sum(0))
    for _ in range(count):
        rows, real = drawn(rng, 60) + shift * sd, drawn(rng, 60)
        found = feature_changes(rows, np.zeros(60, int), real, np.zeros(60, int), CLASSES[:1], FEATURES_OF_GRAY)
        held += np.mean([change.low <= shift <= change.high for change in found])
    assert 0.93 <= held / count <= 0.97


class TestEffects:
    def test_each_is_welchs_test(self) -> None:
        rng = np.random.default_rng(0)
        rows, real = rng.normal(size=(40, 5)), rng.normal(size=(60, 5)) + 0.5
        labels, known = np.arange(40) % 2, np.arange(60) % 2
        names = [f"component {g}" for g in range(5)]
        samples = [Sample.of(real[known == k]) for k in range(2)]
        found = component_effects(rows, labels, samples, CLASSES, names)
        raw = []
        for effect in found:
            k, g = CLASSES.index(effect.target), names.index(effect.component)
            wanted = stats.ttest_ind(rows[labels == k, g], real[known == k, g], equal_var=False)
            ends = wanted.confidence_interval(0.95)
            raw.append(wanted.pvalue)
            assert (effect.low, effect.high) == (pytest.approx(ends.low), pytest.approx(ends.high))
            assert effect.difference == pytest.approx(rows[labels == k, g].mean() - real[known == k, g].mean())
        assert [effect.p for effect in found] == pytest.approx(list(holm(np.array(raw))))

    def test_a_profile_takes_the_place_of_images(self) -> None:
        rng = np.random.default_rng(0)
        rows, real = rng.normal(size=(40, 3)), rng.normal(size=(60, 3))
        profile = Sample(60, real.mean(0), real.std(0, ddof=1) ** 2)
        one, other = (
            component_effects(rows, np.zeros(40, int), [known], CLASSES[:1], "abc")
            for known in (profile, Sample.of(real))
        )
        assert [(e.component, e.p) for e in one] == [(e.component, pytest.approx(e.p)) for e in other]

    def test_classes_that_are_not_known_are_left_out(self) -> None:
        rows = np.random.default_rng(0).normal(size=(40, 3))
        found = component_effects(rows, np.arange(40) % 2, [None, Sample.of(rows)], CLASSES, "abc")
        assert {effect.target for effect in found} == {"abnormal"}
        assert component_effects(rows, np.arange(40) % 2, [None, None], CLASSES, "abc") == ()

    def test_under_no_difference_they_are_found_seldom(self) -> None:
        rng = np.random.default_rng(5)
        wrong, held, count = 0, 0.0, 400
        for _ in range(count):
            rows, real = rng.normal(size=(40, 8)), rng.normal(size=(70, 8))
            samples = [Sample.of(real[k::2]) for k in range(2)]
            found = component_effects(rows, np.arange(40) % 2, samples, CLASSES, "abcdefgh")
            wrong += found[0].p < 0.05
            held += np.mean([effect.low <= 0 <= effect.high for effect in found])
        assert wrong / count <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / count)
        assert 0.93 <= held / count <= 0.97


class TestCarriers:
    def of(self, rows: Any, real: Any, labels: Any = None) -> Any:
        labels = np.zeros(len(rows), int) if labels is None else labels
        return images_that_carry(rows, labels, real, np.zeros(len(real), int), FEATURES_OF_GRAY, 0, "lightness")

    def test_shares_have_mean_1_and_name_the_images_that_moved(self) -> None:
        rng = np.random.default_rng(0)
        rows, real = drawn(rng, 80), drawn(rng, 80)
        moved = rng.permutation(80)[:8]
        rows[np.ix_(moved, STATISTICS)] += 12
        found = self.of(rows, real)
        assert found.shares.mean() == pytest.approx(1)
        assert (np.diff(found.shares) <= 0).all()
        assert set(found.places[:8]) == set(moved)
        assert found.top == pytest.approx(found.shares[:8].sum() / 80)
        assert found.top > 0.8
        assert found.top > 2 * found.evenly

    def test_of_images_that_all_moved_few_carry_no_more_than_their_part(self) -> None:
        rng = np.random.default_rng(0)
        rows, real = drawn(rng, 400), drawn(rng, 400)
        rows[:, STATISTICS] += 12
        found = self.of(rows, real)
        assert 0.1 < found.top < 0.13
        assert found.top == pytest.approx(found.evenly, abs=0.01)

    def test_places_are_those_among_all_classes(self) -> None:
        rng = np.random.default_rng(0)
        rows, real = drawn(rng, 40), drawn(rng, 40)
        labels = np.arange(40) % 2
        assert sorted(self.of(rows, real, labels).places) == list(range(0, 40, 2))

    def test_an_unknown_group_is_named(self) -> None:
        rows = drawn(np.random.default_rng(0), 8)
        with pytest.raises(ValueError, match=r"group: expected one of .*got 'sharpness'"):
            images_that_carry(
                rows, np.zeros(8, int), rows, np.zeros(8, int), FEATURES_OF_GRAY, 0, "sharpness"
            )  # fmt: skip
