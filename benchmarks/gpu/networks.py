"""EPU-CNN's forward pass on one GPU: iuscore beside torch.compile and eager PyTorch, and each step beside its floor.

The floor of a model is its arithmetic at RATE; of a step the longer of its arithmetic and of its bytes, each read once
and written once. Started by run.py; batches of random maps, times as in measure.py.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import sys
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from measure import DEVICE, SAMPLES, TORCH_SAMPLES, Timer, copy_bandwidth, gpu_of, on_events
from torch import Tensor, nn

from iuscore.models import EPUCNN
from iuscore.models.epu import PUBLISHED_SIZES, flops
from iuscore.ops._native import additive_cnn_cuda as _cuda

SIDE = 128
BATCH = 256
COMPARED = 2  # images
RATE = 790e12  # operations a second with 16-bit factors that a large matrix product reaches on an H200
GOALS = {"share_of_floor": 0.5, "times_compiled": 1.5}  # of base 64
OURS, EXACT = "iuscore, fast", "iuscore, exact"
OFF = {OURS: 1e-2, EXACT: 1e-4}  # the most that a contribution may differ from float32 on a CPU
FUSED = "cuDNN's with bias and ReLU"
COMPILED, EAGER = "torch.compile, bfloat16 autocast", "PyTorch, bfloat16 autocast"

Call = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Place:
    """Where the networks run and how they are timed."""

    device: torch.device
    timer: Timer
    bandwidth: float
    compiler: Callable[[nn.Module], Any] = torch.compile
    side: int = SIDE
    batch: int = BATCH
    largest_base: int = max(base for base, _ in PUBLISHED_SIZES)


class Plain(nn.Module):
    """The published form: one network after another, nothing else."""

    def __init__(self, model: EPUCNN) -> None:
        super().__init__()
        self.subnets = model.subnets

    def forward(self, maps: Tensor) -> Tensor:
        evidence = [net(maps[:, i : i + 1]) for i, net in enumerate(self.subnets)]
        return torch.tanh(torch.stack(evidence, dim=1))


@functools.lru_cache(maxsize=4)
def _model(base: int, hidden: int, side: int) -> EPUCNN:
    torch.manual_seed(0)
    model = EPUCNN(["a", "b"], size=(side, side), base_channels=base, hidden_units=hidden).requires_grad_(False)
    for weight in model.subnets.parameters():
        if weight.ndim > 1:
            weight.mul_(2.4)
    model.train()(torch.rand(2, *model.input_shape))
    return model.eval()


def model_of(base: int, hidden: int, side: int) -> EPUCNN:
    """Random weights, scaled so that the signal does not fade; statistics as of some training; on the CPU."""
    return copy.deepcopy(_model(base, hidden, side))


def contestants(model: EPUCNN, place: Place) -> dict[str, Call]:
    """Maps [B, 4, h, w] -> contributions [B, 4, 1]."""
    plain = Plain(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    compiled = place.compiler(plain)

    def cast(network: Call, maps: Tensor) -> Tensor:
        with torch.autocast(place.device.type, torch.bfloat16):
            return network(maps)

    return {
        OURS: functools.partial(model.contributions_of, precision="fast"),
        EXACT: functools.partial(model.contributions_of, precision="exact"),
        EAGER: functools.partial(cast, plain),
        COMPILED: functools.partial(cast, compiled),
    }


def measure(base: int, hidden: int, place: Place, which: Collection[str], rates: dict[str, Any]) -> None:
    """Adds the rates of some contestants on one model, and how far they are from float32 on a CPU."""
    model = model_of(base, hidden, place.side)
    floor = RATE / flops(model)
    sets = [torch.rand(place.batch, *model.input_shape, device=place.device) for _ in range(2)]
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, benchmark=True):
        expected = model.contributions_of(sets[0][:COMPARED].cpu())
        for who, network in contestants(model.to(place.device), place).items():
            if who not in which:
                continue
            try:
                # of the whole batch: another size would be compiled, too
                off = float((network(sets[0])[:COMPARED].float().cpu() - expected).abs().max())
                calls = [functools.partial(network, maps) for maps in sets]
                taken = place.timer(calls, SAMPLES if who == OURS else TORCH_SAMPLES)
                rate = place.batch / taken["median"] * 1e3
                rates[who] = {"ms": taken, "images_per_s": rate, "share_of_floor": rate / floor, "off": off}
            except Exception as error:  # one contestant's failure is not the others'
                rates[who] = {"error": f"{type(error).__name__}: {error}"[:500]}


def _steps(plan: Any, maps: Tensor) -> Iterator[tuple[str, Callable[[], object], float, float]]:
    """Of one slice: what, the call, bytes, operations. One network of G, but for the first and the last step."""
    groups, batch = maps.shape[1], len(maps)
    nonfinite = maps.new_zeros((groups, batch), dtype=torch.int32)
    values = _cuda._first(plan, maps, nonfinite)
    size = values.numel() * 2.0
    yield "first convolution", lambda: _cuda._first(plan, maps, nonfinite), 4 * maps.numel() + size, 0.0
    x = values[0]
    for layer in plan.layers[0]:
        planes = x.permute(0, 3, 1, 2)
        out, into = layer.kernels.shape[:2]
        what = f"{into} -> {out} at {x.shape[1]}"
        work = 2.0 * layer.kernels.numel() * planes[:, 0].numel()
        convolve = functools.partial(F.conv2d, planes, layer.kernels, padding=1)
        y = convolve()
        read, size = 2.0 * planes.numel(), 2.0 * y.numel()
        yield f"convolution {what}", convolve, read + size, work
        if maps.is_cuda:
            bias = F.pad(layer.bias, [0, out - len(layer.bias)]).half()
            fused = functools.partial(
                torch.cudnn_convolution_relu, planes, layer.kernels, bias, (1, 1), (1, 1), (1, 1), 1
            )
            yield f"{FUSED} {what}", fused, read + size, work
        values = y.permute(0, 2, 3, 1).contiguous()
        after = functools.partial(_cuda._epilogue, values, layer, nonfinite[0])
        pooled = layer.norm is not None
        yield f"{'pool' if pooled else 'rectify'} {what}", after, size * (1.25 if pooled else 2.0), 0.0
        x = after()
    features = x.new_zeros((groups, batch, plan.dense.shape[2]))
    work, read = 2.0 * batch * plan.dense.numel(), 2.0 * (features.numel() + plan.dense.numel())
    yield "linear layers", lambda: _cuda._heads(plan, features, nonfinite), read, work


def steps(base: int, hidden: int, place: Place) -> list[dict[str, Any]]:
    """Every step by itself."""
    model = model_of(base, hidden, place.side).to(place.device)
    plan = _cuda.plan_of(model.networks(), model.size)
    maps = torch.rand(min(place.batch, plan.max_images), *model.input_shape, device=place.device)
    rows = []
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, benchmark=True):
        for what, call, moved, work in _steps(plan, maps):
            row: dict[str, Any] = {"step": what, "images": len(maps), "bytes": moved, "operations": work}
            try:
                taken = place.timer([call], TORCH_SAMPLES)
                floor = 1e3 * max(moved / place.bandwidth, work / RATE)
                row |= {"ms": taken, "floor_ms": floor, "share_of_floor": floor / taken["median"]}
            except Exception as error:
                row["error"] = f"{type(error).__name__}: {error}"[:500]
            rows.append(row)
    return rows


def measure_all(place: Place, in_time: Callable[[], bool], write: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Everything, written after each part; what takes long to begin comes last, the larger model first."""
    sizes = [(base, hidden) for base, hidden in PUBLISHED_SIZES if base <= place.largest_base]
    models = [{"base": base, "side": place.side, "batch": place.batch, "rates": {}} for base, _ in sizes]
    content: dict[str, Any] = {"rate": RATE, "goals": GOALS, "models": models, "steps": [], "left_out": []}

    def part(what: str, work: Callable[[], object]) -> None:
        if in_time():
            work()
        else:
            content["left_out"].append(what)
        write(content)

    for which in ((OURS, EXACT, EAGER), (COMPILED,)):
        for (base, hidden), model in zip(sizes, models, strict=True):
            rates: Any = model["rates"]
            part(f"base {base}: {', '.join(which)}", functools.partial(measure, base, hidden, place, which, rates))
            ours, compiled = (rates.get(who, {}).get("images_per_s") for who in (OURS, COMPILED))
            model["times_compiled"] = ours / compiled if ours and compiled else None
        if not content["steps"]:
            part("steps", lambda: content["steps"].extend(steps(*sizes[0], place)))
    write(content)
    return content


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the .json file to write")
    parser.add_argument("--seconds", type=float, default=60.0, help="nothing is begun later than this")
    options = parser.parse_args()
    deadline = time.monotonic() + options.seconds
    place = Place(DEVICE, on_events, gpu_of(DEVICE, copy_bandwidth(DEVICE, on_events)).bandwidth)
    content = measure_all(place, lambda: time.monotonic() < deadline, lambda found: _write(options.out, found))
    return 0 if is_right(content) else 1


def is_right(content: dict[str, Any]) -> bool:
    """Whether everything of ours ran and is near float32 on a CPU; what a peer does is its own affair."""
    near = [
        model["rates"].get(who, {}).get("off", 1.0) <= most for model in content["models"] for who, most in OFF.items()
    ]
    return all(near) and not any("error" in row for row in content["steps"] if not row["step"].startswith(FUSED))


def _write(out: Path, content: dict[str, Any]) -> None:
    out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
