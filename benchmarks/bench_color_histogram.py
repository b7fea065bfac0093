"""Color histograms: images per second of iuscore, OpenCV, numba and NumPy, uint8 in, on one core and on two threads.

Each peer is written as a competent user would write it. Its counts are compared with ours before anything is timed.

    python benchmarks/bench_color_histogram.py           # minutes; writes benchmarks/results/color_histogram.json
    python benchmarks/bench_color_histogram.py --quick   # seconds; writes nothing
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import ThreadPool
from typing import Any

import _harness as harness
import cv2
import numba
import numpy as np
import numpy.typing as npt
import torch
from bench_perceptual_maps import available_isas, cpu_isa, make_images

from iuscore import ops

Bytes = npt.NDArray[np.uint8]
Counts = npt.NDArray[Any]
SIDE = 128
LAB_LOW, LAB_HIGH = (0.0, -110.0, -110.0), (100.0, 110.0, 110.0)


@dataclass(frozen=True)
class Job:
    """A histogram to compute; ``allowed``: share of pixels that a peer may count in another bin."""

    name: str
    space: str
    bins: int
    joint: bool = False
    allowed: float = 0.0


JOBS = (
    Job("rgb, 3 x 64 bins", "rgb", 64),
    Job("rgb, 3 x 256 bins", "rgb", 256),
    Job("rgb, joint 8 x 8 x 8", "rgb", 8, joint=True),
    # OpenCV's Lab is approximate, and numba rounds powers differently.
    Job("lab, 3 x 32 bins", "lab", 32, allowed=0.1),
)


def make_content(content: str, count: int) -> Bytes:
    """ "noise"; or "medical": smooth color with a little noise in a disk, the other 45 % black."""
    if content == "noise":
        return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    images = make_images(count, SIDE, 3)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    images[:, x**2 + y**2 > 0.55 * SIDE**2 / np.pi] = 0
    return images


# ---- numba: one thread an image, histograms in a local array, no bounds checks ---------------------------------------


@numba.njit(parallel=True, boundscheck=False)
def numba_channels(images: Bytes, bins: int) -> Counts:
    shift = 8
    while 1 << (8 - shift) < bins:
        shift -= 1
    out = np.empty((len(images), 3, bins), np.int32)
    for i in numba.prange(len(images)):
        image = images[i]
        red, green, blue = np.zeros(bins, np.int32), np.zeros(bins, np.int32), np.zeros(bins, np.int32)
        for y in range(image.shape[0]):
            for x in range(image.shape[1]):
                red[image[y, x, 0] >> shift] += 1
                green[image[y, x, 1] >> shift] += 1
                blue[image[y, x, 2] >> shift] += 1
        out[i, 0], out[i, 1], out[i, 2] = red, green, blue
    return out


@numba.njit(parallel=True, boundscheck=False)
def numba_joint(images: Bytes) -> Counts:
    out = np.empty((len(images), 512), np.int32)
    for i in numba.prange(len(images)):
        image = images[i]
        counts = np.zeros(512, np.int32)
        for y in range(image.shape[0]):
            for x in range(image.shape[1]):
                counts[(image[y, x, 0] >> 5) << 6 | (image[y, x, 1] >> 5) << 3 | image[y, x, 2] >> 5] += 1
        out[i] = counts
    return out.reshape(-1, 8, 8, 8)


@numba.njit(boundscheck=False, fastmath=True, inline="always")
def _lab_f(t: float) -> float:
    return t ** np.float32(1 / 3) if t > np.float32(0.008856) else np.float32(7.787) * t + np.float32(4 / 29)


@numba.njit(parallel=True, boundscheck=False, fastmath=True)
def numba_lab(images: Bytes, linear: npt.NDArray[np.float32], matrix: npt.NDArray[np.float32], bins: int) -> Counts:
    """With the sRGB curve as a table of its 256 values."""
    out = np.empty((len(images), 3, bins), np.int32)
    scale_l, scale_ab, middle = np.float32(bins / 100), np.float32(bins / 220), np.float32(bins / 2)
    for i in numba.prange(len(images)):
        image = images[i]
        counts = np.zeros((3, bins), np.int32)
        for y in range(image.shape[0]):
            for x in range(image.shape[1]):
                r, g, b = linear[image[y, x, 0]], linear[image[y, x, 1]], linear[image[y, x, 2]]
                fx = _lab_f(matrix[0, 0] * r + matrix[0, 1] * g + matrix[0, 2] * b)
                fy = _lab_f(matrix[1, 0] * r + matrix[1, 1] * g + matrix[1, 2] * b)
                fz = _lab_f(matrix[2, 0] * r + matrix[2, 1] * g + matrix[2, 2] * b)
                lightness = np.float32(116) * fy - np.float32(16)
                counts[0, min(max(int(lightness * scale_l), 0), bins - 1)] += 1
                counts[1, int((fx - fy) * (np.float32(500) * scale_ab) + middle)] += 1
                counts[2, int((fy - fz) * (np.float32(200) * scale_ab) + middle)] += 1
        out[i] = counts
    return out


def _lab_tables() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    v = np.arange(256) / 255.0
    linear = np.where(v > 0.04045, ((v + 0.055) / 1.055) ** 2.4, v / 12.92)
    rows = [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
    matrix = np.array(rows) / np.array([[0.95047], [1.0], [1.08883]])
    return linear.astype(np.float32), matrix.astype(np.float32)


def with_numba(job: Job, images: Bytes) -> Counts:
    if job.joint:
        return numba_joint(images)
    return numba_channels(images, job.bins) if job.space == "rgb" else numba_lab(images, *_lab_tables(), job.bins)


# ---- OpenCV and NumPy, image by image --------------------------------------------------------------------------------


def with_opencv(job: Job, image: Bytes) -> Counts:
    if job.joint:
        return np.asarray(cv2.calcHist([image], [0, 1, 2], None, [job.bins] * 3, [0, 256] * 3))
    planes: Any = image
    limits = [[0.0, 256.0]] * 3
    if job.space == "lab":
        planes = cv2.cvtColor(image.astype(np.float32) * np.float32(1 / 255), cv2.COLOR_RGB2Lab)
        limits = [[low, high] for low, high in zip(LAB_LOW, (100.001, *LAB_HIGH[1:]), strict=True)]
    return np.stack([cv2.calcHist([planes], [c], None, [job.bins], limits[c]).ravel() for c in range(3)])


def with_numpy(job: Job, image: Bytes) -> Counts:
    if job.joint:
        levels = image >> 5
        cells = levels[..., 0].astype(np.int16) << 6 | levels[..., 1].astype(np.int16) << 3 | levels[..., 2]
        return np.bincount(cells.ravel(), minlength=512).reshape(8, 8, 8)
    shift = 8 - (job.bins - 1).bit_length()
    return np.stack([np.bincount(image[..., c].ravel() >> shift, minlength=job.bins) for c in range(3)])


def contestants(job: Job, images: Bytes, pool: ThreadPool | None) -> dict[str, Callable[[], Any]]:
    ours = torch.from_numpy(images)
    planar = ours.permute(0, 3, 1, 2).contiguous()
    options: dict[str, Any] = {"bins": job.bins, "space": job.space, "joint": job.joint}

    def native(given: torch.Tensor = ours, backend: Any = "native") -> torch.Tensor:
        layout: Any = "NCHW" if given is planar else "NHWC"
        return ops.color_histogram(given, layout=layout, backend=backend, **options).counts

    def with_isa(isa: str) -> torch.Tensor:
        with cpu_isa(isa):
            return native()

    def one_by_one(run: Callable[[Job, Bytes], Counts]) -> Counts:
        each = partial(run, job)
        return np.stack([each(x) for x in images] if pool is None else pool.map(each, images, chunksize=8))

    runs: dict[str, Callable[[], Any]] = {
        "iuscore": native,
        "iuscore NCHW": partial(native, planar),
        "iuscore torch": partial(native, ours, "torch"),
        "numba": lambda: with_numba(job, images),
        "opencv": lambda: one_by_one(with_opencv),
    }
    if job.space == "rgb":
        runs["numpy"] = lambda: one_by_one(with_numpy)
    runs.update({f"iuscore {isa}": partial(with_isa, isa) for isa in available_isas()[:-1]})
    return runs


def check(job: Job, runs: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Largest share of an image's pixels that a peer counts in another bin than iuscore."""
    expected = np.asarray(runs["iuscore"]()).astype(np.int64)
    found = {}
    for name, run in runs.items():
        away = np.abs(np.asarray(run()).astype(np.int64).reshape(expected.shape) - expected)
        share = float(away.reshape(len(expected), 1 if job.joint else 3, -1).sum(2).max()) / (2 * SIDE * SIDE)
        if share > (0.0 if name.startswith("iuscore") else job.allowed):
            raise SystemExit(f"{job.name}: {name} puts {share:.2%} of an image's pixels into other bins")
        found[name] = float(f"{share:.2g}")
    return found


def run_case(job: Job, content: str, threads: int, *, count: int, **options: Any) -> dict[str, Any]:
    images = make_content(content, count)
    harness.use_threads(threads)
    cv2.setNumThreads(1)  # OpenCV has no threads for this; with two threads, each processes whole images
    name = f"{job.name}, {content}"
    pool = ThreadPool(threads) if threads > 1 else None
    try:
        runs = contestants(job, images, pool)
        return harness.run_case(name, threads, runs, items=count, differences=check(job, runs), **options)
    finally:
        if pool is not None:
            pool.terminate()


def cases(**options: Any) -> list[dict[str, Any]]:
    contents = ("medical", "noise")
    return [run_case(job, content, t, **options) for t in (1, 2) for job in JOBS for content in contents]


def main() -> None:
    harness.main(
        __doc__,
        "color_histogram",
        "color histograms, 128x128 uint8 images",
        ("torch", "numpy", "numba", "opencv-python-headless"),
        cases,
        usual={"count": 256, "repetitions": 9, "seconds": 0.1},
        quick={"count": 8, "repetitions": 2, "seconds": 0.01},
    )


if __name__ == "__main__":
    main()
