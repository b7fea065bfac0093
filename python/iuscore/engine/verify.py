"""Check a finished run: counts, hashes and columns, and the scores of some images computed again."""

from __future__ import annotations

import math
import os
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from iuscore.engine.parts import (
    PartInfo,
    content_of,
    finished,
    foreign_files,
    number_columns,
    numbers_of,
    part_path,
    read_info,
    read_part,
    table_schema,
)
from iuscore.engine.plan import Plan, make_plan
from iuscore.engine.records import RunRecord, read_json, require_run
from iuscore.engine.run import PLAN_NAME, RUN_NAME, SUMMARY_NAME, class_names
from iuscore.engine.settings import FROM_FOLDER
from iuscore.engine.shard import targets_of
from iuscore.engine.summary import SummaryBuilder
from iuscore.engine.texts import TextCounts
from iuscore.engine.views import views_problem
from iuscore.errors import UserError, bounded
from iuscore.images import Sample, ShardedSource, read_item
from iuscore.images.listing import counted
from iuscore.models.text import is_number
from iuscore.progress import Progress
from iuscore.scoring import Scorer, SetSummary, TargetSummary
from iuscore.scoring.contributions import unusable
from iuscore.scoring.records import with_present_names

if TYPE_CHECKING:
    import pyarrow as pa

TOLERANCE = 1e-3
"""Largest difference of a score computed again, if the run was on a GPU; on the CPU there is no difference."""

MAX_PROBLEMS = 100
"""Most problems that are reported one by one."""

CLOSE = 1e-9
"""Largest difference between a mean IUS in the summary and over the rows, whose order of summation may differ."""


@dataclass(frozen=True)
class Verified:
    """The result of a check.

    Attributes:
        parts: number of parts in the plan.
        rows: number of rows in the parts.
        rescored: number of images scored again.
        largest_difference: largest difference between a number computed again and the table; None where no image was
            scored again.
        problems: one line per problem; after `MAX_PROBLEMS` lines, the number of further problems. Empty if the run is
            unchanged.
        unreadable: number of rows with an error, because the image could not be read.
    """

    parts: int
    rows: int
    rescored: int
    largest_difference: float | None
    problems: tuple[str, ...]
    unreadable: int = 0


@dataclass
class _Problems:
    """The problems of a run: the first `MAX_PROBLEMS` as lines, and the number of all."""

    lines: list[str] = field(default_factory=list)
    n: int = 0

    def add(self, text: str) -> None:
        self.n += 1
        if self.n <= MAX_PROBLEMS:
            self.lines.append(text)

    def to_lines(self) -> tuple[str, ...]:
        return (*self.lines, *([f"{self.n - MAX_PROBLEMS} more problems"] if self.n > MAX_PROBLEMS else []))


@dataclass
class _Rows:
    """Counts over the rows of the parts.

    Attributes:
        n: number of rows.
        unreadable: number of rows with an error.
        transient: the transient errors.
        sums: class -> (sum of IUS, number of images).
    """

    n: int = 0
    unreadable: int = 0
    transient: TextCounts = field(default_factory=TextCounts)
    sums: dict[str, tuple[float, int]] = field(default_factory=lambda: defaultdict(lambda: (0.0, 0)))

    def add(self, table: pa.Table, info: PartInfo) -> None:
        """Add the rows of a part."""
        errors = table.column("error").to_pylist()
        readable = np.array([error is None for error in errors], dtype=bool)
        self.n += len(errors)
        self.unreadable += len(errors) - int(readable.sum())
        self.transient.add(str(errors[row]) for row in info.transient if row < len(errors))
        targets = np.array(table.column("target").to_pylist(), dtype=object)[readable]
        ius = table.column("ius").to_numpy()[readable].astype(np.float64)
        for name in dict.fromkeys(targets):
            total, n = self.sums[name]
            of_class = ius[targets == name]
            self.sums[name] = (total + float(of_class.sum()), n + len(of_class))


