"""Compute the features of images: one pass over the pixels, then a few operations on the whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast
from warnings import warn

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from iuscore.features.bytes import check_no_gradient
from iuscore.features.masks import Mask, masked_groups
from iuscore.features.registry import BINS, DISTANCES, FEATURES, LEVELS
from iuscore.ops import PLANES, PROPERTIES, STATISTICS, Kind, TextureStats, resize, texture_stats
from iuscore.ops._backend import Backend
from iuscore.ops._blocks import in_blocks
from iuscore.ops._groups import Group, image_groups, in_order
from iuscore.ops._images import ArrayLike, Images, Layout, batch_view, checked_size, image_views, is_batch
from iuscore.ops._range import said_once, warn_of_range

_AT = {name: i for i, name in enumerate(PROPERTIES)}
_HEAVY_TAILED = [STATISTICS.index(name) for name in ("skewness", "kurtosis")]


@said_once()
def texture_features(
    images: Images,
    *,
    kind: Kind = "color",
    size: Sequence[int] | None = (128, 128),
    mask: Mask | None = None,
    layout: Layout | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Measure the features of `FEATURES` in images.

    Texture depends on resolution, so images are resized to ``size`` first, bicubic with antialias: 8-bit images by
    `iuscore.ops.resize`, with the same bits on every machine; others in float32, with 16-bit images rounded to whole
    numbers afterwards.

    Args:
        images: tensor or array [B, H, W, C] or [B, C, H, W], C = 1 or 3, or gray [B, H, W] or [H, W], uint8, uint16 or
            floating (nominally in [0, 1]), or a list of single images of any sizes.
        kind: "color" or "gray"; one channel counts as R = G = B in both.
        size: (height, width) at which to measure; None: the size of each image.
        mask: bool or uint8 [B, H, W], or one [H, W] per image of a list, on the images' device, nonzero = counted; or
            "border": all pixels but the black border that `border_masks` finds. Pixels that are not counted never
            change the result: a resized pixel counts if all pixels that it is computed from count. None: all pixels.
        layout: "NHWC" or "NCHW"; needed only where the shape fits both.
        backend: see `iuscore.ops.texture_stats`.

    Returns:
        float32 [B, F] on the images' device, columns as in ``FEATURES[kind]``; all NaN for an image with a counted
        pixel that is not finite, or without a counted pixel at that size.

    Raises:
        UserError: an image requires a gradient, which counting pixels does not have; or ``mask`` is another text.
        TypeError, ValueError: see `iuscore.ops.texture_stats`; or a NumPy masked array (pass its mask as ``mask``).

    Warns:
        UserWarning: as `iuscore.ops.texture_stats`; with "border", if an image is dark throughout, so that all its
            pixels count.

    Source: the references in `FEATURES`; the selection is this library's.

    Example:
        >>> import torch
        >>> from iuscore.features import FEATURES, texture_features
        >>> values = texture_features(torch.randint(0, 256, (2, 64, 48, 3), dtype=torch.uint8))
        >>> values.shape == (2, len(FEATURES["color"]))
        True
    """
    values, dark = measured(images, kind, size, mask, layout, backend)
    if indices := dark.nonzero().flatten().tolist():
        warn(f"mask: no border found in images that are dark throughout, such as images[{indices[0]}]: "
             "all pixels count",
             stacklevel=2)  # fmt: skip
    return values


def measured(
    images: Images,
    kind: Kind,
    size: Sequence[int] | None,
    mask: Mask | None = None,
    layout: Layout | None = None,
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor]:
    """`texture_features`, and bool [B]: whether an image is so dark throughout that no border could be found."""
    images = _range_checked(images, layout)
    batches, groups, dark = at_size(images, size, mask, "NHWC", backend)
    parts = [_features(texture_stats(batch.images, kind=kind, bins=BINS, levels=LEVELS, mask=batch.mask,
                                     distances=tuple(DISTANCES.values()), layout="NHWC", backend=backend), kind)
             for batch in batches]  # fmt: skip
    values = torch.cat(parts)
    order = [i for batch in batches for i in batch.where]
    if order != sorted(order):
        values = values[torch.tensor(order, device=values.device).argsort()]
    nonfinite = [i for group in groups for i in _not_finite(group)]
    if nonfinite:
        values[torch.tensor(nonfinite, device=values.device)] = torch.nan
    return values, in_order(dark, groups)


