"""The four perceptual feature maps of an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias, cast, overload

import torch
from torch import Tensor

from iuscore.ops._arguments import check_dense, flag, one_of, shown
from iuscore.ops._backend import Backend, choose, public_op, traced
from iuscore.ops._constants import MAX_SIDE, MIN_MAP_SIDE
from iuscore.ops._images import ArrayLike, Images, Layout, batch_view, checked_size, image_views, is_batch
from iuscore.ops._memory import enough_memory
from iuscore.ops._native import perceptual_maps as _native
from iuscore.ops._range import warn_of_range
from iuscore.ops._torch import perceptual_maps as _torch

Kind: TypeAlias = Literal["color", "gray"]
Mode: TypeAlias = Literal["clean", "published"]

MODES: tuple[Mode, ...] = ("clean", "published")
RENAMED_MODES: Mapping[str, Mode] = {"paper": "published"}
"""Name of a mode in files of version 0.1 -> its present name."""

COMPONENTS: dict[Kind, tuple[str, str, str, str]] = {
    "color": ("red-green", "blue-yellow", "coarse-fine", "light-dark"),
    "gray": ("coarse-fine", "light-dark", "band-i", "band-ii"),
}
"""Names of the maps in their order."""

DEGENERATE_RANGE: dict[str, float] = {
    "red-green": 0.1,
    "blue-yellow": 0.1,
    "coarse-fine": 1e-4,
    "light-dark": 1e-4,
    "band-i": 1e-4,
    "band-ii": 1e-4,
}
"""A "published" map whose range before its min-max is below this shows something else than its name says.

