"""
CUDA kernels of iuscore.
"""

from __future__ import annotations

import collections.abc
import typing

import numpy
import numpy.typing

__all__: list[str] = [
    "LIMITS",
    "OPS",
    "additive_cnn_first",
    "additive_cnn_heads",
    "additive_cnn_heads_workspace",
    "additive_cnn_pool",
    "additive_cnn_rectify",
    "additive_lookup",
    "additive_mlp",
    "additive_mlp_backward",
    "additive_mlp_workspace",
    "build_info",
    "color_histogram",
    "glcm",
    "glcm_features",
    "glcm_features_workspace",
    "glcm_matrix_features",
    "image_views",
    "perceptual_maps",
    "perceptual_maps_workspace",
    "resize",
    "resize_fits",
    "status",
    "texture_stats",
    "texture_stats_workspace",
]

def additive_cnn_first(
    *,
    device: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
    maps: tuple[
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
    ],
    channels: typing.SupportsInt | typing.SupportsIndex,
    kernels: typing.SupportsInt | typing.SupportsIndex,
    bias: typing.SupportsInt | typing.SupportsIndex,
    out: typing.SupportsInt | typing.SupportsIndex,
    nonfinite: typing.SupportsInt | typing.SupportsIndex,
) -> None:
    """
    Queues the first convolution of all networks, with bias and ReLU.
    """

def additive_cnn_heads(
    *,
    device: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
    features: tuple[
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
    ],
    units: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    weights: typing.SupportsInt | typing.SupportsIndex,
    rest: tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex],
    nonfinite: typing.SupportsInt | typing.SupportsIndex,
    sums: typing.SupportsInt | typing.SupportsIndex,
    evidence: typing.SupportsInt | typing.SupportsIndex,
) -> None:
    """
    Queues the linear layers of all networks.
    """

def additive_cnn_heads_workspace(
    *,
    groups: typing.SupportsInt | typing.SupportsIndex,
    batch: typing.SupportsInt | typing.SupportsIndex,
    terms: typing.SupportsInt | typing.SupportsIndex,
    units: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
) -> int:
    """
    Floats of `sums`.
    """

def additive_cnn_pool(
    *,
    device: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
    values: tuple[
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
    ],
    used: typing.SupportsInt | typing.SupportsIndex,
    bias: typing.SupportsInt | typing.SupportsIndex,
    mean: typing.SupportsInt | typing.SupportsIndex,
    variance: typing.SupportsInt | typing.SupportsIndex,
    weight: typing.SupportsInt | typing.SupportsIndex,
    shift: typing.SupportsInt | typing.SupportsIndex,
    eps: typing.SupportsFloat | typing.SupportsIndex,
    out: typing.SupportsInt | typing.SupportsIndex,
    nonfinite: typing.SupportsInt | typing.SupportsIndex,
) -> None:
    """
    Queues bias, ReLU, 2x2 max pooling and batch norm.
    """

def additive_cnn_rectify(
    *,
    device: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
    values: tuple[
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
    ],
    used: typing.SupportsInt | typing.SupportsIndex,
    bias: typing.SupportsInt | typing.SupportsIndex,
    nonfinite: typing.SupportsInt | typing.SupportsIndex,
) -> None:
    """
    Queues bias and ReLU, in place.
    """

