"""A few launches of every kernel, for compute-sanitizer: inputs made on the CPU, so that little else runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from calls import call, same_bits
from cases import VARIANTS, Case
from torch import Tensor

from iuscore import ops

PIXEL_TYPES = (torch.uint8, torch.uint16, torch.float16, torch.float32)


def launches(device: torch.device) -> Iterator[tuple[str, Any, Any]]:
    """What, its result on the device, and the CPU's."""
    generator = torch.Generator().manual_seed(0)
    for op, variants in VARIANTS.items():
        for variant in variants:
            case = Case(op, 13 if op != "additive_mlp" else 0, 3, "noise", variant)
            for inputs in _inputs(case, generator):
                text = f"{op} {dict(variant)} {str(inputs.dtype)[6:]} {list(inputs.shape)}"
                yield text, call(case, inputs.to(device), "native"), call(case, inputs, "native")
    wide = torch.randint(0, 256, (2, 9, 40, 3), dtype=torch.uint8, generator=generator)
    options: dict[str, Any] = {"mode": "paper", "size": (160, 160), "backend": "native"}  # planes in the workspace
    yield (
        "perceptual_maps 160x160",
        ops.perceptual_maps(wide.to(device), **options),
        ops.perceptual_maps(wide, **options),
    )
    ragged = [wide[0], wide[1, :5]]
    yield (
        "perceptual_maps ragged",
        ops.perceptual_maps([i.to(device) for i in ragged], backend="native"),
        (ops.perceptual_maps(ragged, backend="native")),
    )


def _inputs(case: Case, generator: torch.Generator) -> Iterator[Tensor]:
    if not case.side:
        yield torch.rand(case.batch, case.options["inputs"], generator=generator)
        return
    shape = (case.batch, case.side, case.side + 3, case.channels)
    unit = torch.rand(shape, generator=generator)
    for dtype in PIXEL_TYPES:
        largest = 1.0 if dtype.is_floating_point else float(torch.iinfo(dtype).max)
        yield (unit * largest).to(dtype)


def run(device: torch.device) -> int:
    """The number of launches whose result is not the CPU's, at most 1: an exit status."""
    different = []
    count = 0
    for text, got, expected in launches(device):
        count += 1
        if not same_bits(got, expected):
            different.append(text)
    print(f"{count} small launches", *different, sep="\ndiffers: ")
    return min(1, len(different))
