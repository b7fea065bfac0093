"""The additive model's forward pass: every group of inputs through its own small network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

import torch
from torch import Tensor

from iuscore.ops._additive import AdditiveOutput, AdditiveWeights, group_sizes
from iuscore.ops._arguments import dense
from iuscore.ops._backend import Backend, choose, public_op, traced, under_torch_func
from iuscore.ops._native import additive_mlp as _native
from iuscore.ops._torch import additive_mlp as _torch

Implementation: TypeAlias = Callable[..., tuple[Tensor, Tensor]]

_FIELDS = ("w1", "b1", "w2", "b2", "w3", "b3")


@public_op
def additive_mlp(
    x: Tensor, groups: Sequence[int], weights: AdditiveWeights, *, backend: Backend = "auto"
) -> AdditiveOutput:
    """Pass every group of inputs through its own network of two hidden layers and add up the results.

    Group g has inputs x_g, the next ``groups[g]`` columns of ``x``, and contributes
    relu(relu(x_g w1_g + b1_g) w2_g + b2_g) w3_g + b3_g. Nothing bounds a contribution.

    Args:
        x: [B, F] float32, any strides, any device. A value that is not finite spoils the contributions of its own
            row and group (they become NaN or infinite as the arithmetic gives) and that row's sum, nothing else.
        groups: number of inputs of each group, at least 1 each; they add up to F.
        weights: of the G networks, on x's device.
        backend: "auto" takes the compiled kernel where there is one for the device; "native" insists on it; "torch"
            is the implementation in PyTorch operations, the only one that can be differentiated twice.

    Returns:
        Contributions [B, G, C] and their sum [B, C] on x's device. Gradients reach x and all weights.

    Raises:
        TypeError: another type or dtype. ValueError: shapes that do not fit each other, several devices, an unknown
            back end. RuntimeError: backend="native" where it cannot run.

    Source: Agarwal et al., "Neural Additive Models: Interpretable Machine Learning with Neural Nets", NeurIPS 2021;
        groups of several inputs are this library's.

    Example:
        >>> import torch, iuscore
        >>> groups = (1, 1, 32)
        >>> weights = iuscore.ops.AdditiveWeights.random(groups, hidden=(16, 8))
        >>> contributions, total = iuscore.ops.additive_mlp(torch.rand(5, 34), groups, weights)
        >>> contributions.shape, total.shape
        (torch.Size([5, 3, 1]), torch.Size([5, 1]))
    """
    sizes = _check(x, groups, weights)
    parts = weights.w1, weights.b1, weights.w2, weights.b2, weights.w3, weights.b3
    if traced(x, *parts):
        from iuscore.ops._traced import additive_mlp as _traced

        return _traced.additive_mlp(x, sizes, weights, backend)
    # The kernels' gradient is unknown to torch.func; PyTorch's operations have one there.
    transformed = under_torch_func() and any(map(torch._C._functorch.is_functorch_wrapped_tensor, (x, *parts)))
    choice = choose("additive_mlp", x.device, needs_grad=transformed, backend=backend)
    run = _torch.additive_mlp if choice.implementation == "torch" else cast(Implementation, _native.additive_mlp)
    return AdditiveOutput(*run(x, sizes, *parts))


def _check(x: Tensor, groups: Sequence[int], weights: AdditiveWeights) -> tuple[int, ...]:
    """The group sizes as integers."""
    if not isinstance(weights, AdditiveWeights):
        raise TypeError(f"weights: expected AdditiveWeights, got {type(weights).__name__}")
    for name, value in (("x", x), *((f"weights.{field}", getattr(weights, field)) for field in _FIELDS)):
        tensor = dense(name, value)
        if tensor.device != x.device:
            raise ValueError(f"{name}: expected on the device of x, {x.device}, got {tensor.device}")
    sizes = group_sizes(groups)
    if x.ndim != 2 or x.shape[1] != sum(sizes):
        raise ValueError(f"x: expected [B, {sum(sizes)}] for groups that add up to it, got {list(x.shape)}")
    check_weights(weights, sizes)
    return sizes


def check_weights(weights: AdditiveWeights, sizes: Sequence[int]) -> None:
    """ValueError where shapes do not fit each other or the groups."""
    n, inputs = len(sizes), sum(sizes)
    if weights.w2.ndim != 3 or min(weights.w2.shape[1:]) < 1:
        raise ValueError(f"weights.w2: expected [G, H1, H2] with H1, H2 >= 1, got {list(weights.w2.shape)}")
    if weights.w3.ndim != 3 or weights.w3.shape[2] < 1:
        raise ValueError(f"weights.w3: expected [G, H2, C] with C >= 1, got {list(weights.w3.shape)}")
    _, h1, h2 = weights.w2.shape
    outputs = weights.w3.shape[2]
    expected = {
        "w1": (inputs, h1),
        "b1": (n, h1),
        "w2": (n, h1, h2),
        "b2": (n, h2),
        "w3": (n, h2, outputs),
        "b3": (n, outputs),
    }
    for name, shape in expected.items():
        got = getattr(weights, name).shape
        if tuple(got) != shape:
            raise ValueError(
                f"weights.{name}: expected {list(shape)} for {n} groups of {inputs} inputs and hidden layers of {h1} "
                f"and {h2} units, got {list(got)}"
            )
