"""Arithmetic on rows in PyTorch whose bits do not depend on the number of rows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ROWS = 64


def in_blocks(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """``function(*tensors)``, on the CPU in blocks of 64 rows, the last one filled up.

    PyTorch computes the last few elements of an array by other instructions than the rest, and shares long arrays out
    among threads, so a row's last bits would depend on its neighbors. A whole number of 64 rows is a whole number of
    vectors, and short enough for one thread.

    Args:
        function: of tensors with one first axis, row by row; returns a tensor with the same first axis.
        tensors: [B, ...].

    Example:
        >>> rows = torch.linspace(0.1, 0.9, 70).unsqueeze(1)
        >>> bool((in_blocks(torch.atanh, rows)[3:] == in_blocks(torch.atanh, rows[3:])).all())
        True
    """
    n = len(tensors[0])
    if tensors[0].device.type != "cpu" and n:
        return function(*tensors)
    blocks = [function(*(_filled(tensor[at : at + ROWS]) for tensor in tensors)) for at in range(0, max(n, 1), ROWS)]
    return (blocks[0] if len(blocks) == 1 else torch.cat(blocks))[:n]


def _filled(rows: Tensor) -> Tensor:
    missing = ROWS - len(rows)
    if missing == 0:
        return rows.contiguous()
    like = rows[-1:] if len(rows) else rows.new_zeros(1, *rows.shape[1:])
    return torch.cat([rows, like.expand(missing, *rows.shape[1:])])
