"""Views [B, H, W, C] and [H, W, C] of what a caller passes, without copies if strides can express them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from iuscore.ops._arguments import check_dense, shown
from iuscore.ops._constants import MAX_MAP_PIXELS, MAX_SIDE, MAX_VIEWS_SIDE

Layout: TypeAlias = Literal["NHWC", "NCHW"]
Form: TypeAlias = Literal["NHWC", "NCHW", "NHW", "HW"]
"""The axes of a caller's images; "NHW": gray images without an axis of channels, "HW": one gray image."""

ArrayLike: TypeAlias = "Tensor | npt.NDArray[np.generic]"
Images: TypeAlias = "ArrayLike | Sequence[ArrayLike]"

PIXEL_TYPES = (torch.uint8, torch.uint16, torch.float16, torch.bfloat16, torch.float32)

_NAMES = "uint8, uint16, float16, bfloat16 or float32"
_INTEGERS = ("int8", "int16", "int32", "int64", "uint32", "uint64")


def checked_size(size: Sequence[int], least: int) -> tuple[int, int]:
    """(height, width); ValueError if it is something else, or too large."""
    pair = isinstance(size, Sequence) and not isinstance(size, str) and len(size) == 2
    if not pair or any(isinstance(n, bool) or not isinstance(n, int | np.integer) or n < least for n in size):
        raise ValueError(f"size: expected (height, width), two integers of at least {least}, got {shown(size)}")
    if max(size) > MAX_SIDE:
        raise ValueError(f"size: expected (height, width) of at most 2^24 each, got {shown(size)}; ask for less")
    if size[0] * size[1] > MAX_MAP_PIXELS:
        raise ValueError(f"size: expected at most 2^29 pixels, height x width, got {shown(size)}; ask for less")
    return int(size[0]), int(size[1])


def is_batch(images: Images) -> bool:
    """Whether it is one tensor or array; TypeError if it is not a list of them either."""
    if isinstance(images, Tensor | np.ndarray):
        return True
    if not isinstance(images, Sequence) or isinstance(images, str | bytes):
        raise TypeError(
            f"images: expected a torch.Tensor, a numpy.ndarray or a list of them, got {type(images).__name__}"
        )
    return False


def batch_view(images: ArrayLike, layout: Layout | None) -> Tensor:
    """``images`` [B, H, W, C], [B, C, H, W], or gray [B, H, W] or [H, W], as a [B, H, W, C] view."""
    return batch_and_form(images, layout)[0]


def batch_and_form(images: ArrayLike, layout: Layout | None) -> tuple[Tensor, Form]:
    """`batch_view`, and the form that it was made from."""
    return arranged(_tensor(images), layout)


def image_views(images: Sequence[ArrayLike], layout: Layout | None) -> list[Tensor]:
    """Each of ``images`` [H, W, C], [C, H, W] or [H, W] as an [H, W, C] view."""
    return [view for view, _ in views_and_forms(images, layout)]


def views_and_forms(images: Sequence[ArrayLike], layout: Layout | None) -> list[tuple[Tensor, Form]]:
    """`image_views`, each with the form that it was made from, as of a batch of one."""
    found = [
        arranged_one(_tensor(image, f"images[{i}]"), layout, f"images[{i}]") for i, image in enumerate(images)
    ]  # fmt: skip
    devices = {view.device for view, _ in found}
    if len(devices) > 1:
        raise ValueError(f"images: expected all on one device, got {sorted(map(str, devices))}")
    return found


def arranged(tensor: Tensor, layout: Layout | None) -> tuple[Tensor, Form]:
    """A batch of any dtype as [B, H, W, C].

    Raises:
        ValueError: a shape that is no batch of images, or may be two.
    """
    _check_layout(layout)
    if tensor.ndim == 4:
        return _channels_last(tensor, layout, "images")
    shape = list(tensor.shape)
    if tensor.ndim == 2:
        return _not_empty(tensor[None, :, :, None], "images", shape), "HW"
    if tensor.ndim != 3:
        raise ValueError(
            f"images: expected [B, H, W, C] or [B, C, H, W], or gray images [B, H, W] or [H, W], got {shape}"
        )
    first, last = shape[0] == 3, shape[2] in (1, 3)  # [1, H, W] is one gray image, whatever its first axis means
    if first or last:
        channels, one = (3, "NCHW") if first else (shape[2], "NHWC")
        raise ValueError(
            f"images: {shape} may be {shape[0]} gray images or one image with {channels} as its number of channels; "
            f"for gray images pass images[..., None] with layout='NHWC', for one image images[None] with layout='{one}'"
        )
    return _not_empty(tensor[..., None], "images", shape), "NHW"


def arranged_one(tensor: Tensor, layout: Layout | None, name: str) -> tuple[Tensor, Form]:
    """An image of a list, of any dtype, as [H, W, C].

    Raises:
        ValueError: a shape that is no image, or may be two.
    """
    _check_layout(layout)
    if tensor.ndim == 2:
        return _not_empty(tensor[..., None], name, list(tensor.shape)), "NHW"
    if tensor.ndim != 3:
        raise ValueError(f"{name}: expected [H, W, C], [C, H, W] or [H, W], got {list(tensor.shape)}")
    view, form = _channels_last(tensor[None], layout, name)
    return view[0], form


