"""The gain of a policy that chooses by real images, judged by other real images than those it chose by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from iuscore.errors import UserError
from iuscore.explain.select.budgets import Budget
from iuscore.explain.select.gain import DRAWS, JudgedSet, doubts_of, expected_aurocs, gains_of, real_on_real
from iuscore.explain.select.order import Places, random_keys, rank_sum
from iuscore.explain.select.policies import Pool, choose, confident_choice, random_choice
from iuscore.explain.select.records import ClassSelection, Policy, Prediction
from iuscore.explain.select.spread import Rows, joined_rows
from iuscore.explain.value.duplicates import balanced_places
from iuscore.explain.value.judge import NeighborVotes, halves, resamples
from iuscore.explain.value.learners import Floats
from iuscore.explain.value.linear import Array, Labels
from iuscore.explain.value.of_sets import RESAMPLES
from iuscore.explain.value.reference import BALANCED, ReferenceViews
from iuscore.explain.value.shapley import neighbor_shapley
from iuscore.explain.value.views import View

POOLED = 2000
"""Scored images of a class, at most, among which the choice is made again with half of the real images."""

POOL_DRAW = 1 << 21
"""Number of the random key by which they are drawn."""


def part_of_pool(pool: Pool, wanted: Sequence[ClassSelection], seed: int) -> tuple[Places, dict[str, int]]:
    """A random part of a pool, and how many images of each class are the same share of it.

    Args:
        pool: the scored images. wanted: what was chosen in each class. seed: of the draw.

    Returns:
        Places, at most `POOLED` scored images of each class, and class -> number.
    """
    found, numbers = [], {}
    for each in wanted:
        scored = pool.scored(pool.classes.index(each.target))
        keys = random_keys(pool.digests[scored], seed, POOL_DRAW)
        drawn = scored[np.argsort(keys, kind="stable")[:POOLED]]
        found.append(drawn)
        numbers[each.target] = max(1, round(each.n_chosen * len(drawn) / len(scored)))
    return np.concatenate(found), numbers


def some_of(pool: Pool, places: Places) -> Pool:
    """The pool of these images."""
    columns: dict[str, Any] = {
        name: None if values is None else values[places]
        for name, values in vars(pool).items()
        if name not in ("classes",)
    }
    return Pool(classes=pool.classes, **columns)


def predict_crossed(
    reference: ReferenceViews,
    policy: Policy,
    pool: Pool,
    numbers: Mapping[str, int],
    rows: Mapping[View, Floats],
    *,
    drop_copies: bool,
    drop_contradicted: bool,
    seed: int = 0,
    resampled: int = RESAMPLES,
) -> Prediction:
    """Choose by one half of the real images and judge by the other, both ways round; the means of both.

    Otherwise the images that please some real images would be judged by just these.

    Args:
        reference: real images of the model.
        policy, drop_copies, drop_contradicted, seed: as of `choose`.
        pool: scored images, each class of the reference among them. numbers: class -> how many are chosen.
        rows: view -> [N, d], of the pool.
        resampled: bootstrap resamples of each half, by group where these are known; at least 2.

    Returns:
        The same for the same arguments on one machine.

    Raises:
        UserError: the real images cannot be halved.
    """
    classes = len(reference.record.classes)
    places_of = [*reference.record.classes]
    labels = np.array([places_of.index(name) for name in pool.classes], np.int64)[pool.labels]
    found: list[list[Array]] = []
    counts = np.zeros(classes, np.int64)
    for first, second in _both_ways(reference):
        chosen_by = _judged_by(reference, first, pool, rows, labels)
        try:
            choice = choose(
                chosen_by, Budget(per_class=numbers), policy, drop_copies=drop_copies,
                drop_contradicted=drop_contradicted, seed=seed,
                rows_of=lambda places: joined_rows(rows["texture"][places], rows["patch"][places]),
                real=_real_rows(reference, first),
            )  # fmt: skip
        except UserError as error:
            raise UserError(f"with half of the real images and a part of the others, {error}") from None
        sets = [choice.places, confident_choice(pool, choice.classes, seed)]
        sets += [random_choice(pool, choice.classes, seed, draw) for draw in range(DRAWS)]
        counts = np.bincount(labels[choice.places], minlength=classes)
        real = {view: each[second] for view, each in reference.rows.items()}
        real_labels = reference.labels[second]
        drawn = resamples(real_labels, reference.groups[second], classes, resampled, reference.record.seed)
        weights = np.stack([np.ones(len(second)), *drawn])
        judged = [JudgedSet({view: each[some] for view, each in rows.items()}, labels[some]) for some in sets]
        aurocs = [expected_aurocs(some, real, real_labels, classes, weights) for some in judged]
        found.append([aurocs[0], aurocs[1], np.mean(aurocs[2:], axis=0)])
    here, confident, random = np.mean(found, axis=0)
    real_auroc = real_on_real(reference, counts)
    return Prediction(
        auroc=float(here[0]),
        gains=gains_of(policy, here, random, confident),
        n_images=int(counts.max()),
        n_real=reference.record.counts,
        real=real_auroc,
        doubts=doubts_of(reference, counts, real_auroc, policy),
        crossed=True,
    )


def _both_ways(reference: ReferenceViews) -> Iterator[tuple[Labels, Labels]]:
    classes = len(reference.record.classes)
    found = list(halves(reference.labels, reference.groups, classes, 1, reference.record.seed))
    if not found:
        raise UserError("the model's reference has one group of a class: it cannot be halved to choose and to judge")
    first, second = found[0]
    yield first, second
    yield second, first


def _judged_by(
    reference: ReferenceViews, real: Labels, pool: Pool, rows: Mapping[View, Floats], labels: Labels
) -> Pool:
    """The pool with the values and contradictions that these real images give."""
    classes, seed = len(reference.record.classes), reference.record.seed
    real_labels = reference.labels[real]
    places = balanced_places(real_labels, classes, seed, BALANCED)
    shapley = [
        neighbor_shapley(rows[view], labels, reference.rows[view][real][places], real_labels[places])
        for view in ("texture", "patch")
    ]  # fmt: skip
    votes = NeighborVotes(
        rows, labels, {view: each[real] for view, each in reference.rows.items()}, real_labels, classes, seed
    )
    contradicted: npt.NDArray[np.bool_] = votes.contradicted()[1]
    return replace(pool, value=rank_sum(*shapley), contradicted=contradicted)


def _real_rows(reference: ReferenceViews, real: Labels) -> dict[str, Rows]:
    found = {}
    for k, name in enumerate(reference.record.classes):
        mine = real[reference.labels[real] == k]
        found[name] = joined_rows(reference.rows["texture"][mine], reference.rows["patch"][mine])
    return found
