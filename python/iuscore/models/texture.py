"""An additive model over named features of color and texture, with one small network per group of features.

Source: the form is that of neural additive models (Agarwal et al., NeurIPS 2021) with groups of features as inputs; the
features are those of `iuscore.features`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iuscore.errors import UserError, bounded
from iuscore.features import FEATURES, GROUPS, Feature, group_sizes
from iuscore.features.bytes import CONSTANT, as_bytes, why_constant
from iuscore.features.masks import nonfinite_where_counted
from iuscore.features.texture import measured
from iuscore.models.base import (
    AdditiveModel,
    Layout,
    MaskRule,
    Space,
    check_count,
    check_precision,
    check_size,
    check_space,
    register_kind,
)
from iuscore.models.text import is_numbers
from iuscore.ops import AdditiveWeights, Kind, Precision, additive_mlp
from iuscore.ops._on_device import on_device

if TYPE_CHECKING:
    from typing_extensions import Self

Heads = Literal["linear", "tanh"]

FARTHEST = 3.0
"""Standardized features are clamped to this distance from the mean of the training images: outside the range of the
training images, a network extrapolates linearly without any evidence."""

MIN_SIZE = 8
NO_BORDER = "dark image: no border found, all pixels count"
_START = 0.3  # scale of the last layer's initial weights: an untrained model should have small contributions


@register_kind
class TextureModel(AdditiveModel):
    """Groups of features, each through its own network of two hidden layers; the outputs are added.

    logit = bias + sum over groups g of f_g(x_g), with x_g the standardized features of the group and f_g =
    [linear(h) relu] [linear(h // 2) relu] linear(K). Contributions are unbounded, so that a larger deviation can give
    a larger contribution, where a tanh would saturate. With ``heads="tanh"`` they are tanh(f_g), as in the published
    model.

    Args:
        classes: at least two class names in label order.
        color: "color" or "gray", which decides the features; see `iuscore.features.GROUPS`.
        size: (height, width) that images are resized to before they are measured; at least 8x8.
        heads: "linear" or "tanh".
        hidden_units: h, at least 2.
        dropout: share of the features that training leaves out at random, in [0, 1).
        feature_mean, feature_sd: mean and standard deviation of each feature over the training images, for
            standardization; None: 0 and 1.
        mask: which pixels count: "border": all but the black border that `iuscore.features.border_masks` finds in
            every image; "given": the pixels of a mask that is given with every image; None: all.

    Raises:
        UserError: a value out of its range.

    Example:
        >>> model = TextureModel(["normal", "polyp"], color="gray", size=(32, 32)).eval()
        >>> features = model.prepare(torch.randint(0, 256, (3, 48, 40, 1), dtype=torch.uint8))
        >>> c = model.contributions_of(features)
        >>> c.shape, bool(torch.allclose(model(features), model.bias + c.sum(1)))
        (torch.Size([3, 8, 1]), True)
    """

    kind: ClassVar[str] = "texture"

    def __init__(
        self,
        classes: Sequence[str],
        *,
        color: Kind = "color",
        size: Sequence[int] = (128, 128),
        heads: Heads = "linear",
        hidden_units: int = 16,
        dropout: float = 0.2,
        feature_mean: Sequence[float] | None = None,
        feature_sd: Sequence[float] | None = None,
        mask: MaskRule | None = None,
    ) -> None:
        _check_options(color, size, heads, hidden_units, dropout)
        if mask not in ("border", "given", None):
            raise UserError(f"mask: expected 'border', 'given' or None, got {mask!r}")
        super().__init__(classes, GROUPS[color])
        self.color: Kind = color
        self.size = (int(size[0]), int(size[1]))
        self.heads: Heads = heads
        self.hidden_units = hidden_units
        self.dropout = float(dropout)
        self.mask = mask
        # Not tensors: they are part of the configuration, and loading builds the module on the meta device.
        self.feature_mean = _numbers("feature_mean", feature_mean, 0.0, len(FEATURES[color]))
        self.feature_sd = _numbers("feature_sd", feature_sd, 1.0, len(FEATURES[color]), positive=True)
        self.bias = nn.Parameter(torch.zeros(self.n_outputs))
        self.groups = group_sizes(color)
        hidden = (hidden_units, hidden_units // 2)
        weights = AdditiveWeights.random(self.groups, hidden=hidden, outputs=self.n_outputs)
        if not weights.w3.is_meta:
            weights.w3.mul_(_START)
        for field in fields(AdditiveWeights):
            self.register_parameter(field.name, nn.Parameter(getattr(weights, field.name)))

    @property
    def features(self) -> tuple[Feature, ...]:
        """The columns of the inputs."""
        return FEATURES[self.color]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(F,), the number of features."""
        return (len(self.features),)

    @property
    def mask_size(self) -> tuple[int, int] | None:
        """The model's size, if masks are given with the images."""
        return self.size if self.mask == "given" else None

    def prepare(self, images: Any, layout: Layout | None = None, mask: Any = None) -> Tensor:
        """Measure the features of images, on the images' device.

        Pixels are rounded to 8 bits first, so that the same image gives the same bits in every dtype: a float x to
        255 x with halves rounded up, a 16-bit value v to v / 257.

        Args:
            images: tensor or array [B, H, W, C] or [B, C, H, W], C = 1 or 3, or gray [B, H, W] or [H, W], uint8, uint16
                or floating (nominally in [0, 1]), or a list of single images of any sizes.
            layout: "NHWC" or "NCHW"; needed only where the shape fits both.
            mask: for a model whose ``mask`` is "given": see `AdditiveModel.checked_mask`.

        Returns:
            float32 [B, F], columns as in `iuscore.features.FEATURES`; NaN for an image that is not finite, or whose
            mask has no counted pixel.

        Raises:
            UserError: an image requires a gradient, which counting pixels does not have; or a mask that the model
                does not use, or a missing mask.
            TypeError, ValueError: see `iuscore.ops.texture_stats`.
        """
        return self._measured(images, layout, mask)[0]

    def _measured(self, images: Any, layout: Layout | None, mask: Any) -> tuple[Tensor, Tensor]:
        mask = self.checked_mask(mask)
        rounded, nonfinite = as_bytes(images, layout)
        if mask is not None and nonfinite:
            nonfinite = nonfinite_where_counted(nonfinite, images, rounded, mask, self.size, layout)
        features, dark = measured(rounded, self.color, self.size, mask, "NHWC")
        if nonfinite:
            features[torch.tensor(nonfinite, device=features.device)] = torch.nan
        return features, dark

    def prepare_with_warnings(
        self, images: Any, layout: Layout | None = None, mask: Any = None
    ) -> tuple[Tensor, list[tuple[str, ...]]]:
        """Measure the features; warn about images of one color, and about images too dark to find their border."""
        inputs, dark = self._measured(images, layout, mask)
        planes = [i for i, f in enumerate(self.features) if f.name in _SPREADS]
        constant, no_border = torch.stack([(inputs[:, planes] == 0).all(1), dark]).tolist()
        # With a mask, pixels outside of it may have any value, so the range of all pixels is no reason.
        warnings = (
            why_constant(images, layout, constant) if mask is None else [(CONSTANT,) if c else () for c in constant]
        )
        return inputs, [(*texts, NO_BORDER) if dim else texts for texts, dim in zip(warnings, no_border, strict=True)]

    def contributions_of(self, inputs: Tensor, space: Space = "paper", *, precision: Precision = "exact") -> Tensor:
        """Compute the contributions from features.

        Args:
            inputs: float32 [B, F].
            space: with ``heads="tanh"``, "paper" is after the tanh and "evidence" before it; linear heads have no
                tanh, so both spaces have the same contributions.
            precision: always exact.

        Returns:
            float32 [B, G, K]; NaN for an image whose features are NaN.

        Raises:
            ValueError: wrong shape. TypeError: not float32.
            UserError: unknown space or precision.
        """
        check_space(space)
        check_precision(precision)
        if inputs.ndim != 2 or tuple(inputs.shape[1:]) != self.input_shape:
            raise ValueError(f"inputs: expected features [B, {self.input_shape[0]}], got {list(inputs.shape)}")
        mean, sd = self._standardization(inputs)
        x = ((inputs - mean) / sd).clamp(-FARTHEST, FARTHEST)
        evidence = additive_mlp(F.dropout(x, self.dropout, self.training), self.groups, self.weights()).contributions
        return self.to_paper(evidence) if space == "paper" else evidence

    def _standardization(self, like: Tensor) -> tuple[Tensor, ...]:
        """Mean and standard deviation of the features, [F] each, cached on the device: a copy would wait for it."""

        def make() -> tuple[Tensor, ...]:
            return tuple(torch.from_numpy(part).to(like.dtype) for part in (self.feature_mean, self.feature_sd))

        if torch.compiler.is_compiling():
            return tuple(part.to(like.device) for part in make())
        key = ("features", like.dtype, self.feature_mean.tobytes(), self.feature_sd.tobytes())
        return on_device(key, like.device, make)

    def to_paper(self, evidence: Tensor) -> Tensor:
        """The tanh with ``heads="tanh"``; the evidence itself with linear heads."""
        return torch.tanh(evidence) if self.heads == "tanh" else evidence

    def weights(self) -> AdditiveWeights:
        """The networks' weights, shared with the module."""
        return AdditiveWeights(**{field.name: getattr(self, field.name) for field in fields(AdditiveWeights)})

    @torch.no_grad()
    def center(self, inputs: Tensor, labels: Tensor) -> None:
        """Shift every contribution so that its mean over classes is 0, and the bias so that no logit changes.

        A contribution is then relative to the average image, with equal weight for each class. Only for linear heads:
        a shift before a tanh would change the logits.

        Args:
            inputs: features [N, F] of the training images.
            labels: int64 [N], at least one of every class.
        """
        if self.heads != "linear":
            return
        training = self.training
        contributions = self.eval().contributions_of(inputs)
        means = [contributions[labels == k].mean(0) for k in range(len(self.classes))]
        mean = torch.stack(means).mean(0)
        self.get_parameter("b3").sub_(mean)
        self.bias.add_(mean.sum(0))
        self.train(training)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON-able values."""
        return {
            "classes": list(self.classes),
            "color": self.color,
            "size": list(self.size),
            "heads": self.heads,
            "hidden_units": self.hidden_units,
            "dropout": self.dropout,
            "feature_mean": self.feature_mean.tolist(),
            "feature_sd": self.feature_sd.tolist(),
            **({} if self.mask is None else {"mask": self.mask}),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build the module that ``config()`` describes; without a mask in it, all pixels count."""
        return super().from_config({"mask": None, **config})


_SPREADS = ("lightness sd", "red-green sd", "blue-yellow sd")


def _check_options(color: str, size: Sequence[int], heads: str, hidden_units: int, dropout: float) -> None:
    if not isinstance(color, str) or color not in GROUPS:
        raise UserError(f"color: expected one of {', '.join(GROUPS)}, got {bounded(color)}")
    if heads not in ("linear", "tanh"):
        raise UserError(f"heads: expected one of linear, tanh, got {bounded(heads)}")
    check_size(size, MIN_SIZE)
    check_count("hidden_units", hidden_units, 2)
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise UserError(f"dropout: expected a number in [0, 1), got {bounded(dropout)}")


def _numbers(
    name: str, values: Sequence[float] | None, default: float, n: int, positive: bool = False
) -> np.ndarray[Any, np.dtype[np.float64]]:
    if values is None:
        return np.full(n, default)
    if not is_numbers(values) or len(values) != n or (positive and min(values) <= 0):
        what = "positive " if positive else ""
        shown = f"{len(values)} values" if isinstance(values, Sequence) else bounded(values)
        raise UserError(f"{name}: expected {n} {what}numbers, got {shown}")
    return np.array(values, dtype=np.float64)
