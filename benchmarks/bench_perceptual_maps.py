"""Perceptual maps: images per second of iuscore, kornia and OpenCV, published mode, on one core and on two threads.

Each peer is written as a competent user would write it. Its maps are compared with ours before anything is timed.

    python benchmarks/bench_perceptual_maps.py           # minutes; writes benchmarks/results/perceptual_maps.json
    python benchmarks/bench_perceptual_maps.py --quick   # seconds; writes nothing
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from multiprocessing.pool import ThreadPool
from typing import Any

import _harness as harness
import cv2
import kornia
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from _harness import available_isas, cpu_isa
from torch import Tensor

from iuscore import ops

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
EPSILON = np.float32(1e-6)

# Largest difference from our maps, on maps that are not degenerate. OpenCV's Lab is approximate: up to 0.6 in a* and
# 0.32 in b*, which its min-max divides by the range of these images' a* and b* (100 and more).
TOLERANCE = {"kornia batched": (2e-5, 2e-5), "kornia one by one": (2e-5, 2e-5), "opencv": (2e-2, 1e-4)}


def make_images(count: int, side: int, channels: int) -> Bytes:
    """Smooth color fields with noise, [N, side, side, C]: neither flat nor pure noise."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.random((count, channels, 9, 9)))
    smooth = F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False).permute(0, 2, 3, 1).numpy()
    noisy = smooth + 0.05 * rng.standard_normal(smooth.shape)
    return np.clip(np.round(noisy * 255.0), 0, 255).astype(np.uint8)


# ---- kornia ----------------------------------------------------------------------------------------------------------


def _min_max(x: Tensor) -> Tensor:
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    return (x - low) / (high - low + 1e-6)


@torch.inference_mode()
def kornia_maps(images: Tensor, size: tuple[int, int]) -> Tensor:
    """[B, C, H, W] uint8 -> [B, 4, h, w]; three channels give the color maps, one the gray ones."""
    x = images.float()
    if x.shape[2:] != size:
        x = F.interpolate(x, size=size, mode="bicubic", align_corners=False)
    x = _min_max(x)
    if x.shape[1] == 3:
        first = kornia.color.rgb_to_lab(x)[:, 1:]
        gray = kornia.color.rgb_to_grayscale(x)
    else:
        gray = x
    edges = kornia.filters.sobel(gray)
    blur = kornia.filters.gaussian_blur2d(gray, (7, 7), (3.0, 3.0))
    if x.shape[1] == 3:
        return _min_max(torch.cat([first, edges, blur], dim=1))
    bands = [gray * ((gray >= low) & (gray < high)) for low, high in ((0.0, 0.3), (0.3, 0.6))]
    return torch.cat([_min_max(torch.cat([edges, blur], dim=1)), *bands], dim=1)


# ---- OpenCV ----------------------------------------------------------------------------------------------------------


def _min_max_plane(x: Any) -> Any:
    low, high, _, _ = cv2.minMaxLoc(x)  # faster than NumPy's min and max
    return (x - np.float32(low)) * np.float32(1.0 / (high - low + 1e-6))


def opencv_maps(image: Bytes, size: tuple[int, int]) -> Floats:
    """[H, W, C] -> [4, h, w]."""
    x: Any = image.astype(np.float32)
    if x.shape[:2] != size:
        x = cv2.resize(x, size[::-1], interpolation=cv2.INTER_CUBIC)
    maps = np.empty((4, *size), np.float32)
    if image.shape[2] == 3:
        x = cv2.merge([_min_max_plane(channel) for channel in cv2.split(x)])  # NumPy is slow on interleaved channels
        _, a, b = cv2.split(cv2.cvtColor(x, cv2.COLOR_RGB2Lab))
        maps[0], maps[1] = _min_max_plane(a), _min_max_plane(b)
        gray, at = cv2.cvtColor(x, cv2.COLOR_RGB2GRAY), 2
    else:
        gray, at = _min_max_plane(x.reshape(size)), 0
        maps[2] = np.where((gray >= 0.0) & (gray < 0.3), gray, np.float32(0.0))
        maps[3] = np.where((gray >= 0.3) & (gray < 0.6), gray, np.float32(0.0))
    gx = cv2.Sobel(gray, cv2.CV_32F, 1, 0, ksize=3, scale=0.125, borderType=cv2.BORDER_REPLICATE)
    gy = cv2.Sobel(gray, cv2.CV_32F, 0, 1, ksize=3, scale=0.125, borderType=cv2.BORDER_REPLICATE)
    maps[at] = _min_max_plane(np.sqrt(gx * gx + gy * gy + EPSILON))
    blur = cv2.GaussianBlur(gray, (7, 7), 3.0, borderType=cv2.BORDER_REFLECT_101)
    maps[at + 1] = _min_max_plane(blur)
    return maps


