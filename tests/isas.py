"""The instruction sets that the CPU kernels are compiled for, and those that this machine has."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from iuscore.ops import _backend

ISAS = ("baseline", "avx2", "avx512")


@contextmanager
def using(isa: str) -> Iterator[None]:
    """Runs the CPU kernels with this instruction set; the variable is read at every call."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IUSCORE_CPU_ISA", isa)
        yield


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
