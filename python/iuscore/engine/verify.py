"""Whether a finished run holds what it says: counts, hashes, schema, and scores of some images done again."""

from __future__ import annotations

import math
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from iuscore.contributions import unusable
from iuscore.engine.parts import (
    FOLDER,
    content_of,
    number_columns,
    numbers_of,
    part_path,
    read_info,
    read_part,
    table_schema,
)
from iuscore.engine.plan import Plan, make_plan
from iuscore.engine.records import COUNT, BadRecord, read_object, require
from iuscore.engine.run import PLAN_NAME, SUMMARY_NAME, class_names, model_identity, read_record
from iuscore.engine.shard import FROM_FOLDER, RUN_NAME, targets_of
from iuscore.errors import UserError
from iuscore.images import Sample, ShardedSource, read_item
from iuscore.images.listing import counted
from iuscore.report import Report
from iuscore.score import Scorer

TOLERANCE = 1e-3
"""Largest difference of a score done again where the first was computed on a GPU; on the CPU there is none."""


@dataclass(frozen=True)
class Verified:
    """What was found.

    Attributes:
        parts: parts that were looked at.
        rows: rows in them.
        rescored: images scored again.
        largest_difference: of any number of these from what stands in the table; None where none was.
        problems: one line each; empty where all is well.
    """

    parts: int
    rows: int
    rescored: int
    largest_difference: float | None
    problems: tuple[str, ...]


