"""The additive model's forward pass: every group of inputs through its own small network."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, cast

import torch
from torch import Tensor

from iuscore.ops._arguments import dense, is_whole, shown
from iuscore.ops._backend import Backend, choose, traced, under_torch_func
from iuscore.ops._native import additive_mlp as _native
from iuscore.ops._torch import additive_mlp as _torch

Implementation: TypeAlias = Callable[..., tuple[Tensor, Tensor]]

MAX_INPUTS = 2**31 - 1
_FIELDS = ("w1", "b1", "w2", "b2", "w3", "b3")


@dataclass(frozen=True)
class AdditiveWeights:
    """Weights of G networks with two hidden layers; all float32, on one device.

    Attributes:
        w1: [F, H1]; row f belongs to the group that has input f.
        b1: [G, H1].
        w2: [G, H1, H2].
        b2: [G, H2].
        w3: [G, H2, C].
        b3: [G, C].

    Example:
        >>> import torch, iuscore
        >>> iuscore.ops.AdditiveWeights.random((1, 1, 32), hidden=(8, 4), outputs=2).w1.shape
        torch.Size([34, 8])
    """

    w1: Tensor
    b1: Tensor
    w2: Tensor
    b2: Tensor
    w3: Tensor
    b3: Tensor

    @staticmethod
    def random(
        groups: Sequence[int],
        *,
        hidden: tuple[int, int],
        outputs: int = 1,
        generator: torch.Generator | None = None,
    ) -> AdditiveWeights:
        """Normal weights of variance 2 / inputs (He et al., ICCV 2015), biases 0.

        Args:
            groups: number of inputs of each group.
            hidden: (H1, H2), units of the hidden layers.
            outputs: C.
            generator: of the random numbers; torch's own when None.

        Raises:
            TypeError: groups that are no integers. ValueError: a number below 1.
        """
        groups = group_sizes(groups)
        pair = isinstance(hidden, Sequence) and not isinstance(hidden, str | bytes) and len(hidden) == 2
        if not pair or not all(is_whole(units) and 1 <= units <= MAX_INPUTS for units in hidden):
            raise ValueError(f"hidden: expected (H1, H2), two integers of at least 1, got {shown(hidden)}")
        if not is_whole(outputs) or not 1 <= outputs <= MAX_INPUTS:
            raise ValueError(f"outputs: expected an integer of at least 1, got {shown(outputs)}")
        n, (h1, h2) = len(groups), hidden
        weights = AdditiveWeights(
            torch.empty(sum(groups), h1),
            torch.zeros(n, h1),
            torch.empty(n, h1, h2),
            torch.zeros(n, h2),
            torch.empty(n, h2, outputs),
            torch.zeros(n, outputs),
        )
        if not weights.b1.is_meta:  # where nothing can be drawn, trying imports PyTorch's compiler
            scale = torch.tensor([(2.0 / size) ** 0.5 for size in groups for _ in range(size)])
            weights.w1.normal_(generator=generator).mul_(scale[:, None])
            weights.w2.normal_(generator=generator).mul_((2.0 / h1) ** 0.5)
            weights.w3.normal_(generator=generator).mul_((2.0 / h2) ** 0.5)
        return weights


class AdditiveOutput(NamedTuple):
    """What each group adds, and the sum."""

    contributions: Tensor
    """[B, G, C] float32."""
    total: Tensor
    """[B, C] float32: the contributions added up in the order of the groups."""


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
        from iuscore.ops import _traced_models

        return _traced_models.additive_mlp(x, sizes, weights, backend)
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


def group_sizes(groups: object) -> tuple[int, ...]:
    """The sizes of groups as integers.

    Raises:
        TypeError: no integers. ValueError: none, or one below 1.
    """
    if isinstance(groups, str | bytes) or not isinstance(groups, Iterable):
        raise TypeError(f"groups: expected integers, got {shown(groups)}")
    try:
        sizes = tuple(operator.index(size) for size in groups)
    except TypeError:
        raise TypeError(f"groups: expected integers, got {shown(groups)}") from None
    if not sizes or min(sizes) < 1 or sum(sizes) > MAX_INPUTS:
        raise ValueError(f"groups: expected sizes of at least 1, got {shown(groups)}")
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
