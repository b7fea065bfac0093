"""Color histograms of images: per channel or joint, exact counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from iuscore.ops._arguments import flag, is_real, is_whole, one_of, shown
from iuscore.ops._backend import Backend, choose, public_op, traced
from iuscore.ops._constants import MAX_BINS, MAX_JOINT_BINS
from iuscore.ops._groups import Group, Masks, image_groups, in_order
from iuscore.ops._images import Images, Layout
from iuscore.ops._memory import enough_memory
from iuscore.ops._native import color_histogram as _native
from iuscore.ops._range import warn_of_range
from iuscore.ops._torch import color_histogram as _torch

Space: TypeAlias = Literal["rgb", "hsv", "lab", "gray"]
Range: TypeAlias = tuple[float, float]

CHANNELS: dict[Space, tuple[str, ...]] = {
    "rgb": ("red", "green", "blue"),
    "hsv": ("hue", "saturation", "value"),
    "lab": ("lightness", "red-green", "blue-yellow"),
    "gray": ("gray",),
}
"""Names of a color space's channels in their order."""

_RANGES: dict[str, tuple[Range, ...]] = {
    "hsv": ((0.0, 1.0),) * 3,
    "lab": ((0.0, 100.0), (-110.0, 110.0), (-110.0, 110.0)),
}
_STORED_SPACES = ("rgb", "gray")  # count what is stored; the others need the scale of 0 to 1
_SAY_RANGE = "; or say what they mean, with range=(low, high)"
_STORED = {torch.uint8: (0.0, 256.0), torch.uint16: (0.0, 65536.0)}


class ColorHistogram(NamedTuple):
    """What `color_histogram` returns, on the images' device. Counts are int32.

    Attributes:
        counts: [B, C, bins]; with different bins per channel [B, sum of bins], one channel after another; joint:
            [B, bins of channel 0, of channel 1, of channel 2]. With ``normalize`` float32 shares of what lies in the
            bins.
        below: [B, C], joint [B]: values below the range.
        above: [B, C], joint [B]: values above the range.
        nan: [B, C], joint [B]: values that are not a number; in hsv and lab, pixels with a channel that is not finite.
    """

    counts: Tensor
    below: Tensor
    above: Tensor
    nan: Tensor


@public_op
def color_histogram(
    images: Images,
    *,
    bins: int | Sequence[int] = 64,
    space: Space = "rgb",
    range: Range | Sequence[Range] | None = None,
    mask: Masks | None = None,
    joint: bool = False,
    normalize: bool = False,
    layout: Layout | None = None,
    backend: Backend = "auto",
) -> ColorHistogram:
    """Count the pixels of images by color, each channel for itself or all three together.

    A value v falls into bin i where edge[i] <= v < edge[i + 1], the last bin closed; the edges are
    ``numpy.linspace(low, high, bins + 1)``. This is `numpy.histogram` of the values as float64. Counts are exact and
    the same on every device.

    Args:
        images: [B, H, W, C] or [B, C, H, W], C = 1 or 3, or gray [B, H, W] or [H, W], uint8, uint16, float16, bfloat16
            or float32, any strides, torch (any device) or NumPy; or a list of images [H, W, C], [C, H, W] or [H, W] of
            any sizes. One channel counts as R = G = B: "rgb" of it gives three equal histograms.
        bins: bins of every channel, or one number per channel: 1 to 1024, joint 1 to 32.
        space: "rgb": values as they are stored. "gray": .299 R + .587 G + .114 B of these, of integers rounded to the
            nearest; one channel as it is. "hsv" and "lab" (CIELab, D65): from values on the scale of 0 to 1, clamped
            to it.
        range: (low, high) of every channel, or one pair per channel, in the values' own unit. By default rgb and gray
            have (0, 256) for uint8, (0, 65536) for uint16 and (0, 1) for floating types; hsv has (0, 1); lab has
            (0, 100) for L* and (-110, 110) for a* and b*.
        mask: bool or uint8 [B, H, W], or one [H, W] per image of a list; only pixels where it is not 0 are counted. A
            pixel that a NumPy masked array masks in any channel is not counted either.
        joint: one histogram over the three channels. A pixel is in it if all its channels are in range; else it
            counts as nan if any channel is, else as above if any channel is, else as below.
        normalize: shares instead of counts: each histogram sums to 1, or is 0 where nothing was counted.
        layout: "NHWC" or "NCHW"; needed only where the shape fits both.
        backend: "auto", "native" or "torch", as in `perceptual_maps`.

    Returns:
        `ColorHistogram`: counts, and what lies outside the bins. Without a mask, counts + below + above + nan of a
        channel sum to H x W.

    Raises:
        TypeError: another type or dtype. ValueError: another shape, an option out of its range, or images that ask
            for a gradient: counts have none. RuntimeError: backend="native" where it cannot run.

    Warns:
        UserWarning: floats far out of 0..1 or uint16 that holds bytes, on the CPU, where no range says what they mean.

    Source: the edge rule is `numpy.histogram`'s; the color spaces are those of scikit-image.

    Example:
        >>> import torch, iuscore
        >>> images = torch.randint(0, 256, (2, 96, 80, 3), dtype=torch.uint8)
        >>> h = iuscore.ops.color_histogram(images, bins=32)
        >>> h.counts.shape, h.counts.sum(2).tolist()
        (torch.Size([2, 3, 32]), [[7680, 7680, 7680], [7680, 7680, 7680]])
    """
    one_of("space", space, CHANNELS, "'rgb', 'hsv', 'lab' or 'gray'")
    joint, normalize = flag("joint", joint), flag("normalize", normalize)
    if joint and space == "gray":
        raise ValueError("joint: expected a space of three channels, got 'gray'; pass joint=False")
    channels = len(CHANNELS[space])
    n = _bins(bins, channels, joint)
    given = None if range is None else _ranges(range, channels)
    if traced(images, mask):
        from iuscore.ops._traced import color_histogram as _traced

        return ColorHistogram(
            *_traced.color_histogram(images, mask, n, space, given, joint, normalize, layout, backend)
        )
    groups = image_groups(images, mask, layout)
    if torch.is_grad_enabled() and any(group.images.requires_grad for group in groups):
        raise ValueError("images: expected images without a gradient, as counts have none; pass images.detach()")
    if given is None:
        warn_of_range((group.images for group in groups), _SAY_RANGE if space in _STORED_SPACES else "")
    elif space not in _STORED_SPACES:
        warn_of_range(group.images for group in groups)
    choice = choose("color_histogram", groups[0].images.device, backend=backend)
    parts = [
        _run(group, choice.implementation != "torch", space, joint, n, given or _default(space, group.images.dtype))
        for group in groups
    ]
    counts, out_of_range = (in_order(part, groups) for part in zip(*parts, strict=True))
    if joint:
        return _result(counts.view(-1, *n), out_of_range[:, 0], (1, 2, 3), normalize)
    if len(set(n)) == 1:
        return _result(counts.view(-1, channels, n[0]), out_of_range, (2,), normalize)
    if normalize:
        shares = [_torch.fractions(part, (1,)) for part in torch.split(counts, list(n), dim=1)]
        return ColorHistogram(torch.cat(shares, 1), *out_of_range.unbind(-1))
    return _result(counts, out_of_range, (1,), False)


