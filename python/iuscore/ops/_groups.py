"""Images and masks as batches that one call can take: a batch as it is, a list grouped by shape and dtype."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from iuscore.ops._images import ArrayLike, Images, Layout, batch_view, image_views, tensor_of

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
    """At least one group; of an empty list one with no image.

    Raises:
        TypeError: images or masks of another kind or dtype. ValueError: another shape or device.
    """
    if isinstance(images, Tensor | np.ndarray):
        batch = batch_view(images, layout)
        masks = None if mask is None else _mask(mask, batch, "mask")
        return [Group(batch, masks, tuple(range(len(batch))))]
    if not isinstance(images, Sequence) or isinstance(images, str | bytes):
        raise TypeError(
            f"images: expected a torch.Tensor, a numpy.ndarray or a list of them, got {type(images).__name__}"
        )
    views = image_views(images, layout)
    if not views:
        return [Group(torch.zeros(0, 1, 1, 1, dtype=torch.uint8), None, ())]
    masks_of = _masks(mask, views)
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


def in_order(parts: Sequence[Tensor], groups: Sequence[Group]) -> Tensor:
    """Results of the groups, first axis B each, in the order of the caller's images."""
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
    tensor = tensor_of(mask, name, "bool or uint8 (nonzero = counted)") if isinstance(mask, np.ndarray) else mask
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor or numpy.ndarray, got {type(mask).__name__}")
    if tensor.dtype not in (torch.bool, torch.uint8):
        raise TypeError(f"{name}: expected dtype bool or uint8 (nonzero = counted), got {str(tensor.dtype)[6:]}")
    if tensor.shape != images.shape[:3]:
        raise ValueError(
            f"{name}: expected [B, H, W] = {list(images.shape[:3])} as the images, got {list(tensor.shape)}"
        )
    if tensor.device != images.device:
        raise ValueError(f"{name}: expected the images' device {images.device}, got {tensor.device}")
    return tensor
