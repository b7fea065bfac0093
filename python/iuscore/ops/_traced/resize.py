"""`resize` as an operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor

from iuscore.ops._backend import check_backend, public
from iuscore.ops._images import (
    ArrayLike,
    Images,
    Layout,
    batch_and_form,
    check_bytes,
    common_form,
    in_form,
    is_batch,
    views_and_forms,
)
from iuscore.ops._operators import Call, Operator
from iuscore.ops._traced.images import HEAD, count, fold_images, images_and_options


def _run_resize(call: Call) -> Sequence[Tensor]:
    images, options = images_and_options(call)
    return [public("resize")(images, tuple(call.whole[HEAD:]), **options)]


def _shapes_of_resize(call: Call) -> Sequence[Tensor]:
    first = call.tensors[0]
    return [first.new_empty((count(call), *call.whole[HEAD:], first.shape[-1]))]


def resize(images: Images, height: int, width: int, layout: Layout | None, backend: str) -> Tensor:
    check_backend(backend)
    if is_batch(images):
        found = [batch_and_form(cast(ArrayLike, images), layout)]
    else:
        found = views_and_forms(cast("Sequence[ArrayLike]", images), layout)
    if not found:
        raise ValueError("images: expected at least one image inside torch.compile or vmap, got an empty list")
    views = [view for view, _ in found]
    for i, view in enumerate(views):
        check_bytes(view, "images" if is_batch(images) else f"images[{i}]")
        if view.shape[-1] != views[0].shape[-1]:
            raise ValueError("images: expected all with 1 channel or all with 3, got some of each")
    made = _RESIZE(Call(views, [len(views), is_batch(images), 0, height, width], [], [backend]))[0]
    return in_form(made, common_form([form for _, form in found]))


_RESIZE = Operator("resize", _run_resize, _shapes_of_resize, fold_images)
