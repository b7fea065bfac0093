"""Which implementation an op uses, and why. ``iuscore doctor`` prints the same reasons."""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, TypeVar

import torch

from iuscore.ops._arguments import one_of
from iuscore.ops._constants import OPS as OPS

log = logging.getLogger("iuscore")

Backend = Literal["auto", "native", "torch"]
BACKENDS: tuple[Backend, ...] = ("auto", "native", "torch")
NEEDS_FMA = ("additive_cnn", "image_views")  # on a CPU without fused multiply-add, PyTorch is faster
OLDEST_CAPABILITY = (8, 0)  # of a GPU: the CUDA module has no machine code for older ones


@dataclass(frozen=True)
class Choice:
    """The implementation an op runs with and, where it is not the native one, why."""

    implementation: Literal["cpu", "cuda", "torch"]
    reason: str


@functools.cache
def extension(name: Literal["_core", "_cuda"]) -> tuple[ModuleType | None, str]:
    """The compiled module, or None and why it is missing. A missing one is one log line, never an ImportError."""
    try:
        return importlib.import_module(f"iuscore.{name}"), ""
    except ImportError as error:
        why = str(error)
        if f"iuscore.{name}" in why and isinstance(error, ModuleNotFoundError):
            why = "not built" if name == "_core" else _cuda_build_status()
        log.info("iuscore.%s is not available: %s", name, why)
        return None, why


def _cuda_build_status() -> str:
    core, why = extension("_core")
    if core is None:
        return f"not built: the CPU module is missing too ({why})"
    status = str(core.build_info()["cuda"])
    return "built, but its file is missing: install iuscore again" if status == "built" else status


def why_not_cpu() -> str:
    """Why the CPU kernels cannot run; empty where they can."""
    return extension("_core")[1]


def why_not_cuda(device: torch.device | None = None) -> str:
    """Why the CUDA kernels cannot run (on ``device``, the current GPU when None); empty where they can."""
    module, why = extension("_cuda")
    if module is None:
        return why
    if why := why_not_cpu():
        return f"built, but it needs the CPU module: {why}"
    if _able and _index(device) in _able:
        return ""
    status = module.status()
    if status.get("error"):
        return f"built, but {status['error']}"
    if not torch.cuda.is_available():
        return "built, but this torch sees no CUDA device" + ("" if torch.version.cuda else " (a CPU build of torch)")
    capability = torch.cuda.get_device_capability(device)
    if capability < OLDEST_CAPABILITY:
        return f"built for compute capability 8.0 and newer, this GPU has {capability[0]}.{capability[1]}"
    _able.add(_index(device))
    return ""


# GPUs on which the kernels run. They are cached because every call of an op asks. GPUs on which the kernels do not run
# are not cached.
_able: set[int] = set()


def _index(device: torch.device | None) -> int:
    return torch.cuda.current_device() if device is None or device.index is None else device.index


def _why_not(device: torch.device) -> str:
    if device.type == "cpu":
        return why_not_cpu()
    return why_not_cuda(device) if device.type == "cuda" else f"no kernels for {device.type} devices"


def _why_slow() -> str:
    """Why PyTorch is faster than the CPU kernels of `NEEDS_FMA` here; empty where it is not."""
    core, _ = extension("_core")
    return (
        ""
        if core is None or core.build_info().get("cpu_fma", True)
        else "this CPU has no fused multiplication and addition"
    )


def traced(*arguments: object) -> bool:
    """Whether torch.compile traces this call, or ``torch.func.vmap`` batches one of the arguments.

    Neither can trace through an op, so the op runs as one operator (``iuscore.ops._traced``).
    """
    return torch.compiler.is_compiling() or (under_torch_func() and any(map(_is_batched, arguments)))


_PUBLIC: dict[str, Callable[..., Any]] = {}
_F = TypeVar("_F", bound=Callable[..., Any])


def public_op(function: _F) -> _F:
    """Hands an op's public function over to `iuscore.ops._traced`, which calls it by name; returns it unchanged."""
    _PUBLIC[function.__name__] = function
    return function


def public(name: str) -> Callable[..., Any]:
    """The public function that `public_op` was given."""
    return _PUBLIC[name]


def under_torch_func() -> bool:
    """Whether a ``torch.func`` transform is active."""
    return torch._C._functorch.maybe_current_level() is not None


def _is_batched(argument: object) -> bool:
    if isinstance(argument, torch.Tensor):
        return torch._C._functorch.is_batchedtensor(argument)
    return isinstance(argument, list | tuple) and any(map(_is_batched, argument))


def check_backend(backend: object) -> str:
    """A back end; ValueError if it is something else."""
    return one_of("backend", backend, BACKENDS, "'auto', 'native' or 'torch'")


def choose(
    op: str,
    device: torch.device,
    *,
    needs_grad: bool = False,
    too_large: Callable[[], str] | None = None,
    backend: Backend = "auto",
) -> Choice:
    """The implementation ``op`` uses on ``device``.

    ``too_large``: why the kernels of this device cannot take arguments of these sizes, empty where they can; asked only
    where the kernels exist.

    Raises:
        ValueError: ``backend`` is none of "auto", "native", "torch".
        RuntimeError: backend="native" where the kernel cannot run, with the reason.
    """
    if check_backend(backend) == "torch":
        return Choice("torch", "backend='torch' was asked for")
    why_not = _why_not(device)
    if not why_not and needs_grad:
        why_not = "the kernels have no gradient"
    if not why_not and too_large is not None:
        why_not = too_large()
    if not why_not and backend == "auto" and op in NEEDS_FMA and device.type == "cpu":
        why_not = _why_slow()
    if not why_not:
        return Choice("cuda" if device.type == "cuda" else "cpu", "")
    if backend == "native":
        raise RuntimeError(f"{op}: backend='native' cannot run on {device}: {why_not}; use backend='auto' or 'torch'")
    return Choice("torch", why_not)
