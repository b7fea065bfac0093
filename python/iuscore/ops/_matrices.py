"""Checks of co-occurrence matrices that a caller passes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from iuscore.ops._arguments import check_dense
from iuscore.ops._constants import MAX_LEVELS
from iuscore.ops._images import tensor_of


def matrix_of(matrices: object) -> Tensor:
    """Matrices [B, ..., L, L] as a tensor.

    Raises:
        TypeError: another type or dtype. ValueError: another shape.
    """
    tensor = matrices
    if isinstance(matrices, np.ndarray):
        tensor = tensor_of(matrices, "images", "int32, float32 or float64")
    if not isinstance(tensor, Tensor):
        raise TypeError(f"images: expected matrices as a torch.Tensor or numpy.ndarray, got {type(matrices).__name__}")
    check_dense("images", tensor)
    if tensor.dtype not in (torch.int32, torch.float32, torch.float64):
        got = str(tensor.dtype).removeprefix("torch.")
        raise TypeError(f"images: expected matrices of dtype int32, float32 or float64, got {got}")
    shape = list(tensor.shape)
    if tensor.ndim < 3 or shape[-1] != shape[-2] or not 2 <= shape[-1] <= MAX_LEVELS or 0 in shape[1:]:
        raise ValueError(
            f"images: expected matrices [B, ..., L, L], L = 2..{MAX_LEVELS}, with levels=None, got {shape}"
        )
    return tensor
