"""What the operators of ops on images share: images and masks as one list of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from iuscore.ops._groups import Masks, batch_and_mask, views_and_masks
from iuscore.ops._images import ArrayLike, Images, Layout, is_batch
from iuscore.ops._operators import Call

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
HEAD = 3  # numbers that say how many images and masks there are


def pixels_of(images: Images, mask: Masks | None, layout: Layout | None) -> tuple[list[Tensor], list[int]]:
    """Images [B, H, W, C] or [H, W, C] each, then masks; and the head of the whole numbers."""
    if is_batch(images):
        batch, counted = batch_and_mask(cast(ArrayLike, images), mask, layout)
        views, masks = [batch], None if counted is None else [counted]
    else:
        views, masks = views_and_masks(cast("Sequence[ArrayLike]", images), mask, layout)
        if not views:
            raise ValueError("images: expected at least one image inside torch.compile or vmap, got an empty list")
    return [*views, *(masks or [])], [len(views), is_batch(images), len(masks or [])]


def check_without_gradient(tensors: Sequence[Tensor]) -> None:
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        raise ValueError("images: expected images without a gradient, as counts have none; pass images.detach()")


def images_and_options(call: Call) -> tuple[Any, dict[str, Any]]:
    """Images and options as the public functions take them."""
    n, batch, n_masks = call.whole[:HEAD]
    images, masks = call.tensors[:n], call.tensors[n : n + n_masks]
    options: dict[str, Any] = {"layout": "NHWC", "backend": call.words[0]}
    if masks:
        options["mask"] = masks[0] if batch else masks
    return (images[0] if batch else images), options


def count(call: Call) -> int:
    n, batch = call.whole[:2]
    return call.tensors[0].shape[0] if batch else n


def fold_images(call: Call, batched: list[bool], many: int) -> Call:
    """[V, B, H, W, C] as V B images; of a list V times as many."""
    n, batch, n_masks = call.whole[:HEAD]
    tensors = [
        tensor if one else tensor.expand(many, *tensor.shape)
        for tensor, one in zip(call.tensors, batched, strict=True)
    ]  # fmt: skip
    if batch:
        return call.on([tensor.flatten(0, 1) for tensor in tensors])
    images = [tensor[v] for v in range(many) for tensor in tensors[:n]]
    masks = [tensor[v] for v in range(many) for tensor in tensors[n:]]
    return Call([*images, *masks], [n * many, batch, n_masks * many, *call.whole[HEAD:]], call.real, call.words)
