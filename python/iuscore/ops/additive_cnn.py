"""The forward pass of EPU-CNN: every map through its own small convolutional network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from iuscore.errors import UserError
from iuscore.ops._arguments import dense, shown
from iuscore.ops._backend import Backend, choose, extension, public_op, traced, why_not_cuda
from iuscore.ops._cnn import PRECISIONS, CnnNetwork, Precision, check_parts, shape_of, tensors_of
from iuscore.ops._native import additive_cnn as _native
from iuscore.ops._native import additive_cnn_cuda as _cuda
from iuscore.ops._torch import additive_cnn as _torch


@public_op
def additive_cnn(
    maps: Tensor, networks: Sequence[CnnNetwork], *, precision: Precision = "exact", backend: Backend = "auto"
) -> Tensor:
    """Pass every map through its own network, for inference.

    On a CPU a result has the same bits whatever the batch, the image's place in it and the number of threads. The
    compiled kernels keep the weights in an order of their own until one changes; they have no gradient, and "auto"
    takes PyTorch where one is wanted.

    Args:
        maps: float32 [B, G, h, w], any strides, any device.
        networks: G of them, of one shape, for inputs of one channel; in evaluation mode.
        precision: "exact" is float32; "fast" rounds what is multiplied to 16-bit integers, on a CPU that adds up their
            products by one instruction, or to float16, on a GPU, and is "exact" elsewhere; "auto" is "fast" where it
            differs. See `chosen_precision`.
        backend: "auto", "native" (insists on the compiled kernels, which on a GPU are for "fast") or "torch", which
            is always exact.

    Returns:
        Evidence [B, G, K], the last linear layer's outputs; NaN of a map that holds a value that is not finite.

    Raises:
        TypeError: another type or dtype. ValueError: shapes that do not fit, several devices, an unknown back end or
            precision. RuntimeError: backend="native" where it cannot run.

    Source: Dimas, Cholopoulou, Iakovidis, Scientific Reports 13:11421, 2023 (the network); Winograd 1980, and Lavin
        and Gray, CVPR 2016 (its convolutions).

    Example:
        >>> import torch, iuscore
        >>> from iuscore.models import EPUCNN
        >>> model = EPUCNN(["a", "b"], size=(16, 16), base_channels=2, hidden_units=4).eval().requires_grad_(False)
        >>> iuscore.ops.additive_cnn(torch.rand(3, 4, 16, 16), model.networks()).shape
        torch.Size([3, 4, 1])
    """
    _check(maps, networks)
    _check_precision(precision)
    if traced(maps, *(tensor for network in networks for _, tensor in tensors_of(network))):
        from iuscore.ops._traced import additive_cnn as _traced

        return _traced.additive_cnn(maps, networks, precision, backend)
    wants_grad = torch.is_grad_enabled() and (
        maps.requires_grad or any(tensor.requires_grad for network in networks for _, tensor in tensors_of(network))
    )
    choice = choose("additive_cnn", maps.device, needs_grad=wants_grad, backend=backend)
    fast = chosen_precision(precision, maps.device) == "fast"
    if choice.implementation == "cpu":
        return _native.additive_cnn(maps, networks, fast)
    if choice.implementation == "cuda":
        why_not = _cuda.why_not(networks) if fast else "on a GPU its kernels are for precision='fast'"
        if not why_not:
            return _cuda.additive_cnn(maps, networks)
        if backend == "native":
            raise RuntimeError(f"additive_cnn: backend='native' cannot run: {why_not}; use backend='auto' or 'torch'")
    return _torch.additive_cnn(maps, networks)


def chosen_precision(precision: Precision = "auto", device: torch.device | str = "cpu") -> Precision:
    """What a precision comes to on a device: "exact" or "fast".

    "fast" needs a CPU that adds up products of 16-bit integers (AVX-512 VNNI), or a GPU that the CUDA kernels run on;
    elsewhere all three are "exact".

    Raises:
        UserError: an unknown precision or device.

    Example:
        >>> chosen_precision("exact"), chosen_precision("auto", "meta")
        ('exact', 'exact')
    """
    _check_precision(precision)
    if torch.compiler.is_compiling():
        raise RuntimeError("chosen_precision: asks the machine, which torch.compile does not trace; call it before")
    try:
        device = torch.device(device)
    except (RuntimeError, TypeError):
        raise UserError(f"device: expected a device such as 'cpu' or 'cuda:0', got {shown(device)}") from None
    core, _ = extension("_core")
    if device.type == "cuda":
        able = not why_not_cuda(device)
    else:
        able = device.type == "cpu" and core is not None and bool(core.build_info().get("cpu_vnni"))
    return "fast" if able and precision != "exact" else "exact"


def _check_precision(precision: object) -> None:
    if not isinstance(precision, str) or precision not in PRECISIONS:
        raise UserError(f"precision: expected one of {', '.join(PRECISIONS)}, got {shown(precision)}")


def _check(maps: Tensor, networks: Sequence[CnnNetwork]) -> None:
    dense("maps", maps)
    if not isinstance(networks, Sequence):
        raise TypeError(f"networks: expected a sequence of CnnNetwork, got {shown(networks)}")
    if maps.ndim != 4 or maps.shape[1] != len(networks) or not networks:
        raise ValueError(f"maps: expected [B, {len(networks)}, h, w], one map a network, got {list(maps.shape)}")
    tensors = [("maps", maps)]
    for g, network in enumerate(networks):
        check_parts(network, f"networks[{g}]")
        tensors += [(f"networks[{g}].{name}", tensor) for name, tensor in tensors_of(network)]
    for name, tensor in tensors:
        dense(name, tensor)
        if tensor.device != maps.device:
            raise ValueError(f"{name}: expected on the device of maps, {maps.device}, got {tensor.device}")
    shapes = {shape_of(network, maps.shape[2:]) for network in networks}
    if len(shapes) > 1:
        raise ValueError("networks: expected one shape, but they differ in channels or units")