def in_form(batch: Tensor, form: Form) -> Tensor:
    """A batch [B, H, W, C] as a view in another form."""
    if form == "NCHW":
        return batch.permute(0, 3, 1, 2)
    return batch if form == "NHWC" else batch[..., 0] if form == "NHW" else batch[0, ..., 0]


def _check_layout(layout: object) -> None:
    if layout is not None and not (isinstance(layout, str) and layout in ("NHWC", "NCHW")):
        raise ValueError(f"layout: expected 'NHWC', 'NCHW' or None, got {shown(layout)}")


def _channels_last(tensor: Tensor, layout: Layout | None, name: str) -> tuple[Tensor, Form]:
    shape = list(tensor.shape)
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if layout is None:
        if first and last:
            raise ValueError(f"{name}: the channel axis of {shape} is ambiguous; pass layout='NHWC' or layout='NCHW'")
        layout = "NCHW" if first else "NHWC"
    view = tensor.permute(0, 2, 3, 1) if layout == "NCHW" else tensor
    if view.shape[3] not in (1, 3):
        raise ValueError(f"{name}: expected 1 or 3 channels in {layout}, got shape {shape}")
    return _not_empty(view, name, shape), layout


def _not_empty(view: Tensor, name: str, shape: list[int]) -> Tensor:
    if view.shape[-3] == 0 or view.shape[-2] == 0:
        raise ValueError(f"{name}: expected height and width of at least 1, got shape {shape}")
    return view


def _tensor(image: ArrayLike, name: str = "images") -> Tensor:
    """Pixels of a type that the ops take; TypeError of anything else."""
    array = isinstance(image, np.ndarray)
    image = tensor_of(image, name, _NAMES) if isinstance(image, np.ndarray) else image
    if not isinstance(image, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor or numpy.ndarray, got {type(image).__name__}")
    check_dense(name, image)
    if image.dtype not in PIXEL_TYPES:
        got = str(image.dtype).removeprefix("torch.")
        raise TypeError(f"{name}: expected dtype {_NAMES}, got {got}; {_cast(got, name, array)}")
    if image.is_meta:
        raise ValueError(f"{name}: expected pixels, got a meta tensor, which has a shape alone; {_META}")
    return image


_META = "the shapes of results come from FakeTensorMode or torch.export"


def _cast(got: str, name: str, array: bool) -> str:
    """What to write instead."""

    def to(kind: str) -> str:
        return f"{name}.astype('{kind}')" if array else f"{name}.to(torch.{kind})"

    if got == "bool":
        return f"write {to('uint8')} * 255"
    if got in _INTEGERS:
        return f"write {to('uint8')} for values in 0..255, {to('uint16')} for values in 0..65535"
    if got.startswith("float"):
        return f"write {to('float32')} for values in [0, 1]"
    if got in ("quint8", "qint8", "qint32"):
        return f"write {name}.dequantize() for values in [0, 1]"
    if got == "object":
        return f"write list({name}) for an array of arrays"
    return "convert it, scaled to the range of one of these"


def tensor_of(array: npt.NDArray[Any], name: str, expected: str) -> Tensor:
    """A view where torch can have one.

    Raises:
        TypeError: a dtype that torch has not, where ``expected`` ones belong, or masked values.
    """
    if torch.compiler.is_compiling():  # an array is a tensor there
        return torch.from_numpy(array)
    if is_masked(array):
        raise TypeError(
            f"{name}: expected an array without masked values, as none can be left out here; "
            f"pass {name}.data to use them all, or {name}.filled(0) to make masked ones black"
        )
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    # Torch has no negative strides, none between elements, and warns about memory it may not write to.
    if not array.flags.writeable or any(s < 0 or s % array.itemsize for s in array.strides):
        array = array.copy()
    try:
        return torch.from_numpy(array)
    except TypeError:
        got = str(array.dtype)
        advice = f"; {_cast(got, name, True)}" if expected is _NAMES and got.startswith(("float", "object")) else ""
        raise TypeError(f"{name}: expected dtype {expected}, got {got}{advice}") from None


def is_masked(array: object) -> bool:
    """Whether it is a NumPy array of which something is masked."""
    return type(array) is not np.ndarray and isinstance(array, np.ma.MaskedArray) and bool(np.ma.is_masked(array))


def common_form(forms: Sequence[Form]) -> Form:
    """The form of all images of a list; "NHWC" if they differ."""
    return forms[0] if len(set(forms)) == 1 else "NHWC"


def check_bytes(images: Tensor, name: str) -> None:
    """TypeError if images are not uint8."""
    if images.dtype != torch.uint8:
        raise TypeError(
            f"{name}: expected dtype uint8, got {str(images.dtype)[6:]}; "
            "floats go through torch.nn.functional.interpolate(..., mode='bicubic', antialias=True)"
        )


def view_of_bytes(view: Tensor, name: str) -> Tensor:
    """An image or a batch that `iuscore.ops.image_views` takes; TypeError or ValueError of others."""
    if view.dtype != torch.uint8:
        raise TypeError(
            f"{name}: expected dtype uint8, got {str(view.dtype)[6:]}; bring values in [0, 1] to bytes by "
            "(255 * x).round().to(torch.uint8)"
        )
    height, width = view.shape[-3:-1]
    if max(height, width) > MAX_VIEWS_SIDE:
        raise ValueError(f"{name}: expected sides of at most 2^24, got {height} x {width}")
    return view
