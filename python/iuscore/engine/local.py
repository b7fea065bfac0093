"""Shards on this machine: in this process, or side by side in several."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
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
from iuscore.images import ShardedSource
from iuscore.models import Space
from iuscore.ops import Precision
from iuscore.progress import Progress
from iuscore.scoring import Scorer, load

DEATHS = 3
"""Times in a row that worker processes may die without finishing a shard."""


@dataclass(frozen=True)
class Loading:
    """How a process gets the model.

    Attributes:
        folder: of the model.
        space, precision: as in `iuscore.load`.
        identity: of the model that the run began with.
    """

    folder: Path
    space: Space
    precision: Precision
    identity: str

    @classmethod
    def of(cls, scorer: Scorer, device: str = "cpu") -> Loading:
        """What loads ``scorer`` once more, to work on a device.

        Raises:
            UserError: it did not come from a folder.
        """
        if scorer.folder is None:
            raise UserError("workers: expected a scorer of iuscore.load, which other processes can load too")
        return cls(scorer.folder.resolve(), scorer.space, scorer.precision_on(device), scorer.record.identity())

    def load(self) -> Scorer:
        """The scorer.

        Raises:
            UserError: the folder holds another model by now.
        """
        scorer = load(self.folder, space=self.space, precision=self.precision)
        if scorer.record.identity() != self.identity:
            raise UserError(f"the model in {self.folder} has changed since the run began: put back the first one")
        return scorer


def in_this_process(
    scorer: Scorer, source: ShardedSource, indices: Sequence[int], settings: Settings, progress: Progress, decoders: int
) -> Iterator[PartInfo]:
    """Score shards one after another; ``decoders`` threads (for a GPU: processes) decode ahead."""
    counted = _Counted(progress)
    yield from score_shards(scorer, source, indices, settings, on_batch=counted.add, decoders=decoders)


class _Counted:
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


def _start(loading: Loading, threads: int, *rest: Any) -> None:
    global _worker
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it and says stop
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    try:
        _worker = _Worker(loading.load(), *rest)
    except Exception as error:  # said by the first shard: a pool only knows that its process ended
        _worker = error


def _end_with_parent() -> None:
    """A parent that is killed cannot end its workers, and they would wait for work for ever."""
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


class _Shown:
    """Progress of several processes: the shards that are done, and what each process says of the one it does."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.images = self.unreadable = self.shown = 0

    def add(self, info: PartInfo) -> None:
        self.images += info.n
        self.unreadable += info.unreadable

    def show(self, counts: Sequence[int]) -> None:
        """``counts`` of images and of unreadable ones, in turns, of the shards that are being done."""
        now = max(self.shown, self.images + sum(counts[::2]))  # less after a death, which takes a shard back
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
    """Score shards in ``workers`` processes that decode, compute and write; parts are yielded as they are done.

    A process that dies is replaced, and its shard done anew.

    Raises:
        UserError: what a shard says, or processes that die again and again.
    """
    context = worker_context()
    loading, slots = Loading.of(scorer, settings.device), 2 * workers  # shards handed out at a time
    left, deaths = dict.fromkeys(indices), 0
    shown = _Shown(progress)
    while left:
        # Written to without locks: a process that is killed would hold one for ever.
        counts, stop = context.RawArray("q", 2 * slots), context.RawValue("b", 0)
        started = (loading, threads, source, settings, counts, stop)
        others = set(multiprocessing.active_children())
        pool = ProcessPoolExecutor(min(workers, len(left)), mp_context=context, initializer=_start, initargs=started)
        waiting: dict[Future[PartInfo | None], tuple[int, int]] = {}
        todo = iter(tuple(left))
        try:
            with deferred_interrupts(repeated=True):  # a process that is half started would be left behind
                for slot, index in zip(range(slots), todo, strict=False):
                    waiting[pool.submit(_work, index, slot)] = index, slot
                import_module("scipy.special")  # of the summary, while the workers have enough to do
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
                        shown.add(info)
                        yield info
                shown.show(counts)
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
    """Let processes end after their batch; a second Ctrl-C kills them."""
    try:
        stop.value = 1
        pool.shutdown(wait=True, cancel_futures=True)
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        raise
