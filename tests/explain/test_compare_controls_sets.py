"""Measures of other papers for a whole set: classes, halves of the real images, intervals, limits, bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iuscore.errors import UserError
from iuscore.explain.compare import controls as measures
from iuscore.explain.compare.controls import (
    BOUNDS,
    classifier_two_sample,
    controls,
    discriminative_span,
    energy_distance,
    frechet_distance,
    kernel_distance,
    precision_recall_density_coverage,
)
from iuscore.explain.compare.pairs import Folds
from iuscore.explain.value.judge import halves


def classed(seed: int, n: int, classes: int = 2, d: int = 4, spread: float = 1.0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    return (spread * rng.normal(size=(n, d)) + 2 * labels[:, None]).astype(np.float32), labels


class TestControls:
    def test_values_are_means_over_classes(self) -> None:
        (rows, labels), (real, known) = classed(0, 60, 3), classed(1, 75, 3)
        found = controls(rows, labels, real, known, 3, seed=0, halves=0, resampled=0)
        assert list(found) == list(BOUNDS)
        parts = [(rows[labels == k], real[known == k]) for k in range(3)]
        for name, measure in (
            ("frechet distance", frechet_distance),
            ("kernel distance", kernel_distance),
            ("energy distance", energy_distance),
            ("recall", lambda a, b: precision_recall_density_coverage(a, b)["recall"]),
            ("density", lambda a, b: precision_recall_density_coverage(a, b)["density"]),
            ("two-sample auroc", lambda a, b: classifier_two_sample(a, b, 0)),
        ):
            assert found[name].value == pytest.approx(np.mean([measure(*part) for part in parts])), name
        assert found["discriminative span"].value == discriminative_span(rows, labels, real, known, 3)
        assert found["density"].low is None
        assert found["density"].real is None

    def test_the_set_and_halves_of_real_images_stand_beside_the_same_halves(self) -> None:
        (rows, labels), (real, known) = classed(0, 20), classed(1, 61)
        found = controls(rows, labels, real, known, 2, seed=7, halves=3, resampled=0)
        of_set = []
        for _, second in halves(known, np.arange(61), 2, 3, 7):
            parts = [(rows[labels == k], real[second][known[second] == k]) for k in range(2)]
            of_set.append(np.mean([frechet_distance(*part) for part in parts]))
        assert found["frechet distance"].value == pytest.approx(np.mean(of_set))
        (many, theirs), each = classed(0, 200), []
        found = controls(many, theirs, real, known, 2, seed=7, halves=3, resampled=0)
        for first, second in halves(known, np.arange(61), 2, 3, 7):
            parts = [(real[first][known[first] == k], real[second][known[second] == k]) for k in range(2)]
            each.append(np.mean([frechet_distance(*part) for part in parts]))
        assert found["frechet distance"].real == pytest.approx(np.mean(each))
        assert found["frechet distance"].real_sd == pytest.approx(np.std(each, ddof=1))

    @pytest.mark.parametrize("n", [60, 400])
    def test_at_the_same_numbers_a_set_like_real_images_has_what_they_have(self, n: int) -> None:
        """Most measures depend on numbers of images: of all images, a larger set would seem better than real ones."""
        (rows, labels), (real, known) = classed(0, n, d=12), classed(1, 120, d=12)
        found = controls(rows, labels, real, known, 2, seed=0, halves=8, resampled=0)
        for name in ("frechet distance", "energy distance", "recall", "coverage", "two-sample auroc"):
            one = found[name]
            assert abs(one.value - one.real) < 4 * one.real_sd, name  # type: ignore[operator]

    def test_what_is_wrong_shows_beside_real_and_swapped(self) -> None:
        (real, known), (good, labels) = classed(0, 300), classed(1, 300)
        of_good = controls(good, labels, real, known, 2, seed=0, halves=4, resampled=20)
        of_bad = controls(good, 1 - labels, real, known, 2, seed=0, halves=4, resampled=20)
        for name in ("frechet distance", "kernel distance", "energy distance", "two-sample auroc"):
            one, other = of_good[name], of_bad[name]
            assert one.real is not None
            assert one.swapped is not None
            assert other.low is not None
            assert one.value < one.swapped < other.value, name
            assert abs(one.value - one.real) < one.swapped - one.real, name
            assert other.low > one.swapped, name
        for name in ("precision", "coverage", "density"):
            one, other = of_good[name], of_bad[name]
            assert one.swapped is not None
            assert one.value > one.swapped > other.value, name

    def test_intervals_hold_the_value_and_shrink_with_more_real_images(self) -> None:
        rows, labels = classed(1, 60)
        widths = []
        for n in (60, 600):
            real, known = classed(0, n)
            found = controls(rows, labels, real, known, 2, seed=0, halves=0, resampled=40)
            assert all(each.low <= each.value <= each.high for each in found.values())  # type: ignore[operator]
            widths.append({name: each.high - each.low for name, each in found.items()})  # type: ignore[operator]
        for name in ("frechet distance", "energy distance", "recall", "two-sample auroc"):
            assert widths[1][name] < widths[0][name] / 1.5, name

    def test_the_draw_of_halves_widens_intervals_by_its_own_variance(self) -> None:
        rng = np.random.default_rng(0)
        drawn, of_halves = rng.normal(3, 2, 100), rng.normal(5, 4, 8)
        found = np.array(measures._widened(list(drawn), list(of_halves)))
        assert found.mean() == pytest.approx(drawn.mean())
        assert found.var(ddof=1) == pytest.approx(drawn.var(ddof=1) + of_halves.var(ddof=1) / 8)
        assert measures._widened([1.0, 1.0], [1.0, 2.0]) == [1, 1]
        assert measures._widened([1.0, 2.0], [3.0]) == [1, 2]

    def test_images_of_a_group_are_drawn_together(self) -> None:
        """Ten equal images of each group say no more than one: intervals are those of as many images as groups."""
        (rows, labels), (one, known) = classed(0, 50), classed(1, 60)
        many, their = np.repeat(one, 10, axis=0), np.repeat(known, 10)
        wide, narrow = (
            controls(rows, labels, many, their, 2, seed=0, groups=groups, halves=0, resampled=60)["energy distance"]
            for groups in (np.repeat(np.arange(60), 10), None)
        )
        assert wide.high - wide.low > 2 * (narrow.high - narrow.low)  # type: ignore[operator]

    def test_they_are_the_same_again(self) -> None:
        (rows, labels), (real, known) = classed(0, 40), classed(1, 40)
        first, second = (controls(rows, labels, real, known, 2, seed=3, halves=2, resampled=5) for _ in range(2))
        assert first == second

    def test_no_more_images_than_the_limit_are_looked_at(self, monkeypatch: pytest.MonkeyPatch) -> None:
        (rows, labels), (real, known) = classed(0, 100), classed(1, 100)
        monkeypatch.setattr(measures, "MOST", 40)
        seen = []
        monkeypatch.setattr(measures, "Folds", lambda *given: seen.append(given) or Folds(*given))
        controls(rows, labels, real, known, 2, seed=0, halves=0, resampled=0)
        assert [[len(part) for part in given[:2]] for given in seen] == [[20, 20], [20, 20]]

    def test_a_class_with_one_image_is_left_out(self) -> None:
        (rows, labels), (real, known) = classed(0, 40), classed(1, 40)
        few = (labels == 0) | (np.arange(40) == 1)
        found = controls(rows[few], labels[few], real, known, 2, seed=0, halves=0, resampled=5)
        wanted = frechet_distance(rows[labels == 0], real[known == 0])
        assert found["frechet distance"].value == pytest.approx(wanted)

    def test_bad_input_gets_one_line(self) -> None:
        rows, labels = classed(0, 20)
        with pytest.raises(UserError, match="at least 2 images of a class"):
            controls(rows[:2], labels[:2], rows, labels, 2, seed=0)
        with pytest.raises(UserError, match="got none of class 2; add some"):
            controls(rows, labels, rows, labels, 3, seed=0)
