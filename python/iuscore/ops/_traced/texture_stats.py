"""`texture_stats` as an operator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from iuscore.ops._backend import check_backend, public
from iuscore.ops._constants import (
    TEXTURE_COLOR_PLANES,
    TEXTURE_GRAY_PLANES,
    TEXTURE_GRID,
    TEXTURE_PROPERTIES,
    TEXTURE_STATISTICS,
)
from iuscore.ops._groups import Masks
from iuscore.ops._images import Images, Layout
from iuscore.ops._operators import Call, Operator
from iuscore.ops._pairs import FOUR_ANGLES
from iuscore.ops._traced.images import HEAD, check_without_gradient, count, fold_images, images_and_options, pixels_of


def _run_stats(call: Call) -> Sequence[Tensor]:
    images, options = images_and_options(call)
    bins, levels, *distances = call.whole[HEAD:]
    found: Sequence[Tensor] = public("texture_stats")(
        images, kind=call.words[1], bins=bins, levels=levels, distances=distances, **options
    )
    return found


def _shapes_of_stats(call: Call) -> Sequence[Tensor]:
    bins, _, *distances = call.whole[HEAD:]
    first, n = call.tensors[0], count(call)
    planes = TEXTURE_COLOR_PLANES if call.words[1] == "color" else TEXTURE_GRAY_PLANES

    def made(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return first.new_empty((n, *shape), dtype=dtype)

    return (
        made(planes, bins, dtype=torch.int32),
        made(planes, TEXTURE_STATISTICS),
        made(planes, dtype=torch.int32),
        made(len(distances), len(FOUR_ANGLES), TEXTURE_PROPERTIES),
        made(TEXTURE_GRID, TEXTURE_GRID),
    )


def texture_stats(images: Images, mask: Masks | None, kind: str, bins: int, levels: int, distances: Sequence[int],
                  layout: Layout | None, backend: str) -> list[Tensor]:  # fmt: skip
    """Histograms, statistics, counted, co-occurrence and blocks."""
    check_backend(backend)
    tensors, head = pixels_of(images, mask, layout)
    check_without_gradient(tensors)
    return _STATS(Call(tensors, [*head, bins, levels, *distances], [], [backend, kind]))


_STATS = Operator("texture_stats", _run_stats, _shapes_of_stats, fold_images)
