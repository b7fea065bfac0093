"""The parts of a network of `additive_cnn`, and their checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from torch import Tensor

from iuscore.ops._arguments import is_real, shown

Precision = Literal["exact", "fast", "auto"]
"""How a network is computed: "exact" in float32; "fast" in 16-bit integers where the CPU has them; "auto"."""

_LARGEST_EPS = 2.0**63  # PyTorch has no larger integers

PRECISIONS: tuple[Precision, ...] = ("exact", "fast", "auto")


class CnnBlock(NamedTuple):
    """3x3 convolutions with ReLU, 2x2 max pooling (an odd last row or column is dropped), batch norm; all float32.

    Example:
        >>> import torch, iuscore
        >>> stem = torch.randn(4, 1, 3, 3), torch.randn(4, 4, 3, 3)
        >>> block = iuscore.ops.CnnBlock(stem, (torch.zeros(4),) * 2, torch.zeros(4), torch.ones(4), None, None)
        >>> len(block.kernels)
        2
    """

    kernels: tuple[Tensor, ...]
    """[out, in, 3, 3] of every convolution; padding is 1."""
    biases: tuple[Tensor, ...]
    """[out] of every convolution."""
    mean: Tensor
    """[out] of the last convolution, subtracted after pooling."""
    variance: Tensor
    """[out]."""
    weight: Tensor | None
    """[out], or None for 1."""
    bias: Tensor | None
    """[out], or None for 0."""
    eps: float = 1e-5
    """Added to the variance."""


class CnnNetwork(NamedTuple):
    """Blocks, then linear layers with a ReLU after all but the last; the features are flattened channels first."""

    blocks: tuple[CnnBlock, ...]
    linears: tuple[tuple[Tensor, Tensor], ...]
    """Weight [out, in] and bias [out] of every linear layer."""


class CnnShape(NamedTuple):
    """The numbers that all networks of one call share."""

    channels: tuple[int, ...]  # of every convolution
    pooled: tuple[bool, ...]  # whether pooling follows
    units: tuple[int, ...]  # outputs of every linear layer


def tensors_of(network: CnnNetwork) -> Iterator[tuple[str, Tensor]]:
    """Every tensor with its name in messages."""
    for b, block in enumerate(network.blocks):
        yield from ((f"blocks[{b}].kernels[{i}]", kernels) for i, kernels in enumerate(block.kernels))
        yield from ((f"blocks[{b}].biases[{i}]", bias) for i, bias in enumerate(block.biases))
        for name in ("mean", "variance", "weight", "bias"):
            if (value := getattr(block, name)) is not None:
                yield f"blocks[{b}].{name}", value
    for i, (weight, bias) in enumerate(network.linears):
        yield f"linears[{i}] weight", weight
        yield f"linears[{i}] bias", bias


def check_parts(network: object, name: str) -> None:
    """TypeError if it is not a network of blocks and of pairs of tensors."""
    if not isinstance(network, CnnNetwork):
        raise TypeError(f"{name}: expected a CnnNetwork, got {shown(network)}")
    if not isinstance(network.blocks, tuple | list) or not isinstance(network.linears, tuple | list):
        raise TypeError(f"{name}: expected blocks and linears as tuples")
    for b, block in enumerate(network.blocks):
        if not isinstance(block, CnnBlock):
            raise TypeError(f"{name}.blocks[{b}]: expected a CnnBlock, got {shown(block)}")
        if not isinstance(block.kernels, tuple | list) or not isinstance(block.biases, tuple | list):
            raise TypeError(f"{name}.blocks[{b}]: expected kernels and biases as tuples of tensors")
        for part in ("mean", "variance"):
            if not isinstance(value := getattr(block, part), Tensor):
                raise TypeError(f"{name}.blocks[{b}].{part}: expected a torch.Tensor, got {type(value).__name__}")
        if not (is_real(block.eps) and 0.0 <= block.eps < _LARGEST_EPS):
            raise ValueError(f"{name}.blocks[{b}].eps: expected a number of at least 0, got {shown(block.eps)}")
    for i, pair in enumerate(network.linears):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"{name}.linears[{i}]: expected (weight, bias), got {shown(pair)}")


def identity_of(networks: Sequence[CnnNetwork]) -> list[object]:
    """What changes with anything that packed weights are made of, while the memory of these tensors is held.

    But statistics: batch norm changes them in training without a new version. Not of inference tensors, which do not
    tell when they change.
    """
    of_tensors = [
        (g, name, tensor.data_ptr(), tensor._version, tensor.shape, tensor.stride())
        for g, network in enumerate(networks)
        for name, tensor in tensors_of(network)
    ]
    return [*of_tensors, *(block.eps for network in networks for block in network.blocks)]


def shape_of(network: CnnNetwork, size: Sequence[int]) -> CnnShape:
    """The numbers of a network for maps of ``size`` (height, width).

    Raises:
        ValueError: shapes that do not fit each other.
    """
    channels: list[int] = []
    pooled: list[bool] = []
    height, width = size
    for b, block in enumerate(network.blocks):
        _check_block(block, b, channels[-1] if channels else 1)
        channels += [len(kernels) for kernels in block.kernels]
        pooled += [False] * (len(block.kernels) - 1) + [True]
        height, width = height // 2, width // 2
    if not channels or pooled[0]:
        raise ValueError("networks: expected blocks of convolutions, at least two in the first one")
    if min(height, width) < 1:
        raise ValueError(f"maps: {size[0]}x{size[1]} is too small for {len(network.blocks)} poolings")
    features = channels[-1] * height * width
    if not network.linears:
        raise ValueError("networks: expected at least one linear layer")
    for i, (weight, bias) in enumerate(network.linears):
        if weight.ndim != 2 or weight.shape[1] != features or len(weight) < 1 or bias.shape != weight.shape[:1]:
            raise ValueError(
                f"linears[{i}]: expected [out, {features}] and [out], got {list(weight.shape)} and {list(bias.shape)}"
            )
        features = len(weight)
    return CnnShape(tuple(channels), tuple(pooled), tuple(len(weight) for weight, _ in network.linears))


def _check_block(block: CnnBlock, b: int, width: int) -> None:
    if not block.kernels or len(block.kernels) != len(block.biases):
        raise ValueError(f"blocks[{b}]: expected as many kernels as biases, at least one")
    for i, (kernels, bias) in enumerate(zip(block.kernels, block.biases, strict=True)):
        out = len(kernels)
        if out < 1 or tuple(kernels.shape[1:]) != (width, 3, 3) or tuple(bias.shape) != (out,):
            raise ValueError(
                f"blocks[{b}].kernels[{i}]: expected [out, {width}, 3, 3] and bias [out], got {list(kernels.shape)} "
                f"and {list(bias.shape)}"
            )
        width = out
    for name in ("mean", "variance", "weight", "bias"):
        value = getattr(block, name)
        if value is not None and tuple(value.shape) != (width,):
            raise ValueError(f"blocks[{b}].{name}: expected [{width}], got {list(value.shape)}")
