"""Values of sets that do not fit into memory: lists of the nearest images, copies in buckets, parts in any pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from iuscore import phantoms
from iuscore.explain.value import ReferenceViews, of_images
from iuscore.explain.value.duplicates import COPY_VIEWS, CopyBuckets, copy_counts
from iuscore.explain.value.of_images import places_of, values_of_parts, values_of_rows
from iuscore.explain.value.shapley import NearestLists, neighbor_shapley

CLASSES = ("normal", "abnormal")


def rows_of(seed: int, n: int, d: int = 3) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    return (rng.normal(size=(n, d)) + labels[:, None]).astype(np.float32), labels


class TestNearestLists:
    @pytest.mark.parametrize("pieces", [1, 3, 60])
    def test_a_list_of_all_images_gives_exact_values(self, pieces: int) -> None:
        (rows, labels), (real, real_labels) = rows_of(0, 60), rows_of(1, 20)
        lists = NearestLists(real, real_labels, kept=80)
        for part in np.array_split(np.arange(60), pieces):
            lists.add(rows[part], labels[part])
        assert lists.shapley(60) == pytest.approx(neighbor_shapley(rows, labels, real, real_labels), abs=1e-12)

    @pytest.mark.parametrize("kept", [10, 40, 150])
    def test_a_shorter_list_errs_by_at_most_one_over_its_length(self, kept: int) -> None:
        (rows, labels), (real, real_labels) = rows_of(2, 300), rows_of(3, 30)
        exact = neighbor_shapley(rows, labels, real, real_labels)
        lists = NearestLists(real, real_labels, kept=kept)
        for part in np.array_split(np.arange(300), 7):
            lists.add(rows[part], labels[part])
        error = np.abs(lists.shapley(300) - exact)
        assert 0 < error.max() <= 1 / kept

    def test_pieces_do_not_show(self) -> None:
        (rows, labels), (real, real_labels) = rows_of(4, 200), rows_of(5, 20)
        found = []
        for pieces in (1, 9):
            lists = NearestLists(real, real_labels, kept=30)
            for part in np.array_split(np.arange(200), pieces):
                lists.add(rows[part], labels[part])
            found.append(lists.shapley(200))
        assert found[0] == pytest.approx(found[1], abs=1e-12)


class TestCopyBuckets:
    def test_counts_are_lower_bounds_and_right_for_planted_copies(self) -> None:
        rng = np.random.default_rng(0)
        real = {view: rng.normal(size=(30, 8)).astype(np.float32) for view in COPY_VIEWS}
        rows = {view: rng.normal(size=(200, 8)).astype(np.float32) for view in COPY_VIEWS}
        for view in COPY_VIEWS:
            rows[view][100:104] = rows[view][0]  # five in all, of class 0
        labels = np.zeros(200, int)
        labels[50:60] = 1
        distance = dict.fromkeys(COPY_VIEWS, 4.0)
        buckets = CopyBuckets(real, distance)
        for part in np.array_split(np.arange(200), 3):
            buckets.add({view: rows[view][part] for view in COPY_VIEWS}, labels[part])
        found, exact = buckets.counts(), copy_counts(rows, labels, distance)
        assert (found <= exact).all()
        assert found[[0, 100, 101, 102, 103]].tolist() == [5] * 5
        assert exact[0] == 5

    def test_a_large_bucket_is_divided(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(CopyBuckets, "MOST", 3)
        one = {view: np.zeros((7, 2), np.float32) for view in COPY_VIEWS}
        buckets = CopyBuckets({view: rows[:1] for view, rows in one.items()}, dict.fromkeys(COPY_VIEWS, 1.0))
        buckets.add(one, np.zeros(7, int))
        assert buckets.counts().tolist() == [3, 3, 3, 3, 3, 3, 1]


@pytest.fixture(scope="module")
def reference() -> ReferenceViews:
    images = np.concatenate([phantoms.draw("radiograph", c, 25, size=32) for c in CLASSES])
    return ReferenceViews.fit(images, np.repeat([0, 1], 25), CLASSES, size=(32, 32))


@pytest.fixture(scope="module")
def generated(reference: ReferenceViews) -> tuple[Any, Any]:
    images = np.concatenate([phantoms.draw("radiograph", c, 20, size=32, seed=1) for c in CLASSES])
    return reference.embed(images), np.repeat([0, 1], 20)


@pytest.mark.parametrize("exact", [of_images.EXACT, 0])
def test_parts_give_what_the_whole_gives(
    reference: ReferenceViews, generated: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, exact: int
) -> None:
    """Also by lists: they hold 512 images, more than there are."""
    monkeypatch.setattr(of_images, "EXACT", exact)
    rows, labels = generated
    whole = values_of_rows(reference, rows, labels)

    def parts() -> Iterator[tuple[Any, Any]]:
        for part in np.array_split(np.random.default_rng(0).permutation(40), 3):
            yield {view: each[part] for view, each in rows.items()}, labels[part]

    order = np.random.default_rng(0).permutation(40)
    found = list(values_of_parts(reference, parts, 40))
    assert [len(each.value) for each in found] == [14, 13, 13]
    for field in fields(whole):
        mine, expected = [getattr(each, field.name) for each in found], getattr(whole, field.name)
        if isinstance(expected, dict):
            for key, values in expected.items():
                assert np.concatenate([each[key] for each in mine]) == pytest.approx(values[order], abs=1e-9)
        elif field.name != "copies" or exact:
            assert np.concatenate(mine) == pytest.approx(expected[order].astype(float), abs=1e-9), field.name


def test_influence_is_the_sum_of_its_groups(reference: ReferenceViews, generated: tuple[Any, Any]) -> None:
    found = values_of_rows(reference, *generated)
    total = np.sum(list(found.influence_by_group.values()), axis=0)
    assert total == pytest.approx(found.influence_by_view["texture"], abs=1e-12)


def test_places_are_from_0_to_1() -> None:
    assert places_of(np.array([3.0, 1.0, 1.0, 8.0])).tolist() == pytest.approx([2 / 3, 1 / 6, 1 / 6, 1])
    assert places_of(np.array([5.0])).tolist() == [0.0]
