"""The op `resize` over the compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from iuscore.ops._native.calls import core, cuda, stream_of, view_table
from iuscore.ops._native.library import define, fake, implement
from iuscore.ops._on_device import on_device
from iuscore.ops._taps import taps

Addresses = tuple[int, int, int, int, int]


def _output(parts: Sequence[Tensor], height: int, width: int) -> Tensor:
    return parts[0].new_empty((sum(len(part) for part in parts), height, width, parts[0].shape[3]))


@define("resize", "cpu")
def resize(parts: Sequence[Tensor], height: int, width: int) -> Tensor:
    """``parts``: at least one uint8 [n, H, W, C], all of one H, W and C; the results are one batch, in their order."""
    out = _output(parts, height, width)
    (rows, _held), (columns, _held_too) = _directions(parts[0], height, width)
    core().resize(
        _views(parts),
        channels=out.shape[3],
        rows=rows,
        columns=columns,
        out=out.data_ptr() + np.arange(len(out), dtype=np.int64) * (height * width * out.shape[3]),
        threads=torch.get_num_threads(),
    )
    return out


def _views(parts: Sequence[Tensor]) -> npt.NDArray[np.int64]:
    """`view_table` of several; of single images a row is made at once, as there can be many."""
    if len(parts) == 1:
        return view_table(parts[0])
    if any(len(part) != 1 for part in parts):
        return np.concatenate([view_table(part) for part in parts])
    return np.array([(part.data_ptr(), *part.shape[1:3], *part.stride()[1:]) for part in parts], np.int64)


def too_large(images: Tensor, height: int, width: int) -> str:
    """Why the kernel of the images' device cannot bring them to this size; empty where it can."""
    size = images.shape[1]
    if images.device.type != "cuda" or size == height:
        return ""
    row_taps = taps(size, height).weights.shape[1]
    fits = cuda().resize_fits(
        device=images.device.index, channels=images.shape[3], height=size, width=width, row_taps=row_taps
    )
    return "" if fits else f"{row_taps} rows of {width} pixels do not fit into the shared memory of this GPU"


@implement("resize", "cuda")
def _(parts: Sequence[Tensor], height: int, width: int) -> Tensor:
    images = parts[0] if len(parts) == 1 else torch.cat(list(parts))
    batch, *sizes, channels = images.shape
    step, *strides = images.stride()
    (rows, _held), (columns, _held_too) = _directions(images, height, width)
    out = _output([images], height, width)
    cuda().resize(
        device=images.device.index,
        stream=stream_of(images.device),
        batch=batch,
        channels=channels,
        image=(images.data_ptr(), *sizes, *strides),
        batch_stride=step,
        rows=rows,
        columns=columns,
        out=out.data_ptr(),
    )
    return out


@fake("resize")
def _(parts: Sequence[Tensor], height: int, width: int) -> Tensor:
    return _output(parts, height, width)


def _directions(images: Tensor, height: int, width: int) -> list[tuple[Addresses, tuple[Tensor, ...]]]:
    """Of rows and of columns: the addresses and sizes of the weights, and what holds them."""
    sizes = zip(images.shape[1:3], (height, width), strict=True)
    return [_direction(size, out, images.device) for size, out in sizes]


def _direction(size: int, out: int, device: torch.device) -> tuple[Addresses, tuple[Tensor, ...]]:
    if size == out:
        return (0, 0, 0, 0, out), ()
    table = taps(size, out)
    held = on_device(
        ("resize", size, out), device, lambda: (torch.from_numpy(table.start), torch.from_numpy(table.weights))
    )
    return (held[0].data_ptr(), held[1].data_ptr(), table.weights.shape[1], table.shift, out), held
