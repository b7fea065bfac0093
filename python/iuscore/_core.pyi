"""
CPU kernels of iuscore.
"""

from __future__ import annotations

import typing

import numpy
import numpy.typing

__all__: list[str] = ["build_info", "perceptual_maps", "resample_table"]

def build_info() -> dict[str, typing.Any]:
    """
    Version, commit, compiler, CUDA status and CPU zone of this build.
    """

def perceptual_maps(
    views: typing.Annotated[numpy.typing.ArrayLike, numpy.int64],
    *,
    channels: typing.SupportsInt | typing.SupportsIndex,
    pixel_type: str,
    color: bool,
    clean: bool,
    height: typing.SupportsInt | typing.SupportsIndex,
    width: typing.SupportsInt | typing.SupportsIndex,
    maps: typing.SupportsInt | typing.SupportsIndex,
    map_type: str,
    ranges: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
) -> None:
    """
    Writes [B, 4, height, width] maps and [B, 4] float32 ranges to the addresses `maps` and `ranges`.
    """

def resample_table(
    in_size: typing.SupportsInt | typing.SupportsIndex,
    out_size: typing.SupportsInt | typing.SupportsIndex,
    antialias: bool,
) -> tuple[typing.Any, ...]:
    """
    (start int32 [out], weight float32 [taps, out]) of one direction of the bicubic resize.
    """