def at_size(
    images: Images, size: Sequence[int] | None, mask: Mask | None, layout: Layout | None, backend: Backend = "auto"
) -> tuple[list[Group], list[Group], list[Tensor]]:
    """Images and masks as they are measured.

    Args:
        images, size, mask, layout, backend: see `texture_features`.

    Returns:
        Groups at ``size``, joined where they are alike; the groups that they were made of; and for each of these
        bool [b]: whether an image is dark throughout.
    """
    if mask is None:
        images, layout = _resized_bytes(images, size, layout, backend)
        groups = image_groups(images, None, layout)
        dark = [torch.zeros(len(group.where), dtype=torch.bool, device=group.images.device) for group in groups]
    else:
        groups, dark = masked_groups(images, mask, size, layout)
    check_no_gradient([group.images for group in groups])
    return _merged([_sized(group, size, backend) for group in groups]), groups, dark


def _range_checked(images: Images, layout: Layout | None) -> Tensor | list[Tensor]:
    """Images as [B, H, W, C] or [H, W, C]; their range is checked here, before a resize changes it."""
    if is_batch(images):
        batch = batch_view(cast(ArrayLike, images), layout)
        warn_of_range([batch])
        return batch
    views = image_views(cast("Sequence[ArrayLike]", images), layout)
    warn_of_range(views)
    return views


def _not_finite(group: Group) -> list[int]:
    if not group.images.is_floating_point():
        return []
    flags = (~group.images.isfinite()).flatten(1).any(1)
    return [i for i, flag in zip(group.where, flags.tolist(), strict=True) if flag]


def _resized_bytes(
    images: Images, size: Sequence[int] | None, layout: Layout | None, backend: Backend
) -> tuple[Images, Layout | None]:
    """Resize the 8-bit images to ``size``; the images of a list in one call, before they are copied into batches."""
    if size is None:
        return images, layout
    size = checked_size(size, 1)

    def other_size(view: Tensor) -> bool:
        return view.dtype == torch.uint8 and tuple(view.shape[-3:-1]) != tuple(size)

    if isinstance(images, Tensor | np.ndarray):
        batch = batch_view(images, layout)
        return (resize(batch, size, layout="NHWC", backend=backend) if other_size(batch) else batch), "NHWC"
    views = image_views(images, layout)
    for channels in (1, 3):
        places = [i for i, view in enumerate(views) if view.shape[2] == channels and other_size(view)]
        if places:
            resized = resize([views[i] for i in places], size, layout="NHWC", backend=backend)
            if len(places) == len(views):
                return resized, "NHWC"
            for i, view in zip(places, resized, strict=True):
                views[i] = view
    return views, "NHWC"


def _sized(group: Group, size: Sequence[int] | None, backend: Backend) -> Group:
    """Resize the images of a group to ``size``; its mask has that size already."""
    images = group.images
    if size is None or tuple(images.shape[1:3]) == tuple(size) or not len(images):
        return group
    if images.dtype == torch.uint8:
        return replace(group, images=resize(images, size, layout="NHWC", backend=backend))
    planes = images.permute(0, 3, 1, 2).float()
    wide = F.interpolate(planes, tuple(size), mode="bicubic", antialias=True)
    if images.dtype == torch.uint16:
        wide = wide.round().clamp(0.0, 65535.0)
    return replace(group, images=wide.to(images.dtype).permute(0, 2, 3, 1))


def _merged(groups: list[Group]) -> list[Group]:
    """Join groups of equal dtype and size, so that they are measured in one call."""
    if len(groups) == 1:
        return groups
    alike: dict[object, list[Group]] = {}
    for group in groups:
        alike.setdefault((group.images.dtype, group.images.shape[1:]), []).append(group)
    return [same[0] if len(same) == 1 else _joined(same) for same in alike.values()]


