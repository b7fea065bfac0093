"""Score shards on a Ray cluster (extra ``ray``), by actors that each hold the model."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from iuscore.engine.local import DEATHS, Loading
from iuscore.engine.parts import PartInfo
from iuscore.engine.settings import Settings
from iuscore.engine.shard import score_shard
from iuscore.errors import UserError
from iuscore.images import ShardedSource
from iuscore.progress import Progress
from iuscore.scoring import Scorer


class ShardActor:
    """Holds a model and scores one shard at a time."""

    def __init__(self, loading: Loading, source: ShardedSource, settings: Settings) -> None:
        import torch

        if settings.device == "cpu":
            torch.set_num_threads(1)
        self.scorer, self.source, self.settings = loading.load(), source, loading.settings(settings)

    def score(self, index: int) -> PartInfo:
        """Score one shard."""
        return score_shard(self.scorer, self.source, index, self.settings)


def on_ray(
    scorer: Scorer,
    source: ShardedSource,
    indices: Sequence[int],
    settings: Settings,
    progress: Progress,
    *,
    workers: int,
    address: str,
) -> Iterator[PartInfo]:
    """Score shards in ``workers`` actors; an actor that dies is restarted, and its shard is scored again.

    Every node must see the folders of the model, the images and the output under the same paths.

    Raises:
        UserError: Ray is missing, the cluster does not answer, or a shard raised it.
    """
    try:
        import ray
    except ImportError:
        raise UserError("--launcher ray needs the extra: pip install -c constraints.txt '.[ray]'") from None
    began = not ray.is_initialized()
    if began:
        try:
            ray.init(address=None if address == "local" else address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(f"--ray-address {address}: {str(error).splitlines()[0]}") from None
    try:
        loading = Loading.of(scorer, settings.device, settings.reference)
        yield from _score(ray, loading, source, indices, replace(settings, reference=None), progress, workers)
    finally:
        if began:
            ray.shutdown()


def _score(
    ray: Any,
    loading: Loading,
    source: ShardedSource,
    indices: Sequence[int],
    settings: Settings,
    progress: Progress,
    workers: int,
) -> Iterator[PartInfo]:
    gpus = 1 if settings.device.startswith("cuda") else 0
    actor_class = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=-1)(ShardActor)
    idle = [actor_class.remote(loading, source, settings) for _ in range(min(workers, len(indices)))]
    left, deaths, unreadable = list(reversed(indices)), 0, 0
    running: dict[Any, tuple[Any, int]] = {}
    while left or running:
        while idle and left:
            actor, index = idle.pop(), left.pop()
            running[actor.score.remote(index)] = (actor, index)
        done, _ = ray.wait(list(running), num_returns=1)
        for reference in done:
            actor, index = running.pop(reference)
            idle.append(actor)
            try:
                info = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                raise error.cause or error from None
            except ray.exceptions.RayActorError as error:
                deaths += 1
                if deaths > DEATHS * workers:
                    raise UserError(f"actors died {deaths} times in a row: {str(error).splitlines()[0]}") from None
                progress.line("an actor died; its shard is done again")
                left.append(index)
                time.sleep(0.5)
                continue
            deaths = 0
            unreadable += info.unreadable
            progress.advance(info.n, unreadable=unreadable)
            yield info
