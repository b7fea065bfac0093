"""Inputs of the cases and the calls that are timed; on any device, so that the tests can make them on a CPU."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from cases import MAP_SIDE, Case
from torch import Tensor

from iuscore import ops

Implementation = Literal["native", "torch"]
DIFFERENT_IMAGES = 256  # repeated where the batch is larger: making billions of random bytes would cost the budget


def make_inputs(case: Case, batch: int, device: torch.device) -> Tensor:
    """[batch, side, side, C] uint8, or [batch, inputs] float32."""
    if not case.side:
        return torch.rand(batch, case.options["inputs"], device=device) * 4.0 - 2.0
    different = _images(case, min(batch, DIFFERENT_IMAGES), device)
    return different if batch == len(different) else different[torch.arange(batch, device=device) % len(different)]


def _images(case: Case, count: int, device: torch.device) -> Tensor:
    shape = (count, case.side, case.side, case.channels)
    if case.content == "constant":
        return torch.full(shape, 77, dtype=torch.uint8, device=device)
    noise = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    if case.content == "noise":
        return noise
    # Smooth structures with a little noise in a field of view that is 55 % of the picture; the rest is black.
    coarse = torch.rand(count, case.channels, 8, 8, device=device)
    smooth = torch.nn.functional.interpolate(coarse, (case.side, case.side), mode="bilinear", align_corners=False)
    images = (smooth.permute(0, 2, 3, 1) * 240.0).to(torch.uint8) + noise % 16
    axis = torch.arange(case.side, device=device) - (case.side - 1) / 2
    inside = axis[:, None] ** 2 + axis[None, :] ** 2 <= 0.55 * case.side**2 / torch.pi
    return images * inside[None, :, :, None]


@functools.lru_cache(maxsize=4)
def _weights(inputs: int, hidden: tuple[int, int], device: torch.device) -> Any:
    made = ops.AdditiveWeights.random((1,) * inputs, hidden=hidden, generator=torch.Generator().manual_seed(0))
    return ops.AdditiveWeights(**{name: value.to(device) for name, value in vars(made).items()})


@functools.lru_cache(maxsize=4)
def _tables(inputs: int, points: int, device: torch.device) -> Any:
    values = torch.randn(inputs, points, 1, generator=torch.Generator().manual_seed(0))
    ends = torch.full((inputs,), 2.0)
    return ops.AdditiveTables(values, -ends, ends, torch.zeros(inputs, 1, dtype=torch.float64)).to(device)


@functools.lru_cache(maxsize=4)
def _filters(channels: int, device: torch.device) -> tuple[Tensor, Tensor]:
    drawn = torch.randn(36 * channels + 1, 64, generator=torch.Generator().manual_seed(0)).to(device)
    return drawn[:-1], drawn[-1]


def _gradients(inputs: Tensor, weights: Any, backend: Implementation) -> Any:
    leaves = [value.detach().requires_grad_() for value in vars(weights).values()]
    out = ops.additive_mlp(inputs, (1,) * inputs.shape[1], ops.AdditiveWeights(*leaves), backend=backend)
    return torch.autograd.grad(out.total.sum(), leaves)


def call(case: Case, inputs: Tensor, backend: Implementation) -> Any:
    """What the op returns; never copied to another device."""
    options = dict(case.options)
    if case.op == "additive_mlp":
        weights = _weights(options["inputs"], options["hidden"], inputs.device)
        if options.get("gradients"):
            return _gradients(inputs, weights, backend)
        with torch.no_grad():
            return ops.additive_mlp(inputs, (1,) * options["inputs"], weights, backend=backend)
    if case.op == "additive_lookup":
        return ops.additive_lookup(
            inputs, _tables(options["inputs"], options["points"], inputs.device), backend=backend
        )
    if case.op == "image_views":
        options |= dict(zip(("weights", "bias"), _filters(case.channels, inputs.device), strict=True))
    if case.op == "perceptual_maps":
        options |= {"size": (MAP_SIDE, MAP_SIDE), "dtype": torch.bfloat16}
    if case.op in ("glcm", "glcm_features"):
        options["symmetric"] = True
    return getattr(ops, case.op)(inputs, layout="NHWC", backend=backend, **options)


def tensors_of(result: Any) -> list[Tensor]:
    """All tensors in what an op returns; names are left out."""
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, str):
        return []
    parts: Iterable[Any] = result.values() if isinstance(result, dict) else result
    return [tensor for part in parts for tensor in tensors_of(part)]


def same_bits(one: Any, other: Any) -> bool:
    """Whether two results are equal in every bit, wherever they are."""
    pairs = zip(tensors_of(one), tensors_of(other), strict=True)
    return all(torch.equal(bits(a.cpu()), bits(b.cpu())) for a, b in pairs)


def bits(tensor: Tensor) -> Tensor:
    """The bytes of a tensor, where it lies."""
    return tensor.contiguous().flatten().view(torch.uint8)


def calls_of(case: Case, sets: list[Tensor], backend: Implementation) -> list[Callable[[], object]]:
    return [functools.partial(call, case, inputs, backend) for inputs in sets]
