"""Warnings about colored images for a gray model, and about colorless images for a color model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from iuscore.features import FAINT
from iuscore.features.registry import COLOR_GROUPS
from iuscore.models import Ensemble

COLOR_UNSEEN = "color, which this gray model does not see"
COLORLESS_IMAGE = "no color, which this color model looks for"


def colored(images: Sequence[Tensor] | Tensor) -> list[bool]:
    """Whether each image [H, W, C] has a pixel with a color.

    Example:
        >>> gray = torch.full((4, 4, 3), 100, dtype=torch.uint8)
        >>> red = gray.clone()
        >>> red[0, 0, 0] = 200
        >>> colored([gray, red, gray[..., :1]])
        [False, True, False]
    """
    return [_is_colored(image.detach()) for image in images]


def _is_colored(image: Tensor) -> bool:
    if image.shape[2] == 1 or not image.numel():
        return False
    largest = 1.0 if image.is_floating_point() else float(torch.iinfo(image.dtype).max)
    return _spread_of_channels(image) > FAINT * largest


_ROWS = 64  # rows at a time, which stay in the processor's cache


def _spread_of_channels(image: Tensor) -> float:
    """Largest difference between two channels of a pixel of [H, W, C]; NaN if there is a NaN.

    Computed channel by channel, because a reduction over an axis of length three is slow; on the CPU a few rows at a
    time, which stay in the cache.
    """
    found = []
    for part in torch.split(image, len(image) if image.is_cuda else _ROWS):
        wide = part if part.is_floating_point() or part.dtype == torch.uint8 else part.to(torch.int32)
        first, *others = wide.unbind(2)
        high = low = first
        for channel in others:
            high, low = torch.maximum(high, channel), torch.minimum(low, channel)
        found.append((high - low).max())
    return float(torch.stack(found).max())


def color_warning(model: Ensemble) -> tuple[bool, str] | None:
    """The warning of a model about color: whether it is for images with color (True) or without, and its text.

    None for a color model with named features, whose list of changes includes a lack of color.
    """
    color = getattr(model.members[0], "color", None)
    if color == "gray":
        return True, COLOR_UNSEEN
    return (False, COLORLESS_IMAGE) if color == "color" and not model.features else None


def with_color(
    model: Ensemble, images: Sequence[Tensor] | Tensor, warnings: list[tuple[str, ...]]
) -> list[tuple[str, ...]]:
    """The warnings of images, with the model's `color_warning` added where it applies.

    It is not added to a warning about a degenerate color map, which has the same cause.
    """
    if (color := color_warning(model)) is None:
        return warnings
    for_colored, text = color
    known = [any(each.removeprefix("degenerate map ") in COLOR_GROUPS for each in texts) for texts in warnings]
    rows = zip(warnings, colored(images), known, strict=True)
    return [
        (*texts, text) if has_color == for_colored and not is_known else texts for texts, has_color, is_known in rows
    ]
