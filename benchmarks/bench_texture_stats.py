"""All texture features of an image, uint8 in, features out: iuscore against scikit-image with OpenCV.

The peer computes the same planes, statistics and properties image by image, as a competent user of both would;
its results are compared with ours before anything is timed.

    python benchmarks/bench_texture_stats.py           # minutes; writes benchmarks/results/texture_stats.json
    python benchmarks/bench_texture_stats.py --quick   # seconds; writes nothing
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from multiprocessing.pool import ThreadPool
from typing import Any

import _harness as harness
import cv2
import numpy as np
import numpy.typing as npt
import torch
from bench_perceptual_maps import make_images
from skimage.feature import graycomatrix, graycoprops

from iuscore import ops

Bytes = npt.NDArray[np.uint8]
Result = dict[str, npt.NDArray[Any]]
SIDE = 128
LEVELS, DISTANCES, ANGLES = 32, [1, 4], [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
CODES = np.arange(256)


def _statistics(fine: npt.NDArray[Any]) -> list[float]:
    """Statistics of a plane, from its histogram, which is faster than from its pixels."""
    n = fine.sum()
    p = fine / n
    mean = float(p @ CODES)
    away = CODES - mean
    m2, m3, m4 = float(p @ away**2), float(p @ away**3), float(p @ away**4)
    nonzero = p[p > 0]
    ranks = np.searchsorted(np.cumsum(fine), n * np.array([0.05, 0.5, 0.95]))
    return [
        (mean + 0.5) / 256,
        m2**0.5 / 256,
        m3 / m2**1.5 if m2 > 0 else 0.0,
        m4 / m2**2 - 3 if m2 > 0 else 0.0,
        float(-(nonzero * np.log2(nonzero)).sum()),
        *((ranks + 0.5) / 256),
    ]


def _planes(image: Bytes) -> list[Bytes]:
    """Planes of an image. OpenCV's float Lab is approximate and fast; its 8-bit Lab would be less exact."""
    if image.shape[2] == 1:
        planes = [image[..., 0]]
    else:
        unit = image.astype(np.float32) * np.float32(1 / 255)
        lightness, a, b = cv2.split(cv2.cvtColor(unit, cv2.COLOR_RGB2Lab))
        hue, saturation, value = cv2.split(cv2.cvtColor(unit, cv2.COLOR_RGB2HSV))
        hue = hue * np.float32(256 / 360) + np.float32(128)
        hue[hue >= 256] -= 256
        planes = [
            (lightness * np.float32(2.56)).clip(0, 255).astype(np.uint8),
            ((a + np.float32(110)) * np.float32(256 / 220)).astype(np.uint8),
            ((b + np.float32(110)) * np.float32(256 / 220)).astype(np.uint8),
            (saturation * 256).clip(0, 255).astype(np.uint8),
            hue[(saturation >= 1 / 16) & (value >= 1 / 16)].astype(np.uint8),
        ]
    gx = cv2.Sobel(planes[0], cv2.CV_32F, 1, 0, borderType=cv2.BORDER_REPLICATE)
    gy = cv2.Sobel(planes[0], cv2.CV_32F, 0, 1, borderType=cv2.BORDER_REPLICATE)
    magnitude = cv2.magnitude(gx, gy) * np.float32(0.125)
    return [*planes, (magnitude * 256 / (magnitude + 13)).astype(np.uint8)]


def peer(image: Bytes) -> Result:
    """[H, W, C] -> the results of `iuscore.ops.texture_stats` for one image."""
    planes = _planes(image)
    fine = [cv2.calcHist([plane], [0], None, [256], [0, 256]).ravel() for plane in planes]
    matrix = graycomatrix(planes[0] >> 3, DISTANCES, ANGLES, LEVELS, symmetric=True, normed=True)
    return {
        "histograms": np.stack([counts.reshape(32, 8).sum(1) for counts in fine]),
        "statistics": np.array([_statistics(counts) for counts in fine]),
        "cooccurrence": np.stack([graycoprops(matrix, name) for name in ops.PROPERTIES], axis=-1),
        "blocks": (cv2.resize(planes[0].astype(np.float32), (8, 8), interpolation=cv2.INTER_AREA) + 0.5) / 256,
    }


def contestants(images: Bytes, pool: ThreadPool | None) -> dict[str, Callable[[], Any]]:
    kind: Any = "color" if images.shape[3] == 3 else "gray"
    ours = torch.from_numpy(images)

    def native(backend: Any = "native") -> ops.TextureStats:
        return ops.texture_stats(ours, kind=kind, layout="NHWC", backend=backend)

    def with_isa(isa: str) -> ops.TextureStats:
        with harness.cpu_isa(isa):
            return native()

    def libraries() -> list[Result]:
        return [peer(image) for image in images] if pool is None else pool.map(peer, images, chunksize=4)

    runs: dict[str, Callable[[], Any]] = {
        "iuscore": native,
        "iuscore torch": lambda: native("torch"),
        "scikit-image and opencv": libraries,
    }
    runs.update({f"iuscore {isa}": partial(with_isa, isa) for isa in harness.available_isas()[:-1]})
    return runs


def check(runs: dict[str, Callable[[], Any]], color: bool) -> dict[str, float]:
    """Largest difference of the peer from ours; exact for gray images, OpenCV's Lab shifts codes by one for color."""
    expected, got = runs["iuscore"](), runs["scikit-image and opencv"]()
    found = {}
    # Histograms: share of pixels that may be one bin off. Statistics and properties: relative to 1 + |value|.
    limits = {"histograms": 0.25, "statistics": 0.1, "cooccurrence": 0.05, "blocks": 2e-3}
    for name, limit in limits.items():
        ours, theirs = getattr(expected, name).double().numpy(), np.stack([result[name] for result in got])
        if name == "histograms":
            away = abs(ours - theirs).sum(2).max() / (2 * SIDE * SIDE)
        else:
            away = (abs(ours - theirs) / (1 + abs(ours))).max()
        if away > (limit if color else 2e-6):
            raise SystemExit(f"{name}: the peer differs from ours by {away}, allowed {limit if color else 2e-6}")
        found[name] = float(f"{away:.2g}")
    return found


def run_case(channels: int, threads: int, *, count: int, **options: Any) -> dict[str, Any]:
    images = make_images(count, SIDE, channels)
    harness.use_threads(threads)
    cv2.setNumThreads(1)  # images are too small to divide; with two threads, each processes whole images
    name = f"{SIDE}x{SIDE}, {'color' if channels == 3 else 'gray'}"
    pool = ThreadPool(threads) if threads > 1 else None
    try:
        runs = contestants(images, pool)
        return harness.run_case(name, threads, runs, items=count, differences=check(runs, channels == 3), **options)
    finally:
        if pool is not None:
            pool.terminate()


def cases(**options: Any) -> list[dict[str, Any]]:
    return [run_case(channels, threads, **options) for threads in (1, 2) for channels in (3, 1)]


def main() -> None:
    harness.main(
        __doc__,
        "texture_stats",
        "texture statistics: histograms, statistics, 10 properties at 2 distances and 4 angles",
        ("torch", "numpy", "scikit-image", "opencv-python-headless"),
        cases,
        usual={"count": 64, "repetitions": 9, "seconds": 0.3},
        quick={"count": 4, "repetitions": 2, "seconds": 0.01},
    )


if __name__ == "__main__":
    main()
