"""Images of bytes at another size, in whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from iuscore.ops._backend import Backend, choose, public_op, traced
from iuscore.ops._images import (
    ArrayLike,
    Form,
    Images,
    Layout,
    batch_and_form,
    check_bytes,
    checked_size,
    common_form,
    in_form,
    is_batch,
    views_and_forms,
)
from iuscore.ops._memory import enough_memory
from iuscore.ops._native import resize as _native
from iuscore.ops._torch import resize as _torch


@public_op
def resize(images: Images, size: Sequence[int], *, layout: Layout | None = None, backend: Backend = "auto") -> Tensor:
    """Bring images of bytes to one size: bicubic, with antialias where they shrink.

    All back ends have the same bits: weights are whole numbers, so no order of additions shows. They are also those of
    PyTorch's ``interpolate(mode="bicubic", antialias=True)`` of bytes on a CPU; on a GPU that takes floats only, whose
    rounded results differ from the CPU's.

    Args:
        images: uint8 [B, H, W, C] or [B, C, H, W], C = 1 or 3, or gray [B, H, W] or [H, W], any strides, torch (any
            device) or NumPy; or a list of single images of any sizes, all of one C, which are not copied into a batch
            first.
        size: (height, width) of the results, each at least 1; at most 2^24 each and 2^29 pixels.
        layout: "NHWC" or "NCHW"; needed only where the shape fits both.
        backend: "auto", "native" or "torch", as in `perceptual_maps`. The CUDA kernel keeps rows in shared memory;
            "auto" takes "torch" where those that one row is made of do not fit.

    Returns:
        uint8 on the images' device, with the axes where the images have them: [B, height, width, C] for [B, H, W, C],
        [B, C, height, width] for [B, C, H, W], [B, height, width] for [B, H, W] and [height, width] for [H, W]. A list
        gives one batch, with the axes of its images; [B, height, width, C] where these differ. A copy also where an
        image has that size already.

    Raises:
        TypeError: another type, a dtype other than uint8, or a masked array. ValueError: another shape or size, or
            different numbers of channels. MemoryError: results that the machine's memory does not hold.
            RuntimeError: backend="native" where it cannot run.

    Source: Keys, "Cubic convolution interpolation for digital image processing", IEEE ASSP 1981, with a = -1/2,
        stretched by the scale where an image shrinks; whole-number weights as in PyTorch.

    Example:
        >>> import torch, iuscore
        >>> images = torch.randint(0, 256, (2, 96, 80, 3), dtype=torch.uint8)
        >>> iuscore.ops.resize(images, (32, 32)).shape
        torch.Size([2, 32, 32, 3])
    """
    height, width = checked_size(size, 1)
    if traced(images):
        from iuscore.ops._traced import resize as _traced

        return _traced.resize(images, height, width, layout, backend)
    groups, form = _groups(images, layout)
    if not groups:
        choose("resize", torch.device("cpu"), backend=backend)
        return torch.zeros(0, height, width, 3, dtype=torch.uint8)
    done = [_resized([part for _, part in group], height, width, backend) for group in groups.values()]
    if len(done) == 1:
        return in_form(done[0], form)
    order = torch.tensor([i for group in groups.values() for i, _ in group], device=done[0].device)
    return in_form(torch.cat(done)[order.argsort()], form)


@enough_memory("resize", "pass fewer images at a time, or a smaller size")
def _resized(parts: Sequence[Tensor], height: int, width: int, backend: Backend) -> Tensor:
    """Batches [n, H, W, C] of one H and W as one."""
    choice = choose(
        "resize", parts[0].device, too_large=lambda: _native.too_large(parts[0], height, width), backend=backend
    )
    if choice.implementation == "torch":
        return _torch.resize(torch.cat(list(parts)), height, width)
    return _native.resize(parts, height, width)


def _groups(images: Images, layout: Layout | None) -> tuple[dict[torch.Size, list[tuple[int, Tensor]]], Form]:
    """Batches [n, H, W, C] of one H and W, each with the place of its first image; and the form of the result."""
    if is_batch(images):
        batch, form = batch_and_form(cast(ArrayLike, images), layout)
        check_bytes(batch, "images")
        return {batch.shape[1:]: [(0, batch)]}, form
    groups: dict[torch.Size, list[tuple[int, Tensor]]] = {}
    found = views_and_forms(cast("Sequence[ArrayLike]", images), layout)
    for i, (view, _) in enumerate(found):
        check_bytes(view, f"images[{i}]")
        groups.setdefault(view.shape, []).append((i, view[None]))
    if len({shape[2] for shape in groups}) > 1:
        raise ValueError("images: expected all with 1 channel or all with 3, got some of each")
    return groups, common_form([form for _, form in found])
