"""Colors that a gray model does not see, and images without any that a color model looks at."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from iuscore.features import FAINT
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
    return [_is_colored(image) for image in images]


def _is_colored(image: Tensor) -> bool:
    if image.shape[2] == 1 or not image.numel():
        return False
    largest = 1.0 if image.is_floating_point() else float(torch.iinfo(image.dtype).max)
    wide = image if image.is_floating_point() else image.to(torch.int32)
    return bool((wide.amax(2) - wide.amin(2)).max() > FAINT * largest)


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
    return [(*w, word[1]) if has == word[0] else w for w, has in zip(warnings, colored(images), strict=True)]
