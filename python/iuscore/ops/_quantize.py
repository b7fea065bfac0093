"""How pixel values become gray levels: the options of the texture ops, checked. Rules: docs/design.md."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

Quantize: TypeAlias = Literal["range", "minmax", "width", "levels"]
ValueRange: TypeAlias = "tuple[float, float | None]"

MODES: tuple[Quantize, ...] = ("range", "minmax", "width", "levels")
FEWEST_LEVELS, MOST_LEVELS = 2, 256
_HIGH = {torch.uint8: 256.0, torch.uint16: 65536.0}  # of floating types 1


@dataclass(frozen=True)
class Quantization:
    """level = clamp(floor((x - low) * scale), 0, levels - 1) in float32 on raw values.

    ``low`` and ``scale`` are float32 values; None where they come from each image.
    """

    mode: Quantize
    levels: int
    low: float | None
    scale: float | None


def quantization(
    quantize: Quantize, levels: int, value_range: ValueRange | None, width: float | None, dtype: torch.dtype
) -> Quantization:
    """The options ``quantize``, ``levels``, ``range`` and ``width`` of an op, for images of ``dtype``.

    Raises:
        TypeError: ``levels`` is not an integer. ValueError: a value out of bounds, or options that do not go together.
    """
    if isinstance(levels, bool) or not isinstance(levels, int | np.integer):
        raise TypeError(f"levels: expected an integer, got {type(levels).__name__}")
    if not FEWEST_LEVELS <= levels <= MOST_LEVELS:
        raise ValueError(f"levels: expected {FEWEST_LEVELS}..{MOST_LEVELS}, got {levels}")
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
    return Quantization("range", levels, _float32(low, "range"), _float32(levels / (high - low), "range"))


def _width(levels: int, value_range: ValueRange | None, width: float) -> Quantization:
    if not (math.isfinite(width) and width > 0.0):
        raise ValueError(f"width: expected a positive number, got {width!r}")
    low = None if value_range is None else value_range[0]
    if low is not None and not math.isfinite(low):
        raise ValueError(f"range: expected a finite low, got {value_range!r}")
    return Quantization(
        "width", levels, None if low is None else _float32(low, "range"), _float32(1.0 / width, "width")
    )


def _float32(value: float, name: str) -> float:
    """Rounded once."""
    with np.errstate(over="ignore"):
        rounded = float(np.float32(value))
    if not math.isfinite(rounded):
        raise ValueError(f"{name}: expected values whose levels float32 can tell apart, got {value!r}")
    return rounded


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
