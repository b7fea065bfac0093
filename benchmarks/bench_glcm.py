"""Co-occurrence matrices and their features: images a second of iuscore, scikit-image, OpenCV, mahotas and numba.

128 x 128 pixels that are gray levels already, distance 1, four angles. What the peers compute is compared with ours
before anything is timed.

    python benchmarks/bench_glcm.py           # minutes; writes benchmarks/results/glcm.json
    python benchmarks/bench_glcm.py --quick   # seconds; writes nothing
"""

from __future__ import annotations

import argparse
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
TOLERANCE = 1e-9  # of features, relative to 1 or the value; counts are equal


def contestants(images: peers.Bytes, levels: int, job: Job, pool: ThreadPool | None) -> dict[str, Callable[[], Any]]:
    ours = torch.from_numpy(images)[..., None]
    options: dict[str, Any] = {"levels": levels, "quantize": "levels", "layout": "NHWC"}

    def run(backend: Any = "native", dtype: torch.dtype = torch.float64) -> Any:
        if job == "counts":
            return ops.glcm(ours, backend=backend, **options)[:, 0].numpy()
        preset: Any = "skimage" if job == "ten properties" else "mahotas"
        values = ops.glcm_features(ours, preset=preset, symmetric=True, dtype=dtype, backend=backend, **options).values
        return values[:, 0].numpy()

    def in_zone(zone: str) -> Any:
        with harness.cpu_zone(zone):
            return run()

    def each(function: Callable[[peers.Bytes], Any]) -> Any:
        if pool is None:
            return np.stack([function(image) for image in images])
        return np.stack(pool.map(function, images, chunksize=max(1, len(images) // 8)))

    runs: dict[str, Callable[[], Any]] = {"iuscore": run, "iuscore torch": partial(run, "torch")}
    runs.update({f"iuscore {zone}": partial(in_zone, zone) for zone in harness.available_zones()[:-1]})
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


def run_case(
    job: Job, levels: int, content: str, threads: int, *, count: int, repetitions: int, seconds: float
) -> dict[str, Any]:
    images = peers.level_images(count, SIDE, levels, content)
    harness.use_threads(threads)
    cv2.setNumThreads(1)  # images are too small to share; with two threads whole images are handed out instead
    pool = ThreadPool(threads) if threads > 1 else None
    try:
        runs = contestants(images, levels, job, pool)
        differences = check(runs, job)
        others = harness.OtherPrograms()
        rates = harness.measure(runs, items=count, repetitions=repetitions, seconds=seconds)
        other_cores = others.cores()
    finally:
        if pool is not None:
            pool.terminate()
    # One thread: by processor time, which other programs do not spoil. More: by the clock.
    which = "core_median" if threads == 1 else "wall_median"
    name = f"{job}, {levels} levels, {content}, {threads} thread{'s' if threads > 1 else ''}"
    case = harness.as_case(name, which, rates)
    ratios = case["iuscore_over"]
    # Threads that wait for each other stand still where another program has their core.
    disturbed = threads > 1 and (other_cores or 0.0) > 0.2
    print(f"\n{name}{f'; says little, others used {other_cores} cores' if disturbed else ''}")
    print(f"{'':22}{'images/s':>10}{'min':>9}{'max':>9}{'iuscore is':>13}")
    for who, rate in sorted(rates.items(), key=lambda item: ratios[item[0]]):
        middle, low, high = (getattr(rate, which.replace("median", part)) for part in ("median", "min", "max"))
        print(f"{who:22}{middle:10,.0f}{low:9,.0f}{high:9,.0f}{ratios[who]:11.2f} x")
    return {
        **case,
        "cores_used_by_other_programs": other_cores,
        "says_little": disturbed,
        "largest_difference_from_iuscore": differences,
    }


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few images and repetitions, nothing saved")
    parser.add_argument("--threads", type=int, choices=(1, 2), help="only this many; nothing saved")
    given = parser.parse_args()
    options: dict[str, Any] = {"count": 64, "repetitions": 7, "seconds": 0.15}
    if given.quick:
        options = {"count": 4, "repetitions": 2, "seconds": 0.01}
    threads = (given.threads,) if given.threads else (1, 2)
    cases = [run_case(job, levels, content, t, **options) for t in threads for job, levels, content in CASES]
    if given.quick or given.threads:
        return
    content = {
        "benchmark": "co-occurrence matrices and features, 128 x 128 levels in, distance 1, four angles",
        "core_build": harness.core_build(),
        "images_per_call": options["count"],
        "cases": cases,
    }
    packages = ("torch", "numpy", "scikit-image", "opencv-python-headless", "mahotas", "numba")
    print(f"\nwritten: {harness.save('glcm', content, packages).relative_to(harness.ROOT)}")


if __name__ == "__main__":
    main()
