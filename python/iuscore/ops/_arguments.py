"""Checks that several ops share: each names the argument, says what was expected and what came."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

_WHOLE = (int, np.integer)
_USUAL = (int, float)  # checked first: isinstance with an abstract class takes a microsecond
_LONGEST = 60  # characters of a value in a message
NOT_RENAMED: Mapping[str, str] = {}


def shown(value: object) -> str:
    """A value in a message: short, and a tensor by its shape."""
    if isinstance(value, Tensor):
        return f"a torch.Tensor {list(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"a numpy.ndarray {list(value.shape)}"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def flag(name: str, value: object) -> bool:
    """A bool; TypeError if it is something else."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: expected True or False, got {shown(value)}")
    return bool(value)


def one_of(
    name: str, value: object, choices: Iterable[str], expected: str, renamed: Mapping[str, str] = NOT_RENAMED
) -> str:
    """One of ``choices``; ValueError with the text ``expected`` if it is something else.

    ``renamed`` holds words of older versions and the present ones, which the message suggests.
    """
    if not isinstance(value, str) or value not in choices:
        hint = f"; did you mean {renamed[value]!r}?" if isinstance(value, str) and value in renamed else ""
        raise ValueError(f"{name}: expected {expected}, got {shown(value)}{hint}")
    return value


def is_whole(value: object) -> bool:
    """Whether it is an integer. A bool is not."""
    return isinstance(value, _WHOLE) and not isinstance(value, bool)


def is_real(value: object) -> bool:
    """Whether it is a real number. A bool is not."""
    return type(value) in _USUAL or (isinstance(value, Real) and not isinstance(value, bool))


def is_float(value: Any) -> bool:
    """Whether float() can convert a number; it cannot if an integer is too large."""
    return not isinstance(value, int) or abs(value) <= sys.float_info.max


def numbers(name: str, values: object) -> tuple[float, ...]:
    """One number or a sequence of them as a tuple.

    Raises:
        TypeError: something else. ValueError: none.
    """
    if type(values) is tuple and all(type(value) in _USUAL for value in values):
        return values
    if is_real(values):
        return (values.item() if isinstance(values, np.generic) else values,)  # type: ignore[return-value]
    if isinstance(values, Tensor):
        values = values.tolist() if values.ndim == 1 else [values.item()] if values.numel() == 1 else values
    if isinstance(values, np.ndarray) and values.ndim == 1:
        values = values.tolist()
    if not isinstance(values, Sequence) or isinstance(values, str | bytes) or not all(map(is_real, values)):
        raise TypeError(f"{name}: expected a number or a sequence of numbers, got {shown(values)}")
    return tuple(value.item() if isinstance(value, np.generic) else value for value in values)


def low_and_high(name: str, value: object) -> Any:
    """(low, high) unchanged, where high may be None; TypeError if it is not a pair of numbers."""
    if value is None:
        return None
    pair = isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes) and len(value) == 2
    if not pair or not is_real(value[0]) or not (value[1] is None or is_real(value[1])):  # type: ignore[index]
        raise TypeError(f"{name}: expected (low, high), two numbers, got {shown(value)}")
    for end in value:  # type: ignore[attr-defined]
        if end is not None and not is_float(end):
            raise ValueError(f"{name}: expected numbers that a float can be, got {shown(value)}")
    return value


def dense(name: str, value: object, dtype: torch.dtype = torch.float32) -> Tensor:
    """A strided tensor of a dtype, neither sparse nor nested.

    Raises:
        TypeError: another type, kind of tensor or dtype.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(value).__name__}")
    check_dense(name, value)
    if value.dtype != dtype:
        expected, got = (str(one).removeprefix("torch.") for one in (dtype, value.dtype))
        raise TypeError(f"{name}: expected dtype {expected}, got {got}; convert it with .float()")
    return value


def device_of(value: object) -> torch.device:
    """A device; ValueError if PyTorch does not know it, or if it is a GPU that this machine does not have."""
    try:
        device = torch.device(value)  # type: ignore[call-overload]
    except (RuntimeError, TypeError):
        raise ValueError(f"device: expected a device such as 'cpu' or 'cuda:0', got {shown(value)}") from None
    if device.type == "cuda" and (device.index or 0) >= (there := torch.cuda.device_count()):
        raise ValueError(f"device: expected one that exists, got {str(device)!r}; PyTorch sees {there} CUDA devices")
    return torch.device(device)


def check_dense(name: str, tensor: Tensor) -> None:
    """TypeError: a nested, sparse or masked tensor."""
    if tensor.is_nested:
        raise TypeError(f"{name}: expected a dense tensor, got a nested one; pass a list, list({name}.unbind())")
    if tensor.layout is not torch.strided:
        layout = str(tensor.layout).removeprefix("torch.").removeprefix("_")
        raise TypeError(f"{name}: expected a dense tensor, got layout {layout}; convert it with .to_dense()")
    if type(tensor) is not Tensor and hasattr(tensor, "get_mask") and hasattr(tensor, "get_data"):
        raise TypeError(
            f"{name}: expected a dense tensor, got {type(tensor).__name__}; pass {name}.get_data(), and "
            f"{name}.get_mask() as the mask of an op that has one"
        )
