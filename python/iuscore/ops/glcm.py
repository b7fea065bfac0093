"""Gray-level co-occurrence matrices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from iuscore.ops._arguments import flag, is_float, is_real, low_and_high, one_of, shown
from iuscore.ops._backend import Backend, Choice, choose, public_op, traced
from iuscore.ops._constants import MAX_GLCM_PIXELS
from iuscore.ops._groups import Group, Masks, check_pixels, image_groups, in_order
from iuscore.ops._images import Images, Layout
from iuscore.ops._memory import enough_memory
from iuscore.ops._native import glcm as _native
from iuscore.ops._pairs import FOUR_ANGLES, Offset, pair_offsets
from iuscore.ops._quantize import MODES, Quantization, Quantize, ValueRange, check_levels, largest_counted, quantization
from iuscore.ops._range import warn_of_range
from iuscore.ops._torch import glcm as _torch


@public_op
def glcm(
    images: Images,
    *,
    levels: int,
    distances: float | Sequence[float] = (1,),
    angles: float | Sequence[float] = FOUR_ANGLES,
    offsets: Sequence[Offset] | None = None,
    symmetric: bool = False,
    normalize: bool = False,
    mask: Masks | None = None,
    quantize: Quantize = "range",
    range: ValueRange | None = None,
    width: float | None = None,
    layout: Layout | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Count how often two gray levels stand beside each other: P[i, j] = pairs with level i first and j second.

    A pair is a pixel (r, c) and the pixel (r + dr, c + dc); both must lie inside the image and be counted. Distances
    and angles give (dr, dc) = (round(sin(angle) distance), round(cos(angle) distance)), half away from zero, as
    scikit-image: rows count downwards, so pi/4 is down and to the right.

    Args:
        images: [B, H, W, C] or [B, C, H, W], C = 1 or 3, or gray [B, H, W] or [H, W], uint8, uint16, float16, bfloat16
            or float32 (floating types nominally in [0, 1]), any strides, torch (any device) or NumPy; or a list of
            images of any sizes. Three channels become gray, .299 R + .587 G + .114 B of the raw values, rounded to
            nearest for integers. At most 2^30 pixels each, and fewer with symmetric=True and
            offset (0, 0): counts are int32.
        levels: L, 2..256.
        distances: of the pairs, in pixels; one number is one distance. At most 4,096 distances times angles.
        angles: of the pairs, in radians; one number is one angle.
        offsets: integers [(dr, dc), ...] instead of distances and angles, at most 4,096.
        symmetric: add the transpose, so that every pair counts in both directions.
        normalize: divide each matrix by its sum; a matrix without pairs stays 0.
        mask: bool or uint8 [B, H, W], or one per image of a list; nonzero = counted. Never counted are pixels that are
            not finite, or that a NumPy masked array masks in any channel.
        quantize: how a value x becomes a level, in float64: clamp(floor(position), 0, L - 1). "range": position =
            L (x - low) / (high - low), low and high given by `range`. "minmax": the same with the smallest and largest
            counted value of the image (IBSI's fixed bin number); a constant image is all level 0. "width": (x - low) /
            width, low = the first of `range` or the smallest counted value (IBSI's fixed bin size). "levels": integers
            are levels already.
        range: (low, high) for "range"; by default (0, 256) for uint8, (0, 65536) for uint16, (0, 1) for floating
            types. (low, None) for "width".
        width: of a level, for "width".
        layout: "NHWC" or "NCHW"; needed only where the shape fits both.
        backend: "auto", "native" or "torch", as in `perceptual_maps`; all give equal counts.

    Returns:
        int32 [B, D, A, L, L], or [B, O, L, L] for offsets, on the images' device; with ``normalize`` float64 of the
        same shape, as scikit-image.

    Raises:
        TypeError: another type or dtype. ValueError: another shape, an option out of bounds, a value that is not below
            ``levels`` with quantize="levels", or images that ask for a gradient: counts have none. RuntimeError:
            backend="native" where it cannot run.

    Warns:
        UserWarning: with quantize="range" and no range, floats far out of 0..1 or uint16 that holds bytes, on the CPU.

    Source: Haralick, Shanmugam, Dinstein, "Textural features for image classification", IEEE SMC 1973; conventions of
        `skimage.feature.graycomatrix`.

    Example:
        >>> import torch, iuscore
        >>> image = torch.tensor([[0, 0, 1], [0, 2, 2]], dtype=torch.uint8)[None, None]
        >>> iuscore.ops.glcm(image, levels=3, quantize="levels", offsets=[(0, 1)], layout="NCHW")[0, 0]
        tensor([[1, 1, 1],
                [0, 0, 0],
                [0, 0, 1]], dtype=torch.int32)
    """
    symmetric, normalize = flag("symmetric", symmetric), flag("normalize", normalize)
    pairs, axes = pair_offsets(distances, angles, offsets)
    check_quantization(quantize, range, width)
    if traced(images, mask):
        from iuscore.ops._traced import glcm as _traced

        how = (quantize, levels, range, width)
        counts = _traced.glcm(images, mask, pairs, symmetric, how, layout, backend)
        counts = counts.view(counts.shape[0], *axes, *counts.shape[2:])
        return normalized(counts) if normalize else counts
    groups = checked_groups(images, mask, layout)
    for group in groups:
        check_counts_fit(group.images.shape[1], group.images.shape[2], pairs, symmetric)
    warn_of_groups(groups, quantize, range)
    options = [quantization_of_group(group, quantize, levels, range, width) for group in groups]
    choice = choose("glcm", groups[0].images.device, backend=backend)
    parts = [counts_of(group, by, pairs, symmetric, choice) for group, by in zip(groups, options, strict=True)]
    counts = in_order(parts, groups)
    counts = counts.view(counts.shape[0], *axes, *counts.shape[2:])
    return normalized(counts) if normalize else counts