def verify(
    out: str | os.PathLike[str],
    scorer: Scorer,
    source: ShardedSource,
    *,
    sample: int = 100,
    seed: int = 0,
    progress: Progress | None = None,
) -> Verified:
    """Check a run.

    Args:
        out: folder of the run.
        scorer: the model of the run, in the same space and precision.
        source: the images.
        sample: number of images to score again, drawn at random; all images if ``sample`` is larger than their number.
        seed: seed of the random choice.
        progress: receives progress; None: no progress is reported.

    Returns:
        `Verified`, with one line in ``problems`` for each problem.

    Raises:
        UserError: ``out`` holds no run, or the run cannot be of this model.

    Example:
        >>> import tempfile, iuscore
        >>> from iuscore import demo
        >>> from iuscore.engine import score_source
        >>> from iuscore.images import open_shards
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     scorer = iuscore.load(demo.tiny_model(folder))
        ...     images = open_shards(f"{folder}/real")
        ...     _ = score_source(scorer, images, f"{folder}/scores", target="normal")
        ...     found = verify(f"{folder}/scores", scorer, images, sample=5)
        >>> found.rows, found.rescored, found.problems
        (20, 5, ())
    """
    folder, progress = Path(out), progress or Progress()
    record = require_run(folder)
    identity, problems = record.identity, _Problems()
    _require_target(folder, scorer, identity.target)
    if identity.target == FROM_FOLDER:
        source = source.named(class_names(scorer, identity.map))
    if identity.sha256() != record.run:
        problems.add(f"{RUN_NAME}: identity: changed since the run began (its SHA-256 is not that in run)")
    if identity.model != scorer.record.identity():
        problems.add("the model is another one now")
    with tempfile.TemporaryDirectory() as scratch:  # the folder of the run may be read-only
        plan = make_plan(source, identity.shard_size, Path(scratch, PLAN_NAME))
        if plan.signature != identity.source:
            problems.add(f"the images have changed since: {record.n_images} then, {plan.images} now")
        else:
            for key, actual in (("n_images", plan.images), ("n_shards", len(plan))):
                if (written := getattr(record, key)) != actual:
                    problems.add(f"{RUN_NAME}: {key}: expected {actual}, got {written}")
        rows = _check_parts(folder, record, scorer, source, plan, problems, progress)
        rescored = (
            _check_scores(folder, record, scorer, source, plan, sample, seed, problems) if not problems.n else (0, None)
        )
    if rows.transient.total:
        problems.add(_transient_errors_line(rows.transient))
    _check_summary(folder, record, scorer, rows, plan, problems)
    return Verified(len(plan), rows.n, *rescored, problems.to_lines(), rows.unreadable)


def _require_target(folder: Path, scorer: Scorer, target: str) -> None:
    known = (FROM_FOLDER, *scorer.profiles)
    if target not in known:
        raise UserError(
            f"{folder / RUN_NAME}: identity.target: expected one of {', '.join(known)}, got {bounded(target)}: "
            "give the model that the run was made with, or score again in a new folder"
        )


def _check_parts(
    folder: Path, record: RunRecord, scorer: Scorer, source: ShardedSource, plan: Plan, problems: _Problems,
    progress: Progress,
) -> _Rows:  # fmt: skip
    """Compare each part with its footer and its shard; return the counts over all rows."""
    schema, rows = table_schema(scorer, grouped=record.identity.group_by is not None), _Rows()
    missing, first = 0, ""
    progress.start("checking", len(plan), "part")
    for index in range(len(plan)):
        path = part_path(folder, index)
        progress.advance(1)
        if not path.exists():
            missing, first = missing + 1, first or path.name
            continue
        info = read_info(path)
        if info is None or info.run != record.run or info.index != index:
            problems.add(f"{path.name} is damaged or of another run")
            continue
        try:
            table = read_part(path).replace_schema_metadata(None)
        except UserError as error:
            problems.add(str(error))
            continue
        if table.schema != schema:
            problems.add(f"{path.name} has other columns than the model gives")
            rows.n += len(table)
            continue
        before = rows.unreadable
        rows.add(table, info)
        if content_of(table) != info.content:
            problems.add(f"{path.name} has changed since it was written")
        elif table.column("uid").to_pylist() != [item.uid for item in source.items(plan.shard(index))]:
            problems.add(f"{path.name} has other images than its shard")
        elif (problem := _views_problem(folder, info, table)) is not None:
            problems.add(problem)
        elif info.unreadable != (in_rows := rows.unreadable - before):
            problems.add(
                f"{path.name} records {info.unreadable} images that could not be read, its rows hold {in_rows}"
            )
    progress.stop()
    if missing:
        problems.add(
            f"{missing} of {len(plan)} parts are missing, such as {first}: the run is not finished; "
            "run the same 'iuscore score' again"
        )
    if foreign := foreign_files(folder, len(plan)):
        problems.add(f"files that are no part of the run: {', '.join(foreign)}")
    return rows


