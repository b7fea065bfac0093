"""The op `additive_lookup` over the compiled kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from iuscore.ops._native.calls import core, cuda, stream_of
from iuscore.ops._native.library import define, fake


def _outputs(x: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    outputs = values.shape[2]
    return x.new_empty((*x.shape, outputs)), x.new_empty((x.shape[0], outputs))


@define("additive_lookup", "cpu", "cuda")
def additive_lookup(x: Tensor, values: Tensor, low: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    tables = tuple(part.contiguous() for part in (values, low, scale))
    contributions, total = _outputs(x, values)
    arguments = {
        "x": (x.data_ptr(), *x.shape, *x.stride()),
        "knots": values.shape[1],
        "outputs": values.shape[2],
        "tables": tuple(part.data_ptr() for part in tables),
        "contributions": contributions.data_ptr(),
        "total": total.data_ptr(),
    }
    if x.device.type == "cuda":
        cuda().additive_lookup(device=x.device.index, stream=stream_of(x.device), **arguments)
    else:
        core().additive_lookup(**arguments, threads=torch.get_num_threads())
    return contributions, total


@fake("additive_lookup")
def _(x: Tensor, values: Tensor, low: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    return _outputs(x, values)
