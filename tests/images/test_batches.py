"""iuscore.images.iter_batches: order, look-ahead, and threads that end."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from iuscore.errors import UserError
from iuscore.images import Decoded, Item, Source, Stored, UnreadableImage, iter_batches, open_source
from tests.images.test_sources import fill, uids


@pytest.mark.parametrize("workers", [0, 1, 3, None])
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_batches_keep_everything_in_order(tmp_path: Path, workers: int | None, batch_size: int) -> None:
    source = open_source(fill(tmp_path, *(f"{i:02d}.png" for i in range(13))))
    (tmp_path / "05.png").write_bytes(b"")
    batches = list(iter_batches(source, batch_size, workers))
    assert [sample.uid for batch in batches for sample in batch] == uids(source)
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert [s.uid for batch in batches for s in batch if s.error] == ["05.png"]


class SlowSource(Source):
    """Counts its reads; an early item takes longest, so that threads finish out of order."""

    def __init__(self, count: int, broken: int = -1) -> None:
        self.reads = 0
        self.broken = broken
        super().__init__(Path(), [Item(str(i), None, None, Slow(self, i)) for i in range(count)])


class Slow(Stored):
    def __init__(self, source: SlowSource, i: int) -> None:
        self.source, self.i = source, i

    def decode(self, max_pixels: int, bits: int | None = None) -> Decoded:
        self.source.reads += 1
        time.sleep(0.01 if self.i % 4 == 0 else 0)
        if self.i == self.source.broken:
            raise RuntimeError("reader is broken")
        raise UnreadableImage("none")

    def digest(self) -> str:
        return ""


def decoders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("iuscore-decode")]


def test_look_ahead_is_bounded_and_closing_early_ends_the_threads() -> None:
    source = SlowSource(1000)
    batches = iter_batches(source, 4, workers=3)
    assert [sample.uid for sample in next(batches)] == ["0", "1", "2", "3"]
    time.sleep(0.05)
    assert source.reads <= 4 + 6 + 1
    batches.close()  # type: ignore[attr-defined]
    assert decoders() == []
    assert source.reads < 20


def test_errors_in_consumer_and_reader_do_not_hang() -> None:
    def consume() -> None:
        for _ in iter_batches(SlowSource(1000), 4, workers=3):
            raise KeyError("consumer")

    with pytest.raises(KeyError):
        consume()
    with pytest.raises(RuntimeError, match="reader is broken"):
        list(iter_batches(SlowSource(50, broken=17), 4, workers=3))
    assert decoders() == []


def test_batch_options_are_checked_at_the_call() -> None:
    with pytest.raises(UserError, match="batch_size: expected 1 or more, got 0"):
        iter_batches(SlowSource(1), 0)
    with pytest.raises(UserError, match="workers: expected 0 or more, got -1"):
        iter_batches(SlowSource(1), 1, -1)
