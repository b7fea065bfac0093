"""Images of bytes at another size, in whole numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from iuscore.ops._backend import Backend, choose
from iuscore.ops._images import Images, Layout, batch_view, checked_size, image_views
from iuscore.ops._native import resize as _native
from iuscore.ops._torch import resize as _torch


def resize(images: Images, size: Sequence[int], *, layout: Layout | None = None, backend: Backend = "auto") -> Tensor:
    """Bring images of bytes to one size: bicubic, with antialias where they shrink.

    All back ends have the same bits: weights are whole numbers, so no order of additions shows. They are also those of
    PyTorch's ``interpolate(mode="bicubic", antialias=True)`` of bytes on a CPU; on a GPU that takes floats only, whose
    rounded results differ from the CPU's.

    Args:
        images: uint8 [B, H, W, C] or [B, C, H, W], C = 1 or 3, any strides, torch (any device) or NumPy; or a list of
            single images of any sizes, all of one C, which are not copied into a batch first.
        size: (height, width) of the results, each at least 1.
        layout: "NHWC" or "NCHW"; needed only where the shape fits both.
        backend: "auto", "native" or "torch", as in `perceptual_maps`. The CUDA kernel keeps rows in shared memory;
            "auto" takes "torch" where those that one row is made of do not fit.

    Returns:
        uint8 [B, height, width, C] on the images' device; a copy also where an image has that size already.

    Raises:
        TypeError: another type, or a dtype other than uint8. ValueError: another shape or size, or different numbers
            of channels. RuntimeError: backend="native" where it cannot run.

    Source: Keys, "Cubic convolution interpolation for digital image processing", IEEE ASSP 1981, with a = -1/2,
        stretched by the scale where an image shrinks; whole-number weights as in PyTorch.

    Example:
        >>> import torch, iuscore
        >>> images = torch.randint(0, 256, (2, 96, 80, 3), dtype=torch.uint8)
        >>> iuscore.ops.resize(images, (32, 32)).shape
        torch.Size([2, 32, 32, 3])
    """
    height, width = checked_size(size, 1)
    groups = _groups(images, layout)
    if not groups:
        return torch.zeros(0, height, width, 3, dtype=torch.uint8)
    done = [_resized([part for _, part in group], height, width, backend) for group in groups.values()]
    if len(done) == 1:
        return done[0]
    order = torch.tensor([i for group in groups.values() for i, _ in group], device=done[0].device)
    return torch.cat(done)[order.argsort()]


def _resized(parts: Sequence[Tensor], height: int, width: int, backend: Backend) -> Tensor:
    """Batches [n, H, W, C] of one H and W as one."""
    choice = choose(
        "resize", parts[0].device, too_large=lambda: _native.too_large(parts[0], height, width), backend=backend
    )
    if choice.implementation == "torch":
        return _torch.resize(torch.cat(list(parts)), height, width)
    return _native.resize(parts, height, width)


def _groups(images: Images, layout: Layout | None) -> dict[torch.Size, list[tuple[int, Tensor]]]:
    """Batches [n, H, W, C] of one H and W, each with the place of its first image."""
    if isinstance(images, Tensor | np.ndarray):
        batch = batch_view(images, layout)
        _check_dtype(batch, "images")
        return {batch.shape[1:]: [(0, batch)]}
    if not isinstance(images, Sequence) or isinstance(images, str | bytes):
        kind = type(images).__name__
        raise TypeError(f"images: expected a torch.Tensor, a numpy.ndarray or a list of them, got {kind}")
    groups: dict[torch.Size, list[tuple[int, Tensor]]] = {}
    for i, view in enumerate(image_views(images, layout)):
        _check_dtype(view, f"images[{i}]")
        groups.setdefault(view.shape, []).append((i, view[None]))
    if len({shape[2] for shape in groups}) > 1:
        raise ValueError("images: expected all with 1 channel or all with 3, got some of each")
    return groups


def _check_dtype(images: Tensor, name: str) -> None:
    if images.dtype != torch.uint8:
        raise TypeError(
            f"{name}: expected dtype uint8, got {str(images.dtype)[6:]}; "
            "floats go through torch.nn.functional.interpolate(..., mode='bicubic', antialias=True)"
        )
