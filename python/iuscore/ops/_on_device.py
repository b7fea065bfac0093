"""Small tables kept on devices, so that repeated calls copy nothing and a CUDA graph finds them at one address."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import NamedTuple

import torch
from torch import Tensor

NOT_CAPTURED = (
    "a CUDA graph is being captured, and this call needs a table on the GPU that is not there yet: make the same call "
    "once before capturing. Lists of images and one target per image copy a table at every call and cannot be "
    "captured: give one tensor, and one target"
)
"""A copy from pageable memory waits for its stream, which CUDA does not allow while it captures."""


class _Entry(NamedTuple):
    tables: tuple[Tensor, ...]
    captured: bool  # a CUDA graph may read it for as long as the process lives


class OnDevice:
    """Tables by device and key. Keeps those used last, and all that were used while a CUDA graph was captured.

    Args:
        capacity: number of keys that are kept, beside those that a captured graph reads.
    """

    def __init__(self, capacity: int = 256) -> None:
        self.capacity = capacity
        self._kept: OrderedDict[tuple[torch.device, Hashable], _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(
        self, key: Hashable, device: torch.device, make: Callable[[], tuple[Tensor, ...]]
    ) -> tuple[Tensor, ...]:
        """What ``make`` returns on the CPU, on ``device``; to be held until the kernels that read it are queued."""
        place = (device, key)
        capturing = device.type == "cuda" and torch.cuda.is_current_stream_capturing()
        with self._lock:
            entry = self._kept.get(place)
            if entry is None:
                if capturing:
                    raise RuntimeError(NOT_CAPTURED)
                # Not as inference tensors, which could not be used elsewhere. The copy is synchronous, so that other
                # streams find it complete.
                with torch.inference_mode(False):
                    entry = _Entry(tuple(table.to(device) for table in make()), False)
                for oldest in [kept for kept, found in self._kept.items() if not found.captured][: 1 - self.capacity]:
                    del self._kept[oldest]
            self._kept[place] = entry = _Entry(entry.tables, entry.captured or capturing)
            self._kept.move_to_end(place)
        if device.type == "cuda" and not entry.captured:
            for table in entry.tables:  # if it is dropped, its memory is reused after the kernels of this stream
                table.record_stream(torch.cuda.current_stream(device))
        return entry.tables


on_device = OnDevice()


def to_device(table: Tensor, device: torch.device) -> Tensor:
    """Copies a table that is needed once to ``device``, asynchronously.

    Raises:
        RuntimeError: while a CUDA graph is captured, which would read the table at every run.
    """
    if device.type != "cuda":
        return table.to(device)
    if torch.cuda.is_current_stream_capturing():
        raise RuntimeError(NOT_CAPTURED)
    return table.pin_memory().to(device, non_blocking=True)
