"""Decode ahead in threads; hand out in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from iuscore.errors import UserError
from iuscore.images.sample import Sample, Source
from iuscore.processes import processors

T = TypeVar("T")


def iter_batches(source: Source, batch_size: int, workers: int | None = None) -> Iterator[list[Sample]]:
    """Yield all samples of ``source`` in order, ``batch_size`` at a time (the last list may be shorter).

    Args:
        source: what to decode.
        batch_size: samples per list, at least 1.
        workers: decoding threads (Pillow releases the interpreter lock). None: one per processor this
            process may use, at most 8. 0: no threads.

    While the caller works on one batch the threads decode the next ``max(batch_size, 2 * workers)``
    images and no more, so about two batches are in memory. Closing the generator early waits only
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
    return _batched(map_ahead(source.read, range(len(source)), workers, max(batch_size, 2 * workers)), batch_size)


def _batched(samples: Iterator[Sample], batch_size: int) -> Iterator[list[Sample]]:
    try:
        while batch := list(islice(samples, batch_size)):
            yield batch
    finally:
        # Close now, not when the garbage collector comes by: the threads end with it.
        close = getattr(samples, "close", None)
        if close is not None:
            close()


def map_ahead(read: Callable[[T], Sample], items: Iterable[T], workers: int, look_ahead: int) -> Iterator[Sample]:
    """``read`` of every item, in order, done in ``workers`` threads up to ``look_ahead`` items ahead (0: in this one).

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
    try:
        for item in items:
            waiting.append(pool.submit(read, item))
            if len(waiting) > look_ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
