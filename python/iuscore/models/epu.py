"""EPU-CNN: four small convolutional networks, one per perceptual map, whose outputs are added.

Source: Dimas, Cholopoulou, Iakovidis, "E pluribus unum interpretable convolutional neural networks", Scientific Reports
13:11421, 2023, doi 10.1038/s41598-023-38459-1, arXiv 2208.05369. The order of the layers is that of the public
implementation (backbone "base_one") of Gatoula, Dimas, Iakovidis, "Interpretable Similarity of Synthetic Image
Utility", IEEE TMI 2026.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from iuscore.errors import UserError, bounded
from iuscore.models.base import (
    AdditiveModel,
    Layout,
    Space,
    check_count,
    check_precision,
    check_size,
    check_space,
    register_kind,
)
from iuscore.models.text import is_numbers
from iuscore.ops import (
    COMPONENTS,
    CnnBlock,
    CnnNetwork,
    Kind,
    Mode,
    Precision,
    additive_cnn,
    chosen_precision,
    degenerate_maps,
    perceptual_maps,
)
from iuscore.ops._backend import choose
from iuscore.ops._on_device import on_device
from iuscore.ops.perceptual_maps import MODES, RENAMED_MODES

PUBLISHED_SIZES: tuple[tuple[int, int], ...] = ((64, 32), (32, 64))
"""(base_channels, hidden_units) of the published training configuration, then of the default in the published code;
both for maps of 128x128."""

DROPOUT = 0.6
CONVOLUTIONS = (2, 2, 3)
"""3x3 convolutions per block; the blocks have C, 2C and 4C channels."""

MIN_SIZE = 2 ** len(CONVOLUTIONS)


class _Block(nn.Module):
    """Convolutions with ReLU, 2x2 max pooling (an odd last row or column is dropped), batch norm."""

    def __init__(self, in_channels: int, out_channels: int, convolutions: int) -> None:
        super().__init__()
        widths = [in_channels] + [out_channels] * convolutions
        self.convs = nn.ModuleList(nn.Conv2d(a, b, kernel_size=3, padding=1) for a, b in pairwise(widths))
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, h, w] -> [B, out, h // 2, w // 2]."""
        for conv in self.convs:
            x = torch.relu(conv(x))
        # the norm comes after the pooling, as published
        normed: Tensor = self.norm(nn.functional.max_pool2d(x, 2))
        return normed

    def part(self) -> CnnBlock:
        """The parameters and statistics of the block, shared with it."""
        norm = self.norm
        mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        convs = [conv for conv in self.convs if isinstance(conv, nn.Conv2d)]
        biases = tuple(conv.get_parameter("bias") for conv in convs)
        kernels = tuple(conv.weight for conv in convs)
        return CnnBlock(kernels, biases, mean, variance, norm.weight, norm.bias, norm.eps)


