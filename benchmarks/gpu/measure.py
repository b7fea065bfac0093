"""Times perceptual_maps on one GPU: the kernel, the torch implementation and the floor. Started by run.py.

Times are CUDA events around several calls, medians of samples with their spread, after a warm-up, over inputs that
together do not fit into the L2 cache. The floor is the time the GPU needs to move each input byte in and each output
byte out once, at the bandwidth of a large copy measured in the same process.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from iuscore import ops
from iuscore.ops import _backend

Content = Literal["noise", "medical", "constant"]
DEVICE = torch.device("cuda", 0)
MEMORY_SHARE = 0.4  # of the free memory, for inputs and outputs of one case
SAMPLE_MS = 4.0
LARGEST_TORCH_BATCH = 1024  # its intermediates take about thirty times the maps' memory


@dataclass(frozen=True)
class Case:
    side: int = 224
    map_side: int = 128
    batch: int = 4096
    kind: Literal["color", "gray"] = "color"
    mode: Literal["clean", "paper"] = "clean"
    content: Content = "noise"
    dtype: str = "bfloat16"
    threads: int = 0  # of a block; 0: the launcher's choice
    graph: bool = False  # replay a CUDA graph instead of calling from Python
    torch: bool = False  # time the torch implementation too

    @property
    def channels(self) -> int:
        return 3 if self.kind == "color" else 1

    @property
    def image_bytes(self) -> int:
        return self.side * self.side * self.channels

    @property
    def bytes_per_image(self) -> int:
        width = 4 if self.dtype == "float32" else 2
        return self.image_bytes + 4 * self.map_side**2 * width + 16


def cases() -> Iterator[Case]:
    """What matters most comes first: time may run out."""
    shapes = ((224, 128), (128, 128), (512, 128), (224, 224), (512, 512))
    for kind in ("color", "gray"):
        for side, map_side in shapes:
            batch = 4096 if map_side < 512 else 512
            yield Case(side, map_side, batch, kind, torch=True)
    for batch in (1, 16, 256, 65536):
        yield Case(batch=batch, torch=batch == 256)
    for batch in (1, 16, 256):
        yield Case(batch=batch, graph=True)
    for mode, dtype in (("paper", "bfloat16"), ("clean", "float32")):
        yield Case(mode=mode, dtype=dtype)
    for threads in (128, 256, 384, 512, 768):
        yield Case(threads=threads)
        yield Case(128, 128, threads=threads)
    for content in ("medical", "constant"):
        for kind in ("color", "gray"):
            for side, map_side in shapes[:3]:
                yield Case(side, map_side, 4096, kind, content=content)


def make_images(case: Case, batch: int) -> Tensor:
    """[batch, side, side, C] uint8 on the GPU."""
    shape = (batch, case.side, case.side, case.channels)
    if case.content == "constant":
        return torch.full(shape, 77, dtype=torch.uint8, device=DEVICE)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, device=DEVICE)
    if case.content == "medical":
        # A field of view that is 55 % of the picture: the rest is black, as around endoscopic images.
        axis = torch.arange(case.side, device=DEVICE) - (case.side - 1) / 2
        inside = axis[:, None] ** 2 + axis[None, :] ** 2 <= 0.55 * case.side**2 / torch.pi
        images *= inside[None, :, :, None]
    return images


def maps_of(images: Tensor, case: Case, backend: Literal["native", "torch"]) -> Tensor:
    return ops.perceptual_maps(
        images,
        kind=case.kind,
        mode=case.mode,
        size=(case.map_side, case.map_side),
        dtype=getattr(torch, case.dtype),
        layout="NHWC",
        backend=backend,
    )


def milliseconds(calls: list[Callable[[], object]], samples: int) -> dict[str, float]:
    """Median, quartiles and extremes of one call, taking turns through ``calls``."""
    for call in calls[:2]:
        call()
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def timed(repeats: int) -> float:
        start.record()
        for i in range(repeats):
            calls[i % len(calls)]()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / repeats

    once = timed(len(calls))
    repeats = max(len(calls), min(2000, int(SAMPLE_MS / max(once, 1e-3)) + 1))
    times = sorted(timed(repeats) for _ in range(samples))
    low, middle, high = statistics.quantiles(times, n=4)
    return {"median": middle, "q1": low, "q3": high, "min": times[0], "max": times[-1], "calls": repeats * samples}


def copy_bandwidth() -> dict[str, float]:
    """Bytes a second, read plus written, of a device-to-device copy of 1 GiB."""
    source = torch.randint(0, 256, (1 << 30,), dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    taken = milliseconds([functools.partial(target.copy_, source)], 15)
    return {key: 2 * source.numel() / (taken[key] * 1e-3) for key in ("median", "min", "max")}


def with_block_width(threads: int) -> Callable[[], None]:
    """Makes the launcher use ``threads`` threads a block; returns how to undo it."""
    module, why = _backend.extension("_cuda")
    if module is None:
        raise RuntimeError(why)
    original = module.perceptual_maps
    if threads:
        module.perceptual_maps = functools.partial(original, threads=threads)
    return lambda: setattr(module, "perceptual_maps", original)


def captured(call: Callable[[], object]) -> Callable[[], object]:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def time_case(case: Case, bandwidth: float) -> dict[str, Any]:
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    batch = max(1, min(case.batch, int(MEMORY_SHARE * free / case.bytes_per_image)))
    l2 = getattr(torch.cuda.get_device_properties(DEVICE), "L2_cache_size", 64 << 20)
    sets = max(1, min(64, -(-4 * l2 // (batch * case.image_bytes))))
    inputs = [make_images(case, batch) for _ in range(sets)]
    few = inputs[0][:3]
    expected = maps_of(few.cpu(), case, "native")
    undo = with_block_width(case.threads)
    try:
        equal = torch.equal(maps_of(few, case, "native").cpu().view(torch.uint8), expected.view(torch.uint8))
        calls: list[Callable[[], object]] = [functools.partial(maps_of, x, case, "native") for x in inputs]
        if case.graph:
            calls = [captured(call) for call in calls[:8]]
        native = milliseconds(calls, 15)
    finally:
        undo()
    floor = batch * case.bytes_per_image / bandwidth * 1e3
    row: dict[str, Any] = {
        **asdict(case), "batch": batch, "sets": len(calls), "equals_cpu": equal, "native_ms": native,
        "floor_ms": floor, "over_floor": native["median"] / floor, "images_per_s": batch / native["median"] * 1e3,
    }  # fmt: skip
    if case.torch:
        count = min(batch, LARGEST_TORCH_BATCH)
        calls = [functools.partial(maps_of, x[:count], case, "torch") for x in inputs]
        row["torch_ms"] = milliseconds(calls[:4], 5)
        row["torch_batch"] = count
        row["torch_images_per_s"] = count / row["torch_ms"]["median"] * 1e3
        row["times_torch"] = row["images_per_s"] / row["torch_images_per_s"]
    return row


def small() -> None:
    """A few launches of every kind, for compute-sanitizer: inputs made on the CPU, so that little else runs."""
    generator = torch.Generator().manual_seed(0)
    for kind, channels in (("color", 3), ("color", 1), ("gray", 3)):
        for mode in ("clean", "paper"):
            for side in (8, 13):
                images = torch.randint(0, 256, (3, side, side + 3, channels), dtype=torch.uint8, generator=generator)
                for pixels in (images, images / 255.0):
                    options: dict[str, Any] = {"kind": kind, "mode": mode, "size": (8, 12), "layout": "NHWC"}
                    ops.perceptual_maps(pixels.to(DEVICE), backend="native", **options)
                    ragged = [pixels[0].to(DEVICE), pixels[1, :5].to(DEVICE)]
                    ops.perceptual_maps(ragged, backend="native", **options)
    wide = torch.randint(0, 256, (2, 9, 40, 3), dtype=torch.uint8, generator=generator)
    ops.perceptual_maps(wide.to(DEVICE), mode="paper", size=(160, 160), backend="native")  # planes in the workspace
    torch.cuda.synchronize()
    print("small cases done")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seconds", type=float, default=100.0, help="no case is started later than this")
    parser.add_argument("--small", action="store_true", help="launch a few small cases and measure nothing")
    options = parser.parse_args()
    if options.small:
        small()
        return 0
    deadline = time.monotonic() + options.seconds
    torch.manual_seed(0)
    bandwidth = copy_bandwidth()
    rows: list[dict[str, Any]] = []
    left_out = 0
    failed = False
    for case in cases():
        if time.monotonic() > deadline:
            left_out += 1
            continue
        try:
            rows.append(time_case(case, bandwidth["median"]))
            failed |= not rows[-1]["equals_cpu"]
        except Exception as error:  # one case's memory or one failing launch is not the others'
            rows.append({**asdict(case), "error": f"{type(error).__name__}: {error}"[:500]})
            failed = True
        content = {"copy_bytes_per_s": bandwidth, "perceptual_maps": rows, "cases_left_out": left_out}
        options.out.write_text(json.dumps(content, indent=1) + "\n")
        print(json.dumps({k: rows[-1].get(k) for k in ("side", "map_side", "kind", "batch", "images_per_s", "error")}))
    content = {"copy_bytes_per_s": bandwidth, "perceptual_maps": rows, "cases_left_out": left_out}
    options.out.write_text(json.dumps(content, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
