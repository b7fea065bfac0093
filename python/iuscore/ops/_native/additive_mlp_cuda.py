"""How the CUDA kernels of `additive_mlp` are called: group starts on the device, workspace and stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from iuscore.ops._native.calls import cuda, stream_of
from iuscore.ops._on_device import on_device


def _first_inputs(groups: tuple[int, ...]) -> tuple[Tensor]:
    return (torch.from_numpy(np.cumsum([0, *groups], dtype=np.int32)),)


def _call(kernel: str, which: int, groups: Sequence[int], x: Tensor, arguments: dict[str, Any]) -> None:
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


def additive_mlp(groups: Sequence[int], x: Tensor, arguments: dict[str, Any]) -> None:
    """``arguments``: what the CPU kernel takes, but for threads."""
    _call("additive_mlp", 0, groups, x, arguments)


def additive_mlp_backward(groups: Sequence[int], x: Tensor, arguments: dict[str, Any]) -> None:
    """``arguments``: what the CPU kernel takes, but for threads."""
    _call("additive_mlp_backward", 1, groups, x, arguments)
