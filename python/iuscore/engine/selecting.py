"""What is chosen from one run: what the policy needs is found, the gain predicted, and the record made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from iuscore._environment import versions
from iuscore.engine.selected_columns import SCORE_AGAIN, RunColumns, unfinished_note
from iuscore.engine.selected_files import write_names
from iuscore.errors import UserError
from iuscore.explain.select.budgets import Budget
from iuscore.explain.select.crossed import part_of_pool, predict_crossed, some_of
from iuscore.explain.select.gain import BY_REAL, DRAWS, JUDGED, JudgedSet, predict
from iuscore.explain.select.order import Places, random_keys
from iuscore.explain.select.policies import (
    BY_ROWS,
    Choice,
    Pool,
    choose,
    confident_choice,
    default_drops,
    random_choice,
)
from iuscore.explain.select.records import TIES, Policy, Prediction, Selection
from iuscore.explain.select.spread import Rows, joined_rows
from iuscore.explain.value.judge import PIXEL_VIEWS
from iuscore.explain.value.reference import CONFIG_NAME, ReferenceViews
from iuscore.explain.value.views import VIEWS, View
from iuscore.progress import Progress
from iuscore.scoring import Scorer, load

NAMES = ("selected.txt", "random.txt", "confidence.txt", Selection.NAME)
"""Files of a selection; the record is written last."""

_JUDGED_DRAW = 1 << 20
MEASURED = (
    "measured with trained networks: picks by value beat random ones by .11 AUROC; over the most confident ones they "
    "gained about .02 for a quarter of the images, and nothing that is sure for a half"
)


@dataclass(frozen=True)
class Asked:
    """The run, the folder to write to, and how to choose; see `iuscore.engine.select_images`."""

    out: Path
    to: Path
    policy: Policy
    seed: int
    model: str | os.PathLike[str] | None
    progress: Progress


class Selecting:
    """One selection from a run that is read."""

    def __init__(self, asked: Asked, columns: RunColumns) -> None:
        self.asked, self.columns = asked, columns

    @cached_property
    def scorer(self) -> Scorer:
        """The model of the run."""
        record = self.columns.record
        if (folder := self.asked.model or record.model) is None:
            raise UserError(f"{self.asked.out} does not say where its model is: give --model")
        scorer = load(folder, space=record.identity.space, precision=record.identity.precision)
        if scorer.record.identity() != record.identity.model:
            raise UserError(f"{folder} is another model than the one that scored {self.asked.out}: give that one")
        return scorer

    @cached_property
    def reference(self) -> ReferenceViews:
        """The real images of the model."""
        folder = Path(self.scorer.folder or "")
        if not (folder / CONFIG_NAME).exists():
            raise UserError(f"the model in {folder} keeps no reference: {SCORE_AGAIN}")
        return ReferenceViews.load(folder)

    def choose(self, budget: Budget, drop_copies: bool | None, drop_contradicted: bool | None) -> Choice:
        asked, columns, policy = self.asked, self.columns, self.asked.policy
        self._require_columns(drop_copies, drop_contradicted)
        pool = columns.pool
        self.drops = tuple(
            default if given is None else given
            for default, given in zip(default_drops(policy), (drop_copies, drop_contradicted), strict=True)
        )
        if self.drops[0] and columns.has_views:
            pool = replace(pool, twins=columns.twins(asked.progress))
        self.pool = pool
        real = self._real_rows(pool) if policy == "covariance" else None
        return choose(
            pool, budget, policy, drop_copies=drop_copies, drop_contradicted=drop_contradicted, seed=asked.seed,
            rows_of=columns.joined if columns.has_views else None, real=real,
        )  # fmt: skip

    def _require_columns(self, drop_copies: bool | None, drop_contradicted: bool | None) -> None:
        pool, policy = self.columns.pool, self.asked.policy
        for what, needed, there in (
            ("policy: value", policy == "value", pool.value is not None),
            (f"policy: {policy}", policy in BY_ROWS, self.columns.has_views),
            ("drop_contradicted", bool(drop_contradicted), pool.contradicted is not None),
            ("drop_copies", bool(drop_copies), self.columns.has_views),
        ):
            if needed and not there:
                noun = "views" if what == "drop_copies" or policy in BY_ROWS else "values"
                raise UserError(
                    f"{what} needs the {noun} of the images, and {self.asked.out} has no {noun}.parquet: "
                    f"{SCORE_AGAIN}; the policies ius, confidence, stratified and random need none"
                )

    def _real_rows(self, pool: Pool) -> dict[str, Rows]:
        reference = self.reference
        found = {}
        for k, name in enumerate(reference.record.classes):
            mine = reference.labels == k
            found[name] = joined_rows(reference.rows["texture"][mine], reference.rows["patch"][mine])
        for k, name in enumerate(pool.classes):
            if len(scored := pool.scored(k)):
                if name not in found:
                    raise UserError(f"policy: covariance: the reference of the model has no class {name}")
                here, there = self.columns.joined(scored[:1]).shape[1], found[name].shape[1]
                if here != there:
                    raise UserError(
                        f"policy: covariance: the images have {here} values each, the reference {there}: {SCORE_AGAIN}"
                    )
        return found

    def record(self, budget: Budget, choice: Choice, predicted: bool) -> Selection:
        asked, columns = self.asked, self.columns
        prediction: Prediction | None = None
        reason = "not asked for"
        if predicted:
            try:
                prediction, reason = self._predicted(choice), ""
            except UserError as error:
                reason = str(error)
        return Selection(
            scores=str(asked.out.absolute()),
            run=columns.record.run,
            policy=asked.policy,
            seed=asked.seed,
            budget=budget.words,
            classes=choice.classes,
            drop_identical=self.drops[0] and columns.has_views,
            drop_contradicted=self.drops[1] and columns.pool.contradicted is not None,
            ties=TIES,
            prediction=prediction,
            not_predicted=reason,
            notes=self._notes(choice),
            versions=versions(),
        )

    def _notes(self, choice: Choice) -> tuple[str, ...]:
        asked, columns = self.asked, self.columns
        found = [unfinished_note(columns), *choice.notes]
        if asked.policy == "value":
            found.append(MEASURED)
        if self.drops[0] and not columns.has_views:
            found.append("the run has no views of its images, so identical ones were not looked for")
        if asked.policy in BY_ROWS and not self._drops_by_real:
            found.append("chosen for what the images are together, whatever their labels: swapped labels are kept")
        return tuple(note for note in found if note)

    def _predicted(self, choice: Choice) -> Prediction:
        asked, columns, pool = self.asked, self.columns, self.columns.pool
        if not columns.has_views:
            raise UserError(f"the run has no views of its images: {SCORE_AGAIN}")
        reference = self.reference
        chosen = {each.target for each in choice.classes}
        if lacking := [name for name in reference.record.classes if name not in chosen]:
            raise UserError(f"a classifier needs images of each class, and none of {', '.join(lacking)} are chosen")
        if strange := [name for name in chosen if name not in reference.record.classes]:
            raise UserError(f"the reference of the model has no class {', '.join(strange)}")
        if asked.policy in BY_REAL or self._drops_by_real:
            return self._crossed(choice)
        sets = [choice.places, confident_choice(pool, choice.classes, asked.seed)]
        sets += [random_choice(pool, choice.classes, asked.seed, draw) for draw in range(DRAWS)]
        sets = [_first_of_each(pool, places, asked.seed) for places in sets]
        union = np.unique(np.concatenate(sets))
        rows = self._views(union, PIXEL_VIEWS)
        numbers = np.array([[*reference.record.classes, name].index(name) for name in pool.classes], np.int64)

        def judged(places: Places) -> JudgedSet:
            at = np.searchsorted(union, places)
            return JudgedSet({view: rows[view][at] for view in PIXEL_VIEWS}, numbers[pool.labels[places]])

        first, confident, *random = map(judged, sets)
        return predict(reference, asked.policy, first, random, confident)

    @property
    def _drops_by_real(self) -> bool:
        return self.drops[1] and self.columns.pool.contradicted is not None

    def _views(self, places: Places, views: Sequence[View]) -> dict[View, Rows]:
        rows = self.columns.views(places, views)
        for view in views:
            here, there = rows[view].shape[1], self.reference.rows[view].shape[1]
            if here != there:
                raise UserError(f"{view}: the images have {here} values each, the reference {there}: {SCORE_AGAIN}")
        return rows

    def _crossed(self, choice: Choice) -> Prediction:
        """Of a choice by the real images themselves."""
        places, numbers = part_of_pool(self.pool, choice.classes, self.asked.seed)
        return predict_crossed(
            self.reference, self.asked.policy, some_of(self.pool, places), numbers, self._views(places, VIEWS),
            drop_copies=self.drops[0], drop_contradicted=self._drops_by_real, seed=self.asked.seed,
        )  # fmt: skip

    def write_lists(self, selection: Selection, choice: Choice) -> Selection:
        """Write the lists of uids; the record with what is to be said of the names."""
        import pyarrow as pa

        asked, pool = self.asked, self.columns.pool
        lists = (
            choice.places,
            random_choice(pool, choice.classes, asked.seed),
            confident_choice(pool, choice.classes, asked.seed),
        )
        union = np.unique(np.concatenate(lists))
        names = self.columns.names(union)  # once: it opens every part
        changed = sum(
            write_names(asked.to / name, names.take(pa.array(np.searchsorted(union, places))))
            for name, places in zip(NAMES, lists, strict=False)
        )
        if not changed:
            return selection
        note = f"{changed} names in the lists have line breaks, written as \\n"
        return replace(selection, notes=(*selection.notes, note))


def _first_of_each(pool: Pool, places: Places, seed: int) -> Places:
    """At most `JUDGED` of ``places`` of each class, by random key."""
    order = places[np.argsort(random_keys(pool.digests[places], seed, _JUDGED_DRAW), kind="stable")]
    return np.concatenate([order[pool.labels[order] == k][:JUDGED] for k in np.unique(pool.labels[places])])
