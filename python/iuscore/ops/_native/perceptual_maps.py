"""The op `perceptual_maps` over the compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from iuscore.ops._native import perceptual_maps_cuda
from iuscore.ops._native.calls import core, dtype_name, view_table
from iuscore.ops._native.library import define, fake, implement


def _outputs(like: Tensor, batch: int, height: int, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    maps = like.new_empty((batch, 4, height, width), dtype=dtype)
    return maps, like.new_empty((batch, 4), dtype=torch.float32)


def _run_cpu(table: npt.NDArray[np.int64], channels: int, pixel: torch.dtype, color: bool, clean: bool,
             maps: Tensor, ranges: Tensor) -> None:  # fmt: skip
    core().perceptual_maps(
        table,
        channels=channels,
        pixel_type=dtype_name(pixel),
        color=color,
        clean=clean,
        height=maps.shape[2],
        width=maps.shape[3],
        maps=maps.data_ptr(),
        map_type=dtype_name(maps.dtype),
        ranges=ranges.data_ptr(),
        threads=torch.get_num_threads(),
    )


@define("perceptual_maps", "cpu")
def perceptual_maps(
    images: Tensor, color: bool, clean: bool, height: int, width: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    maps, ranges = _outputs(images, images.shape[0], height, width, dtype)
    if len(images):
        _run_cpu(view_table(images), images.shape[3], images.dtype, color, clean, maps, ranges)
    return maps, ranges


@fake("perceptual_maps")
def _(images: Tensor, color: bool, clean: bool, height: int, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return _outputs(images, images.shape[0], height, width, dtype)


@implement("perceptual_maps", "cuda")
def _(images: Tensor, color: bool, clean: bool, height: int, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    maps, ranges = _outputs(images, images.shape[0], height, width, dtype)
    if len(images):
        perceptual_maps_cuda.perceptual_maps(images, color, clean, maps, ranges)
    return maps, ranges


@define("perceptual_maps_ragged", "cpu")
def perceptual_maps_ragged(
    images: Sequence[Tensor], color: bool, clean: bool, height: int, width: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    maps, ranges = _outputs(images[0], len(images), height, width, dtype)
    table = np.concatenate([view_table(image[None]) for image in images])
    _run_cpu(table, images[0].shape[2], images[0].dtype, color, clean, maps, ranges)
    return maps, ranges


@fake("perceptual_maps_ragged")
def _(
    images: Sequence[Tensor], color: bool, clean: bool, height: int, width: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    return _outputs(images[0], len(images), height, width, dtype)


@implement("perceptual_maps_ragged", "cuda")
def _(
    images: Sequence[Tensor], color: bool, clean: bool, height: int, width: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    maps, ranges = _outputs(images[0], len(images), height, width, dtype)
    perceptual_maps_cuda.perceptual_maps_ragged(images, color, clean, maps, ranges)
    return maps, ranges
