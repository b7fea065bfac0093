"""Random keys, ranks, the discount for copies, and budgets."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from iuscore import UserError
from iuscore.explain.select import Budget, Pool, choose, name_digests, parse_per_class, rank_sum
from iuscore.explain.select.order import best_first, discounted, random_keys, standardized, without_twins


def digests_of(n: int, seed: int = 0) -> np.ndarray:
    return name_digests((f"{seed}/{i}.png".encode() for i in range(n)), n)


def test_digests_are_the_first_bytes_of_blake2b() -> None:
    name = "caf\u00e9.png".encode()
    expected = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")
    assert name_digests([name], 1).tolist() == [expected]


def test_keys_are_those_of_splitmix64() -> None:
    """The published sequence of SplitMix64 from state 0 is the mixing function at multiples of its constant."""
    from iuscore.explain.select.order import _mixed

    states = (np.arange(3, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
    assert _mixed(states).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_every_image_and_every_order_is_equally_likely_to_come_first() -> None:
    digests = digests_of(3)
    orders = Counter(tuple(np.argsort(random_keys(digests, seed)).tolist()) for seed in range(6000))
    assert set(orders) == set(permutations(range(3)))
    assert stats.chisquare(list(orders.values())).pvalue > 1e-4


def test_draws_of_one_seed_are_independent() -> None:
    digests = digests_of(4000)
    first, second = (random_keys(digests, 0, draw).argsort().argsort() for draw in (0, 1))
    assert abs(stats.spearmanr(first, second).statistic) < 4 / np.sqrt(4000)


def test_rank_sum_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    texture, patch = rng.integers(0, 9, (2, 50)).astype(float)
    expected = stats.rankdata(texture) + stats.rankdata(patch)
    assert rank_sum(texture, patch).tolist() == expected.tolist()
    assert rank_sum(texture, patch).sum() == 50 * 51  # two views of ranks 1 to 50


def test_discount_is_one_standard_deviation_for_each_doubling() -> None:
    scores = standardized(np.array([3.0, 5.0, 7.0]))
    assert scores.std() == pytest.approx(1)
    assert (scores - discounted(scores, np.array([1, 2, 8]))).tolist() == pytest.approx([0, 1, 3])


def test_equal_scores_are_ordered_by_key_and_not_by_place() -> None:
    digests = digests_of(200)
    keys = random_keys(digests, 0)
    order = best_first(np.zeros(200), keys)
    assert (np.diff(keys[order].astype(float)) > 0).all()
    turned = best_first(np.zeros(200), keys[::-1])
    assert (digests[order] == digests[::-1][turned]).all()


def test_the_first_of_equal_images_is_kept() -> None:
    twins = np.array([0, 4, 0, 4, 9, 4], np.uint64)
    assert without_twins(np.array([5, 0, 1, 4, 3, 2]), twins).tolist() == [5, 0, 4, 2]


class TestBudgets:
    @pytest.mark.parametrize(
        ("count", "shared"), [(3, [1, 1, 1]), (10, [4, 3, 3]), (11, [4, 4, 3]), (1000, [334, 333, 333])]
    )
    def test_a_count_is_shared_equally_and_the_first_classes_get_the_rest(self, count: int, shared: list[int]) -> None:
        assert list(Budget(count=count).of({"a": 5000, "b": 900, "c": 400}).values()) == shared

    @pytest.mark.parametrize(("fraction", "number"), [(1.0, 30), (0.25, 8), (0.001, 1), (1 / 3, 10), (1, 30)])
    def test_a_fraction_is_of_each_class(self, fraction: float, number: int) -> None:
        assert Budget(fraction=fraction).of({"a": 30, "b": 60})["a"] == number

    def test_numbers_of_classes_are_found_in_any_case(self) -> None:
        assert Budget(per_class=parse_per_class("B=3,a=1")).of({"a": 9, "b": 9}) == {"a": 1, "b": 3}

    @pytest.mark.parametrize(
        ("budget", "said"),
        [
            ({}, "expected one of count, fraction and per_class, got none of them: give how many images you want"),
            ({"count": 1, "fraction": 0.5}, "expected one of .*, got count and fraction: .*"),
            ({"count": 0}, "count: expected a whole number of at least 1, got 0"),
            ({"count": True}, "count: expected a whole number of at least 1, got True"),
            ({"fraction": 0.0}, "fraction: expected a number above 0, at most 1, got 0.0"),
            ({"fraction": float("nan")}, "fraction: expected a number above 0, at most 1, got nan"),
            ({"fraction": 25}, "fraction: expected a number above 0, at most 1, got 25"),
            ({"per_class": {}}, "per_class: expected a number for one class at least, .*"),
            ({"per_class": {"a": 0}}, "per_class: a: expected a whole number of at least 1, got 0; leave out .*"),
            ({"count": 1}, "count: expected at least 2, one for each of a, b, got 1; per_class .*"),
            ({"per_class": {"benin": 3}}, "per_class: no image claims class 'benin': the run has a, b"),
            ({"per_class": {"A": 3, "a": 1}}, "per_class: class a comes twice"),
        ],
    )
    def test_mistakes(self, budget: dict, said: str) -> None:
        with pytest.raises(UserError, match=rf"^{said}$"):
            Budget(**budget).of({"a": 9, "b": 9})

    @pytest.mark.parametrize("text", ["a", "a=", "=3", "a=x", "a=-1", "a=1,,b=2", "a=1.5"])
    def test_mistakes_in_the_text(self, text: str) -> None:
        with pytest.raises(UserError, match=r"^--per-class: expected CLASS=NUMBER with commas, such as .*, got '"):
            parse_per_class(text)
        with pytest.raises(UserError, match=r"^--per-class: class a comes twice in 'a=1,a=2'$"):
            parse_per_class("a=1,a=2")


def test_a_file_order_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    n = 300
    digests = digests_of(n)
    ius = rng.integers(0, 4, n) / 4.0
    labels = rng.integers(0, 2, n)
    other = rng.permutation(n)
    for policy in ("ius", "confidence", "stratified", "random"):
        found = []
        for order in (np.arange(n), other):
            pool = Pool(("a", "b"), labels[order], digests[order], np.ones(n, bool), ius[order], ius[order])
            found.append(digests[order][choose(pool, Budget(count=40), policy).places].tolist())  # type: ignore[arg-type]
        assert found[0] == found[1]
