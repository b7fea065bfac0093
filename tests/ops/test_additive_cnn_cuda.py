"""The CUDA side of `additive_cnn` without a GPU: what is packed when, which graphs are kept, who is asked, errors."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from iuscore import load, ops
from iuscore.demo import tiny_model
from iuscore.engine.local import Loading
from iuscore.ops import _backend
from iuscore.ops._native import additive_cnn_cuda as _cuda
from iuscore.ops._native import cuda_graphs
from tests.equivalence.cnn_cases import Case, make

_public = importlib.import_module("iuscore.ops.additive_cnn")  # the function has the same name
CASE = Case(2, 2, (9, 8), ((3, 2), (4,)), (5, 2), "contiguous", 1)


@pytest.fixture
def networks() -> list[ops.CnnNetwork]:
    return make(CASE)[1]


# ---- Weights


def test_weights_are_packed_once(networks: list[ops.CnnNetwork]) -> None:
    first = _cuda.plan_of(networks, (9, 8))
    assert _cuda.plan_of(networks, (9, 8)) is first
    assert first.graphs.allowed
    assert first.first.shape == (2, 9, 8)
    assert [layer.kernels.shape for layer in first.layers[0]] == [(8, 8, 3, 3), (8, 8, 3, 3)]
    assert first.dense.shape == (2, 8, 2 * 2 * 8)
    assert first.rest.shape == (2, 5 + 5 * 2 + 2)


@pytest.mark.parametrize("name", ["kernels", "biases", "weight"])
def test_weights_that_change_are_packed_anew(networks: list[ops.CnnNetwork], name: str) -> None:
    first = _cuda.plan_of(networks, (9, 8))
    block = networks[1].blocks[1]
    part = getattr(block, name)
    (part if isinstance(part, Tensor) else part[0]).mul_(2.0)
    assert _cuda.plan_of(networks, (9, 8)) is not first


def test_weights_that_move_are_packed_anew(networks: list[ops.CnnNetwork]) -> None:
    first = _cuda.plan_of(networks, (9, 8))
    networks[0].linears[1][0].data = networks[0].linears[1][0].data.clone()
    assert _cuda.plan_of(networks, (9, 8)) is not first


def test_statistics_are_read_where_they_are(networks: list[ops.CnnNetwork]) -> None:
    """Batch norm changes them in training without a sign of it."""
    norm = _cuda.plan_of(networks, (9, 8)).layers[0][-1].norm
    assert norm is not None
    block = networks[0].blocks[-1]
    assert [part.data_ptr() for part in norm[:2]] == [block.mean.data_ptr(), block.variance.data_ptr()]


def test_packed_weights_go_with_the_weights(networks: list[ops.CnnNetwork]) -> None:
    _cuda.plan_of(networks, (9, 8))
    before = len(_cuda._kept)
    networks.clear()
    gc.collect()
    assert len(_cuda._kept) == before - 1


def test_inference_weights_are_packed_at_every_call() -> None:
    with torch.inference_mode():
        networks = make(CASE)[1]
    before = len(_cuda._kept)
    plan = _cuda.plan_of(networks, (9, 8))
    assert not plan.graphs.allowed
    assert plan is not _cuda.plan_of(networks, (9, 8))
    assert len(_cuda._kept) == before


@pytest.mark.parametrize(("base", "side", "images"), [(64, 128, 64), (32, 128, 128), (8, 32, 256), (512, 1024, 1)])
def test_large_batches_are_taken_in_slices(base: int, side: int, images: int) -> None:
    plan: Any = SimpleNamespace(first=torch.empty(4, 9, base, device="meta"), size=(side, side))
    assert _cuda.Plan.max_images.fget(plan) == images  # type: ignore[attr-defined]


def test_slices_are_put_together(monkeypatch: pytest.MonkeyPatch, networks: list[ops.CnnNetwork]) -> None:
    monkeypatch.setattr(_cuda, "MAX_IMAGES", 4)
    monkeypatch.setattr(_cuda, "forward", lambda plan, maps: maps.flatten(2)[..., :2])
    maps = torch.randn(11, 2, 9, 8)
    with torch.inference_mode():
        assert torch.equal(_cuda.additive_cnn(maps, networks), maps.flatten(2)[..., :2])
    assert _cuda.additive_cnn(maps[:0], networks).shape == (0, 2, 2)


# ---- Graphs


class FakeGraph:
    """Runs the work once and then again on what it was given, as a graph would."""

    made: ClassVar[list[int]] = []
    waits: ClassVar[list[str]] = []

    def __init__(self, work: Any, inputs: Tensor, pool: object) -> None:
        if len(inputs) == 13:
            raise RuntimeError("CUDA out of memory")
        FakeGraph.made.append(len(inputs))
        self.work, self.done = work, f"done {len(inputs)}"

    def __call__(self, inputs: Tensor) -> Tensor:
        result: Tensor = self.work(inputs)
        return result + 100.0


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> cuda_graphs.Graphs:
    monkeypatch.setattr(cuda_graphs, "Graph", FakeGraph)
    monkeypatch.setattr(cuda_graphs, "can_capture", lambda inputs: True)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(wait_event=FakeGraph.waits.append))
    FakeGraph.made, FakeGraph.waits = [], []
    return cuda_graphs.Graphs()


def double(inputs: Tensor) -> Tensor:
    return inputs * 2.0


def test_a_size_is_captured_when_it_comes_again(graphs: cuda_graphs.Graphs) -> None:
    seen = [float(graphs(double, torch.ones(n))[0]) for n in (3, 3, 3, 5, 3, 5)]
    assert seen == [2.0, 102.0, 102.0, 2.0, 102.0, 102.0]
    assert FakeGraph.made == [3, 5]
    assert graphs(double, torch.ones(0)).shape == (0,)


def test_graphs_that_share_memory_wait_for_each_other(graphs: cuda_graphs.Graphs) -> None:
    for n in (3, 3, 5, 5, 3):
        graphs(double, torch.ones(n))
    assert FakeGraph.waits == ["done 3", "done 5"]


def test_few_graphs_are_kept(graphs: cuda_graphs.Graphs) -> None:
    for n in (1, 2, 3, 4, 5, 6):
        graphs(double, torch.ones(n))
        graphs(double, torch.ones(n))
    assert list(graphs._found) == [3, 4, 5, 6]
    graphs(double, torch.ones(3))  # used: kept before the others
    graphs(double, torch.ones(7))
    assert list(graphs._found) == [5, 6, 3, 7]


def test_what_cannot_be_captured_runs_without(graphs: cuda_graphs.Graphs, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", "iuscore")
    assert [float(graphs(double, torch.ones(13))[0]) for _ in range(3)] == [2.0] * 3
    assert not graphs.allowed
    assert caplog.messages == [
        "no CUDA graphs for this model from now on, each batch costs its launches: CUDA out of memory"
    ]


def test_nothing_is_captured_on_a_cpu() -> None:
    assert not cuda_graphs.can_capture(torch.ones(2))


class FakeCuda:
    """Streams, events and graphs that write down what is asked of them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self.current = ["main"]
        self.drawn = 0
        patch.setattr(cuda_graphs, "_streams", {})
        patch.setattr(torch.cuda, "is_current_stream_capturing", lambda: self.current[-1] == "capture")
        for name in ("Event", "Stream", "current_stream", "CUDAGraph"):
            patch.setattr(torch.cuda, name, functools.partial(self.thing, name))
        patch.setattr(torch.cuda, "stream", self.on)
        patch.setattr(torch.cuda, "graph", self.graph)

    def thing(self, kind: str, *arguments: object) -> Any:
        self.drawn += kind == "Stream"
        name = self.current[-1] if kind == "current_stream" else f"Stream {self.drawn}" if kind == "Stream" else kind

        def say(what: str, *others: Any) -> None:
            self.said.append(" ".join([name, what, *(getattr(other, "name", "") for other in others)]).strip())

        methods = ("record", "synchronize", "wait_stream", "wait_event", "replay")
        return SimpleNamespace(name=name, **{method: functools.partial(say, method) for method in methods})

    @contextlib.contextmanager
    def on(self, stream: Any) -> Iterator[None]:
        self.current.append(stream.name)
        yield
        self.current.pop()

    @contextlib.contextmanager
    def graph(self, graph: Any, *, pool: object, stream: Any, capture_error_mode: str) -> Iterator[None]:
        self.said.append(f"capture {pool} {capture_error_mode}")
        self.current.append(stream.name)
        yield
        self.current.pop()
        self.said.append("captured")


