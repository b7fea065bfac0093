"""Decode ahead in threads; hand out in order, never more at once than a number of bytes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from iuscore._run.processes import processors
from iuscore.errors import UserError
from iuscore.images.sample import Item, Sample, Source, read_item

T = TypeVar("T")

BATCH_BYTES = 128 << 20
"""Pixels in a batch, at most, and of images that wait; a single image may be larger."""


def iter_batches(source: Source, batch_size: int, workers: int | None = None) -> Iterator[list[Sample]]:
    """Yield all samples of ``source`` in order, ``batch_size`` at a time, fewer where they are large.

    Args:
        source: what to decode.
        batch_size: samples per list, at least 1. A list ends earlier at 128 MiB of pixels (`BATCH_BYTES`).
        workers: decoding threads (Pillow releases the interpreter lock). None: one per processor this
            process may use, at most 8. 0: no threads.

    While the caller works on one batch the threads decode the next ``max(batch_size, 2 * workers)``
    images or 128 MiB of them and no more, so about two batches are in memory. Closing the generator early waits only
    for the images being decoded at that moment.

    Raises:
        UserError: ``batch_size`` or ``workers`` out of range.

    Example:
        >>> from iuscore.images import Item, StoredFile
        >>> from pathlib import Path
        >>> items = [Item(f"{i}.png", None, None, StoredFile(Path("missing.png"))) for i in range(5)]
        >>> [[s.uid for s in batch] for batch in iter_batches(Source(Path("."), items), 2)]
        [['0.png', '1.png'], ['2.png', '3.png'], ['4.png']]
    """
    if batch_size < 1:
        raise UserError(f"batch_size: expected 1 or more, got {batch_size}")
    if workers is None:
        workers = min(8, processors())
    if workers < 0:
        raise UserError(f"workers: expected 0 or more, got {workers}")

    def read(item: Item) -> Sample:
        return read_item(item, source.max_pixels, source.bits)

    # What can only be read in order, such as rows of a Parquet file, is read here, one after the other.
    items = (item.fetched() for item in source.items)
    return batched(map_ahead(read, items, workers, max(batch_size, 2 * workers)), batch_size)


def batched(samples: Iterator[Sample], batch_size: int, beside: int = 0) -> Iterator[list[Sample]]:
    """Lists of up to ``batch_size`` samples that follow each other, up to the one that reaches `BATCH_BYTES`.

    Args:
        beside: bytes that each sample needs besides its pixels.
    """
    try:
        batch: list[Sample] = []
        held = 0
        for sample in samples:
            batch.append(sample)
            held += bytes_of(sample) + beside
            del sample
            if len(batch) == batch_size or held >= BATCH_BYTES:
                yield batch
                batch, held = [], 0
        if batch:
            yield batch
    finally:
        # Close now, not when the garbage collector comes by: the threads end with it.
        close = getattr(samples, "close", None)
        if close is not None:
            close()


def bytes_of(sample: Sample) -> int:
    """Bytes of a sample's pixels."""
    return 0 if sample.pixels is None else int(sample.pixels.nbytes)


class _Gate:
    """Lets threads decode while less than `BATCH_BYTES` of pixels wait to be handed out.

    The image that is handed out next is always decoded, so there is no deadlock.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held, self._next, self._open = 0, 0, True

    def read(self, place: int, read: Callable[[T], Sample], item: T) -> Sample:
        with self._changed:
            self._changed.wait_for(lambda: self._held < BATCH_BYTES or place == self._next or not self._open)
        sample = read(item)
        with self._changed:
            self._held += bytes_of(sample)
        return sample

    def handed_out(self, sample: Sample) -> None:
        with self._changed:
            self._held -= bytes_of(sample)
            self._next += 1
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._open = False
            self._changed.notify_all()


def map_ahead(
    read: Callable[[T], Sample], items: Iterable[T], workers: int, look_ahead: int
) -> Generator[Sample, None, None]:
    """``read`` of every item, in order, done in ``workers`` threads up to ``look_ahead`` items ahead (0: in this one).

    Threads begin no further image while 128 MiB of pixels wait.

    Example:
        >>> from iuscore.images import Item, StoredFile, read_item
        >>> from pathlib import Path
        >>> items = [Item(f"{i}.png", None, None, StoredFile(Path("missing.png"))) for i in range(3)]
        >>> [sample.uid for sample in map_ahead(read_item, items, 2, 2)]
        ['0.png', '1.png', '2.png']
    """
    if workers == 0:
        yield from map(read, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="iuscore-decode")
    waiting: deque[Future[Sample]] = deque()
    gate = _Gate()
    try:
        for place, item in enumerate(items):
            waiting.append(pool.submit(gate.read, place, read, item))
            if len(waiting) > look_ahead:
                yield _next(waiting, gate)
        while waiting:
            yield _next(waiting, gate)
    finally:
        gate.end()
        pool.shutdown(wait=True, cancel_futures=True)


def _next(waiting: deque[Future[Sample]], gate: _Gate) -> Sample:
    sample = waiting.popleft().result()
    gate.handed_out(sample)
    return sample
