"""Float images on another scale than 0..1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import Tensor

# Floats beyond are no overshoot of a generator that means 0..1, but another range.
_LOWEST, _HIGHEST = -0.5, 1.5


def beyond_unit(images: Iterable[Any], *, ask_gpu: bool = False) -> str | None:
    """What to say of arrays that hold floats on another scale; a GPU is not asked, which would wait for it."""
    for part in images:
        if isinstance(part, Tensor):
            if not (part.is_floating_point() and part.numel() and (ask_gpu or part.device.type == "cpu")):
                continue
            low, high = (end.item() for end in part.detach().aminmax())
        elif isinstance(part, np.ndarray) and np.issubdtype(part.dtype, np.floating) and part.size:
            low, high = float(part.min()), float(part.max())
        else:
            continue
        if low < _LOWEST or high > _HIGHEST:
            return (
                f"images: expected floats in [0, 1], to which they are clamped, got {low:.3g} to {high:.3g}; "
                "scale them, those in [-1, 1] by (x + 1) / 2"
            )
    return None