def test_a_graph_waits_for_its_last_run(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCuda(monkeypatch)
    graph = cuda_graphs.Graph(lambda x: fake.said.append(f"work on {fake.current[-1]}") or x, torch.ones(2), "pool")  # type: ignore[func-returns-value]
    assert [text.split()[0] for text in fake.said] == ["Event", "Stream", "work", "main", "capture", "work", "captured"]
    assert fake.said[-2] == f"work on {cuda_graphs.streams_of(torch.device('cpu')).capture.name}"
    assert "capture pool thread_local" in fake.said
    fake.said.clear()
    given = torch.full((2,), 3.0)
    got = graph(given)
    assert fake.said == ["main wait_event Event", "CUDAGraph replay", "Event record main"]
    assert torch.equal(got, given)
    assert got.data_ptr() != graph.outputs.data_ptr()
    fake.said.clear()
    del graph
    assert fake.said == ["Event synchronize"]


def test_what_is_captured_and_what_is_not_share_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, device = FakeCuda(monkeypatch), torch.device("cuda:0")
    eager = [stream.name for stream in _cuda._streams(device)]  # type: ignore[union-attr]
    fake.current.append("capture")
    captured = [stream.name for stream in _cuda._streams(device)]  # type: ignore[union-attr]
    both = [*eager, *captured, cuda_graphs.streams_of(device).capture.name]
    assert len(set(both)) == len(both) == fake.drawn < 32  # of which PyTorch has no more
    fake.current.pop()
    assert [stream.name for stream in _cuda._streams(device)] == eager  # type: ignore[union-attr]


def test_one_thread_captures_at_a_time(graphs: cuda_graphs.Graphs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of different networks, whose graphs have different locks."""
    under_way: list[int] = []

    class Slow(FakeGraph):
        def __init__(self, *arguments: Any) -> None:
            under_way.append(1)
            time.sleep(0.02)
            seen.append(len(under_way))
            super().__init__(*arguments)
            under_way.pop()

    seen: list[int] = []
    monkeypatch.setattr(cuda_graphs, "Graph", Slow)
    of_each = [graphs, cuda_graphs.Graphs(), cuda_graphs.Graphs()]
    with ThreadPoolExecutor(3) as threads:
        for _ in range(2):
            list(threads.map(lambda one: one(double, torch.ones(3)), of_each))
    assert seen == [1, 1, 1]


def test_networks_fork_from_the_current_stream_and_join_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCuda(monkeypatch)
    streams = [
        SimpleNamespace(name=n, wait_stream=lambda s, n=n: fake.said.append(f"{n} waits for {s.name}")) for n in "ab"
    ]
    monkeypatch.setattr(_cuda, "_streams", lambda device: streams)
    monkeypatch.setattr(_cuda, "_first", lambda plan, maps, nonfinite: torch.zeros(2, 3, 4, 4, 8))
    monkeypatch.setattr(_cuda, "_network", lambda *arguments: fake.said.append(f"network on {fake.current[-1]}"))
    monkeypatch.setattr(_cuda, "_heads", lambda plan, features, nonfinite: fake.said.append("heads"))
    shape = SimpleNamespace(pooled=(False, True))
    plan: Any = SimpleNamespace(shape=shape, size=(4, 4), dense=torch.zeros(2, 4, 32), layers=[[], []])
    _cuda.forward(plan, torch.zeros(3, 2, 4, 4))
    assert fake.said == [
        "a waits for main", "network on a", "b waits for main", "network on b",
        "main wait_stream a", "main wait_stream b", "heads",
    ]  # fmt: skip


# ---- Who is asked


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU whose kernels run, in the place of the CPU."""
    monkeypatch.setattr(_public, "why_not_cuda", lambda device=None: "")
    monkeypatch.setattr(
        _public, "chosen_precision", lambda precision, device: "exact" if precision == "exact" else "fast"
    )
    monkeypatch.setattr(_public, "choose", _choice)
    monkeypatch.setattr(_cuda, "forward", lambda plan, maps: maps.flatten(2)[..., :2])


def _choice(op: str, device: torch.device, *, needs_grad: bool = False, backend: str = "auto") -> _backend.Choice:
    return _backend.Choice("torch" if needs_grad or backend == "torch" else "cuda", "")


@pytest.mark.usefixtures("pretended")
def test_fast_is_for_the_kernels_and_exact_for_pytorch(networks: list[ops.CnnNetwork]) -> None:
    maps, marked = make(CASE)[0], make(CASE)[0].flatten(2)[..., :2]
    exact = ops.additive_cnn(maps, networks, backend="torch")
    assert torch.equal(ops.additive_cnn(maps, networks, precision="fast"), marked)
    assert torch.equal(ops.additive_cnn(maps, networks, precision="auto", backend="native"), marked)
    assert torch.equal(ops.additive_cnn(maps, networks), exact)
    assert torch.equal(ops.additive_cnn(maps, networks, precision="fast", backend="torch"), exact)
    with torch.autocast("cpu"):
        assert ops.additive_cnn(maps, networks, precision="fast").dtype == torch.float32
    wants = maps.clone().requires_grad_()
    assert ops.additive_cnn(wants, networks, precision="fast").requires_grad
    text = (
        "additive_cnn: backend='native' cannot run: on a GPU its kernels are for precision='fast'; use backend='auto' "
        "or 'torch'"
    )
    with pytest.raises(RuntimeError, match=f"^{re.escape(text)}$"):
        ops.additive_cnn(maps, networks, backend="native")


@pytest.mark.usefixtures("pretended")
def test_networks_too_large_for_the_kernels_are_pytorchs() -> None:
    maps, networks = make(Case(1, 1, (2, 2), ((2, 2),), (1,) * 9, "contiguous", 1))
    assert ops.additive_cnn(maps, networks, precision="fast").shape == (1, 1, 1)
    with pytest.raises(RuntimeError, match="its kernels take up to 8 linear layers of up to 4096 units"):
        ops.additive_cnn(maps, networks, precision="fast", backend="native")


def test_precision_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for why, expected in (("", "fast"), ("no driver", "exact")):
        monkeypatch.setattr(_public, "why_not_cuda", lambda device=None, why=why: why)
        assert ops.chosen_precision("auto", "cuda:1") == expected
        assert ops.chosen_precision("exact", "cuda") == "exact"
    assert ops.chosen_precision("fast", "meta") == "exact"


def test_a_scorer_knows_what_a_precision_comes_to_on_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So do the processes of a run, which are told what it came to and not what was asked for."""
    scorer = load(tiny_model(tmp_path), precision="auto")
    monkeypatch.setattr(_public, "why_not_cuda", lambda device=None: "")
    assert scorer.precision_on("cuda:0") == "fast"
    assert Loading.of(scorer, "cuda:0").precision == "fast"
    monkeypatch.setattr(_public, "why_not_cuda", lambda device=None: "no driver")
    assert scorer.precision_on("cuda") == "exact"
    assert Loading.of(scorer, "cuda").precision == "exact"
    assert Loading.of(scorer).precision == scorer.precision == scorer.precision_on("cpu")


# ---- What the bindings refuse

FIRST: dict[str, Any] = {
    "device": 0, "stream": 0, "maps": (64, 1, 1, 4, 4, 16, 16, 4), "channels": 8, "kernels": 64, "bias": 64, "out": 64,
    "nonfinite": 64,
}  # fmt: skip
POOL: dict[str, Any] = {
    "device": 0, "stream": 0, "values": (64, 1, 4, 4, 8), "used": 8, "bias": 64, "mean": 64, "variance": 64,
    "weight": 0, "shift": 0, "eps": 0.1, "out": 64, "nonfinite": 64,
}  # fmt: skip
HEADS: dict[str, Any] = {
    "device": 0, "stream": 0, "features": (64, 1, 1, 8), "units": [2, 1], "weights": 64, "rest": (64, 2 + 2 + 1),
    "nonfinite": 64, "sums": 64, "evidence": 64,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kernel", "good", "changes", "text"),
    [
        ("first", FIRST, {"channels": 12}, "channels: expected a multiple of 8 of 8..2^20, got 12"),
        ("first", FIRST, {"kernels": 72}, "kernels: expected a nonzero address divisible by 16, got 72"),
        ("first", FIRST, {"maps": (64, 1, 0, 4, 4, 16, 16, 4)}, "maps: expected at least 1 map an image"),
        ("first", FIRST, {"maps": (64, 1, 1, 0, 4, 16, 16, 4)}, "expected at least 0 images of 1 x 1 pixels"),
        ("first", FIRST, {"maps": (64, 40, 4, 4096, 4096, 1, 1, 1)}, "too many values at a time: split the batch"),
        ("pool", POOL, {"used": 9}, "used: expected at least 1, at most channels"),
        ("pool", POOL, {"values": (64, 1, 1, 4, 8)}, "values: expected at least 2 x 2 pixels"),
        ("pool", POOL, {"mean": 0}, "mean: expected a nonzero address divisible by 4, got 0"),
        ("heads", HEADS, {"features": (64, 1, 1, 9)}, "terms: expected a multiple of 8, got 9"),
        ("heads", HEADS, {"units": [1] * 9}, "units: expected 1..8 numbers of 1..4096"),
        ("heads", HEADS, {"rest": (64, 4)}, "rest: expected 5 values a network, got 4"),
    ],
)
def test_bindings_refuse_what_they_could_not_survive(
    kernel: str, good: dict[str, Any], changes: dict[str, Any], text: str
) -> None:
    module, why = _backend.extension("_cuda")
    if module is None:
        pytest.skip(why)
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        getattr(module, f"additive_cnn_{kernel}")(**{**good, **changes})
