"""Images and masks as batches that one call can take: a batch as it is, a list grouped by shape and dtype."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from iuscore.ops._arguments import check_dense
from iuscore.ops._constants import MAX_GLCM_PIXELS
from iuscore.ops._images import (
    ArrayLike,
    Images,
    Layout,
    arranged,
    arranged_one,
    batch_view,
    image_views,
    is_batch,
    is_masked,
    tensor_of,
)

Masks: TypeAlias = "ArrayLike | Sequence[ArrayLike]"


@dataclass(frozen=True)
class Group:
    """Images of one shape and dtype.

    Attributes:
        images: [B, H, W, C], any strides.
        mask: bool or uint8 [B, H, W] on the images' device, nonzero = counted; None where all pixels count.
        where: positions of the images in what the caller gave.
    """

    images: Tensor
    mask: Tensor | None
    where: tuple[int, ...]


def image_groups(images: Images, mask: Masks | None, layout: Layout | None) -> list[Group]:
    """At least one group; an empty list gives one without images. What a NumPy array masks is not counted either.

    Raises:
        TypeError: images or masks of another kind or dtype. ValueError: another shape or device.
    """
    if is_batch(images):
        batch, masks = batch_and_mask(cast(ArrayLike, images), mask, layout)
        return [Group(batch, masks, tuple(range(len(batch))))]
    views, masks_of = views_and_masks(cast("Sequence[ArrayLike]", images), mask, layout)
    if not views:
        return [Group(torch.zeros(0, 1, 1, 1, dtype=torch.uint8), None, ())]
    members: dict[tuple[object, ...], list[int]] = {}
    for i, view in enumerate(views):
        members.setdefault((view.dtype, *view.shape), []).append(i)
    return [
        Group(
            torch.stack([views[i] for i in where]),
            None if masks_of is None else torch.stack([masks_of[i] for i in where]),
            tuple(where),
        )
        for where in members.values()
    ]


def batch_and_mask(images: ArrayLike, mask: Masks | None, layout: Layout | None) -> tuple[Tensor, Tensor | None]:
    """Images [B, H, W, C], and which pixels are counted, [B, H, W]; None if all are."""
    given, counted = _unmasked(images)
    batch = batch_view(given, layout)
    found = None if mask is None else _mask(mask, batch, "mask")
    return batch, found if counted is None else _both(arranged(counted, layout)[0].all(-1), found)


def views_and_masks(
    images: Sequence[ArrayLike], mask: Masks | None, layout: Layout | None
) -> tuple[list[Tensor], list[Tensor] | None]:
    """Views [H, W, C], and which pixels of each are counted, [H, W]; None if all are."""
    parts = [_unmasked(image) for image in images]
    views = image_views([given for given, _ in parts], layout)
    masks = _masks(mask, views)
    if all(counted is None for _, counted in parts):
        return views, masks
    found = []
    for i, (view, (_, counted)) in enumerate(zip(views, parts, strict=True)):
        one = None if masks is None else masks[i]
        if counted is not None:
            one = _both(arranged_one(counted, layout, f"images[{i}]")[0].all(-1), one)
        found.append(view.new_ones(view.shape[:2], dtype=torch.bool) if one is None else one)
    return views, found


def _unmasked(images: ArrayLike) -> tuple[ArrayLike, Tensor | None]:
    """All values, and a bool array of those that a NumPy array does not mask; None if it masks none."""
    if not is_masked(images):
        return images, None
    array = cast("npt.NDArray[np.generic]", images)
    return np.asarray(array), torch.from_numpy(~np.ma.getmaskarray(array))


def _both(counted: Tensor, mask: Tensor | None) -> Tensor:
    return counted if mask is None else counted & (mask != 0)


def in_order(parts: Sequence[Tensor], groups: Sequence[Group]) -> Tensor:
    """Results of the groups, [B, ...] each, in the order of the caller's images."""
    if len(parts) == 1:
        return parts[0]
    positions = torch.tensor([i for group in groups for i in group.where], device=parts[0].device)
    return torch.cat(list(parts))[positions.argsort()]


def _masks(mask: Masks | None, views: Sequence[Tensor]) -> list[Tensor] | None:
    if mask is None:
        return None
    if not isinstance(mask, Sequence | Tensor | np.ndarray) or isinstance(mask, str | bytes):
        raise TypeError(f"mask: expected one mask per image, got {type(mask).__name__}")
    if len(mask) != len(views):
        raise ValueError(f"mask: expected one mask per image, {len(views)}, got {len(mask)}")
    return [
        _mask(_one(one, f"mask[{i}]"), view[None], f"mask[{i}]")[0]
        for i, (one, view) in enumerate(zip(mask, views, strict=True))
    ]


def _one(mask: object, name: str) -> ArrayLike:
    """With a batch axis."""
    if not isinstance(mask, Tensor | np.ndarray):
        raise TypeError(f"{name}: expected a torch.Tensor or numpy.ndarray, got {type(mask).__name__}")
    return mask[None]


def _mask(mask: object, images: Tensor, name: str) -> Tensor:
    if is_masked(mask):
        mask = mask.filled(0)  # type: ignore[attr-defined]  # not known to be counted
    tensor = tensor_of(mask, name, "bool or uint8 (nonzero = counted)") if isinstance(mask, np.ndarray) else mask
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor or numpy.ndarray, got {type(mask).__name__}")
    check_dense(name, tensor)
    if tensor.dtype not in (torch.bool, torch.uint8):
        got = str(tensor.dtype).removeprefix("torch.")
        raise TypeError(f"{name}: expected dtype bool or uint8 (nonzero = counted), got {got}; write {name} != 0")
    if images.shape[0] == 1 and tensor.ndim == 2:
        tensor = tensor[None]  # of one gray image [H, W]
    if tensor.shape != images.shape[:3]:
        raise ValueError(
            f"{name}: expected [B, H, W] = {list(images.shape[:3])} as the images, got {list(tensor.shape)}"
        )
    if tensor.device != images.device:
        raise ValueError(f"{name}: expected the images' device {images.device}, got {tensor.device}")
    return tensor


def check_pixels(images: Tensor) -> None:
    """ValueError if images [..., H, W, C] have too many pixels for counts."""
    height, width = images.shape[-3:-1]
    if height * width > MAX_GLCM_PIXELS:
        raise ValueError(f"images: expected at most 2^30 pixels each, got {height} x {width}")
