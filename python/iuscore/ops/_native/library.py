"""Registers an op with PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import torch

_P = ParamSpec("_P")
_R = TypeVar("_R")


def define(
    name: str,
    *devices: str,
    backward: Callable[..., Any] | None = None,
    setup_context: Callable[..., None] | None = None,
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Make a function the custom op ``iuscore::name`` on these types of devices.

    Like `torch.library.custom_op`, but without importing PyTorch's compiler, for which every command and every worker
    would wait.
    """

    def refuse(ctx: Any, *gradients: Any) -> None:
        raise RuntimeError(f"{name}: the compiled kernels have no derivative; use backend='torch'")

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        qualified = f"iuscore::{name}"
        schema = torch.library.infer_schema(function, mutates_args=())
        torch.library.define(qualified, schema, tags=(torch.Tag.pt2_compliant_tag,))
        torch.library.impl(qualified, devices, function)
        torch.library.register_autograd(qualified, backward or refuse, setup_context=setup_context)
        return cast(Callable[_P, _R], getattr(torch.ops.iuscore, name).default)

    return decorate


def implement(name: str, device: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Make a function the implementation of the op on another type of device."""

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        torch.library.impl(f"iuscore::{name}", device, function)
        return function

    return decorate


def fake(name: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Make a function the one that gives the shapes and types of the op's outputs."""

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        torch.library.register_fake(f"iuscore::{name}", function)
        return function

    return decorate
