"""Measures of other papers against slow formulas and other implementations."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from iuscore.explain.compare.controls import (
    classifier_two_sample,
    confidence,
    discriminative_span,
    energy_distance,
    frechet_distance,
    kernel_distance,
    precision_recall_density_coverage,
    published_ius,
)
from iuscore.explain.compare.pairs import Folds
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
