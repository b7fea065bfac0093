"""
CPU kernels of iuscore.
"""

from __future__ import annotations

import collections.abc
import typing

import numpy
import numpy.typing

__all__: list[str] = [
    "LIMITS",
    "OPS",
    "additive_cnn",
    "additive_lookup",
    "additive_mlp",
    "additive_mlp_backward",
    "build_info",
    "color_histogram",
    "glcm",
    "glcm_features",
    "glcm_matrix_features",
    "guessed_axis",
    "image_views",
    "perceptual_maps",
    "resample_table",
    "resize",
    "texture_stats",
]

def additive_cnn(
    *,
    maps: tuple[
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
    ],
    channels: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    pooled: collections.abc.Sequence[bool],
    quantized: collections.abc.Sequence[bool],
    units: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    buffers: collections.abc.Sequence[
        tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]
    ],
    evidence: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
) -> None:
    """
    Writes [B, G, K] evidence.
    """

def additive_lookup(
    *,
    x: tuple[
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
    ],
    knots: typing.SupportsInt | typing.SupportsIndex,
    outputs: typing.SupportsInt | typing.SupportsIndex,
    tables: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(3)"],
    contributions: typing.SupportsInt | typing.SupportsIndex,
    total: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
) -> None:
    """
    Writes [rows, G, C] contributions and [rows, C] totals.
    """

def additive_mlp(
    *,
    x: tuple[
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
    ],
    first_input: typing.Annotated[numpy.typing.ArrayLike, numpy.int32],
    sizes: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(3)"],
    weights: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(6)"],
    contributions: typing.SupportsInt | typing.SupportsIndex,
    total: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
) -> None:
    """
    Writes [rows, G, C] contributions and [rows, C] totals.
    """

def additive_mlp_backward(
    *,
    x: tuple[
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
    ],
    first_input: typing.Annotated[numpy.typing.ArrayLike, numpy.int32],
    sizes: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(3)"],
    weights: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(6)"],
    incoming: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(2)"],
    gradient_x: typing.SupportsInt | typing.SupportsIndex,
    gradients: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(6)"],
    threads: typing.SupportsInt | typing.SupportsIndex,
) -> None:
    """
    Writes the gradients of x and of the six weights.
    """

def build_info() -> dict[str, typing.Any]:
    """
    Version, commit, compiler and CUDA status of this build; instruction set in use, and what it can do.
    """

def color_histogram(
    views: typing.Annotated[numpy.typing.ArrayLike, numpy.int64],
    masks: typing.Annotated[numpy.typing.ArrayLike, numpy.int64],
    *,
    channels: typing.SupportsInt | typing.SupportsIndex,
    pixel_type: str,
    space: str,
    joint: bool,
    edges: collections.abc.Sequence[typing.Annotated[numpy.typing.ArrayLike, numpy.float32]],
    counts: typing.SupportsInt | typing.SupportsIndex,
    out_of_range: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
) -> None:
    """
    Writes int32 counts [B, bins] and out_of_range [B, C, 3] to the addresses `counts` and `out_of_range`.
    """

def glcm(
    views: typing.Annotated[numpy.typing.ArrayLike, numpy.int64],
    masks: typing.Annotated[numpy.typing.ArrayLike, numpy.int64],
    *,
    channels: typing.SupportsInt | typing.SupportsIndex,
    pixel_type: str,
    mode: str,
    levels: typing.SupportsInt | typing.SupportsIndex,
    low: typing.SupportsFloat | typing.SupportsIndex,
    divisor: typing.SupportsFloat | typing.SupportsIndex,
    offsets: typing.Annotated[numpy.typing.ArrayLike, numpy.int32],
    symmetric: bool,
    counts: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
) -> int:
    """
    Writes [B, O, levels, levels] int32 counts to the address `counts`.
    low and divisor (of core/quantize.h) are NaN where they come from each image.
    Returns the largest counted value (mode levels), else 0.
    """

def glcm_features(
    views: typing.Annotated[numpy.typing.ArrayLike, numpy.int64],
    masks: typing.Annotated[numpy.typing.ArrayLike, numpy.int64],
    *,
    channels: typing.SupportsInt | typing.SupportsIndex,
    pixel_type: str,
    mode: str,
    levels: typing.SupportsInt | typing.SupportsIndex,
    low: typing.SupportsFloat | typing.SupportsIndex,
    divisor: typing.SupportsFloat | typing.SupportsIndex,
    offsets: typing.Annotated[numpy.typing.ArrayLike, numpy.int32],
    symmetric: bool,
    features: typing.Annotated[numpy.typing.ArrayLike, numpy.int32],
    wide: bool,
    values: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
) -> int:
    """
    Writes [B, O, F] features, float64 where wide, else float32, to the address `values`.
    Returns the largest counted value (mode levels), else 0.
    """

def glcm_matrix_features(
    *,
    counts: typing.SupportsInt | typing.SupportsIndex,
    batch: typing.SupportsInt | typing.SupportsIndex,
    offsets: typing.SupportsInt | typing.SupportsIndex,
    levels: typing.SupportsInt | typing.SupportsIndex,
    symmetric: bool,
    features: typing.Annotated[numpy.typing.ArrayLike, numpy.int32],
    wide: bool,
    values: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
) -> None:
    """
    The same of int32 counts [B, O, levels, levels] at the address `counts`.
    """

def guessed_axis(edges: typing.Annotated[numpy.typing.ArrayLike, numpy.float32]) -> tuple[typing.Any, ...]:
    """
    (low, scale, close) by which kernels guess a bin: csrc/core/histogram.h.
    """

def image_views(
    views: typing.Annotated[numpy.typing.ArrayLike, numpy.int64],
    *,
    channels: typing.SupportsInt | typing.SupportsIndex,
    color: bool,
    weights: typing.SupportsInt | typing.SupportsIndex,
    bias: typing.SupportsInt | typing.SupportsIndex,
    thumb: typing.SupportsInt | typing.SupportsIndex,
    patch: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
) -> None:
    """
    Writes [B, 64 C] thumbnails and [B, 512] patch responses.
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

def resize(
    views: typing.Annotated[numpy.typing.ArrayLike, numpy.int64],
    *,
    channels: typing.SupportsInt | typing.SupportsIndex,
    columns: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(5)"],
    rows: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(5)"],
    out: typing.Annotated[numpy.typing.ArrayLike, numpy.int64],
    threads: typing.SupportsInt | typing.SupportsIndex,
) -> None:
    """
    Writes bytes [rows, columns, C] to the address given for each image.
    """

def texture_stats(
    views: typing.Annotated[numpy.typing.ArrayLike, numpy.int64],
    masks: typing.Annotated[numpy.typing.ArrayLike, numpy.int64],
    *,
    channels: typing.SupportsInt | typing.SupportsIndex,
    pixel_type: str,
    color: bool,
    bins: typing.SupportsInt | typing.SupportsIndex,
    levels: typing.SupportsInt | typing.SupportsIndex,
    offsets: collections.abc.Sequence[
        tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]
    ],
    histograms: typing.SupportsInt | typing.SupportsIndex,
    statistics: typing.SupportsInt | typing.SupportsIndex,
    counted: typing.SupportsInt | typing.SupportsIndex,
    properties: typing.SupportsInt | typing.SupportsIndex,
    blocks: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex,
) -> None:
    """
    Writes what csrc/ops/texture_stats.h says to the addresses given.
    """

LIMITS: dict[str, typing.Any]
OPS: tuple[typing.Any, ...]