class _Subnet(nn.Module):
    """One map [B, 1, h, w] -> evidence [B, K], the value before the tanh."""

    def __init__(self, size: tuple[int, int], base_channels: int, hidden_units: int, n_outputs: int) -> None:
        super().__init__()
        widths = [1] + [base_channels * 2**i for i in range(len(CONVOLUTIONS))]
        self.blocks = nn.Sequential(*(_Block(widths[i], widths[i + 1], n) for i, n in enumerate(CONVOLUTIONS)))
        flat = widths[-1] * (size[0] // MIN_SIZE) * (size[1] // MIN_SIZE)
        self.hidden = nn.ModuleList([nn.Linear(flat, hidden_units), nn.Linear(hidden_units, hidden_units)])
        self.dropout = nn.Dropout(DROPOUT)
        self.out = nn.Linear(hidden_units, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(x).flatten(1)
        for layer in self.hidden:
            x = self.dropout(torch.relu(layer(x)))
        evidence: Tensor = self.out(x)
        return evidence

    def network(self) -> CnnNetwork:
        """The parameters and statistics of the network, shared with it."""
        blocks = tuple(block.part() for block in self.blocks if isinstance(block, _Block))
        linears = [layer for layer in (*self.hidden, self.out) if isinstance(layer, nn.Linear)]
        return CnnNetwork(blocks, tuple((layer.weight, layer.bias) for layer in linears))


@register_kind
class EPUCNN(AdditiveModel):
    """The published additive classifier over four perceptual maps.

    logit = bias + sum over i of tanh(f_i(map_i)), with f_i = [2x conv3x3(C) relu, maxpool 2, BN]
    [2x conv3x3(2C) ...] [3x conv3x3(4C) ...] flatten, (linear(h) relu dropout .6) x2, linear(K).

    Args:
        classes: at least two class names in label order.
        color: "color" (maps red-green, blue-yellow, coarse-fine, light-dark) or "gray"
            (coarse-fine, light-dark, Band-I, Band-II); the ``kind`` of the maps.
        mode: how the maps are made: "clean", or "published" for the published arithmetic.
        size: (height, width) of the maps; at least 8x8. The three poolings round down.
        base_channels: C, at least 1.
        hidden_units: h, at least 1.
        map_mean, map_sd: G numbers each; a map minus its mean, divided by its sd, is the input of its subnet. The
            published model does not standardize maps (0 and 1). "clean" maps have a fixed range instead of a min-max
            range, so fitting standardizes them on the training images.

    Raises:
        UserError: a value out of its range.

    Example:
        >>> model = EPUCNN(["normal", "polyp"], size=(16, 24), base_channels=2, hidden_units=4).eval()
        >>> maps = torch.rand(3, 4, 16, 24)
        >>> c = model.contributions_of(maps)
        >>> c.shape, bool(torch.allclose(model(maps), model.bias + c.sum(1)))
        (torch.Size([3, 4, 1]), True)
    """

    kind: ClassVar[str] = "epu"

    def __init__(
        self,
        classes: Sequence[str],
        *,
        color: Kind = "color",
        mode: Mode = "clean",
        size: Sequence[int] = (128, 128),
        base_channels: int = PUBLISHED_SIZES[0][0],
        hidden_units: int = PUBLISHED_SIZES[0][1],
        map_mean: Sequence[float] = (0.0, 0.0, 0.0, 0.0),
        map_sd: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    ) -> None:
        _check_options(color, mode, size, base_channels, hidden_units)
        _check_standardization(map_mean, map_sd, len(COMPONENTS[color]))
        super().__init__(classes, COMPONENTS[color])
        self.color: Kind = color
        self.mode: Mode = mode
        self.size = (int(size[0]), int(size[1]))
        self.base_channels = base_channels
        self.hidden_units = hidden_units
        self.map_mean = tuple(float(value) for value in map_mean)
        self.map_sd = tuple(float(value) for value in map_sd)
        self.bias = nn.Parameter(torch.zeros(self.n_outputs))
        if not self.bias.is_meta:  # drawing on the meta device would import sympy
            nn.init.normal_(self.bias)
        self.subnets = nn.ModuleList(
            _Subnet(self.size, base_channels, hidden_units, self.n_outputs) for _ in self.components
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(4, h, w)."""
        return (len(self.components), *self.size)

    def prepare(self, images: Any, layout: Layout | None = None, mask: Any = None) -> Tensor:
        """Compute the perceptual maps of images, on the images' device.

        Args:
            images: tensor or array [B, H, W, C] or [B, C, H, W], C = 1 or 3, uint8, uint16 or
                floating (nominally in [0, 1]), or a list of single images of any sizes.
            layout: "NHWC" or "NCHW"; needed only where the shape fits both.
            mask: None; the maps are of whole images.

        Returns:
            float32 [B, 4, h, w] in [0, 1]; NaN for an image that is not finite.

        Raises:
            UserError: a mask. TypeError, ValueError: see :func:`iuscore.ops.perceptual_maps`.
        """
        self.checked_mask(mask)
        return perceptual_maps(images, kind=self.color, mode=self.mode, size=self.size, layout=layout)

    def prepare_with_warnings(
        self, images: Any, layout: Layout | None = None, mask: Any = None
    ) -> tuple[Tensor, list[tuple[str, ...]]]:
        """Compute the maps; warn about degenerate maps ("published") or constant images ("clean")."""
        self.checked_mask(mask)
        maps, ranges = perceptual_maps(
            images, kind=self.color, mode=self.mode, size=self.size, layout=layout, return_ranges=True
        )
        if self.mode == "clean":
            flat = (ranges[:, [self.components.index(name) for name in ("coarse-fine", "light-dark")]] < 1e-4).all(1)
            return maps, [("constant image",) if is_flat else () for is_flat in flat.tolist()]
        flags = degenerate_maps(ranges, kind=self.color).tolist()
        names = [f"degenerate map {name}" for name in self.components]
        return maps, [tuple(n for n, flag in zip(names, row, strict=True) if flag) for row in flags]

    def contributions_of(self, inputs: Tensor, space: Space = "paper", *, precision: Precision = "exact") -> Tensor:
        """Compute the contributions from perceptual maps.

        In evaluation mode and without gradients, :func:`iuscore.ops.additive_cnn` computes them: on a CPU with the
        same bits for any batch and number of threads; on a GPU in float32 without TF32, or in float16.

        Args:
            inputs: float32 [B, 4, h, w] with (h, w) the model's ``size``.
            space: "paper" (after the tanh, in [-1, 1]) or "evidence" (before it, unbounded).
            precision: "exact", "fast" or "auto"; see :meth:`chosen_precision`.

        Returns:
            float32 [B, 4, K]; NaN for an image whose maps are NaN.

        Raises:
            ValueError: wrong shape.
            UserError: unknown space or precision.
        """
        check_space(space)
        check_precision(precision)
        if inputs.ndim != 4 or tuple(inputs.shape[1:]) != self.input_shape:
            shape = ", ".join(map(str, self.input_shape))
            raise ValueError(f"inputs: expected maps [B, {shape}], got {list(inputs.shape)}")
        evidence = self._evidence(inputs, precision)
        return self.to_paper(evidence) if space == "paper" else evidence

    def _evidence(self, inputs: Tensor, precision: Precision) -> Tensor:
        if self._uses_op(inputs):
            mean, sd = (_numbers(part, inputs.device) for part in (self.map_mean, self.map_sd))
            return additive_cnn((inputs - mean) / sd, self.networks(), precision=precision)
        outputs = [
            net((inputs[:, i : i + 1] - self.map_mean[i]) / self.map_sd[i]) for i, net in enumerate(self.subnets)
        ]
        return torch.stack(outputs, dim=1)

    def _uses_op(self, inputs: Tensor) -> bool:
        """Whether the op `additive_cnn` can compute the evidence: it has no dropout, and its kernels no gradients."""
        if self.training or inputs.dtype != torch.float32 or torch.compiler.is_compiling():
            return False
        state = [*self.subnets.parameters(), *self.subnets.buffers()]
        wants_grad = torch.is_grad_enabled() and (inputs.requires_grad or any(part.requires_grad for part in state))
        # Tensors made in inference mode have no version counter, so the op could not notice a change of the weights.
        versioned = not any(part.is_inference() for part in state)
        choice = choose("additive_cnn", inputs.device, needs_grad=wants_grad)
        return inputs.is_cuda or (versioned and choice.implementation == "cpu")

    def networks(self) -> tuple[CnnNetwork, ...]:
        """The networks as :func:`iuscore.ops.additive_cnn` takes them; parameters and statistics are shared."""
        return tuple(net.network() for net in self.subnets if isinstance(net, _Subnet))

    def chosen_precision(self, precision: Precision, device: torch.device | str = "cpu") -> Precision:
        """The precision used on a device, "exact" or "fast"; see :func:`iuscore.ops.chosen_precision`."""
        return chosen_precision(precision, device)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON-able values."""
        return {
            "classes": list(self.classes),
            "color": self.color,
            "mode": self.mode,
            "size": list(self.size),
            "base_channels": self.base_channels,
            "hidden_units": self.hidden_units,
            "map_mean": list(self.map_mean),
            "map_sd": list(self.map_sd),
        }


def _numbers(values: tuple[float, ...], device: torch.device) -> Tensor:
    """[G, 1, 1] on a device, cached: a copy from the CPU is not allowed while a CUDA graph is captured."""
    return on_device(("maps", values), device, lambda: (torch.tensor(values, dtype=torch.float32)[:, None, None],))[0]


def _check_options(color: str, mode: str, size: Sequence[int], base_channels: int, hidden_units: int) -> None:
    if not isinstance(color, str) or color not in COMPONENTS:
        raise UserError(f"color: expected one of {', '.join(COMPONENTS)}, got {bounded(color)}")
    if mode not in MODES:
        hint = f"; did you mean {RENAMED_MODES[mode]!r}?" if isinstance(mode, str) and mode in RENAMED_MODES else ""
        raise UserError(f"mode: expected one of {', '.join(MODES)}, got {bounded(mode)}{hint}")
    check_size(size, MIN_SIZE)
    check_count("base_channels", base_channels, 1)
    check_count("hidden_units", hidden_units, 1)


def _check_standardization(mean: Sequence[float], sd: Sequence[float], components: int) -> None:
    for name, values in (("map_mean", mean), ("map_sd", sd)):
        if not is_numbers(values) or len(values) != components or (name == "map_sd" and min(values) <= 0):
            what = "positive " if name == "map_sd" else ""
            raise UserError(f"{name}: expected {components} {what}numbers, got {bounded(values)}")


def flops(model: EPUCNN) -> float:
    """Count the arithmetic of one forward pass over one image.

    Two operations per multiply-add of the convolutions and linear layers; bias, ReLU, pooling and
    normalization (under 1 % at the published sizes) are left out. A training step takes about
    three times as much.

    Args:
        model: any :class:`EPUCNN`.

    Returns:
        Floating point operations per image.

    Example:
        >>> with torch.device("meta"):
        ...     published = EPUCNN(["a", "b"], size=(128, 128), base_channels=64, hidden_units=32)
        >>> round(flops(published) / 1e9, 2)
        24.25
    """
    total = 0
    for subnet in model.subnets:
        height, width = model.size
        for layer in subnet.modules():
            if isinstance(layer, nn.Conv2d):
                total += layer.weight.numel() * height * width
            elif isinstance(layer, nn.BatchNorm2d):
                # The norm is the last layer of a block, so all following layers have the pooled size.
                height, width = height // 2, width // 2
            elif isinstance(layer, nn.Linear):
                total += layer.weight.numel()
    return 2.0 * total
