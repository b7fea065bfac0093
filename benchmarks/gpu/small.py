"""A few launches of every kernel, for compute-sanitizer: inputs made on the CPU, so that little else runs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from calls import call, same_bits, tensors_of
from cases import OF_ROWS, VARIANTS, Case
from torch import Tensor

from iuscore import ops
from iuscore.models import EPUCNN
from iuscore.ops._native import additive_cnn_cuda as _cuda
from iuscore.ops._torch import additive_cnn as _torch

OF_BYTES = ("image_views", "resize")
PIXEL_TYPES = (torch.uint8, torch.uint16, torch.float16, torch.float32)


def launches(device: torch.device) -> Iterator[tuple[str, Any, Any]]:
    """What, its result on the device, and the CPU's."""
    generator = torch.Generator().manual_seed(0)
    for op, variants in VARIANTS.items():
        for variant in variants:
            case = Case(op, 0 if op in OF_ROWS else 13, 3, "noise", variant)
            for inputs in _inputs(case, generator):
                text = f"{op} {dict(variant)} {str(inputs.dtype)[6:]} {list(inputs.shape)}"
                expected = call(case, inputs, "native")
                for how, got in _ways(functools.partial(call, case, inputs.to(device), "native"), device):
                    yield f"{text}{how}", got, expected
    for text, make in _others(generator):
        yield text, make(device), make(torch.device("cpu"))
    if device.type == "cuda":
        yield "additive_cnn", *network_kernels(device)


def _ways(make: Callable[[], Any], device: torch.device) -> Iterator[tuple[str, Any]]:
    """The result of a call: as it is; on another stream; and from a CUDA graph, whose output was spoiled before."""
    yield "", make()
    if device.type != "cuda":
        return
    current, side = torch.cuda.current_stream(device), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    side.wait_stream(current)
    with torch.cuda.stream(side):
        aside = make()
    current.wait_stream(side)
    yield ", on another stream", aside
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = make()
    for tensor in tensors_of(captured):
        tensor.view(torch.uint8).fill_(0xA5)
    graph.replay()
    torch.cuda.synchronize(device)
    yield ", in a CUDA graph", captured


def _others(generator: torch.Generator) -> Iterator[tuple[str, Callable[[torch.device], Any]]]:
    """Kernels and branches that no case of cases.py reaches."""
    images = torch.randint(0, 256, (2, 9, 40, 3), dtype=torch.uint8, generator=generator)
    gray = torch.randint(0, 256, (2, 70, 601, 1), dtype=torch.uint8, generator=generator)  # two strips of levels
    mask = torch.rand(2, 9, 40, generator=generator) < 0.7
    counts = torch.randint(0, 5, (2, 4, 16, 16), dtype=torch.int32, generator=generator)
    x = torch.rand(700, 6, generator=generator)  # two chunks of rows
    native: dict[str, Any] = {"backend": "native"}
    yield (
        "perceptual_maps 160x160",
        lambda to: ops.perceptual_maps(images.to(to), mode="published", size=(160, 160), **native),
    )  # planes in the workspace
    yield "perceptual_maps ragged", lambda to: ops.perceptual_maps([images[0].to(to), images[1, :5].to(to)], **native)
    yield (
        "color_histogram joint",
        lambda to: ops.color_histogram(images.to(to), bins=8, joint=True, mask=mask.to(to), **native),
    )
    for levels in (64, 256):
        yield (
            f"glcm {levels} levels in strips",
            lambda to, n=levels: ops.glcm(  # type: ignore[misc]
                gray.to(to), levels=n, distances=(1, 30), quantize="minmax", **native
            ),
        )
        yield (
            f"glcm_features {levels} levels, mahotas",
            lambda to, n=levels: ops.glcm_features(  # type: ignore[misc]
                images.to(to), levels=n, preset="mahotas", mask=mask.to(to), **native
            ),
        )
    yield (
        "glcm_features of matrices",
        lambda to: ops.glcm_features(
            counts.to(to), levels=None, preset="ibsi", symmetric=True, dtype=torch.float64, **native
        ),
    )
    yield "texture_stats masked", lambda to: ops.texture_stats(images.to(to), levels=256, mask=mask.to(to), **native)
    yield "resize columns only", lambda to: ops.resize(images.to(to), (9, 16), **native)
    yield "additive_mlp backward", lambda to: _gradients(x.to(to))


def network_kernels(device: torch.device) -> tuple[Tensor, Tensor]:
    """What the kernels of additive_cnn give, to two digits; cuDNN, which is not ours to check, is left out."""
    torch.manual_seed(2)
    model = EPUCNN(["a", "b"], size=(17, 24), base_channels=8, hidden_units=6).eval().requires_grad_(False)
    maps = torch.rand(9, *model.input_shape)

    def copied(x: Tensor, weight: Tensor, bias: Tensor | None = None, padding: int = 1) -> Tensor:
        if x.shape[1] == 1:
            return F.conv2d(x, weight, bias, padding=padding)
        y = x.repeat(1, len(weight) // x.shape[1], 1, 1)
        return y if bias is None else y + bias.view(-1, 1, 1)

    own = SimpleNamespace(**{**vars(F), "conv2d": copied})
    with patch.object(_torch, "F", own), patch.object(_cuda, "F", own):
        expected = _torch.additive_cnn(maps, model.networks())
        got = _cuda.forward(_cuda.plan_of(model.to(device).networks(), model.size), maps.to(device))
    close = (got.cpu() - expected).abs().max() < 1e-2 * expected.abs().max()
    return close, torch.tensor(True)


def _gradients(x: Tensor) -> list[Tensor]:
    made = ops.AdditiveWeights.random((1, 5), hidden=(16, 8), generator=torch.Generator().manual_seed(1))
    weights = ops.AdditiveWeights(**{name: value.to(x.device).requires_grad_() for name, value in vars(made).items()})
    total = ops.additive_mlp(x, (1, 5), weights, backend="native").total
    return list(torch.autograd.grad(total.square().sum(), list(vars(weights).values())))


def _inputs(case: Case, generator: torch.Generator) -> Iterator[Tensor]:
    if not case.side:
        yield torch.rand(case.batch, case.options["inputs"], generator=generator)
        return
    shape = (case.batch, case.side, case.side + 3, case.channels)
    unit = torch.rand(shape, generator=generator)
    for dtype in PIXEL_TYPES[:1] if case.op in OF_BYTES else PIXEL_TYPES:
        largest = 1.0 if dtype.is_floating_point else float(torch.iinfo(dtype).max)
        yield (unit * largest).to(dtype)
    if case.op not in OF_BYTES:
        broken = unit.clone()
        broken[0, 2, 3, 0], broken[-1, 0, 0, -1] = torch.nan, torch.inf
        yield broken


def run(device: torch.device) -> int:
    """The number of launches whose result is not the CPU's, at most 1: an exit status."""
    different = []
    count = 0
    for text, got, expected in launches(device):
        count += 1
        if not same_bits(got, expected):
            different.append(text)
    print(f"{count} small launches", *different, sep="\ndiffers: ")
    return min(1, len(different))
