"""8-bit images resized to half their size: images per second of iuscore, PyTorch, OpenCV and Pillow.

Before anything is timed, results are compared: PyTorch must give equal bytes, Pillow may differ by 2. OpenCV has no
bicubic resize with antialias; its users would use INTER_AREA, which is the mean of four pixels at this scale.

    python benchmarks/bench_resize.py           # minutes; writes benchmarks/results/resize.json
    python benchmarks/bench_resize.py --quick   # seconds; writes nothing
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import _harness as harness
import cv2
import numpy as np
import torch
from bench_perceptual_maps import make_images
from PIL import Image

from iuscore import ops

SIDE, OUT = 256, 128


def contestants(images: list[np.ndarray[Any, Any]]) -> dict[str, Callable[[], Any]]:
    ours = [torch.from_numpy(image) for image in images]
    pictures = [Image.fromarray(image if image.shape[2] == 3 else image[..., 0]) for image in images]

    def native(backend: Any = "native") -> torch.Tensor:
        return ops.resize(ours, (OUT, OUT), layout="NHWC", backend=backend)

    def with_isa(isa: str) -> torch.Tensor:
        with harness.cpu_isa(isa):
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
    runs.update({f"iuscore {isa}": partial(with_isa, isa) for isa in harness.available_isas()[:-1]})
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


def run_case(channels: int, threads: int, *, count: int, **options: Any) -> dict[str, Any]:
    images = list(make_images(count, SIDE, channels))
    harness.use_threads(threads)
    cv2.setNumThreads(threads)
    runs = contestants(images)
    name = f"{SIDE} -> {OUT}, {'color' if channels == 3 else 'gray'}"
    return harness.run_case(name, threads, runs, items=count, differences=check(runs), **options)


def cases(**options: Any) -> list[dict[str, Any]]:
    return [run_case(channels, threads, **options) for threads in (1, 2) for channels in (3, 1)]


def main() -> None:
    harness.main(
        __doc__,
        "resize",
        "resize of lists of 8-bit images, bicubic with antialias",
        ("torch", "numpy", "pillow", "opencv-python-headless"),
        cases,
        usual={"count": 64, "repetitions": 9, "seconds": 0.3},
        quick={"count": 4, "repetitions": 2, "seconds": 0.01},
    )


if __name__ == "__main__":
    main()
