"""The interface that every additive model of the package shares.

An additive model turns an image into one signed contribution per named component and output, and
its logits are a bias plus the sum of these contributions. Nothing here knows what the components
are or how they are computed.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, cast

import torch
from torch import Tensor, nn

from iuscore.errors import UserError, bounded, class_named, closest_match
from iuscore.features import Feature
from iuscore.ops import Precision, chosen_precision

if TYPE_CHECKING:
    from typing_extensions import Self

Space = Literal["paper", "evidence"]
"""Space of contributions: "paper" is after the tanh (as published), "evidence" before the tanh."""

SPACES: tuple[Space, ...] = ("paper", "evidence")

MaskRule = Literal["border", "given"]
"""Pixels that a model measures: "border", all but the black border, which the model finds; "given", a given mask."""

Layout = Literal["NHWC", "NCHW"]
"""Axis order of a batch; needed only where a shape fits both."""


def check_space(space: str) -> None:
    """Raise :class:`UserError` unless ``space`` is one of :data:`SPACES`.

    Example:
        >>> check_space("evidence")
    """
    if space not in SPACES:
        raise UserError(f"space: expected one of {', '.join(SPACES)}, got {space!r}")


def check_precision(precision: str) -> None:
    """Raise :class:`UserError` unless ``precision`` is one of "exact", "fast" and "auto".

    Example:
        >>> check_precision("auto")
    """
    chosen_precision(cast("Precision", precision))


def output_column(classes: Sequence[str], name: str) -> int:
    """Return the output whose contributions describe class ``name``.

    Two classes share the one output (the logit of ``classes[1]``), more have one output each.

    Args:
        classes: class names in label order.
        name: one of them.

    Returns:
        0 for two classes, else the label of ``name``.

    Raises:
        UserError: ``name`` is not a class; the message lists the classes.

    Example:
        >>> output_column(["benign", "malignant"], "malignant"), output_column(["a", "b", "c"], "c")
        (0, 2)
    """
    if (found := class_named(name, classes)) is None:
        close = closest_match(name, classes)
        hint = f"; did you mean {close!r}?" if close else ""
        raise UserError(f"no class {name!r}: the model knows {', '.join(classes)}{hint}")
    return 0 if len(classes) == 2 else list(classes).index(found)


class AdditiveModel(nn.Module, ABC):
    """logits = bias + sum over components of the "paper" contributions.

    With two classes there is K = 1 output, the logit of ``classes[1]`` (sigmoid); with more there
    are K = ``len(classes)`` outputs (softmax).

    A subclass sets ``kind``, registers ``bias`` (float [K]) and implements :attr:`input_shape`,
    :meth:`prepare`, :meth:`contributions_of` and :meth:`config`. Its constructor's arguments are the keys of
    ``config()``. All its state must be in ``state_dict()``: loading builds the module on the meta device and then
    assigns the tensors of the file. No activation may be kept as an attribute: it would hold memory between calls, and
    the model could not be copied.

    Args:
        classes: at least two different, non-empty class names, in label order.
        components: names of the G components, in the order of the contributions' second axis.

    Raises:
        UserError: fewer than two classes, or two of the same name.
    """

    kind: ClassVar[str]
    classes: tuple[str, ...]
    components: tuple[str, ...]
    bias: Tensor
    mask: MaskRule | None = None  # all pixels

    def __init__(self, classes: Sequence[str], components: Sequence[str]) -> None:
        super().__init__()
        names = tuple(classes) if isinstance(classes, Iterable) and not isinstance(classes, str | Mapping) else ()
        if len(names) < 2 or any(not isinstance(name, str) or not name for name in names):
            raise UserError(f"classes: expected at least two class names, got {bounded(classes)}")
        if len(set(names)) < len(names):
            raise UserError(f"classes: expected different names, got {', '.join(names)}")
        self.classes = names
        self.components = tuple(components)

    @property
    def n_outputs(self) -> int:
        """K: 1 for two classes, else the number of classes."""
        return 1 if len(self.classes) == 2 else len(self.classes)

    @property
    def features(self) -> tuple[Feature, ...]:
        """Names and meaning of the inputs [B, F]; empty for models whose inputs are maps."""
        return ()

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one image's inputs, without the axis B."""

    @abstractmethod
    def prepare(self, images: Any, layout: Layout | None = None, mask: Any = None) -> Tensor:
        """Turn images into the model's inputs, on the images' device.

        Args:
            images: tensor or array [B, H, W, C] or [B, C, H, W], C = 1 or 3, uint8, uint16 or
                floating (nominally in [0, 1]), or a list of single images of any sizes.
            layout: "NHWC" or "NCHW"; needed only where the shape fits both.
            mask: see :meth:`checked_mask`.

        Returns:
            float32 tensor, first axis B.
        """

    def checked_mask(self, mask: Any) -> Any:
        """Check a mask against the model's rule ``mask``, and return the mask to measure with.

        Args:
            mask: for a model fitted with masks: one per image, bool or uint8 [H, W], or all as [B, H, W], nonzero =
                counted; for a model that finds the border: None or "border"; else None.

        Raises:
            UserError: the model does not use this mask, or needs a mask that is missing.
        """
        if self.mask == "given":
            if mask is None or isinstance(mask, str):
                raise UserError("mask: the model was fitted with masks: give one per image")
        elif self.mask == "border":
            if not (mask is None or (isinstance(mask, str) and mask == "border")):
                raise UserError(
                    "mask: the model finds the border of every image itself, and its profiles are of such pixels: "
                    "leave mask out"
                )
            return "border"
        elif mask is not None:
            raise UserError(
                f"mask: the model, of kind {self.kind!r}, was fitted to whole images: leave mask out, "
                "or fit a model of kind 'texture' with a mask"
            )
        return mask

    @property
    def mask_size(self) -> tuple[int, int] | None:
        """(height, width) at which a given mask must have a counted pixel; None for models without given masks."""
        return None

    def prepare_with_warnings(
        self, images: Any, layout: Layout | None = None, mask: Any = None
    ) -> tuple[Tensor, list[tuple[str, ...]]]:
        """Prepare images, with warnings about inputs that carry no information.

        Args:
            images, layout, mask: see :meth:`prepare`.

        Returns:
            The result of :meth:`prepare`, and one tuple of short texts per image, such as "degenerate map red-green";
            empty tuples unless a subclass overrides this method.
        """
        inputs = self.prepare(images, layout, mask)
        return inputs, [()] * len(inputs)

    @abstractmethod
    def contributions_of(self, inputs: Tensor, space: Space = "paper", *, precision: Precision = "exact") -> Tensor:
        """Compute the contributions from prepared inputs.

        Args:
            inputs: result of :meth:`prepare`; first axis B.
            space: "paper" or "evidence".
            precision: "exact", "fast" or "auto"; models without fast arithmetic are always exact.

        Returns:
            float tensor [B, G, K].

        Raises:
            UserError: unknown space.
        """

    def to_paper(self, evidence: Tensor) -> Tensor:
        """Map contributions from the space "evidence" to the space "paper", float [..., K]."""
        return torch.tanh(evidence)

    def chosen_precision(self, precision: Precision, device: torch.device | str = "cpu") -> Precision:
        """The precision that this model uses on a device, "exact" or "fast", if ``precision`` is requested.

        Raises:
            UserError: an unknown precision.
        """
        check_precision(precision)
        return "exact"

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON-able values, enough to rebuild the module."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build the module that ``config()`` describes, with fresh weights.

        Raises:
            UserError: a key is missing or unknown, or a value does not fit.
        """
        known = set(inspect.signature(cls).parameters)
        if missing := sorted(known - set(config)):
            raise UserError(f"a model of kind {cls.kind!r} needs {', '.join(missing)}")
        if unknown := sorted(set(config) - known):
            raise UserError(f"a model of kind {cls.kind!r} has no {', '.join(unknown)}")
        return cls(**config)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits, float [B, K]: bias + sum of the "paper" contributions.

        Args:
            inputs: result of :meth:`prepare`; first axis B.
        """
        return self.bias + self.contributions_of(inputs, "paper").sum(dim=1)

    def contributions(
        self, images: Any, space: Space = "paper", *, layout: Layout | None = None, mask: Any = None
    ) -> Tensor:
        """Compute the contributions of images: ``contributions_of(prepare(images))``.

        Dropout and batch statistics act as the module's ``training`` flag says, so call ``eval()``
        before you score. The work is done on the model's device and in its dtype.

        Args:
            images: see :meth:`prepare`.
            space: "paper" or "evidence".
            layout, mask: see :meth:`prepare`.

        Returns:
            float tensor [B, G, K].
        """
        return self.contributions_of(self.prepare(images, layout, mask).to(self.bias), space)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Turn logits into class probabilities.

        Args:
            logits: float [B, K].

        Returns:
            float [B, n_classes] in [0, 1], rows sum to 1: (1 - p, p) with p = sigmoid(logit) for
            two classes, softmax for more.

        Raises:
            ValueError: the last axis is not K.
        """
        if logits.ndim != 2 or logits.shape[1] != self.n_outputs:
            raise ValueError(f"logits: expected [B, {self.n_outputs}], got {list(logits.shape)}")
        # For one logit x: softmax over (0, x), not sigmoid(x). The bits of PyTorch's sigmoid depend on the position in
        # the batch, and 1 - sigmoid(x) loses all digits of small probabilities.
        per_class = logits if self.n_outputs > 1 else torch.cat([torch.zeros_like(logits), logits], dim=1)
        return torch.softmax(per_class, dim=1)

    def target_column(self, name: str) -> int:
        """Return the column of the contributions' last axis that describes class ``name``.

        Raises:
            UserError: unknown class; the message lists the classes.
        """
        return output_column(self.classes, name)


MAX_SIDE = 16_384
"""Largest height and width that images are resized to."""

MAX_UNITS = 65_536
"""Most hidden units, and most channels of the first convolutions."""

MAX_WEIGHTS = 2**31
"""Most weights of a model: 8 GiB as float32; training needs four times as much."""


def check_count(name: str, value: object, least: int, most: int = MAX_UNITS) -> None:
    """Raise `UserError` unless ``value`` is an integer from ``least`` to ``most``.

    Example:
        >>> check_count("hidden_units", 16, 1)
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UserError(f"{name}: expected an integer of at least {least}, got {bounded(value)}")
    if value > most:
        raise UserError(f"{name}: expected at most {most}, got {bounded(value)}")


