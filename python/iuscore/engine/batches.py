"""From the shards of a source to batches of decoded images: in this thread, in threads, or in processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import tee
from typing import Any

import torch
from torch import Tensor

from iuscore.engine.settings import Settings
from iuscore.images import Item, Sample, Shard, ShardedSource, batched, map_ahead, mark_of, read_item
from iuscore.images.decoded import NO_MEMORY
from iuscore.scoring.contributions import unusable

AHEAD_PIXELS = 1 << 24
"""Larger images are not decoded ahead, several at a time, but one after the other when their turn comes."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Some images of one shard that follow each other.

    Attributes:
        shard: index of the shard.
        shard_size: images in the shard.
        start: place of the first image in the shard.
        samples: without their pixels.
        errors: why an image cannot be used, or None.
        readable: places in this batch of the images that can.
        stacks: their pixels [n, H, W, C]; images of one size lie together where they go to a device.
        where: (stack, place in the stack) of each readable image.
        marks: of the readable images, see `iuscore.images.mark_of`.
        masks: bool [n, H, W] of each stack, where the images have masks.
    """

    shard: int
    shard_size: int
    start: int
    samples: tuple[Sample, ...]
    errors: tuple[str | None, ...]
    readable: tuple[int, ...]
    stacks: tuple[Tensor, ...]
    where: tuple[tuple[int, int], ...]
    marks: tuple[int, ...]
    masks: tuple[Tensor, ...] | None = None

    @property
    def labels(self) -> list[str | None]:
        return [sample.label for sample in self.samples]

    def images(self, device: str) -> list[Tensor]:
        """The readable images [H, W, C] on a device: one copy a stack, which nobody waits for if memory is pinned."""
        stacks = [stack.to(device, non_blocking=True) for stack in self.stacks]
        return [stacks[stack][place] for stack, place in self.where]

    def masks_on(self, device: str) -> list[Tensor] | None:
        """The masks [H, W] of the readable images on a device; None without masks."""
        if self.masks is None:
            return None
        stacks = [stack.to(device, non_blocking=True) for stack in self.masks]
        return [stacks[stack][place] for stack, place in self.where]

    def pin_memory(self) -> Batch:
        """The batch in memory that a GPU copies from by itself; PyTorch's loader calls this."""
        masks = None if self.masks is None else tuple(stack.pin_memory() for stack in self.masks)
        return replace(self, stacks=tuple(stack.pin_memory() for stack in self.stacks), masks=masks)


def make_batch(
    shard: int, shard_size: int, start: int, samples: Sequence[Sample], *, stacked: bool,
    mask_size: tuple[int, int] | None = None,
) -> Batch:  # fmt: skip
    """A batch of decoded images; ``stacked`` puts those of one size and type together, at the cost of a copy."""
    errors = tuple(unusable(sample, mask_size) for sample in samples)
    readable = tuple(i for i, error in enumerate(errors) if error is None)
    stacks: dict[Any, list[Tensor]] = {}
    masks: dict[Any, list[Tensor]] = {}
    where = []
    for i in readable:
        pixels = torch.from_numpy(samples[i].pixels)
        key = (pixels.shape, pixels.dtype) if stacked else i
        members = stacks.setdefault(key, [])
        where.append((list(stacks).index(key) if stacked else len(stacks) - 1, len(members)))
        members.append(pixels)
        if (mask := samples[i].mask) is not None:
            masks.setdefault(key, []).append(torch.from_numpy(mask))
    return Batch(
        shard,
        shard_size,
        start,
        tuple(replace(sample, pixels=None, mask=None) for sample in samples),
        errors,
        readable,
        _stacked(stacks),
        tuple(where),
        tuple(mark_of(image) for i in readable if (image := samples[i].pixels) is not None),
        _stacked(masks) if masks else None,
    )


def _stacked(stacks: Mapping[Any, list[Tensor]]) -> tuple[Tensor, ...]:
    return tuple(torch.stack(members) if len(members) > 1 else members[0][None] for members in stacks.values())


def batches(
    source: ShardedSource, settings: Settings, indices: Sequence[int], decoders: int, beside: int = 0
) -> Iterator[Batch]:
    """Batches of shards: of ``settings.batch_size`` images, or fewer where these fill `iuscore.images.BATCH_BYTES`.

    On the CPU they come in order, decoded ``decoders`` threads ahead (0: in this one). For other devices
    ``decoders`` processes decode whole shards side by side, so batches of several shards come in turns.
    ``beside`` is the number of bytes that an image needs besides its pixels, as the model's input.
    """
    if settings.device == "cpu":
        for index in indices:
            yield from _of_shard(source, settings, index, decoders, beside)
        return
    from torch.utils.data import DataLoader

    pinned = settings.device.startswith("cuda")
    workers = min(decoders, len(indices))
    loader = DataLoader(
        _ShardBatches(source, settings, tuple(indices)),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        pin_memory=pinned,
        multiprocessing_context="spawn" if workers else None,  # a process that has used CUDA cannot be forked
    )
    yield from loader


def _of_shard(source: ShardedSource, settings: Settings, index: int, threads: int, beside: int) -> Iterator[Batch]:
    shard = settings.plan.shard(index)
    start = 0
    for taken in batched(_decoded(source, shard, settings.batch_size, threads), settings.batch_size, beside):
        stacked = settings.device != "cpu"
        made = [make_batch(index, shard.n, start, taken, stacked=stacked, mask_size=settings.mask_size)]
        start += len(taken)
        # Whoever takes it lets it go: nothing here holds its pixels while the next images are decoded.
        del taken
        yield made.pop()


def _decoded(source: ShardedSource, shard: Shard, batch_size: int, threads: int) -> Iterator[Sample]:
    """The images of a shard in order, decoded ahead by ``threads`` where they are not large."""
    most = min(source.max_pixels, AHEAD_PIXELS) if threads else source.max_pixels
    items, same = tee(source.items(shard))

    def read(item: Item) -> Sample:
        return read_item(item, most, source.bits)

    ahead = map_ahead(read, items, threads, max(batch_size, 2 * threads))
    try:
        for sample in ahead:  # not zip, which holds the last one while the next is decoded
            item = next(same)
            # Refused from its header, or because others took the memory: now it is alone.
            refused = sample.error is not None and ("too large" in sample.error or sample.error == NO_MEMORY)
            yield read_item(item, source.max_pixels, source.bits) if refused and threads else sample
            del sample
    finally:
        ahead.close()


class _ShardBatches(torch.utils.data.IterableDataset[Batch]):
    """What PyTorch's loader iterates over in each of its processes: every n-th shard."""

    def __init__(self, source: ShardedSource, settings: Settings, indices: tuple[int, ...]) -> None:
        self.source, self.settings, self.indices = source, settings, indices

    def __iter__(self) -> Iterator[Batch]:
        import signal

        info = torch.utils.data.get_worker_info()
        if info is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one ends it
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        for index in self.indices[first::step]:
            yield from _of_shard(self.source, self.settings, index, 0, 0)