def additive_lookup(
    *,
    device: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
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
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> None:
    """
    Queues the kernel that writes [rows, G, C] contributions and [rows, C] totals.
    """

def additive_mlp(
    *,
    device: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
    x: tuple[
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
    ],
    first_input: typing.Annotated[numpy.typing.ArrayLike, numpy.int32],
    first_input_device: typing.SupportsInt | typing.SupportsIndex,
    sizes: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(3)"],
    weights: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(6)"],
    contributions: typing.SupportsInt | typing.SupportsIndex,
    total: typing.SupportsInt | typing.SupportsIndex,
    workspace: typing.SupportsInt | typing.SupportsIndex = 0,
    workspace_bytes: typing.SupportsInt | typing.SupportsIndex = 0,
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> None:
    """
    Queues the kernels that write [rows, G, C] contributions and [rows, C] totals.
    """

def additive_mlp_backward(
    *,
    device: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
    x: tuple[
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
    ],
    first_input: typing.Annotated[numpy.typing.ArrayLike, numpy.int32],
    first_input_device: typing.SupportsInt | typing.SupportsIndex,
    sizes: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(3)"],
    weights: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(6)"],
    incoming: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(2)"],
    gradient_x: typing.SupportsInt | typing.SupportsIndex,
    gradients: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(6)"],
    workspace: typing.SupportsInt | typing.SupportsIndex = 0,
    workspace_bytes: typing.SupportsInt | typing.SupportsIndex = 0,
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> None:
    """
    Queues the kernels that write the gradients of x and of the six weights.
    """

def additive_mlp_workspace(
    *,
    device: typing.SupportsInt | typing.SupportsIndex,
    rows: typing.SupportsInt | typing.SupportsIndex,
    first_input: typing.Annotated[numpy.typing.ArrayLike, numpy.int32],
    sizes: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(3)"],
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> tuple[typing.Any, ...]:
    """
    Bytes of device memory that the forward pass and the backward pass need besides their arguments.
    """

def build_info() -> dict[str, typing.Any]:
    """
    Commit, nvcc and architectures of this build.
    """

def color_histogram(
    *,
    device: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
    batch: typing.SupportsInt | typing.SupportsIndex,
    channels: typing.SupportsInt | typing.SupportsIndex,
    pixel_type: str,
    image: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(6)"],
    batch_stride: typing.SupportsInt | typing.SupportsIndex,
    mask: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(3)"],
    mask_batch_stride: typing.SupportsInt | typing.SupportsIndex,
    space: str,
    joint: bool,
    bins: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    axes: collections.abc.Sequence[
        tuple[typing.SupportsFloat | typing.SupportsIndex, typing.SupportsFloat | typing.SupportsIndex, bool]
    ],
    edges: typing.SupportsInt | typing.SupportsIndex,
    counts: typing.SupportsInt | typing.SupportsIndex,
    out_of_range: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> None:
    """
    Queues the kernel that writes int32 counts [B, bins] and out_of_range [B, C, 3] to device memory.
    """

def glcm(
    *,
    device: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
    batch: typing.SupportsInt | typing.SupportsIndex,
    image: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(6)"],
    batch_stride: typing.SupportsInt | typing.SupportsIndex,
    mask: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(3)"],
    mask_batch_stride: typing.SupportsInt | typing.SupportsIndex,
    channels: typing.SupportsInt | typing.SupportsIndex,
    pixel_type: str,
    mode: str,
    levels: typing.SupportsInt | typing.SupportsIndex,
    low: typing.SupportsFloat | typing.SupportsIndex,
    divisor: typing.SupportsFloat | typing.SupportsIndex,
    offsets: typing.Annotated[numpy.typing.ArrayLike, numpy.int32],
    symmetric: bool,
    counts: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> None:
    """
    Queues the kernel that writes [B, O, levels, levels] int32 counts to device memory.
    """

def glcm_features(
    *,
    device: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
    batch: typing.SupportsInt | typing.SupportsIndex,
    image: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(6)"],
    batch_stride: typing.SupportsInt | typing.SupportsIndex,
    mask: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(3)"],
    mask_batch_stride: typing.SupportsInt | typing.SupportsIndex,
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
    workspace: typing.SupportsInt | typing.SupportsIndex,
    workspace_bytes: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> None:
    """
    Queues the kernels that write [B, O, F] features, float64 where wide, else float32, to device memory.
    """

def glcm_features_workspace(
    *,
    batch: typing.SupportsInt | typing.SupportsIndex,
    height: typing.SupportsInt | typing.SupportsIndex,
    width: typing.SupportsInt | typing.SupportsIndex,
    offsets: typing.SupportsInt | typing.SupportsIndex,
    levels: typing.SupportsInt | typing.SupportsIndex,
) -> int:
    """
    Bytes of device memory the kernels need; height = width = 0 for matrices.
    """

def glcm_matrix_features(
    *,
    device: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
    counts: typing.SupportsInt | typing.SupportsIndex,
    batch: typing.SupportsInt | typing.SupportsIndex,
    offsets: typing.SupportsInt | typing.SupportsIndex,
    levels: typing.SupportsInt | typing.SupportsIndex,
    symmetric: bool,
    features: typing.Annotated[numpy.typing.ArrayLike, numpy.int32],
    wide: bool,
    values: typing.SupportsInt | typing.SupportsIndex,
    workspace: typing.SupportsInt | typing.SupportsIndex,
    workspace_bytes: typing.SupportsInt | typing.SupportsIndex,
) -> None:
    """
    The same of int32 counts [B, O, levels, levels] whose sums are known to be small enough.
    """

def image_views(
    *,
    device: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
    batch: typing.SupportsInt | typing.SupportsIndex,
    channels: typing.SupportsInt | typing.SupportsIndex,
    image: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(6)"],
    batch_stride: typing.SupportsInt | typing.SupportsIndex,
    color: bool,
    weights: typing.SupportsInt | typing.SupportsIndex,
    bias: typing.SupportsInt | typing.SupportsIndex,
    thumb: typing.SupportsInt | typing.SupportsIndex,
    patch: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> None:
    """
    Queues the kernel that writes [B, 64 C] thumbnails and [B, 512] patch responses.
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

def resize(
    *,
    device: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
    batch: typing.SupportsInt | typing.SupportsIndex,
    channels: typing.SupportsInt | typing.SupportsIndex,
    image: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(6)"],
    batch_stride: typing.SupportsInt | typing.SupportsIndex,
    columns: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(5)"],
    rows: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(5)"],
    out: typing.SupportsInt | typing.SupportsIndex,
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> None:
    """
    Queues the kernel that writes bytes [B, rows, columns, C].
    """

def resize_fits(
    *,
    device: typing.SupportsInt | typing.SupportsIndex,
    channels: typing.SupportsInt | typing.SupportsIndex,
    height: typing.SupportsInt | typing.SupportsIndex,
    width: typing.SupportsInt | typing.SupportsIndex,
    row_taps: typing.SupportsInt | typing.SupportsIndex,
) -> bool:
    """
    Whether the input rows that one output row of this width is made of fit a block's shared memory.
    """

def status() -> dict[str, typing.Any]:
    """
    CUDA runtime and driver version (0 without a driver), number of devices, and CUDA's error or None.
    """

def texture_stats(
    *,
    device: typing.SupportsInt | typing.SupportsIndex,
    stream: typing.SupportsInt | typing.SupportsIndex,
    image: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(6)"],
    batch_stride: typing.SupportsInt | typing.SupportsIndex,
    mask: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(3)"],
    mask_batch_stride: typing.SupportsInt | typing.SupportsIndex,
    batch: typing.SupportsInt | typing.SupportsIndex,
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
    workspace: typing.SupportsInt | typing.SupportsIndex = 0,
    workspace_bytes: typing.SupportsInt | typing.SupportsIndex = 0,
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> None:
    """
    Queues the kernel that writes what _core.texture_stats writes to device memory.
    """

def texture_stats_workspace(
    *,
    device: typing.SupportsInt | typing.SupportsIndex,
    image: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(6)"],
    mask: typing.Annotated[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], "FixedSize(3)"],
    batch: typing.SupportsInt | typing.SupportsIndex,
    pixel_type: str,
    color: bool,
    levels: typing.SupportsInt | typing.SupportsIndex,
    offsets: collections.abc.Sequence[
        tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]
    ],
    threads: typing.SupportsInt | typing.SupportsIndex = 0,
) -> int:
    """
    Bytes of device memory the kernel needs besides its arguments; -1 where it cannot run on these sizes.
    """

LIMITS: dict[str, typing.Any]
OPS: tuple[typing.Any, ...]
