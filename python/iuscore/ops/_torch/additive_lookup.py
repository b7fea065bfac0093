"""Tables of functions of one variable, looked up operation by operation as in csrc/core/lookup.h: the same bits."""

from __future__ import annotations

import torch
from torch import Tensor

_ELEMENTS_AT_ONCE = 1 << 22  # bounds the index tensors of a large batch


def additive_lookup(x: Tensor, values: Tensor, low: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Contributions [B, G, C] and their sum [B, C] of x [B, G], values [G, P, C], low [G] and scale [G]."""
    step = max(1, _ELEMENTS_AT_ONCE // (values.shape[0] * values.shape[2]))
    parts = [_chunk(x[i : i + step], values, low, scale) for i in range(0, max(len(x), 1), step)]
    contributions = torch.cat(parts)
    total = contributions[:, 0]
    for g in range(1, contributions.shape[1]):  # in order; sum(1) has another one
        total = total + contributions[:, g]
    return contributions, total.clone() if contributions.shape[1] == 1 else total


def _chunk(x: Tensor, values: Tensor, low: Tensor, scale: Tensor) -> Tensor:
    groups, knots, _ = values.shape
    # Not clamp(): its gradient passes at the ends, and its NaN has no cell.
    at = (x - low) * scale
    inside = torch.where(at > 0.0, torch.where(at < knots - 1, at, knots - 1.0), 0.0)
    cell = inside.detach().to(torch.int64).clamp(max=knots - 2)
    part = (inside - cell).unsqueeze(2)
    group = torch.arange(groups, device=x.device)
    left, right = values[group, cell], values[group, cell + 1]
    return torch.where(x.isnan().unsqueeze(2), float("nan"), left + part * (right - left))
