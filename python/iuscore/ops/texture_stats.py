"""What a texture model looks at, in one pass over the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from iuscore.ops._arguments import is_whole, shown
from iuscore.ops._backend import Backend, choose, public_op, traced
from iuscore.ops._constants import MAX_GLCM_PIXELS, MAX_LEVELS, MAX_OFFSETS, MIN_LEVELS
from iuscore.ops._groups import Group, Masks, image_groups, in_order
from iuscore.ops._images import Images, Layout
from iuscore.ops._memory import enough_memory
from iuscore.ops._native import texture_stats as _native
from iuscore.ops._pairs import FOUR_ANGLES, pair_offsets
from iuscore.ops._range import warn_of_range
from iuscore.ops._torch import texture_stats as _torch
from iuscore.ops.perceptual_maps import Kind, check_kind

PLANES: dict[Kind, tuple[str, ...]] = {
    "color": ("lightness", "red-green", "blue-yellow", "saturation", "hue", "coarse-fine"),
    "gray": ("lightness", "coarse-fine"),
}
"""Names of the planes in their order."""

STATISTICS = ("mean", "sd", "skewness", "kurtosis", "entropy", "p05", "median", "p95")
"""First-order statistics of a plane, in their order."""

PROPERTIES = _torch.PROPERTIES
"""Co-occurrence properties, in their order: the ten of scikit-image."""

ANGLES = ("0", "45", "90", "135")
"""Directions of the pairs in degrees, in their order."""


MAX_DISTANCES = MAX_OFFSETS // 4  # four directions each


class TextureStats(NamedTuple):
    """What `texture_stats` returns, on the images' device.

    Attributes:
        histograms: int32 [B, P, bins], counts of each plane's codes.
        statistics: float32 [B, P, 8], see `STATISTICS`; 0 where no pixel is counted.
        counted: int32 [B, P], pixels that are counted.
        cooccurrence: float32 [B, D, 4, 10], see `ANGLES` and `PROPERTIES`; 0 where there is no pair.
        blocks: float32 [B, 8, 8], mean lightness of each block of a grid over the image, in [0, 1].
    """

    histograms: Tensor
    statistics: Tensor
    counted: Tensor
    cooccurrence: Tensor
    blocks: Tensor


@public_op
def texture_stats(
    images: Images,
    *,
    kind: Kind = "color",
    bins: int = 32,
    levels: int = 32,
    distances: int | Sequence[int] = (1, 4),
    mask: Masks | None = None,
    layout: Layout | None = None,
    backend: Backend = "auto",
) -> TextureStats:
    """Histograms, first-order statistics, co-occurrence properties and block means of images.

    Every pixel becomes one 8-bit code per plane. Color planes: lightness, red-green and blue-yellow (CIELab L*, a*,
    b*), saturation and hue (HSV; red in the middle; only where there is a color), coarse-fine (Sobel magnitude of
    lightness). Gray planes: lightness (gray), coarse-fine. Ranges and formulas: docs/texture_stats.md.

    Args:
        images: [B, H, W, C] or [B, C, H, W], C = 1 or 3, or gray [B, H, W] or [H, W], uint8, uint16, float16, bfloat16
            or float32 (floating types nominally in [0, 1], clamped), any strides, torch (any device) or NumPy; or a
            list of images of any sizes. At most 2^30 pixels each.
        kind: "color" or "gray"; one channel counts as R = G = B in both.
        bins: of each histogram: a power of two, 2..256.
        levels: of the co-occurrence matrices of lightness, 2..256.
        distances: of the pairs in pixels, each at least 1, or one number; four directions each, symmetric.
        mask: bool or uint8 [B, H, W], or one per image of a list; nonzero = counted. Never counted are pixels that are
            not finite, or that a NumPy masked array masks in any channel.
        layout: "NHWC" or "NCHW"; needed only where the shape fits both.
        backend: "auto", "native" or "torch", as in `perceptual_maps`. The CUDA kernel keeps rows in shared memory;
            "auto" takes "torch" for images too wide for that.

    Returns:
        `TextureStats`. Statistics are of the codes: mean, sd and percentiles divided by 256 (a code c counts as
        (c + 1/2) / 256), skewness and excess kurtosis without unit and 0 where the sd is 0, entropy in bits.

    Raises:
        TypeError: another type or dtype. ValueError: another shape, an unknown option, or images that ask for a
            gradient: counts have none. RuntimeError: backend="native" where it cannot run.

    Warns:
        UserWarning: floats far out of 0..1 or uint16 that holds bytes, on the CPU.

    Source: Haralick, Shanmugam, Dinstein, "Textural features for image classification", IEEE SMC 1973, with the
        conventions of scikit-image; the selection of planes is this library's.

    Example:
        >>> import torch, iuscore
        >>> images = torch.randint(0, 256, (2, 96, 80, 3), dtype=torch.uint8)
        >>> stats = iuscore.ops.texture_stats(images)
        >>> stats.histograms.shape, stats.cooccurrence.shape
        (torch.Size([2, 6, 32]), torch.Size([2, 2, 4, 10]))
    """
    far = cast("Sequence[int]", (distances,) if is_whole(distances) else distances)
    offsets = _check(kind, bins, levels, far)
    bins, levels = int(bins), int(levels)
    if traced(images, mask):
        from iuscore.ops._traced import texture_stats as _traced

        return TextureStats(*_traced.texture_stats(images, mask, kind, bins, levels, far, layout, backend))
    groups = image_groups(images, mask, layout)
    for group in groups:
        if torch.is_grad_enabled() and group.images.requires_grad:
            raise ValueError("images: expected images without a gradient, as counts have none; pass images.detach()")
        _, height, width, _ = group.images.shape
        if height * width > MAX_GLCM_PIXELS:
            raise ValueError(f"images: expected at most 2^30 pixels each, got {height} x {width}")
    warn_of_range(group.images for group in groups)
    parts = [_run(group, kind == "color", bins, levels, offsets, backend) for group in groups]
    histograms, statistics, counted, features, blocks = (in_order(part, groups) for part in zip(*parts, strict=True))
    features = features.view(len(features), len(far), len(ANGLES), len(PROPERTIES))
    return TextureStats(histograms, statistics, counted, features, blocks)


@enough_memory("texture_stats", "pass fewer images at a time")
def _run(
    group: Group, color: bool, bins: int, levels: int, offsets: list[tuple[int, int]], backend: Backend
) -> _torch.Result:
    images, mask = group.images, group.mask
    flat = [number for offset in offsets for number in offset]
    choice = choose(
        "texture_stats",
        images.device,
        too_large=lambda: _native.too_large(images, mask, color, levels, flat),
        backend=backend,
    )
    if choice.implementation == "torch":
        return _torch.texture_stats(images, mask, color, bins, levels, offsets)
    return _native.texture_stats(images, mask, color, bins, levels, flat)


def _check(kind: str, bins: int, levels: int, distances: Sequence[int]) -> list[tuple[int, int]]:
    check_kind(kind)
    if not is_whole(bins) or bins not in (2, 4, 8, 16, 32, 64, 128, 256):
        raise ValueError(f"bins: expected a power of two from 2 to 256, got {shown(bins)}")
    if not is_whole(levels) or not MIN_LEVELS <= levels <= MAX_LEVELS:
        raise ValueError(f"levels: expected an integer from {MIN_LEVELS} to {MAX_LEVELS}, got {shown(levels)}")
    whole = isinstance(distances, Sequence | np.ndarray) and all(map(is_whole, distances))
    if not whole or not all(1 <= d <= 65535 for d in distances) or len(distances) > MAX_DISTANCES:
        raise ValueError(
            f"distances: expected at most {MAX_DISTANCES} integers, each from 1 to 65535, got {shown(distances)}"
        )
    return list(pair_offsets([int(d) for d in distances], FOUR_ANGLES, None)[0]) if len(distances) else []
