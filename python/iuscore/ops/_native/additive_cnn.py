"""The op `additive_cnn` over the compiled kernels, and the packed weights it reads, which are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from iuscore.ops._cnn import CnnNetwork, CnnShape, identity_of, shape_of, tensors_of
from iuscore.ops._native.additive_cnn_pack import pack
from iuscore.ops._native.calls import core
from iuscore.ops._native.library import define, fake


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
        narrow=[False, *(part.dtype == torch.int16 for part in parts[2 : 5 * len(channels) - 3 : 5])],
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


def additive_cnn(maps: Tensor, networks: Sequence[CnnNetwork], narrow: bool) -> Tensor:
    """Evidence [B, G, K] of maps [B, G, h, w]."""
    packed = packed_of(networks, tuple(maps.shape[2:]), narrow)
    evidence: Tensor = additive_cnn_packed(maps, packed.parts, *packed.shape)
    return evidence


class Packed(NamedTuple):
    """What was packed, from which weights."""

    shape: CnnShape
    size: tuple[int, ...]
    parts: list[Tensor]
    identity: list[object]  # of the weights
    held: list[Tensor]  # other names of them, which keep their memory
    statistics: list[Tensor]  # copies: batch norm changes them in training without a new version


_kept: Any = WeakIdKeyDictionary()  # first tensor of the first network -> {narrow: Packed}


def packed_of(networks: Sequence[CnnNetwork], size: tuple[int, ...], narrow: bool) -> Packed:
    """The packed weights, from the last call where they are still the same."""
    weights = [tensor for network in networks for _, tensor in tensors_of(network)]
    statistics = [value for network in networks for block in network.blocks for value in (block.mean, block.variance)]
    shape = shape_of(networks[0], size)
    if any(weight.is_inference() for weight in weights):  # such a tensor does not tell when it changes
        return Packed(shape, size, pack(networks, shape, size, narrow), [], [], [])
    kept: dict[bool, Packed] = _kept.setdefault(weights[0], {})
    found, identity = kept.get(narrow), identity_of(networks)
    same = found is not None and (found.size, found.identity) == (size, identity)
    if found is not None and same and all(map(torch.equal, statistics, found.statistics)):
        return found
    held, copies = [weight.detach() for weight in weights], [value.clone() for value in statistics]
    made = kept[narrow] = Packed(shape, size, pack(networks, shape, size, narrow), identity, held, copies)
    return made
