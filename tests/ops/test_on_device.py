"""Tables kept on devices, with pretended captures and streams: what is kept, what never goes, who is waited for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from iuscore.engine.shard import PendingScores
from iuscore.models import TextureModel
from iuscore.ops._on_device import OnDevice, to_device
from iuscore.scoring import Scores

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


class FakeTable(Tensor):
    """On the CPU, wherever it is told to go."""

    streams: list[str]

    def to(self, device: object) -> FakeTable:  # type: ignore[override]
        self.streams = []
        return self

    def record_stream(self, stream: str) -> None:  # type: ignore[override]
        self.streams.append(stream)


class Maker:
    """Makes a table that says how often it was made."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> tuple[Tensor]:
        self.made += 1
        return (torch.tensor([self.made]).as_subclass(FakeTable),)


@pytest.fixture
def capturing(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the current stream is captured, in its first place."""
    state = [False]
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: state[0])
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "captured" if state[0] else "main")
    return state


def test_tables_are_made_once_a_device_and_key() -> None:
    kept, make = OnDevice(), Maker()
    first = kept("a", CPU, make)
    assert kept("a", CPU, make)[0] is first[0]
    assert kept("b", CPU, make)[0] is not first[0]
    assert kept("a", torch.device("meta"), make)[0] is not first[0]


def test_those_used_last_are_kept() -> None:
    kept = OnDevice(capacity=2)
    for key in "abaca":
        kept(key, CPU, Maker())
    again = Maker()
    for key in "acb":
        kept(key, CPU, again)
    assert again.made == 1


def test_what_a_graph_may_read_never_goes(capturing: list[bool]) -> None:
    """Not even where it was there before the capture; others still make room for each other."""
    kept, make = OnDevice(capacity=2), Maker()
    (before,) = kept("graph", GPU, make)
    capturing[0] = True
    kept("graph", GPU, make)
    capturing[0] = False
    for i in range(5):
        kept(i, GPU, Maker())
    assert kept("graph", GPU, make)[0] is before
    assert make.made == 1
    assert len(kept._kept) == 3


def test_memory_waits_for_every_stream_that_reads_it(capturing: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    kept = OnDevice()
    (table,) = kept("a", GPU, Maker())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "other")
    kept("a", GPU, Maker())
    assert isinstance(table, FakeTable)
    assert table.streams == ["main", "other"]


def test_tables_are_of_use_outside_of_inference_mode() -> None:
    with torch.inference_mode():
        (table,) = OnDevice()("a", CPU, lambda: (torch.ones(2),))
    assert not table.is_inference()


def test_threads_share_tables() -> None:
    kept, make = OnDevice(capacity=4), Maker()
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda i: kept(i % 4, CPU, make)[0], range(400)))
    assert make.made == 4
    assert len({id(table) for table in found}) == 4


def test_a_table_of_one_call_is_sent_without_waiting(capturing: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """But not into a graph, which would read the memory that it came from."""
    said: list[object] = []

    class Sent(Tensor):
        def pin_memory(self) -> Sent:  # type: ignore[override]
            said.append("pinned")
            return self

        def to(self, device: object, non_blocking: bool = False) -> Sent:  # type: ignore[override]
            said.append(non_blocking)
            return self

    table = torch.ones(2).as_subclass(Sent)
    for device in (GPU, CPU):
        to_device(table, device)
    assert said == ["pinned", True, False]
    capturing[0] = True
    with pytest.raises(RuntimeError, match="Lists of images and one target per image"):
        to_device(table, GPU)
    assert said == ["pinned", True, False]


def test_a_table_that_is_not_there_cannot_be_copied_into_a_graph(capturing: list[bool]) -> None:
    kept, make = OnDevice(), Maker()
    capturing[0] = True
    with pytest.raises(RuntimeError, match="make the same call once before capturing"):
        kept("new", GPU, make)
    capturing[0] = False
    kept("new", GPU, make)
    capturing[0] = True
    kept("new", GPU, make)
    assert make.made == 1


def test_the_standardization_of_features_is_copied_once() -> None:
    model, other = (TextureModel(["a", "b"], feature_mean=[m] * 173) for m in (0.5, 0.25))
    first = model._standardization(torch.zeros(1))
    assert all(again is part for again, part in zip(model._standardization(torch.zeros(1)), first, strict=True))
    assert float(other._standardization(torch.zeros(1))[0][0]) == 0.25
    assert model._standardization(torch.zeros(1, dtype=torch.float64))[0].dtype == torch.float64


def test_scores_are_copied_before_the_next_batch_is_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class There(Tensor):
        is_cuda = True  # type: ignore[assignment]

        def to(self, device: str, non_blocking: bool = False) -> Tensor:  # type: ignore[override]
            said.append(f"to {device}, {'not waited for' if non_blocking else 'waited for'}")
            return torch.full_like(self.as_subclass(Tensor), 2.0)

    class Event:
        def synchronize(self) -> None:
            said.append("wait")

    class Stream:
        def record_event(self) -> Event:
            said.append("event")
            return Event()

    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    there = torch.ones(1).as_subclass(There)
    scores = Scores(("a",), there, None, there, there, there, ((),), ("x",), ("a", "b"))
    fetched = PendingScores(scores)
    assert said == ["to cpu, not waited for"] * 4 + ["event"]
    assert float(fetched.wait().ius) == 2.0
    assert said[5:] == ["wait"]
    here = Scores(("a",), *[torch.ones(1)] * 5, ((),), ("x",), ("a", "b"))
    assert PendingScores(here).wait() is here
