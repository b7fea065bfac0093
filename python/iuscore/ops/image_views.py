"""Two looks at an image that need no training: a thumbnail, and what filters answer to its patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from iuscore.ops._arguments import dense
from iuscore.ops._backend import Backend, choose, public_op, traced
from iuscore.ops._constants import PATCH_FILTERS, PATCH_WINDOW
from iuscore.ops._images import ArrayLike, Images, Layout, batch_view, is_batch, view_of_bytes
from iuscore.ops._images import image_views as views_of_list
from iuscore.ops._memory import enough_memory
from iuscore.ops._native import image_views as _native
from iuscore.ops._torch import image_views as _torch
from iuscore.ops.perceptual_maps import Kind, check_kind


class ImageViews(NamedTuple):
    """What `image_views` returns, on the images' device.

    Attributes:
        thumb: float32 [B, 64 K], the 8x8 thumbnail in gray levels 0..255, row by row; K = 3 channels in color, one
            after the other, K = 1 in gray.
        patch: float32 [B, 512], at least 0: positive answers of all filters, then negative ones; of each filter top
            left, top right, bottom left, bottom right.
    """

    thumb: Tensor
    patch: Tensor


@public_op
def image_views(
    images: Images,
    weights: Tensor,
    bias: Tensor,
    *,
    kind: Kind = "color",
    layout: Layout | None = None,
    backend: Backend = "auto",
) -> ImageViews:
    """Thumbnails of images, and how strongly 64 filters answer in each quarter.

    The thumbnail has the area averages of 8x8 windows. For the answers, area averages bring an image to 32x32; each of
    its 27x27 patches of 6x6 pixels, less its mean and over the root of its variance plus 10, is multiplied by the
    filters. A response is the root of the mean of what lies beyond a threshold of 0.5. Formulas: docs/image_views.md.

    A row does not depend on the other images, on the number of threads or on memory layouts. The compiled kernels have
    the same bits on every processor and GPU.

    Args:
        images: uint8 [B, H, W, C] or [B, C, H, W], C = 1 or 3, or gray [B, H, W] or [H, W], any strides, torch (any
            device) or NumPy; or a list of images of any sizes. Sides of at most 2^24.
        weights: float32 [36 K, 64] on the images' device, K = 3 of kind "color" and 1 of "gray": what normalized
            patches are multiplied by; rows are channels, rows and columns of a patch.
        bias: float32 [64], added to the products.
        kind: "color" (one channel counts as R = G = B) or "gray" (three channels become one, ITU-R BT.601, rounded).
        layout: "NHWC" or "NCHW"; needed only where the shape fits both.
        backend: "auto", "native" or "torch", as in `perceptual_maps`. Where weights or bias ask for a gradient "auto"
            takes "torch", because the kernels have none.

    Returns:
        `ImageViews`.

    Raises:
        TypeError: another type, a dtype other than uint8, or a masked array. ValueError: another shape or device, or an
            unknown kind. RuntimeError: backend="native" where it cannot run.

    Source: Coates, Lee, Ng, "An analysis of single-layer networks in unsupervised feature learning", AISTATS 2011.

    Example:
        >>> import torch, iuscore
        >>> images = torch.randint(0, 256, (2, 96, 80, 3), dtype=torch.uint8)
        >>> views = iuscore.ops.image_views(images, torch.randn(108, 64), torch.zeros(64))
        >>> views.thumb.shape, views.patch.shape
        (torch.Size([2, 192]), torch.Size([2, 512]))
    """
    check_kind(kind)
    color = kind == "color"
    check_filters(weights, bias, color)
    if traced(images, weights, bias):
        from iuscore.ops._traced import image_views as _traced

        return ImageViews(*_traced.image_views(images, weights, bias, kind, layout, backend))
    if is_batch(images):
        return _run(view_of_bytes(batch_view(cast(ArrayLike, images), layout), "images"), weights, bias, color, backend)
    views = views_of_list(cast("Sequence[ArrayLike]", images), layout)
    groups: dict[torch.Size, list[int]] = {}
    for i, view in enumerate(views):
        groups.setdefault(view_of_bytes(view, f"images[{i}]").shape, []).append(i)
    if not groups:
        return _run(torch.zeros(0, 1, 1, 1, dtype=torch.uint8), weights, bias, color, backend)
    parts = [
        _run(torch.stack([views[i] for i in where]), weights, bias, color, backend) for where in groups.values()
    ]  # fmt: skip
    if len(parts) == 1:
        return parts[0]
    order = torch.tensor([i for where in groups.values() for i in where], device=views[0].device).argsort()
    thumbs, patches = zip(*parts, strict=True)
    return ImageViews(torch.cat(thumbs)[order], torch.cat(patches)[order])


@enough_memory("image_views", "pass fewer images at a time")
def _run(images: Tensor, weights: Tensor, bias: Tensor, color: bool, backend: Backend) -> ImageViews:
    for name, tensor in (("weights", weights), ("bias", bias)):
        if tensor.device != images.device:
            raise ValueError(f"{name}: expected the images' device {images.device}, got {tensor.device}")
    needs_grad = torch.is_grad_enabled() and (weights.requires_grad or bias.requires_grad)
    choice = choose("image_views", images.device, needs_grad=needs_grad, backend=backend)
    if choice.implementation == "torch":
        return ImageViews(*_torch.image_views(images, weights, bias, color))
    return ImageViews(*_native.image_views(images, weights.contiguous(), bias.contiguous(), color))


def check_filters(weights: Tensor, bias: Tensor, color: bool) -> None:
    """TypeError or ValueError where weights or bias are something else."""
    shapes = ((PATCH_WINDOW**2 * (3 if color else 1), PATCH_FILTERS), (PATCH_FILTERS,))
    for name, value, shape in zip(("weights", "bias"), (weights, bias), shapes, strict=True):
        tensor = dense(name, value)
        if tuple(tensor.shape) != shape:
            kind = "color" if color else "gray"
            raise ValueError(f"{name}: expected {list(shape)} of kind {kind!r}, got {list(tensor.shape)}")
