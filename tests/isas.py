"""The instruction sets that the CPU kernels are compiled for, and those that this machine has."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager

from iuscore.ops import _backend

ISAS = ("baseline", "avx2", "avx512")


@contextmanager
def using(isa: str) -> Iterator[None]:
    """Runs the CPU kernels with this instruction set; the variable is read at every call."""
    before = os.environ.get("IUSCORE_CPU_ISA")
    os.environ["IUSCORE_CPU_ISA"] = isa
    try:
        yield
    finally:
        if before is None:
            del os.environ["IUSCORE_CPU_ISA"]
        else:
            os.environ["IUSCORE_CPU_ISA"] = before


@functools.cache
def available() -> tuple[str, ...]:
    """Those of this machine, the plainest first."""
    core, why = _backend.extension("_core")
    assert core, why
    found = []
    for isa in ISAS:
        with using(isa):
            if core.build_info()["cpu_isa"] == isa:
                found.append(isa)
    return tuple(found)
