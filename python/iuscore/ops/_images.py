"""From what a caller has to strided [B, H, W, C] and [H, W, C] views, without copies where strides can say it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Layout: TypeAlias = Literal["NHWC", "NCHW"]
ArrayLike: TypeAlias = "Tensor | npt.NDArray[np.generic]"
Images: TypeAlias = "ArrayLike | Sequence[ArrayLike]"

PIXEL_TYPES = (torch.uint8, torch.uint16, torch.float16, torch.bfloat16, torch.float32)
_NAMES = "uint8, uint16, float16, bfloat16 or float32"
_ADVICE = {
    torch.float64: "convert it with .float() or .astype('float32')",
    torch.bool: "convert it to uint8 with values 0 and 255",
}


def checked_size(size: Sequence[int], least: int) -> tuple[int, int]:
    """(height, width); ValueError where it is something else."""
    pair = isinstance(size, Sequence) and not isinstance(size, str) and len(size) == 2
    if not pair or any(isinstance(n, bool) or not isinstance(n, int | np.integer) or n < least for n in size):
        raise ValueError(f"size: expected (height, width), two integers of at least {least}, got {size!r}")
    return int(size[0]), int(size[1])


def batch_view(images: ArrayLike, layout: Layout | None) -> Tensor:
    """``images`` [B, H, W, C] or [B, C, H, W] as a [B, H, W, C] view."""
    tensor = _tensor(images)
    if tensor.ndim != 4:
        hint = "; for one image add a batch axis: images[None]" if tensor.ndim == 3 else ""
        raise ValueError(f"images: expected [B, H, W, C] or [B, C, H, W], got {list(tensor.shape)}{hint}")
    return _channels_last(tensor, layout)


def image_views(images: Sequence[ArrayLike], layout: Layout | None) -> list[Tensor]:
    """Each of ``images`` [H, W, C], [C, H, W] or [H, W] as an [H, W, C] view."""
    views = []
    for i, image in enumerate(images):
        tensor = _tensor(image, f"images[{i}]")
        if tensor.ndim == 2:
            tensor = tensor.unsqueeze(-1 if layout != "NCHW" else 0)
        if tensor.ndim != 3:
            raise ValueError(f"images[{i}]: expected [H, W, C], [C, H, W] or [H, W], got {list(tensor.shape)}")
        views.append(_channels_last(tensor[None], layout, f"images[{i}]")[0])
    devices = {view.device for view in views}
    if len(devices) > 1:
        raise ValueError(f"images: expected all on one device, got {sorted(map(str, devices))}")
    return views


def _tensor(image: ArrayLike, name: str = "images") -> Tensor:
    if isinstance(image, np.ndarray):
        image = tensor_of(image, name, _NAMES)
    if not isinstance(image, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor or numpy.ndarray, got {type(image).__name__}")
    if image.dtype not in PIXEL_TYPES:
        advice = _ADVICE.get(image.dtype, "convert it, scaled to the range of one of these")
        raise TypeError(f"{name}: expected dtype {_NAMES}, got {str(image.dtype)[6:]}; {advice}")
    return image


def tensor_of(array: npt.NDArray[Any], name: str, expected: str) -> Tensor:
    """A view where torch can have one. TypeError: a dtype that torch has not, where ``expected`` ones belong."""
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    # Torch has no negative strides, none between elements, and warns about memory it may not write to.
    if not array.flags.writeable or any(s < 0 or s % array.itemsize for s in array.strides):
        array = array.copy()
    try:
        return torch.from_numpy(array)
    except TypeError:
        raise TypeError(f"{name}: expected dtype {expected}, got {array.dtype}") from None


def _channels_last(tensor: Tensor, layout: Layout | None, name: str = "images") -> Tensor:
    shape = list(tensor.shape)
    if layout not in (None, "NHWC", "NCHW"):
        raise ValueError(f"layout: expected 'NHWC', 'NCHW' or None, got {layout!r}")
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if layout is None:
        if first and last:
            raise ValueError(f"{name}: the channel axis of {shape} is ambiguous; pass layout='NHWC' or layout='NCHW'")
        layout = "NCHW" if first else "NHWC"
    view = tensor.permute(0, 2, 3, 1) if layout == "NCHW" else tensor
    if view.shape[3] not in (1, 3):
        raise ValueError(f"{name}: expected 1 or 3 channels in {layout}, got shape {shape}")
    if view.shape[1] == 0 or view.shape[2] == 0:
        raise ValueError(f"{name}: expected height and width of at least 1, got shape {shape}")
    return view
