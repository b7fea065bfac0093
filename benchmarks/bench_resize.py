"""Images of bytes at half their size: images a second of iuscore, PyTorch, OpenCV and Pillow.

PyTorch's results are compared with ours byte by byte before anything is timed, Pillow's within 2. OpenCV has no bicubic
form with antialias; INTER_AREA, the mean of four pixels at this scale, stands for what its users take instead.

    python benchmarks/bench_resize.py           # minutes; writes benchmarks/results/resize.json
    python benchmarks/bench_resize.py --quick   # seconds; writes nothing
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import _harness as harness
import cv2
import numpy as np
import torch
from bench_perceptual_maps import available_zones, cpu_zone, make_images
from PIL import Image

from iuscore import ops

SIDE, OUT = 256, 128


def contestants(images: list[np.ndarray[Any, Any]]) -> dict[str, Callable[[], Any]]:
    ours = [torch.from_numpy(image) for image in images]
    pictures = [Image.fromarray(image if image.shape[2] == 3 else image[..., 0]) for image in images]

    def native(backend: Any = "native") -> torch.Tensor:
        return ops.resize(ours, (OUT, OUT), layout="NHWC", backend=backend)

    def in_zone(zone: str) -> torch.Tensor:
        with cpu_zone(zone):
            return native()

    def pytorch() -> torch.Tensor:
        planes = torch.stack(ours).permute(0, 3, 1, 2)
        return torch.nn.functional.interpolate(planes, (OUT, OUT), mode="bicubic", antialias=True).permute(0, 2, 3, 1)

    def pillow() -> np.ndarray[Any, Any]:
        done = [np.asarray(one.resize((OUT, OUT), Image.Resampling.BICUBIC)) for one in pictures]
        return np.stack(done).reshape(len(done), OUT, OUT, -1)

    def opencv() -> np.ndarray[Any, Any]:
        return np.stack([cv2.resize(image, (OUT, OUT), interpolation=cv2.INTER_AREA) for image in images])

    runs: dict[str, Callable[[], Any]] = {
        "iuscore": native,
        "iuscore torch": lambda: native("torch"),
        "pytorch": pytorch,
        "pillow": pillow,
        "opencv, mean of four": opencv,
    }
    runs.update({f"iuscore {zone}": partial(in_zone, zone) for zone in available_zones()[:-1]})
    return runs


def check(runs: dict[str, Callable[[], Any]]) -> dict[str, int]:
    """Largest difference of a byte from ours."""
    expected = runs["iuscore"]().numpy().astype(int)
    found = {}
    for name, run in runs.items():
        if name.startswith("opencv"):
            continue
        found[name] = int(np.abs(np.asarray(run()).astype(int) - expected).max())
        if found[name] > (2 if name == "pillow" else 0):
            raise SystemExit(f"{name}: differs from ours by {found[name]}")
    return found


def run_case(channels: int, threads: int, *, count: int, repetitions: int, seconds: float) -> dict[str, Any]:
    images = list(make_images(count, SIDE, channels))
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    runs = contestants(images)
    differences = check(runs)
    others = harness.OtherPrograms()
    rates = harness.measure(runs, items=count, repetitions=repetitions, seconds=seconds)
    kind = "color" if channels == 3 else "gray"
    name = f"{SIDE} -> {OUT}, {kind}, {threads} thread{'s' if threads > 1 else ''}"
    case = harness.as_case(name, "core_median" if threads == 1 else "wall_median", rates)
    print(f"\n{case['case']}")
    for who, rate in rates.items():
        print(
            f"{who:26}{getattr(rate, case['ranked_by']):10,.0f} images/s, iuscore is {case['iuscore_over'][who]:.2f} x"
        )
    return {
        **case,
        "cores_used_by_other_programs": others.cores(),
        "largest_difference_from_iuscore": differences,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few images and repetitions, nothing saved")
    quick = parser.parse_args().quick
    options: dict[str, Any] = {"count": 64, "repetitions": 9, "seconds": 0.3}
    if quick:
        options = {"count": 4, "repetitions": 2, "seconds": 0.01}
    cases = [run_case(channels, threads, **options) for threads in (1, 2) for channels in (3, 1)]
    if quick:
        return
    content = {
        "benchmark": "resize of lists of 8-bit images, bicubic with antialias",
        "core_build": harness.core_build(),
        "images_per_call": options["count"],
        "cases": cases,
    }
    packages = ("torch", "numpy", "pillow", "opencv-python-headless")
    print(f"\nwritten: {harness.save('resize', content, packages).relative_to(harness.ROOT)}")


if __name__ == "__main__":
    main()
