"""Where in an image the pixels and pairs lie that make its features: maps with an exact sum."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from iuscore.features import Mask
from iuscore.features.registry import BINS, DISTANCES, FEATURES, GROUPS, LEVELS
from iuscore.features.texture import at_size, direction_features, layout_features, pair_features
from iuscore.ops import PLANES, Kind
from iuscore.ops._constants import TEXTURE_GRID as GRID
from iuscore.ops._pairs import FOUR_ANGLES, pair_offsets
from iuscore.ops._torch.glcm_features import matrix_features
from iuscore.ops._torch.texture_stats import PERCENTILES, PROPERTIES, block_of, plane_codes

Array = npt.NDArray[np.float64]

NEAR_CODES = 4
"""Codes on both sides of a percentile whose pixels its density is counted from."""

_OFFSETS = pair_offsets(list(DISTANCES.values()), FOUR_ANGLES, None)[0]
_CODES = torch.arange(256, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class _Tables:
    """What features are functions of: counts of codes [P, 256], of pairs [O, L, L], mean lightness [8, 8]."""

    histograms: Tensor
    pairs: Tensor
    blocks: Tensor


class CountedImage:
    """One image as a texture model measures it: codes of its pixels, pairs of them, and their counts.

    Args:
        image: uint8 [h, w, C] at the size at which it is measured.
        mask: bool [h, w], True = counted; None: all.
        kind: "color" or "gray".

    Attributes:
        features: float64 [F], columns as in ``FEATURES[kind]``: those of `iuscore.features.texture_features`, which
            rounds them to float32.
        counted: bool [h, w].

    Example:
        >>> image = torch.randint(0, 256, (32, 32, 1), dtype=torch.uint8)
        >>> counted = CountedImage(image, None, "gray")
        >>> means = np.zeros_like(counted.features)
        >>> parts = counted.parts(np.eye(len(means))[:3], means)
        >>> parts.shape, bool(np.allclose(parts.sum((1, 2)), counted.features[:3]))
        ((3, 32, 32), True)
    """

    def __init__(self, image: Tensor, mask: Tensor | None, kind: Kind) -> None:
        self.kind: Kind = kind
        codes, valid = plane_codes(image[None].cpu(), None if mask is None else mask[None].cpu(), kind == "color")
        self.codes, self.valid = codes[0], valid[0]
        rows, columns = (block_of(n, self.codes.device) for n in self.codes.shape[1:])
        self._cells = rows[:, None] * GRID + columns
        self._tables = self._counts()
        self.features: Array = self._values(self._tables).numpy()

    @property
    def counted(self) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = self.valid[0].numpy()
        return found

    def parts(self, slopes: Array, means: Array) -> Array:
        """Every pixel's part in weighted sums of features, less those of real images.

        For a feature f that is a function of counts, a pixel (or pair) of the cell k has the part
        df/dn_k + (f - mean) / N, N the number of counted pixels (pairs): its value in the infinitesimal jackknife, less
        the real mean, over N. Both pixels of a pair get one half. For features of the 8x8 grid, a pixel of the block b
        with n_b pixels has the part df/db (l - mean lightness) / n_b - mean / N, with l its lightness. Pixels that are
        not counted have no part.

        Args:
            slopes: [R, F], weights of features in R sums.
            means: [F], features of real images.

        Returns:
            float64 [R, h, w]. The sum over pixels of map r is ``slopes[r] @ (features - means)``, up to rounding.

        Source: Jaeckel, "The infinitesimal jackknife", Bell Laboratories memorandum MM 72-1215-11, 1972; Efron, "The
            jackknife, the bootstrap and other resampling plans", SIAM 1982.
        """
        weights = torch.from_numpy(np.atleast_2d(np.asarray(slopes, dtype=np.float64)))
        found = torch.stack([self._of_counts(row) for row in weights])
        even, homes = self._homes()
        less = torch.from_numpy(self.features - np.asarray(means, dtype=np.float64))
        own = torch.from_numpy(np.where(self._of_grid, -np.asarray(means, dtype=np.float64), less.numpy()))
        per_home = torch.zeros(len(weights), len(even), dtype=torch.float64)
        per_home.index_add_(1, homes, weights * own)
        found = found + torch.einsum("rk,khw->rhw", per_home, even)
        result: Array = found.masked_fill(~self.valid[0], 0.0).numpy()
        return result

    def _counts(self) -> _Tables:
        planes = self.codes.shape[0]
        histograms = torch.zeros(planes, 256, dtype=torch.float64)
        for p in range(planes):
            histograms[p] = torch.bincount(self.codes[p][self.valid[p]], minlength=256).double()
        level, usable = self.codes[0] * LEVELS >> 8, self.valid[0]
        pairs = torch.zeros(len(_OFFSETS), LEVELS * LEVELS, dtype=torch.float64)
        for o, (here, there) in enumerate(self._ways()):
            both = usable[here] & usable[there]
            cells = level[here] * LEVELS + level[there]
            pairs[o] = torch.bincount(cells[both], minlength=LEVELS * LEVELS).double()
        light = self.codes[0].double()[usable]
        cells = self._cells[usable]
        sums = torch.zeros(GRID * GRID, dtype=torch.float64).index_add_(0, cells, light)
        n = torch.bincount(cells, minlength=GRID * GRID).double()
        mean = light.mean() if len(light) else light.new_zeros(())
        blocks = (torch.where(n > 0, sums / n.clamp(min=1), mean) + 0.5) / 256.0
        self._block_sizes, self._light = n, float(mean)
        return _Tables(histograms, pairs.view(-1, LEVELS, LEVELS), blocks.view(GRID, GRID))

    def _ways(self) -> Iterable[tuple[tuple[slice, slice], tuple[slice, slice]]]:
        """Slices of the first and of the second pixels of all pairs, offset by offset."""
        height, width = self.codes.shape[1:]
        for down, right in _OFFSETS:
            if abs(down) >= height or abs(right) >= width:
                yield (slice(0, 0), slice(0, 0)), (slice(0, 0), slice(0, 0))
                continue
            yield (
                (slice(max(0, -down), height - max(0, down)), slice(max(0, -right), width - max(0, right))),
                (slice(max(0, down), height - max(0, -down)), slice(max(0, right), width - max(0, -right))),
            )

    def _values(self, tables: _Tables) -> Tensor:
        """Features [F] as a function of the tables that can be differentiated."""
        columns = []
        for p, plane in enumerate(PLANES[self.kind]):
            columns += [_plane_features(tables.histograms[p])]
            if plane == "hue":
                columns.append((tables.histograms[p].sum() / tables.histograms[0].sum().clamp(min=1))[None])
        properties = matrix_features(tables.pairs[None], True, PROPERTIES)
        properties = properties.view(1, len(DISTANCES), len(FOUR_ANGLES), len(PROPERTIES))
        columns += [pair_features(properties)[0], direction_features(properties)[0]]
        columns.append(layout_features(tables.blocks[None])[0])
        return torch.cat(columns)

    def _of_counts(self, weights: Tensor) -> Tensor:
        """Parts [h, w] of pixels and pairs that sum to 0, and of pixels of the grid."""
        tables = self._tables
        with torch.inference_mode(False), torch.enable_grad():  # whatever the caller switched off
            leaves = [part.clone().requires_grad_() for part in (tables.histograms, tables.pairs, tables.blocks)]
            total = (self._values(_Tables(*leaves)) * weights.clone()).sum()
            found = torch.autograd.grad(total, leaves)
        # A feature without a derivative (of a flat image) has no local part.
        grads = [part.nan_to_num(0.0, 0.0, 0.0) for part in found]
        parts = torch.zeros(self.codes.shape[1:], dtype=torch.float64)
        for p in range(len(self.codes)):
            parts += torch.where(self.valid[p], grads[0][p][self.codes[p]], 0.0)
        level, usable = self.codes[0] * LEVELS >> 8, self.valid[0]
        for o, (here, there) in enumerate(self._ways()):
            both = usable[here] & usable[there]
            half = torch.where(both, grads[1][o][level[here], level[there]], 0.0) / 2
            parts[here] += half
            parts[there] += half
        per_pixel = grads[2].flatten() / self._block_sizes.clamp(min=1) / 256.0
        return parts + torch.where(usable, per_pixel[self._cells] * (self.codes[0].double() - self._light), 0.0)

    @functools.cached_property
    def _of_grid(self) -> npt.NDArray[np.bool_]:
        return np.array([feature.group == "light-dark" for feature in FEATURES[self.kind]])

    def _homes(self) -> tuple[Tensor, Tensor]:
        """Maps [K, h, w], each of sum 1, over the pixels that make some features; and the map of each feature [F]."""
        everywhere = self.valid[0].double()
        everywhere = everywhere / everywhere.sum().clamp(min=1)
        maps = [self.valid[p].double() for p in range(len(self.codes))]
        angles = len(FOUR_ANGLES)
        for first in range(0, len(_OFFSETS), angles):
            share = torch.zeros_like(everywhere)
            for here, there in list(self._ways())[first : first + angles]:
                both = (self.valid[0][here] & self.valid[0][there]).double()
                both = both / both.sum().clamp(min=1)
                share[here] += both
                share[there] += both
            maps.append(share)
        maps = [part / part.sum() if part.any() else everywhere for part in maps]
        planes, scales = list(PLANES[self.kind]), list(DISTANCES)
        homes = []
        for feature in FEATURES[self.kind]:
            if feature.group in planes and feature.name != "hue colored":
                homes.append(planes.index(feature.group))
            elif (scale := _scale_of(feature.name)) is not None:
                homes.append(len(planes) + scales.index(scale))
            else:
                homes.append(0)
        return torch.stack(maps), torch.tensor(homes)


def _scale_of(name: str) -> str | None:
    """Scale of a feature of pairs: "fine-contrast homogeneity" and "direction fine entropy" are fine."""
    words = name.replace("-", " ").split()
    return next((scale for scale in DISTANCES if scale in words[:2] and words[0] in (scale, "direction")), None)


def _plane_features(histogram: Tensor) -> Tensor:
    """Shares of `BINS` bins and 8 statistics of a plane's codes, [BINS + 8], of counts [256]."""
    n = histogram.sum()
    if float(n.detach()) == 0.0:
        return torch.zeros(BINS + 8, dtype=torch.float64) + 0.0 * n
    p = histogram / n
    share = p.view(BINS, -1).sum(1)
    shares = torch.where(share > 0, torch.where(share > 0, share, 1.0).sqrt(), 0.0)
    mean = (p * _CODES).sum()
    away = _CODES - mean
    variance = (p * away**2).sum()
    flat = int((histogram > 0).sum()) == 1
    zero = 0.0 * mean
    sd = zero if flat else variance.sqrt()
    skewness = zero if flat else (p * away**3).sum() / (variance * variance.sqrt())
    kurtosis = zero if flat else (p * away**4).sum() / variance**2 - 3.0
    entropy = -(p * torch.where(p > 0, p, 1.0).log2()).sum()
    statistics = [(mean + 0.5) / 256.0, sd / 256.0, skewness.asinh(), kurtosis.asinh(), entropy]
    statistics += [_percentile(p, histogram, q) for q in PERCENTILES]
    return torch.cat([shares, torch.stack(statistics)])


