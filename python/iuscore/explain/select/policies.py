"""Choose images of a scored set by a policy, class by class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from iuscore.errors import UserError, bounded
from iuscore.explain.select.budgets import Budget
from iuscore.explain.select.order import (
    Keys,
    Numbers,
    Places,
    best_first,
    discounted,
    discounts_copies,
    random_keys,
    standardized,
    without_twins,
)
from iuscore.explain.select.records import POLICIES, ClassSelection, Policy
from iuscore.explain.select.spread import MOST, Rows, in_groups, k_center, moment_matching, most_candidates

TIES_DRAW, POLICY_DRAW, FIRST_CONTROL = 0, 1, 2
"""Numbers of the random keys: of ties, of what a policy draws, and of the first random selection beside it."""

BY_SCORE: tuple[Policy, ...] = ("value", "ius", "confidence")
BY_ROWS: tuple[Policy, ...] = ("diverse", "covariance")

RowsOf = Callable[[Places], Rows]
"""Places in a pool -> float32 [n, d]: rows as `joined_rows` gives them."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Scored images as columns, N of them.

    Attributes:
        classes: K names.
        labels: int [N]: place of the claimed class in ``classes``.
        digests: uint64 [N], `name_digests` of the uids.
        readable: bool [N].
        ius: [N]; NaN where an image has no score.
        confidence: [N]: probability of the claimed class; NaN likewise.
        value: [N], `rank_sum`; NaN likewise. None where the run has no values.
        copies: int [N], images of the class that are nearly the same, itself included; None likewise.
        contradicted: bool [N]; None likewise.
        twins: uint64 [N], equal where all features of two images are, 0 of an image like no other; None where this is
            not known.

    Example:
        >>> from iuscore.explain.select.order import name_digests
        >>> ius = np.array([0.1, 0.9, 0.5])
        >>> pool = Pool(("a",), np.zeros(3, int), name_digests([b"x", b"y", b"z"], 3), np.ones(3, bool), ius, ius)
        >>> choose(pool, Budget(count=2), "ius").places.tolist()
        [1, 2]
    """

    classes: tuple[str, ...]
    labels: npt.NDArray[np.integer[Any]]
    digests: Keys
    readable: npt.NDArray[np.bool_]
    ius: npt.NDArray[Any]
    confidence: npt.NDArray[Any]
    value: npt.NDArray[Any] | None = None
    copies: npt.NDArray[np.integer[Any]] | None = None
    contradicted: npt.NDArray[np.bool_] | None = None
    twins: Keys | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def scored(self, k: int) -> Places:
        """Places of the images with a score that claim class ``k``."""
        return np.flatnonzero(self.readable & np.isfinite(self.ius) & (self.labels == k))

    def scores(self, policy: Policy) -> npt.NDArray[Any]:
        """What the images are ordered by; for policies without an order of their own, the IUS."""
        if policy == "value":
            assert self.value is not None
            return self.value
        return self.confidence if policy == "confidence" else self.ius


@dataclass(frozen=True, eq=False)
class Choice:
    """Chosen images.

    Attributes:
        places: int64 [n], class after class; by a score the best first, else in the order they were chosen.
        classes: what was chosen in each class.
        notes: what is to be known of it.
    """

    places: Places
    classes: tuple[ClassSelection, ...]
    notes: tuple[str, ...] = ()


def default_drops(policy: Policy) -> tuple[bool, bool]:
    """Whether a policy leaves out copies, and images that their nearest real images contradict, unless told otherwise.

    Example:
        >>> default_drops("value"), default_drops("diverse"), default_drops("ius")
        ((True, False), (True, True), (False, False))
    """
    return policy in ("value", *BY_ROWS), policy in BY_ROWS


def choose(
    pool: Pool,
    budget: Budget,
    policy: Policy = "value",
    *,
    drop_copies: bool | None = None,
    drop_contradicted: bool | None = None,
    seed: int = 0,
    rows_of: RowsOf | None = None,
    real: Mapping[str, Rows] | None = None,
) -> Choice:
    """Choose images of each class.

    Args:
        pool: the scored images.
        budget: how many are wanted.
        policy: "value", "ius", "confidence": the highest first. "diverse": `k_center`. "covariance":
            `moment_matching`. "stratified": one from each of as many stretches of equal size, in the order of the IUS.
            "random".
        drop_copies: keep images with identical features once. By a score, and where a third or less of a class is
            wanted, order by the score in standard deviations less log2 of the number of near copies. None: as
            `default_drops` says.
        drop_contradicted: leave out images whose nearest real images contradict their label. None: likewise.
        seed: of ties and of what is drawn.
        rows_of: rows of images, for "diverse" and "covariance".
        real: class -> rows of its real images, for "covariance".

    Raises:
        UserError: more images wanted than there are, or something is missing that the policy needs.

    Source: the order by value is KNN-Shapley in two views with the discount for copies, see docs/value.md.

    Example:
        >>> from iuscore.explain.select.order import name_digests
        >>> digests, score = name_digests((b"%d" % i for i in range(8)), 8), np.arange(8.0)
        >>> pool = Pool(("a", "b"), np.arange(8) % 2, digests, np.ones(8, bool), score, score)
        >>> choose(pool, Budget(count=4), "ius").places.tolist()
        [6, 4, 7, 5]
    """
    if policy not in POLICIES:
        raise UserError(f"policy: expected one of {', '.join(POLICIES)}, got {bounded(policy)}")
    by_default = default_drops(policy)
    copies = by_default[0] if drop_copies is None else drop_copies
    contradicted = by_default[1] if drop_contradicted is None else drop_contradicted
    _require(pool, policy, rows_of, real)
    if drop_contradicted and pool.contradicted is None:
        raise UserError("drop_contradicted: the images have no labels of their nearest real images")
    rules = _Rules(pool, policy, copies, contradicted and pool.contradicted is not None, seed, rows_of, real or {})
    scored = {name: len(pool.scored(k)) for k, name in enumerate(pool.classes) if (pool.labels == k).any()}
    if not any(scored.values()):
        raise UserError("no image has a score: nothing to choose from")
    wanted = budget.of(scored)
    found = [rules.of_class(k, wanted[name]) for k, name in enumerate(pool.classes) if name in wanted]
    places = np.concatenate([places for places, _, _ in found])
    notes = [note for _, _, note in found if note]
    return Choice(places, tuple(each for _, each, _ in found), tuple(notes))


def _require(pool: Pool, policy: Policy, rows_of: RowsOf | None, real: Mapping[str, Rows] | None) -> None:
    if policy == "value" and pool.value is None:
        raise UserError("policy: value needs the values of the images, and there are none")
    if policy in BY_ROWS and rows_of is None:
        raise UserError(f"policy: {policy} needs the rows of the images, and there are none")
    if policy == "covariance" and real is None:
        raise UserError("policy: covariance needs the rows of real images, and there are none")


@dataclass(frozen=True)
class _Rules:
    pool: Pool
    policy: Policy
    drop_copies: bool
    drop_contradicted: bool
    seed: int
    rows_of: RowsOf | None
    real: Mapping[str, Rows]

    def of_class(self, k: int, wanted: int) -> tuple[Places, ClassSelection, str]:
        """Places of the chosen images of class ``k``, the record, and a note."""
        pool, name = self.pool, self.pool.classes[k]
        mine, scored = pool.labels == k, pool.scored(k)
        candidates = scored[np.isfinite(pool.scores(self.policy)[scored])]
        record = ClassSelection(
            target=name,
            n=int(mine.sum()),
            n_unreadable=int((mine & ~pool.readable).sum()),
            n_scoreless=int((mine & pool.readable).sum()) - len(candidates),
            n_contradicted=0,
            n_identical=0,
            n_candidates=0,
            n_chosen=wanted,
        )
        discounted = False
        order = self._order(candidates)
        if self.policy in BY_SCORE:
            scores = standardized(pool.scores(self.policy)[candidates])
            discounted = self.drop_copies and pool.copies is not None and discounts_copies(wanted, len(scored))
            order = self._by_score(candidates, scores, discounted)
        if self.drop_contradicted:
            assert pool.contradicted is not None
            kept = order[~pool.contradicted[order]]
            record = replace(record, n_contradicted=len(order) - len(kept))
            order = kept
        if self.drop_copies and pool.twins is not None:
            kept = without_twins(order, pool.twins)
            record = replace(record, n_identical=len(order) - len(kept))
            order = kept
        record = replace(record, n_candidates=len(order), copies_discounted=discounted)
        if wanted > len(order):
            raise UserError(_too_many(record))
        if self.policy in BY_ROWS:
            order, note = self._together(name, order, wanted)
            return order, replace(record, n_candidates=min(record.n_candidates, most_candidates(wanted))), note
        chosen = self._stratified(order, wanted) if self.policy == "stratified" else order[:wanted]
        return chosen, record, ""

    def _order(self, places: Places) -> Places:
        keys = random_keys(self.pool.digests[places], self.seed, POLICY_DRAW)
        return places[np.argsort(keys, kind="stable")]

    def _by_score(self, places: Places, scores: Numbers, discounts: bool) -> Places:
        if discounts:
            assert self.pool.copies is not None
            scores = discounted(scores, self.pool.copies[places])
        return places[best_first(scores, random_keys(self.pool.digests[places], self.seed, TIES_DRAW))]

    def _stratified(self, order: Places, wanted: int) -> Places:
        """One image from each of ``wanted`` stretches in the order of the IUS, by its random key."""
        keys = random_keys(self.pool.digests[order], self.seed, POLICY_DRAW)
        ranked = np.lexsort((keys, self.pool.ius[order]))
        stretch = np.arange(len(order)) * wanted // len(order)
        by_key = np.lexsort((keys[ranked], stretch))
        first = np.unique(stretch[by_key], return_index=True)[1]
        return order[ranked[by_key[first]]]

    def _together(self, name: str, order: Places, wanted: int) -> tuple[Places, str]:
        if wanted > MOST:
            raise UserError(
                f"policy: {self.policy} chooses at most {MOST} images of a class, got {wanted} of {name}; "
                "value, ius, confidence, stratified and random take any number"
            )
        assert self.rows_of is not None
        candidates = order[: most_candidates(wanted)]  # by random keys
        rows = self.rows_of(candidates)

        def matching(some: Rows, count: int) -> Places:
            return moment_matching(some, count, self.real[name])

        places, groups = in_groups(k_center if self.policy == "diverse" else matching, rows, wanted)
        said = []
        if len(candidates) < len(order):
            said.append(f"chosen among {len(candidates)} of {len(order)}, drawn at random")
        if groups > 1:
            said.append(f"in {groups} random groups, each by itself")
        return candidates[places], f"{name}: {' and '.join(said)}, to bound the time" if said else ""


def _too_many(record: ClassSelection) -> str:
    left_out = [f"{n} {what}" for what, n in record.left_out.items() if n]
    without = f" (left out: {', '.join(left_out)})" if left_out else ""
    return (
        f"{record.n_chosen} images of {record.target} are wanted, and {record.n_candidates} of {record.n} can be "
        f"chosen{without}: ask for fewer"
    )


def random_choice(pool: Pool, wanted: Sequence[ClassSelection], seed: int, draw: int = 0) -> Places:
    """As many scored images of each class as were chosen, drawn at random, nothing left out.

    Args:
        pool: the scored images. wanted: what was chosen in each class. seed, draw: another pair is another draw.

    Returns:
        int64 [n], class after class, in random order.

    Example:
        >>> from iuscore.explain.select.order import name_digests
        >>> digests, score = name_digests((b"%d" % i for i in range(8)), 8), np.arange(8.0)
        >>> pool = Pool(("a", "b"), np.arange(8) % 2, digests, np.ones(8, bool), score, score)
        >>> chosen = choose(pool, Budget(per_class={"b": 2}), "ius")
        >>> (random_choice(pool, chosen.classes, seed=0) % 2).tolist()  # images of b
        [1, 1]
    """
    found = []
    for each in wanted:
        scored = pool.scored(pool.classes.index(each.target))
        keys = random_keys(pool.digests[scored], seed, FIRST_CONTROL + draw)
        found.append(scored[np.argsort(keys, kind="stable")[: each.n_chosen]])
    return np.concatenate(found)


def confident_choice(pool: Pool, wanted: Sequence[ClassSelection], seed: int) -> Places:
    """As many images of each class as were chosen, those with the highest probability of their class first.

    Args:
        pool, wanted, seed: as of `random_choice`; the seed orders ties.

    Example:
        >>> from iuscore.explain.select.order import name_digests
        >>> digests, ius, confidence = name_digests((b"%d" % i for i in range(4)), 4), np.arange(4.0), -np.arange(4.0)
        >>> pool = Pool(("a",), np.zeros(4, int), digests, np.ones(4, bool), ius, confidence)
        >>> confident_choice(pool, choose(pool, Budget(count=2), "ius").classes, seed=0).tolist()
        [0, 1]
    """
    found = []
    for each in wanted:
        scored = pool.scored(pool.classes.index(each.target))
        confidence = np.nan_to_num(pool.confidence[scored], nan=-1.0)
        order = best_first(confidence, random_keys(pool.digests[scored], seed, TIES_DRAW))
        found.append(scored[order[: each.n_chosen]])
    return np.concatenate(found)
