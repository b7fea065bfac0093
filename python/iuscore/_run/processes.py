"""The number of processors, and the context that starts worker processes; imports no other module of the package."""

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
    """Number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def worker_context() -> Any:
    """The `multiprocessing` context of worker processes: on Linux a fork server with the modules preloaded.

    The first call starts the server, which imports the modules while the caller continues.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver, resource_tracker

    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    # A terminal sends Ctrl-C to all processes. The server and its forks inherit a blocked SIGINT from their first
    # instruction on; this process receives the signal after the block.
    resource_tracker.ensure_running()
    with children_ignore_interrupts():
        forkserver.ensure_running()
    return context


@contextmanager
def children_ignore_interrupts() -> Iterator[None]:
    """Block SIGINT, so that processes started in the block inherit this; this thread gets a signal after the block."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