def checked_groups(images: Images, mask: Masks | None, layout: Layout | None) -> list[Group]:
    """Groups of images without a gradient that are not too large to count."""
    groups = image_groups(images, mask, layout)
    for group in groups:
        if torch.is_grad_enabled() and group.images.requires_grad:
            raise ValueError("images: expected images without a gradient, as counts have none; pass images.detach()")
        check_pixels(group.images)
    return groups


def check_quantization(quantize: object, value_range: object, width: object) -> None:
    """TypeError or ValueError where these are no word and no numbers; what they may be, `quantization` knows."""
    one_of("quantize", quantize, MODES, f"one of {', '.join(MODES)}")
    low_and_high("range", value_range)
    if width is not None and not (is_real(width) and is_float(width)):
        raise TypeError(f"width: expected a number, got {shown(width)}")


def warn_of_groups(groups: Sequence[Group], quantize: str, value_range: object) -> None:
    """Where levels depend on the scale that the images' type stands for."""
    if quantize == "range" and value_range is None:
        advice = "; or say what they mean, with range=(low, high), or quantize='minmax'"
        warn_of_range((group.images for group in groups), advice)


def check_counts_fit(height: int, width: int, pairs: Sequence[Offset], symmetric: bool) -> None:
    """That no count of images of this size can be too large for int32.

    Only a pixel beside itself makes as many pairs as there are pixels, and the transpose doubles them.
    """
    if symmetric and (0, 0) in pairs and height * width >= MAX_GLCM_PIXELS:
        raise ValueError(
            "images: expected fewer than 2^30 pixels each with symmetric=True and offset (0, 0), got "
            f"{height} x {width}: a count could be 2^31, which int32 does not hold; pass symmetric=False"
        )


def quantization_of_group(
    group: Group, quantize: Quantize, levels: int, value_range: ValueRange | None, width: float | None
) -> Quantization:
    by = quantization(quantize, levels, value_range, width, group.images.dtype)
    if by.mode == "levels" and group.images.shape[3] != 1:
        raise ValueError("images: expected one channel with quantize='levels', got 3")
    return by


@enough_memory("glcm", "pass fewer images, levels or offsets at a time")
def counts_of(group: Group, by: Quantization, pairs: Sequence[Offset], symmetric: bool, choice: Choice) -> Tensor:
    """int32 [B, O, L, L]."""
    check_group_levels(group, by, choice)
    run = _torch.glcm if choice.implementation == "torch" else _native.run
    return run(group.images, group.mask, by, pairs, symmetric)


def check_group_levels(group: Group, by: Quantization, choice: Choice) -> None:
    """That integers which are levels already are small enough; the CPU kernels see for themselves in passing."""
    if by.mode == "levels" and choice.implementation != "cpu":
        check_levels(largest_counted(group.images, group.mask), by.levels)


def normalized(counts: Tensor) -> Tensor:
    """Counts [..., L, L] divided by their sum, float64; 0 where there is none."""
    total = counts.sum((-1, -2), dtype=torch.int64, keepdim=True)
    return counts / total.clamp(min=1).double()
