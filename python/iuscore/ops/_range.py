"""Warnings about images on another scale than that of their type: one for each call of the package."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

# A resize or a generator on the scale 0..1 may overshoot, but not beyond these values.
LOWEST, HIGHEST = -0.25, 1.5
LARGEST_BYTE = 255

_BELOW, _TOO_MANY = -0.05, 0.25  # a quarter of the values below: centered on 0, though none may be far out
_LOOKED_AT = 1 << 12  # values of a batch that are sampled, which takes microseconds
_NOT_THE_CALLER = (__name__.partition(".")[0], "torch", "contextlib")
_MIN_SIDE = 4  # rows and columns of every image


class _Call:
    """The warnings of one call of the package."""

    def __init__(self, said: bool) -> None:
        self.said = said


_call: ContextVar[_Call | None] = ContextVar("iuscore_range", default=None)


@contextmanager
def said_once() -> Iterator[None]:
    """Calls of ops inside warn at most once, together; within another such block that one counts."""
    if _call.get() is not None:
        yield
        return
    token = _call.set(_Call(False))
    try:
        yield
    finally:
        _call.reset(token)


@contextmanager
def range_is_known() -> Iterator[None]:
    """Ops called inside do not warn: the range was checked, or the caller reports it in another way."""
    token = _call.set(_Call(True))
    try:
        yield
    finally:
        _call.reset(token)


def warn_of_range(parts: Iterable[Tensor], advice: str = "") -> None:
    """Warn where images on the CPU are plainly on another scale: floats far out of 0..1, uint16 that holds bytes.

    Of a large batch a grid of 4,096 values is looked at, at least 16 pixels of every image. A GPU is not asked, which
    would wait for it, nor is what a compiler or ``vmap`` only follows.

    Args:
        parts: [B, H, W, C] or [H, W, C] each.
        advice: another way to say what the values mean, such as an option of the op.
    """
    if torch.compiler.is_compiling():
        return
    call = _call.get()
    if call is not None and call.said:
        return
    for part in parts:
        if part.dtype is torch.uint8 or not part.is_cpu:
            continue
        if said := beyond(part, advice):
            if call is not None:
                call.said = True
            warnings.warn(said, UserWarning, stacklevel=_callers_level())
            return


def beyond(images: Tensor, advice: str = "") -> str:
    """What to say of images [..., H, W, C] on another scale; empty where there is nothing to say."""
    if images.requires_grad:
        images = images.detach()
    try:
        if images.is_floating_point():
            return _beyond_unit(images, advice)
        return _bytes_in_uint16(images, advice) if images.dtype is torch.uint16 else ""
    except RuntimeError:  # values cannot be read, as under vmap or of fake tensors
        return ""


def _beyond_unit(images: Tensor, advice: str) -> str:
    low, high = _ends(_grid(images))
    if low >= LOWEST and high <= HIGHEST and not (low < _BELOW and _centered(_grid(images))):
        return ""
    low, high = _ends(images)
    if low >= LOWEST and HIGHEST < high <= LARGEST_BYTE + HIGHEST:
        what = "divide them by 255, or pass uint8"
    elif low >= -HIGHEST and high <= HIGHEST:
        what = "scale them, those in [-1, 1] by (x + 1) / 2"
    else:
        what = "scale them"
    return f"images: expected floats in [0, 1], got {low:.3g} to {high:.3g}; {what}{advice}"


def _bytes_in_uint16(images: Tensor, advice: str) -> str:
    signed = images.view(torch.int16)  # has the operations that uint16 lacks; values from 32768 on are below 0
    for part in (_grid(signed), signed):  # few values say that most images have larger ones
        low, high = _ends(part)
        if low < 0 or high > LARGEST_BYTE:
            return ""
    if high < 1:
        return ""  # black on any scale
    return (
        f"images: expected uint16 in 0..65535, got {low:.0f} to {high:.0f}; pass bytes as uint8, "
        f"images.to(torch.uint8) or images.astype('uint8'){advice}"
    )


def _grid(images: Tensor) -> Tensor:
    """Every n-th row and column."""
    if images.numel() <= _LOOKED_AT:
        return images
    height, width = images.shape[-3:-1]
    step = int((images.numel() / _LOOKED_AT) ** 0.5) + 1
    rows, columns = (max(1, min(step, side // _MIN_SIDE)) for side in (height, width))
    return images[..., ::rows, ::columns, :]


def _ends(values: Tensor) -> tuple[float, float]:
    """The smallest and the largest finite value; 0 and 0 if there is none."""
    if not values.numel():
        return 0.0, 0.0
    least, most = values.aminmax()
    low, high = least.item(), most.item()
    if low - low == 0.0 and high - high == 0.0:  # neither is infinite or NaN
        return low, high
    values = values[values.isfinite()]
    if not values.numel():
        return 0.0, 0.0
    least, most = values.aminmax()
    return least.item(), most.item()


def _centered(values: Tensor) -> bool:
    return int((values < _BELOW).sum()) > _TOO_MANY * values.numel()


def _callers_level() -> int:
    """The ``stacklevel`` of the line that called the package, so that Python's filters tell callers apart."""
    level, frame = 2, sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _NOT_THE_CALLER:
        level, frame = level + 1, frame.f_back
    return level
