"""Round images of any dtype to the 8-bit values that a texture model measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from iuscore.errors import UserError
from iuscore.ops._images import ArrayLike, Images, Layout, batch_view, image_views, is_batch
from iuscore.ops._range import beyond, warn_of_range


def as_bytes(images: Images, layout: Layout | None = None) -> tuple[Tensor | list[Tensor], list[int]]:
    """Round images to 8 bits, so that the same image gives the same features in every dtype.

    A floating value x becomes floor(255 x + 1/2) with x clamped to [0, 1], a 16-bit value v becomes v / 257 rounded to
    the nearest integer (no value lies halfway). So k, 257 k, and k / 255 in float32, float16 or bfloat16 all become k:
    these types represent k / 255 with an error of at most .00002, .07 and .499 steps of 1/255, less than half a step.

    Args:
        images: as in `iuscore.features.texture_features`.
        layout: "NHWC" or "NCHW"; needed only where the shape fits both.

    Returns:
        uint8 [B, H, W, C], or a list of [H, W, C]; and the indices of images with a value that is not finite, whose
        bytes have no meaning.

    Raises:
        UserError: an image requires a gradient. TypeError, ValueError: images of another type or shape.

    Warns:
        UserWarning: as `iuscore.ops.texture_stats`.

    Example:
        >>> rounded, nonfinite = as_bytes(torch.tensor([[0.0, 0.5, 1.0, 1.2, float("nan")]]))
        >>> rounded.flatten().tolist(), nonfinite
        ([0, 128, 255, 255, 0], [0])
    """
    if is_batch(images):
        batch = batch_view(cast(ArrayLike, images), layout)
        warn_of_range([batch])
        check_no_gradient([batch])
        return _bytes(batch), _nonfinite(batch)
    views = image_views(cast("Sequence[ArrayLike]", images), layout)
    warn_of_range(views)
    check_no_gradient(views)
    return [_bytes(view) for view in views], [i for i, view in enumerate(views) if _nonfinite(view[None])]


CONSTANT = "constant image"


def why_constant(images: Images, layout: Layout | None, constant: Sequence[bool]) -> list[tuple[str, ...]]:
    """Warnings of each image: none, that it has one color, or that clamping made its values equal.

    Args:
        images, layout: as given to `as_bytes`.
        constant: whether each image had one color when it was measured.

    Example:
        >>> why_constant(torch.tensor([[20.0, 255.0], [0.5, 0.5]]).view(2, 1, 2, 1), "NHWC", [True, True])
        [('values from 20 to 255 clamped to 0..1: expected floats in [0, 1]',), ('constant image',)]
    """
    if not any(constant):
        return [()] * len(constant)
    views = (
        batch_view(cast(ArrayLike, images), layout)
        if is_batch(images)
        else image_views(cast("Sequence[ArrayLike]", images), layout)
    )
    return [(_reason(view),) if is_constant else () for view, is_constant in zip(views, constant, strict=True)]


def _reason(image: Tensor) -> str:
    if image.is_floating_point():
        low, high = (float(end) for end in image.detach().aminmax())
        if low < 0 or high > 1:
            return f"values from {low:.3g} to {high:.3g} clamped to 0..1: expected floats in [0, 1]"
    elif warning := beyond(image):  # 8-bit values in uint16
        return warning.removeprefix("images: ").split(";")[0]
    return CONSTANT


def check_no_gradient(images: Sequence[Tensor]) -> None:
    """Raise a UserError if an image requires a gradient."""
    if torch.is_grad_enabled() and any(image.requires_grad for image in images):
        raise UserError(
            "images: a gradient is asked for, but texture features count pixels, which has none: "
            "use a model of kind 'epu' for it, or pass images.detach()"
        )


def _bytes(images: Tensor) -> Tensor:
    if images.dtype == torch.uint8:
        return images
    if images.dtype == torch.uint16:
        return ((images.to(torch.int32) + 128) // 257).to(torch.uint8)
    # float64 represents 255 x + 1/2 exactly, so nothing is rounded before the floor.
    scaled = images.double().nan_to_num(0.0).clamp_(0.0, 1.0)
    return scaled.mul_(255.0).add_(0.5).to(torch.uint8)


def _nonfinite(images: Tensor) -> list[int]:
    if not images.is_floating_point():
        return []
    indices: list[int] = (~images.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
    return indices
