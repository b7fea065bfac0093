"""Peers of the GLCM benchmark: co-occurrence matrices and features with other libraries, and the images."""

from __future__ import annotations

import math
from typing import Any

import cv2
import mahotas
import numba
import numpy as np
import numpy.typing as npt
from skimage.feature import graycomatrix, graycoprops

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ANGLES = (0.0, math.pi / 4.0, math.pi / 2.0, 3.0 * math.pi / 4.0)
PROPERTIES = (
    "contrast", "dissimilarity", "homogeneity", "ASM", "energy", "correlation", "mean", "variance", "std", "entropy",
)  # fmt: skip
CONTENTS = ("smooth", "black", "noise")


def level_images(count: int, side: int, levels: int, content: str) -> Bytes:
    """Gray levels [N, side, side]: smooth fields with noise; the same with 45 % black columns; pure noise."""
    rng = np.random.default_rng(0)
    if content == "noise":
        return rng.integers(0, levels, (count, side, side), dtype=np.uint8)
    coarse = rng.random((count, 9, 9)).astype(np.float32)
    smooth = np.stack([cv2.resize(c, (side, side), interpolation=cv2.INTER_CUBIC) for c in coarse])
    noisy = smooth + 0.03 * rng.standard_normal(smooth.shape)
    if content == "black":
        noisy[:, :, : round(0.45 * side)] = 0.0
    return np.clip(np.floor(noisy * levels), 0, levels - 1).astype(np.uint8)


def shifted(image: Bytes) -> list[tuple[Bytes, Bytes]]:
    """First and second pixels of the pairs of the four angles at distance 1."""
    return [
        (image[:, :-1], image[:, 1:]),
        (image[:-1, :-1], image[1:, 1:]),
        (image[:-1], image[1:]),
        (image[:-1, 1:], image[1:, :-1]),
    ]


# ---- scikit-image, OpenCV, mahotas: one image ------------------------------------------------------------------------


def skimage_counts(image: Bytes, levels: int) -> npt.NDArray[np.uint32]:
    """[4, L, L]."""
    return np.asarray(graycomatrix(image, [1], ANGLES, levels)[:, :, 0].transpose(2, 0, 1))


def opencv_counts(image: Bytes, levels: int) -> npt.NDArray[np.float32]:
    """[4, L, L]; calcHist of two views as two channels."""
    bounds = [0, levels, 0, levels]
    return np.stack([cv2.calcHist([a, b], [0, 1], None, [levels, levels], bounds) for a, b in shifted(image)])


def skimage_features(image: Bytes, levels: int) -> Floats:
    """[4, 10] of the symmetric matrices."""
    matrix = graycomatrix(image, [1], ANGLES, levels, symmetric=True)
    return np.stack([graycoprops(matrix, name)[0] for name in PROPERTIES], -1)


def mahotas_features(image: Bytes) -> Floats:
    """[4, 13]."""
    return np.asarray(mahotas.features.haralick(image))


# ---- numba: a batch --------------------------------------------------------------------------------------------------


@numba.njit(cache=False)  # type: ignore[untyped-decorator]
def _count(image: Bytes, m: Any) -> None:
    """Add the pairs of four angles; the last column and row have loops of their own, so that no loop tests bounds."""
    height, width = image.shape
    for r in range(height - 1):
        for c in range(width - 1):
            a = image[r, c]
            m[0, a, image[r, c + 1]] += 1
            m[1, a, image[r + 1, c + 1]] += 1
            m[2, a, image[r + 1, c]] += 1
            m[3, image[r, c + 1], image[r + 1, c]] += 1
        m[2, image[r, width - 1], image[r + 1, width - 1]] += 1
    for c in range(width - 1):
        m[0, image[height - 1, c], image[height - 1, c + 1]] += 1


@numba.njit(parallel=True)  # type: ignore[untyped-decorator]
def numba_counts(images: Bytes, levels: int) -> npt.NDArray[np.int32]:
    """int32 [N, 4, L, L]."""
    counts = np.zeros((len(images), 4, levels, levels), np.int32)
    for n in numba.prange(len(images)):
        _count(images[n], counts[n])
    return counts


@numba.njit(cache=False)  # type: ignore[untyped-decorator]
def _properties(m: Any, reciprocal: Floats, logs: Floats, out: Floats) -> None:
    """The ten properties of m + m^T, in one pass over the nonzero cells of m; sets m to zero."""
    levels = m.shape[0]
    n, contrast, dissimilarity, homogeneity, squares = 0, 0, 0, 0.0, 0
    first, second, product, entropy = 0, 0, 0, 0.0
    for i in range(levels):
        for j in range(i, levels):
            c = m[i, j]
            if i != j:
                c += m[j, i]
                m[j, i] = 0
            m[i, j] = 0
            if c == 0:
                continue
            d = j - i
            n += c
            contrast += d * d * c
            dissimilarity += d * c
            homogeneity += reciprocal[d] * c
            first += (i + j) * c
            second += (i * i + j * j) * c
            product += 2 * i * j * c
            if d == 0:
                squares += 4 * c * c
                entropy += logs[2 * c]
            else:
                squares += 2 * c * c
                entropy += 2.0 * logs[c]
    total = 2.0 * n
    mean = first / total
    variance = second / total - mean * mean
    out[0] = contrast / n
    out[1] = dissimilarity / n
    out[2] = homogeneity / n
    out[3] = squares / (total * total)
    out[4] = math.sqrt(out[3])
    out[5] = (product / total - mean * mean) / variance if variance > 1e-12 else 1.0
    out[6] = mean
    out[7] = variance
    out[8] = math.sqrt(variance)
    out[9] = math.log(total) - entropy / total


@numba.njit(parallel=True)  # type: ignore[untyped-decorator]
def numba_features(images: Bytes, levels: int) -> Floats:
    """[N, 4, 10] of the symmetric matrices; counts in 16 bits, four matrices a thread, c log c from a table."""
    count, height, width = images.shape
    out = np.empty((count, 4, 10))
    reciprocal = 1.0 / (1.0 + np.arange(levels) ** 2)
    x = np.arange(2 * height * width + 1)
    logs = x * np.log(np.maximum(x, 1))
    threads = numba.get_num_threads()
    scratch = np.zeros((threads, 4, levels, levels), np.uint16)
    for t in numba.prange(threads):
        for n in range(t, count, threads):
            _count(images[n], scratch[t])
            for k in range(4):
                _properties(scratch[t, k], reciprocal, logs, out[n, k])
    return out
