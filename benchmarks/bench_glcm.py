"""Co-occurrence matrices and their features: images per second of iuscore, scikit-image, OpenCV, mahotas and numba.

128 x 128 pixels that are gray levels already, distance 1, four angles. The results of the peers are compared with ours
before anything is timed.

    python benchmarks/bench_glcm.py           # minutes; writes benchmarks/results/glcm.json
    python benchmarks/bench_glcm.py --quick   # seconds; writes nothing
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from multiprocessing.pool import ThreadPool
from typing import Any, Literal

import _glcm_peers as peers
import _harness as harness
import cv2
import numpy as np
import torch

from iuscore import ops

Job = Literal["counts", "ten properties", "thirteen features"]
SIDE = 128
TOLERANCE = 1e-9  # for features, relative to max(1, |value|); counts must be equal


def contestants(images: peers.Bytes, levels: int, job: Job, pool: ThreadPool | None) -> dict[str, Callable[[], Any]]:
    ours = torch.from_numpy(images)[..., None]
    options: dict[str, Any] = {"levels": levels, "quantize": "levels", "layout": "NHWC"}

    def run(backend: Any = "native", dtype: torch.dtype = torch.float64) -> Any:
        if job == "counts":
            return ops.glcm(ours, backend=backend, **options)[:, 0].numpy()
        preset: Any = "skimage" if job == "ten properties" else "mahotas"
        values = ops.glcm_features(ours, preset=preset, symmetric=True, dtype=dtype, backend=backend, **options).values
        return values[:, 0].numpy()

    def with_isa(isa: str) -> Any:
        with harness.cpu_isa(isa):
            return run()

    def each(function: Callable[[peers.Bytes], Any]) -> Any:
        if pool is None:
            return np.stack([function(image) for image in images])
        return np.stack(pool.map(function, images, chunksize=max(1, len(images) // 8)))

    runs: dict[str, Callable[[], Any]] = {"iuscore": run, "iuscore torch": partial(run, "torch")}
    runs.update({f"iuscore {isa}": partial(with_isa, isa) for isa in harness.available_isas()[:-1]})
    if job == "counts":
        runs["scikit-image"] = partial(each, partial(peers.skimage_counts, levels=levels))
        runs["opencv"] = partial(each, partial(peers.opencv_counts, levels=levels))
        runs["numba"] = partial(peers.numba_counts, images, levels)
    elif job == "ten properties":
        runs["scikit-image"] = partial(each, partial(peers.skimage_features, levels=levels))
        runs["numba"] = partial(peers.numba_features, images, levels)
    else:
        runs["mahotas"] = partial(each, peers.mahotas_features)
    return runs


def check(runs: dict[str, Callable[[], Any]], job: Job) -> dict[str, float]:
    """Largest difference of each contestant from ours."""
    expected = np.asarray(runs["iuscore"](), np.float64)
    differences = {}
    for name, run in runs.items():
        got = np.asarray(run(), np.float64)
        worst = float((np.abs(got - expected) / np.maximum(1.0, np.abs(expected))).max())
        if worst > (0.0 if job == "counts" else TOLERANCE):
            raise SystemExit(f"{name}: {job} differ from ours by {worst:.2g}")
        differences[name] = float(f"{worst:.2g}")
    return differences


def run_case(job: Job, levels: int, content: str, threads: int, *, count: int, **options: Any) -> dict[str, Any]:
    images = peers.level_images(count, SIDE, levels, content)
    harness.use_threads(threads)
    cv2.setNumThreads(1)  # images are too small to divide; with two threads, each processes whole images
    name = f"{job}, {levels} levels, {content}"
    pool = ThreadPool(threads) if threads > 1 else None
    try:
        runs = contestants(images, levels, job, pool)
        return harness.run_case(name, threads, runs, items=count, differences=check(runs, job), **options)
    finally:
        if pool is not None:
            pool.terminate()


CASES: tuple[tuple[Job, int, str], ...] = (
    ("counts", 32, "smooth"),
    ("counts", 32, "black"),
    ("ten properties", 32, "smooth"),
    ("ten properties", 32, "black"),
    ("ten properties", 32, "noise"),
    ("ten properties", 256, "smooth"),
    ("ten properties", 256, "noise"),
    ("thirteen features", 256, "smooth"),
)


def cases(**options: Any) -> list[dict[str, Any]]:
    return [run_case(job, levels, content, t, **options) for t in (1, 2) for job, levels, content in CASES]


def main() -> None:
    harness.main(
        __doc__,
        "glcm",
        "co-occurrence matrices and features, 128 x 128 levels in, distance 1, four angles",
        ("torch", "numpy", "scikit-image", "opencv-python-headless", "mahotas", "numba"),
        cases,
        usual={"count": 64, "repetitions": 7, "seconds": 0.15},
        quick={"count": 4, "repetitions": 2, "seconds": 0.01},
    )


if __name__ == "__main__":
    main()
