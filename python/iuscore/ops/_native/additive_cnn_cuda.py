"""The CUDA kernels of `additive_cnn`, in float16, with cuDNN's convolutions between them.

docs/additive_cnn.md, "On a GPU", says which step runs where, and in which type.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from iuscore.ops._cnn import CnnBlock, CnnNetwork, CnnShape, identity_of, shape_of, tensors_of
from iuscore.ops._constants import CNN_LANES, CNN_MAX_LINEARS, CNN_MAX_UNITS, CNN_UNITS
from iuscore.ops._native.calls import cuda, stream_of
from iuscore.ops._native.cuda_graphs import Graphs, side_streams

MAX_IMAGES = 256  # at a time; fewer if their values would take more than MAX_BYTES
MAX_BYTES = 1 << 31


class Layer(NamedTuple):
    """A convolution after the first one. Bias and norm stay in the caller's tensors and are read at every call."""

    kernels: Tensor  # float16 [out, in, 3, 3], channels last, both in lanes
    bias: Tensor  # float32 [out]
    norm: tuple[Tensor, Tensor, Tensor | None, Tensor | None, float] | None  # after pooling: as in CnnBlock


@dataclass
class Plan:
    """Packed weights of all networks, and the CUDA graphs that read them."""

    shape: CnnShape
    size: tuple[int, ...]
    first: Tensor  # float32 [G, 9, channels in lanes]
    first_bias: Tensor  # float32 [G, channels in lanes]
    layers: list[list[Layer]]  # of every network
    dense: Tensor  # float16 [G, units in fours, terms]
    rest: Tensor  # float32 [G, ...]: the first linear layer's bias; weights [in, out] and bias of each other
    identity: list[object]  # of the weights
    held: list[Tensor]  # aliases of the weights, which keep their memory alive
    graphs: Graphs = field(default_factory=Graphs)

    @property
    def max_images(self) -> int:
        """Images at a time: a power of two, so that the slices of large batches have one size, and one graph."""
        groups, _, channels = self.first.shape
        # bytes of the first block: input and output of a convolution, and a quarter of that after pooling
        of_image = groups * self.size[0] * self.size[1] * channels * 2 * 9 // 4
        return 1 << (max(1, min(MAX_IMAGES, MAX_BYTES // of_image)).bit_length() - 1)


_kept: Any = WeakIdKeyDictionary()  # first tensor of the first network -> Plan


def why_not(networks: Sequence[CnnNetwork]) -> str:
    """Why the kernels cannot take these networks; empty where they can."""
    linears = networks[0].linears
    if len(linears) > CNN_MAX_LINEARS or any(len(weight) > CNN_MAX_UNITS for weight, _ in linears):
        return f"its kernels take up to {CNN_MAX_LINEARS} linear layers of up to {CNN_MAX_UNITS} units"
    return ""


def additive_cnn(maps: Tensor, networks: Sequence[CnnNetwork]) -> Tensor:
    """Evidence [B, G, K] of maps [B, G, h, w]."""
    # Not as inference tensors: what is cached must be usable outside of inference mode.
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        torch.autocast(maps.device.type, enabled=False),
        _on(maps.device),
    ):
        plan = plan_of(networks, tuple(maps.shape[2:]))
        work = functools.partial(forward, plan)
        most = plan.max_images
        parts = [plan.graphs(work, maps[i : i + most]) for i in range(0, max(1, len(maps)), most)]
        return torch.cat(parts) if len(parts) > 1 else parts[0]


def _on(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


# ---- Packed weights


def plan_of(networks: Sequence[CnnNetwork], size: tuple[int, ...]) -> Plan:
    """The packed weights; those of the last call if the weights have not changed."""
    weights = [tensor for network in networks for _, tensor in tensors_of(network)]
    first = weights[0]
    # Inference tensors have no version that shows a change. During a capture nothing is packed before the graph runs.
    capturing = first.is_cuda and torch.cuda.is_current_stream_capturing()
    inference = any(weight.is_inference() for weight in weights)
    found: Plan | None = None if inference else _kept.get(first)
    # Training changes batch norm's statistics without a new version; they are not packed, so that is harmless.
    identity = [] if inference else identity_of(networks)
    if found is not None and (found.size, found.identity) == (size, identity):
        return found
    plan = pack(networks, size, identity)
    if inference or capturing:
        plan.graphs.allowed = False
    else:
        if first.is_cuda:
            torch.cuda.current_stream().synchronize()  # so that calls on other streams find it packed
        _kept[first] = plan
    return plan


def pack(networks: Sequence[CnnNetwork], size: tuple[int, ...], identity: list[object]) -> Plan:
    """Weights in the types and the order in which they are read."""
    shape = shape_of(networks[0], size)
    height, width = (side >> sum(shape.pooled) for side in size)
    stems = [(network.blocks[0].kernels[0].detach(), network.blocks[0].biases[0].detach()) for network in networks]
    dense, rest = [], []
    for network in networks:
        (weight, bias), *others = [(weight.detach(), bias.detach()) for weight, bias in network.linears]
        places = weight.reshape(-1, shape.channels[-1], height, width).permute(0, 2, 3, 1)
        dense.append(_in(CNN_UNITS, _in(CNN_LANES, places, 3).flatten(1), 0))
        parts = [bias, *(part for weight, bias in others for part in (weight.T.reshape(-1), bias))]
        rest.append(torch.cat(parts))
    layers, half = [_layers(network) for network in networks], torch.stack(dense).to(torch.float16)
    # weights beyond the range of float16 make the results of their network NaN
    spoiled = [
        sum((part - part).sum().float() for part in (*(layer.kernels for layer in own), half[g]))
        for g, own in enumerate(layers)
    ]
    return Plan(
        shape,
        size,
        torch.stack([_in(CNN_LANES, kernels.flatten(1).T, 1) for kernels, _ in stems]),
        torch.stack([_in(CNN_LANES, bias, 0) for _, bias in stems]),
        layers,
        half,
        torch.stack([part + zero for part, zero in zip(rest, spoiled, strict=True)]),
        identity,
        [tensor.detach() for network in networks for _, tensor in tensors_of(network)],
    )


def _in(multiple: int, values: Tensor, axis: int) -> Tensor:
    """Fills an axis with zeros up to a multiple."""
    return F.pad(values, [0, 0] * (values.ndim - 1 - axis) + [0, -values.shape[axis] % multiple])


def _layers(network: CnnNetwork) -> list[Layer]:
    layers = []
    for block in network.blocks:
        for i, (kernels, bias) in enumerate(zip(block.kernels, block.biases, strict=True)):
            wide = _in(CNN_LANES, _in(CNN_LANES, kernels.detach(), 0), 1)
            half = wide.to(torch.float16, memory_format=torch.channels_last)
            last = i + 1 == len(block.kernels)
            layers.append(Layer(half, bias.detach().contiguous(), _norm(block) if last else None))
    return layers[1:]


def _norm(block: CnnBlock) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, float]:
    weight, bias = (None if part is None else part.detach().contiguous() for part in (block.weight, block.bias))
    return block.mean.detach().contiguous(), block.variance.detach().contiguous(), weight, bias, block.eps


# ---- Forward pass


def forward(plan: Plan, maps: Tensor) -> Tensor:
    """Evidence [B, G, K] of maps [B, G, h, w]; queued on side streams, which the current one waits for."""
    batch, groups = maps.shape[:2]
    height, width = (side >> sum(plan.shape.pooled) for side in plan.size)
    nonfinite = maps.new_zeros((groups, batch), dtype=torch.int32)
    values = _first(plan, maps, nonfinite)
    terms = plan.dense.shape[2]
    features = values.new_empty((groups, batch, height, width, terms // (height * width)))
    streams = _streams(maps.device)
    for g in range(groups):
        with _forked(streams[g % len(streams)]):
            _network(plan.layers[g], values[g], features[g], nonfinite[g])
    for stream in streams[:groups]:
        if stream is not None:
            torch.cuda.current_stream().wait_stream(stream)
    return _heads(plan, features.view(groups, batch, terms), nonfinite)


def _streams(device: torch.device) -> list[torch.cuda.Stream | None]:
    """Streams that the networks use in turns; [None] on a CPU."""
    return list(side_streams(device)) if device.type == "cuda" else [None]


@contextlib.contextmanager
def _forked(stream: torch.cuda.Stream | None) -> Iterator[None]:
    if stream is None:
        yield
        return
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        yield


def _network(layers: Sequence[Layer], values: Tensor, features: Tensor, nonfinite: Tensor) -> None:
    """Channels last throughout: values [B, h, w, C] of the first convolution -> features [B, h', w', C']."""
    for i, layer in enumerate(layers):
        # without bias: cuDNN's fused form would add it in float16, and 0 times uninitialized memory
        planes = F.conv2d(values.permute(0, 3, 1, 2), layer.kernels, padding=1)
        values = planes.permute(0, 2, 3, 1).contiguous()
        values = _epilogue(values, layer, nonfinite, features if i + 1 == len(layers) else None)


def _epilogue(values: Tensor, layer: Layer, nonfinite: Tensor, out: Tensor | None = None) -> Tensor:
    """[B, h, w, C] with bias and ReLU, in place; or [B, h // 2, w // 2, C] with pooling and batch norm too."""
    batch, height, width, channels = values.shape
    arguments: dict[str, Any] = {
        "values": (values.data_ptr(), *values.shape),
        "used": len(layer.bias),
        "bias": layer.bias.data_ptr(),
        "nonfinite": nonfinite.data_ptr(),
    }
    if layer.norm is None:
        _call("rectify", values, **arguments)
        return values
    out = values.new_empty((batch, height // 2, width // 2, channels)) if out is None else out
    mean, variance, weight, shift, eps = layer.norm
    _call(
        "pool",
        values,
        **arguments,
        mean=mean.data_ptr(),
        variance=variance.data_ptr(),
        weight=0 if weight is None else weight.data_ptr(),
        shift=0 if shift is None else shift.data_ptr(),
        eps=eps,
        out=out.data_ptr(),
    )
    return out


def _call(kernel: str, like: Tensor, **arguments: Any) -> None:
    device = like.device
    stream = stream_of(device) if like.is_cuda else 0
    getattr(cuda(), f"additive_cnn_{kernel}")(device=device.index or 0, stream=stream, **arguments)


def _first(plan: Plan, maps: Tensor, nonfinite: Tensor) -> Tensor:
    """[G, B, h, w, C] of the first convolution, bias and ReLU."""
    maps = maps if maps.stride(3) == 1 else maps.contiguous()
    batch, groups, height, width = maps.shape
    channels = plan.first.shape[2]
    out = maps.new_empty((groups, batch, height, width, channels), dtype=torch.float16)
    _call(
        "first",
        maps,
        maps=(maps.data_ptr(), *maps.shape, *maps.stride()[:3]),
        channels=channels,
        kernels=plan.first.data_ptr(),
        bias=plan.first_bias.data_ptr(),
        out=out.data_ptr(),
        nonfinite=nonfinite.data_ptr(),
    )
    return out


def _heads(plan: Plan, features: Tensor, nonfinite: Tensor) -> Tensor:
    """Evidence of features [G, B, terms]."""
    groups, batch, terms = features.shape
    units = list(plan.shape.units)
    floats = cuda().additive_cnn_heads_workspace(groups=groups, batch=batch, terms=terms, units=units)
    sums = plan.rest.new_empty(floats)
    evidence = plan.rest.new_empty((batch, groups, units[-1]))
    _call(
        "heads",
        features,
        features=(features.data_ptr(), groups, batch, terms),
        units=units,
        weights=plan.dense.data_ptr(),
        rest=(plan.rest.data_ptr(), plan.rest.shape[1]),
        nonfinite=nonfinite.data_ptr(),
        sums=sums.data_ptr(),
        evidence=evidence.data_ptr(),
    )
    return evidence
