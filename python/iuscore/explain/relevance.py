"""Perceptual relevance maps of EPU-CNN: where in an image the networks of its maps respond."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from iuscore.errors import UserError
from iuscore.models import EPUCNN, Ensemble

Floats = npt.NDArray[np.float32]

BLOCK = 1
"""Index of the block whose last convolution the maps are taken from: the second of three, before its pooling."""


def relevance_maps(model: Ensemble, inputs: Tensor) -> Floats:
    """Perceptual relevance maps (PRM) of prepared images.

    For each component: the outputs of the second block's last convolution, after the ReLU and before the pooling; the
    half of its channels with the highest Shannon entropy of their values; each of these scaled to 0..255; their mean,
    rounded down; bicubic enlargement to the map's size; scaled to 0..255, rounded down; 0 at and below Yen's threshold.
    Of an ensemble: the mean over members before the enlargement. Of two channels with equal entropy the first is
    taken; the published program takes the first one twice.

    A map says where a network responds, not in favor of which class.

    Args:
        model: of kind "epu".
        inputs: float32 [B, G, h, w], as the model's ``prepare`` returns them.

    Returns:
        float32 [B, G, h, w] in [0, 1]; 0 for an image that is not finite.

    Raises:
        UserError: a model of another kind.

    Source: Dimas, Cholopoulou, Iakovidis, "E pluribus unum interpretable convolutional neural networks", Scientific
        Reports 13:11421, 2023; details of entropy, choice of block and threshold as in its public implementation,
        https://github.com/innoisys/EPU-CNN, commit ede2354.

    Example:
        >>> model = Ensemble([EPUCNN(["a", "b"], size=(16, 24), base_channels=2, hidden_units=2)]).eval()
        >>> relevance_maps(model, torch.rand(2, 4, 16, 24)).shape
        (2, 4, 16, 24)
    """
    members = [member for member in model.members if isinstance(member, EPUCNN)]
    if len(members) < len(model.members):
        raise UserError(f"relevance maps: expected a model of kind 'epu', got {model.member_kind!r}")
    return np.stack([_of_image(members, image[None].cpu().float()) for image in inputs])


@torch.no_grad()
def _of_image(members: list[EPUCNN], image: Tensor) -> Floats:
    """[1, G, h, w] -> [G, h, w]; one image at a time, so that its map does not depend on others."""
    found = np.zeros(image.shape[1:], np.float32)
    if not bool(image.isfinite().all()):
        return found
    for i in range(image.shape[1]):
        raw = np.mean([_raw(member, image, i) for member in members], axis=0)
        found[i] = _refined(raw, (image.shape[2], image.shape[3]))
    return found


def _raw(member: EPUCNN, image: Tensor, i: int) -> npt.NDArray[np.float64]:
    """Mean of the chosen channels of one member's network i, whole numbers in 0..255."""
    member = member.cpu()
    x = (image[:, i : i + 1] - member.map_mean[i]) / member.map_sd[i]
    subnet: Any = member.subnets[i]
    for block in subnet.blocks[:BLOCK]:
        x = block(x)
    for conv in subnet.blocks[BLOCK].convs:
        x = torch.relu(conv(x))
    channels = [_scaled(channel) for channel in x[0].double().numpy()]
    entropy = np.array([_entropy(channel) for channel in channels])
    chosen = np.argsort(-entropy, kind="stable")[: max(len(channels) // 2, 1)]
    found: npt.NDArray[np.float64] = np.floor(np.mean([255.0 * channels[c] for c in chosen], axis=0))
    return found


def _scaled(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """To 0..1 by the smallest and the largest value; 0 where these are equal."""
    low, high = float(values.min()), float(values.max())
    found: npt.NDArray[np.float64] = (values - low) / (high - low) if high > low else np.zeros(values.shape)
    return found


def _entropy(values: npt.NDArray[np.float64]) -> float:
    """Shannon entropy of the values in bits; each different number is a value of its own."""
    _, counts = np.unique(values, return_counts=True)
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def _refined(raw: npt.NDArray[np.float64], size: tuple[int, int]) -> Floats:
    large = F.interpolate(torch.from_numpy(raw)[None, None], size, mode="bicubic")[0, 0].numpy()
    codes = np.floor(255.0 * _scaled(large)).astype(np.uint8)
    kept = np.where(codes > yen_threshold(codes), codes, 0)
    return (kept / 255.0).astype(np.float32)


def yen_threshold(codes: npt.NDArray[np.uint8]) -> int:
    """Yen's threshold of whole numbers: values above it are the foreground.

    The threshold t maximizes -log(sum of p_i^2 up to t, times that above t) + 2 log(P (1 - P)), with p_i the share of
    the value i and P the share of values up to t; the first of equal maxima counts.

    Source: Yen, Chang, Chang, "A new criterion for automatic multilevel thresholding", IEEE Transactions on Image
        Processing 4:370, 1995.

    Example:
        >>> yen_threshold(np.array([0] * 50 + [3] * 50 + [200] * 20 + [210] * 20, np.uint8))
        3
    """
    low, high = int(codes.min()), int(codes.max())
    if low == high:
        return low
    p = np.bincount(codes.ravel().astype(np.int64) - low, minlength=high - low + 1) / codes.size
    below = np.cumsum(p)[:-1]
    squares_below, squares_above = np.cumsum(p**2)[:-1], np.cumsum(p[::-1] ** 2)[::-1][1:]
    criterion = np.log((below * (1.0 - below)) ** 2 / (squares_below * squares_above))
    return low + int(criterion.argmax())
