"""Small learners, Shapley values and copies against slow loops."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from iuscore.explain.value.contrast import group_differences
from iuscore.explain.value.duplicates import (
    COPY_VIEWS,
    NEAR,
    RealPairs,
    balanced_places,
    copy_counts,
    nearest_in_class,
    nearest_real,
)
from iuscore.explain.value.judge import NeighborVotes, half_swapped, halves, resamples
from iuscore.explain.value.learners import auroc, lda_scores, macro_auroc, neighbor_scores, tree_scores
from iuscore.explain.value.linear import ClassMoments
from iuscore.explain.value.shapley import neighbor_shapley
from iuscore.features import FEATURES


def rows_of(seed: int, n: int, classes: int = 2, d: int = 4) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    return rng.normal(size=(n, d)).astype(np.float32) + labels[:, None], labels


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few distances at once, so that several blocks are needed."""
    monkeypatch.setattr("iuscore.explain.value.learners.BLOCK", 50)


class TestAuroc:
    @pytest.mark.parametrize("seed", range(5))
    def test_it_is_the_share_of_pairs_in_order(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        scores, positive = rng.integers(0, 8, 40).astype(float), rng.random(40) < 0.4
        pairs = [(s > t) + (s == t) / 2 for s in scores[positive] for t in scores[~positive]]
        assert auroc(scores, positive) == pytest.approx(np.mean(pairs), abs=1e-12)

    def test_weights_are_repeats(self) -> None:
        rng = np.random.default_rng(0)
        scores, positive, counts = rng.integers(0, 9, 50).astype(float), rng.random(50) < 0.5, rng.integers(0, 4, 50)
        repeated = auroc(np.repeat(scores, counts), np.repeat(positive, counts))
        assert auroc(scores, positive, counts.astype(float)) == pytest.approx(repeated, abs=1e-12)

    def test_of_one_class_there_is_none(self) -> None:
        assert math.isnan(auroc(np.ones(3), np.ones(3, bool)))

    def test_more_classes_are_each_set_against_the_rest(self) -> None:
        rng = np.random.default_rng(0)
        scores, labels = rng.normal(size=(60, 3)), np.arange(60) % 3
        each = [auroc(scores[:, k], labels == k) for k in range(3)]
        assert macro_auroc(scores, labels, 3) == pytest.approx(np.mean(each))


class TestLearners:
    @pytest.mark.parametrize(("n", "classes"), [(5, 2), (40, 2), (40, 3)])
    @pytest.mark.usefixtures("small_blocks")
    def test_neighbors_are_those_of_a_sort(self, n: int, classes: int) -> None:
        rows, labels = rows_of(0, n, classes)
        others, _ = rows_of(1, 30)
        found = neighbor_scores(rows, labels, classes, others)
        for i, other in enumerate(others):
            nearest = sorted(range(n), key=lambda j: float(((rows[j].astype(float) - other) ** 2).sum()))[:7]
            kinds = [1] if classes == 2 else list(range(classes))
            shares = [np.mean([labels[j] == k for j in nearest]) for k in kinds]
            np.testing.assert_allclose(found[i], shares)

    def test_neighbors_at_one_distance_count_in_part_whatever_their_order(self) -> None:
        rows = np.array([[0.0]] * 6 + [[1.0], [-1.0], [1.0]])
        labels = np.array([0] * 6 + [1, 0, 1])
        for seed in range(4):
            order = np.random.default_rng(seed).permutation(9)
            found = neighbor_scores(rows[order], labels[order], 2, np.zeros((1, 1)))
            assert found[0, 0] == pytest.approx((2 / 3) / 7)

    def test_discriminant_scores_are_projections(self) -> None:
        rows, labels = rows_of(0, 40)
        moments = ClassMoments(2, 4).add(rows, labels)
        from iuscore.explain.value.linear import discriminant

        expected = [float(np.dot(row.astype(float), discriminant(moments).weights)) for row in rows]
        np.testing.assert_allclose(lda_scores(moments, rows)[:, 0], expected)

    @pytest.mark.parametrize("classes", [2, 3])
    def test_trees_are_forty_of_scikit_learn(self, classes: int) -> None:
        rows, labels = rows_of(0, 120, classes)
        others, other_labels = rows_of(1, 80, classes)
        found = tree_scores(rows, labels, classes, others, 0)
        assert found.shape == (80, 1 if classes == 2 else 3)
        assert macro_auroc(found, other_labels, classes) > 0.75
        np.testing.assert_array_equal(found, tree_scores(rows, labels, classes, others, 0))


def utility(chosen: Any, rows: Any, labels: Any, real: Any, real_labels: Any, k: int) -> float:
    """Mean over real images of the number of right ones among the nearest chosen, over K."""
    total = 0.0
    for r, y in zip(real, real_labels, strict=True):
        nearest = sorted(chosen, key=lambda j: float(((rows[j] - r) ** 2).sum()))[:k]
        total += sum(labels[j] == y for j in nearest) / k
    return total / len(real)


class TestShapley:
    @pytest.mark.parametrize(("n", "k"), [(1, 2), (2, 3), (5, 2), (6, 3), (6, 7)])
    def test_values_are_mean_gains_over_all_orders(self, n: int, k: int) -> None:
        rows, labels = rows_of(n, n)
        real, real_labels = rows_of(20, 3)
        expected = np.zeros(n)
        for order in permutations(range(n)):
            before = 0.0
            for i in range(n):
                after = utility(order[: i + 1], rows, labels, real, real_labels, k)
                expected[order[i]] += after - before
                before = after
        expected /= math.factorial(n)
        np.testing.assert_allclose(neighbor_shapley(rows, labels, real, real_labels, k), expected, atol=1e-12)

    @pytest.mark.parametrize("classes", [2, 3])
    @pytest.mark.usefixtures("small_blocks")
    def test_values_sum_to_the_utility(self, classes: int) -> None:
        rows, labels = rows_of(0, 50, classes)
        real, real_labels = rows_of(1, 30, classes)
        found = neighbor_shapley(rows, labels, real, real_labels)
        assert found.sum() == pytest.approx(utility(range(50), rows, labels, real, real_labels, 7), abs=1e-12)

    @pytest.mark.usefixtures("small_blocks")
    def test_order_and_ties_do_not_show(self) -> None:
        rows, labels = rows_of(0, 30)
        rows = np.repeat(rows[:10], 3, axis=0)  # copies with other labels
        real, real_labels = rows_of(1, 20)
        whole = neighbor_shapley(rows, labels, real, real_labels)
        order = np.random.default_rng(0).permutation(30)
        shuffled = neighbor_shapley(rows[order], labels[order], real, real_labels)
        np.testing.assert_allclose(shuffled, whole[order], atol=1e-15)

    def test_wrong_labels_have_the_least_value(self) -> None:
        rows, labels = rows_of(0, 60, d=12)
        real, real_labels = rows_of(1, 40, d=12)
        wrong = labels.copy()
        wrong[:5] = 1 - wrong[:5]
        found = neighbor_shapley(rows, wrong, real, real_labels)
        assert found[:5].max() < np.median(found[5:])

    def test_nothing_beside_nothing(self) -> None:
        rows, labels = rows_of(0, 4)
        assert neighbor_shapley(rows[:0], labels[:0], rows, labels).shape == (0,)
        assert not neighbor_shapley(rows, labels, rows[:0], labels[:0]).any()


class TestCopies:
    @pytest.mark.usefixtures("small_blocks")
    def test_counts_are_those_of_loops(self) -> None:
        labels = np.arange(40) % 2
        rows = {view: np.random.default_rng(i).normal(size=(40, 2)) for i, view in enumerate(COPY_VIEWS)}
        distance = {"texture": 1.5, "patch": 2.0}
        found = copy_counts(rows, labels, distance)  # type: ignore[arg-type]
        nearest = nearest_in_class(rows, labels)
        for i in range(40):
            near = {}
            for view in COPY_VIEWS:
                apart = [float(np.linalg.norm(rows[view][i] - rows[view][j])) for j in range(40)]
                others = [apart[j] for j in range(40) if labels[j] == labels[i] and j != i]
                near[view] = 1 + sum(each < NEAR * distance[view] for each in others)
                assert nearest[view][i] == pytest.approx(min(others))
            assert found[i] == min(near.values())
        assert found.max() > 1

    def test_an_image_is_a_copy_of_a_real_one_only_in_both_views(self) -> None:
        rows = {view: np.random.default_rng(i).normal(size=(20, 2)) for i, view in enumerate(COPY_VIEWS)}
        real = {view: np.random.default_rng(9 + i).normal(size=(15, 2)) for i, view in enumerate(COPY_VIEWS)}
        for view in COPY_VIEWS:
            rows[view][3] = real[view][5] + 0.01
        rows["patch"][4], rows["texture"][4] = real["patch"][6], real["texture"][7]  # near two different ones
        nearest, found = nearest_real(rows, real, dict.fromkeys(COPY_VIEWS, 2.0))
        for i in range(20):
            each = [max(float(np.linalg.norm(rows[v][i] - real[v][j])) for v in COPY_VIEWS) / 0.7 for j in range(15)]
            assert found[i] == pytest.approx(min(each))
            assert nearest[i] == int(np.argmin(each))
        assert found[3] < 0.1
        assert found[4] > 0.1

    def test_the_median_of_pairs_and_of_repeated_pairs(self) -> None:
        rows = {view: np.random.default_rng(i).normal(size=(12, 2)) for i, view in enumerate(COPY_VIEWS)}
        pairs = RealPairs(rows, np.arange(12) % 2, 2, 0)
        counts = np.random.default_rng(0).integers(0, 3, 12)
        for weights in (None, counts.astype(float)):
            places = np.repeat(np.arange(12), 1 if weights is None else counts)
            for view, found in pairs.median_distance(weights).items():
                apart = [float(np.linalg.norm(rows[view][i] - rows[view][j]))
                         for at, i in enumerate(places) for j in places[at + 1 :] if i != j]  # fmt: skip
                assert found == pytest.approx(np.median(apart))


@pytest.mark.usefixtures("small_blocks")
def test_votes_are_those_of_the_nearest_real_images() -> None:
    rows, labels = {view: rows_of(i, 30, 3)[0] for i, view in enumerate(COPY_VIEWS)}, rows_of(0, 30, 3)[1]
    real, real_labels = {view: rows_of(5 + i, 33, 3)[0] for i, view in enumerate(COPY_VIEWS)}, np.arange(33) % 3
    votes = NeighborVotes(rows, labels, real, real_labels, 3, 0)
    counts = np.random.default_rng(0).integers(0, 3, 33)
    for weights in (np.ones(33, int), counts):
        own, contradicted = votes.contradicted(weights.astype(float))
        for i in range(30):
            cast = [0, 0, 0]
            for view in COPY_VIEWS:
                order = sorted(range(33), key=lambda j: float(((rows[view][i] - real[view][j]) ** 2).sum()))
                for nearest in [j for j in order for _ in range(weights[j])][:7]:
                    cast[real_labels[nearest]] += 1
            assert own[i] == pytest.approx(cast[labels[i]] / 14)
            assert contradicted[i] == (max(cast) > cast[labels[i]])


def test_group_differences_are_those_of_loops() -> None:
    features = FEATURES["gray"]
    rng = np.random.default_rng(0)
    of_set, of_real = rng.normal(size=(3, len(features))), rng.normal(size=(3, len(features)))
    counts = np.array([5.0, 20.0, 10.0])
    for each in group_differences(of_set, of_real, counts, features, 1):
        mine = [i for i, feature in enumerate(features) if feature.group == each.group]

        def contrast(means: Any, i: int) -> float:
            return float(means[1, i] - (5 * means[0, i] + 10 * means[2, i]) / 15)

        apart = {i: contrast(of_set, i) - contrast(of_real, i) for i in mine}
        assert each.moved == pytest.approx(np.sqrt(np.mean(np.square(list(apart.values())))))
        named = max((i for i in mine if features[i].role == "statistic"), key=lambda i: abs(apart[i]))
        assert each.feature == features[named].name
        assert each.shift == pytest.approx(apart[named])
        assert each.words == (features[named].higher if apart[named] >= 0 else features[named].lower)
        own = [of_set[1, i] - of_real[1, i] for i in mine]
        assert each.moved_of[0] == pytest.approx(np.sqrt(np.mean(np.square(own))))


class TestDraws:
    labels = np.repeat([0, 1], [30, 50])
    groups = np.arange(80) // 5

    def test_balanced_places_hold_as_many_of_each_class(self) -> None:
        found = balanced_places(self.labels, 2, 0, 20)
        assert np.bincount(self.labels[found]).tolist() == [20, 20]
        assert len(set(found)) == 40
        assert np.bincount(self.labels[balanced_places(self.labels, 2, 0, 500)]).tolist() == [30, 30]

    def test_groups_are_drawn_together_and_classes_keep_their_groups(self) -> None:
        for weights in resamples(self.labels, self.groups, 2, 20, 0):
            by_group = weights.reshape(16, 5)
            assert (by_group == by_group[:, :1]).all()
            assert by_group[:6, 0].sum() == 6
            assert by_group[6:, 0].sum() == 10

    def test_halves_share_no_group(self) -> None:
        found = list(halves(self.labels, self.groups, 2, 6, 0))
        assert len(found) == 6
        for first, second in found:
            assert not set(self.groups[first]) & set(self.groups[second])
            assert sorted([*first, *second]) == list(range(80))
            assert np.bincount(self.labels[first]).tolist() == [15, 25]
        assert len({tuple(first) for first, _ in found}) > 1

    def test_a_class_of_one_group_has_no_halves(self) -> None:
        assert list(halves(self.labels, self.labels, 2, 3, 0)) == []

    def test_groups_with_several_classes(self) -> None:
        mixed = np.arange(80) % 20
        for first, second in halves(self.labels, mixed, 2, 3, 0):
            assert not set(mixed[first]) & set(mixed[second])
        for weights in resamples(self.labels, mixed, 2, 3, 0):
            assert all(len(set(weights[mixed == group])) == 1 for group in range(20))

    def test_half_of_the_labels_are_swapped(self) -> None:
        labels = np.arange(90) % 3
        found = half_swapped(labels, 3, np.random.default_rng(0))
        assert [(found[labels == k] != k).sum() for k in range(3)] == [15, 15, 15]
        assert set(found) == {0, 1, 2}
