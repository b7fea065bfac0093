"""The op `image_views` over the compiled kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from iuscore.ops._constants import PATCH_RESPONSES, THUMB_SIDE
from iuscore.ops._native.calls import core, cuda, stream_of, view_table
from iuscore.ops._native.library import define, fake, implement


def _outputs(images: Tensor, color: bool) -> tuple[Tensor, Tensor]:
    batch = images.shape[0]
    return (
        images.new_empty((batch, THUMB_SIDE * THUMB_SIDE * (3 if color else 1)), dtype=torch.float32),
        images.new_empty((batch, PATCH_RESPONSES), dtype=torch.float32),
    )


@define("image_views", "cpu")
def image_views(images: Tensor, weights: Tensor, bias: Tensor, color: bool) -> tuple[Tensor, Tensor]:
    """Bytes [B, H, W, C]; contiguous weights and bias."""
    thumb, patch = _outputs(images, color)
    core().image_views(
        view_table(images),
        channels=images.shape[3],
        color=color,
        weights=weights.data_ptr(),
        bias=bias.data_ptr(),
        thumb=thumb.data_ptr(),
        patch=patch.data_ptr(),
        threads=torch.get_num_threads(),
    )
    return thumb, patch


@implement("image_views", "cuda")
def _(images: Tensor, weights: Tensor, bias: Tensor, color: bool) -> tuple[Tensor, Tensor]:
    thumb, patch = _outputs(images, color)
    step, *strides = images.stride()
    cuda().image_views(
        device=images.device.index,
        stream=stream_of(images.device),
        batch=images.shape[0],
        channels=images.shape[3],
        image=(images.data_ptr(), *images.shape[1:3], *strides),
        batch_stride=step,
        color=color,
        weights=weights.data_ptr(),
        bias=bias.data_ptr(),
        thumb=thumb.data_ptr(),
        patch=patch.data_ptr(),
    )
    return thumb, patch


@fake("image_views")
def _(images: Tensor, weights: Tensor, bias: Tensor, color: bool) -> tuple[Tensor, Tensor]:
    return _outputs(images, color)
