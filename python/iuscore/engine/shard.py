"""One shard: its images decoded, scored and written."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import torch
from torch import Tensor

from iuscore.engine.batches import Batch, batches
from iuscore.engine.parts import PartInfo, PartRows, part_path, read_info
from iuscore.engine.records import RunRecord, read_json
from iuscore.engine.settings import FROM_FOLDER, Settings
from iuscore.errors import UserError
from iuscore.images import KnownImages, ShardedSource
from iuscore.images.groups import GroupBy
from iuscore.scoring import Scorer, Scores


class Stopped(Exception):
    """The caller asked a shard to stop; nothing of it was written."""


def score_shard(
    scorer: Scorer,
    source: ShardedSource,
    index: int,
    settings: Settings,
    *,
    on_batch: Callable[[int, int], None] = lambda images, unreadable: None,
    decoders: int = 0,
) -> PartInfo:
    """Score one shard into its part; nothing is done where the part is there and holds nothing to try again.

    Killed at any instant it leaves the whole part or none.

    Args:
        scorer: the model.
        source: where the images are.
        index: of the shard.
        settings: of the run.
        on_batch: told how many more images are done and how many of them were unreadable; may raise `Stopped`.
        decoders: threads that decode ahead.

    Raises:
        UserError: an unreadable image where ``settings.strict``.
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
    """`score_shard` of several, one after another; a GPU computes one batch while the one before is put into its rows.

    What it waits for is the start of a batch: the model's warnings are read before its networks begin.
    """
    todo = []
    for index in indices:
        info = existing_part(settings, index)
        if info is not None and not info.passing:
            yield info
        else:
            todo.append(index)
    gathered: dict[int, PartRows] = {}
    stored = scorer.record.data.known_images  # models of version 0.1 have none
    known = KnownImages.from_json(None if stored is None else asdict(stored), where="data.known_images")
    group_by = None if settings.group_by is None else GroupBy(settings.group_by)
    waiting: deque[tuple[Batch, Fetched | None]] = deque()

    def finish() -> Iterator[PartInfo]:
        batch, scores = waiting.popleft()
        rows = gathered[batch.shard]
        if scores is not None:
            rows.put_scores([batch.start + i for i in batch.readable], scores.wait())
        on_batch(len(batch.samples), len(batch.samples) - len(batch.readable))
        rows.done += len(batch.samples)
        if rows.done == batch.shard_size:
            del gathered[batch.shard]
            _require_same_run(settings)
            yield rows.write(part_path(settings.out, batch.shard), settings.run, batch.shard)

    # A device has memory of its own for inputs, and says so where it ends.
    beside = 4 * math.prod(scorer.model.input_shape) if settings.device == "cpu" else 0
    for batch in batches(source, settings, todo, decoders, beside):
        if batch.shard not in gathered:
            gathered[batch.shard] = PartRows(scorer, batch.shard_size, settings.sample, group_by)
        waiting.append((batch, _launch(scorer, batch, gathered[batch.shard], settings, known)))
        del batch  # its pixels go before the next images are decoded
        if len(waiting) > (settings.device != "cpu"):
            yield from finish()
    while waiting:
        yield from finish()


def _require_same_run(settings: Settings) -> None:
    """Two commands that differ must not write into one folder."""
    try:
        found = read_json(settings.out / RunRecord.NAME)
        same = isinstance(found, dict) and found.get("run") == settings.run
    except (OSError, ValueError):
        same = False
    if not same:
        raise UserError(f"another command has begun anew in {settings.out}: give each a folder of its own")


def existing_part(settings: Settings, index: int) -> PartInfo | None:
    """The part of a shard, if it is there and of this run."""
    info = read_info(part_path(settings.out, index))
    return info if info is not None and (info.run, info.index) == (settings.run, index) else None


class Fetched:
    """Scores on their way to the CPU; not behind those of the next batch, as a copy begun later would be."""

    def __init__(self, scores: Scores) -> None:
        self._scores, self._copied = scores, None
        if scores.ius.is_cuda:
            every = {field.name: getattr(scores, field.name) for field in fields(scores)}
            copies: dict[str, Any] = {
                name: part.to("cpu", non_blocking=True) for name, part in every.items() if isinstance(part, Tensor)
            }
            self._scores = replace(scores, **copies)
            self._copied = torch.cuda.current_stream(scores.ius.device).record_event()

    def wait(self) -> Scores:
        """The scores, when they are there."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._scores


def _launch(scorer: Scorer, batch: Batch, rows: PartRows, settings: Settings, known: KnownImages) -> Fetched | None:
    """Begin the scores of a batch; on a GPU they are not there yet when this returns."""
    names = targets_of(batch.labels, settings.target)
    if settings.strict and (errors := [(s.uid, e) for s, e in zip(batch.samples, batch.errors, strict=True) if e]):
        raise UserError(f"{errors[0][0]}: {errors[0][1]} (--strict)")
    rows.put(batch.start, batch.samples, names, batch.errors)
    rows.put_known(known.look_at(batch.marks))
    if not batch.readable:
        return None
    images, masks = batch.images(settings.device), batch.masks_on(settings.device)
    return Fetched(scorer.score_list(images, [names[i] for i in batch.readable], masks))


def targets_of(labels: Sequence[str | None], target: str) -> list[str]:
    """The class each image is compared with."""
    return [label or "" for label in labels] if target == FROM_FOLDER else [target] * len(labels)
