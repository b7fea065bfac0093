"""CUDA graphs of work that is repeated on inputs of few sizes."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

log = logging.getLogger("iuscore")

Work = Callable[[Tensor], Tensor]
MAX_GRAPHS = 4
MAX_SIDES = 8  # PyTorch hands out its 32 streams in turns, so 2 * 8 + 1 taken at once are different

_capturing = threading.Lock()  # PyTorch allows one capture at a time in a process


class Streams(NamedTuple):
    """Streams of a device that work may fork to. A capture has streams of its own: on shared ones both would fail."""

    sides: list[Any]
    capture: Any
    sides_of_capture: list[Any]


_streams: dict[torch.device, Streams] = {}
_drawing = threading.Lock()


def streams_of(device: torch.device) -> Streams:
    """The streams of a device; the same ones at every call."""
    with _drawing:
        if device not in _streams:
            drawn: list[Any] = [torch.cuda.Stream(device) for _ in range(2 * MAX_SIDES + 1)]  # type: ignore[no-untyped-call]
            _streams[device] = Streams(drawn[:MAX_SIDES], drawn[MAX_SIDES], drawn[MAX_SIDES + 1 :])
        return _streams[device]


def side_streams(device: torch.device) -> list[Any]:
    """Streams that work on the current stream may fork to; other ones while it is captured."""
    streams = streams_of(device)
    return streams.sides_of_capture if torch.cuda.is_current_stream_capturing() else streams.sides


class Graph:
    """One captured run of some work, with an input and an output that stay where they are."""

    def __init__(self, work: Work, inputs: Tensor, pool: Any) -> None:
        self.inputs = inputs.clone(memory_format=torch.contiguous_format)
        self.done: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.done.record()
        cudnn = torch.backends.cudnn
        with cudnn.flags(enabled=True, benchmark=not cudnn.deterministic, deterministic=cudnn.deterministic):
            capture = streams_of(inputs.device).capture  # PyTorch's capture stream may be in use
            capture.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(capture):
                work(self.inputs)  # cuDNN tries its algorithms, which is impossible in a capture
            torch.cuda.current_stream().wait_stream(capture)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, pool=pool, stream=capture, capture_error_mode="thread_local"):
                self.outputs = work(self.inputs)

    def __call__(self, inputs: Tensor) -> Tensor:
        stream = torch.cuda.current_stream()
        stream.wait_event(self.done)  # the previous run may be on another stream
        self.inputs.copy_(inputs)
        self.graph.replay()
        outputs = self.outputs.clone()
        self.done.record(stream)
        return outputs

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # at interpreter exit, or if the capture failed
            if torch.cuda.is_current_stream_capturing():
                _outlived.append(vars(self))  # waiting would end that capture, so the memory is kept
            else:
                _outlived.clear()
                self.done.synchronize()


_outlived: list[dict[str, Any]] = []
"""Parts of graphs that were deleted during the capture of another one."""


class Graphs:
    """Graphs of one piece of work, by number of inputs; a number is captured when it occurs the second time.

    The graphs share memory, so they run one after another. Only the few used last are kept.
    """

    def __init__(self) -> None:
        self._found: OrderedDict[int, Graph | None] = OrderedDict()
        self._lock = threading.Lock()
        self._pool: Any = None
        self._done: Any = None  # event after the last run of any graph
        self.allowed = True

    def __call__(self, work: Work, inputs: Tensor) -> Tensor:
        """``work(inputs)``, by a graph if there is one."""
        if not self.allowed or not len(inputs) or not can_capture(inputs):
            return work(inputs)
        with self._lock:
            graph = self._graph(work, inputs)
            if graph is not None:
                if self._done is not None:
                    torch.cuda.current_stream().wait_event(self._done)
                self._done = graph.done
                return graph(inputs)
        return work(inputs)

    def _graph(self, work: Work, inputs: Tensor) -> Graph | None:
        size = len(inputs)
        seen = size in self._found
        graph = self._found.setdefault(size, None)
        self._found.move_to_end(size)
        while len(self._found) > MAX_GRAPHS:
            self._found.popitem(last=False)
        if graph is None and seen:
            try:
                self._pool = self._pool or torch.cuda.graph_pool_handle()
                with _capturing:
                    graph = self._found[size] = Graph(work, inputs, self._pool)
            except RuntimeError as error:  # memory, or a library that cannot be captured
                log.warning("no CUDA graphs for this model from now on, each batch costs its launches: %s", error)
                self.allowed = False
        return graph


def can_capture(inputs: Tensor) -> bool:
    """Whether a graph can be used for this call: on a GPU, and not while the caller captures one."""
    return inputs.is_cuda and not torch.cuda.is_current_stream_capturing()
