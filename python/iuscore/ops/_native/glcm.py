"""The op `glcm` over the compiled kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from iuscore.ops._constants import MAX_OFFSETS
from iuscore.ops._native.calls import core, cuda, dtype_name, image_batch, mask_table, view_table
from iuscore.ops._native.library import define, fake, implement
from iuscore.ops._quantize import Quantization, check_levels


def quantization_arguments(by: Quantization) -> tuple[str, int, float | None, float | None]:
    """As the custom ops take them."""
    return by.mode, by.levels, by.low, by.divisor


def image_arguments(images: Tensor, mode: str, levels: int, low: float | None, divisor: float | None,
                    offsets: Sequence[int], symmetric: bool) -> dict[str, Any]:  # fmt: skip
    """What both modules and both ops are told about images, quantisation and pairs; offsets flat, two a pair."""
    return {
        "channels": images.shape[3],
        "pixel_type": dtype_name(images.dtype),
        "mode": mode,
        "levels": levels,
        "low": math.nan if low is None else low,
        "divisor": math.nan if divisor is None else divisor,
        "offsets": np.array(offsets, np.int32).reshape(-1, 2),
        "symmetric": symmetric,
    }


def _output(images: Tensor, levels: int, offsets: Sequence[int]) -> Tensor:
    return images.new_empty((images.shape[0], len(offsets) // 2, levels, levels), dtype=torch.int32)


@define("glcm", "cpu")
def glcm(images: Tensor, mask: Tensor | None, mode: str, levels: int, low: float | None, divisor: float | None,
         offsets: Sequence[int], symmetric: bool) -> Tensor:  # fmt: skip
    counts = _output(images, levels, offsets)
    if len(images):
        largest = core().glcm(
            view_table(images),
            mask_table(mask),
            **image_arguments(images, mode, levels, low, divisor, offsets, symmetric),
            counts=counts.data_ptr(),
            threads=torch.get_num_threads(),
        )
        check_levels(largest, levels)
    return counts


@fake("glcm")
def _(images: Tensor, mask: Tensor | None, mode: str, levels: int, low: float | None, divisor: float | None,
      offsets: Sequence[int], symmetric: bool) -> Tensor:  # fmt: skip
    return _output(images, levels, offsets)


@implement("glcm", "cuda")
def _(images: Tensor, mask: Tensor | None, mode: str, levels: int, low: float | None, divisor: float | None,
      offsets: Sequence[int], symmetric: bool) -> Tensor:  # fmt: skip
    counts = _output(images, levels, offsets)
    if len(images):
        arguments = image_arguments(images, mode, levels, low, divisor, offsets, symmetric)
        cuda().glcm(**image_batch(images, mask), **arguments, counts=counts.data_ptr())
    return counts


def run(images: Tensor, mask: Tensor | None, by: Quantization, offsets: Sequence[tuple[int, int]],
        symmetric: bool) -> Tensor:  # fmt: skip
    """Counts int32 [B, O, L, L] of images [B, H, W, C] for any number of offsets."""
    parts: list[Tensor] = []
    for i in range(0, len(offsets), MAX_OFFSETS):
        flat = [x for offset in offsets[i : i + MAX_OFFSETS] for x in offset]
        parts.append(glcm(images, mask, *quantization_arguments(by), flat, symmetric))
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)
