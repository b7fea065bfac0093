"""Batches of decoded images from the shards of a source, decoded in this thread, in threads or in processes."""

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
"""Images with more pixels are not prefetched: they are decoded one at a time, which bounds the memory."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Consecutive images of one shard.

    Attributes:
        shard: index of the shard.
        shard_size: number of images in the shard.
        start: index of the first image within the shard.
        samples: one per image, without pixels.
        errors: one per image: why the image cannot be scored, or None.
        readable: indices, within this batch, of the images without an error.
        stacks: pixels [n, H, W, C] of the readable images; for a GPU, images of one size and type share a stack.
        where: (stack, index in the stack) of each readable image.
        marks: one per readable image, see `iuscore.images.mark_of`.
        masks: one bool [n, H, W] per stack; None where the images have no masks.
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
        """The readable images [H, W, C] on a device: one copy per stack, asynchronous from pinned memory."""
        stacks = [stack.to(device, non_blocking=True) for stack in self.stacks]
        return [stacks[stack][place] for stack, place in self.where]

    def masks_on(self, device: str) -> list[Tensor] | None:
        """The masks [H, W] of the readable images on a device; None without masks."""
        if self.masks is None:
            return None
        stacks = [stack.to(device, non_blocking=True) for stack in self.masks]
        return [stacks[stack][place] for stack, place in self.where]

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, for asynchronous copies to a GPU; PyTorch's loader calls this method."""
        masks = None if self.masks is None else tuple(stack.pin_memory() for stack in self.masks)
        return replace(self, stacks=tuple(stack.pin_memory() for stack in self.stacks), masks=masks)


def make_batch(
    shard: int, shard_size: int, start: int, samples: Sequence[Sample], *, stacked: bool,
    mask_size: tuple[int, int] | None = None,
) -> Batch:  # fmt: skip
    """A batch of decoded images; ``stacked`` copies images of one size and type into one tensor."""
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
    source: ShardedSource, settings: Settings, indices: Sequence[int], decoders: int, input_bytes: int = 0
) -> Iterator[Batch]:
    """Batches of ``settings.batch_size`` images, or fewer where the images fill `iuscore.images.BATCH_BYTES`.

    On the CPU the batches come in order; ``decoders`` threads prefetch images (0: this thread decodes). For other
    devices ``decoders`` processes decode one shard each at the same time, so batches of different shards alternate.
    ``input_bytes`` is the size of the model's input for one image, which needs memory besides the pixels.
    """
    if settings.device == "cpu":
        for index in indices:
            yield from _shard_batches(source, settings, index, decoders, input_bytes)
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


def _shard_batches(
    source: ShardedSource, settings: Settings, index: int, threads: int, input_bytes: int
) -> Iterator[Batch]:
    shard = settings.plan.shard(index)
    start = 0
    for samples in batched(_decoded(source, shard, settings.batch_size, threads), settings.batch_size, input_bytes):
        stacked = settings.device != "cpu"
        batch = [make_batch(index, shard.n, start, samples, stacked=stacked, mask_size=settings.mask_size)]
        start += len(samples)
        # Keep no reference to the pixels here, so that they are freed before the next images are decoded.
        del samples
        yield batch.pop()


def _decoded(source: ShardedSource, shard: Shard, batch_size: int, threads: int) -> Iterator[Sample]:
    """The images of a shard in order; ``threads`` threads prefetch all images up to `AHEAD_PIXELS` pixels."""
    max_pixels = min(source.max_pixels, AHEAD_PIXELS) if threads else source.max_pixels
    items, same = tee(source.items(shard))

    def read(item: Item) -> Sample:
        return read_item(item, max_pixels, source.bits)

    ahead = map_ahead(read, items, threads, max(batch_size, 2 * threads))
    try:
        for sample in ahead:  # not zip, which keeps a reference to one image while the next is decoded
            item = next(same)
            # A thread refused the image for its size, or because the other threads held the memory: read it alone.
            refused = sample.error is not None and ("too large" in sample.error or sample.error == NO_MEMORY)
            yield read_item(item, source.max_pixels, source.bits) if refused and threads else sample
            del sample
    finally:
        ahead.close()


class _ShardBatches(torch.utils.data.IterableDataset[Batch]):
    """The dataset of PyTorch's loader: each of its n processes iterates over every n-th shard."""

    def __init__(self, source: ShardedSource, settings: Settings, indices: tuple[int, ...]) -> None:
        self.source, self.settings, self.indices = source, settings, indices

    def __iter__(self) -> Iterator[Batch]:
        import signal

        info = torch.utils.data.get_worker_info()
        if info is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles Ctrl-C and ends this process
        start, step = (0, 1) if info is None else (info.id, info.num_workers)
        for index in self.indices[start::step]:
            yield from _shard_batches(self.source, self.settings, index, 0, 0)
