"""Discriminants, transfer and influence against formulas written out, scikit-learn and finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iuscore.explain.value.linear import (
    SHRINKAGE_FLOOR,
    ClassMoments,
    Discriminant,
    discriminant,
    discriminants,
    influence,
    macro_transfer,
    problems,
    transfer,
)

D = 7


def rows_of(seed: int, n: int = 60, classes: int = 2, away: float = 1.0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    mixing = np.random.default_rng(99).normal(size=(D, D))
    rows = rng.normal(size=(n, D)) @ mixing + away * np.random.default_rng(98).normal(size=(classes, D))[labels]
    return rows, labels


def fitted(rows: Any, labels: Any, weights: Any = None) -> Discriminant:
    return discriminant(ClassMoments(2, D).add(rows, labels, weights))


def centered(rows: Any, labels: Any) -> Any:
    return np.concatenate([rows[labels == k] - rows[labels == k].mean(0) for k in np.unique(labels)])


@pytest.mark.parametrize("n", [8, 60, 3000])
def test_weights_are_those_of_the_formula_with_ledoit_and_wolf_of_scikit_learn(n: int) -> None:
    from sklearn.covariance import ledoit_wolf_shrinkage

    rows, labels = rows_of(0, n)
    found = fitted(rows, labels)
    within = centered(rows, labels)
    a = max(ledoit_wolf_shrinkage(within, assume_centered=True), SHRINKAGE_FLOOR)
    assert found.shrinkage == pytest.approx(a, rel=1e-9)
    c = sum(np.outer(row, row) for row in within) / n
    sigma = (1 - a) * c + a * np.trace(c) / D * np.eye(D)
    difference = rows[labels == 1].mean(0) - rows[labels == 0].mean(0)
    np.testing.assert_allclose(found.covariance, sigma, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.weights, np.linalg.inv(sigma) @ difference, rtol=1e-8)


def test_the_shrinkage_has_its_floor_and_its_ceiling() -> None:
    assert fitted(*rows_of(0, 20000)).shrinkage == SHRINKAGE_FLOOR
    rng = np.random.default_rng(0)
    assert fitted(rng.normal(size=(6, D)), np.arange(6) % 2).shrinkage > 0.5
    rows = np.concatenate([np.zeros((4, D)), np.ones((4, D))])
    same = fitted(rows, np.repeat([0, 1], 4))  # nothing varies
    assert np.isfinite(same.weights).all()
    assert same.weights.min() > 0


@pytest.mark.parametrize("classes", [2, 3])
def test_pieces_in_any_order_add_up_to_the_whole(classes: int) -> None:
    rows, labels = rows_of(1, 90, classes)
    whole = ClassMoments(classes, D).add(rows, labels)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        parts = np.array_split(rng.permutation(90), 6)
        sums = [ClassMoments(classes, D).add(rows[part], labels[part]) for part in parts]
        left = ClassMoments(classes, D)
        for each in sums:
            left.merge(each)
        pairs = ClassMoments(classes, D).merge(left)
        for name, value in vars(whole).items():
            np.testing.assert_allclose(getattr(pairs, name), value, rtol=1e-12, atol=1e-9)
        for one, other in zip(discriminants(left), discriminants(whole), strict=True):
            np.testing.assert_allclose(one.weights, other.weights, rtol=1e-8)
            assert one.shrinkage == pytest.approx(other.shrinkage, rel=1e-8)


def test_whole_weights_are_repeated_rows() -> None:
    rows, labels = rows_of(2, 30)
    counts = np.random.default_rng(0).integers(0, 4, 30)
    weighted = fitted(rows, labels, counts.astype(float))
    repeated = fitted(np.repeat(rows, counts, axis=0), np.repeat(labels, counts))
    np.testing.assert_allclose(weighted.weights, repeated.weights, rtol=1e-9)


def test_other_widths_and_missing_classes_are_refused() -> None:
    moments = ClassMoments(2, D)
    with pytest.raises(ValueError, match=r"rows: expected \[n, 7\], got \[2, 3\]"):
        moments.add(np.zeros((2, 3)), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="other: expected"):
        moments.merge(ClassMoments(2, 3))
    with pytest.raises(ValueError, match="two classes with rows"):
        discriminant(moments.add(np.ones((2, D)), np.zeros(2, np.int64)))


def slow_transfer(set_rows: Any, set_labels: Any, rows: Any, labels: Any) -> float:
    """The separation d' of the real classes along a direction, over the largest one: by projecting every row."""
    w, best = fitted(set_rows, set_labels).weights, fitted(rows, labels)

    def separation(direction: Any) -> float:
        along = rows @ direction
        shrunk = best.covariance
        return (along[labels == 1].mean() - along[labels == 0].mean()) / np.sqrt(direction @ shrunk @ direction)

    return float(separation(w) / separation(best.weights))


