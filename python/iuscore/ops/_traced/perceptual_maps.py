"""`perceptual_maps` as an operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from iuscore.ops._backend import check_backend, public
from iuscore.ops._images import Images, Layout
from iuscore.ops._operators import Call, Operator, refuse_native
from iuscore.ops._traced.images import DTYPES, HEAD, count, fold_images, images_and_options, pixels_of


def _run_maps(call: Call) -> Sequence[Tensor]:
    images, options = images_and_options(call)
    color, clean, height, width, dtype = call.whole[HEAD:]
    kind, mode = ("color" if color else "gray"), ("clean" if clean else "published")
    run = public("perceptual_maps")
    found: tuple[Tensor, Tensor] = run(
        images, kind=kind, mode=mode, size=(height, width), dtype=DTYPES[dtype], return_ranges=True, **options
    )
    return found


def _shapes_of_maps(call: Call) -> Sequence[Tensor]:
    _, _, height, width, dtype = call.whole[HEAD:]
    first, n = call.tensors[0], count(call)
    maps = first.new_empty((n, 4, height, width), dtype=DTYPES[dtype])
    return maps, first.new_empty((n, 4), dtype=torch.float32)


def perceptual_maps(images: Images, options: tuple[Any, ...], layout: Layout | None, backend: str) -> Any:
    """(maps, ranges)."""
    check_backend(backend)
    tensors, head = pixels_of(images, None, layout)
    refuse_native("perceptual_maps", backend, tensors)
    *numbers, dtype = options
    return tuple(_MAPS(Call(tensors, [*head, *numbers, DTYPES.index(dtype)], [], [backend])))


_MAPS = Operator("perceptual_maps", _run_maps, _shapes_of_maps, fold_images)
