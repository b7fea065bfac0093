"""
CUDA kernels of iuscore.
"""

from __future__ import annotations

import collections.abc
import typing

__all__: list[str] = ["build_info", "perceptual_maps", "perceptual_maps_workspace", "status"]

def build_info() -> dict[str, typing.Any]:
    """
    Commit, nvcc and architectures of this build.
    """

def perceptual_maps(
    *,
    device: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
    batch: typing.SupportsInt | typing.SupportsIndex,
    channels: typing.SupportsInt | typing.SupportsIndex,
    pixel_type: str,
    color: bool,
    clean: bool,
    height: typing.SupportsInt | typing.SupportsIndex,
    width: typing.SupportsInt | typing.SupportsIndex,
    maps: typing.SupportsInt | typing.SupportsIndex,
    map_type: str,
    ranges: typing.SupportsInt | typing.SupportsIndex,
    starts: typing.SupportsInt | typing.SupportsIndex,
    weights: typing.SupportsInt | typing.SupportsIndex,
    image: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(6)"] = [
        0,
        0,
        0,
        0,
        0,
        0,
    ],
    batch_stride: typing.SupportsInt | typing.SupportsIndex = 0,
    taps: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(6)"] = [
        0,
        0,
        0,
        0,
        0,
        0,
    ],
    views: typing.SupportsInt | typing.SupportsIndex = 0,
    view_taps: typing.SupportsInt | typing.SupportsIndex = 0,
    strip_width: typing.SupportsInt | typing.SupportsIndex = 0,
    workspace: typing.SupportsInt | typing.SupportsIndex = 0,
    workspace_bytes: typing.SupportsInt | typing.SupportsIndex = 0,
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> None:
    """
    Queues the kernel that writes [B, 4, height, width] maps and [B, 4] float32 ranges to device memory.
    """

def perceptual_maps_workspace(
    *,
    device: typing.SupportsInt | typing.SupportsIndex,
    batch: typing.SupportsInt | typing.SupportsIndex,
    channels: typing.SupportsInt | typing.SupportsIndex,
    color: bool,
    clean: bool,
    height: typing.SupportsInt | typing.SupportsIndex,
    width: typing.SupportsInt | typing.SupportsIndex,
    strip_width: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> int:
    """
    Bytes of device memory the kernel needs besides its arguments; 0 where shared memory is enough.
    """

def status() -> dict[str, typing.Any]:
    """
    CUDA runtime and driver version (0 without a driver), number of devices, and CUDA's error or None.
    """