def test_transfer_is_the_share_of_the_separation_along_its_direction() -> None:
    (set_rows, set_labels), (rows, labels) = rows_of(3), rows_of(4)
    found = transfer(fitted(set_rows, set_labels), fitted(rows, labels))
    assert found == pytest.approx(slow_transfer(set_rows, set_labels, rows, labels), rel=1e-9)
    assert 0 < found < 1


def test_no_direction_separates_better_than_the_real_one() -> None:
    real = fitted(*rows_of(4))
    for seed in range(50):
        rng = np.random.default_rng(seed)
        other = fitted(rng.normal(size=(20, D)), np.arange(20) % 2)
        assert -1 <= transfer(other, real) <= 1
    assert transfer(real, real) == pytest.approx(1, abs=1e-12)


def test_transfer_of_swapped_labels_is_turned_round_and_of_equal_classes_nothing() -> None:
    rows, labels = rows_of(3)
    real = fitted(*rows_of(4))
    assert transfer(fitted(rows, 1 - labels), real) == pytest.approx(-transfer(fitted(rows, labels), real), rel=1e-9)
    twice = fitted(np.concatenate([rows, rows]), np.repeat([0, 1], len(rows)))
    assert transfer(twice, real) == transfer(real, twice) == 0


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_transfer_does_not_depend_on_the_unit(scale: float) -> None:
    (set_rows, set_labels), (rows, labels) = rows_of(3), rows_of(4)
    one = transfer(fitted(set_rows, set_labels), fitted(rows, labels))
    assert transfer(fitted(scale * set_rows, set_labels), fitted(scale * rows, labels)) == pytest.approx(one, rel=1e-8)


def test_more_classes_are_each_set_against_the_rest() -> None:
    assert problems(2) == (1,)
    (set_rows, set_labels), (rows, labels) = rows_of(5, 90, 3), rows_of(6, 90, 3)
    found = macro_transfer(
        discriminants(ClassMoments(3, D).add(set_rows, set_labels)), discriminants(ClassMoments(3, D).add(rows, labels))
    )
    each = [slow_transfer(set_rows, (set_labels == k) * 1, rows, (labels == k) * 1) for k in range(3)]
    assert found == pytest.approx(np.mean(each), rel=1e-8)


def transfer_at(rows: Any, labels: Any, weights: Any, shrinkage: float, real: Discriminant) -> float:
    """T with the shrinkage held, written out."""
    mean = [np.average(rows[labels == k], axis=0, weights=weights[labels == k]) for k in (0, 1)]
    c = sum(w * np.outer(x - mean[y], x - mean[y]) for x, y, w in zip(rows, labels, weights, strict=True))
    c = c / weights.sum()
    sigma = (1 - shrinkage) * c + shrinkage * np.trace(c) / D * np.eye(D)
    w = np.linalg.solve(sigma, mean[1] - mean[0])
    best = np.sqrt(real.weights @ real.covariance @ real.weights)
    return float(w @ real.difference / np.sqrt(w @ real.covariance @ w) / best)


@pytest.mark.parametrize("n", [12, 60])
def test_influence_is_the_derivative_by_an_images_weight(n: int) -> None:
    rows, labels = rows_of(7, n, away=0.5)
    of_set, real = fitted(rows, labels), fitted(*rows_of(8))
    found = influence(of_set, real, rows, labels == 1)
    step = 1e-4
    for i in range(n):
        more, less = np.ones(n), np.ones(n)
        more[i] += step
        less[i] -= step
        ends = [transfer_at(rows, labels, each, of_set.shrinkage, real) for each in (more, less)]
        assert found[i] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4, abs=1e-8)


def test_influence_without_a_direction_is_nothing() -> None:
    rows, labels = rows_of(7)
    twice = fitted(np.concatenate([rows, rows]), np.repeat([0, 1], len(rows)))
    assert not influence(twice, fitted(rows, labels), rows, labels == 1).any()


def test_scaling_all_weights_changes_nothing_so_influences_sum_to_nothing() -> None:
    rows, labels = rows_of(7)
    found = influence(fitted(rows, labels), fitted(*rows_of(8)), rows, labels == 1)
    assert found.sum() == pytest.approx(0, abs=1e-9)
    assert np.abs(found).max() > 1e-4