def _views_problem(folder: Path, info: PartInfo, table: pa.Table) -> str | None:
    return views_problem(folder, info.run, info.index, info.views, table.column("uid").to_pylist())


def _transient_errors_line(errors: TextCounts) -> str:
    reason, n = next(iter(errors.to_json().items()))
    cause = reason if n == errors.total else f"most often: {reason}"
    return (
        f"{counted(errors.total, 'image')} could not be read for a reason that may be gone ({cause}): mend it and run "
        "the same 'iuscore score' again, which tries them again"
    )


def _check_scores(
    folder: Path, record: RunRecord, scorer: Scorer, source: ShardedSource, plan: Plan, sample: int, seed: int,
    problems: _Problems,
) -> tuple[int, float | None]:  # fmt: skip
    ends = np.cumsum(np.fromiter((plan.shard(index).n for index in range(len(plan))), dtype=np.int64, count=len(plan)))
    chosen = np.sort(np.random.default_rng(seed).choice(plan.images, min(sample, plan.images), replace=False))
    names, largest, done = number_columns(scorer), 0.0, 0
    for index in dict.fromkeys(np.searchsorted(ends, chosen, side="right").tolist()):
        shard = plan.shard(index)
        start = ends[index] - shard.n
        places = (chosen[(chosen >= start) & (chosen < ends[index])] - start).tolist()
        rows = dict(zip(places, _rows_at(part_path(folder, index), places), strict=True))
        for place, item in enumerate(source.items(shard)):
            if place not in rows:
                continue
            found = read_item(item, source.max_pixels, source.bits)
            done += 1
            if (reason := unusable(found, scorer.model.mask_size)) or rows[place]["error"]:
                if reason != rows[place]["error"]:
                    problems.add(f"{item.uid}: {reason or 'readable'} now, {rows[place]['error'] or 'readable'} then")
                continue
            row = score_row(scorer, found, targets_of([item.label], record.identity.target)[0])
            difference = max(abs(row[name] - rows[place][name]) for name in names)
            if not difference <= TOLERANCE:
                problems.add(f"{item.uid}: scored again its numbers differ by {difference:.2g}")
            largest = max(largest, difference if math.isfinite(difference) else math.inf)
    return done, largest


def _rows_at(path: Path, places: Sequence[int]) -> list[dict[str, Any]]:
    """Some rows of a part as Python objects; all rows as Python objects would take far more memory than the part."""
    rows: list[dict[str, Any]] = read_part(path).take(places).to_pylist()
    return rows


def score_row(scorer: Scorer, sample: Sample, target: str) -> dict[str, float]:
    """Column -> number, for one image."""
    import torch

    masks = None if sample.mask is None else [torch.from_numpy(sample.mask)]
    values = numbers_of(scorer.score_list([torch.from_numpy(sample.pixels)], [target], masks))[0]
    return dict(zip(number_columns(scorer), values.tolist(), strict=True))


