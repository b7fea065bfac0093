"""Covered real images against slow loops; what uncovered ones look like; no words about chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iuscore.errors import UserError
from iuscore.explain.compare.controls import precision_recall_density_coverage
from iuscore.explain.compare.coverage import SHOWN, coverage
from iuscore.explain.value.duplicates import COPY_VIEWS
from iuscore.explain.value.judge import halves
from iuscore.features import FEATURES

FEATURES_OF_GRAY = FEATURES["gray"]
NAMES = [feature.name for feature in FEATURES_OF_GRAY]
STATISTICS = [i for i, feature in enumerate(FEATURES_OF_GRAY) if feature.role == "statistic"]
CLASSES = ("normal", "abnormal")
MIX = np.random.default_rng(99).normal(size=(4, len(NAMES) + 12))


def views(rng: np.random.Generator, n: int) -> tuple[dict[Any, Any], Any]:
    """Rows of both views, few directions apart, as those of images are, and labels."""
    both = rng.normal(size=(n, 4)) @ MIX + 0.3 * rng.normal(size=(n, MIX.shape[1]))
    labels = np.arange(n) % 2
    both += 2 * labels[:, None]
    return {"texture": both[:, : len(NAMES)], "patch": both[:, len(NAMES) :]}, labels


def of(rows: Any, labels: Any, real: Any, known: Any, **options: Any) -> Any:
    return coverage(
        rows, labels, real, known, CLASSES, FEATURES_OF_GRAY, 0, **{"halves": 0, "resampled": 0} | options
    )  # fmt: skip


def taken(rows: dict[Any, Any], places: Any) -> dict[Any, Any]:
    return {view: each[places] for view, each in rows.items()}


def slow(rows: Any, real: Any) -> Any:
    """Which real images are covered, k = 5, in one view."""
    found = []
    for i, image in enumerate(real):
        others = sorted(np.linalg.norm(image - other) for j, other in enumerate(real) if j != i)
        found.append(min(np.linalg.norm(rows - image, axis=1), default=np.inf) < others[4])
    return np.array(found)


class TestCovered:
    def test_they_are_those_of_loops(self) -> None:
        rng = np.random.default_rng(0)
        (rows, labels), (real, known) = views(rng, 14), views(rng, 60)
        uids = [f"image {i}" for i in range(60)]
        found = of(rows, labels, real, known, uids=uids)
        for k, each in enumerate(found):
            covered = [slow(rows[view][labels == k], real[view][known == k]) for view in COPY_VIEWS]
            assert each.covered.value == pytest.approx(np.mean(covered))
            neither = np.flatnonzero(known == k)[~np.logical_or(*covered)]
            assert len(neither) > 2
            assert set(each.uncovered) <= {uids[i] for i in neither}
            assert len(each.uncovered) == min(len(neither), SHOWN)
            plain = [
                precision_recall_density_coverage(rows[view][labels == k], real[view][known == k])["coverage"]
                for view in COPY_VIEWS
            ]
            assert each.covered.value == pytest.approx(np.mean(plain))

    def test_the_farthest_come_first(self) -> None:
        """Two kinds of images of one class that the set lacks, one farther off than the other."""
        rng = np.random.default_rng(0)
        (rows, labels), (real, known) = views(rng, 200), views(rng, 200)
        near, far = (np.arange(start, start + 20, 2) for start in (10, 50))
        for view in COPY_VIEWS:
            real[view][near] += 30
            real[view][far] -= 90
        found = of(rows, labels, real, known, uids=[str(i) for i in range(200)])
        assert {int(uid) for uid in found[0].uncovered[:10]} == set(far)
        assert {int(uid) for uid in found[0].uncovered[10:]} <= set(near)
        assert not {int(uid) for uid in found[1].uncovered} & {*near, *far}

    def test_names_that_are_not_known_are_not_made_up(self) -> None:
        rng = np.random.default_rng(0)
        (rows, labels), (real, known) = views(rng, 20), views(rng, 60)
        assert [each.uncovered for each in of(rows, labels, real, known)] == [(), ()]

    def test_images_of_another_class_do_not_count(self) -> None:
        rng = np.random.default_rng(0)
        real, known = views(rng, 60)
        found = of(real, np.zeros(60, int), real, known)
        assert [each.covered.value for each in found] == [1, 0]

    def test_halves_of_real_images_take_the_place_of_the_set(self) -> None:
        rng = np.random.default_rng(0)
        (rows, labels), (real, known) = views(rng, 200), views(rng, 61)
        found = of(rows, labels, real, known, halves=3)
        few = of(taken(rows, slice(20)), labels[:20], real, known, halves=3)
        for k, each in enumerate(few):
            mine = np.arange(20)[labels[:20] == k]
            wanted = [
                np.mean([slow(rows[view][mine], real[view][b[known[b] == k]]) for view in COPY_VIEWS])
                for _, b in halves(known, np.arange(61), 2, 3, 0)
            ]
            assert each.covered.value == pytest.approx(np.mean(wanted))
        for k, each in enumerate(found):
            wanted = [
                np.mean([slow(real[view][a[known[a] == k]], real[view][b[known[b] == k]]) for view in COPY_VIEWS])
                for a, b in halves(known, np.arange(61), 2, 3, 0)
            ]
            assert each.covered.real == pytest.approx(np.mean(wanted))
            assert each.covered.swapped < each.covered.real
            assert each.covered.shuffled < each.covered.real

    def test_intervals_hold_the_value_and_shrink_with_more_real_images(self) -> None:
        rng = np.random.default_rng(0)
        rows, labels = views(rng, 40)
        widths = []
        for n in (60, 600):
            real, known = views(np.random.default_rng(1), n)
            one = of(rows, labels, real, known, resampled=40)[0].covered
            assert one.low <= one.value <= one.high
            widths.append(one.high - one.low)
        assert widths[1] < widths[0] / 1.5

    def test_one_real_image_of_a_class_is_too_few(self) -> None:
        real, known = views(np.random.default_rng(0), 20)
        kept = (known == 0) | (np.arange(20) == 1)
        with pytest.raises(UserError, match="at least 2 real images of each class, got 1 of 'abnormal'"):
            of(real, known, taken(real, kept), known[kept])


class TestWords:
    def test_a_kind_of_image_that_the_set_lacks_is_described(self) -> None:
        """A third of the real images of one class are darker, and the set has none of these."""
        rng = np.random.default_rng(0)
        (rows, labels), (real, known) = views(rng, 200), views(rng, 300)
        column = NAMES.index("lightness mean")
        dark = (known == 1) & (np.arange(300) % 3 == 0)
        real["texture"][dark, column] -= 40
        real["patch"][dark] += 40
        found = of(rows, labels, real, known, uids=[str(i) for i in range(300)])
        assert found[0].words == ""
        assert found[1].words.startswith("lightness: on average, pixels are darker (lightness mean, ")
        assert found[1].words.endswith("spreads lower than in covered ones)")
        assert all(dark[int(uid)] for uid in found[1].uncovered)

    @pytest.mark.parametrize(("n", "m"), [(40, 120), (120, 120), (60, 300)])
    def test_chance_is_not_described(self, n: int, m: int) -> None:
        """Sets of the distribution of the real images, small enough to leave many real images uncovered.

        Images near each other are covered together: Welch's test alone finds a difference in most of these sets.
        """
        rng = np.random.default_rng(1)
        said, count = 0, 100
        for _ in range(count):
            (rows, labels), (real, known) = views(rng, n), views(rng, m)
            said += any(each.words for each in of(rows, labels, real, known))
        assert said / count <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / count)

    def test_without_halves_nothing_is_said(self) -> None:
        rng = np.random.default_rng(0)
        (rows, labels), (real, known) = views(rng, 200), views(rng, 300)
        real["patch"][::3] += 40
        real["texture"][::3] += 40
        assert all(each.words for each in of(rows, labels, real, known))
        of_one_patient = np.where(known == 0, 1000, np.arange(300))  # normal images cannot be halved
        assert not any(each.words for each in of(rows, labels, real, known, groups=of_one_patient))

    def test_images_of_one_patient_are_no_evidence_of_a_kind(self) -> None:
        rng = np.random.default_rng(2)
        (rows, labels), (real, known) = views(rng, 200), views(rng, 200)
        odd = np.flatnonzero(known == 0)[:20]
        for view in COPY_VIEWS:
            real[view][odd] += 40
        groups = np.arange(200)
        groups[odd] = groups[odd[0]]
        assert of(rows, labels, real, known)[0].words != ""
        assert of(rows, labels, real, known, groups=groups)[0].words == ""
