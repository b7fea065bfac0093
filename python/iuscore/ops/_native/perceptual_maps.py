"""The op `perceptual_maps` over the compiled kernels."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from iuscore.ops._native.calls import core, cuda, dtype_name, stream_of, view_table
from iuscore.ops._native.library import define, fake, implement
from iuscore.ops._on_device import on_device, to_device


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
        _run_cuda(images, color, clean, maps, ranges)
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
    _run_cuda_ragged(images, color, clean, maps, ranges)
    return maps, ranges


# ---- On a GPU: resampling tables, workspace and stream

Offsets = tuple[int, int, int, int, int, int]


@functools.lru_cache(maxsize=256)
def _host_tables(in_size: int, out_size: int, antialias: bool) -> tuple[Tensor, Tensor]:
    """(starts int32 [out], weights float32 [taps, out]) from the code of the CPU kernel, so that bits are equal."""
    starts, weights = core().resample_table(in_size, out_size, antialias)
    return torch.from_numpy(starts), torch.from_numpy(weights)


def _packed(
    sizes: Sequence[tuple[int, int]], height: int, width: int, clean: bool
) -> tuple[Tensor, Tensor, list[Offsets]]:
    """Tables of several image sizes, one after another, and the offsets of each size."""
    starts: list[Tensor] = []
    weights: list[Tensor] = []
    offsets = []
    at_start = at_weight = 0
    for size in sizes:
        entry: list[int] = []
        for in_size, out_size in zip(size, (height, width), strict=True):
            s, w = _host_tables(in_size, out_size, clean)
            entry += [at_start, at_weight, len(w)]
            starts.append(s)
            weights.append(w.flatten())
            at_start += s.numel()
            at_weight += w.numel()
        offsets.append((entry[0], entry[1], entry[2], entry[3], entry[4], entry[5]))
    return torch.cat(starts), torch.cat(weights), offsets


@functools.lru_cache(maxsize=256)
def _of_size(size: tuple[int, int], height: int, width: int, clean: bool) -> tuple[tuple[Tensor, Tensor], Offsets]:
    starts, weights, offsets = _packed([size], height, width, clean)
    return (starts, weights), offsets[0]


def _common(images: Tensor, color: bool, clean: bool, maps: Tensor, ranges: Tensor) -> dict[str, Any]:
    return {
        "device": maps.device.index,
        "stream": stream_of(maps.device),
        "batch": len(maps),
        "channels": images.shape[-1],
        "pixel_type": dtype_name(images.dtype),
        "color": color,
        "clean": clean,
        "height": maps.shape[2],
        "width": maps.shape[3],
        "maps": maps.data_ptr(),
        "map_type": dtype_name(maps.dtype),
        "ranges": ranges.data_ptr(),
    }


def _launch(common: dict[str, Any], like: Tensor, workspace_width: int, **arguments: Any) -> None:
    sizes = {key: common[key] for key in ("device", "batch", "channels", "color", "clean", "height", "width")}
    needed = cuda().perceptual_maps_workspace(**sizes, strip_width=workspace_width)
    workspace = like.new_empty(max(needed, 1), dtype=torch.uint8)
    cuda().perceptual_maps(**common, **arguments, workspace=workspace.data_ptr(), workspace_bytes=needed)


def _run_cuda(images: Tensor, color: bool, clean: bool, maps: Tensor, ranges: Tensor) -> None:
    """Images [B, H, W, C] of one size."""
    _, h, w, _ = images.shape
    height, width = maps.shape[2:]
    resized = (h, w) != (height, width)
    tables, offsets = _of_size((h, w), height, width, clean)
    starts, weights = on_device(("resampling", h, w, height, width, clean), images.device, lambda: tables)
    step, *strides = images.stride()
    _launch(
        _common(images, color, clean, maps, ranges),
        images,
        w if resized else 0,
        starts=starts.data_ptr(),
        weights=weights.data_ptr(),
        image=(images.data_ptr(), h, w, *strides),
        batch_stride=step,
        taps=offsets,
    )


def _run_cuda_ragged(images: Sequence[Tensor], color: bool, clean: bool, maps: Tensor, ranges: Tensor) -> None:
    """Images [H, W, C] of different sizes, one dtype and one C."""
    height, width = maps.shape[2:]
    device = maps.device
    sizes = [(image.shape[0], image.shape[1]) for image in images]
    unique = list(dict.fromkeys(sizes))
    starts, weights, offsets = _packed(unique, height, width, clean)
    of_size = dict(zip(unique, offsets, strict=True))
    views = np.array([(i.data_ptr(), i.shape[0], i.shape[1], *i.stride()) for i in images], np.int64)
    taps = np.array([of_size[size] for size in sizes], np.int64)
    tables = [to_device(t, device) for t in (starts, weights, torch.from_numpy(views), torch.from_numpy(taps))]
    strip_width = max((w for h, w in sizes if (h, w) != (height, width)), default=0)
    _launch(
        _common(images[0], color, clean, maps, ranges),
        images[0],
        strip_width,
        starts=tables[0].data_ptr(),
        weights=tables[1].data_ptr(),
        views=tables[2].data_ptr(),
        view_taps=tables[3].data_ptr(),
        strip_width=strip_width,
    )
