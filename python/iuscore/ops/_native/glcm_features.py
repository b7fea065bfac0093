"""The op `glcm_features` over the compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from iuscore.ops._haralick import GLCM_FEATURES
from iuscore.ops._native import glcm, glcm_cuda
from iuscore.ops._native.calls import core, mask_table, view_table
from iuscore.ops._native.library import define, fake, implement
from iuscore.ops._quantize import Quantization, check_levels


def _output(like: Tensor, offsets: int, features: Sequence[int], dtype: torch.dtype) -> Tensor:
    return like.new_empty((like.shape[0], offsets, len(features)), dtype=dtype)


@define("glcm_features", "cpu")
def glcm_features(images: Tensor, mask: Tensor | None, mode: str, levels: int, low: float | None, divisor: float | None,
                  offsets: Sequence[int], symmetric: bool, features: Sequence[int],
                  dtype: torch.dtype) -> Tensor:  # fmt: skip
    values = _output(images, len(offsets) // 2, features, dtype)
    if len(images):
        largest = core().glcm_features(
            view_table(images),
            mask_table(mask),
            **glcm.image_arguments(images, mode, levels, low, divisor, offsets, symmetric),
            features=np.array(features, np.int32),
            wide=dtype == torch.float64,
            values=values.data_ptr(),
            threads=torch.get_num_threads(),
        )
        check_levels(largest, levels)
    return values


@fake("glcm_features")
def _(images: Tensor, mask: Tensor | None, mode: str, levels: int, low: float | None, divisor: float | None,
      offsets: Sequence[int], symmetric: bool, features: Sequence[int], dtype: torch.dtype) -> Tensor:  # fmt: skip
    return _output(images, len(offsets) // 2, features, dtype)


@implement("glcm_features", "cuda")
def _(images: Tensor, mask: Tensor | None, mode: str, levels: int, low: float | None, divisor: float | None,
      offsets: Sequence[int], symmetric: bool, features: Sequence[int], dtype: torch.dtype) -> Tensor:  # fmt: skip
    values = _output(images, len(offsets) // 2, features, dtype)
    if len(images):
        arguments = glcm.image_arguments(images, mode, levels, low, divisor, offsets, symmetric)
        glcm_cuda.glcm_features(images, mask, arguments, features, values)
    return values


@define("glcm_matrix_features", "cpu")
def glcm_matrix_features(counts: Tensor, symmetric: bool, features: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Of contiguous int32 counts [B, O, L, L]."""
    values = _output(counts, counts.shape[1], features, dtype)
    if len(counts):
        core().glcm_matrix_features(
            counts=counts.data_ptr(),
            batch=counts.shape[0],
            offsets=counts.shape[1],
            levels=counts.shape[2],
            symmetric=symmetric,
            features=np.array(features, np.int32),
            wide=dtype == torch.float64,
            values=values.data_ptr(),
            threads=torch.get_num_threads(),
        )
    return values


@fake("glcm_matrix_features")
def _(counts: Tensor, symmetric: bool, features: Sequence[int], dtype: torch.dtype) -> Tensor:
    return _output(counts, counts.shape[1], features, dtype)


@implement("glcm_matrix_features", "cuda")
def _(counts: Tensor, symmetric: bool, features: Sequence[int], dtype: torch.dtype) -> Tensor:
    values = _output(counts, counts.shape[1], features, dtype)
    if len(counts):
        glcm_cuda.glcm_matrix_features(counts, symmetric, features, values)
    return values


def run(images: Tensor, mask: Tensor | None, by: Quantization, offsets: Sequence[tuple[int, int]], symmetric: bool,
        names: Sequence[str], dtype: torch.dtype) -> Tensor:  # fmt: skip
    """[B, O, F] of images [B, H, W, C], for any number of offsets and names that the kernels know."""
    numbers, columns = _numbers(names)
    parts: list[Tensor] = []
    for i in range(0, len(offsets), glcm.MOST_OFFSETS):
        flat = [x for offset in offsets[i : i + glcm.MOST_OFFSETS] for x in offset]
        options = glcm.quantization_arguments(by)
        parts.append(glcm_features(images, mask, *options, flat, symmetric, numbers, dtype))
    return _columns(parts[0] if len(parts) == 1 else torch.cat(parts, 1), columns)


def run_matrix(counts: Tensor, symmetric: bool, names: Sequence[str], dtype: torch.dtype) -> Tensor:
    """[B, O, F] of int32 counts [B, O, L, L]."""
    numbers, columns = _numbers(names)
    return _columns(glcm_matrix_features(counts.contiguous(), symmetric, numbers, dtype), columns)


def _numbers(names: Sequence[str]) -> tuple[list[int], list[int]]:
    """Numbers of the formulas, each once, and the column of each name among them."""
    wanted = [number for name in names if (number := GLCM_FEATURES[name].number) is not None]
    numbers = list(dict.fromkeys(wanted))
    return numbers, [numbers.index(number) for number in wanted]


def _columns(values: Tensor, columns: list[int]) -> Tensor:
    return values if columns == list(range(values.shape[-1])) else values[..., columns]
