"""Colors that a gray model does not see, and images without any that a color model looks at."""

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
    """Whether a pixel of each image [H, W, C] has a color.

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


_ROWS = 64


def _spread_of_channels(image: Tensor) -> float:
    """Largest difference between two channels of a pixel of [H, W, C]; NaN where there is a NaN.

    A few rows at a time on the CPU, which stay in the processor's cache, and channel by channel: a reduction over an
    axis of three is slow.
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


def word_on_color(model: Ensemble) -> tuple[bool, str] | None:
    """Which images something is said of, those with a color (True) or without, and what.

    A lack of color is among the changes of a model with named features.
    """
    color = getattr(model.members[0], "color", None)
    if color == "gray":
        return True, COLOR_UNSEEN
    return (False, COLORLESS_IMAGE) if color == "color" and not model.features else None


def with_color(
    model: Ensemble, images: Sequence[Tensor] | Tensor, warnings: list[tuple[str, ...]]
) -> list[tuple[str, ...]]:
    """What was said of images, and which have a color that is not seen, or none where the model looks for one."""
    if (word := word_on_color(model)) is None:
        return warnings
    told = [any(text.removeprefix("degenerate map ") in COLOR_GROUPS for text in texts) for texts in warnings]
    found = zip(warnings, colored(images), told, strict=True)
    return [(*texts, word[1]) if has == word[0] and not said else texts for texts, has, said in found]
