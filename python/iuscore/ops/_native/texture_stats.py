"""The op `texture_stats` over the compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from iuscore.ops._constants import (
    TEXTURE_COLOR_PLANES,
    TEXTURE_GRAY_PLANES,
    TEXTURE_GRID,
    TEXTURE_PROPERTIES,
    TEXTURE_STATISTICS,
)
from iuscore.ops._native.calls import core, cuda, dtype_name, mask_table, stream_of, view_table
from iuscore.ops._native.library import define, fake, implement


def _outputs(images: Tensor, color: bool, bins: int, pairs: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    batch, planes = images.shape[0], TEXTURE_COLOR_PLANES if color else TEXTURE_GRAY_PLANES
    return (
        images.new_empty((batch, planes, bins), dtype=torch.int32),
        images.new_empty((batch, planes, TEXTURE_STATISTICS), dtype=torch.float32),
        images.new_empty((batch, planes), dtype=torch.int32),
        images.new_empty((batch, pairs, TEXTURE_PROPERTIES), dtype=torch.float32),
        images.new_empty((batch, TEXTURE_GRID, TEXTURE_GRID), dtype=torch.float32),
    )


@define("texture_stats", "cpu")
def texture_stats(
    images: Tensor, mask: Tensor | None, color: bool, bins: int, levels: int, offsets: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """``offsets``: rows and columns of each pair, one after the other."""
    outputs = _outputs(images, color, bins, len(offsets) // 2)
    histograms, statistics, counted, properties, blocks = outputs
    core().texture_stats(
        view_table(images),
        mask_table(mask),
        channels=images.shape[3],
        pixel_type=dtype_name(images.dtype),
        color=color,
        bins=bins,
        levels=levels,
        offsets=list(zip(offsets[::2], offsets[1::2], strict=True)),
        histograms=histograms.data_ptr(),
        statistics=statistics.data_ptr(),
        counted=counted.data_ptr(),
        properties=properties.data_ptr(),
        blocks=blocks.data_ptr(),
        threads=torch.get_num_threads(),
    )
    return outputs


def _cuda_sizes(
    images: Tensor, mask: Tensor | None, color: bool, levels: int, offsets: Sequence[int]
) -> dict[str, Any]:
    # In a symmetric matrix an offset and its opposite are the same; the kernel needs rows >= 0.
    pairs = [(r, c) if r >= 0 else (-r, -c) for r, c in zip(offsets[::2], offsets[1::2], strict=True)]
    return {
        "device": images.device.index,
        "image": (images.data_ptr(), *images.shape[1:3], *images.stride()[1:]),
        "mask": (mask.data_ptr(), *mask.stride()[1:]) if mask is not None else (0, 0, 0),
        "batch": images.shape[0],
        "pixel_type": dtype_name(images.dtype),
        "color": color,
        "levels": levels,
        "offsets": pairs,
    }


def too_large(images: Tensor, mask: Tensor | None, color: bool, levels: int, offsets: Sequence[int]) -> str:
    """Why the kernel of the images' device cannot take them; empty where it can."""
    if images.device.type != "cuda":
        return ""
    if cuda().texture_stats_workspace(**_cuda_sizes(images, mask, color, levels, offsets)) >= 0:
        return ""
    rows = max((abs(row) for row in offsets[::2]), default=0)
    return f"rows of {images.shape[2]} pixels with pairs {rows} apart do not fit into the shared memory of this GPU"


@implement("texture_stats", "cuda")
def _(
    images: Tensor, mask: Tensor | None, color: bool, bins: int, levels: int, offsets: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    outputs = _outputs(images, color, bins, len(offsets) // 2)
    sizes = _cuda_sizes(images, mask, color, levels, offsets)
    needed = cuda().texture_stats_workspace(**sizes)
    workspace = images.new_empty(max(needed, 8), dtype=torch.uint8)
    names = ("histograms", "statistics", "counted", "properties", "blocks")
    cuda().texture_stats(
        **sizes,
        stream=stream_of(images.device),
        batch_stride=images.stride(0),
        mask_batch_stride=mask.stride(0) if mask is not None else 0,
        channels=images.shape[3],
        bins=bins,
        **{name: tensor.data_ptr() for name, tensor in zip(names, outputs, strict=True)},
        workspace=workspace.data_ptr(),
        workspace_bytes=needed,
    )
    return outputs


@fake("texture_stats")
def _(
    images: Tensor, mask: Tensor | None, color: bool, bins: int, levels: int, offsets: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return _outputs(images, color, bins, len(offsets) // 2)
