"""The additive model's networks in plain PyTorch: one batched matrix product a layer, in chunks that stay in cache."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Hidden values [G, rows, H] alive at once: 4 MiB of a CPU's cache, but enough to fill a GPU.
_HIDDEN_AT_ONCE = {"cpu": 1 << 20}
_HIDDEN_AT_ONCE_ELSEWHERE = 1 << 27


def additive_mlp(
    x: Tensor, groups: Sequence[int], w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor
) -> tuple[Tensor, Tensor]:
    """Contributions [B, G, C] and their sum [B, C] of x [B, F]."""
    order = sorted(range(len(groups)), key=lambda g: groups[g])  # groups of one size side by side
    moved = order != list(range(len(groups)))
    if moved:
        at = torch.tensor(order, device=x.device)
        b1, w2, b2, w3, b3 = (part[at] for part in (b1, w2, b2, w3, b3))
    firsts = _first_layers(groups, order, w1, x.device)
    hidden = len(groups) * max(w2.shape[1], w2.shape[2])
    step = max(1, _HIDDEN_AT_ONCE.get(x.device.type, _HIDDEN_AT_ONCE_ELSEWHERE) // hidden)
    parts = []
    for start in range(0, max(len(x), 1), step):
        rows = x[start : start + step]
        h = torch.cat([_product(_columns(rows, columns), w) for columns, w in firsts])
        h = h.add_(b1[:, None]).relu_()
        h = torch.bmm(h, w2).add_(b2[:, None]).relu_()
        parts.append(torch.bmm(h, w3).add_(b3[:, None]).transpose(0, 1))
    contributions = torch.cat(parts)
    if moved:
        contributions = contributions[:, at.argsort()]
    return contributions, contributions.sum(1)


def _first_layers(
    groups: Sequence[int], order: Sequence[int], w1: Tensor, device: torch.device
) -> list[tuple[Tensor | slice, Tensor]]:
    """Per size of group: the columns of its groups and their weights [n, size, H1]."""
    if len(set(groups)) == 1:
        return [(slice(None), w1.view(len(groups), groups[0], -1))]
    starts = [sum(groups[:g]) for g in range(len(groups))]
    layers: list[tuple[Tensor | slice, Tensor]] = []
    for size in sorted(set(groups)):
        members = [g for g in order if groups[g] == size]
        columns = torch.tensor([range(starts[g], starts[g] + size) for g in members], device=device)
        layers.append((columns, w1[columns]))
    return layers


def _columns(rows: Tensor, columns: Tensor | slice) -> Tensor:
    return rows if isinstance(columns, slice) else rows[:, columns.flatten()]


def _product(rows: Tensor, w1: Tensor) -> Tensor:
    """[n, rows, H1] of rows [rows, n * size] and w1 [n, size, H1]."""
    inputs = rows.reshape(len(rows), *w1.shape[:2]).transpose(0, 1)
    return inputs * w1 if w1.shape[1] == 1 else torch.bmm(inputs, w1)