def verify(
    out: str | os.PathLike[str],
    scorer: Scorer,
    source: ShardedSource,
    *,
    sample: int = 100,
    seed: int = 0,
    report: Report | None = None,
) -> Verified:
    """Check a run.

    Args:
        out: folder of the run.
        scorer: the model it was made with, in the same space and precision.
        source: the images.
        sample: images to score again, drawn at random; more than there are means all.
        seed: of the draw.
        report: hears progress.

    Returns:
        `Verified`; what is wrong stands in ``problems``.

    Raises:
        UserError: ``out`` holds no run.

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
    folder, report = Path(out), report or Report()
    record = read_record(folder / RUN_NAME)
    if record is None:
        raise UserError(f"{folder} holds no run: give the --out folder of 'iuscore score'")
    identity = record["identity"]
    if identity["target"] == FROM_FOLDER:
        source = source.named(class_names(scorer, identity.get("map")))
    problems: list[str] = []
    say: Callable[[str], None] = problems.append
    if identity["model"] != model_identity(scorer):
        say("the model is another one now")
    with tempfile.TemporaryDirectory() as scratch:  # the run itself may be read-only
        plan = make_plan(source, identity["shard_size"], Path(scratch, PLAN_NAME))
        if plan.signature != identity["source"]:
            say(f"the images have changed since: {record['n_images']} then, {plan.images} now")
        rows, passing = _check_parts(folder, record, scorer, source, plan, say, report)
        again = _check_scores(folder, record, scorer, source, plan, sample, seed, say) if not problems else (0, None)
    if passing:
        say(_worth_another_try(passing))
    _check_summary(folder, rows, say)
    return Verified(len(plan), rows, *again, tuple(problems))


def _check_parts(
    folder: Path, record: Any, scorer: Scorer, source: ShardedSource, plan: Plan, say: Callable[[str], None],
    report: Report,
) -> tuple[int, list[str]]:  # fmt: skip
    """Rows in the parts, and why an image that is worth another try could not be read."""
    schema, rows = table_schema(scorer, grouped=record["identity"].get("group_by") is not None), 0
    passing: list[str] = []
    missing: list[str] = []
    strangers = {path.name for path in (folder / FOLDER).iterdir()} if (folder / FOLDER).is_dir() else set()
    report.start("checking", len(plan), "part")
    for index in range(len(plan)):
        path, shard = part_path(folder, index), plan.shard(index)
        strangers.discard(path.name)
        report.advance(1)
        if not path.exists():
            missing.append(path.name)
            continue
        info = read_info(path)
        if info is None or info.run != record["run"] or info.index != index:
            say(f"{path.name} is damaged or of another run")
            continue
        try:
            table = read_part(path).replace_schema_metadata(None)
        except UserError as error:
            say(str(error))
            continue
        rows += len(table)
        errors = table.column("error").to_pylist() if info.passing else []
        passing += [str(errors[row]) for row in info.passing if row < len(errors)]
        if table.schema != schema:
            say(f"{path.name} has other columns than the model gives")
        elif content_of(table) != info.content:
            say(f"{path.name} has changed since it was written")
        elif table.column("uid").to_pylist() != [item.uid for item in source.items(shard)]:
            say(f"{path.name} has other images than its shard")
    report.stop()
    if missing:
        say(
            f"{len(missing)} of {len(plan)} parts are missing, such as {missing[0]}: the run is not finished; "
            "run the same 'iuscore score' again"
        )
    if strangers:
        say(f"files that are no part of the run: {', '.join(sorted(strangers)[:3])}")
    return rows, passing


def _worth_another_try(errors: list[str]) -> str:
    reason, n = Counter(errors).most_common(1)[0]
    which = reason if n == len(errors) else f"most often: {reason}"
    return (
        f"{counted(len(errors), 'image')} could not be read for a reason that may be gone ({which}): mend it and run "
        "the same 'iuscore score' again, which tries them again"
    )


def _check_scores(
    folder: Path, record: Any, scorer: Scorer, source: ShardedSource, plan: Plan, sample: int, seed: int,
    say: Callable[[str], None],
) -> tuple[int, float | None]:  # fmt: skip
    ends = np.cumsum([plan.shard(index).n for index in range(len(plan))])
    chosen = np.sort(np.random.default_rng(seed).choice(plan.images, min(sample, plan.images), replace=False))
    names, largest, done = number_columns(scorer), 0.0, 0
    for index in dict.fromkeys(np.searchsorted(ends, chosen, side="right").tolist()):
        shard = plan.shard(index)
        places = set((chosen - (ends[index] - shard.n)).tolist())
        rows = read_part(part_path(folder, index)).to_pylist()
        for place, item in enumerate(source.items(shard)):
            if place not in places:
                continue
            found = read_item(item, source.max_pixels, source.bits)
            done += 1
            if (reason := unusable(found, scorer.model.mask_size)) or rows[place]["error"]:
                if reason != rows[place]["error"]:
                    say(f"{item.uid}: {reason or 'readable'} now, {rows[place]['error'] or 'readable'} then")
                continue
            row = score_row(scorer, found, targets_of([item.label], record["identity"]["target"])[0])
            difference = max(abs(row[name] - rows[place][name]) for name in names)
            if not difference <= TOLERANCE:
                say(f"{item.uid}: scored again its numbers differ by {difference:.2g}")
            largest = max(largest, difference if math.isfinite(difference) else math.inf)
    return done, largest


def score_row(scorer: Scorer, sample: Sample, target: str) -> dict[str, float]:
    """The numbers of one image, by column."""
    import torch

    masks = None if sample.mask is None else [torch.from_numpy(sample.mask)]
    values = numbers_of(scorer.score_list([torch.from_numpy(sample.pixels)], [target], masks))[0]
    return dict(zip(number_columns(scorer), values.tolist(), strict=True))


def _check_summary(folder: Path, rows: int, say: Callable[[str], None]) -> None:
    try:
        summary = read_object(folder / SUMMARY_NAME)
        require(summary, {"n_scored": COUNT, "n_unreadable": COUNT})
    except OSError:
        say(f"{SUMMARY_NAME} is missing or damaged")
        return
    except BadRecord as error:
        say(f"{SUMMARY_NAME} is missing or damaged ({error})")
        return
    if (there := summary["n_scored"] + summary["n_unreadable"]) != rows:
        say(f"{SUMMARY_NAME} counts {there} images, the parts hold {rows}")
    elif not summary.get("complete"):
        say(f"{SUMMARY_NAME} is of a run that is not complete")
