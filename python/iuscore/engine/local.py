"""Score shards on this machine: in this process, or in several worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from importlib import import_module
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

from iuscore._run.processes import worker_context
from iuscore._run.signals import deferred_interrupts
from iuscore.engine.parts import PartInfo
from iuscore.engine.settings import Settings
from iuscore.engine.shard import Stopped, score_shard, score_shards
from iuscore.errors import UserError
from iuscore.explain.value import ReferenceViews
from iuscore.images import ShardedSource
from iuscore.models import Space
from iuscore.ops import Precision
from iuscore.progress import Progress
from iuscore.scoring import Scorer, load

DEATHS = 3
"""Deaths of worker processes, without a finished shard between them, that end the run."""


@dataclass(frozen=True)
class Loading:
    """What a worker process needs to load the model.

    Attributes:
        folder: the model folder.
        space, precision: as in `iuscore.load`.
        identity: identity of the model that the run began with.
        reference: SHA-256 of the reference of the run; None without views.
    """

    folder: Path
    space: Space
    precision: Precision
    identity: str
    reference: str | None = None

    @classmethod
    def of(cls, scorer: Scorer, device: str = "cpu", reference: ReferenceViews | None = None) -> Loading:
        """The arguments that load ``scorer`` and the reference again in another process, for a device.

        Raises:
            UserError: the scorer was not loaded from a folder.
        """
        if scorer.folder is None:
            raise UserError("workers: expected a scorer of iuscore.load, which other processes can load too")
        sha256 = None if reference is None else reference.sha256()
        precision = scorer.precision_on(device)
        return cls(scorer.folder.resolve(), scorer.space, precision, scorer.record.identity(), sha256)

    def load(self) -> Scorer:
        """Load the scorer.

        Raises:
            UserError: the folder now holds another model.
        """
        scorer = load(self.folder, space=self.space, precision=self.precision)
        if scorer.record.identity() != self.identity:
            raise UserError(f"the model in {self.folder} has changed since the run began: put back the first one")
        return scorer

    def settings(self, settings: Settings) -> Settings:
        """The settings with the reference, which is not sent: it may have megabytes.

        Raises:
            UserError: the folder now holds another reference.
        """
        if self.reference is None:
            return settings
        reference = ReferenceViews.load(self.folder)
        if reference.sha256() != self.reference:
            raise UserError(f"the reference in {self.folder} has changed since the run began: put back the first one")
        return replace(settings, reference=reference)


def in_this_process(
    scorer: Scorer, source: ShardedSource, indices: Sequence[int], settings: Settings, progress: Progress, decoders: int
) -> Iterator[PartInfo]:
    """Score shards one after another; ``decoders`` threads (for a GPU: processes) prefetch images."""
    counted = _BatchCounts(progress)
    yield from score_shards(scorer, source, indices, settings, on_batch=counted.add, decoders=decoders)


class _BatchCounts:
    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.images = self.unreadable = 0

    def add(self, images: int, unreadable: int) -> None:
        self.images += images
        self.unreadable += unreadable
        self.progress.advance(images, unreadable=self.unreadable)


_worker: Any = None


@dataclass
class _Worker:
    scorer: Scorer
    source: ShardedSource
    settings: Settings
    counts: Any
    stop: Any

    def score(self, index: int, slot: int) -> PartInfo:
        def on_batch(images: int, unreadable: int) -> None:
            self.counts[2 * slot] += images
            self.counts[2 * slot + 1] += unreadable
            if self.stop.value:
                raise Stopped

        return score_shard(self.scorer, self.source, index, self.settings, on_batch=on_batch)


def _start(loading: Loading, threads: int, source: ShardedSource, settings: Settings, *rest: Any) -> None:
    global _worker
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and sets ``stop``
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    try:
        _worker = _Worker(loading.load(), source, loading.settings(settings), *rest)
    except Exception as error:  # the first shard raises it: an error here would only break the pool, without a reason
        _worker = error


def _end_with_parent() -> None:
    """End this worker when its parent is gone: a killed parent cannot end its workers, which would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _work(index: int, slot: int) -> PartInfo | None:
    if isinstance(_worker, Exception):
        raise _worker
    try:
        info: PartInfo = _worker.score(index, slot)
        return info
    except Stopped:
        return None


class _TotalCounts:
    """Progress over several processes: the images of finished shards, plus the counts of the running shards."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.images = self.unreadable = self.shown = 0  # shown: images that were reported to ``progress``

    def add(self, info: PartInfo) -> None:
        self.images += info.n
        self.unreadable += info.unreadable

    def show(self, counts: Sequence[int]) -> None:
        """Report progress; ``counts`` holds (images, unreadable images) of each running shard, flattened."""
        now = max(self.shown, self.images + sum(counts[::2]))  # the sum falls when a worker dies and its shard restarts
        self.progress.advance(now - self.shown, unreadable=self.unreadable + sum(counts[1::2]))
        self.shown = now


def in_processes(
    scorer: Scorer,
    source: ShardedSource,
    indices: Sequence[int],
    settings: Settings,
    progress: Progress,
    *,
    workers: int,
    threads: int = 1,
) -> Iterator[PartInfo]:
    """Score shards in ``workers`` processes that decode, compute and write; yield each part when it is finished.

    A process that dies is replaced, and its shard is scored again.

    Raises:
        UserError: an error of a shard, or processes that died `DEATHS` times in a row.
    """
    context = worker_context()
    loading = Loading.of(scorer, settings.device, settings.reference)
    slots = 2 * workers  # one per submitted shard
    left, deaths = dict.fromkeys(indices), 0
    totals = _TotalCounts(progress)
    while left:
        # Shared memory without locks: a process that is killed while it holds a lock would never release it.
        counts, stop = context.RawArray("q", 2 * slots), context.RawValue("b", 0)
        started = (loading, threads, source, replace(settings, reference=None), counts, stop)
        others = set(multiprocessing.active_children())
        pool = ProcessPoolExecutor(min(workers, len(left)), mp_context=context, initializer=_start, initargs=started)
        waiting: dict[Future[PartInfo | None], tuple[int, int]] = {}
        todo = iter(tuple(left))
        try:
            with deferred_interrupts(repeated=True):  # Ctrl-C during a start would leave a process behind
                for slot, index in zip(range(slots), todo, strict=False):
                    waiting[pool.submit(_work, index, slot)] = index, slot
                import_module("scipy.special")  # the summary needs it; imported while the workers are busy
            while waiting:
                done, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    index, slot = waiting.pop(future)
                    info = future.result()
                    counts[2 * slot : 2 * slot + 2] = [0, 0]
                    if (following := next(todo, None)) is not None:
                        waiting[pool.submit(_work, following, slot)] = following, slot
                    if info is not None:
                        del left[index]
                        deaths = 0
                        totals.add(info)
                        yield info
                totals.show(counts)
        except BrokenProcessPool:
            deaths += 1
            if deaths == DEATHS:
                raise UserError(
                    f"worker processes died {DEATHS} times in a row (killed, or out of memory): what is done is kept; "
                    "try fewer --workers, then run the same command again to go on"
                ) from None
            progress.line("a worker process died; its shards are done again")
            time.sleep(0.2)
        finally:
            _end(pool, stop, others)


def _end(pool: ProcessPoolExecutor, stop: Any, others: set[Any]) -> None:
    """Let processes end after the current batch; a second Ctrl-C kills them."""
    try:
        stop.value = 1
        pool.shutdown(wait=True, cancel_futures=True)
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        raise
