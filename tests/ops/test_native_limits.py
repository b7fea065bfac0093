"""What the compiled code does with sizes, machines and addresses that it cannot serve."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from iuscore.ops._native.calls import core
from tests.equivalence.host_build import build, execute


def test_weights_of_the_longest_sides_stay_inside_their_table() -> None:
    done = execute(build("long_sides", "plain"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("startable", [0, 3, 7])
def test_a_machine_that_starts_no_more_threads_still_does_the_work(startable: int) -> None:
    done = execute(build("few_threads", "plain"), startable)
    assert (done.returncode, done.stdout, done.stderr) == (0, "every index once\n", "")


@pytest.mark.parametrize("sizes", [(34_780_558, 128), (128, 2**24 + 1), (0, 128)])
def test_a_table_for_a_side_that_is_too_long_is_refused(sizes: tuple[int, int]) -> None:
    text = f"in_size and out_size: expected 1..16777216, got {sizes[0]} and {sizes[1]}"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        core().resample_table(*sizes, True)


IMAGE = np.zeros((2, 6, 7, 3), np.uint8)
VIEWS = np.array([[IMAGE[i].ctypes.data, 6, 7, 21, 3, 1] for i in range(2)], np.int64)
NO_MASKS = np.empty((0, 3), np.int64)
PIXELS: dict[str, Any] = {"channels": 3, "pixel_type": "uint8", "threads": 1}
PAIRS: dict[str, Any] = {
    "mode": "range", "levels": 4, "low": 0.0, "divisor": 1.0, "offsets": np.array([[0, 1]], np.int32),
    "symmetric": False,
}  # fmt: skip
FEATURES = {"features": np.array([0], np.int32), "wide": True}
# Kernel; its arguments for a batch of so many images; what it writes to (or reads), with the alignment.
WRITERS: dict[str, tuple[Callable[[int], tuple[list[Any], dict[str, Any]]], dict[str, int]]] = {
    "perceptual_maps": (
        lambda batch: (
            [VIEWS[:batch]],
            {**PIXELS, "color": True, "clean": True, "height": 4, "width": 4, "map_type": "float32"},
        ),
        {"maps": 4, "ranges": 4},
    ),
    "color_histogram": (
        lambda batch: (
            [VIEWS[:batch], NO_MASKS],
            {**PIXELS, "space": "rgb", "joint": False, "edges": [np.array([0, 1], np.float32)] * 3},
        ),
        {"counts": 4, "out_of_range": 4},
    ),
    "glcm": (lambda batch: ([VIEWS[:batch], NO_MASKS], {**PIXELS, **PAIRS}), {"counts": 4}),
    "glcm_features": (lambda batch: ([VIEWS[:batch], NO_MASKS], {**PIXELS, **PAIRS, **FEATURES}), {"values": 8}),
    "glcm_matrix_features": (
        lambda batch: ([], {"batch": batch, "offsets": 1, "levels": 4, "symmetric": False, **FEATURES, "threads": 1}),
        {"counts": 4, "values": 8},
    ),
    "texture_stats": (
        lambda batch: (
            [VIEWS[:batch], NO_MASKS],
            {**PIXELS, "color": True, "bins": 32, "levels": 32, "offsets": [(0, 1)]},
        ),
        {"histograms": 4, "statistics": 4, "counted": 4, "properties": 4, "blocks": 4},
    ),
}


@pytest.mark.parametrize(("kernel", "name"), [(kernel, name) for kernel in WRITERS for name in WRITERS[kernel][1]])
def test_an_address_that_cannot_be_one_is_refused(kernel: str, name: str) -> None:
    arguments, alignments = WRITERS[kernel]
    positional, options = arguments(2)
    memory = {other: np.zeros(20_000) for other in alignments}
    good = {other: array.ctypes.data for other, array in memory.items()}
    getattr(core(), kernel)(*positional, **options, **good)
    for wrong in (0, good[name] + 1):
        text = f"{name}: expected a nonzero address divisible by {alignments[name]}, got {wrong}"
        with pytest.raises(ValueError, match=f"^{text}$"):
            getattr(core(), kernel)(*positional, **options, **{**good, name: wrong})


@pytest.mark.parametrize("kernel", WRITERS)
def test_an_empty_batch_needs_no_address(kernel: str) -> None:
    arguments, alignments = WRITERS[kernel]
    positional, options = arguments(0)
    getattr(core(), kernel)(*positional, **options, **dict.fromkeys(alignments, 0))


def test_properties_of_no_pairs_need_no_address() -> None:
    positional, options = WRITERS["texture_stats"][0](2)
    memory = np.zeros(20_000)
    addresses = dict.fromkeys(("histograms", "statistics", "counted", "blocks"), memory.ctypes.data)
    core().texture_stats(*positional, **{**options, "offsets": []}, **addresses, properties=0)