def check_size(size: object, least: int) -> None:
    """Raise `UserError` unless ``size`` is (height, width), each from ``least`` to `MAX_SIDE`.

    Example:
        >>> check_size([96, 128], 8)
    """
    pair = isinstance(size, Sequence) and not isinstance(size, str) and len(size) == 2
    is_whole = pair and all(
        isinstance(side, int) and not isinstance(side, bool) for side in cast("Sequence[Any]", size)
    )
    if not is_whole or any(side < least for side in cast("Sequence[int]", size)):
        raise UserError(f"size: expected (height, width), each at least {least}, got {bounded(size)}")
    if any(side > MAX_SIDE for side in cast("Sequence[int]", size)):
        raise UserError(f"size: expected (height, width), each at most {MAX_SIDE}, got {bounded(size)}")


def check_weights(kind: type[AdditiveModel], config: Mapping[str, Any]) -> None:
    """Raise `UserError` unless ``config`` describes a model with at most `MAX_WEIGHTS` weights; allocates no weights.

    Example:
        >>> from iuscore.models import EPUCNN
        >>> check_weights(EPUCNN, {"classes": ["a", "b"], "size": (16, 16)})
    """
    try:
        with torch.device("meta"):
            weights = sum(parameter.numel() for parameter in kind(**config).parameters())
    except (RuntimeError, OverflowError):  # sizes beyond 2^63
        weights = 2**63
    if weights > MAX_WEIGHTS:
        raise UserError(
            f"the model would have {weights:.1e} weights, expected at most {MAX_WEIGHTS:.1e}: use a smaller size, "
            "base_channels or hidden_units"
        )


KINDS: dict[str, type[AdditiveModel]] = {}
"""Kinds of models that a model file may hold: ``kind`` -> class."""

M = TypeVar("M", bound=AdditiveModel)


def register_kind(model_class: type[M]) -> type[M]:
    """Class decorator: let model files hold this class under its ``kind``.

    Raises:
        ValueError: the kind is taken by another class.

    Example:
        >>> from iuscore.models import EPUCNN
        >>> register_kind(EPUCNN) is KINDS["epu"]
        True
    """
    if KINDS.setdefault(model_class.kind, model_class) is not model_class:
        raise ValueError(f"kind {model_class.kind!r} is taken by {KINDS[model_class.kind].__name__}")
    return model_class
