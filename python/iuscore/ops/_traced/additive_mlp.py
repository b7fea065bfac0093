"""`additive_mlp` as an operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor

from iuscore.ops._additive import AdditiveOutput, AdditiveWeights
from iuscore.ops._backend import check_backend, choose, public
from iuscore.ops._native import additive_mlp as _native
from iuscore.ops._operators import Call, Function, Operator, fold_rows, once_more


def _run_mlp(call: Call) -> Sequence[Tensor]:
    x, *weights = call.tensors
    found: Sequence[Tensor] = public("additive_mlp")(x, call.whole, AdditiveWeights(*weights), backend=call.words[0])
    return found


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


_MLP = Operator("additive_mlp", _run_mlp, _shapes_of_mlp, fold_rows, _gradient_of_mlp)
