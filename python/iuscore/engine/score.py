"""Score the images of a source into a folder: parts of a Parquet table and ``summary.json``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from iuscore._run.files import disk_errors_as_user_errors, output_folder
from iuscore._run.processes import processors
from iuscore._run.signals import deferred_interrupts
from iuscore.engine import parts
from iuscore.engine.local import in_processes, in_this_process
from iuscore.engine.parts import PartInfo, finished
from iuscore.engine.records import MAX_SHARD_SIZE
from iuscore.engine.run import SUMMARY_NAME, Run, class_names, open_run, tidy, write_summary
from iuscore.engine.settings import FROM_FOLDER
from iuscore.engine.summary import Gathered
from iuscore.errors import UserError, bounded
from iuscore.images import MaskedShards, ShardedSource, open_shards
from iuscore.images.listing import counted
from iuscore.progress import Progress
from iuscore.scoring import Scorer, SetSummary

EVERY = 60.0
"""Seconds between summaries while a run goes on."""

Launcher = Callable[[Sequence[int]], Iterator[PartInfo]]


@dataclass(frozen=True)
class ScoringRun:
    """What a run wrote and how it ended.

    Attributes:
        table: folder of Parquet files that readers open as one table.
        summary_path: of ``summary.json``.
        summary: what stands in it (`iuscore.scoring.SetSummary`).
        interrupted: whether it was stopped before its shards were done.
        ignored: files of the source that are no images, and ``ignored_names``: up to five of them.
        read_as: integer labels -> the classes they were taken for, because the model was fitted with these numbers;
            None where labels were not read.
        tried_again: images that an earlier command could not read for a reason that may be gone, and this one tried.
        mended: those of them that could be read.
    """

    table: Path
    summary_path: Path
    summary: SetSummary
    interrupted: bool
    ignored: int
    ignored_names: tuple[str, ...] = ()
    read_as: Mapping[str, str] | None = None
    tried_again: int = 0
    mended: int = 0


def score_source(
    scorer: Scorer,
    source: ShardedSource | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    target: str = FROM_FOLDER,
    class_map: Mapping[str, str] | None = None,
    batch_size: int = 64,
    device: str = "cpu",
    workers: int = 1,
    shard_size: int | None = None,
    group_by: str | None = None,
    strict: bool = False,
    masks: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    rank: tuple[int, int] = (0, 1),
    ray_address: str | None = None,
    progress: Progress | None = None,
) -> ScoringRun:
    """Score every image of ``source``; an unreadable one becomes a row that says why.

    The images are listed once and done in shards. A shard is written as a whole when it is done, so a run that was
    stopped or killed at any instant goes on when it is called again with the same arguments, and ends with every
    image exactly once. On the CPU the rows are the same, bit for bit, for every ``batch_size``, ``workers`` and
    ``rank``.

    Args:
        scorer: see `iuscore.load`.
        source: see `iuscore.images.open_shards`; or what that takes, with classes where ``target`` is "from-folder".
        out: folder for ``scores.parquet`` (a folder of parts, one row an image, in the order of the source) and
            ``summary.json``, which is renewed every minute.
        target: class to compare all images with, or "from-folder": each with the class of its sub-folder, or what the
            kind of source has in its place.
        class_map: label -> class of the model, where they differ, such as {"0": "benign"}; for "from-folder".
        batch_size: images at once.
        device: where the model runs.
        workers: processes that decode, and on the CPU score too; 1: this one alone, with threads. A script that asks
            for more needs ``if __name__ == "__main__"``. With Ray: actors.
        shard_size: images a shard; None: what fits the kind of model, or what the run began with.
        group_by: regular expression that finds the group of an image (a patient, a video) in its file name, as that of
            `iuscore.fit.open_splits`: intervals then count groups, and the table has a column ``group``.
        strict: stop at the first unreadable image.
        masks: of a model fitted with masks: folder of those of these images, see `iuscore.images.MaskFolder`.
        overwrite: begin anew where ``out`` holds a run.
        rank: (rank, world): do every world-th shard, others do the rest in the same folder at the same time.
        ray_address: of a Ray cluster whose actors do the shards ("local": one on this machine); None: no Ray.
        progress: hears progress.

    Returns:
        `ScoringRun`. Columns of the table: uid, target, (group,) ius, (ius_sd,) contribution_<component>,
        share_<component>, probability_<class>, width, height, warnings, error.

    Raises:
        UserError: an unknown class, another run in ``out``, an unreadable image where ``strict``, a full disk.

    Example:
        >>> import tempfile, iuscore
        >>> from iuscore import demo
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     scorer = iuscore.load(demo.tiny_model(folder))
        ...     run = score_source(scorer, f"{folder}/real/test", f"{folder}/scores")
        ...     run.summary.n_scored, run.summary.complete, sorted(run.summary.targets)
        (4, True, ['abnormal', 'normal'])
    """
    _check_numbers(batch_size, workers, shard_size, alone=ray_address is None)
    if not os.fspath(out):
        raise UserError("out: expected a folder, got an empty text")
    if overwrite and rank[1] > 1:
        raise UserError(
            f"overwrite: expected one process, got {rank[1]}, which would remove each other's parts: "
            "give a new folder, or remove this one first"
        )
    if not isinstance(source, ShardedSource):
        source = open_shards(Path(source), labeled=target == FROM_FOLDER)
    if target == FROM_FOLDER:
        source = source.named(class_names(scorer, class_map))
    else:
        (target,) = scorer.targets(target, 1)
    if class_map and target != FROM_FOLDER:
        raise UserError(f"--map: only --target from-folder has labels, not {target}")
    source = _masked(scorer, source, masks)
    progress = progress or Progress()
    folder = Path(out).absolute()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: give a folder to write the scores to")
    if folder.is_symlink() and not folder.exists():
        raise UserError(f"{folder} is a link to nothing: make the folder {os.readlink(folder)}, or give another")
    _require_outside(folder, source.path)
    with disk_errors_as_user_errors(partial(_not_written, folder)), output_folder(folder):
        run = open_run(
            scorer, source, folder, target=target, batch_size=batch_size, device=device, strict=strict,
            shard_size=shard_size, overwrite=overwrite, group_by=group_by,
        )  # fmt: skip
        mine = range(rank[0], len(run.plan), rank[1])
        launch = _launcher(scorer, source, run, progress, workers, len(mine), ray_address)
        return _score(scorer, source, run, mine, launch, progress, Path(out), rank)


def _masked(scorer: Scorer, source: ShardedSource, masks: str | os.PathLike[str] | None) -> ShardedSource:
    """The images with their masks, where the model needs them; a UserError where the two do not fit."""
    masks = source.masks if masks is None else masks
    if masks is None and scorer.model.mask == "given":
        raise UserError("mask: the model was fitted with masks: give the folder of those of these images")
    scorer.model.checked_mask(None if masks is None else Path(masks))
    return source if masks is None or source.masks else MaskedShards(source, Path(masks))


MAX_BATCH_SIZE = 1 << 16
MAX_ACTORS = 1 << 16
MAX_WORKERS_PER_PROCESSOR = 8
"""Worker processes; more of them wait for each other, and each needs the memory of a model."""


def _check_numbers(batch_size: int, workers: int, shard_size: int | None, *, alone: bool) -> None:
    most = max(64, MAX_WORKERS_PER_PROCESSOR * processors()) if alone else MAX_ACTORS
    for name, value, high, why in (
        ("batch_size", batch_size, MAX_BATCH_SIZE, ""),
        ("workers", workers, most, f", {MAX_WORKERS_PER_PROCESSOR} a processor" if most > 64 and alone else ""),
        ("shard_size", 1 if shard_size is None else shard_size, MAX_SHARD_SIZE, ", whose rows wait in memory"),
    ):
        if type(value) is not int or not 1 <= value <= high:
            raise UserError(f"{name}: expected 1 to {high}{why}, got {bounded(value)}")


def _launcher(
    scorer: Scorer,
    source: ShardedSource,
    run: Run,
    progress: Progress,
    workers: int,
    shards: int,
    ray_address: str | None,
) -> Launcher:
    common = (run.settings, progress)
    if ray_address is not None:
        from iuscore.engine.on_ray import on_ray

        return lambda todo: on_ray(scorer, source, todo, *common, workers=workers, address=ray_address)
    if run.settings.device == "cpu" and min(workers, shards) > 1:
        threads = max(1, processors() // workers)
        return lambda todo: in_processes(scorer, source, todo, *common, workers=workers, threads=threads)
    decoders = workers if run.settings.device != "cpu" else min(8, processors())
    return lambda todo: in_this_process(scorer, source, todo, *common, decoders)


def _score(
    scorer: Scorer, source: ShardedSource, run: Run, mine: range, launch: Launcher, progress: Progress, out: Path,
    rank: tuple[int, int],
) -> ScoringRun:  # fmt: skip
    started = last = time.perf_counter()
    live = Gathered(scorer, run.out, run.settings.group_by)
    there = partial(finished, run.out, run.settings.run, len(run.plan))
    before: dict[int, int] = {}
    again: dict[int, int] = {}  # shards with images that the machine could not read then, and may be able to read now
    for info in there():
        before[info.index] = info.n
        if info.passing and info.index in mine:
            again[info.index] = len(info.passing)
    todo = [index for index in mine if index not in before or index in again]
    pending = set(todo)
    interrupted, new, tried, left = False, 0, 0, 0
    if again:
        progress.line(_trying_again(again))
    done = sum(n for index, n in before.items() if index not in pending)
    progress.start("scoring", run.plan.images, "img", done=done)
    try:
        for info in launch(todo) if todo else ():
            new += info.n
            pending.discard(info.index)
            if info.index in again:
                tried += again[info.index]
                left += len(info.passing)
            if rank[0] == 0 and time.perf_counter() - last > EVERY:
                live.add_all(there(skip=live.parts.keys() | pending))
                with deferred_interrupts(repeated=True):  # the first one imports
                    write_summary(scorer, run, live, seconds=last - started, new=new, interrupted=False)
                last = time.perf_counter()
    except KeyboardInterrupt:
        interrupted = True
    finally:
        progress.stop()
    seconds = time.perf_counter() - started
    with deferred_interrupts():
        summary = _summarize(scorer, run, there, rank, seconds=seconds, new=new, interrupted=interrupted)
    if not (summary.complete or interrupted) and rank[1] == 1:
        raise UserError(
            f"of {run.plan.images} images only {summary.n_done} are left in {run.out}: "
            "let no other command work there, and run this one again"
        )
    read_as = dict(source.names.read_as) if source.names else None
    mended = max(0, tried - left)
    passed_over = (source.ignored, tuple(source.ignored_names))
    return ScoringRun(
        out / parts.FOLDER, out / SUMMARY_NAME, summary, interrupted, *passed_over, read_as, tried, mended
    )


def _trying_again(again: dict[int, int]) -> str:
    images, shards = counted(sum(again.values()), "image"), counted(len(again), "shard")
    return f"{images} that could not be read for a reason that may be gone: tried again, with all of {shards}"


def _summarize(
    scorer: Scorer, run: Run, there: Callable[..., Iterator[PartInfo]], rank: tuple[int, int], **figures: Any
) -> SetSummary:
    """The summary of what is there; written by the first rank, and by the one that finds all parts."""
    while True:
        # Anew and in order: sums are the same in every bit, whoever did the shards.
        share = range(rank[0], len(run.plan), rank[1])
        final = Gathered(scorer, run.out, run.settings.group_by, compared=share).add_all(there())
        complete = len(final.parts) == len(run.plan)
        if complete:
            tidy(run, alone=rank[1] == 1)
        elif rank[0] != 0:
            return final.describe(images=run.images, listed=run.plan.images, device=run.settings.device, **figures)
        summary = write_summary(scorer, run, final, **figures)
        since = sum(1 for info in there() if final.parts.get(info.index) != info.content) if rank[1] > 1 else 0
        if not since or len(final.parts) + since < len(run.plan):
            return summary
        # The others are done by now, and their summary of the whole run may be what was just replaced.


def _require_outside(folder: Path, images: Path) -> None:
    """What is written must not be listed as images, or change their listing, the next time."""
    if images.is_dir() and images.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise UserError(f"{folder} lies in the folder of the images, {images}: give a folder outside")


def _not_written(folder: Path, error: OSError) -> str:
    """What the disk refused, and how to go on."""
    return (
        f"cannot write to {folder}: {error.strerror}; what is done is kept: mend that and run the same command "
        "again to go on"
    )
