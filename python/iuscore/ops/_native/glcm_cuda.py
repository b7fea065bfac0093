"""How the CUDA kernels of `glcm` and `glcm_features` are called: images of one size, workspace and stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from iuscore.ops._native.calls import cuda, stream_of


def _images(images: Tensor, mask: Tensor | None) -> dict[str, Any]:
    batch, height, width, _ = images.shape
    step, *strides = images.stride()
    mask_step, *mask_strides = (0, 0, 0) if mask is None else mask.stride()
    return {
        "device": images.device.index,
        "stream": stream_of(images.device),
        "batch": batch,
        "image": (images.data_ptr(), height, width, *strides),
        "batch_stride": step,
        "mask": (0 if mask is None else mask.data_ptr(), *mask_strides),
        "mask_batch_stride": mask_step,
    }


def _output(
    values: Tensor, features: Sequence[int], height: int, width: int, levels: int
) -> tuple[dict[str, Any], Tensor]:
    """The workspace comes along, as it must live until the kernels are queued."""
    batch, offsets, _ = values.shape
    sizes = {"batch": batch, "height": height, "width": width, "offsets": offsets, "levels": levels}
    needed = cuda().glcm_features_workspace(**sizes)
    workspace = values.new_empty(needed, dtype=torch.uint8)
    return {
        "features": np.array(features, np.int32),
        "wide": values.dtype == torch.float64,
        "values": values.data_ptr(),
        "workspace": workspace.data_ptr(),
        "workspace_bytes": needed,
    }, workspace


def glcm(images: Tensor, mask: Tensor | None, arguments: dict[str, Any], counts: Tensor) -> None:
    """``arguments``: what the CPU kernel takes beside images and masks, but for threads."""
    cuda().glcm(**_images(images, mask), **arguments, counts=counts.data_ptr())


def glcm_features(
    images: Tensor, mask: Tensor | None, arguments: dict[str, Any], features: Sequence[int], values: Tensor
) -> None:
    """``arguments``: as in `glcm`."""
    output, _workspace = _output(values, features, images.shape[1], images.shape[2], arguments["levels"])
    cuda().glcm_features(**_images(images, mask), **arguments, **output)


def glcm_matrix_features(counts: Tensor, symmetric: bool, features: Sequence[int], values: Tensor) -> None:
    """Of contiguous int32 counts [B, O, L, L]."""
    batch, offsets, levels, _ = counts.shape
    output, _workspace = _output(values, features, 0, 0, levels)
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
