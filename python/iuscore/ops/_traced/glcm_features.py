"""`glcm_features` as operators, from images and from matrices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from iuscore.ops._backend import check_backend, public
from iuscore.ops._groups import Masks
from iuscore.ops._images import Images, Layout
from iuscore.ops._matrices import matrix_of
from iuscore.ops._operators import Call, Operator, fold_rows
from iuscore.ops._pairs import Offset
from iuscore.ops._traced.glcm import How, checked_levels, decoded, glcm_call, pairs_from
from iuscore.ops._traced.images import DTYPES, HEAD, count, fold_images, images_and_options


def _run_features(call: Call) -> Sequence[Tensor]:
    images, options = images_and_options(call)
    symmetric, dtype = call.whole[HEAD + 4 : HEAD + 6]
    return [
        public("glcm_features")(
            images,
            features=call.words[2:],
            symmetric=bool(symmetric),
            dtype=DTYPES[dtype],
            offsets=pairs_from(call, HEAD + 6),
            **decoded(call),
            **options,
        ).values
    ]


def _shapes_of_features(call: Call) -> Sequence[Tensor]:
    checked_levels(call)
    pairs = (len(call.whole) - HEAD - 6) // 2
    shape = (count(call), pairs, len(call.words) - 2)
    return [call.tensors[0].new_empty(shape, dtype=DTYPES[call.whole[HEAD + 5]])]


def glcm_features(images: Images, mask: Masks | None, pairs: Sequence[Offset], symmetric: bool, how: How,
                  names: Sequence[str], dtype: torch.dtype, layout: Layout | None, backend: str) -> Tensor:  # fmt: skip
    """[B, O, F]."""
    check_backend(backend)
    numbers = [int(symmetric), DTYPES.index(dtype)]
    return _FEATURES(glcm_call(images, mask, pairs, numbers, how, layout, [backend, how[0], *names]))[0]


def _run_matrix(call: Call) -> Sequence[Tensor]:
    symmetric, dtype = call.whole
    backend, *names = call.words
    return [
        public("glcm_features")(
            call.tensors[0],
            levels=None,
            features=names,
            symmetric=bool(symmetric),
            dtype=DTYPES[dtype],
            backend=backend,
        ).values
    ]


def _shapes_of_matrix(call: Call) -> Sequence[Tensor]:
    matrix = matrix_of(call.tensors[0])
    return [matrix.new_empty((*matrix.shape[:-2], len(call.words) - 1), dtype=DTYPES[call.whole[1]])]


def matrix_features(
    matrices: object, symmetric: bool, names: Sequence[str], dtype: torch.dtype, backend: str
) -> Tensor:
    """[B, ..., F]."""
    check_backend(backend)
    return _MATRIX(Call([matrix_of(matrices)], [int(symmetric), DTYPES.index(dtype)], [], [backend, *names]))[0]


_FEATURES = Operator("glcm_features", _run_features, _shapes_of_features, fold_images)
_MATRIX = Operator("glcm_matrix_features", _run_matrix, _shapes_of_matrix, fold_rows)
