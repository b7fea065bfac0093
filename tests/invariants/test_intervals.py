"""The 95 % interval of a mean covers the true mean 95 times of 100, on the kinds of numbers that scores are."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iuscore.scoring.intervals import MIN_IMAGES, MeanSums, mean_interval, mean_of_means

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]

KINDS: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng, shape: rng.normal(size=shape), 0.0),
    "even": (lambda rng, shape: rng.random(shape), 0.5),
    "exponential": (lambda rng, shape: rng.exponential(size=shape), 1.0),
    "piled up at 1": (lambda rng, shape: 1 - rng.beta(0.5, 3, size=shape), 1 - 0.5 / 3.5),
    "piled up harder": (lambda rng, shape: 1 - rng.beta(0.3, 6, size=shape), 1 - 0.3 / 6.3),
    "two kinds of images": (
        lambda rng, shape: np.where(rng.random(shape) < 0.7, 0.99, -0.2) + 0.01 * rng.normal(size=shape),
        0.7 * 0.99 - 0.3 * 0.2,
    ),
}
REPEATS = {10: 4000, 20: 4000, 50: 4000, 1000: 1500}


def coverage(draw: Draw, mean: float, n: int, repeats: int) -> float:
    values = draw(np.random.default_rng(n), (n, repeats))
    found = mean_interval(values)  # the columns are the repeats
    assert found is not None
    return float(((found[0] <= mean) & (mean <= found[1])).mean())


@pytest.mark.parametrize("n", REPEATS)
@pytest.mark.parametrize("kind", KINDS)
def test_intervals_cover_the_true_mean(kind: str, n: int) -> None:
    """Not below 93 % but by chance; an interval without the correction does not reach that.

    Above 95 % by more than chance only where few images of two kinds leave no interval between too short and too long.
    """
    draw, mean = KINDS[kind]
    noise = 3 * math.sqrt(0.95 * 0.05 / REPEATS[n])
    found = coverage(draw, mean, n, REPEATS[n])
    assert found >= 0.93 - noise
    assert found <= (1 if kind == "two kinds of images" else 0.97 + noise)


def test_a_rare_kind_of_image_shows_once_it_is_drawn() -> None:
    """12 % of samples of 20 images lack a kind that makes up one tenth; no method can know about this kind."""
    draw: Draw = lambda rng, shape: np.where(rng.random(shape) < 0.9, 0.99, -0.2)  # noqa: E731
    for n in (50, 1000):
        assert coverage(draw, 0.9 * 0.99 - 0.1 * 0.2, n, REPEATS[n]) >= 0.93
    assert coverage(draw, 0.9 * 0.99 - 0.1 * 0.2, 20, 4000) >= 1 - 0.9**20 - 0.03


def test_the_ends_solve_the_published_formula() -> None:
    """Hall's transformation of the statistic, written out, is the quantile at both ends."""
    from scipy.stats import skew
    from scipy.stats import t as student

    values = np.random.default_rng(0).exponential(size=(30, 1))
    n, mean, sd = 30, values.mean(), values.std(ddof=1)
    gamma = float(skew(values[:, 0], bias=False))
    found = mean_interval(values)
    assert found is not None
    for end, quantile in ((found[0][0], 0.975), (found[1][0], 0.025)):
        x = (mean - end) / sd
        transformed = x + gamma * x**2 / 3 + gamma**2 * x**3 / 27 + gamma / (6 * n)
        assert math.sqrt(n) * transformed == pytest.approx(student.ppf(quantile, n - 1), abs=1e-9)


def test_intervals_without_the_correction_cover_too_little() -> None:
    from scipy.stats import t as student

    draw, mean = KINDS["piled up harder"]
    values = draw(np.random.default_rng(10), (10, 4000))
    half = student.ppf(0.975, 9) * values.std(axis=0, ddof=1) / math.sqrt(10)
    assert (np.abs(values.mean(axis=0) - mean) <= half).mean() < 0.87


