"""What is too much is refused in one line: sizes, numbers of pairs, memory, devices that do not exist."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from iuscore import ops
from iuscore.errors import UserError
from iuscore.ops._memory import enough_memory
from iuscore.ops._pairs import MAX_PAIRS

IMAGE = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)


@pytest.mark.parametrize("op", [ops.resize, lambda images, size: ops.perceptual_maps(images, size=size)])
@pytest.mark.parametrize("size", [(65536, 65536), (2**24, 2**24), (2**24, 33)])
def test_a_size_beyond_all_memory_is_refused(op: Callable[..., Any], size: tuple[int, int]) -> None:
    text = f"size: expected at most 2^29 pixels, height x width, got {size!r}; ask for less"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        op(IMAGE, size)


def test_memory_that_is_not_there_is_one_line() -> None:
    """2^23 maps of 2^29 pixels: 2^56 bytes, more than any machine can address."""
    images = torch.zeros(1, 4, 4, 1, dtype=torch.uint8).expand(1 << 23, 4, 4, 1)
    text = "resize: asked for 4,194,304.0 GiB of memory, which this machine does not have; "
    text += "pass fewer images at a time, or a smaller size"
    with pytest.raises(MemoryError, match=f"^{re.escape(text)}$"):
        ops.resize(images, (1 << 14, 1 << 15), backend="native" if ops_are_native() else "torch")


def ops_are_native() -> bool:
    from iuscore.ops._backend import why_not_cpu

    return not why_not_cpu()


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match=r"^something else$"), enough_memory("resize", "ask for less"):
        raise RuntimeError("something else")


@pytest.mark.parametrize("op", [ops.glcm, ops.glcm_features])
def test_the_number_of_pairs_has_a_limit(op: Callable[..., Any]) -> None:
    pixels = torch.zeros(1, 4, 4, dtype=torch.uint8)
    assert MAX_PAIRS == 4096
    far = tuple(range(1, 1026))
    text = "distances, angles: expected at most 4096 pairs of one of each, got 1025 x 4; make several calls"
    with pytest.raises(ValueError, match=f"^{text}$"):
        op(pixels, levels=4, distances=far)
    with pytest.raises(ValueError, match=r"^offsets: expected at most 4096, got 4097; make several calls$"):
        op(pixels, levels=4, offsets=[(0, 1)] * 4097)
    made = op(pixels, levels=4, distances=far[:1024])
    assert (made.values if isinstance(made, tuple) else made).shape[1:3] == (1024, 4)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", 3.5, None])
def test_a_device_that_is_none_is_refused(device: Any) -> None:
    text = f"device: expected a device such as 'cpu' or 'cuda:0', got {device!r}"
    with pytest.raises(UserError, match=f"^{re.escape(text)}$"):
        ops.chosen_precision("auto", device)
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        tables().to(device)


def test_a_gpu_that_does_not_exist_is_refused() -> None:
    there = torch.cuda.device_count()
    text = f"device: expected one that exists, got 'cuda:{there}'; PyTorch sees {there} CUDA devices"
    with pytest.raises(ValueError, match=f"^{text}$"):
        tables().to(f"cuda:{there}")


def tables() -> ops.AdditiveTables:
    weights = ops.AdditiveWeights.random((1, 1), hidden=(4, 4))
    return ops.additive_tables(weights, low=-1.0, high=1.0, points=5)
