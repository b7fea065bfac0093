"""CUDA graphs of work that is done again and again on inputs of few sizes."""

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
MAX_SIDES = 8  # PyTorch deals its 32 streams in turn, so 2 * 8 + 1 drawn at once are different ones

_capturing = threading.Lock()  # PyTorch knows one capture at a time in a process


class Streams(NamedTuple):
    """Those of a device that work may fork to. What is captured must not meet other threads' work, or both fail."""

    sides: list[Any]
    capture: Any
    sides_of_capture: list[Any]


_streams: dict[torch.device, Streams] = {}
_drawing = threading.Lock()


def streams_of(device: torch.device) -> Streams:
    """The same ones at every call."""
    with _drawing:
        if device not in _streams:
            drawn: list[Any] = [torch.cuda.Stream(device) for _ in range(2 * MAX_SIDES + 1)]  # type: ignore[no-untyped-call]
            _streams[device] = Streams(drawn[:MAX_SIDES], drawn[MAX_SIDES], drawn[MAX_SIDES + 1 :])
        return _streams[device]


def side_streams(device: torch.device) -> list[Any]:
    """Streams that work on the current one may fork to: others while it is captured."""
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
            capture = streams_of(inputs.device).capture  # PyTorch's own may be one that others work on
            capture.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(capture):
                work(self.inputs)  # cuDNN tries its algorithms, which a capture cannot
            torch.cuda.current_stream().wait_stream(capture)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, pool=pool, stream=capture, capture_error_mode="thread_local"):
                self.outputs = work(self.inputs)

    def __call__(self, inputs: Tensor) -> Tensor:
        stream = torch.cuda.current_stream()
        stream.wait_event(self.done)  # the last run may have been on another stream
        self.inputs.copy_(inputs)
        self.graph.replay()
        outputs = self.outputs.clone()
        self.done.record(stream)
        return outputs

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # while the interpreter ends, or never captured
            if torch.cuda.is_current_stream_capturing():
                _outlived.append(vars(self))  # waiting would end that capture, so its memory stays for now
            else:
                _outlived.clear()
                self.done.synchronize()


_outlived: list[dict[str, Any]] = []
"""What graphs were made of that ended while another was captured."""


class Graphs:
    """Those of one piece of work, by number of inputs; a size is captured when it comes for the second time.

    All of them share memory, so they run one after another, and only the few that were used last are kept.
    """

    def __init__(self) -> None:
        self._found: OrderedDict[int, Graph | None] = OrderedDict()
        self._lock = threading.Lock()
        self._pool: Any = None
        self._done: Any = None  # event after the last run of any of them
        self.allowed = True

    def __call__(self, work: Work, inputs: Tensor) -> Tensor:
        """``work(inputs)``, by a graph where there is one."""
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
