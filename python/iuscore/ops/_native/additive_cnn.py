"""The CPU kernels of `additive_cnn`, and the packed weights that they read, which are cached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from iuscore.ops._cnn import CnnBlock, CnnNetwork, CnnShape, identity_of, shape_of, tensors_of
from iuscore.ops._constants import CNN_MAX_PATCH, CNN_PANEL, CNN_VECTOR
from iuscore.ops._native.calls import core
from iuscore.ops._native.library import define, fake

POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)  # and infinity: csrc/cpu/additive_cnn_isa.cpp


@define("additive_cnn", "cpu")
def additive_cnn_packed(
    maps: Tensor, parts: Sequence[Tensor], channels: Sequence[int], pooled: Sequence[bool], units: Sequence[int]
) -> Tensor:
    maps = maps.contiguous()
    evidence = maps.new_empty((*maps.shape[:2], units[-1]))
    core().additive_cnn(
        maps=(maps.data_ptr(), *maps.shape),
        channels=list(channels),
        pooled=list(pooled),
        units=list(units),
        quantized=[False, *(part.dtype == torch.int16 for part in parts[2 : 5 * len(channels) - 3 : 5])],
        buffers=[(part.data_ptr(), part.numel()) for part in parts],
        evidence=evidence.data_ptr(),
        threads=torch.get_num_threads(),
    )
    return evidence


@fake("additive_cnn")
def _(
    maps: Tensor, parts: Sequence[Tensor], channels: Sequence[int], pooled: Sequence[bool], units: Sequence[int]
) -> Tensor:
    return maps.new_empty((*maps.shape[:2], units[-1]))


def additive_cnn(maps: Tensor, networks: Sequence[CnnNetwork], quantized: bool) -> Tensor:
    """Evidence [B, G, K] of maps [B, G, h, w]."""
    packed = packed_of(networks, tuple(maps.shape[2:]), quantized)
    evidence: Tensor = additive_cnn_packed(maps, packed.parts, *packed.shape)
    return evidence


class Packed(NamedTuple):
    """Packed weights, and what they were packed from."""

    shape: CnnShape
    size: tuple[int, ...]
    parts: list[Tensor]
    identity: list[object]  # of the weights
    held: list[Tensor]  # aliases of the weights, which keep their memory alive
    statistics: list[Tensor]  # copies: training changes batch norm's statistics without a new version


_kept: Any = WeakIdKeyDictionary()  # first tensor of the first network -> {quantized: Packed}


def packed_of(networks: Sequence[CnnNetwork], size: tuple[int, ...], quantized: bool) -> Packed:
    """The packed weights; those of the last call if the weights have not changed."""
    weights = [tensor for network in networks for _, tensor in tensors_of(network)]
    statistics = [value for network in networks for block in network.blocks for value in (block.mean, block.variance)]
    shape = shape_of(networks[0], size)
    if any(weight.is_inference() for weight in weights):  # inference tensors have no version that shows a change
        return Packed(shape, size, pack(networks, shape, size, quantized), [], [], [])
    kept: dict[bool, Packed] = _kept.setdefault(weights[0], {})
    found, identity = kept.get(quantized), identity_of(networks)
    same = found is not None and (found.size, found.identity) == (size, identity)
    if found is not None and same and all(map(torch.equal, statistics, found.statistics)):
        return found
    held, copies = [weight.detach() for weight in weights], [value.clone() for value in statistics]
    made = kept[quantized] = Packed(shape, size, pack(networks, shape, size, quantized), identity, held, copies)
    return made


# ---- Weights in the order in which the kernels read them: csrc/ops/additive_cnn.h


def pack(networks: Sequence[CnnNetwork], shape: CnnShape, size: Sequence[int], quantized: bool) -> list[Tensor]:
    """First kernels and bias; kernels, units, bias, scale and shift of every other convolution; the linear layers.

    Args:
        networks: G of them, of one shape.
        shape: theirs.
        size: (height, width) of the maps.
        quantized: whether kernels become 16-bit integers.

    Returns:
        Contiguous tensors, first axis G; units are empty of float32 kernels, scale and shift where no pooling follows.
    """
    convolutions = [_convolutions(network) for network in networks]
    first = [layers[0] for layers in convolutions]
    parts = [
        torch.stack([_wide(kernels.flatten(1).T, 1) for kernels, _, _ in first]),
        torch.stack([_wide(bias, 0) for _, bias, _ in first]),
    ]
    for i in range(1, len(shape.channels)):
        layers = [each[i] for each in convolutions]
        points = [_points(kernels) for kernels, _, _ in layers]
        if quantized:
            integers, units = zip(*map(_integers, points), strict=True)
            parts += [torch.stack([_pairs(part).flatten() for part in integers]), torch.stack(units)]
        else:
            parts += [torch.stack([_panels(part.float()).flatten() for part in points]), torch.empty(0)]
        parts.append(torch.stack([_wide(bias, 0) for _, bias, _ in layers]))
        norms = [_affine(block) for _, _, block in layers if block is not None]
        parts += [torch.stack([_wide(norm[k], 0) for norm in norms]) if norms else torch.empty(0) for k in (0, 1)]
    height, width = (side >> sum(shape.pooled) for side in size)
    for i in range(len(shape.units)):
        linears = [network.linears[i] for network in networks]
        weights = [
            _features_last(weight, shape.channels[-1], height, width) if i == 0 else weight for weight, _ in linears
        ]
        parts.append(torch.stack([_panels(_wide(weight.T, 1)) for weight in weights]))
        parts.append(torch.stack([_wide(bias, 0) for _, bias in linears]))
    return parts


def _convolutions(network: CnnNetwork) -> list[tuple[Tensor, Tensor, CnnBlock | None]]:
    """Kernels, bias, and the block where it ends there."""
    return [
        (kernels.detach(), bias.detach(), block if i + 1 == len(block.kernels) else None)
        for block in network.blocks
        for i, (kernels, bias) in enumerate(zip(block.kernels, block.biases, strict=True))
    ]


def _wide(values: Tensor, axis: int) -> Tensor:
    """Fills an axis with zeros up to a whole number of vectors."""
    pad = -values.shape[axis] % CNN_VECTOR
    return F.pad(values.detach(), [0, 0] * (values.ndim - 1 - axis) + [0, pad])


def _panels(matrix: Tensor) -> Tensor:
    """[..., terms, n] -> [..., terms * n]: panels of 32 columns, one after another."""
    return torch.cat([part.flatten(-2) for part in torch.split(matrix, CNN_PANEL, dim=-1)], dim=-1)


def _pairs(matrix: Tensor) -> Tensor:
    """The same with pairs of terms: two terms of a column are neighbors."""
    pairs = matrix.reshape(*matrix.shape[:-2], -1, 2, matrix.shape[-1])
    return torch.cat([part.transpose(-1, -2).flatten(-3) for part in torch.split(pairs, CNN_PANEL, dim=-1)], dim=-1)


def _points(kernels: Tensor) -> Tensor:
    """[out, in, 3, 3] -> float64 [36, in rounded up to even, out in whole vectors]: the matrices at the points."""
    g = _transform().to(kernels.device)
    points = torch.einsum("pi,ocij,qj->pqco", g, kernels.double(), g).flatten(0, 1)
    return _wide(F.pad(points, [0, 0, 0, points.shape[1] % 2]), 2)


def _integers(points: Tensor) -> tuple[Tensor, Tensor]:
    """The matrices [36, in, out] as int16, and float32 units [36, out].

    A unit is the smallest one with which every kernel fits 16 bits and every sum of products with patches, whose
    magnitudes are at most `CNN_MAX_PATCH`, fits 32 bits. Rounding adds at most 1/2 to each of the `in` magnitudes.
    """
    most = (2**31 - 1) / CNN_MAX_PATCH - points.shape[1] / 2
    units = torch.maximum(points.abs().amax(1) / 32767, points.abs().sum(1) / most).float()
    units = torch.nextafter(units, torch.full_like(units, torch.inf)).masked_fill(units == 0, 1.0)
    return torch.round(points / units[:, None].double()).to(torch.int16), units


def _transform() -> Tensor:
    """[6, 3] float64, Winograd's matrix G of the points: row p is (1, p, p^2) over the product of p - q, q != p."""
    points = torch.tensor(POINTS, dtype=torch.float64)
    differences = points[:, None] - points + torch.eye(len(points), dtype=torch.float64)
    rows = torch.stack([points**0, points, points**2], dim=1) / differences.prod(1, keepdim=True)
    return torch.cat([rows, torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)])


def _affine(block: CnnBlock) -> tuple[Tensor, Tensor]:
    """Batch norm as scale and shift."""
    mean, variance = block.mean.double(), block.variance.double()
    scale = torch.rsqrt(variance + block.eps)
    if block.weight is not None:
        scale = scale * block.weight.detach().double()
    shift = -mean * scale
    if block.bias is not None:
        shift = shift + block.bias.detach().double()
    return scale.float(), shift.float()


def _features_last(weight: Tensor, channels: int, height: int, width: int) -> Tensor:
    """[out, channels * height * width] -> the same with channels last, in whole vectors."""
    places = weight.detach().reshape(-1, channels, height, width).permute(0, 2, 3, 1)
    return _wide(places, 3).flatten(1)