def _result(counts: Tensor, out_of_range: Tensor, dims: tuple[int, ...], normalize: bool) -> ColorHistogram:
    return ColorHistogram(_torch.fractions(counts, dims) if normalize else counts, *out_of_range.unbind(-1))


@enough_memory("color_histogram", "pass fewer images or bins at a time")
def _run(
    group: Group, native: bool, space: str, joint: bool, bins: tuple[int, ...], ranges: Sequence[Range]
) -> tuple[Tensor, Tensor]:
    images = group.images.detach()
    if not native:
        return _torch.color_histogram(images, group.mask, space, joint, bins, ranges)
    low, high = zip(*ranges, strict=True)
    run = cast(Any, _native.color_histogram)
    return cast("tuple[Tensor, Tensor]", run(images, group.mask, space, joint, bins, low, high))


def _default(space: Space, dtype: torch.dtype) -> Sequence[Range]:
    stored = _STORED.get(dtype, (0.0, 1.0))
    return _RANGES.get(space, (stored,) * len(CHANNELS[space]))


def _bins(bins: Any, channels: int, joint: bool) -> tuple[int, ...]:
    most = MAX_JOINT_BINS if joint else MAX_BINS
    bins = bins.tolist() if isinstance(bins, np.ndarray) else bins
    found = tuple(bins) if isinstance(bins, Sequence) and not isinstance(bins, str | bytes) else (bins,) * channels
    if len(found) != channels or not all(is_whole(n) for n in found) or not all(1 <= n <= most for n in found):
        per_channel = f" or {channels} of them" if channels > 1 else ""
        joint_text = " of a joint histogram" if joint else ""
        raise ValueError(f"bins: expected an integer from 1 to {most}{joint_text}{per_channel}, got {shown(bins)}")
    return tuple(int(n) for n in found)


def _ranges(given: Any, channels: int) -> tuple[Range, ...]:
    def is_pair(pair: Any) -> bool:
        return isinstance(pair, Sequence) and len(pair) == 2 and all(is_real(x) for x in pair)

    pairs = (given,) * channels if is_pair(given) else given
    if not isinstance(pairs, Sequence) or len(pairs) != channels or not all(map(is_pair, pairs)):
        per_channel = f" or {channels} such pairs" if channels > 1 else ""
        raise ValueError(f"range: expected (low, high){per_channel}, got {shown(given)}")
    found = tuple((_float(low), _float(high)) for low, high in pairs)
    for low, high in found:
        if not (math.isfinite(low) and math.isfinite(high) and low < high and math.isfinite(high - low)):
            raise ValueError(f"range: expected finite numbers with low < high, got {(low, high)!r}")
    return found


def _float(value: Any) -> float:
    """Infinite where no float is as large."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
