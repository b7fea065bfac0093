"""Features of gray-level co-occurrence matrices: Haralick's, scikit-image's, mahotas's and IBSI's."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy.typing as npt
import torch
from torch import Tensor

from iuscore.ops._arguments import flag, shown
from iuscore.ops._backend import Backend, Choice, choose, public_op, traced
from iuscore.ops._constants import MAX_GLCM_PIXELS
from iuscore.ops._groups import Group, Masks, in_order
from iuscore.ops._haralick import GLCM_FEATURES, GLCM_PRESETS, WITH_TRANSPOSE, Preset, feature_names
from iuscore.ops._images import Images, Layout
from iuscore.ops._matrices import matrix_of
from iuscore.ops._memory import enough_memory
from iuscore.ops._native import glcm_features as _native
from iuscore.ops._pairs import FOUR_ANGLES, Offset, pair_offsets
from iuscore.ops._quantize import Quantization, Quantize, ValueRange
from iuscore.ops._torch import glcm_features as _torch
from iuscore.ops.glcm import (
    check_group_levels,
    check_quantization,
    checked_groups,
    counts_of,
    quantization_of_group,
    warn_of_groups,
)


class GlcmFeatures(NamedTuple):
    """What `glcm_features` returns.

    Attributes:
        values: float32 or float64 [B, D, A, F] or [B, O, F], on the images' device.
        names: of the F columns.
    """

    values: Tensor
    names: tuple[str, ...]


@public_op
def glcm_features(
    images: Images | Tensor | npt.NDArray[Any],
    *,
    levels: int | None,
    features: str | Sequence[str] | None = None,
    preset: Preset | None = None,
    props: str | Sequence[str] | None = None,
    distances: float | Sequence[float] = (1,),
    angles: float | Sequence[float] = FOUR_ANGLES,
    offsets: Sequence[Offset] | None = None,
    symmetric: bool | None = None,
    mask: Masks | None = None,
    quantize: Quantize = "range",
    range: ValueRange | None = None,
    width: float | None = None,
    dtype: torch.dtype = torch.float32,
    layout: Layout | None = None,
    backend: Backend = "auto",
) -> GlcmFeatures:
    """Co-occurrence features of images, or of matrices that are there already.

    From images the matrices never leave the cache (shared memory on a GPU). Formulas, sources, log bases and what a
    higher value looks like: `GLCM_FEATURES` and docs/glcm_features.md.

    Args:
        images: as in `glcm`; or, with levels=None, matrices [B, ..., L, L], int32 counts with a sum of at most 2^30
            each, or float32 or float64 weights >= 0 (in PyTorch only, differentiable). Everything of one B counts as
            one image. The options from `distances` to `width` but `symmetric` are for images.
        levels: L, 2..256; None for matrices.
        features: names, keys of `GLCM_FEATURES`, or one of them; those of scikit-image are among them.
        preset: instead of names: "skimage" (the ten of `graycoprops`; the default), "mahotas" (the thirteen of
            `haralick`), "ibsi" (25) or "haralick" (fourteen), in the tool's order and with its conventions.
        props: another name of `features`, for those who write `graycoprops`.
        distances, angles, offsets, mask, quantize, range, width, layout: as in `glcm`.
        symmetric: features of the matrix with its transpose added, of images as of matrices. By default as the source
            has it: True with preset="mahotas", "ibsi" or "haralick", False otherwise.
        dtype: of the values, torch.float32 or torch.float64; computed in float64.
        backend: "auto", "native" or "torch", as in `perceptual_maps`. The compiled kernels agree in every bit; torch
            differs in the rounding of float64.

    Returns:
        `GlcmFeatures`: values [B, D, A, F], [B, O, F] for offsets, [B, ..., F] for matrices, and names. A matrix
        without pairs gives 0 for every feature; one with a single level gives correlation 1 and imc1 = imc2 = 0.

    Raises:
        TypeError: another type or dtype. ValueError: another shape, an unknown name, an option out of bounds, counts
            below 0 or too many. RuntimeError: backend="native" where it cannot run.

    Warns:
        UserWarning: as `glcm`.

    Source: Haralick, Shanmugam, Dinstein, "Textural features for image classification", IEEE SMC 1973; Zwanenburg et
        al., "The Image Biomarker Standardization Initiative", Radiology 2020; conventions of scikit-image and mahotas.

    Example:
        >>> import torch, iuscore
        >>> images = torch.randint(0, 256, (2, 96, 80, 3), dtype=torch.uint8)
        >>> values, names = iuscore.ops.glcm_features(images, levels=32, preset="skimage")
        >>> values.shape, names[:3]
        (torch.Size([2, 1, 4, 10]), ('contrast', 'dissimilarity', 'homogeneity'))
    """
    names = _names(features, preset, props)
    if symmetric is not None:
        symmetric = flag("symmetric", symmetric)
    symmetric = preset in WITH_TRANSPOSE if symmetric is None else symmetric
    if not isinstance(dtype, torch.dtype) or dtype not in (torch.float32, torch.float64):
        raise TypeError(f"dtype: expected torch.float32 or torch.float64, got {shown(dtype)}")
    if levels is None:
        _refuse_for_matrices(offsets=offsets, mask=mask, range=range, width=width, layout=layout)
        if traced(images):
            from iuscore.ops._traced import glcm_features as _traced

            return GlcmFeatures(_traced.matrix_features(images, symmetric, names, dtype, backend), names)
        return GlcmFeatures(_of_matrices(images, symmetric, names, dtype, backend), names)
    pairs, axes = pair_offsets(distances, angles, offsets)
    check_quantization(quantize, range, width)
    if traced(images, mask):
        from iuscore.ops._traced import glcm_features as _traced

        how = (quantize, levels, range, width)
        values = _traced.glcm_features(images, mask, pairs, symmetric, how, names, dtype, layout, backend)
        return GlcmFeatures(values.view(values.shape[0], *axes, len(names)), names)
    groups = checked_groups(images, mask, layout)
    warn_of_groups(groups, quantize, range)
    options = [quantization_of_group(group, quantize, levels, range, width) for group in groups]
    choice = choose("glcm_features", groups[0].images.device, backend=backend)
    parts = [
        _of_group(group, by, pairs, symmetric, names, dtype, choice) for group, by in zip(groups, options, strict=True)
    ]
    values = in_order(parts, groups)
    return GlcmFeatures(values.view(values.shape[0], *axes, len(names)), names)


def _names(features: object, preset: object, props: object) -> tuple[str, ...]:
    """Of the columns; unknown ones with those that they may be meant for."""
    if props is not None and features is not None:
        raise ValueError(f"props: another name of features; expected one of the two, got {shown(props)} too")
    wanted = features if props is None else props
    name = "features" if props is None else "props"
    if preset is not None and not isinstance(preset, str):
        raise ValueError(f"preset: expected one of {', '.join(GLCM_PRESETS)}, got {shown(preset)}")
    wanted = (wanted,) if isinstance(wanted, str) else wanted
    if wanted is not None and (not isinstance(wanted, Sequence) or not all(isinstance(one, str) for one in wanted)):
        raise TypeError(f"{name}: expected a name or a sequence of names, got {shown(wanted)}")
    for one in wanted or ():
        if one not in GLCM_FEATURES and (near := _meant(one)):
            raise ValueError(f"{name}: unknown name {one!r}; {near!r} is the nearest, all are keys of GLCM_FEATURES")
    return feature_names(cast("Sequence[str] | None", wanted), cast("Preset | None", preset))


def _meant(name: str) -> str | None:
    """A known name that differs in case or in a few letters."""
    known = {other.lower(): other for other in GLCM_FEATURES}
    found = difflib.get_close_matches(name.lower().replace(" ", "_"), known, n=1)
    return known[found[0]] if found else None


@enough_memory("glcm_features", "pass fewer images or offsets at a time")
def _of_group(group: Group, by: Quantization, pairs: Sequence[Offset], symmetric: bool, names: tuple[str, ...],
              dtype: torch.dtype, choice: Choice) -> Tensor:  # fmt: skip
    """[B, O, F]."""
    if choice.implementation == "torch":
        check_group_levels(group, by, choice)
        return _torch.glcm_features(group.images, group.mask, by, pairs, symmetric, names).to(dtype)
    kernel_names = _kernel_names(names)
    others = None
    if len(kernel_names) < len(names):
        others = _torch.maximal_correlation(counts_of(group, by, pairs, False, choice), symmetric)
    else:
        check_group_levels(group, by, choice)
    values = None
    if kernel_names:
        values = _native.run(group.images, group.mask, by, pairs, symmetric, kernel_names, dtype)
    return _joined(values, others, names, dtype)


def _of_matrices(matrices: object, symmetric: bool, names: tuple[str, ...], dtype: torch.dtype,
                 backend: Backend) -> Tensor:  # fmt: skip
    matrix = matrix_of(matrices)
    flat = matrix.reshape(matrix.shape[0], math.prod(matrix.shape[1:-2]), *matrix.shape[-2:])
    choice = choose("glcm_features", matrix.device, backend="torch" if matrix.is_floating_point() else backend)
    if matrix.is_floating_point() and backend == "native":
        raise ValueError("images: expected int32 counts with backend='native', got floating matrices; use 'auto'")
    if choice.implementation != "cpu":  # the CPU kernels see for themselves in passing
        _check_counts(flat)
    if choice.implementation == "torch":
        values = _torch.matrix_features(flat, symmetric, names).to(dtype)
    else:
        kernel_names = _kernel_names(names)
        others = _torch.maximal_correlation(flat, symmetric) if len(kernel_names) < len(names) else None
        some = _native.run_matrix(flat, symmetric, kernel_names, dtype) if kernel_names else None
        values = _joined(some, others, names, dtype)
    return values.view(*matrix.shape[:-2], len(names))


def _kernel_names(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if GLCM_FEATURES[name].number is not None)


def _joined(values: Tensor | None, others: Tensor | None, names: tuple[str, ...], dtype: torch.dtype) -> Tensor:
    """Columns in the order of the names, of what the kernels and what PyTorch computed."""
    if others is None:
        assert values is not None
        return values
    at = next(i for i, name in enumerate(names) if GLCM_FEATURES[name].number is None)
    column = others.to(dtype)[..., None]
    return column if values is None else torch.cat([values[..., :at], column, values[..., at:]], -1)


def _refuse_for_matrices(**given: object) -> None:
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name}: expected None for matrices (levels=None), got {shown(value)}")


def _check_counts(matrix: Tensor) -> None:
    if not matrix.numel() or torch._C._functorch.is_functorch_wrapped_tensor(matrix):  # whose values vmap hides
        return
    total = matrix.sum((-1, -2), dtype=None if matrix.is_floating_point() else torch.int64)
    if bool((matrix < 0).any()) or (not matrix.is_floating_point() and int(total.max()) > MAX_GLCM_PIXELS):
        raise ValueError("images: expected counts >= 0, and a sum of at most 2^30 in each matrix")
