"""Masks of the pixels to measure: find the black border of images, and resize masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, cast, overload

import numpy as np
import torch
from torch import Tensor

from iuscore.errors import UserError
from iuscore.ops._groups import Group, Masks, image_groups
from iuscore.ops._images import ArrayLike, Images, Layout, batch_view, image_views, is_batch
from iuscore.ops._taps import windows

Mask: TypeAlias = Masks | Literal["border"]
"""One mask per image, or "border": all pixels but the black border that `border_masks` finds."""

DARK = 24
"""Largest value of 0..255 that counts as black: video black is 16, and compression adds up to 8 to it."""

THINNEST = 16
"""Runs of lit rows (columns) shorter than height / 16 (width / 16) are not image, but specks or lines of text."""

NARROWEST = 8
"""Runs of dark rows (columns) shorter than height / 8 (width / 8) that cut into the image are not border."""

MIN_SIDE = 16
"""A border that leaves less than 1/16 of the image is rejected: the image is dark throughout."""

_MARGIN = 128  # the border grows by 1/128 of the shorter side, over its blurred edge
_MAX_PIXELS_AT_ONCE = 1 << 22  # bounds the memory for a large batch


@overload
def border_masks(images: ArrayLike, *, layout: Layout | None = None) -> Tensor: ...
@overload
def border_masks(images: Sequence[ArrayLike], *, layout: Layout | None = None) -> list[Tensor]: ...
def border_masks(images: Images, *, layout: Layout | None = None) -> Tensor | list[Tensor]:
    """Find the black border of images: around an endoscopic view, a letterboxed video, a collimated radiograph.

    A pixel is dark if none of its channels is above 24 of 255. It belongs to the border if, in one of the four
    directions, all pixels between it and the edge of the image are dark. A dark place inside an image is therefore
    never border.

    The depth of the border, per row from the left and right, and per column from the top and bottom, is then cleaned.
    Lit runs shorter than 1/16 of the height (width) are specks or text, and become border. Dark runs shorter than 1/8
    that cut into the image, such as a shadow that reaches the border, become image. The border of a convex image (a
    circle, an octagon, a rectangle, bars) stays the same, except for the outermost tip of a pointed shape. Finally the
    border grows by 1/128 of the shorter side, at least one pixel, over its edge, which compression blurs.

    Only whole numbers are compared: masks are equal on all devices, and do not depend on the batch.

    Args:
        images: [B, H, W, C] or [B, C, H, W], C = 1 or 3, uint8, uint16 or floating (nominally in [0, 1]), torch (any
            device) or NumPy; or a list of single images of any sizes.
        layout: "NHWC" or "NCHW"; needed only where the shape fits both.

    Returns:
        bool [B, H, W], or one [H, W] per image of a list: True = image, False = border. All True where there is no
        border, and where less than 1/16 of the image would be left.

    Raises:
        TypeError, ValueError: images of another type or shape.

    Example:
        >>> import torch
        >>> from iuscore.features import border_masks
        >>> images = torch.full((1, 64, 64, 3), 3, dtype=torch.uint8)
        >>> images[:, 16:48] = 120
        >>> rows = border_masks(images)[0].any(1).nonzero()
        >>> rows.min().item(), rows.max().item()
        (17, 46)
    """
    groups = image_groups(images, None, layout)
    masks = [find_borders(group.images)[0] for group in groups]
    if isinstance(images, Tensor | np.ndarray):
        return masks[0]
    pairs = [pair for group, found in zip(groups, masks, strict=True) for pair in zip(group.where, found, strict=True)]
    return [mask for _, mask in sorted(pairs, key=lambda pair: pair[0])]


def find_borders(images: Tensor) -> tuple[Tensor, Tensor]:
    """`border_masks` of images [B, H, W, C]: bool [B, H, W], and bool [B], whether the image is dark throughout."""
    height, width = images.shape[1:3]
    step = max(1, _MAX_PIXELS_AT_ONCE // (height * width))
    parts = [_find(images[i : i + step]) for i in range(0, max(len(images), 1), step)]
    return torch.cat([inside for inside, _ in parts]), torch.cat([dark for _, dark in parts])


def _find(images: Tensor) -> tuple[Tensor, Tensor]:
    height, width = images.shape[1:3]
    lit = _lit(images)
    inside = torch.ones_like(lit)
    margin = max(1, min(height, width) // _MARGIN)
    for axis, size, across in ((2, width, height), (1, height, width)):
        place = torch.arange(size, device=lit.device, dtype=torch.int32)
        place = place.view((1, 1, size) if axis == 2 else (1, size, 1))
        for line, from_edge in ((lit, place), (lit.flip(axis), size - 1 - place)):
            depth = _cleaned(_first(line, axis), size, across)
            depth = torch.where(depth > 0, depth + margin, depth)
            inside &= from_edge >= depth.unsqueeze(axis)
    dark = inside.sum((1, 2)) * MIN_SIDE < height * width
    return inside | dark[:, None, None], dark


def _lit(images: Tensor) -> Tensor:
    """Pixels that are not dark, bool [B, H, W]; the limit lies between 24 and 25 in every dtype."""
    if images.dtype == torch.uint16:  # PyTorch has no arithmetic for uint16
        images = images.to(torch.int32)
    limits: dict[torch.dtype, int] = {torch.uint8: DARK, torch.int32: int((DARK + 0.5) * 257)}
    limit = limits.get(images.dtype, (DARK + 0.5) / 255)
    lit = images[..., 0] > limit
    for channel in range(1, images.shape[3]):
        lit = lit | (images[..., channel] > limit)
    return lit


def _first(lit: Tensor, axis: int) -> Tensor:
    """Number of dark pixels before the first lit pixel along an axis, int32; the size of the axis if none is lit."""
    bits = lit.to(torch.uint8)
    first = bits.argmax(axis).to(torch.int32)  # argmax returns the first maximum
    return torch.where(bits.amax(axis) > 0, first, lit.shape[axis])


def _cleaned(depth: Tensor, deepest: int, n: int) -> Tensor:
    """Depths [B, n] with short dips filled and short peaks cut; outside of the image, all counts as border.

    This is a closing and an opening of mathematical morphology, which do not change a convex function.
    """
    depth = _dips_filled(depth, max(1, n // THINNEST), deepest)
    return -_dips_filled(-depth, max(1, n // NARROWEST), -deepest)


def _dips_filled(values: Tensor, window: int, beyond: int) -> Tensor:
    """Closing of [B, n]: sliding maximum, then sliding minimum; fills dips shorter than ``window``."""
    padded = torch.nn.functional.pad(values, (window - 1, window - 1), value=beyond)
    return padded.unfold(1, window, 1).amax(2).unfold(1, window, 1).amin(2)


def masked_groups(
    images: Images, mask: Mask, size: Sequence[int] | None, layout: Layout | None
) -> tuple[list[Group], list[Tensor]]:
    """Groups of images with masks at ``size``, and for each group bool [B]: whether an image is dark throughout.

    Pixels that are not counted are set to 0, so that no later step can depend on their values.
    """
    bordered = isinstance(mask, str)
    if bordered and mask != "border":
        raise UserError(f"mask: expected 'border' or one mask per image, got {mask!r}")
    groups, every = [], []
    for group in image_groups(images, None if isinstance(mask, str) else mask, layout):
        if group.mask is None:  # "border", or an empty list
            masks, dark = find_borders(group.images)
        else:
            masks, dark = group.mask != 0, group.mask.new_zeros(len(group.where), dtype=torch.bool)
        small = masks if size is None else sized_masks(masks, size)
        if bordered:  # at a small size, the mask of a narrow image may have no pixel left
            gone = ~small.flatten(1).any(1)
            masks, small, dark = masks | gone[:, None, None], small | gone[:, None, None], dark | gone
        groups.append(_blanked(group, masks, small))
        every.append(dark)
    return groups, every


def nonfinite_where_counted(
    nonfinite: Sequence[int],
    images: Images,
    rounded: Sequence[Tensor] | Tensor,
    mask: Mask,
    size: Sequence[int] | None,
    layout: Layout | None,
) -> list[int]:
    """Indices of the images in which a counted pixel is not finite.

    Args:
        nonfinite: indices of images with any value that is not finite.
        images: all images, as the caller gave them.
        rounded: the same images as bytes, [B, H, W, C] or a list.
        mask: "border", or one mask per image.
        size: (height, width) at which the images are measured.
        layout: layout of ``images``.
    """
    views: Sequence[Tensor] | Tensor
    if is_batch(images):
        views = batch_view(cast("ArrayLike", images), layout)
    else:
        views = image_views(cast("Sequence[ArrayLike]", images), layout)
    found = []
    for i in nonfinite:
        if isinstance(mask, str):
            (counted,), (dark,) = find_borders(rounded[i][None])
            gone = dark | (False if size is None else ~sized_masks(counted[None], size).any())
            counted = counted | gone
        else:
            counted = torch.as_tensor(mask[i]) != 0
        if bool((~views[i].isfinite()).any(2)[counted].any()):
            found.append(i)
    return found


def _blanked(group: Group, masks: Tensor, small: Tensor) -> Group:
    if not len(masks) or (
        masks.device.type == "cpu" and bool(masks.all())
    ):  # on a GPU this test would wait for the device
        return replace(group, mask=None)
    images = group.images
    if images.is_floating_point():  # not a product: 0 times NaN is NaN
        return replace(group, images=images.masked_fill(~masks[..., None], 0), mask=small)
    # Multiply by the mask. PyTorch has no arithmetic for uint16, so its bits are viewed as int16.
    signed = images.view(torch.int16) if images.dtype == torch.uint16 else images
    return replace(group, images=(signed * masks[..., None]).view(images.dtype), mask=small)


def sized_masks(masks: Tensor, size: Sequence[int]) -> Tensor:
    """Resize masks like images: a pixel of the result counts if all pixels that it is computed from count.

    Args:
        masks: bool or uint8 [B, H, W], nonzero = counted.
        size: (height, width).

    Returns:
        bool [B, height, width].

    Example:
        >>> masks = torch.ones(1, 16, 16, dtype=torch.bool)
        >>> masks[:, :, 0] = False
        >>> sized_masks(masks, (8, 8))[0, 0].tolist()
        [False, False, True, True, True, True, True, True]
    """
    outside = (masks == 0).float()
    # Sums of products of 0 and 1: exactly 0 if no pixel is outside, else positive under any rounding.
    height, width = (int(side) for side in size)
    if masks.shape[2] != width:
        outside = outside @ _reached(masks.shape[2], width, masks.device).T
    if masks.shape[1] != height:
        outside = _reached(masks.shape[1], height, masks.device) @ outside
    return outside == 0


def _reached(size: int, out: int, device: torch.device) -> Tensor:
    """float32 [out, size]: 1 if an output pixel is computed from an input pixel, else 0."""
    first, end = (torch.from_numpy(part).view(-1, 1).to(device) for part in windows(size, out))
    place = torch.arange(size, device=device)
    return ((place >= first) & (place < end)).float()
