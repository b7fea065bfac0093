"""Launchers, bindings and kernels of all ops, called as users call them, on the device of tests/pretended_gpu.py.

test_pretended_gpu.py runs this file, in a process of its own. Sizes of blocks and of shared memory are those that the
launchers choose on an H200; blocks and threads go on in every order of tests/cpp/host_fibers.h.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.conftest import ROOT
from tests.pretended_gpu import DEVICE, is_there, module

ORDERS = ("forward", "reverse", "mixed")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """benchmarks/gpu/small.py, without what tests/only_on_a_gpu.py lists."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks" / "gpu")
    import small

    monkeypatch.setattr(small, "_ways", lambda make, device: [("", make())])
    monkeypatch.setattr(small, "network_kernels", lambda device: (torch.tensor(True), torch.tensor(True)))
    yield small
    for name in ("small", "calls", "cases"):
        sys.modules.pop(name, None)
    module().set_order("forward")
    module().set_multiprocessors(132)


def different(small: Any) -> list[str]:
    """The launches whose result is not the CPU's in every bit; all of the others were made on the device."""
    found = list(small.launches(DEVICE))
    assert len(found) > 50
    for text, got, _ in found[:-1]:
        assert all(is_there(tensor) for tensor in small.tensors_of(got)), text
    return [text for text, got, expected in found if not small.same_bits(got, expected)]


@pytest.mark.parametrize("order", ORDERS)
def test_small_launches_equal_the_cpu(small: Any, order: str) -> None:
    module().set_order(order)
    module().widths()
    assert different(small) == []
    headers = "".join(path.read_text() for path in (ROOT / "csrc/ops").glob("*.h"))
    widest = {int(width) for width in re.findall(r"kMax(?:Maps|Texture|Glcm)Block = (\d+)", headers)}
    assert len(widest) == 3
    assert widest <= set(module().widths()), "blocks are as wide as on a GPU"


def test_a_gpu_of_one_multiprocessor(small: Any) -> None:
    """Few blocks, each of which works on several images."""
    module().set_multiprocessors(1)
    assert different(small) == []
