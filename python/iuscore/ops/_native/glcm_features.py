"""The op `glcm_features` over the compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from iuscore.ops._constants import MAX_OFFSETS
from iuscore.ops._haralick import GLCM_FEATURES
from iuscore.ops._native import glcm
from iuscore.ops._native.calls import core, cuda, image_batch, mask_table, stream_of, view_table
from iuscore.ops._native.library import define, fake, implement
from iuscore.ops._quantize import Quantization, check_levels


def _output(like: Tensor, offsets: int, features: Sequence[int], dtype: torch.dtype) -> Tensor:
    return like.new_empty((like.shape[0], offsets, len(features)), dtype=dtype)


def _cuda_output(
    values: Tensor, features: Sequence[int], height: int, width: int, levels: int
) -> tuple[dict[str, Any], Tensor]:
    """The workspace is returned as well: it must live until the kernels are queued."""
    batch, offsets, _ = values.shape
    needed = cuda().glcm_features_workspace(batch=batch, height=height, width=width, offsets=offsets, levels=levels)
    workspace = values.new_empty(needed, dtype=torch.uint8)
    return {
        "features": np.array(features, np.int32),
        "wide": values.dtype == torch.float64,
        "values": values.data_ptr(),
        "workspace": workspace.data_ptr(),
        "workspace_bytes": needed,
    }, workspace


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
        output, _workspace = _cuda_output(values, features, images.shape[1], images.shape[2], levels)
        cuda().glcm_features(**image_batch(images, mask), **arguments, **output)
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
        batch, offsets, levels, _ = counts.shape
        output, _workspace = _cuda_output(values, features, 0, 0, levels)
        cuda().glcm_matrix_features(
            device=counts.device.index,
            stream=stream_of(counts.device),
            counts=counts.data_ptr(),
            batch=batch,
            offsets=offsets,
            levels=levels,
            symmetric=symmetric,
            **output,
        )
    return values


def run(images: Tensor, mask: Tensor | None, by: Quantization, offsets: Sequence[tuple[int, int]], symmetric: bool,
        names: Sequence[str], dtype: torch.dtype) -> Tensor:  # fmt: skip
    """[B, O, F] of images [B, H, W, C], for any number of offsets and names that the kernels know."""
    numbers, columns = _numbers(names)
    parts: list[Tensor] = []
    for i in range(0, len(offsets), MAX_OFFSETS):
        flat = [x for offset in offsets[i : i + MAX_OFFSETS] for x in offset]
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
