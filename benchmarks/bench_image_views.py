"""The views of an image, uint8 in, rows out: iuscore against PyTorch's convolutions, beside the texture features.

No library has these views. The strongest peer is a few lines of PyTorch: area averages, one convolution for the
products with all patches, box sums for means and variances, average pooling for the quarters. Its results are compared
with ours before anything is timed. "texture features" is what `texture_features` of the same images takes alone, and
"all three views" what it takes together with thumbnails and patch responses.

    python benchmarks/bench_image_views.py           # minutes; writes benchmarks/results/image_views.json
    python benchmarks/bench_image_views.py --quick   # seconds; writes nothing
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import _harness as harness
import torch
import torch.nn.functional as F
from bench_perceptual_maps import make_images
from torch import Tensor

from iuscore import ops
from iuscore.features import texture_features

SIDE = 128
Filters = tuple[Tensor, Tensor]


def peer(images: Tensor, weights: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Bytes [B, H, W, C] -> thumbnails and responses. Sides of 128 need no adaptive windows."""
    levels = images.permute(0, 3, 1, 2).float()
    channels = levels.shape[1]
    small = F.avg_pool2d(levels, SIDE // 32)
    thumb = F.avg_pool2d(small, 4).flatten(1)
    n = 36 * channels
    mean = F.avg_pool2d(small.sum(1, keepdim=True), 6, 1) * (36 / n)
    variance = F.avg_pool2d(small.square().sum(1, keepdim=True), 6, 1) * (36 / n) - mean.square()
    windows = weights.t().unflatten(1, (channels, 6, 6))
    sums = F.conv2d(small - 128.0, windows) - (mean - 128.0) * windows.sum((1, 2, 3)).view(1, -1, 1, 1)
    answers = sums * (variance + 10.0).rsqrt() + bias.view(1, -1, 1, 1)
    signs = torch.cat([F.relu(answers - 0.5), F.relu(-answers - 0.5)], 1)
    return thumb, F.avg_pool2d(signs, 14, 13).clamp(min=0).sqrt().flatten(1)


def contestants(images: Tensor, filters: Filters) -> dict[str, Callable[[], Any]]:
    kind: Any = "color" if images.shape[3] == 3 else "gray"

    def views(backend: Any = "native") -> ops.ImageViews:
        return ops.image_views(images, *filters, kind=kind, layout="NHWC", backend=backend)

    def texture() -> Tensor:
        return texture_features(images, kind=kind, size=None, layout="NHWC")

    def with_isa(isa: str) -> ops.ImageViews:
        with harness.cpu_isa(isa):
            return views()

    runs: dict[str, Callable[[], Any]] = {
        "iuscore": views,
        "iuscore torch": lambda: views("torch"),
        "torch convolutions": lambda: peer(images, *filters),
        "iuscore texture features": texture,
        "iuscore all three views": lambda: (views(), texture()),
    }
    # Without fused multiplication the plain kernels serve tests alone.
    runs.update({f"iuscore {isa}": partial(with_isa, isa) for isa in harness.available_isas()[1:-1]})
    return runs


def check(runs: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Largest difference of the peer from ours: of thumbnails, and of squared responses."""
    ours, theirs = runs["iuscore"](), runs["torch convolutions"]()
    found = {
        "thumb": float((ours.thumb - theirs[0]).abs().max()),
        "patch, squared": float((ours.patch.square() - theirs[1].square()).abs().max()),
    }
    # Means and squares of pixels less 128 or not at all lose digits that ours keep.
    for name, limit in {"thumb": 1e-4, "patch, squared": 1e-2}.items():
        if not found[name] <= limit:
            raise SystemExit(f"{name}: the peer differs from ours by {found[name]}, allowed {limit}")
    return {name: float(f"{value:.2g}") for name, value in found.items()}


def run_case(channels: int, threads: int, *, count: int, **options: Any) -> dict[str, Any]:
    images = torch.from_numpy(make_images(count, SIDE, channels))
    drawn = torch.randn(36 * channels + 1, 64, generator=torch.Generator().manual_seed(0)) * 0.3
    harness.use_threads(threads)
    runs = contestants(images, (drawn[:-1], drawn[-1]))
    name = f"{SIDE}x{SIDE}, {'color' if channels == 3 else 'gray'}"
    with torch.inference_mode():
        return harness.run_case(name, threads, runs, items=count, differences=check(runs), **options)


def cases(**options: Any) -> list[dict[str, Any]]:
    return [run_case(channels, threads, **options) for threads in (1, 2) for channels in (3, 1)]


def main() -> None:
    harness.main(
        __doc__,
        "image_views",
        "thumbnails of 8x8 pixels and responses of 64 filters in four quarters",
        ("torch", "numpy"),
        cases,
        usual={"count": 64, "repetitions": 9, "seconds": 0.3},
        quick={"count": 4, "repetitions": 2, "seconds": 0.01},
    )


if __name__ == "__main__":
    main()
