"""`additive_lookup` as an operator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from iuscore.ops._additive import AdditiveOutput, AdditiveTables
from iuscore.ops._backend import check_backend, public
from iuscore.ops._operators import Call, Operator, fold_rows, refuse_native


def _run_lookup(call: Call) -> Sequence[Tensor]:
    x, values, low, high = call.tensors
    tables = AdditiveTables(values, low, high, values.new_empty(values.shape[::2], dtype=torch.float64))
    found: Sequence[Tensor] = public("additive_lookup")(x, tables, backend=call.words[0])
    return found


def _shapes_of_lookup(call: Call) -> Sequence[Tensor]:
    x, outputs = call.tensors[0], call.tensors[1].shape[2]
    return x.new_empty((*x.shape, outputs)), x.new_empty((x.shape[0], outputs))


def additive_lookup(x: Tensor, tables: AdditiveTables, backend: str) -> AdditiveOutput:
    check_backend(backend)
    refuse_native("additive_lookup", backend, [x])
    return AdditiveOutput(*_LOOKUP(Call([x, tables.values, tables.low, tables.high], [], [], [backend])))


_LOOKUP = Operator("additive_lookup", _run_lookup, _shapes_of_lookup, fold_rows)
