"""The op `color_histogram` over the compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from iuscore.ops._edges import float32_edges
from iuscore.ops._native.calls import core, cuda, dtype_name, image_batch, mask_table, view_table
from iuscore.ops._native.library import define, fake, implement
from iuscore.ops._on_device import on_device


def _outputs(images: Tensor, joint: bool, bins: Sequence[int]) -> tuple[Tensor, Tensor]:
    counts = bins[0] * bins[1] * bins[2] if joint else sum(bins)
    channels = 1 if joint else len(bins)
    return (
        images.new_empty((images.shape[0], counts), dtype=torch.int32),
        images.new_empty((images.shape[0], channels, 3), dtype=torch.int32),
    )


def _edges(bins: Sequence[int], low: Sequence[float], high: Sequence[float]) -> list[npt.NDArray[np.float32]]:
    return [float32_edges(a, b, n) for a, b, n in zip(low, high, bins, strict=True)]


@define("color_histogram", "cpu")
def color_histogram(
    images: Tensor,
    mask: Tensor | None,
    space: str,
    joint: bool,
    bins: Sequence[int],
    low: Sequence[float],
    high: Sequence[float],
) -> tuple[Tensor, Tensor]:
    counts, out_of_range = _outputs(images, joint, bins)
    if len(images):
        core().color_histogram(
            view_table(images),
            mask_table(mask),
            channels=images.shape[3],
            pixel_type=dtype_name(images.dtype),
            space=space,
            joint=joint,
            edges=_edges(bins, low, high),
            counts=counts.data_ptr(),
            out_of_range=out_of_range.data_ptr(),
            threads=torch.get_num_threads(),
        )
    return counts, out_of_range


@fake("color_histogram")
def _(
    images: Tensor,
    mask: Tensor | None,
    space: str,
    joint: bool,
    bins: Sequence[int],
    low: Sequence[float],
    high: Sequence[float],
) -> tuple[Tensor, Tensor]:
    return _outputs(images, joint, bins)


@implement("color_histogram", "cuda")
def _(
    images: Tensor,
    mask: Tensor | None,
    space: str,
    joint: bool,
    bins: Sequence[int],
    low: Sequence[float],
    high: Sequence[float],
) -> tuple[Tensor, Tensor]:
    counts, out_of_range = _outputs(images, joint, bins)
    if not len(images):
        return counts, out_of_range
    edges = _edges(bins, low, high)
    packed = np.concatenate(edges)
    (bounds,) = on_device(("edges", packed.tobytes()), images.device, lambda: (torch.from_numpy(packed),))
    cuda().color_histogram(
        **image_batch(images, mask),
        channels=images.shape[3],
        pixel_type=dtype_name(images.dtype),
        space=space,
        joint=joint,
        bins=list(bins),
        axes=[core().guessed_axis(part) for part in edges],
        edges=bounds.data_ptr(),
        counts=counts.data_ptr(),
        out_of_range=out_of_range.data_ptr(),
    )
    return counts, out_of_range
