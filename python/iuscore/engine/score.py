"""Score the images of a source, and write a folder with the parts of a Parquet table and ``summary.json``."""

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
from iuscore.engine.summary import SummaryBuilder
from iuscore.engine.values import SAMPLED, RunValue, write_values
from iuscore.errors import UserError, bounded
from iuscore.explain.value import ReferenceViews
from iuscore.explain.value.reference import CONFIG_NAME as REFERENCE_NAME
from iuscore.images import MaskedShards, ShardedSource, open_shards
from iuscore.images.listing import counted
from iuscore.progress import Progress
from iuscore.scoring import Scorer, SetSummary

EVERY = 60.0
"""Seconds between two writes of ``summary.json`` during a run."""

Launcher = Callable[[Sequence[int]], Iterator[PartInfo]]


@dataclass(frozen=True)
class ScoringRun:
    """What a run wrote and how it ended.

    Attributes:
        table: folder of Parquet files that readers open as one table.
        summary_path: path of ``summary.json``.
        summary: its content (`iuscore.scoring.SetSummary`).
        interrupted: whether the run was stopped before all shards were finished.
        ignored: number of files of the source that are no images; ``ignored_names`` has up to five of their names.
        read_as: integer label -> class it was read as, because fitting gave these numbers names; None where labels
            were not read.
        tried_again: number of images that this command tried again after a transient error of an earlier command.
        mended: number of these images that could now be read.
        value: what the set is worth; None where the run is not complete, or has no views.
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
    value: RunValue | None = None


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
    value: bool = True,
    progress: Progress | None = None,
) -> ScoringRun:
    """Score every image of ``source``; an unreadable image becomes a row with the reason.

    The images are listed once and scored in shards. Each finished shard is written in one atomic write. A run that was
    stopped or killed at any instant can therefore be resumed: call this function again with the same arguments, and
    the result has every image exactly once. On the CPU the rows are the same, bit for bit, for every ``batch_size``,
    ``workers`` and ``rank``.

    Args:
        scorer: see `iuscore.load`.
        source: a source of `iuscore.images.open_shards`, or a path that it takes. The images need labels if ``target``
            is "from-folder".
        out: folder for ``scores.parquet`` (a folder of parts, one row per image, in the order of the source) and
            ``summary.json``, which is rewritten every minute.
        target: class to compare all images with, or "from-folder": compare each image with the class of its
            sub-folder, or with its label in archives, tables and arrays.
        class_map: label -> class of the model, where the two differ, such as {"0": "benign"}; for "from-folder" only.
        batch_size: images scored at once.
        device: torch device of the model.
        workers: number of processes that decode, and on the CPU also score; 1: this process alone, with threads. A
            script that uses more needs ``if __name__ == "__main__"``. With Ray: number of actors.
        shard_size: images per shard; None: the value that the run began with, or the default of the kind of model.
        group_by: regular expression that finds the group of an image (a patient, a video) in its file name, as in
            `iuscore.fit.open_splits`. Intervals then count groups, and the table has a column ``group``.
        strict: stop at the first unreadable image.
        masks: for a model fitted with masks: folder of the masks of these images, see `iuscore.images.MaskFolder`.
        overwrite: remove a run in ``out`` and begin a new one.
        rank: (rank, world size): score every world-size-th shard, while the processes of the other ranks score the
            other shards in the same folder.
        ray_address: address of a Ray cluster whose actors score the shards ("local": a cluster on this machine);
            None: no Ray.
        value: whether to judge the set and its images by the model's real images (`iuscore.explain.value`), where the
            model folder holds these. Adds ``views.parquet``, ``values.parquet`` and ``value.json``.
        progress: receives progress; None: no progress is reported.

    Returns:
        `ScoringRun`. Columns of the table: uid, target, (group,) ius, (ius_sd,) contribution_<component>,
        share_<component>, probability_<class>, width, height, warnings, error.

    Raises:
        UserError: an unknown class, another run in ``out``, an unreadable image with ``strict``, or a full disk.

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
    reference = reference_of(scorer) if value else None
    with disk_errors_as_user_errors(partial(_write_error, folder)), output_folder(folder):
        run = open_run(
            scorer, source, folder, target=target, batch_size=batch_size, device=device, strict=strict,
            shard_size=shard_size, overwrite=overwrite, group_by=group_by, reference=reference,
        )  # fmt: skip
        mine = range(rank[0], len(run.plan), rank[1])
        launch = _launcher(scorer, source, run, progress, workers, len(mine), ray_address)
        return _score(scorer, source, run, mine, launch, progress, Path(out), rank)


def reference_of(scorer: Scorer) -> ReferenceViews | None:
    """The real images in the model folder; None where it holds none, as folders of version 0.1."""
    if scorer.folder is None or not (scorer.folder / REFERENCE_NAME).exists():
        return None
    reference = ReferenceViews.load(scorer.folder)
    if reference.record.classes != tuple(scorer.classes):
        raise UserError(
            f"{scorer.folder / REFERENCE_NAME}: expected the classes {', '.join(scorer.classes)}, got "
            f"{', '.join(reference.record.classes)}: it belongs to another model; fit the model again"
        )
    return reference