def test_without_skewness_it_is_that_of_student() -> None:
    from scipy.stats import t as student

    values = np.array([-3.0, -1.0, 0.0, 1.0, 3.0])[:, None]
    half = student.ppf(0.975, 4) * values.std(ddof=1) / math.sqrt(5)
    np.testing.assert_allclose(mean_interval(values), [[-half], [half]], rtol=1e-9)


class TestGroups:
    @pytest.mark.parametrize("patients", [10, 50])
    def test_intervals_of_groups_cover_the_true_mean(self, patients: int) -> None:
        """Eight images per patient; patients differ more than images do, so an interval that counts images is too
        short.
        """
        rng, repeats = np.random.default_rng(patients), 3000
        of_patient = rng.normal(size=(patients, 1, repeats))
        values = (of_patient + 0.3 * rng.normal(size=(patients, 8, repeats))).reshape(-1, repeats)
        names = [f"p{i // 8}" for i in range(len(values))]
        found, alone = mean_interval(values, names), mean_interval(values)
        assert found is not None
        assert alone is not None
        noise = 3 * math.sqrt(0.95 * 0.05 / repeats)
        assert abs(((found[0] <= 0) & (found[1] >= 0)).mean() - 0.95) <= 0.01 + noise
        assert ((alone[0] <= 0) & (alone[1] >= 0)).mean() < 0.65

    @pytest.mark.parametrize("alike", [True, False])
    @pytest.mark.parametrize(
        "sizes",
        [[6, *[1, 2, 3, 4] * 3], [*range(1, 9)] * 2, [4] * 10, [12, *[4] * 40]],
        ids=lambda sizes: str(len(sizes)),
    )
    def test_coverage_of_groups_of_unequal_sizes(self, sizes: list[int], alike: bool) -> None:
        """Skewed scores; images of a patient that are copies, or that share a part."""
        rng, repeats = np.random.default_rng(len(sizes)), 3000

        def skewed(n: int) -> Any:
            return 1 - rng.beta(0.5, 3, size=(n, repeats))

        of_patient = np.repeat(skewed(len(sizes)), sizes, axis=0)
        values = of_patient if alike else (of_patient + skewed(sum(sizes))) / 2
        found = mean_interval(values, np.repeat([f"p{i}" for i in range(len(sizes))], sizes).tolist())
        assert found is not None
        true = 1 - 0.5 / 3.5
        assert ((found[0] <= true) & (true <= found[1])).mean() > 0.91

    def test_a_group_beside_which_the_others_hardly_count(self) -> None:
        values = np.random.default_rng(0).random((76, 1))
        assert mean_interval(values, ["large"] * 40 + [f"p{i // 4}" for i in range(36)]) is None

    def test_groups_of_one_value_get_an_interval_of_no_width(self) -> None:
        low, high = mean_interval(np.full((30, 1), 0.1), [str(i // 6) for i in range(30)])  # type: ignore[misc]
        assert low[0] == high[0] == 0.1

    @pytest.mark.parametrize("scale", [1e-160, 1e-120, 1e-108])
    def test_tiny_numbers_get_an_interval_on_their_scale(self, scale: float) -> None:
        low, high = mean_interval(np.array([[0.0], [0.0], [0.0], [0.0], [scale], [2 * scale]]))  # type: ignore[misc]
        assert low[0] < 0.5 * scale < high[0]

    def test_one_image_a_group_is_as_without(self) -> None:
        values = np.random.default_rng(0).random((20, 3))
        np.testing.assert_allclose(
            mean_interval(values, [str(i) for i in range(20)]), mean_interval(values), rtol=1e-12
        )

    def test_copies_of_an_image_in_its_group_change_nothing(self) -> None:
        values = np.random.default_rng(0).random((20, 3))
        names = [str(i) for i in range(20)]
        copied = mean_interval(np.concatenate([values] * 3), names * 3)
        np.testing.assert_allclose(copied, mean_interval(values), rtol=1e-12)

    def test_fewer_than_five_groups_get_no_interval(self) -> None:
        values = np.random.default_rng(0).random((40, 1))
        assert mean_interval(values, [str(i % (MIN_IMAGES - 1)) for i in range(40)]) is None
        assert mean_interval(values, [str(i % MIN_IMAGES) for i in range(40)]) is not None


@given(st.integers(1, 1500), st.integers(0, 2**32 - 1), st.booleans())
def test_parts_change_no_bit(n: int, seed: int, grouped: bool) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(5, 1e-3, size=(n, 2))
    names = [f"{i % 40}" for i in range(n)] if grouped else None
    one, parts = MeanSums(), MeanSums()
    one.add(values, names)
    ends = [0, *np.sort(rng.integers(0, n + 1, 5)).tolist(), n]
    for start, stop in pairwise(ends):
        parts.add(values[start:stop], None if names is None else names[start:stop])
    assert np.array_equal(one.mean, parts.mean)
    np.testing.assert_allclose(one.mean, values.mean(axis=0), rtol=1e-12)
    first, second = one.interval(), parts.interval()
    assert (first is None) == (second is None) == (n < MIN_IMAGES)
    if first is not None and second is not None:
        assert np.array_equal(first, second)
        assert (first[0] <= one.mean).all()
        assert (one.mean <= first[1]).all()


class TestMeanOfMeans:
    def sums(self, *sets: np.ndarray) -> list[MeanSums]:
        made = [MeanSums() for _ in sets]
        for gathered, values in zip(made, sets, strict=True):
            gathered.add(values.reshape(len(values), -1))
        return made

    def test_each_class_counts_the_same(self) -> None:
        mean, _ = mean_of_means(self.sums(np.zeros(1000), np.ones(10)))
        assert mean.tolist() == [0.5]

    def test_the_interval_of_two_means_is_that_of_welch(self) -> None:
        """Half of SciPy's interval of a difference, for symmetric numbers, which need no correction."""
        from scipy.stats import ttest_ind

        first = np.array([-2.0, -1.0, -0.5, 0.5, 1.0, 2.0])
        second = 3 + 5 * np.array([-1.0, -0.9, 0.0, 0.9, 1.0])
        mean, interval = mean_of_means(self.sums(first, second))
        welch = ttest_ind(second, -first, equal_var=False).confidence_interval(0.95)
        assert interval is not None
        assert (interval[0][0], interval[1][0]) == pytest.approx((welch.low / 2, welch.high / 2), rel=1e-9)
        assert mean[0] == pytest.approx(1.5)

    def test_intervals_of_means_cover_the_true_mean(self) -> None:
        rng, repeats = np.random.default_rng(0), 3000
        sets = [1 - rng.beta(0.5, 3, size=(n, repeats)) for n in (10, 30, 200)]
        _, interval = mean_of_means(self.sums(*sets))
        assert interval is not None
        covered = ((interval[0] <= 1 - 0.5 / 3.5) & (interval[1] >= 1 - 0.5 / 3.5)).mean()
        assert abs(covered - 0.95) <= 0.02 + 3 * math.sqrt(0.95 * 0.05 / repeats)

    def test_constant_classes_are_exact_and_small_ones_get_no_interval(self) -> None:
        mean, interval = mean_of_means(self.sums(np.full(6, 0.1), np.full(9, 0.1)))
        assert interval is not None
        assert mean[0] == interval[0][0] == interval[1][0] == pytest.approx(0.1)
        assert mean_of_means(self.sums(np.zeros(4), np.zeros(9)))[1] is None


def test_constant_columns_are_exact() -> None:
    values = np.stack([np.full(700, 0.1), np.arange(700) % 7], axis=1)
    found = mean_interval(values)
    assert found is not None
    assert found[0][0] == found[1][0] == 0.1
    assert found[0][1] < 3 < found[1][1]