a* and b* in CIELab units (those of gray images spread over 0.0024 and 0.0046), the others on the scale of [0, 1]."""

_LESS = "pass fewer images at a time, or a smaller size"
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
Result: TypeAlias = tuple[Tensor, Tensor]
Implementation: TypeAlias = Callable[[Tensor, bool, bool, int, int, torch.dtype], Result]


@overload
def perceptual_maps(
    images: Images,
    *,
    kind: Kind = ...,
    mode: Mode = ...,
    size: tuple[int, int] = ...,
    dtype: torch.dtype = ...,
    layout: Layout | None = ...,
    backend: Backend = ...,
    return_ranges: Literal[False] = ...,
) -> Tensor: ...
@overload
def perceptual_maps(
    images: Images,
    *,
    kind: Kind = ...,
    mode: Mode = ...,
    size: tuple[int, int] = ...,
    dtype: torch.dtype = ...,
    layout: Layout | None = ...,
    backend: Backend = ...,
    return_ranges: Literal[True],
) -> Result: ...
@public_op
def perceptual_maps(
    images: Images,
    *,
    kind: Kind = "color",
    mode: Mode = "clean",
    size: tuple[int, int] = (128, 128),
    dtype: torch.dtype = torch.float32,
    layout: Layout | None = None,
    backend: Backend = "auto",
    return_ranges: bool = False,
) -> Tensor | Result:
    """Resize images and turn each into four perceptual feature maps.

    Color maps: red-green (CIELab a*), blue-yellow (b*), coarse-fine (Sobel magnitude of gray) and light-dark
    (Gaussian 7x7, sigma 3, of gray). Gray maps: coarse-fine, light-dark, Band-I (gray levels in [0, .3)) and
    Band-II ([.3, .6)). All values are in [0, 1].

    Args:
        images: [B, H, W, C] or [B, C, H, W], C = 1 or 3, or gray [B, H, W] or [H, W], uint8, uint16, float16, bfloat16
            or float32 (floating types nominally in [0, 1]), any strides, torch (any device) or NumPy; or a list of
            images [H, W, C], [C, H, W] or [H, W] that may differ in size, dtype and C. One channel counts as
            R = G = B; "gray" takes .299 R + .587 G + .114 B before the resize. An image with NaN, inf or a magnitude
            above 1e30 / 255 gets NaN in all four maps; the other images of the batch are not touched.
        kind: "color" or "gray".
        mode: "published", the maps of the publication: bicubic without antialias, min-max per channel, each map min-max
            stretched; or "clean": antialiased, one min-max over all channels, maps of fixed range, none of which
            can degenerate (formulas in docs/perceptual_maps.md).
        size: (height, width) of the maps in pixels, each at least 4, at most 2^29 pixels. No side of an image or
            a map may be longer than 2^24.
        dtype: of the maps: float32, float16 or bfloat16.
        layout: "NHWC" or "NCHW"; needed only where the shape fits both.
        backend: "auto" takes the compiled kernel where there is one for the device and no gradient is asked
            for; "native" insists on it; "torch" is the differentiable implementation.
        return_ranges: also return the ranges.

    Returns:
        Maps [B, 4, h, w] on the images' device, and with ``return_ranges`` the ranges [B, 4] float32: max - min of
        each map before its own min-max ("published") or of the map itself ("clean"). See `degenerate_maps`.

    Raises:
        TypeError: another type or dtype, a masked array. ValueError: another shape, an ambiguous channel axis, images
            of size 0 or with a side longer than 2^24, devices that differ, an unknown option. RuntimeError:
            backend="native" where it cannot run.

    Warns:
        UserWarning: floats far out of 0..1 or uint16 that holds bytes, on the CPU.

    Source: Gatoula, Dimas, Iakovidis, "Interpretable Similarity of Synthetic Image Utility", IEEE TMI 2026, and its
        public implementation; "clean" is this library's.

    Example:
        >>> import torch, iuscore
        >>> images = torch.randint(0, 256, (2, 96, 80, 3), dtype=torch.uint8)
        >>> iuscore.ops.perceptual_maps(images, kind="color", size=(64, 64)).shape
        torch.Size([2, 4, 64, 64])
    """
    height, width = _check(kind, mode, size, dtype)
    flag("return_ranges", return_ranges)
    options = (kind == "color", mode == "clean", height, width, dtype)
    if traced(images):
        from iuscore.ops._traced import perceptual_maps as _traced

        maps, ranges = _traced.perceptual_maps(images, options, layout, backend)
    elif is_batch(images):
        batch = batch_view(cast(ArrayLike, images), layout)
        check_sides(batch.shape[1:3], "images")
        warn_of_range([batch])
        maps, ranges = _batch(batch, backend, options)
    else:
        views = image_views(cast("Sequence[ArrayLike]", images), layout)
        for i, view in enumerate(views):
            check_sides(view.shape[:2], f"images[{i}]")
        warn_of_range(views)
        maps, ranges = _ragged(views, backend, options)
    return (maps, ranges) if return_ranges else maps


def degenerate_maps(ranges: Tensor, *, kind: Kind) -> Tensor:
    """Which "published" maps are stretched from next to nothing: no color, no structure, or rounding alone.

    Args:
        ranges: [B, 4] float32 from `perceptual_maps` with mode="published".
        kind: the kind of the maps.

    Returns:
        bool [B, 4]; NaN ranges (non-finite images) are not called degenerate.

    Raises:
        TypeError: ranges that are no floating tensor. ValueError: another shape, or an unknown kind.

    Example:
        >>> import torch, iuscore
        >>> gray = torch.randint(0, 256, (1, 64, 64, 1), dtype=torch.uint8)
        >>> _, ranges = iuscore.ops.perceptual_maps(gray, kind="color", mode="published", return_ranges=True)
        >>> iuscore.ops.degenerate_maps(ranges, kind="color").tolist()
        [[True, True, False, False]]
    """
    check_kind(kind)
    if not isinstance(ranges, Tensor):
        raise TypeError(f"ranges: expected a torch.Tensor, got {type(ranges).__name__}")
    check_dense("ranges", ranges)
    if not ranges.is_floating_point():
        raise TypeError(f"ranges: expected dtype float32, got {str(ranges.dtype).removeprefix('torch.')}")
    if ranges.ndim < 1 or ranges.shape[-1] != len(COMPONENTS[kind]):
        raise ValueError(f"ranges: expected [B, 4], got {list(ranges.shape)}")
    limits = [DEGENERATE_RANGE[name] for name in COMPONENTS[kind]]
    return ranges < torch.tensor(limits, device=ranges.device)


Options: TypeAlias = tuple[bool, bool, int, int, torch.dtype]


def check_kind(kind: object) -> None:
    """ValueError where it is neither "color" nor "gray"."""
    one_of("kind", kind, COMPONENTS, "'color' or 'gray'")


def _check(kind: str, mode: str, size: Sequence[int], dtype: torch.dtype) -> tuple[int, int]:
    """(height, width)."""
    check_kind(kind)
    one_of("mode", mode, MODES, "'clean' or 'published'", RENAMED_MODES)
    if not isinstance(dtype, torch.dtype) or dtype not in _DTYPES:
        raise TypeError(f"dtype: expected torch.float32, float16 or bfloat16, got {shown(dtype)}")
    return checked_size(size, MIN_MAP_SIDE)


def check_sides(sides: Sequence[int], name: str) -> None:
    """ValueError where a side is longer than 2^24."""
    if max(sides) > MAX_SIDE:
        got = " x ".join(map(str, sides))
        raise ValueError(f"{name}: expected height and width of at most 2^24, got {got}; crop or shrink it first")


def _needs_grad(images: Tensor) -> bool:
    return torch.is_grad_enabled() and images.requires_grad


@enough_memory("perceptual_maps", _LESS)
def _batch(images: Tensor, backend: Backend, options: Options) -> Result:
    choice = choose("perceptual_maps", images.device, needs_grad=_needs_grad(images), backend=backend)
    run = _torch.perceptual_maps if choice.implementation == "torch" else cast(Implementation, _native.perceptual_maps)
    return run(images, *options)


@enough_memory("perceptual_maps", _LESS)
def _ragged(images: list[Tensor], backend: Backend, options: Options) -> Result:
    """Groups of images that one call can take, put back in order."""
    height, width, dtype = options[2:]
    if not images:
        return torch.empty((0, 4, height, width), dtype=dtype), torch.empty((0, 4))
    needs_grad = any(_needs_grad(image) for image in images)
    choice = choose("perceptual_maps", images[0].device, needs_grad=needs_grad, backend=backend)
    native = choice.implementation != "torch"
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, image in enumerate(images):
        shape = image.shape[2:] if native else image.shape
        groups.setdefault((image.dtype, *shape), []).append(i)
    parts = []
    for members in groups.values():
        group = [images[i] for i in members]
        run = _native.perceptual_maps_ragged(group, *options) if native else (
            _torch.perceptual_maps(torch.stack(group), *options)
        )  # fmt: skip
        parts.append(run)
    order = torch.tensor([i for members in groups.values() for i in members], device=images[0].device).argsort()
    return torch.cat([m for m, _ in parts])[order], torch.cat([r for _, r in parts])[order]