def _joined(groups: list[Group]) -> Group:
    masks = None
    if any(group.mask is not None for group in groups):
        every = [group.images.new_ones(group.images.shape[:3], dtype=torch.bool) for group in groups]
        masks = torch.cat(
            [all_ if group.mask is None else group.mask for group, all_ in zip(groups, every, strict=True)]
        )
    return Group(torch.cat([g.images for g in groups]), masks, sum((g.where for g in groups), ()))


def _features(stats: TextureStats, kind: Kind) -> Tensor:
    if not len(stats.counted):  # PyTorch warns about means of empty tensors
        return stats.statistics.new_empty(0, len(FEATURES[kind]))

    def of_rows(
        counted: Tensor, histograms: Tensor, statistics: Tensor, cooccurrence: Tensor, blocks: Tensor
    ) -> Tensor:
        at_least_one = counted.clamp(min=1).unsqueeze(2)
        shares = (histograms / at_least_one).sqrt()
        statistics = statistics.clone()
        statistics[..., _HEAVY_TAILED] = statistics[..., _HEAVY_TAILED].asinh()
        planes = torch.cat([shares, statistics], dim=2)  # [B, P, bins + 8]
        columns = []
        for p, plane in enumerate(PLANES[kind]):
            columns.append(planes[:, p])
            if plane == "hue":
                columns.append(counted[:, p : p + 1] / at_least_one[:, 0])
        pairs = pair_features(cooccurrence), direction_features(cooccurrence)
        found = torch.cat([*columns, *pairs, layout_features(blocks)], dim=1)
        return found.masked_fill(counted[:, :1] == 0, torch.nan)

    return in_blocks(of_rows, stats.counted, stats.histograms, stats.statistics, stats.cooccurrence, stats.blocks)


def pair_features(properties: Tensor) -> Tensor:
    """[B, D, 4, 10] -> six features per distance, means over the directions."""
    mean = properties.mean(2)
    contrast = torch.stack(
        [mean[..., _AT["contrast"]].sqrt() / LEVELS, mean[..., _AT["dissimilarity"]] / LEVELS,
         mean[..., _AT["homogeneity"]]], dim=2
    )  # fmt: skip
    regularity = torch.stack(
        [mean[..., _AT["energy"]], mean[..., _AT["correlation"]].clamp(-0.999, 0.9999).atanh(),
         mean[..., _AT["entropy"]]], dim=2
    )  # fmt: skip
    return torch.cat([contrast, regularity], dim=2).flatten(1)


def direction_features(properties: Tensor) -> Tensor:
    """[B, D, 4, 10] -> four features per distance: standard deviations over the directions."""
    spread = properties[..., [_AT[name] for name in ("contrast", "correlation", "homogeneity", "entropy")]]
    spread = spread.std(2, correction=0)
    of_mean = spread[..., :1] / (properties[..., _AT["contrast"]].mean(2) + 1e-3).unsqueeze(2)
    return torch.cat([of_mean, spread[..., 1:]], dim=2).flatten(1)


def layout_features(blocks: Tensor) -> Tensor:
    """[B, 8, 8] -> the features of the group light-dark."""
    mean = blocks.mean((1, 2))
    inner = blocks[:, 2:6, 2:6].mean((1, 2))
    rows, columns = blocks.mean(2), blocks.mean(1)
    return torch.stack(
        [
            blocks.std((1, 2), correction=0),
            inner - (64.0 * mean - 16.0 * inner) / 48.0,
            rows[:, :4].mean(1) - rows[:, 4:].mean(1),
            columns[:, :4].mean(1) - columns[:, 4:].mean(1),
            (blocks - blocks.flip(2)).abs().mean((1, 2)),
            blocks.amax((1, 2)) - mean,
            mean - blocks.amin((1, 2)),
            blocks.diff(dim=1).abs().mean((1, 2)) + blocks.diff(dim=2).abs().mean((1, 2)),
        ],
        dim=1,
    )
