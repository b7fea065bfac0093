"""`image_views` as an operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from iuscore.ops._backend import check_backend, public
from iuscore.ops._constants import PATCH_RESPONSES, THUMB_SIDE
from iuscore.ops._images import ArrayLike, Images, Layout, batch_view, is_batch, view_of_bytes
from iuscore.ops._images import image_views as views_of_list
from iuscore.ops._operators import Call, Operator, refuse_native
from iuscore.ops._traced.images import count, fold_images, images_and_options

_FILTERS = 2  # the last tensors: weights and bias


def _run_views(call: Call) -> Sequence[Tensor]:
    images, options = images_and_options(call)
    found: Sequence[Tensor] = public("image_views")(images, *call.tensors[-_FILTERS:], kind=call.words[1], **options)
    return found


def _shapes_of_views(call: Call) -> Sequence[Tensor]:
    first, n = call.tensors[0], count(call)
    channels = 3 if call.words[1] == "color" else 1
    return [
        first.new_empty((n, width), dtype=torch.float32) for width in (THUMB_SIDE**2 * channels, PATCH_RESPONSES)
    ]  # fmt: skip


def _fold_views(call: Call, batched: list[bool], many: int) -> Call | None:
    if any(batched[-_FILTERS:]):
        return None
    filters = call.tensors[-_FILTERS:]
    folded = fold_images(call.on(call.tensors[:-_FILTERS]), batched[:-_FILTERS], many)
    return folded.on([*folded.tensors, *filters])


def image_views(
    images: Images, weights: Tensor, bias: Tensor, kind: str, layout: Layout | None, backend: str
) -> list[Tensor]:
    """Thumbnails and responses."""
    check_backend(backend)
    refuse_native("image_views", backend, [weights, bias])
    batch = is_batch(images)
    if batch:
        views = [batch_view(cast(ArrayLike, images), layout)]
    else:
        views = views_of_list(cast("Sequence[ArrayLike]", images), layout)
        if not views:
            raise ValueError("images: expected at least one image inside torch.compile or vmap, got an empty list")
    for i, view in enumerate(views):
        view_of_bytes(view, "images" if batch else f"images[{i}]")
    return _VIEWS(Call([*views, weights, bias], [len(views), batch, 0], [], [backend, kind]))


_VIEWS = Operator("image_views", _run_views, _shapes_of_views, _fold_views)
