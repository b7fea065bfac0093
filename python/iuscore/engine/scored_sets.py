"""A finished run as arrays: what comparisons and selections of its images work on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from iuscore.engine.parts import finished, part_path, read_part
from iuscore.engine.records import RunRecord, require_run
from iuscore.engine.values import evenly, values_path
from iuscore.engine.views import Rows, read_views, views_path
from iuscore.errors import UserError
from iuscore.explain.compare.sets import ScoredSet
from iuscore.explain.report.records import BINS, RANGES, Score, ScoreHistogram, ScoreReference
from iuscore.explain.value import ReferenceViews
from iuscore.explain.value.views import VIEWS, View
from iuscore.models.record import HeldOut
from iuscore.scoring import Scorer, SetSummary

MOST = 4000
"""Images of a set, at most, that are compared with real ones and with each other: evenly spread over the run."""


def read_set(out: Path, reference: ReferenceViews, name: str | None = None, most: int = MOST) -> ScoredSet:
    """Read the scores and views of a finished run.

    Args:
        out: folder of the run.
        reference: real images of its model.
        name: of the set; None: the name of the folder.
        most: images that are read at most; of more, those that are evenly spread over the run.

    Raises:
        UserError: no run, a run that is not finished, one without views or of another reference, or damaged files.
    """
    record = require_run(out)
    _check(out, record, reference)
    summary = SetSummary.read(out)
    if not summary.complete:
        raise UserError(f"{out} is not finished: run the same 'iuscore score' again")
    chosen = evenly(summary.n_done, most)
    columns: dict[str, list[npt.NDArray[np.float64]]] = {}
    rows: dict[View, list[Rows]] = {view: [] for view in VIEWS}
    uids: list[str] = []
    groups: list[str] | None = [] if record.identity.group_by else None
    labels: list[str] = []
    components = list(next(iter(summary.targets.values())).components) if summary.targets else []
    numbers = ["ius", *(f"probability_{c}" for c in reference.record.classes),
               *(f"contribution_{c.name}" for c in components)]  # fmt: skip
    at = 0
    for info in finished(out, record.run, record.n_shards):
        here = chosen[(chosen >= at) & (chosen < at + info.n)] - at
        at += info.n
        if not len(here):
            continue
        names = ["uid", "target", *(["group"] if groups is not None else []), *numbers]
        table, views = read_part(part_path(out, info.index), names), read_views(views_path(out, info.index))
        here = here[views.filled[here]]
        ius = table.column("ius").to_numpy()[here]
        here = here[np.isfinite(ius)]
        part = table.take(here)
        uids += part.column("uid").to_pylist()
        labels += part.column("target").to_pylist()
        if groups is not None:
            groups += part.column("group").to_pylist()
        for column in numbers:
            columns.setdefault(column, []).append(part.column(column).to_numpy().astype(np.float64))
        for view in VIEWS:
            rows[view].append(views.rows[view][here])
    if not uids:
        raise UserError(f"{out} holds no image with a score: see the column error of its table")
    places = {c: k for k, c in enumerate(reference.record.classes)}
    whole = {column: np.concatenate(each) for column, each in columns.items()}
    return ScoredSet(
        name=name or out.name,
        source=record.images,
        uids=tuple(uids),
        labels=np.array([places[label] for label in labels], np.int64),
        groups=None if groups is None else np.unique(groups, return_inverse=True)[1].astype(np.int64),
        rows={view: np.concatenate(each) for view, each in rows.items()},
        ius=whole["ius"],
        probabilities=np.stack([whole[f"probability_{c}"] for c in reference.record.classes], axis=1),
        contributions=np.stack([whole[f"contribution_{c.name}"] for c in components], axis=1),
        classes=reference.record.classes,
        components=tuple(c.name for c in components),
        n_listed=summary.n_scored,
        n_unreadable=summary.n_unreadable,
        far_outside=tuple(name for name, target in summary.targets.items() if target.out_of_distribution),
    )


def require_comparable(path: Path) -> None:
    """Raise where a path cannot be a set, because it is missing.

    Raises:
        UserError: as said.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist: give a folder of images, or the --out folder of 'iuscore score'")


def score_histograms(runs: Mapping[str, Path], scorer: Scorer) -> list[ScoreHistogram]:
    """Distributions of the scores and values of all images of finished runs, by class.

    Args:
        runs: name of each set -> folder of its run. scorer: the model that scored them.
    """
    found = []
    for name, out in runs.items():
        record = require_run(out)
        counts = {(c, score): np.zeros(bins, np.int64) for c in scorer.classes for score, bins in BINS.items()}
        for info in finished(out, record.run, record.n_shards):
            scores = read_part(part_path(out, info.index), ["target", "ius"])
            targets = np.array(scores.column("target").to_pylist(), dtype=object)
            columns: dict[Score, npt.NDArray[Any]] = {"ius": scores.column("ius").to_numpy(zero_copy_only=False)}
            if values_path(out, info.index).is_file():
                values = read_part(values_path(out, info.index), ["value"]).column("value")
                columns["value"] = values.to_numpy(zero_copy_only=False)
            for score, column in columns.items():
                for c in scorer.classes:
                    mine = column[(targets == c) & np.isfinite(column.astype(np.float64))]
                    counts[c, score] += np.histogram(mine, BINS[score], RANGES[score])[0]
        for (c, score), each in counts.items():
            if each.sum():
                of = scorer.record.ceiling_of(scorer.space, c), scorer.record.floor_of(scorer.space, c)
                ends = [_reference(held) if score == "ius" else None for held in of]
                found.append(ScoreHistogram(name, c, score, tuple(each.tolist()), *ends))
    return found


def _reference(held: HeldOut | None) -> ScoreReference | None:
    if held is None or not np.isfinite(held.mean):
        return None
    return ScoreReference(held.n, held.mean, held.quantiles.get("0.25"), held.quantiles.get("0.75"))


def _check(out: Path, record: RunRecord, reference: ReferenceViews) -> None:
    if record.identity.reference is None:
        raise UserError(
            f"{out} was scored without the views that a comparison needs: score again in a new folder, without "
            "--no-value, by a model that was fitted with this version"
        )
    if record.identity.reference != reference.sha256():
        raise UserError(f"{out} was scored with another model than the one given: sets are compared by one model")
