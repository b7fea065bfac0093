"""The networks of `additive_cnn` in plain PyTorch, one after another."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from iuscore.ops._cnn import CnnNetwork


def additive_cnn(maps: Tensor, networks: Sequence[CnnNetwork]) -> Tensor:
    """Evidence [B, G, K] of maps [B, G, h, w]."""
    with _full_float32(maps.device):
        evidence = torch.stack([_one(maps[:, g : g + 1], network) for g, network in enumerate(networks)], dim=1)
    nonfinite = ~torch.isfinite(maps).flatten(2).all(2)
    return evidence.masked_fill(nonfinite[..., None], float("nan"))


def _full_float32(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Without TF32, in which cuDNN would round factors to 11 bits."""
    if device.type != "cuda":
        return contextlib.nullcontext()
    cudnn = torch.backends.cudnn
    now = {"enabled": cudnn.enabled, "benchmark": cudnn.benchmark, "deterministic": cudnn.deterministic}
    flags: contextlib.AbstractContextManager[Any] = cudnn.flags(**now, allow_tf32=False)
    return flags


def _one(x: Tensor, network: CnnNetwork) -> Tensor:
    for block in network.blocks:
        for kernels, bias in zip(block.kernels, block.biases, strict=True):
            x = F.relu(F.conv2d(x, kernels, bias, padding=1))
        x = F.max_pool2d(x, 2)
        x = F.batch_norm(x, block.mean, block.variance, block.weight, block.bias, eps=block.eps)
    x = x.flatten(1)
    for i, (weight, bias) in enumerate(network.linears):
        x = F.linear(F.relu(x) if i else x, weight, bias)
    return x
