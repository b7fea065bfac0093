"""Shards on this machine: in this process, or side by side in several."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

from iuscore.engine.parts import PartInfo
from iuscore.engine.shard import Settings, Stopped, score_shard, score_shards
from iuscore.errors import UserError
from iuscore.images import ShardedSource
from iuscore.models import Space
from iuscore.ops import Precision
from iuscore.report import Report
from iuscore.score import Scorer, load

DEATHS = 3
"""Times in a row that worker processes may die without finishing a shard."""


@dataclass(frozen=True)
class Loading:
    """How a process gets the model.

    Attributes:
        folder: of the model.
        space, precision: as in `iuscore.load`.
    """

    folder: Path
    space: Space
    precision: Precision

    @classmethod
    def of(cls, scorer: Scorer) -> Loading:
        """What loads ``scorer`` once more.

        Raises:
            UserError: it did not come from a folder.
        """
        if scorer.folder is None:
            raise UserError("workers: expected a scorer of iuscore.load, which other processes can load too")
        return cls(scorer.folder.resolve(), scorer.space, scorer.precision)

    def load(self) -> Scorer:
        return load(self.folder, space=self.space, precision=self.precision)


def in_this_process(
    scorer: Scorer, source: ShardedSource, indices: Sequence[int], settings: Settings, report: Report, decoders: int
) -> Iterator[PartInfo]:
    """Score shards one after another; ``decoders`` threads (for a GPU: processes) decode ahead."""
    progress = _Progress(report)
    yield from score_shards(scorer, source, indices, settings, on_batch=progress.add, decoders=decoders)


class _Progress:
    def __init__(self, report: Report) -> None:
        self.report = report
        self.images = self.unreadable = 0

    def add(self, images: int, unreadable: int) -> None:
        self.images += images
        self.unreadable += unreadable
        self.report.advance(images, unreadable=self.unreadable)


_worker: Any = None


@dataclass
class _Worker:
    scorer: Scorer
    source: ShardedSource
    settings: Settings
    images: Any
    unreadable: Any
    stop: Any

    def on_batch(self, images: int, unreadable: int) -> None:
        with self.images.get_lock():
            self.images.value += images
            self.unreadable.value += unreadable
        if self.stop.is_set():
            raise Stopped


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


def _work(index: int) -> PartInfo | None:
    if isinstance(_worker, Exception):
        raise _worker
    try:
        return score_shard(_worker.scorer, _worker.source, index, _worker.settings, on_batch=_worker.on_batch)
    except Stopped:
        return None


def in_processes(
    scorer: Scorer,
    source: ShardedSource,
    indices: Sequence[int],
    settings: Settings,
    report: Report,
    *,
    workers: int,
    threads: int = 1,
) -> Iterator[PartInfo]:
    """Score shards in ``workers`` processes that decode, compute and write; parts are yielded as they are done.

    A process that dies is replaced, and its shard done anew.

    Raises:
        UserError: what a shard says, or processes that die again and again.
    """
    # Forked from a small server that has the modules loaded, where there is one: a start takes no seconds.
    kind = "forkserver" if sys.platform == "linux" else "spawn"
    context: Any = multiprocessing.get_context(kind)
    if kind == "forkserver":
        context.set_forkserver_preload(["iuscore.engine.local"])
    images, unreadable, stop = context.Value("q", 0), context.Value("q", 0), context.Event()
    started = (Loading.of(scorer), threads, source, settings, images, unreadable, stop)
    left, deaths, shown = dict.fromkeys(indices), 0, 0
    while left:
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=started)
        waiting: dict[Future[PartInfo | None], int] = {}
        todo = iter(tuple(left))
        try:
            for index in todo:
                waiting[pool.submit(_work, index)] = index
                if len(waiting) >= 2 * workers:
                    break
            while waiting:
                done, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                now = images.value
                report.advance(now - shown, unreadable=unreadable.value)
                shown = now
                for future in done:
                    index = waiting.pop(future)
                    info = future.result()
                    if (following := next(todo, None)) is not None:
                        waiting[pool.submit(_work, following)] = following
                    if info is not None:
                        del left[index]
                        deaths = 0
                        yield info
        except BrokenProcessPool:
            deaths += 1
            if deaths == DEATHS:
                raise UserError(
                    f"worker processes died {DEATHS} times in a row (killed, or out of memory): what is done is kept; "
                    "try fewer --workers, then run the same command again to go on"
                ) from None
            report.line("a worker process died; its shards are done again")
            time.sleep(0.2)
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
        stop.clear()