def _masked(scorer: Scorer, source: ShardedSource, masks: str | os.PathLike[str] | None) -> ShardedSource:
    """The source with masks, if the model needs masks; raises a UserError if model and masks do not fit."""
    masks = source.masks if masks is None else masks
    if masks is None and scorer.model.mask == "given":
        raise UserError("mask: the model was fitted with masks: give the folder of those of these images")
    scorer.model.checked_mask(None if masks is None else Path(masks))
    return source if masks is None or source.masks else MaskedShards(source, Path(masks))


MAX_BATCH_SIZE = 1 << 16
MAX_ACTORS = 1 << 16
MAX_WORKERS_PER_PROCESSOR = 8
"""Most worker processes per processor: more would only wait for each other, each with a model in memory."""


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
    live = SummaryBuilder(scorer, run.out, run.settings.group_by)
    finished_parts = partial(finished, run.out, run.settings.run, len(run.plan))
    before: dict[int, int] = {}  # finished shard -> number of images
    retried: dict[int, int] = {}  # finished shard -> number of images with a transient error, which are tried again
    for info in finished_parts():
        before[info.index] = info.n
        if info.transient and info.index in mine:
            retried[info.index] = len(info.transient)
    todo = [index for index in mine if index not in before or index in retried]
    pending = set(todo)
    interrupted, new, tried, left = False, 0, 0, 0
    if retried:
        progress.line(_retry_line(retried))
    done = sum(n for index, n in before.items() if index not in pending)
    progress.start("scoring", run.plan.images, "img", done=done)
    try:
        for info in launch(todo) if todo else ():
            new += info.n
            pending.discard(info.index)
            if info.index in retried:
                tried += retried[info.index]
                left += len(info.transient)
            if rank[0] == 0 and time.perf_counter() - last > EVERY:
                live.add_all(finished_parts(skip=live.parts.keys() | pending))
                with deferred_interrupts(repeated=True):  # the first summary imports modules
                    write_summary(scorer, run, live, seconds=last - started, new=new, interrupted=False)
                last = time.perf_counter()
    except KeyboardInterrupt:
        interrupted = True
    finally:
        progress.stop()
    seconds = time.perf_counter() - started
    with deferred_interrupts():
        summary = _summarize(scorer, run, finished_parts, rank, seconds=seconds, new=new, interrupted=interrupted)
    if not (summary.complete or interrupted) and rank[1] == 1:
        raise UserError(
            f"of {run.plan.images} images only {summary.n_done} are left in {run.out}: "
            "let no other command work there, and run this one again"
        )
    value = None
    if summary.complete and run.settings.reference is not None:
        if summary.n_done > SAMPLED:
            progress.line("comparing the images with real ones")
        infos = {info.index: info for info in finished_parts()}
        value = write_values(run.out, run.settings.run, infos, run.settings.reference)
    read_as = dict(source.names.read_as) if source.names else None
    mended = max(0, tried - left)
    ignored = (source.ignored, tuple(source.ignored_names))
    return ScoringRun(
        out / parts.FOLDER, out / SUMMARY_NAME, summary, interrupted, *ignored, read_as, tried, mended, value
    )


def _retry_line(retried: dict[int, int]) -> str:
    images, shards = counted(sum(retried.values()), "image"), counted(len(retried), "shard")
    return f"{images} that could not be read for a reason that may be gone: tried again, with all of {shards}"


def _summarize(
    scorer: Scorer, run: Run, finished_parts: Callable[..., Iterator[PartInfo]], rank: tuple[int, int], **figures: Any
) -> SetSummary:
    """The summary of all finished parts; rank 0 writes it, and so does any rank that finds the run complete."""
    while True:
        # A new builder adds the parts in order: the sums have the same bits, whichever process scored a shard.
        share = range(rank[0], len(run.plan), rank[1])
        final = SummaryBuilder(scorer, run.out, run.settings.group_by, compared=share).add_all(finished_parts())
        complete = len(final.parts) == len(run.plan)
        if complete:
            tidy(run, alone=rank[1] == 1)
        elif rank[0] != 0:
            return final.describe(images=run.images, listed=run.plan.images, device=run.settings.device, **figures)
        summary = write_summary(scorer, run, final, **figures)
        # Another rank may have finished the run meanwhile, and this write may have replaced its complete summary.
        since = sum(final.parts.get(info.index) != info.content for info in finished_parts()) if rank[1] > 1 else 0
        if not since or len(final.parts) + since < len(run.plan):
            return summary


def _require_outside(folder: Path, images: Path) -> None:
    """Raise if the output folder lies in the folder of the images: the next listing would find the output."""
    if images.is_dir() and images.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise UserError(f"{folder} lies in the folder of the images, {images}: give a folder outside")


def _write_error(folder: Path, error: OSError) -> str:
    """The message for a disk that refused to write, with how to resume the run."""
    return (
        f"cannot write to {folder}: {error.strerror}; what is done is kept: mend that and run the same command "
        "again to go on"
    )
