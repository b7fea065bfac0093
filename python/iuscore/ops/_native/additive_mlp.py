"""The op `additive_mlp` and its gradient over the compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from iuscore.ops._native.calls import core, cuda, stream_of
from iuscore.ops._native.library import define, fake
from iuscore.ops._on_device import on_device

Weights = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
Gradients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def _outputs(x: Tensor, groups: Sequence[int], w3: Tensor) -> tuple[Tensor, Tensor]:
    rows, outputs = x.shape[0], w3.shape[2]
    return x.new_empty((rows, len(groups), outputs)), x.new_empty((rows, outputs))


def _arguments(x: Tensor, groups: Sequence[int], weights: Weights) -> dict[str, Any]:
    """What all kernels take; the weights must be contiguous."""
    _, h1, h2 = weights[2].shape
    return {
        "x": (x.data_ptr(), *x.shape, *x.stride()),
        "first_input": np.cumsum([0, *groups], dtype=np.int32),
        "sizes": (h1, h2, weights[4].shape[2]),
        "weights": tuple(part.data_ptr() for part in weights),
    }


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, ctx.groups, *weights = inputs
    ctx.set_materialize_grads(False)  # zeros for contributions [B, G, C] would be read for nothing
    ctx.save_for_backward(x, *weights)


def _differentiate(ctx: Any, of_contributions: Tensor | None, of_total: Tensor | None) -> tuple[Tensor | None, ...]:
    if of_contributions is None and of_total is None:
        return (None,) * 8
    x, w1, b1, w2, b2, w3, b3 = ctx.saved_tensors
    needs_x = ctx.needs_input_grad[0]
    of_x, *of_weights = additive_mlp_backward(
        of_contributions, of_total, x, ctx.groups, w1, b1, w2, b2, w3, b3, needs_x
    )
    return of_x if needs_x else None, None, *of_weights


@define("additive_mlp", "cpu", "cuda", backward=_differentiate, setup_context=_keep)
def additive_mlp(
    x: Tensor, groups: Sequence[int], w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor
) -> tuple[Tensor, Tensor]:
    weights = _contiguous(w1, b1, w2, b2, w3, b3)
    contributions, total = _outputs(x, groups, w3)
    arguments = {
        **_arguments(x, groups, weights),
        "contributions": contributions.data_ptr(),
        "total": total.data_ptr(),
    }
    if x.device.type == "cuda":
        _run_cuda("additive_mlp", 0, groups, x, arguments)
    else:
        core().additive_mlp(**arguments, threads=torch.get_num_threads())
    return contributions, total


@fake("additive_mlp")
def _(
    x: Tensor, groups: Sequence[int], w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor
) -> tuple[Tensor, Tensor]:
    return _outputs(x, groups, w3)


@define("additive_mlp_backward", "cpu", "cuda")
def additive_mlp_backward(
    of_contributions: Tensor | None, of_total: Tensor | None, x: Tensor, groups: Sequence[int], w1: Tensor, b1: Tensor,
    w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor, needs_x: bool,
) -> Gradients:  # fmt: skip
    weights = _contiguous(w1, b1, w2, b2, w3, b3)
    gradients = _gradients(x, weights, needs_x)
    incoming = [None if g is None else g.contiguous() for g in (of_contributions, of_total)]
    arguments = {
        **_arguments(x, groups, weights),
        "incoming": tuple(0 if g is None else g.data_ptr() for g in incoming),
        "gradient_x": gradients[0].data_ptr() if needs_x else 0,
        "gradients": tuple(g.data_ptr() for g in gradients[1:]),
    }
    if x.device.type == "cuda":
        _run_cuda("additive_mlp_backward", 1, groups, x, arguments)
    else:
        core().additive_mlp_backward(**arguments, threads=torch.get_num_threads())
    return gradients


@fake("additive_mlp_backward")
def _(
    of_contributions: Tensor | None, of_total: Tensor | None, x: Tensor, groups: Sequence[int], w1: Tensor, b1: Tensor,
    w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor, needs_x: bool,
) -> Gradients:  # fmt: skip
    return _gradients(x, (w1, b1, w2, b2, w3, b3), needs_x)


def _contiguous(*weights: Tensor) -> Weights:
    w1, b1, w2, b2, w3, b3 = (part.contiguous() for part in weights)
    return w1, b1, w2, b2, w3, b3


def _gradients(x: Tensor, weights: Weights, needs_x: bool) -> Gradients:
    """Memory for them; that of x is empty where it is not needed."""
    w1, b1, w2, b2, w3, b3 = (part.new_empty(part.shape) for part in weights)
    return x.new_empty(x.shape if needs_x else (0, x.shape[1])), w1, b1, w2, b2, w3, b3


def _first_inputs(groups: tuple[int, ...]) -> tuple[Tensor]:
    return (torch.from_numpy(np.cumsum([0, *groups], dtype=np.int32)),)


def _run_cuda(kernel: str, which: int, groups: Sequence[int], x: Tensor, arguments: dict[str, Any]) -> None:
    """``arguments``: what the CPU kernel takes, without threads; ``which``: 0 forward, 1 backward."""
    device = x.device.index
    sizes = {name: arguments[name] for name in ("first_input", "sizes")}
    needed = cuda().additive_mlp_workspace(device=device, rows=len(x), **sizes)[which]
    workspace = x.new_empty(max(needed, 1), dtype=torch.uint8)
    key = tuple(groups)
    (first_inputs,) = on_device(("groups", key), x.device, lambda: _first_inputs(key))
    getattr(cuda(), kernel)(
        device=device,
        stream=stream_of(x.device),
        first_input_device=first_inputs.data_ptr(),
        workspace=workspace.data_ptr(),
        workspace_bytes=needed,
        **arguments,
    )
