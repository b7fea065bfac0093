"""CUDA graphs of work that is done again and again on inputs of few sizes."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger("iuscore")

Work = Callable[[Tensor], Tensor]
MOST_GRAPHS = 4


class Graph:
    """One captured run of some work, with an input and an output that stay where they are."""

    def __init__(self, work: Work, inputs: Tensor, pool: Any) -> None:
        self.inputs = inputs.clone(memory_format=torch.contiguous_format)
        self.done: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.done.record()
        cudnn = torch.backends.cudnn
        with cudnn.flags(enabled=True, benchmark=not cudnn.deterministic, deterministic=cudnn.deterministic):
            side: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                work(self.inputs)  # cuDNN tries its algorithms, which a capture cannot
            torch.cuda.current_stream().wait_stream(side)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, pool=pool, capture_error_mode="thread_local"):
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
            self.done.synchronize()


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
        while len(self._found) > MOST_GRAPHS:
            self._found.popitem(last=False)
        if graph is None and seen:
            try:
                self._pool = self._pool or torch.cuda.graph_pool_handle()
                graph = self._found[size] = Graph(work, inputs, self._pool)
            except RuntimeError as error:  # memory, or a library that cannot be captured
                log.info("no CUDA graph of %d images: %s", size, error)
                self.allowed = False
        return graph


def can_capture(inputs: Tensor) -> bool:
    """Whether a graph can be used for this call: on a GPU, and not while the caller captures one."""
    return inputs.is_cuda and not torch.cuda.is_current_stream_capturing()
