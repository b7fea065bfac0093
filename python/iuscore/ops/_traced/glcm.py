"""`glcm` as an operator, and what `glcm_features` shares with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from iuscore.ops._backend import check_backend, public
from iuscore.ops._groups import Masks, check_pixels
from iuscore.ops._images import Images, Layout
from iuscore.ops._operators import Call, Operator
from iuscore.ops._pairs import Offset
from iuscore.ops._quantize import quantization
from iuscore.ops._traced.images import HEAD, check_without_gradient, count, fold_images, images_and_options, pixels_of

How = tuple[Any, Any, Any, Any]
"""Quantisation: quantize, levels, range, width, as the caller gave them."""


def _encoded(how: How) -> tuple[list[int], list[float]]:
    """Levels and which of low, high and width are given; these three."""
    _, levels, ends, width = how
    low, high = (None, None) if ends is None else ends
    given = [low, high, width]
    return [levels, *(int(one is not None) for one in given)], [math.nan if one is None else one for one in given]


def decoded(call: Call) -> dict[str, Any]:
    levels, has_low, has_high, has_width = call.whole[HEAD : HEAD + 4]
    low, high, width = call.real
    return {
        "quantize": call.words[1],
        "levels": levels,
        "range": (low, high if has_high else None) if has_low else None,
        "width": width if has_width else None,
    }


def pairs_from(call: Call, start: int) -> list[Offset]:
    flat = call.whole[start:]
    return list(zip(flat[::2], flat[1::2], strict=True))


def _run_glcm(call: Call) -> Sequence[Tensor]:
    images, options = images_and_options(call)
    symmetric = bool(call.whole[HEAD + 4])
    return [public("glcm")(images, offsets=pairs_from(call, HEAD + 5), symmetric=symmetric, **decoded(call), **options)]


def checked_levels(call: Call) -> int:
    """The number of levels."""
    by = decoded(call)
    quantization(by["quantize"], by["levels"], by["range"], by["width"], call.tensors[0].dtype)
    return int(by["levels"])


def _shapes_of_glcm(call: Call) -> Sequence[Tensor]:
    levels, pairs = checked_levels(call), (len(call.whole) - HEAD - 5) // 2
    return [call.tensors[0].new_empty((count(call), pairs, levels, levels), dtype=torch.int32)]


def glcm_call(images: Images, mask: Masks | None, pairs: Sequence[Offset], numbers: list[int], how: How,
               layout: Layout | None, words: list[str]) -> Call:  # fmt: skip
    tensors, head = pixels_of(images, mask, layout)
    check_without_gradient(tensors)
    for i in range(head[0]):
        check_pixels(tensors[i])
    codes, real = _encoded(how)
    flat = [x for pair in pairs for x in pair]
    return Call(tensors, [*head, *codes, *numbers, *flat], real, words)


def glcm(images: Images, mask: Masks | None, pairs: Sequence[Offset], symmetric: bool, how: How,
         layout: Layout | None, backend: str) -> Tensor:  # fmt: skip
    """int32 [B, O, L, L]."""
    check_backend(backend)
    return _GLCM(glcm_call(images, mask, pairs, [int(symmetric)], how, layout, [backend, how[0]]))[0]


_GLCM = Operator("glcm", _run_glcm, _shapes_of_glcm, fold_images)
