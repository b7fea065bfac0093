"""`image_views` in plain PyTorch: the fallback on any device, and an oracle of the kernels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from iuscore.ops._blocks import in_blocks
from iuscore.ops._constants import PATCH_SIDE, PATCH_WINDOW, THUMB_SIDE

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601."""
VARIANCE = 10.0
"""Added to the variance of a patch, in squared gray levels: a flat patch stays flat."""
THRESHOLD = 0.5
POSITIONS = PATCH_SIDE - PATCH_WINDOW + 1
_HALF = POSITIONS // 2 + 1
_CHUNK_PIXELS = 1 << 22


def image_views(images: Tensor, weights: Tensor, bias: Tensor, color: bool) -> tuple[Tensor, Tensor]:
    """Bytes [B, H, W, C] -> thumbnails [B, 64 K] and responses [B, 512], K = 3 in color and 1 in gray."""
    thumb = averages(images, color, THUMB_SIDE).flatten(1)
    small = averages(images, color, PATCH_SIDE)
    return thumb, in_blocks(lambda rows: _responses(rows, weights, bias), small)


def averages(images: Tensor, color: bool, side: int) -> Tensor:
    """Area averages of bytes [B, H, W, C] in gray levels: float32 [B, K, side, side]."""
    batch, height, width, _ = images.shape
    step = max(1, _CHUNK_PIXELS // (height * width))
    parts = [
        # Sums of bytes are exact in float64.
        F.adaptive_avg_pool2d(_levels(images[i : i + step], color).double(), side).float()
        for i in range(0, max(batch, 1), step)
    ]
    return torch.cat(parts)


def _levels(images: Tensor, color: bool) -> Tensor:
    """float32 [B, K, H, W] in whole gray levels 0..255."""
    wide = images.permute(0, 3, 1, 2).float()
    if color:
        return wide.expand(-1, 3, -1, -1)
    if wide.shape[1] == 1:
        return wide
    return (wide[:, :1] * LUMA[0] + wide[:, 1:2] * LUMA[1] + wide[:, 2:] * LUMA[2]).round()


def patches(small: Tensor) -> Tensor:
    """All patches of [B, K, 32, 32], each less its mean, over the root of its variance plus 10: [B, 27 * 27, 36 K].

    The mean and the variance are over all values of a patch, the variance over their number.
    """
    found = F.unfold(small, PATCH_WINDOW).transpose(1, 2)
    found = found - found.mean(2, keepdim=True)
    return found / (found.square().mean(2, keepdim=True) + VARIANCE).sqrt()


def _responses(small: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    answers = (patches(small) @ weights + bias).view(len(small), POSITIONS, POSITIONS, -1)
    signs = torch.cat([F.relu(answers - THRESHOLD), F.relu(-answers - THRESHOLD)], dim=3)
    parts = (slice(0, _HALF), slice(-_HALF, None))
    quarters = torch.stack([signs[:, rows, columns].mean((1, 2)) for rows in parts for columns in parts], dim=2)
    # A root has no derivative at 0; the responses there are constant.
    positive = torch.where(quarters == 0.0, 1.0, quarters).sqrt()
    return torch.where(quarters == 0.0, 0.0, positive).flatten(1)
