"""`color_histogram` as an operator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from iuscore.ops._backend import check_backend, public
from iuscore.ops._groups import Masks
from iuscore.ops._images import Images, Layout
from iuscore.ops._operators import Call, Operator
from iuscore.ops._traced.images import HEAD, check_without_gradient, count, fold_images, images_and_options, pixels_of


def _run_histogram(call: Call) -> Sequence[Tensor]:
    images, options = images_and_options(call)
    joint, normalize, *bins = call.whole[HEAD:]
    ranges = list(zip(call.real[::2], call.real[1::2], strict=True)) or None
    found: Sequence[Tensor] = public("color_histogram")(
        images, bins=bins, space=call.words[1], range=ranges, joint=bool(joint), normalize=bool(normalize), **options
    )
    return found


def _shapes_of_histogram(call: Call) -> Sequence[Tensor]:
    joint, normalize, *bins = call.whole[HEAD:]
    first, n = call.tensors[0], count(call)
    counts = tuple(bins) if joint else (len(bins), bins[0]) if len(set(bins)) == 1 else (sum(bins),)
    others = (n,) if joint else (n, len(bins))
    dtype = torch.float32 if normalize else torch.int32
    out_of_range = [first.new_empty(others, dtype=torch.int32) for _ in range(3)]
    return first.new_empty((n, *counts), dtype=dtype), *out_of_range


def color_histogram(images: Images, mask: Masks | None, bins: tuple[int, ...], space: str,
                    ranges: Sequence[tuple[float, float]] | None, joint: bool, normalize: bool, layout: Layout | None,
                    backend: str) -> list[Tensor]:  # fmt: skip
    """Counts, below, above and nan."""
    check_backend(backend)
    tensors, head = pixels_of(images, mask, layout)
    check_without_gradient(tensors)
    ends = [end for pair in ranges or () for end in pair]
    whole = [*head, int(joint), int(normalize), *bins]
    return _HISTOGRAM(Call(tensors, whole, ends, [backend, space]))


_HISTOGRAM = Operator("color_histogram", _run_histogram, _shapes_of_histogram, fold_images)
