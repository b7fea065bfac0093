"""A pytest plugin that pretends a CUDA device: ``python -m pytest -p tests.pretended_gpu -m cuda``.

Its tensors say ``cuda:0`` and lie in host memory. They refuse what tensors on a GPU refuse: ``numpy()``, and tensors on
the CPU beside them. The ops run their Python code for CUDA, and below it the bindings, launchers and kernels that
tests/cpp/host_kernels.cpp makes a module. Not pretended: what tests/only_on_a_gpu.py lists.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, settings
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name

from tests.only_on_a_gpu import TESTS

DEVICE = torch.device("cuda", 0)
# What takes tensors of two devices: copies from one to the other, and indices on the CPU.
MIXED = {"copy_", "__getitem__", "__setitem__", "index_put_", "set_", "backward", "grad"}
NO_NUMPY = "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."


class Pretended(Tensor):
    """Memory of the host, said to be the GPU's. Only `Pretence` gives it that device."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    def record_stream(self, stream: Any) -> None:
        """Memory is given back by reference counts."""


def _flat(given: Any) -> Iterator[Any]:
    if isinstance(given, list | tuple):
        for part in given:
            yield from _flat(part)
    elif isinstance(given, dict):
        yield from _flat(list(given.values()))
    else:
        yield given


def is_there(given: Any) -> bool:
    """Whether a tensor on the pretended device is among them."""
    return any(isinstance(part, Pretended) for part in _flat(given))


def _there(given: Any) -> Any:
    if isinstance(given, Tensor):
        return given if isinstance(given, Pretended) else given.as_subclass(Pretended)
    if isinstance(given, tuple) and hasattr(given, "_fields"):
        return type(given)(*map(_there, given))
    return type(given)(map(_there, given)) if type(given) in (list, tuple) else given


def _here(tensor: Tensor) -> Tensor:
    return tensor.as_subclass(Tensor) if isinstance(tensor, Pretended) else tensor


def _names_it(device: Any) -> bool:
    return isinstance(device, torch.device | str) and torch.device(device).type == "cuda"


class Pretence(TorchFunctionMode):
    """While it is on, the device exists."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        there = is_there((args, kwargs))
        if name == "__get__":
            return self._attribute(func, args, there)
        if there and name in ("numpy", "__array__"):
            raise TypeError(NO_NUMPY)
        if name in ("to", "cpu", "cuda"):
            return self._moved(name, args, kwargs)
        if name == "pin_memory":
            return args[0]
        made = there
        if "device" in kwargs and kwargs["device"] is not None:
            made = _names_it(kwargs["device"])
            if made:
                kwargs["device"] = "cpu"
        plain = [part for part in _flat((args, kwargs)) if isinstance(part, Tensor) and not isinstance(part, Pretended)]
        if there and name not in MIXED and any(part.ndim > 0 for part in plain):
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
                f"(in {name})"
            )
        out = func(*args, **kwargs)
        if out is (args[0] if args else None):  # in place
            return out
        return _there(out) if made else out

    def _attribute(self, func: Any, args: Any, there: bool) -> Any:
        name = (resolve_name(func) or "").removesuffix(".__get__").rpartition(".")[2]
        if there and name == "device":
            return DEVICE
        if there and name in ("is_cuda", "is_cpu"):
            return name == "is_cuda"
        found = func(*args)
        return _there(found) if there and name != "grad_fn" else found

    def _moved(self, name: str, args: Any, kwargs: dict[str, Any]) -> Tensor:
        """Another device is another memory."""
        source, *rest = args
        there = isinstance(source, Pretended)
        to = {"cpu": False, "cuda": True, "to": there}[name]
        words: list[Any] = []
        if name == "to":
            for word in [*rest, kwargs.pop("device", None)]:
                if isinstance(word, torch.device | str):
                    to = _names_it(word)
                elif isinstance(word, Tensor):
                    to = isinstance(word, Pretended)
                    words.append(word.dtype)
                elif word is not None:
                    words.append(word)
            kwargs.pop("non_blocking", None)
            words = [word for word in words if not isinstance(word, bool)]
        plain = _here(source)
        moved = plain.to(*words, **kwargs) if words or kwargs.get("dtype") or kwargs.get("copy") else plain
        if to == there:
            return source if moved is plain else _there(moved) if to else moved
        moved = moved.clone() if moved is plain else moved
        return _there(moved) if to else moved


PRETENCE = Pretence()
_for_cuda: dict[str, Callable[..., Any]] = {}
_impl = torch.library.impl


def _implement(name: Any, devices: Any, function: Any = None, **options: Any) -> Any:
    """Stands before `torch.library.impl`: what an op does on the CPU is, of pretended tensors, what it does on CUDA."""
    if not str(name).startswith("iuscore::"):
        return _impl(name, devices, function, **options)
    if devices == "cuda":
        _for_cuda[name] = function

    @functools.wraps(function)
    def chosen(*args: Any, **kwargs: Any) -> Any:
        if not is_there((args, kwargs)):
            return function(*args, **kwargs)
        with PRETENCE:
            return _for_cuda.get(name, function)(*args, **kwargs)

    return _impl(name, devices, chosen)


class _Stream:
    cuda_stream = 0

    def synchronize(self) -> None:
        """Nothing runs on."""

    wait_stream = wait_event = lambda self, other: None


def module() -> ModuleType:
    """The kernels on the host, as the ops' callers see them."""
    from iuscore.ops import _backend

    found, _ = _backend.extension("_cuda")
    assert found is not None
    return found


def _install() -> None:
    from iuscore.ops import _backend
    from iuscore.ops._native import calls
    from tests.equivalence.host_build import build_module

    path = build_module()
    spec = importlib.util.spec_from_file_location("host_kernels", path)
    assert spec is not None
    assert spec.loader is not None
    kernels = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kernels)
    extension = _backend.extension
    _backend.extension = calls.extension = lambda name: (kernels, "") if name == "_cuda" else extension(name)  # type: ignore[assignment]
    stream = _Stream()
    cuda: Any = torch.cuda
    cuda.is_available = lambda: True
    cuda.device_count = lambda: 1
    cuda.current_device = lambda: 0
    cuda.get_device_capability = lambda device=None: (9, 0)
    cuda.get_device_name = lambda device=None: "a pretended GPU"
    cuda.current_stream = lambda device=None: stream
    cuda.is_current_stream_capturing = lambda: False
    cuda.synchronize = lambda device=None: None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what cannot be pretended."""
    left_out = [item for item in items if item.nodeid.startswith(tuple(TESTS))]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_configure(config: pytest.Config) -> None:
    _install()
    PRETENCE.__enter__()


def pytest_unconfigure(config: pytest.Config) -> None:
    PRETENCE.__exit__(None, None, None)


torch.library.impl = _implement  # type: ignore[assignment]
os.environ["IUSCORE_TEST_PROFILE"] = "pretended"
settings.register_profile(
    "pretended", max_examples=4, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
