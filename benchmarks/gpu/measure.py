"""Times every op on one GPU: the kernel, the torch implementation, and how far both are from the floor of cases.py.

Times are CUDA events around several calls, medians of samples with their spread, after a warm-up, over inputs that
together do not fit into the L2 cache. Started by run.py.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import small
import torch
from calls import DIFFERENT_IMAGES, bits, call, calls_of, make_inputs, same_bits, tensors_of
from cases import Case, Gpu, cases, floor, work

from iuscore.ops import _backend

Spread = dict[str, float]
Timer = Callable[[list[Callable[[], object]], int], Spread]
DEVICE = torch.device("cuda", 0)
MEMORY_SHARE = 0.45  # of the free memory, for inputs and outputs of one case
SAMPLE_MS = 4.0
SAMPLES = 11
TORCH_SAMPLES = 3
LARGEST_TORCH_BATCH = 1024  # its intermediates take up to a hundred times the images' memory
MOST_SETS = 16
COPY_BYTES = 1 << 30
# Of the memory of known GPUs, bytes a second; of others the copy that is measured.
BANDWIDTH = {"H200": 4.8e12, "H100": 3.35e12, "A100": 2.0e12}


@dataclass(frozen=True)
class Place:
    """Where cases run and how they are timed."""

    device: torch.device
    timer: Timer
    gpu: Gpu
    free_bytes: Callable[[], int]
    l2_bytes: int


def on_events(calls: list[Callable[[], object]], samples: int) -> Spread:
    """Milliseconds of one call, taking turns through ``calls``: median, quartiles and extremes of samples."""
    for one in calls[:2]:
        one()
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
    return spread([timed(repeats) for _ in range(samples)], repeats * samples)


def spread(times: list[float], calls: int) -> Spread:
    low, middle, high = statistics.quantiles(times, n=4)
    return {"median": middle, "q1": low, "q3": high, "min": min(times), "max": max(times), "calls": calls}


def copy_bandwidth(device: torch.device, timer: Timer, size: int = COPY_BYTES) -> float:
    """Bytes a second, read plus written, of a copy within the device's memory."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / (timer([functools.partial(target.copy_, source)], SAMPLES)["median"] * 1e-3)


def gpu_of(device: torch.device, measured: float) -> Gpu:
    properties = torch.cuda.get_device_properties(device)
    known = [bandwidth for name, bandwidth in BANDWIDTH.items() if name in properties.name]
    clock = 1e3 * getattr(properties, "clock_rate", 0) or 1.98e9
    return Gpu(properties.name, known[0] if known else measured, properties.multi_processor_count, clock)


def with_block_width(op: str, threads: int) -> Callable[[], None]:
    """Makes the launcher of the op use ``threads`` threads a block; returns how to undo it."""
    if not threads:
        return lambda: None
    module, why = _backend.extension("_cuda")
    if module is None:
        raise RuntimeError(why)
    original = getattr(module, op)
    setattr(module, op, functools.partial(original, threads=threads))
    return lambda: setattr(module, op, original)


