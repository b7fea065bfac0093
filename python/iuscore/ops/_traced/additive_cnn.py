"""`additive_cnn` as an operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor

from iuscore.ops._backend import check_backend, public
from iuscore.ops._cnn import CnnBlock, CnnNetwork
from iuscore.ops._operators import Call, Operator, fold_rows, refuse_native


def _run_cnn(call: Call) -> Sequence[Tensor]:
    maps, *parts = call.tensors
    precision, backend = call.words
    networks = _networks(parts, list(call.whole), list(call.real))
    return [public("additive_cnn")(maps, networks, precision=precision, backend=backend)]


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


_CNN = Operator("additive_cnn", _run_cnn, _shapes_of_cnn, fold_rows)
