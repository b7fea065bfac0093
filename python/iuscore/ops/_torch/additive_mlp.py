"""The additive model's networks in plain PyTorch, in chunks of rows that stay in cache.

On a CPU one network after another is faster than batched products; elsewhere launches count, so there is one batched
product for each layer and size of group.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_HIDDEN_ON_CPU = 1 << 18  # values of one network's hidden layer: 1 MiB
_HIDDEN_ELSEWHERE = 1 << 27  # of all networks


def additive_mlp(
    x: Tensor, groups: Sequence[int], w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor
) -> tuple[Tensor, Tensor]:
    """Contributions [B, G, C] and their sum [B, C] of x [B, F]."""
    run = one_by_one if x.device.type == "cpu" else batched
    contributions = run(x, groups, w1, b1, w2, b2, w3, b3)
    return contributions, contributions.sum(1)


def one_by_one(
    x: Tensor, groups: Sequence[int], w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor
) -> Tensor:
    """Contributions [B, G, C], a network at a time."""
    # Not an index a group: its gradient would be as large as all of them.
    parts = zip(
        torch.split(w1, list(groups)), b1.unbind(), w2.unbind(), b2.unbind(), w3.unbind(), b3.unbind(), strict=True
    )
    networks = list(parts)
    chunks = []
    for rows in torch.split(x, max(1, _HIDDEN_ON_CPU // max(w2.shape[1:]))):
        contributions = []
        for inputs, (v1, c1, v2, c2, v3, c3) in zip(torch.split(rows, list(groups), dim=1), networks, strict=True):
            h = torch.addmm(c1, inputs, v1).relu_()
            h = torch.addmm(c2, h, v2).relu_()
            contributions.append(torch.addmm(c3, h, v3))
        chunks.append(torch.stack(contributions, dim=1))
    return torch.cat(chunks)


def batched(
    x: Tensor, groups: Sequence[int], w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor
) -> Tensor:
    """Contributions [B, G, C], all networks at a time."""
    order = sorted(range(len(groups)), key=lambda g: groups[g])  # groups of one size side by side
    moved = order != list(range(len(groups)))
    if moved:
        at = torch.tensor(order, device=x.device)
        b1, w2, b2, w3, b3 = (part[at] for part in (b1, w2, b2, w3, b3))
    firsts = _first_layers(groups, order, w1)
    chunks = []
    for rows in torch.split(x, max(1, _HIDDEN_ELSEWHERE // (len(groups) * max(w2.shape[1:])))):
        h = torch.cat([_product(_columns(rows, columns), w) for columns, w in firsts])
        h = h.add_(b1[:, None]).relu_()
        h = torch.bmm(h, w2).add_(b2[:, None]).relu_()
        chunks.append(torch.bmm(h, w3).add_(b3[:, None]).transpose(0, 1))
    contributions = torch.cat(chunks)
    return contributions[:, at.argsort()] if moved else contributions


def _first_layers(groups: Sequence[int], order: Sequence[int], w1: Tensor) -> list[tuple[Tensor | slice, Tensor]]:
    """Per size of group: the columns of its groups and their weights [n, size, H1]."""
    if len(set(groups)) == 1:
        return [(slice(None), w1.reshape(len(groups), groups[0], -1))]
    starts = [sum(groups[:g]) for g in range(len(groups))]
    layers: list[tuple[Tensor | slice, Tensor]] = []
    for size in sorted(set(groups)):
        members = [g for g in order if groups[g] == size]
        columns = torch.tensor([range(starts[g], starts[g] + size) for g in members], device=w1.device)
        layers.append((columns, w1[columns]))
    return layers


def _columns(rows: Tensor, columns: Tensor | slice) -> Tensor:
    return rows if isinstance(columns, slice) else rows[:, columns.flatten()]


def _product(rows: Tensor, w1: Tensor) -> Tensor:
    """[n, rows, H1] of rows [rows, n * size] and w1 [n, size, H1]."""
    inputs = rows.reshape(len(rows), *w1.shape[:2]).transpose(0, 1)
    return inputs * w1 if w1.shape[1] == 1 else torch.bmm(inputs, w1)
