"""The op `resize` over the compiled kernels."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from iuscore.ops._native.calls import core, cuda, stream_of, view_table
from iuscore.ops._native.library import define, fake, implement
from iuscore.ops._taps import taps
from iuscore.ops._torch import resize as torch_op


def _output(parts: Sequence[Tensor], height: int, width: int) -> Tensor:
    return parts[0].new_empty((sum(len(part) for part in parts), height, width, parts[0].shape[3]))


@define("resize", "cpu")
def resize(parts: Sequence[Tensor], height: int, width: int) -> Tensor:
    """``parts``: at least one uint8 [n, H, W, C], all of one H, W and C; the results are one batch, in their order."""
    out = _output(parts, height, width)
    kept = [_on_device(size, to, "cpu") for size, to in zip(parts[0].shape[1:3], (height, width), strict=True)]
    core().resize(
        _views(parts),
        channels=out.shape[3],
        rows=_addresses(kept[0], height),
        columns=_addresses(kept[1], width),
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


@implement("resize", "cuda")
def _(parts: Sequence[Tensor], height: int, width: int) -> Tensor:
    images = parts[0] if len(parts) == 1 else torch.cat(list(parts))
    batch, *sizes, channels = images.shape
    step, *strides = images.stride()
    kept = [_on_device(size, to, str(images.device)) for size, to in zip(sizes, (height, width), strict=True)]
    out = _output([images], height, width)
    done = cuda().resize(
        device=images.device.index,
        stream=stream_of(images.device),
        batch=batch,
        channels=channels,
        image=(images.data_ptr(), *sizes, *strides),
        batch_stride=step,
        rows=_addresses(kept[0], height),
        columns=_addresses(kept[1], width),
        out=out.data_ptr(),
    )
    return out if done else torch_op.resize(images, height, width)


@fake("resize")
def _(parts: Sequence[Tensor], height: int, width: int) -> Tensor:
    return _output(parts, height, width)


@functools.lru_cache(maxsize=64)
def _on_device(size: int, out: int, device: str) -> tuple[Tensor, Tensor, int] | None:
    """Starts, weights and shift of one direction; kept, so that a CUDA graph finds them at one address."""
    if size == out:
        return None
    table = taps(size, out)
    return torch.from_numpy(table.start).to(device), torch.from_numpy(table.weights).to(device), table.shift


def _addresses(kept: tuple[Tensor, Tensor, int] | None, out: int) -> tuple[int, int, int, int, int]:
    if kept is None:
        return 0, 0, 0, 0, out
    start, weights, shift = kept
    return start.data_ptr(), weights.data_ptr(), weights.shape[1], shift, out