def _check_summary(
    folder: Path, record: RunRecord, scorer: Scorer, rows: _Rows, plan: Plan, problems: _Problems
) -> None:
    listed = plan.images
    try:
        written = read_json(folder / SUMMARY_NAME)
        summary = SetSummary.from_json(written)
    except FileNotFoundError:
        problems.add(f"{SUMMARY_NAME} is missing or damaged")
        return
    except OSError as error:
        problems.add(f"{SUMMARY_NAME} is missing or damaged ({error.strerror})")
        return
    except ValueError as error:
        problems.add(f"{SUMMARY_NAME} is missing or damaged ({error})")
        return
    if summary.n_done != rows.n:
        problems.add(f"{SUMMARY_NAME} counts {summary.n_done} images, the parts hold {rows.n}")
    elif summary.n_unreadable != rows.unreadable:
        got = summary.n_unreadable
        problems.add(f"{SUMMARY_NAME}: n_unreadable: expected {rows.unreadable}, as the parts hold, got {got}")
    elif not summary.complete:
        problems.add(f"{SUMMARY_NAME} is of a run that is not complete")
    elif summary.n_listed != listed:
        problems.add(f"{SUMMARY_NAME}: n_listed: expected {listed}, got {summary.n_listed}")
    else:
        _check_targets(summary.targets, rows, problems)
        if not problems.n and summary.format == SetSummary.FORMAT:
            _compare(with_present_names(written), _rebuilt_summary(folder, record, scorer, plan), problems)


def _rebuilt_summary(folder: Path, record: RunRecord, scorer: Scorer, plan: Plan) -> dict[str, Any]:
    """``summary.json`` computed again from the parts, without the fields that depend on the command or the machine."""
    builder = SummaryBuilder(scorer, folder, record.identity.group_by)
    builder.add_all(finished(folder, record.run, len(plan)))
    summary = builder.describe(
        images=record.images, listed=plan.images, device="cpu", seconds=1.0, new=0, interrupted=False
    ).to_json()
    summary["model"]["precision"] = record.identity.precision
    return {key: value for key, value in summary.items() if key not in _NOT_COMPARED}


_NOT_COMPARED = ("images", "interrupted", "decoder", "versions", "seconds", "images_per_second")


def _compare(summary: Mapping[str, Any], expected: dict[str, Any], problems: _Problems) -> None:
    """Report the first difference; numbers may differ in the last digits, which depend on the machine."""
    notes = summary.get("notes")
    for note in expected.pop("notes"):
        if not isinstance(notes, list) or note not in notes:  # the summary has notes on the run besides
            problems.add(f"{SUMMARY_NAME}: notes: expected {bounded(note)} among them")
            return
    for key, value in expected.items():
        if difference := _difference(summary.get(key), value, key):
            problems.add(f"{SUMMARY_NAME}: {difference}")
            return


def _difference(found: Any, expected: Any, where: str) -> str | None:
    if isinstance(expected, dict) and isinstance(found, dict) and expected.keys() == found.keys():
        pairs = ((found[name], expected[name], f"{where}.{name[:60]}") for name in expected)
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = ((a, b, f"{where}[{i}]") for i, (a, b) in enumerate(zip(found, expected, strict=True)))
    else:
        numbers = is_number(found) and is_number(expected)
        same = math.isclose(found, expected, rel_tol=1e-5, abs_tol=1e-7) if numbers else found == expected
        return None if same else f"{where}: expected {bounded(expected)}, as the parts hold, got {bounded(found)}"
    return next((difference for pair in pairs if (difference := _difference(*pair))), None)


def _check_targets(targets: Mapping[str, TargetSummary], rows: _Rows, problems: _Problems) -> None:
    """Compare the number of images and the mean IUS of each class: these numbers are read first."""
    for name in sorted({*targets, *rows.sums}):
        total, n = rows.sums.get(name, (0.0, 0))
        entry, where = targets.get(name), f"{SUMMARY_NAME}: targets.{name[:60]}"
        if entry is None or entry.n != n:
            problems.add(f"{where}.n: expected {n}, as the parts hold, got {None if entry is None else entry.n}")
            continue
        mean, expected = entry.ius.mean, total / n
        same = mean is None if math.isnan(expected) else mean is not None and abs(mean - expected) <= CLOSE
        if not same:
            problems.add(f"{where}.ius.mean: expected {expected:.9g}, got {mean}")
