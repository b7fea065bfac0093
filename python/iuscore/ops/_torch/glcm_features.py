"""`glcm_features` in plain PyTorch, from the formulas of `_haralick.py`, in float64."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from iuscore.ops._haralick import GLCM_FEATURES
from iuscore.ops._quantize import Quantization
from iuscore.ops._torch._quantize import levels_of
from iuscore.ops._torch.glcm import count_pairs

_CHUNK_CELLS = 1 << 22  # bounds the float64 copies of many matrices to 32 MiB each


def glcm_features(
    images: Tensor,
    mask: Tensor | None,
    by: Quantization,
    offsets: Sequence[tuple[int, int]],
    symmetric: bool,
    names: Sequence[str],
) -> Tensor:
    """Images [B, H, W, C] -> float64 [B, O, F]."""
    batch, height, width, _ = images.shape
    step = max(1, _CHUNK_CELLS // max(height * width, len(offsets) * by.levels**2))
    parts = [torch.empty((0, len(offsets), len(names)), dtype=torch.float64, device=images.device)]
    for i in range(0, batch, step):
        levels, counted = levels_of(images[i : i + step], by, None if mask is None else mask[i : i + step])
        counts = torch.stack([count_pairs(levels, counted, by.levels, offset) for offset in offsets], 1)
        largest = torch.where(counted, levels.to(torch.int64), 0).amax((1, 2))
        parts.append(_features(counts, largest, symmetric, names))
    return torch.cat(parts)


def matrix_features(matrix: Tensor, symmetric: bool, names: Sequence[str]) -> Tensor:
    """Matrices [B, O, L, L], counts or weights >= 0 -> float64 [B, O, F]."""
    step = max(1, _CHUNK_CELLS // max(matrix[:1].numel(), 1))
    parts = [torch.empty((0, matrix.shape[1], len(names)), dtype=torch.float64, device=matrix.device)]
    for i in range(0, len(matrix), step):
        chunk = matrix[i : i + step]
        used = (chunk != 0).any(1)
        level = torch.arange(matrix.shape[-1], device=matrix.device)
        largest = torch.where(used.any(1) | used.any(2), level, 0).amax(1)
        parts.append(_features(chunk, largest, symmetric, names))
    return torch.cat(parts)


def maximal_correlation(counts: Tensor, symmetric: bool) -> Tensor:
    """Haralick's f14 of matrices [B, O, L, L], float64 [B, O].

    The largest singular value of p[i, j] / sqrt(P[i] Q[j]) without its first one, which is 1 with the singular vectors
    sqrt(P) and sqrt(Q).
    """
    step = max(1, _CHUNK_CELLS // max(counts[:1].numel(), 1))
    parts = [torch.empty((0, counts.shape[1]), dtype=torch.float64, device=counts.device)]
    for i in range(0, len(counts), step):
        chunk = counts[i : i + step].double()
        chunk = chunk + chunk.transpose(-1, -2) if symmetric else chunk
        p = chunk / _or_one(chunk.sum((-1, -2), keepdim=True))
        row, column = p.sum(-1).sqrt(), p.sum(-2).sqrt()
        scaled = p / _or_one(row)[..., :, None] / _or_one(column)[..., None, :]
        rest = scaled - row[..., :, None] * column[..., None, :]
        parts.append(torch.linalg.svdvals(rest)[..., 0].clamp(max=1.0))
    return torch.cat(parts)


def _or_one(x: Tensor) -> Tensor:
    return torch.where(x == 0.0, 1.0, x)


def _features(counts: Tensor, largest: Tensor, symmetric: bool, names: Sequence[str]) -> Tensor:
    if symmetric:
        counts = counts if counts.is_floating_point() else counts.to(torch.int64)  # twice 2^30 is too large for int32
        counts = counts + counts.transpose(-1, -2)
    of = _Matrix(counts, largest)
    columns = []
    for name in names:
        number = GLCM_FEATURES[name].number
        columns.append(maximal_correlation(counts, False) if number is None else _FORMULAS[number](of))
    return torch.where(of.empty[..., None], 0.0, torch.stack(columns, -1))


class _Matrix:
    """What several features share, of matrices [..., L, L] of integers (exact) or floating numbers."""

    def __init__(self, counts: Tensor, largest: Tensor) -> None:
        exact = counts if counts.is_floating_point() else counts.to(torch.int64)
        total = exact.sum((-1, -2))
        self.levels = counts.shape[-1]
        self.empty = total == 0
        self.total = torch.where(self.empty, 1, total).double()
        self.bins = largest.to(torch.float64)[:, None] + 1.0  # IBSI's Ng
        self.p = exact / self.total[..., None, None]
        self.row = exact.sum(-1) / self.total[..., None]
        self.column = exact.sum(-2) / self.total[..., None]
        self.sum = _sheared(exact) / self.total[..., None]
        signed = _sheared(exact.flip(-1))  # index i + L - 1 - j
        ahead, behind = signed[..., self.levels - 1 :], signed[..., : self.levels - 1].flip(-1)
        self.difference = (ahead + F.pad(behind, (1, 0))) / self.total[..., None]
        self.k = torch.arange(2 * self.levels - 1, dtype=torch.float64, device=counts.device)
        self.level = self.k[: self.levels]

    @functools.cached_property
    def mean(self) -> Tensor:
        return self.expected(self.row, self.level)

    @functools.cached_property
    def column_mean(self) -> Tensor:
        return self.expected(self.column, self.level)

    @functools.cached_property
    def variance(self) -> Tensor:
        return self.expected(self.row, (self.level - self.mean[..., None]) ** 2)

    @functools.cached_property
    def asm(self) -> Tensor:
        return (self.p * self.p).sum((-1, -2))

    @functools.cached_property
    def entropy(self) -> Tensor:
        return _entropy(self.p.flatten(-2))

    def expected(self, p: Tensor, x: Tensor) -> Tensor:
        return (p * x).sum(-1)

    def difference_of(self, weight: Callable[[Tensor], Tensor]) -> Tensor:
        return self.expected(self.difference, weight(self.level))

    def cluster(self, power: int) -> Tensor:
        center = (self.mean + self.column_mean)[..., None]
        return self.expected(self.sum, (self.k - center) ** power)

    def correlation(self) -> Tensor:
        i, j = self.level - self.mean[..., None], self.level - self.column_mean[..., None]
        covariance = (self.p * i[..., :, None] * j[..., None, :]).sum((-1, -2))
        spread = self.variance.sqrt() * self.expected(self.column, j**2).sqrt()
        # A marginal with one level has no variance; its computed one may be off 0 by rounding.
        flat = ((self.row > 0).sum(-1) <= 1) | ((self.column > 0).sum(-1) <= 1)
        return torch.where(flat, 1.0, covariance / torch.where(flat, 1.0, spread))

    def difference_variance(self) -> Tensor:
        return self.difference_of(lambda k: (k - self.difference_of(lambda x: x)[..., None]) ** 2)

    def variance_of_bins(self) -> Tensor:
        return ((self.difference**2).sum(-1) - 1.0 / self.bins) / self.bins

    def shared(self) -> Tensor:
        return _entropy(self.row) + _entropy(self.column) - self.entropy

    def imc1(self) -> Tensor:
        larger = torch.maximum(_entropy(self.row), _entropy(self.column))
        return torch.where(larger > 0.0, -self.shared() / _or_one(larger), 0.0)

    def imc2(self) -> Tensor:
        return (-torch.expm1(-2.0 * self.shared().clamp(min=0.0))).sqrt()

    def autocorrelation(self) -> Tensor:
        one_based = self.level + 1.0
        return (self.p * one_based[:, None] * one_based).sum((-1, -2))


def _sheared(x: Tensor) -> Tensor:
    """Sums [..., 2L - 1] of x [..., L, L] over the diagonals where i + j is constant: row i is moved i to the right."""
    levels = x.shape[-1]
    wide = F.pad(x, (0, levels)).flatten(-2)[..., : levels * (2 * levels - 1)]
    return wide.reshape(*x.shape[:-1], 2 * levels - 1).sum(-2)


def _entropy(p: Tensor) -> Tensor:
    """In bits, over the last axis."""
    return -(p * torch.where(p > 0.0, p, 1.0).log2()).sum(-1)


# In the order of `GlcmFeature` in csrc/core/haralick.h.
_FORMULAS: tuple[Callable[[_Matrix], Tensor], ...] = (
    lambda m: m.difference_of(lambda k: k * k),
    lambda m: m.difference_of(lambda k: k),
    lambda m: m.difference_of(lambda k: 1.0 / (1.0 + k * k)),
    lambda m: m.asm,
    lambda m: m.asm.sqrt(),
    lambda m: m.correlation(),
    lambda m: m.mean,
    lambda m: m.variance,
    lambda m: m.variance.sqrt(),
    lambda m: m.entropy * 0.6931471805599453,
    lambda m: m.entropy,
    lambda m: m.p.amax((-1, -2)),
    lambda m: m.mean + 1.0,
    lambda m: m.expected(m.sum, m.k) + 2.0,
    lambda m: m.expected(m.sum, m.k),
    lambda m: m.cluster(2),
    lambda m: _entropy(m.sum),
    lambda m: m.difference_variance(),
    lambda m: m.variance_of_bins(),
    lambda m: _entropy(m.difference),
    lambda m: m.imc1(),
    lambda m: m.imc2(),
    lambda m: m.difference_of(lambda k: 1.0 / (1.0 + k)),
    lambda m: m.difference_of(lambda k: 1.0 / (1.0 + k / m.bins[..., None])),
    lambda m: m.difference_of(lambda k: 1.0 / (1.0 + (k / m.bins[..., None]) ** 2)),
    lambda m: m.difference_of(lambda k: torch.where(k > 0.0, 1.0 / torch.where(k > 0.0, k * k, 1.0), 0.0)),
    lambda m: m.autocorrelation(),
    lambda m: m.cluster(3),
    lambda m: m.cluster(4),
)