def captured(one: Callable[[], object]) -> Callable[[], object]:
    """Replays a CUDA graph of the call."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        one()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        one()
    return graph.replay


def measure(case: Case, place: Place) -> dict[str, Any]:
    """One row of the results."""
    row: dict[str, Any] = asdict(case) | {"input_bytes": case.input_bytes}
    needed = case.batch * work(case).bytes
    allowed = int(MEMORY_SHARE * place.free_bytes())
    if needed > allowed:
        return row | {"skipped": f"needs {needed:,} bytes, {allowed:,} may be used"}
    sets = max(1, min(MOST_SETS, -(-4 * place.l2_bytes // (case.batch * case.input_bytes)), allowed // (needed or 1)))
    inputs = [make_inputs(case, case.batch, place.device) for _ in range(sets)]
    few = inputs[0][:3]
    expected = call(case, few.cpu(), "native")
    undo = with_block_width(case.op, case.threads)
    try:
        row["equals_cpu"] = same_bits(call(case, few, "native"), expected)
        if not case.options.get("gradients"):  # which are of all rows together
            row["equals_cpu"] &= begins_and_repeats(call(case, inputs[0], "native"), expected, case)
        calls = calls_of(case, inputs, "native")
        native = place.timer([captured(one) for one in calls] if case.graph else calls, SAMPLES)
    finally:
        undo()
    least = floor(case, place.gpu)
    row |= least | {
        "sets": sets,
        "native_ms": native,
        "items_per_s": case.batch / native["median"] * 1e3,
        "share_of_floor": least["floor_ms"] / native["median"],
    }
    if not case.torch:
        return row
    try:
        return row | _torch(case, inputs, place, row["items_per_s"])
    except Exception as error:  # the memory of PyTorch's form is no fault of the kernel
        return row | {"torch_error": f"{type(error).__name__}: {error}"[:300]}


def begins_and_repeats(result: Any, expected: Any, case: Case) -> bool:
    """Whether a batch's results begin with ``expected`` and come again as its images do (`DIFFERENT_IMAGES`)."""
    for whole, few in zip(tensors_of(result), tensors_of(expected), strict=True):
        if not same_bits(whole[: len(few)], few):
            return False
        first = whole[:DIFFERENT_IMAGES]
        for some in whole[DIFFERENT_IMAGES:].split(DIFFERENT_IMAGES) if case.side else ():
            if not torch.equal(bits(some), bits(first[: len(some)])):
                return False
    return True


def _torch(case: Case, inputs: list[torch.Tensor], place: Place, items_per_s: float) -> dict[str, Any]:
    count = min(case.batch, LARGEST_TORCH_BATCH)
    taken = place.timer(calls_of(case, [x[:count] for x in inputs[:4]], "torch"), TORCH_SAMPLES)
    rate = count / taken["median"] * 1e3
    return {"torch_ms": taken, "torch_batch": count, "torch_items_per_s": rate, "times_torch": items_per_s / rate}


def measure_all(
    todo: Iterable[Case],
    place: Place,
    deadline: float,
    write: Callable[[dict[str, Any]], None],
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Measures case after case, writing after each; whether all that ran succeeded.

    What is not begun by the deadline is listed as left out; cases come in an order that makes these the largest.
    """
    rows: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    good = True
    for case in todo:
        if clock() > deadline:
            left_out.append(asdict(case))
            continue
        try:
            row = measure(case, place)
            good &= row.get("equals_cpu", True)
        except Exception as error:  # one case's memory or one failing launch is not the others'
            row = asdict(case) | {"error": f"{type(error).__name__}: {error}"[:500]}
            good = False
        if place.device.type == "cuda":
            torch.cuda.empty_cache()
        rows.append(row)
        write({"gpu": asdict(place.gpu), "rows": rows, "left_out": []})
        keys = ("op", "side", "batch", "content", "items_per_s", "share_of_floor", "times_torch", "skipped", "error")
        print(json.dumps({key: row[key] for key in keys if key in row}), flush=True)
    write({"gpu": asdict(place.gpu), "rows": rows, "left_out": left_out})
    if left_out:
        print(f"out of time: {len(left_out)} cases, the largest, were left out")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--out", type=Path, help="the .json file to write")
    group.add_argument("--small", action="store_true", help="launch every kernel a few times and measure nothing")
    parser.add_argument("--seconds", type=float, default=130.0, help="no case is begun later than this")
    options = parser.parse_args()
    if options.small:
        return small.run(DEVICE)
    deadline = time.monotonic() + options.seconds
    torch.manual_seed(0)
    copied = copy_bandwidth(DEVICE, on_events)
    l2 = int(getattr(torch.cuda.get_device_properties(DEVICE), "L2_cache_size", 64 << 20))
    place = Place(DEVICE, on_events, gpu_of(DEVICE, copied), lambda: int(torch.cuda.mem_get_info()[0]), l2)

    def write(content: dict[str, Any]) -> None:
        options.out.write_text(json.dumps({"copy_bytes_per_s": copied, **content}, indent=1) + "\n")

    return 0 if measure_all(cases(), place, deadline, write) else 1


if __name__ == "__main__":
    sys.exit(main())
