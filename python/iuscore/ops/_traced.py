"""The public ops as `Operator`s: how their arguments become lists, and what they say to a compiler and to ``vmap``.

Without this module an op works as ever; the public functions come here where `iuscore.ops._backend.traced` says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

import iuscore.ops as ops
from iuscore.ops._backend import check_backend
from iuscore.ops._constants import TEXTURE_GRID
from iuscore.ops._groups import Masks, batch_and_mask, views_and_masks
from iuscore.ops._images import ArrayLike, Images, Layout, batch_and_form, in_form, is_batch, views_and_forms
from iuscore.ops._operators import Call, Operator, fold_rows, refuse_native
from iuscore.ops._pairs import Offset
from iuscore.ops._quantize import quantization
from iuscore.ops.color_histogram import ColorHistogram, Range
from iuscore.ops.glcm import check_pixels
from iuscore.ops.glcm_features import matrix_of
from iuscore.ops.resize import check_bytes, common_form
from iuscore.ops.texture_stats import ANGLES, PLANES, PROPERTIES, STATISTICS, TextureStats

_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_HEAD = 3  # numbers that say how many images and masks there are
How = tuple[Any, Any, Any, Any]
"""Quantisation: quantize, levels, range, width, as the caller gave them."""


def _pixels(images: Images, mask: Masks | None, layout: Layout | None) -> tuple[list[Tensor], list[int]]:
    """Images [B, H, W, C] or [H, W, C] each, then masks; and the head of the whole numbers."""
    if is_batch(images):
        batch, counted = batch_and_mask(cast(ArrayLike, images), mask, layout)
        views, masks = [batch], None if counted is None else [counted]
    else:
        views, masks = views_and_masks(cast("Sequence[ArrayLike]", images), mask, layout)
        if not views:
            raise ValueError("images: expected at least one image inside torch.compile or vmap, got an empty list")
    return [*views, *(masks or [])], [len(views), is_batch(images), len(masks or [])]


def _without_gradient(tensors: Sequence[Tensor]) -> None:
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        raise ValueError("images: expected images without a gradient, as counts have none; pass images.detach()")


def _given(call: Call) -> tuple[Any, dict[str, Any]]:
    """Images and options as the public functions take them."""
    n, batch, n_masks = call.whole[:_HEAD]
    images, masks = call.tensors[:n], call.tensors[n : n + n_masks]
    options: dict[str, Any] = {"layout": "NHWC", "backend": call.words[0]}
    if masks:
        options["mask"] = masks[0] if batch else masks
    return (images[0] if batch else images), options


def _count(call: Call) -> int:
    n, batch = call.whole[:2]
    return call.tensors[0].shape[0] if batch else n


def _fold_images(call: Call, batched: list[bool], many: int) -> Call:
    """[V, B, H, W, C] as V B images; of a list V times as many."""
    n, batch, n_masks = call.whole[:_HEAD]
    tensors = [
        tensor if one else tensor.expand(many, *tensor.shape)
        for tensor, one in zip(call.tensors, batched, strict=True)
    ]  # fmt: skip
    if batch:
        return call.on([tensor.flatten(0, 1) for tensor in tensors])
    images = [tensor[v] for v in range(many) for tensor in tensors[:n]]
    masks = [tensor[v] for v in range(many) for tensor in tensors[n:]]
    return Call([*images, *masks], [n * many, batch, n_masks * many, *call.whole[_HEAD:]], call.real, call.words)


def _run_maps(call: Call) -> Sequence[Tensor]:
    images, options = _given(call)
    color, clean, height, width, dtype = call.whole[_HEAD:]
    kind, mode = ("color" if color else "gray"), ("clean" if clean else "paper")
    run: Any = ops.perceptual_maps
    found: tuple[Tensor, Tensor] = run(
        images, kind=kind, mode=mode, size=(height, width), dtype=_DTYPES[dtype], return_ranges=True, **options
    )
    return found


def _shapes_of_maps(call: Call) -> Sequence[Tensor]:
    _, _, height, width, dtype = call.whole[_HEAD:]
    first, n = call.tensors[0], _count(call)
    maps = first.new_empty((n, 4, height, width), dtype=_DTYPES[dtype])
    return maps, first.new_empty((n, 4), dtype=torch.float32)


def perceptual_maps(images: Images, options: tuple[Any, ...], layout: Layout | None, backend: str) -> Any:
    """(maps, ranges)."""
    check_backend(backend)
    tensors, head = _pixels(images, None, layout)
    refuse_native("perceptual_maps", backend, tensors)
    *numbers, dtype = options
    return tuple(_MAPS(Call(tensors, [*head, *numbers, _DTYPES.index(dtype)], [], [backend])))


def _run_histogram(call: Call) -> Sequence[Tensor]:
    images, options = _given(call)
    joint, normalize, *bins = call.whole[_HEAD:]
    ranges = list(zip(call.real[::2], call.real[1::2], strict=True)) or None
    return ops.color_histogram(images, bins=bins, space=cast(Any, call.words[1]), range=ranges, joint=bool(joint),
                               normalize=bool(normalize), **options)  # fmt: skip


def _shapes_of_histogram(call: Call) -> Sequence[Tensor]:
    joint, normalize, *bins = call.whole[_HEAD:]
    first, n = call.tensors[0], _count(call)
    counts = tuple(bins) if joint else (len(bins), bins[0]) if len(set(bins)) == 1 else (sum(bins),)
    others = (n,) if joint else (n, len(bins))
    kind = torch.float32 if normalize else torch.int32
    out_of_range = [first.new_empty(others, dtype=torch.int32) for _ in range(3)]
    return first.new_empty((n, *counts), dtype=kind), *out_of_range


def color_histogram(images: Images, mask: Masks | None, bins: tuple[int, ...], space: str,
                    ranges: Sequence[Range] | None, joint: bool, normalize: bool, layout: Layout | None,
                    backend: str) -> ColorHistogram:  # fmt: skip
    check_backend(backend)
    tensors, head = _pixels(images, mask, layout)
    _without_gradient(tensors)
    ends = [end for pair in ranges or () for end in pair]
    whole = [*head, int(joint), int(normalize), *bins]
    return ColorHistogram(*_HISTOGRAM(Call(tensors, whole, ends, [backend, space])))


def _encoded(how: How) -> tuple[list[int], list[float]]:
    """Levels and which of low, high and width are given; these three."""
    _, levels, ends, width = how
    low, high = (None, None) if ends is None else ends
    given = [low, high, width]
    return [levels, *(int(one is not None) for one in given)], [math.nan if one is None else one for one in given]


def _decoded(call: Call) -> dict[str, Any]:
    levels, has_low, has_high, has_width = call.whole[_HEAD : _HEAD + 4]
    low, high, width = call.real
    return {
        "quantize": call.words[1],
        "levels": levels,
        "range": (low, high if has_high else None) if has_low else None,
        "width": width if has_width else None,
    }


def _pairs(call: Call, start: int) -> list[Offset]:
    flat = call.whole[start:]
    return list(zip(flat[::2], flat[1::2], strict=True))


def _run_glcm(call: Call) -> Sequence[Tensor]:
    images, options = _given(call)
    symmetric = bool(call.whole[_HEAD + 4])
    return [ops.glcm(images, offsets=_pairs(call, _HEAD + 5), symmetric=symmetric, **_decoded(call), **options)]


def _check_quantization(call: Call) -> int:
    """The number of levels."""
    by = _decoded(call)
    quantization(by["quantize"], by["levels"], by["range"], by["width"], call.tensors[0].dtype)
    return int(by["levels"])


def _shapes_of_glcm(call: Call) -> Sequence[Tensor]:
    levels, pairs = _check_quantization(call), (len(call.whole) - _HEAD - 5) // 2
    return [call.tensors[0].new_empty((_count(call), pairs, levels, levels), dtype=torch.int32)]


def _glcm_call(images: Images, mask: Masks | None, pairs: Sequence[Offset], numbers: list[int], how: How,
               layout: Layout | None, words: list[str]) -> Call:  # fmt: skip
    tensors, head = _pixels(images, mask, layout)
    _without_gradient(tensors)
    for i in range(head[0]):
        check_pixels(tensors[i])
    codes, real = _encoded(how)
    flat = [x for pair in pairs for x in pair]
    return Call(tensors, [*head, *codes, *numbers, *flat], real, words)


def glcm(images: Images, mask: Masks | None, pairs: Sequence[Offset], symmetric: bool, how: How,
         layout: Layout | None, backend: str) -> Tensor:  # fmt: skip
    """int32 [B, O, L, L]."""
    check_backend(backend)
    return _GLCM(_glcm_call(images, mask, pairs, [int(symmetric)], how, layout, [backend, how[0]]))[0]


def _run_features(call: Call) -> Sequence[Tensor]:
    images, options = _given(call)
    symmetric, dtype = call.whole[_HEAD + 4 : _HEAD + 6]
    return [ops.glcm_features(images, features=call.words[2:], symmetric=bool(symmetric), dtype=_DTYPES[dtype],
                              offsets=_pairs(call, _HEAD + 6), **_decoded(call), **options).values]  # fmt: skip


def _shapes_of_features(call: Call) -> Sequence[Tensor]:
    _check_quantization(call)
    pairs = (len(call.whole) - _HEAD - 6) // 2
    shape = (_count(call), pairs, len(call.words) - 2)
    return [call.tensors[0].new_empty(shape, dtype=_DTYPES[call.whole[_HEAD + 5]])]


def glcm_features(images: Images, mask: Masks | None, pairs: Sequence[Offset], symmetric: bool, how: How,
                  names: Sequence[str], dtype: torch.dtype, layout: Layout | None, backend: str) -> Tensor:  # fmt: skip
    """[B, O, F]."""
    check_backend(backend)
    numbers = [int(symmetric), _DTYPES.index(dtype)]
    return _FEATURES(_glcm_call(images, mask, pairs, numbers, how, layout, [backend, how[0], *names]))[0]


def _run_matrix(call: Call) -> Sequence[Tensor]:
    symmetric, dtype = call.whole
    backend, *names = call.words
    return [ops.glcm_features(call.tensors[0], levels=None, features=names, symmetric=bool(symmetric),
                              dtype=_DTYPES[dtype], backend=cast(Any, backend)).values]  # fmt: skip


def _shapes_of_matrix(call: Call) -> Sequence[Tensor]:
    matrix = matrix_of(call.tensors[0])
    return [matrix.new_empty((*matrix.shape[:-2], len(call.words) - 1), dtype=_DTYPES[call.whole[1]])]


def matrix_features(
    matrices: object, symmetric: bool, names: Sequence[str], dtype: torch.dtype, backend: str
) -> Tensor:
    """[B, ..., F]."""
    check_backend(backend)
    return _MATRIX(Call([matrix_of(matrices)], [int(symmetric), _DTYPES.index(dtype)], [], [backend, *names]))[0]


def _run_stats(call: Call) -> Sequence[Tensor]:
    images, options = _given(call)
    bins, levels, *distances = call.whole[_HEAD:]
    return ops.texture_stats(images, kind=cast(Any, call.words[1]), bins=bins, levels=levels, distances=distances,
                             **options)  # fmt: skip


def _shapes_of_stats(call: Call) -> Sequence[Tensor]:
    bins, _, *distances = call.whole[_HEAD:]
    first, n, planes = call.tensors[0], _count(call), len(PLANES[cast(Any, call.words[1])])

    def made(*shape: int, kind: torch.dtype = torch.float32) -> Tensor:
        return first.new_empty((n, *shape), dtype=kind)

    return (
        made(planes, bins, kind=torch.int32),
        made(planes, len(STATISTICS)),
        made(planes, kind=torch.int32),
        made(len(distances), len(ANGLES), len(PROPERTIES)),
        made(TEXTURE_GRID, TEXTURE_GRID),
    )


def texture_stats(images: Images, mask: Masks | None, kind: str, bins: int, levels: int, distances: Sequence[int],
                  layout: Layout | None, backend: str) -> TextureStats:  # fmt: skip
    check_backend(backend)
    tensors, head = _pixels(images, mask, layout)
    _without_gradient(tensors)
    return TextureStats(*_STATS(Call(tensors, [*head, bins, levels, *distances], [], [backend, kind])))


def _run_resize(call: Call) -> Sequence[Tensor]:
    images, options = _given(call)
    return [ops.resize(images, tuple(call.whole[_HEAD:]), **options)]


def _shapes_of_resize(call: Call) -> Sequence[Tensor]:
    first = call.tensors[0]
    return [first.new_empty((_count(call), *call.whole[_HEAD:], first.shape[-1]))]


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


_MAPS = Operator("perceptual_maps", _run_maps, _shapes_of_maps, _fold_images)
_HISTOGRAM = Operator("color_histogram", _run_histogram, _shapes_of_histogram, _fold_images)
_GLCM = Operator("glcm", _run_glcm, _shapes_of_glcm, _fold_images)
_FEATURES = Operator("glcm_features", _run_features, _shapes_of_features, _fold_images)
_MATRIX = Operator("glcm_matrix_features", _run_matrix, _shapes_of_matrix, fold_rows)
_STATS = Operator("texture_stats", _run_stats, _shapes_of_stats, _fold_images)
_RESIZE = Operator("resize", _run_resize, _shapes_of_resize, _fold_images)