def _percentile(p: Tensor, histogram: Tensor, q: int) -> Tensor:
    """A percentile, with the derivative of a smooth distribution: -1[code <= percentile] / density there."""
    with torch.no_grad():
        counts = histogram.detach()
        place = int((counts.cumsum(0) * 100 < counts.sum() * q).sum())
        near = p.detach()[max(place - NEAR_CODES, 0) : place + NEAR_CODES + 1]
        density = float(near.sum()) / len(near)
    below = p[: place + 1].sum()
    return (place + 0.5 - (below - below.detach()) / density) / 256.0


def measured_image(
    image: Tensor, mask: Any, size: tuple[int, int]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_] | None]:
    """One image at a model's size, with its mask there.

    Args:
        image: uint8 [H, W, C].
        mask: "border"; bool or uint8 [H, W]; None.
        size: (height, width).

    Returns:
        uint8 [h, w, C] with 0 where no pixel counts, and bool [h, w] or None.
    """
    given: Mask | None = "border" if isinstance(mask, str) else None if mask is None else torch.as_tensor(mask)[None]
    (group,), _, _ = at_size(image[None], size, given, "NHWC")
    pixels: npt.NDArray[np.uint8] = group.images[0].cpu().numpy()
    counted: npt.NDArray[np.bool_] | None = None if group.mask is None else (group.mask[0] != 0).cpu().numpy()
    return pixels if counted is None else np.where(counted[..., None], pixels, 0).astype(np.uint8), counted


def group_rows(kind: Kind, slopes: Array) -> Array:
    """Slopes [F] as rows [G, F], each with the features of one group.

    Example:
        >>> group_rows("gray", np.ones(len(FEATURES["gray"]))).sum(0).max()
        np.float64(1.0)
    """
    groups = [feature.group for feature in FEATURES[kind]]
    own = np.array([[group == name for group in groups] for name in GROUPS[kind]])
    rows: Array = own * slopes
    return rows
