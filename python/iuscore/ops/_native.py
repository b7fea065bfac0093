"""The compiled kernels as torch custom ops, so that torch.compile, CUDA graphs and opcheck know them.

Each op takes [B, H, W, C] views with any strides; the public functions check and choose before they call.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from iuscore.ops import _native_cuda
from iuscore.ops._backend import extension


def _outputs(like: Tensor, batch: int, height: int, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    maps = like.new_empty((batch, 4, height, width), dtype=dtype)
    return maps, like.new_empty((batch, 4), dtype=torch.float32)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _table(images: Tensor) -> npt.NDArray[np.int64]:
    """One row an image: address, height, width, strides of rows, columns, channels in elements."""
    batch, height, width, _ = images.shape
    step, *strides = images.stride()
    table = np.empty((batch, 6), np.int64)
    table[:, 0] = images.data_ptr() + np.arange(batch, dtype=np.int64) * (step * images.element_size())
    table[:, 1:] = (height, width, *strides)
    return table


def _run_cpu(table: npt.NDArray[np.int64], channels: int, pixel: torch.dtype, color: bool, clean: bool,
             maps: Tensor, ranges: Tensor) -> None:  # fmt: skip
    core, why = extension("_core")
    if core is None:
        raise RuntimeError(f"the CPU kernels are missing: {why}")
    core.perceptual_maps(
        table,
        channels=channels,
        pixel_type=_name(pixel),
        color=color,
        clean=clean,
        height=maps.shape[2],
        width=maps.shape[3],
        maps=maps.data_ptr(),
        map_type=_name(maps.dtype),
        ranges=ranges.data_ptr(),
        threads=torch.get_num_threads(),
    )


@torch.library.custom_op("iuscore::perceptual_maps", mutates_args=(), device_types="cpu")
def perceptual_maps(
    images: Tensor, color: bool, clean: bool, height: int, width: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    maps, ranges = _outputs(images, images.shape[0], height, width, dtype)
    if len(images):
        _run_cpu(_table(images), images.shape[3], images.dtype, color, clean, maps, ranges)
    return maps, ranges


@perceptual_maps.register_fake
def _(images: Tensor, color: bool, clean: bool, height: int, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return _outputs(images, images.shape[0], height, width, dtype)


@perceptual_maps.register_kernel("cuda")
def _(images: Tensor, color: bool, clean: bool, height: int, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    maps, ranges = _outputs(images, images.shape[0], height, width, dtype)
    if len(images):
        _native_cuda.perceptual_maps(images, color, clean, maps, ranges)
    return maps, ranges


@torch.library.custom_op("iuscore::perceptual_maps_ragged", mutates_args=(), device_types="cpu")
def perceptual_maps_ragged(
    images: Sequence[Tensor], color: bool, clean: bool, height: int, width: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    maps, ranges = _outputs(images[0], len(images), height, width, dtype)
    table = np.concatenate([_table(image[None]) for image in images])
    _run_cpu(table, images[0].shape[2], images[0].dtype, color, clean, maps, ranges)
    return maps, ranges


@perceptual_maps_ragged.register_fake
def _(
    images: Sequence[Tensor], color: bool, clean: bool, height: int, width: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    return _outputs(images[0], len(images), height, width, dtype)


@perceptual_maps_ragged.register_kernel("cuda")
def _(
    images: Sequence[Tensor], color: bool, clean: bool, height: int, width: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    maps, ranges = _outputs(images[0], len(images), height, width, dtype)
    _native_cuda.perceptual_maps_ragged(images, color, clean, maps, ranges)
    return maps, ranges
