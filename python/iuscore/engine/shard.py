"""Decode, score and write the images of a shard."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import torch
from torch import Tensor

from iuscore.engine.batches import Batch, batches
from iuscore.engine.parts import PartInfo, PartRows, finished_part, part_path
from iuscore.engine.records import RunRecord, read_json
from iuscore.engine.settings import FROM_FOLDER, Settings
from iuscore.errors import UserError
from iuscore.images import KnownImages, ShardedSource
from iuscore.images.groups import GroupBy
from iuscore.ops._range import range_is_known
from iuscore.scoring import Scorer, Scores


class Stopped(Exception):
    """The caller stopped a shard; no part was written."""


def score_shard(
    scorer: Scorer,
    source: ShardedSource,
    index: int,
    settings: Settings,
    *,
    on_batch: Callable[[int, int], None] = lambda images, unreadable: None,
    decoders: int = 0,
) -> PartInfo:
    """Score one shard and write its part; a finished part without transient errors is returned as it is.

    A process that is killed at any instant leaves the complete part or no part.

    Args:
        scorer: the model.
        source: the images.
        index: index of the shard.
        settings: settings of the run.
        on_batch: called after each batch with its number of images and of unreadable images; may raise `Stopped`.
        decoders: number of threads that prefetch images.

    Raises:
        UserError: an unreadable image with ``settings.strict``.
        OSError: the part cannot be written.
    """
    return next(score_shards(scorer, source, [index], settings, on_batch=on_batch, decoders=decoders))


def score_shards(
    scorer: Scorer,
    source: ShardedSource,
    indices: Iterable[int],
    settings: Settings,
    *,
    on_batch: Callable[[int, int], None] = lambda images, unreadable: None,
    decoders: int = 0,
) -> Iterator[PartInfo]:
    """`score_shard` for several shards in turn; a GPU computes one batch while the rows of the previous are filled.

    Only the start of a batch waits for the GPU: the model's warnings are read before its networks begin.
    """
    todo = []
    for index in indices:
        info = existing_part(settings, index)
        if info is not None and not info.transient:
            yield info
        else:
            todo.append(index)
    open_parts: dict[int, PartRows] = {}  # shard -> rows that are not complete
    stored = scorer.record.data.known_images  # models of version 0.1 have none
    known = KnownImages.from_json(None if stored is None else asdict(stored), where="data.known_images")
    group_by = None if settings.group_by is None else GroupBy(settings.group_by)
    waiting: deque[tuple[Batch, PendingScores | None]] = deque()

    def finish() -> Iterator[PartInfo]:
        batch, scores = waiting.popleft()
        rows = open_parts[batch.shard]
        if scores is not None:
            rows.put_scores([batch.start + i for i in batch.readable], scores.wait())
        on_batch(len(batch.samples), len(batch.samples) - len(batch.readable))
        rows.done += len(batch.samples)
        if rows.done == batch.shard_size:
            del open_parts[batch.shard]
            _require_same_run(settings)
            yield rows.write(part_path(settings.out, batch.shard), settings.run, batch.shard)

    # The model's inputs count on the CPU only: a GPU has its own memory, and PyTorch raises an error when it is full.
    input_bytes = 4 * math.prod(scorer.model.input_shape) if settings.device == "cpu" else 0
    for batch in batches(source, settings, todo, decoders, input_bytes):
        if batch.shard not in open_parts:
            open_parts[batch.shard] = PartRows(scorer, batch.shard_size, settings.sample, group_by, settings.reference)
        waiting.append((batch, _launch(scorer, batch, open_parts[batch.shard], settings, known)))
        del batch  # frees its pixels before the next images are decoded
        if len(waiting) > (settings.device != "cpu"):
            yield from finish()
    while waiting:
        yield from finish()


def _require_same_run(settings: Settings) -> None:
    """Raise if another command has begun a different run in the folder meanwhile."""
    try:
        found = read_json(settings.out / RunRecord.NAME)
        same = isinstance(found, dict) and found.get("run") == settings.run
    except (OSError, ValueError):
        same = False
    if not same:
        raise UserError(f"another command has begun anew in {settings.out}: give each a folder of its own")


def existing_part(settings: Settings, index: int) -> PartInfo | None:
    """The finished part of a shard of this run; None if there is none."""
    return finished_part(settings.out, settings.run, index)


class PendingScores:
    """Scores that are being copied to the CPU.

    The copy is queued at once. A copy that is queued later would wait for the computation of the next batch.
    """

    def __init__(self, scores: Scores) -> None:
        self._scores, self._copied = scores, None
        if scores.ius.is_cuda:
            values = {field.name: getattr(scores, field.name) for field in fields(scores)}
            copies: dict[str, Any] = {
                name: value.to("cpu", non_blocking=True) for name, value in values.items() if isinstance(value, Tensor)
            }
            self._scores = replace(scores, **copies)
            self._copied = torch.cuda.current_stream(scores.ius.device).record_event()

    def wait(self) -> Scores:
        """Wait for the copy, then return the scores."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._scores


def _launch(
    scorer: Scorer, batch: Batch, rows: PartRows, settings: Settings, known: KnownImages
) -> PendingScores | None:
    """Start to score a batch; on a GPU this returns before the scores are computed."""
    names = targets_of(batch.labels, settings.target)
    if settings.strict and (errors := [(s.uid, e) for s, e in zip(batch.samples, batch.errors, strict=True) if e]):
        raise UserError(f"{errors[0][0]}: {errors[0][1]} (--strict)")
    rows.put(batch.start, batch.samples, names, batch.errors)
    rows.put_known(known.look_at(batch.marks))
    if not batch.readable:
        return None
    images, masks = batch.images(settings.device), batch.masks_on(settings.device)
    if rows.views is not None and settings.reference is not None:
        seen = [i for i, image in enumerate(images) if not image.is_floating_point() or bool(image.isfinite().all())]
        if seen:
            with range_is_known():  # the reader of the files warns about ranges
                views = settings.reference.embed([images[i] for i in seen], layout="NHWC")
            rows.views.put([batch.start + batch.readable[i] for i in seen], views)
    return PendingScores(scorer.score_list(images, [names[i] for i in batch.readable], masks))


def targets_of(labels: Sequence[str | None], target: str) -> list[str]:
    """The class that each image is compared with."""
    return [label or "" for label in labels] if target == FROM_FOLDER else [target] * len(labels)
