"""How the CUDA kernel of `color_histogram` is called: edges on the device, and the stream."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from iuscore.ops._native.calls import core, cuda, dtype_name, stream_of
from iuscore.ops._on_device import on_device

Edges = npt.NDArray[np.float32]


def color_histogram(
    images: Tensor,
    mask: Tensor | None,
    space: str,
    joint: bool,
    edges: Sequence[Edges],
    counts: Tensor,
    outside: Tensor,
) -> None:
    """Images [B, H, W, C] of one size; counts and outside need not be cleared."""
    _, height, width, channels = images.shape
    step, *strides = images.stride()
    mask_step, *mask_strides = (0, 0, 0) if mask is None else mask.stride()
    packed = np.concatenate(edges)
    (bounds,) = on_device(("edges", packed.tobytes()), images.device, lambda: (torch.from_numpy(packed),))
    cuda().color_histogram(
        device=images.device.index,
        stream=stream_of(images.device),
        batch=len(images),
        channels=channels,
        pixel_type=dtype_name(images.dtype),
        image=(images.data_ptr(), height, width, *strides),
        batch_stride=step,
        mask=(0 if mask is None else mask.data_ptr(), *mask_strides),
        mask_batch_stride=mask_step,
        space=space,
        joint=joint,
        bins=[len(e) - 1 for e in edges],
        axes=[core().guessed_axis(e) for e in edges],
        edges=bounds.data_ptr(),
        counts=counts.data_ptr(),
        outside=outside.data_ptr(),
    )
