"""What every op needs to call a compiled module: the module, addresses and strides, names of types, the stream."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from iuscore.ops._backend import extension


def core() -> ModuleType:
    """The CPU module; RuntimeError with the reason where it is missing."""
    module, why = extension("_core")
    if module is None:
        raise RuntimeError(f"the CPU kernels are missing: {why}")
    return module


def cuda() -> ModuleType:
    """The CUDA module; RuntimeError with the reason where it is missing."""
    module, why = extension("_cuda")
    if module is None:
        raise RuntimeError(f"the CUDA kernels are missing: {why}")
    return module


def stream_of(device: torch.device) -> int:
    """Address of torch's current stream on a CUDA device."""
    return int(torch.cuda.current_stream(device).cuda_stream)


def dtype_name(dtype: torch.dtype) -> str:
    """ "uint8", "float32", ... as the bindings call the type."""
    return str(dtype).removeprefix("torch.")


def view_table(images: Tensor) -> npt.NDArray[np.int64]:
    """A row for each image of [B, H, W, C]: address, height, width, strides of rows, columns, channels in elements."""
    batch, height, width, _ = images.shape
    step, *strides = images.stride()
    table = np.empty((batch, 6), np.int64)
    table[:, 0] = images.data_ptr() + np.arange(batch, dtype=np.int64) * (step * images.element_size())
    table[:, 1:] = (height, width, *strides)
    return table


def mask_table(mask: Tensor | None) -> npt.NDArray[np.int64]:
    """A row for each mask of [B, H, W]: address, strides of rows and columns in elements; no row without a mask."""
    if mask is None:
        return np.empty((0, 3), np.int64)
    step, *strides = mask.stride()
    table = np.empty((len(mask), 3), np.int64)
    table[:, 0] = mask.data_ptr() + np.arange(len(mask), dtype=np.int64) * step
    table[:, 1:] = strides
    return table


def image_batch(images: Tensor, mask: Tensor | None) -> dict[str, Any]:
    """What kernels on a GPU take of images [B, H, W, C] of one size and of their masks [B, H, W]."""
    step, *strides = images.stride()
    mask_step, *mask_strides = (0, 0, 0) if mask is None else mask.stride()
    return {
        "device": images.device.index,
        "stream": stream_of(images.device),
        "batch": len(images),
        "image": (images.data_ptr(), *images.shape[1:3], *strides),
        "batch_stride": step,
        "mask": (0 if mask is None else mask.data_ptr(), *mask_strides),
        "mask_batch_stride": mask_step,
    }
