"""How many processors there are, and where worker processes come from; imports nothing of the package or of torch."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# pyarrow looks for pandas in every process that makes a table.
_PRELOAD = ["iuscore.engine.local", "pyarrow.parquet", "pandas", "PIL.Image", "simplejpeg"]


def processors() -> int:
    """Processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def worker_context() -> Any:
    """What `multiprocessing` starts workers from: forks of a small server that has the modules loaded, where it can.

    The server starts on the first call and imports beside the caller, who may have its own imports still before it.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver, resource_tracker

    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    # A terminal sends Ctrl-C to all. The server and what it forks inherit that they do not hear it, from their first
    # instruction on; this process hears it right after.
    resource_tracker.ensure_running()
    with children_ignore_interrupts():
        forkserver.ensure_running()
    return context


@contextmanager
def children_ignore_interrupts() -> Iterator[None]:
    """Processes that start in the block never hear Ctrl-C; this thread hears it after the block."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
