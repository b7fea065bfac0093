"""How pixel values become gray levels: the options of the texture ops, checked. Rules: docs/glcm.md."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from iuscore.ops._constants import MAX_LEVELS, MIN_LEVELS

Quantize: TypeAlias = Literal["range", "minmax", "width", "levels"]
ValueRange: TypeAlias = "tuple[float, float | None]"

MODES: tuple[Quantize, ...] = ("range", "minmax", "width", "levels")
_LARGEST_PIXEL = torch.finfo(torch.float32).max
_HIGH = {torch.uint8: 256.0, torch.uint16: 65536.0}  # of floating types 1


@dataclass(frozen=True)
class Quantization:
    """How a raw value x becomes a level: clamp(floor(position), 0, levels - 1), every operation in float64.

    position = levels * (x - low) / divisor with divisor = high - low; in mode "width" (x - low) / divisor with
    divisor = width. ``low`` and ``divisor`` are None where they come from each image.
    """

    mode: Quantize
    levels: int
    low: float | None
    divisor: float | None

    @property
    def factor(self) -> float:
        """What x - low is multiplied by."""
        return float(self.levels) if self.mode in ("range", "minmax") else 1.0


def quantization(
    quantize: Quantize, levels: int, value_range: ValueRange | None, width: float | None, dtype: torch.dtype
) -> Quantization:
    """The options ``quantize``, ``levels``, ``range`` and ``width`` of an op, for images of ``dtype``.

    Raises:
        TypeError: ``levels`` is not an integer. ValueError: a value out of bounds, or options that do not go together.
    """
    if isinstance(levels, bool) or not isinstance(levels, int | np.integer):
        raise TypeError(f"levels: expected an integer, got {type(levels).__name__}")
    if not MIN_LEVELS <= levels <= MAX_LEVELS:
        raise ValueError(f"levels: expected {MIN_LEVELS}..{MAX_LEVELS}, got {levels}")
    if quantize not in MODES:
        raise ValueError(f"quantize: expected one of {', '.join(MODES)}, got {quantize!r}")
    if value_range is not None and quantize not in ("range", "width"):
        raise ValueError(f"range: expected None with quantize={quantize!r}, got {value_range!r}")
    if (width is None) == (quantize == "width"):
        expected = "the width of a level" if quantize == "width" else "None"
        raise ValueError(f"width: expected {expected} with quantize={quantize!r}, got {width!r}")
    levels = int(levels)
    if quantize == "range":
        return _range(levels, value_range, dtype)
    if width is not None:
        return _width(levels, value_range, width)
    if quantize == "levels":
        if dtype not in _HIGH:
            raise ValueError(
                f"quantize: 'levels' needs uint8 or uint16 images, got {str(dtype).removeprefix('torch.')}"
            )
        return Quantization("levels", levels, 0.0, 1.0)
    return Quantization("minmax", levels, None, None)


def _range(levels: int, value_range: ValueRange | None, dtype: torch.dtype) -> Quantization:
    low, high = (0.0, _HIGH.get(dtype, 1.0)) if value_range is None else value_range
    if high is None or not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"range: expected finite (low, high) with low < high, got {value_range!r}")
    return Quantization("range", levels, *_within_float32(low, high))


def _width(levels: int, value_range: ValueRange | None, width: float) -> Quantization:
    if not (math.isfinite(width) and width > 0.0):
        raise ValueError(f"width: expected a positive number, got {width!r}")
    low = None if value_range is None else value_range[0]
    if low is not None and not math.isfinite(low):
        raise ValueError(f"range: expected a finite low, got {value_range!r}")
    if low is not None:
        _within_float32(low)
    return Quantization("width", levels, low, float(width))


def _within_float32(low: float, high: float = 0.0) -> tuple[float, float]:
    """low and high - low, float64. ValueError beyond the range of float32: products could be infinite."""
    for value in (low, high):
        if abs(value) > _LARGEST_PIXEL:
            raise ValueError(f"range: expected values that float32 pixels can have, at most 3.4e38, got {value!r}")
    return float(low), float(high) - float(low)


def check_levels(largest: int, levels: int) -> None:
    """Of mode "levels".

    Raises:
        ValueError: the largest counted value is not a level.
    """
    if largest >= levels:
        raise ValueError(
            f"images: expected values below levels={levels} with quantize='levels', got {largest}; "
            "raise levels, or choose another quantize"
        )


def largest_counted(images: Tensor, mask: Tensor | None) -> int:
    """Largest integer of images [B, H, W, 1] where mask [B, H, W] is nonzero; 0 where nothing is counted."""
    values = images[..., 0].to(torch.int32)
    if mask is not None:
        values = torch.where(mask != 0, values, 0)
    return int(values.max()) if values.numel() else 0
