"""Measures of other papers against slow formulas and other implementations."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from iuscore.errors import UserError
from iuscore.explain.compare import controls as measures
from iuscore.explain.compare.controls import (
    BOUNDS,
    classifier_two_sample,
    confidence,
    controls,
    discriminative_span,
    energy_distance,
    frechet_distance,
    kernel_distance,
    precision_recall_density_coverage,
    published_ius,
)
from iuscore.explain.compare.pairs import Folds
from iuscore.explain.value.judge import halves
from iuscore.explain.value.linear import ClassMoments, discriminant


def sides(seed: int, n: int = 40, m: int = 30, d: int = 5, shift: float = 0.5) -> tuple[Any, Any]:
    """Correlated rows of a set and of real images."""
    rng = np.random.default_rng(seed)
    mix, other = rng.normal(size=(2, d, d))
    return rng.normal(size=(n, d)) @ mix + shift, rng.normal(size=(m, d)) @ other


def counts_of(seed: int, m: int = 30) -> Any:
    return np.bincount(np.random.default_rng(seed).integers(0, m, m), minlength=m).astype(float)


class TestFrechet:
    @pytest.mark.parametrize("seed", range(4))
    def test_it_is_the_formula_with_a_matrix_root(self, seed: int) -> None:
        from scipy.linalg import sqrtm

        rows, real = sides(seed)
        first, second = np.cov(rows.T), np.cov(real.T)
        apart = rows.mean(0) - real.mean(0)
        wanted = apart @ apart + np.trace(first + second - 2 * sqrtm(first @ second).real)
        assert frechet_distance(rows, real) == pytest.approx(wanted, rel=1e-9)

    def test_torchmetrics_has_the_same(self) -> None:
        fid = pytest.importorskip("torchmetrics.image.fid")
        import torch

        rows, real = sides(0)
        given = [torch.from_numpy(part) for each in (rows, real) for part in (each.mean(0), np.cov(each.T))]
        assert frechet_distance(rows, real) == pytest.approx(float(fid._compute_fid(*given)), rel=1e-9)

    @pytest.mark.parametrize("n", [2, 4, 9])
    def test_columns_that_say_nothing_new_change_nothing(self, n: int) -> None:
        """Fewer rows than columns: covariances without an inverse."""
        rows, real = sides(1, n=n, m=7, d=3)
        turn = np.linalg.qr(np.random.default_rng(2).normal(size=(60, 60)))[0][:3]
        assert frechet_distance(rows @ turn, real @ turn) == pytest.approx(frechet_distance(rows, real), rel=1e-10)
        assert frechet_distance(rows @ turn, rows @ turn) < 1e-10

    def test_a_shift_counts_with_its_square(self) -> None:
        rows, _ = sides(3)
        assert frechet_distance(rows + 2.0, rows) == pytest.approx(4 * rows.shape[1], rel=1e-10)


class TestKernel:
    def test_it_is_a_mean_over_pairs(self) -> None:
        rows, real = sides(0, n=9, m=7)

        def kernel(x: Any, y: Any) -> float:
            return float((x @ y / len(x) + 1) ** 3)

        within = np.mean([kernel(a, b) for a, b in itertools.permutations(rows, 2)])
        known = np.mean([kernel(a, b) for a, b in itertools.permutations(real, 2)])
        between = np.mean([kernel(a, b) for a, b in itertools.product(rows, real)])
        assert kernel_distance(rows, real) == pytest.approx(within + known - 2 * between, rel=1e-10)

    def test_torchmetrics_has_the_same(self) -> None:
        kid = pytest.importorskip("torchmetrics.image.kid")
        import torch

        rows, real = sides(0, n=30)
        wanted = kid.poly_mmd(torch.from_numpy(real), torch.from_numpy(rows), gamma=1 / rows.shape[1])
        assert kernel_distance(rows, real) == pytest.approx(float(wanted), rel=1e-9)

    def test_of_one_distribution_it_is_0_on_average(self) -> None:
        rng = np.random.default_rng(0)
        found = [kernel_distance(*rng.normal(size=(2, 8, 3))) for _ in range(2000)]
        assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found))


class TestEnergy:
    @pytest.mark.parametrize("seed", range(3))
    def test_of_one_column_scipy_has_its_root(self, seed: int) -> None:
        from scipy.stats import energy_distance as root

        rows, real = sides(seed, d=1)
        assert energy_distance(rows, real) == pytest.approx(root(rows[:, 0], real[:, 0]) ** 2, rel=1e-9)

    def test_it_is_a_mean_over_all_pairs(self) -> None:
        rows, real = sides(0, n=9, m=7)

        def mean(first: Any, second: Any) -> float:
            return float(np.mean([np.linalg.norm(a - b) for a, b in itertools.product(first, second)]))

        wanted = 2 * mean(rows, real) - mean(rows, rows) - mean(real, real)
        assert energy_distance(rows, real) == pytest.approx(wanted, rel=1e-10)
        assert energy_distance(rows, rows) == pytest.approx(0, abs=1e-12)


def slow_neighborhoods(rows: Any, real: Any, k: int) -> dict[str, float]:
    def radius(of: Any, i: int) -> float:
        others = sorted(float(np.linalg.norm(of[i] - of[j])) for j in range(len(of)) if j != i)
        return others[min(k, len(others)) - 1]

    def near(x: Any, of: Any, i: int) -> bool:
        return bool(np.linalg.norm(x - of[i]) < radius(of, i))

    inside = np.array([[near(x, real, i) for i in range(len(real))] for x in rows])
    recalled = [any(near(r, rows, j) for j in range(len(rows))) for r in real]
    return {
        "precision": float(inside.any(1).mean()),
        "recall": float(np.mean(recalled)),
        "density": float(inside.sum() / (k * len(rows))),
        "coverage": float(inside.any(0).mean()),
    }


class TestNeighborhoods:
    @pytest.mark.parametrize(("seed", "k", "shift"), [(0, 5, 0.5), (1, 1, 0.0), (2, 3, 1.0)])
    def test_they_are_those_of_loops(self, seed: int, k: int, shift: float) -> None:
        rows, real = sides(seed, d=3, shift=shift)
        found = precision_recall_density_coverage(rows, real, k)
        assert found == pytest.approx(slow_neighborhoods(rows, real, k))
        assert 0 < found["coverage"] < 1

    def test_a_repeated_image_covers_little_and_recalls_nothing(self) -> None:
        _, real = sides(0, m=60, d=2)
        found = precision_recall_density_coverage(np.repeat(real[:1], 40, axis=0), real)
        assert found["precision"] == 1
        assert found["recall"] == 0
        assert found["coverage"] < 0.3

    def test_the_images_themselves_have_everything(self) -> None:
        _, real = sides(0)
        found = precision_recall_density_coverage(real, real)
        assert [found[name] for name in ("precision", "recall", "coverage")] == [1, 1, 1]

    def test_of_few_rows_the_farthest_counts(self) -> None:
        rows, real = sides(0, n=3, m=4, d=2)
        wanted = slow_neighborhoods(rows, real, 3) | {"recall": slow_neighborhoods(rows, real, 2)["recall"]}
        assert precision_recall_density_coverage(rows, real, 5) == pytest.approx(wanted)


class TestWeights:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("measure", [frechet_distance, kernel_distance, energy_distance])
    def test_they_are_repeats(self, measure: Any, seed: int) -> None:
        rows, real = sides(seed)
        counts = counts_of(seed)
        wanted = measure(rows, np.repeat(real, counts.astype(int), axis=0))
        assert measure(rows, real, counts) == pytest.approx(wanted, rel=1e-9)

    @pytest.mark.parametrize("seed", range(3))
    def test_neighbors_are_repeated_too(self, seed: int) -> None:
        rows, real = sides(seed, d=3)
        counts = counts_of(seed)
        wanted = slow_neighborhoods(rows, np.repeat(real, counts.astype(int), axis=0), 4)
        assert precision_recall_density_coverage(rows, real, 4, counts) == pytest.approx(wanted)

    def test_of_the_span_too(self) -> None:
        rows, real = sides(0, n=60, m=60)
        labels, counts = np.arange(60) % 3, counts_of(0, 60)
        repeated = np.repeat(np.arange(60), counts.astype(int))
        wanted = discriminative_span(rows, labels, real[repeated], labels[repeated], 3)
        assert discriminative_span(rows, labels, real, labels, 3, counts) == pytest.approx(wanted, rel=1e-6)


def slow_span(rows: Any, labels: Any, real: Any, real_labels: Any, classes: int) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(real)
    found = []
    for k in range(classes):
        learner = LogisticRegression(tol=1e-10, max_iter=10_000).fit(scaler.transform(real), real_labels == k)
        w = learner.coef_[0]
        differences = []
        for row in rows[labels == k]:
            nearest = min(real[real_labels != k], key=lambda other: float(np.linalg.norm(row - other)))
            differences.append(scaler.transform([row])[0] - scaler.transform([nearest])[0])
        u, s, vt = np.linalg.svd(np.array(differences), full_matrices=False)
        share = s / s.sum()
        kept = int(np.exp(-(share * np.log(share)).sum()))
        short = (u[:, :kept] * s[:kept]) @ vt[:kept]
        solved = np.linalg.solve(short @ short.T + 0.01 * np.eye(len(short)), short @ w)
        found.append(1 - np.linalg.norm(w - short.T @ solved) / np.linalg.norm(w))
    return float(np.mean(found))


class TestSpan:
    @pytest.mark.parametrize(("seed", "classes", "n"), [(0, 2, 40), (1, 3, 60), (2, 2, 6)])
    def test_it_is_the_formula(self, seed: int, classes: int, n: int) -> None:
        rows, real = sides(seed, n=n, m=60, d=8)
        real_labels = np.arange(60) % classes
        real = real + real_labels[:, None] * np.linspace(0, 2, 8)
        labels = np.arange(n) % classes
        wanted = slow_span(rows, labels, real, real_labels, classes)
        assert discriminative_span(rows, labels, real, real_labels, classes) == pytest.approx(wanted, abs=1e-4)
        assert 0.05 < wanted < 0.95

    def test_differences_along_the_weights_span_them_and_across_do_not(self) -> None:
        from sklearn.linear_model import LogisticRegression

        rng = np.random.default_rng(0)
        labels = np.arange(100) % 2
        real = rng.normal(size=(100, 6)) + labels[:, None]
        real = (real - real.mean(0)) / real.std(0)
        along = LogisticRegression(tol=1e-10).fit(real, labels).coef_[0]
        across = np.linalg.svd(along[None])[2][1]
        found = [discriminative_span(real + 1e4 * way, labels, real, labels, 2) for way in (along, across)]
        assert found[0] > 0.99 > 0.01 > found[1]

    def test_images_without_differences_span_nothing(self) -> None:
        labels = np.arange(20) % 2
        real = np.random.default_rng(0).normal(size=(20, 3))
        assert discriminative_span(real[::-1], labels, real, labels, 2) == 0


class TestTwoSamples:
    def test_scores_come_from_other_folds(self) -> None:
        rows, real = sides(0)
        folds = Folds(rows, real, seed=3)
        both, side = np.concatenate([rows, real]), np.arange(70) < 40
        assert np.bincount(folds.fold[side]).tolist() == [8] * 5
        assert np.bincount(folds.fold[~side]).tolist() == [6] * 5
        each = []
        for k in range(5):
            rest, mine = folds.fold != k, folds.fold == k
            w = discriminant(ClassMoments(2, 5).add(both[rest], side[rest].astype(np.int64))).weights
            pairs = [a @ w > b @ w for a in both[mine & side] for b in both[mine & ~side]]
            each.append(np.mean(pairs))
        assert classifier_two_sample(rows, real, seed=3) == pytest.approx(np.mean(each))

    def test_weights_are_repeats_in_the_same_fold(self) -> None:
        rows, real = sides(0)
        folds, counts = Folds(rows, real, seed=3), counts_of(0)
        both, side = np.concatenate([rows, real]), np.arange(70) < 40
        repeated = np.repeat(np.arange(70), np.concatenate([np.ones(40, int), counts.astype(int)]))
        both, side, fold = both[repeated], side[repeated], folds.fold[repeated]
        each = []
        for k in range(5):
            w = discriminant(ClassMoments(2, 5).add(both[fold != k], side[fold != k].astype(np.int64))).weights
            each.append(np.mean([a @ w > b @ w for a in both[side & (fold == k)] for b in both[~side & (fold == k)]]))
        assert folds.auroc(counts) == pytest.approx(np.mean(each))

    def test_real_rows_of_one_fold_alone_tell_nothing(self) -> None:
        rows, real = sides(0)
        folds = Folds(rows, real, seed=3)
        assert folds.auroc((folds.fold[40:] == 2).astype(float)) == 0.5

    def test_of_one_distribution_it_is_half_on_average(self) -> None:
        rng = np.random.default_rng(0)
        found = [classifier_two_sample(*rng.normal(size=(2, 20, 4)), seed=i) for i in range(400)]
        assert abs(np.mean(found) - 0.5) < 3 * np.std(found) / 20

    @pytest.mark.parametrize("n", [2, 3])
    def test_few_rows_have_fewer_folds(self, n: int) -> None:
        rows = np.arange(2.0 * n).reshape(n, 2)
        assert classifier_two_sample(rows + 100, rows, seed=0) == 1


class TestScores:
    def test_classes_count_alike(self) -> None:
        rng = np.random.default_rng(0)
        probabilities, labels = rng.dirichlet([1, 1, 1], 30), np.repeat([0, 2], [25, 5])
        wanted = np.mean([np.mean([probabilities[i, k] for i in range(30) if labels[i] == k]) for k in (0, 2)])
        assert confidence(probabilities, labels) == pytest.approx(wanted)
        assert published_ius(probabilities[:, 1], labels) == pytest.approx(
            (probabilities[:25, 1].mean() + probabilities[25:, 1].mean()) / 2
        )


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
