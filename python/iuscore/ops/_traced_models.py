"""The additive ops as `Operator`s; as `iuscore.ops._traced` for images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

import iuscore.ops as ops
from iuscore.ops._backend import check_backend, choose
from iuscore.ops._cnn import CnnBlock, CnnNetwork
from iuscore.ops._native import additive_mlp as _native
from iuscore.ops._operators import Call, Function, Operator, fold_rows, once_more, refuse_native
from iuscore.ops.additive_lookup import AdditiveTables
from iuscore.ops.additive_mlp import AdditiveOutput, AdditiveWeights


def _run_mlp(call: Call) -> Sequence[Tensor]:
    x, *weights = call.tensors
    return ops.additive_mlp(x, call.whole, AdditiveWeights(*weights), backend=cast(Any, call.words[0]))


def _shapes_of_mlp(call: Call) -> Sequence[Tensor]:
    x, outputs = call.tensors[0], call.tensors[5].shape[2]
    return x.new_empty((x.shape[0], len(call.whole), outputs)), x.new_empty((x.shape[0], outputs))


def _gradient_of_mlp(run: Function, call: Call, gradients: list[Tensor], wanted: Sequence[bool]) -> Sequence[Tensor]:
    """By the kernels where the op has them; they need no second run."""
    x, *weights = call.tensors
    if choose("additive_mlp", x.device, backend=cast(Any, call.words[0])).implementation == "torch":
        return once_more(run, call, gradients, wanted)
    of_contributions, of_total = gradients
    w1, b1, w2, b2, w3, b3 = weights
    found = _native.additive_mlp_backward(of_contributions, of_total, x, call.whole, w1, b1, w2, b2, w3, b3, wanted[0])
    return [part for part, one in zip(found, wanted, strict=True) if one]


def additive_mlp(x: Tensor, sizes: Sequence[int], weights: AdditiveWeights, backend: str) -> AdditiveOutput:
    check_backend(backend)
    parts = [weights.w1, weights.b1, weights.w2, weights.b2, weights.w3, weights.b3]
    return AdditiveOutput(*_MLP(Call([x, *parts], sizes, [], [backend])))


def _run_lookup(call: Call) -> Sequence[Tensor]:
    x, values, low, high = call.tensors
    tables = AdditiveTables(values, low, high, values.new_empty(values.shape[::2], dtype=torch.float64))
    return ops.additive_lookup(x, tables, backend=cast(Any, call.words[0]))


def _shapes_of_lookup(call: Call) -> Sequence[Tensor]:
    x, outputs = call.tensors[0], call.tensors[1].shape[2]
    return x.new_empty((*x.shape, outputs)), x.new_empty((x.shape[0], outputs))


def additive_lookup(x: Tensor, tables: AdditiveTables, backend: str) -> AdditiveOutput:
    check_backend(backend)
    refuse_native("additive_lookup", backend, [x])
    return AdditiveOutput(*_LOOKUP(Call([x, tables.values, tables.low, tables.high], [], [], [backend])))


def _run_cnn(call: Call) -> Sequence[Tensor]:
    maps, *parts = call.tensors
    precision, backend = call.words
    networks = _networks(parts, list(call.whole), list(call.real))
    return [ops.additive_cnn(maps, networks, precision=cast(Any, precision), backend=cast(Any, backend))]


def _shapes_of_cnn(call: Call) -> Sequence[Tensor]:
    maps, outputs = call.tensors[0], call.tensors[-1].shape[0]
    return [maps.new_empty((*maps.shape[:2], outputs))]


def additive_cnn(maps: Tensor, networks: Sequence[CnnNetwork], precision: str, backend: str) -> Tensor:
    check_backend(backend)
    tensors, whole, real = [maps], [len(networks)], []
    for network in networks:
        whole += [len(network.blocks), len(network.linears)]
        for block in network.blocks:
            affine = [part for part in (block.weight, block.bias) if part is not None]
            tensors += [*block.kernels, *block.biases, block.mean, block.variance, *affine]
            whole += [len(block.kernels), int(block.weight is not None), int(block.bias is not None)]
            real.append(float(block.eps))
        for weight, bias in network.linears:
            tensors += [weight, bias]
    refuse_native("additive_cnn", backend, tensors)
    return _CNN(Call(tensors, whole, real, [precision, backend]))[0]


def _networks(parts: list[Tensor], whole: list[int], real: list[float]) -> list[CnnNetwork]:
    """The inverse of what `additive_cnn` makes of its networks; takes the lists apart."""

    def taken(n: int) -> tuple[Tensor, ...]:
        found, parts[:n] = tuple(parts[:n]), []
        return found

    def block() -> CnnBlock:
        convolutions, has_weight, has_bias = whole.pop(0), whole.pop(0), whole.pop(0)
        kernels, biases = taken(convolutions), taken(convolutions)
        mean, variance = taken(2)
        weight = taken(1)[0] if has_weight else None
        bias = taken(1)[0] if has_bias else None
        return CnnBlock(kernels, biases, mean, variance, weight, bias, real.pop(0))

    def network() -> CnnNetwork:
        blocks, linears = whole.pop(0), whole.pop(0)
        made = tuple(block() for _ in range(blocks))
        return CnnNetwork(made, tuple(cast("tuple[Tensor, Tensor]", taken(2)) for _ in range(linears)))

    return [network() for _ in range(whole.pop(0))]


_MLP = Operator("additive_mlp", _run_mlp, _shapes_of_mlp, fold_rows, _gradient_of_mlp)
_LOOKUP = Operator("additive_lookup", _run_lookup, _shapes_of_lookup, fold_rows)
_CNN = Operator("additive_cnn", _run_cnn, _shapes_of_cnn, fold_rows)