# ---- Contestants -----------------------------------------------------------------------------------------------------


def contestants(images: Bytes, size: tuple[int, int], pool: ThreadPool | None) -> dict[str, Callable[[], Any]]:
    kind: Any = "color" if images.shape[3] == 3 else "gray"
    ours = torch.from_numpy(images)
    planar = ours.permute(0, 3, 1, 2).contiguous()  # the layout kornia's users have

    def native(mode: Any = "published", backend: Any = "native") -> Tensor:
        return ops.perceptual_maps(ours, kind=kind, mode=mode, size=size, layout="NHWC", backend=backend)

    def with_isa(isa: str) -> Tensor:
        with cpu_isa(isa):
            return native()

    def opencv() -> Floats:
        if pool is None:
            return np.stack([opencv_maps(image, size) for image in images])
        return np.stack(pool.map(lambda image: opencv_maps(image, size), images, chunksize=max(1, len(images) // 8)))

    runs: dict[str, Callable[[], Any]] = {
        "iuscore": native,
        "iuscore clean": lambda: native("clean"),
        "iuscore torch": lambda: native(backend="torch"),
        "iuscore torch clean": lambda: native("clean", "torch"),
        "kornia batched": lambda: kornia_maps(planar, size),
        "kornia one by one": lambda: torch.cat([kornia_maps(image[None], size) for image in planar]),
        "opencv": opencv,
    }
    runs.update({f"iuscore {isa}": partial(with_isa, isa) for isa in available_isas()[:-1]})
    return runs


def check(runs: dict[str, Callable[[], Any]], kind: str) -> dict[str, list[float]]:
    """Largest difference of each peer from our maps, one number per map."""
    expected = runs["iuscore"]()
    differences = {}
    for name, (colors, others) in TOLERANCE.items():
        got = torch.as_tensor(runs[name]()).clone()
        if kind == "gray":  # a gray at a band's edge, like 60 of 200, may fall on either side
            one_side = (got[:, 2:] != 0.0) != (expected[:, 2:] != 0.0)
            gray = torch.maximum(got[:, 2:], expected[:, 2:])
            at_edge = torch.stack([(gray - edge).abs() < 1e-6 for edge in (0.0, 0.3, 0.6)]).any(0)
            got[:, 2:] = torch.where(one_side & at_edge, expected[:, 2:], got[:, 2:])
        worst = [float(d) for d in (got - expected).abs().amax((0, 2, 3))]
        limits = [colors, colors, others, others] if kind == "color" else [others] * 4
        if not all(d <= limit for d, limit in zip(worst, limits, strict=True)):
            raise SystemExit(f"{name}: differs from our maps by {worst}, allowed {limits}")
        differences[name] = [float(f"{d:.2g}") for d in worst]
    return differences


def run_case(source: int, channels: int, threads: int, *, count: int, **options: Any) -> dict[str, Any]:
    size, kind = (128, 128), "color" if channels == 3 else "gray"
    images = make_images(count, source, channels)
    harness.use_threads(threads)
    cv2.setNumThreads(1)  # images are too small to divide; with two threads, each processes whole images
    name = f"{source} -> 128, {kind}"
    pool = ThreadPool(threads) if threads > 1 else None
    try:
        runs = contestants(images, size, pool)
        return harness.run_case(name, threads, runs, items=count, differences=check(runs, kind), **options)
    finally:
        if pool is not None:
            pool.terminate()


def cases(**options: Any) -> list[dict[str, Any]]:
    sizes = ((256, 3), (256, 1), (128, 3), (128, 1))
    return [run_case(source, channels, t, **options) for t in (1, 2) for source, channels in sizes]


def main() -> None:
    harness.main(
        __doc__,
        "perceptual_maps",
        "perceptual maps, published mode unless named clean, uint8 in, float32 out",
        ("torch", "numpy", "kornia", "opencv-python-headless"),
        cases,
        usual={"count": 32, "repetitions": 7, "seconds": 0.15},
        quick={"count": 4, "repetitions": 2, "seconds": 0.01},
    )


if __name__ == "__main__":
    main()
