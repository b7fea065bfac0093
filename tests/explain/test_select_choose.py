"""What each policy chooses: on pools whose right answer follows from the rule."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from iuscore import UserError
from iuscore.explain.select import POLICIES, Budget, Policy, Pool, choose, k_center, moment_matching, name_digests
from iuscore.explain.select.order import standardized
from iuscore.explain.select.policies import confident_choice, random_choice
from iuscore.explain.select.spread import in_groups, joined_rows

N = 120


@pytest.fixture
def pool() -> Pool:
    rng = np.random.default_rng(0)
    return Pool(
        classes=("a", "b"),
        labels=np.arange(N) % 2,
        digests=name_digests((f"{i}.png".encode() for i in range(N)), N),
        readable=np.ones(N, bool),
        ius=rng.normal(size=N),
        confidence=rng.random(N),
        value=rng.normal(size=N),
        copies=np.ones(N, np.int64),
        contradicted=np.zeros(N, bool),
        twins=np.zeros(N, np.uint64),
    )


def rows(width: int = 5, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(N, width)).astype(np.float32)


def chosen(pool: Pool, budget: Budget, policy: Policy, **options: Any) -> list[int]:
    found: list[int] = choose(pool, budget, policy, **options).places.tolist()
    return found


@pytest.mark.parametrize("policy", ["value", "ius", "confidence"])
def test_the_highest_of_each_class_are_chosen(pool: Pool, policy: Policy) -> None:
    scores = getattr(pool, policy)
    expected = [place for k in (0, 1) for place in sorted(range(k, N, 2), key=lambda i: -scores[i])[:10]]
    assert chosen(pool, Budget(count=20), policy) == expected


@pytest.mark.parametrize(("count", "discounts"), [(40, True), (42, False)])
def test_near_copies_count_less_where_a_third_or_less_is_chosen(pool: Pool, count: int, discounts: bool) -> None:
    """60 images a class: 20 are a third of them."""
    copies = np.random.default_rng(1).integers(1, 9, N)
    pool = replace(pool, copies=copies)
    assert pool.value is not None
    expected = []
    for k in (0, 1):
        z = standardized(pool.value[k::2])
        score = z - np.log2(copies[k::2]) if discounts else z
        expected += [int(2 * i + k) for i in np.argsort(-score)[: count // 2]]
    choice = choose(pool, Budget(count=count), "value")
    assert choice.places.tolist() == expected
    assert {each.copies_discounted for each in choice.classes} == {discounts}
    plain = [int(2 * i + k) for k in (0, 1) for i in np.argsort(-pool.value[k::2])[: count // 2]]
    assert chosen(pool, Budget(count=count), "value", drop_copies=False) == plain
    assert (plain == expected) == (not discounts)


def test_identical_images_are_kept_once_and_the_best_of_them(pool: Pool) -> None:
    assert pool.value is not None
    twins = pool.twins.copy()
    twins[0:60:2] = 7  # 30 of the 60 images of class a, and of b none
    twins[1] = 7  # an image of another class is no copy
    pool = replace(pool, twins=twins)
    choice = choose(pool, Budget(per_class={"a": 31, "b": 60}), "value")
    same = set(range(0, 60, 2))
    (kept,) = same & set(choice.places.tolist())
    assert kept == max(same, key=lambda i: pool.value[i])  # type: ignore[index]
    assert [each.n_identical for each in choice.classes] == [29, 0]
    with pytest.raises(UserError, match=r"^32 images of a are wanted, and 31 of 60 can be chosen \(left out: 29 ident"):
        choose(pool, Budget(per_class={"a": 32}), "value")
    assert len(chosen(pool, Budget(count=120), "value", drop_copies=False)) == 120


@pytest.mark.parametrize("policy", POLICIES)
def test_defaults_for_contradicted_labels(pool: Pool, policy: Policy) -> None:
    """Diversity and matching alone keep swapped labels, so that these leave them out."""
    contradicted = np.zeros(N, bool)
    contradicted[:60] = True
    pool = replace(pool, contradicted=contradicted)
    given: dict[str, Any] = {"rows_of": lambda places: rows()[places], "real": {"a": rows(seed=1), "b": rows(seed=2)}}
    dropped = policy in ("diverse", "covariance")
    choice = choose(pool, Budget(count=60), policy, **given)
    assert contradicted[choice.places].any() != dropped
    assert [each.n_contradicted for each in choice.classes] == ([30, 30] if dropped else [0, 0])
    for drop in (True, False):
        some = choose(pool, Budget(count=60), policy, drop_contradicted=drop, **given)
        assert contradicted[some.places].any() != drop
        assert len(set(some.places.tolist())) == 60


@pytest.mark.parametrize("policy", POLICIES)
def test_unreadable_and_scoreless_images_are_never_chosen_and_counted(pool: Pool, policy: Policy) -> None:
    readable, ius, value = pool.readable.copy(), pool.ius.copy(), np.array(pool.value)
    readable[:10] = False
    ius[:14] = np.nan
    value[:20] = np.nan  # read and scored, but without a value
    pool = replace(pool, readable=readable, ius=ius, value=value)
    given: dict[str, Any] = {"rows_of": lambda places: rows()[places], "real": {"a": rows(seed=1), "b": rows(seed=2)}}
    first = 20 if policy == "value" else 14
    choice = choose(pool, Budget(count=N - first), policy, **given)
    assert sorted(choice.places.tolist()) == list(range(first, N))
    assert [(each.n_unreadable, each.n_scoreless) for each in choice.classes] == [(5, (first - 10) // 2)] * 2
    left_out = f"5 unreadable, {(first - 10) // 2} without a score"
    n = (N - first) // 2
    said = f"{n + 1} images of a are wanted, and {n} of 60 can be chosen (left out: {left_out}): ask for fewer"
    with pytest.raises(UserError, match=rf"^{re.escape(said)}$"):
        choose(pool, Budget(per_class={"a": n + 1}), policy, **given)


def test_one_image_of_each_stretch_of_the_ius(pool: Pool) -> None:
    for wanted in (1, 7, 10, 59, 60):
        places = np.array(chosen(pool, Budget(per_class={"a": wanted}), "stratified"))
        ranks = np.argsort(np.argsort(pool.ius[::2]))[places // 2]
        assert (np.sort(ranks) * wanted // 60).tolist() == list(range(wanted))


def test_stratified_draws_differ_by_seed_and_keep_the_distribution(pool: Pool) -> None:
    draws = [chosen(pool, Budget(per_class={"a": 12}), "stratified", seed=seed) for seed in range(200)]
    assert len({tuple(draw) for draw in draws}) == 200
    often = np.bincount(np.concatenate(draws), minlength=N)[::2]
    assert often.min() > 0  # each image of a stretch of five, one in five times
    assert abs(often - 40).max() < 5 * np.sqrt(200 * 0.2 * 0.8)


def test_random_draws_take_every_image_equally_often(pool: Pool) -> None:
    often = np.zeros(N)
    for seed in range(400):
        often[chosen(pool, Budget(count=40), "random", seed=seed)] += 1
    assert abs(often - 400 / 3).max() < 5 * np.sqrt(400 * 2 / 9)


def test_controls_have_the_same_numbers_and_leave_nothing_out(pool: Pool) -> None:
    pool = replace(pool, contradicted=np.ones(N, bool), twins=np.full(N, 3, np.uint64))
    choice = choose(pool, Budget(per_class={"a": 5, "b": 9}), "ius")
    confident = confident_choice(pool, choice.classes, 0)
    expected = [i for k, n in ((0, 5), (1, 9)) for i in sorted(range(k, N, 2), key=lambda i: -pool.confidence[i])[:n]]
    assert confident.tolist() == expected
    draws = [random_choice(pool, choice.classes, 0, draw).tolist() for draw in range(3)]
    assert len({tuple(draw) for draw in draws}) == 3
    for draw in draws:
        assert np.bincount(pool.labels[draw]).tolist() == [5, 9]
        assert len(set(draw)) == 14


def test_what_a_policy_needs_is_said() -> None:
    bare = Pool(("a",), np.zeros(3, int), name_digests([b"x", b"y", b"z"], 3), np.ones(3, bool), np.ones(3), np.ones(3))
    for policy, noun in (("value", "values"), ("diverse", "rows"), ("covariance", "rows")):
        with pytest.raises(UserError, match=rf"^policy: {policy} needs the {noun} of the images, and there are none$"):
            choose(bare, Budget(count=1), policy)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"^policy: covariance needs the rows of real images"):
        choose(bare, Budget(count=1), "covariance", rows_of=lambda places: rows()[places])
    with pytest.raises(UserError, match=r"^drop_contradicted: the images have no labels"):
        choose(bare, Budget(count=1), "ius", drop_contradicted=True)
    with pytest.raises(UserError, match=r"^policy: expected one of value, ius, .*, got 'best'$"):
        choose(bare, Budget(count=1), "best")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"^no image has a score: nothing to choose from$"):
        choose(replace(bare, ius=np.full(3, np.nan)), Budget(count=1), "ius")


def test_classes_share_a_count_if_an_image_claims_them(pool: Pool) -> None:
    pool = replace(pool, classes=("a", "b", "c"))  # of c there are none
    assert [each.n_chosen for each in choose(pool, Budget(count=9), "ius").classes] == [5, 4]
    pool = replace(pool, readable=pool.labels == 0)  # those of b are all unreadable: to leave b out would be silent
    with pytest.raises(UserError, match=r"^4 images of b are wanted, and 0 of 60 can be chosen \(left out: 60 unread"):
        choose(pool, Budget(count=9), "ius")


class TestTogether:
    def test_k_center_is_within_twice_the_best_radius(self) -> None:
        """The bound of Gonzalez, against the best of all sets of three."""
        from itertools import combinations

        for seed in range(5):
            x = np.random.default_rng(seed).normal(size=(12, 2)).astype(np.float32)
            distances = np.linalg.norm(x[:, None] - x[None], axis=2)
            best = min(distances[:, list(some)].min(1).max() for some in combinations(range(12), 3))
            assert distances[:, k_center(x, 3)].min(1).max() <= 2 * best + 1e-5

    def test_k_center_by_hand(self) -> None:
        x = np.array([[0, 0], [10, 0], [0, 6], [0.5, 0], [4, 1]], np.float32)
        # Nearest to the mean (2.9, 1.4); then the farthest of it; then those farthest from all chosen.
        assert k_center(x, 4).tolist() == [4, 2, 1, 0]

    def test_equal_rows_come_last(self) -> None:
        x = np.repeat(np.random.default_rng(0).normal(size=(6, 3)), 3, axis=0).astype(np.float32)
        assert sorted(k_center(x, 6) // 3) == list(range(6))
        assert sorted(k_center(x, 18).tolist()) == list(range(18))

    def test_moment_matching_takes_the_best_next_image_each_time(self) -> None:
        rng = np.random.default_rng(0)
        x, real = rng.normal(size=(15, 3)).astype(np.float32), rng.normal(size=(40, 3)).astype(np.float32)
        center, covariance = real.mean(0), np.cov(real.T, bias=True)

        def distance(places: list[int]) -> float:
            some = x[places].astype(float) - center
            return float((some.mean(0) ** 2).sum() + ((some.T @ some / len(some) - covariance) ** 2).sum())

        taken: list[int] = []
        for _ in range(8):
            taken.append(min(set(range(15)) - set(taken), key=lambda i: distance([*taken, i])))
        assert moment_matching(x, 8, real).tolist() == taken

    def test_matching_brings_moments_nearer_than_chance(self) -> None:
        rng = np.random.default_rng(0)
        x, real = rng.normal(size=(500, 8)).astype(np.float32) * 2 + 1, rng.normal(size=(300, 8)).astype(np.float32)

        def off(some: np.ndarray[Any, Any]) -> float:
            return float(np.linalg.norm(some.mean(0) - real.mean(0)) + np.linalg.norm(np.cov(some.T) - np.cov(real.T)))

        assert off(x[moment_matching(x, 60, real)]) < 0.3 * off(x[:60])

    def test_the_views_weigh_the_same(self) -> None:
        texture, patch = np.random.default_rng(0).normal(size=(2, 4, 9))
        patch = patch[:, :4]
        joined = joined_rows(texture, patch)
        for i in range(4):
            expected = np.mean((texture[0] - texture[i]) ** 2) + np.mean((patch[0] - patch[i]) ** 2)
            assert np.sum((joined[0] - joined[i]) ** 2) == pytest.approx(expected, rel=1e-5)

    def test_groups_bound_the_pairs(self) -> None:
        seen = []

        def rule(some: Any, count: int) -> Any:
            seen.append((len(some), count))
            return np.arange(count)

        places, groups = in_groups(rule, np.zeros((1000, 1), np.float32), 90, pairs=10_000)
        assert groups == len(seen) == 9
        assert sum(n * count for n, count in seen) <= 10_100
        assert (sum(n for n, _ in seen), sum(count for _, count in seen)) == (1000, 90)
        assert len(set(places.tolist())) == 90

    def test_a_bounded_cost_is_told(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("iuscore.explain.select.policies.most_candidates", lambda count: 20)
        monkeypatch.setattr(in_groups, "__defaults__", (100,))
        choice = choose(pool, Budget(per_class={"b": 10}), "diverse", rows_of=lambda places: rows()[places])
        assert choice.notes == (
            "b: chosen among 20 of 60, drawn at random and in 2 random groups, each by itself, to bound the time",
        )
        assert choice.classes[0].n_candidates == 20
        monkeypatch.setattr("iuscore.explain.select.policies.MOST", 9)
        with pytest.raises(
            UserError, match=r"^policy: diverse chooses at most 9 images of a class, got 10 of b; value,"
        ):
            choose(pool, Budget(per_class={"b": 10}), "diverse", rows_of=lambda places: rows()[places])
