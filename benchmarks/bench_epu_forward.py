"""EPU-CNN's forward pass on a CPU: images per second of iuscore, of the published form, and of inference engines.

The published form is batch size 1 through plain PyTorch modules, one network after another. Every other peer uses its
best batch size, and all threads. Engines that are not installed are left out: pip install onnx onnxruntime onnxscript
openvino. Differences of contributions and scores from the published form are measured on the same images and weights,
before anything is timed.

    python benchmarks/bench_epu_forward.py           # minutes; writes benchmarks/results/epu_forward.json
    python benchmarks/bench_epu_forward.py --quick   # seconds; a small model, writes nothing
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _harness as harness
import torch
from torch import Tensor, nn

from iuscore import ops, phantoms
from iuscore.models import EPUCNN
from iuscore.scoring.similarity import ius

Run = Callable[[Tensor], Tensor]  # maps [B, 4, h, w] -> evidence [B, 4, K]
AT_ONCE = (1, 8)
STEPS, BATCH = 24, 8  # training steps, and images per step
WIDTHS = {32: 64, 64: 32}  # base channels -> hidden units: the published default, and the published training
# Peers of reduced precision; their differences are reported.
FAST = ("iuscore fast", "bfloat16 autocast, channels_last", "OpenVINO bfloat16")


class Networks(nn.Module):
    """The module that the engines run: all four networks, without the tanh."""

    def __init__(self, model: EPUCNN) -> None:
        super().__init__()
        self.subnets = model.subnets

    def forward(self, maps: Tensor) -> Tensor:
        return torch.stack([net(maps[:, i : i + 1]) for i, net in enumerate(self.subnets)], dim=1)


def make_model(base: int, images: int) -> tuple[EPUCNN, Tensor]:
    """A model after a few training steps on phantoms, and the maps of other phantoms.

    With random weights, scores depend on tiny differences between images, and any rounding changes them. Differences
    between engines would then mean nothing.
    """
    torch.manual_seed(0)
    model = EPUCNN(["normal", "abnormal"], mode="published", base_channels=base, hidden_units=WIDTHS.get(base, 8))
    learned, maps = (_maps(model, n, seed) for seed, n in enumerate((BATCH * STEPS, images)))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05 / (base + 32))
    with torch.enable_grad():
        for step in range(STEPS):
            labels = (torch.arange(BATCH) % 2).float()[:, None]
            logits = model(learned[step * BATCH : (step + 1) * BATCH])
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(logits, labels).backward()
            optimizer.step()
    return model.eval().requires_grad_(False), maps


def _maps(model: EPUCNN, images: int, seed: int) -> Tensor:
    """Maps of phantoms, with the classes in turn."""
    drawn = [phantoms.draw("endoscopy", name, images // 2, size=128, seed=seed) for name in model.classes]
    return torch.stack([model.prepare(part) for part in drawn], dim=1).flatten(0, 1)


# ---- Peers -----------------------------------------------------------------------------------------------------------


def published(model: EPUCNN) -> Run:
    networks = Networks(model)
    return lambda maps: torch.cat([networks(one[None]) for one in maps])


def in_parts(run: Run, at_once: int) -> Run:
    return lambda maps: torch.cat([run(part) for part in maps.split(at_once)])


def copied(model: EPUCNN, memory_format: torch.memory_format = torch.contiguous_format) -> Networks:
    other = EPUCNN.from_config(model.config())
    other.load_state_dict(model.state_dict())
    return Networks(other.requires_grad_(False).to(memory_format=memory_format)).eval()


def in_channels_last(networks: nn.Module) -> Run:
    return lambda maps: networks(maps.contiguous(memory_format=torch.channels_last))


def autocast(networks: nn.Module) -> Run:
    def run(maps: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            evidence: Tensor = networks(maps.contiguous(memory_format=torch.channels_last))
        return evidence.float()

    return run


def jitted(model: EPUCNN, maps: Tensor) -> Run:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the warning that TorchScript is deprecated
        run: Run = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(copied(model), maps)))
    return run


def compiled(model: EPUCNN) -> Run:
    torch._dynamo.config.recompile_limit = 64  # each number of images and of threads is compiled separately
    run: Run = torch.compile(copied(model), dynamic=False)
    return run


def onnxruntime(model: EPUCNN, maps: Tensor, threads: int) -> Run:
    engine = importlib.import_module("onnxruntime")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(copied(model), (maps,), str(path), dynamo=True, verbose=False, input_names=["maps"])
        options = engine.SessionOptions()
        options.intra_op_num_threads = threads
        session = engine.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda maps: torch.from_numpy(session.run(None, {"maps": maps.numpy()})[0])


def openvino(model: EPUCNN, maps: Tensor, threads: int, precision: str) -> Run:
    engine = importlib.import_module("openvino")
    converted = engine.convert_model(copied(model), example_input=maps, input=[list(maps.shape)])
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    compiled = engine.compile_model(converted, "CPU", settings)
    return lambda maps: torch.from_numpy(compiled(maps.numpy())[0].copy())


def makers(model: EPUCNN, threads: int) -> dict[str, Callable[[Tensor], Run]]:
    """Name of a peer -> function that builds it, for batches like the given maps."""
    last = copied(model, torch.channels_last)
    return {
        "PyTorch, batches": lambda maps: copied(model),
        "PyTorch channels_last, batches": lambda maps: in_channels_last(last),
        "torch.jit optimize_for_inference": lambda maps: jitted(model, maps),
        "torch.compile": lambda maps: compiled(model),
        "ONNX Runtime": lambda maps: onnxruntime(model, maps, threads),
        "OpenVINO float32": lambda maps: openvino(model, maps, threads, "f32"),
        "bfloat16 autocast, channels_last": lambda maps: autocast(last),
        "OpenVINO bfloat16": lambda maps: openvino(model, maps, threads, "bf16"),
    }


def best_of(name: str, make: Callable[[Tensor], Run], maps: Tensor) -> Run | None:
    """The peer with its fastest batch size; None if it does not work on this machine."""
    times: dict[int, tuple[float, Run]] = {}
    for at_once in [n for n in AT_ONCE if n <= len(maps)]:
        try:
            run = in_parts(make(maps[:at_once]), at_once)
            run(maps)
        except Exception as error:  # engines and compilers raise errors of many types
            print(f"{name} does not work here: {type(error).__name__}: {str(error).splitlines()[0][:150]}")
            return None
        begin = time.perf_counter()
        run(maps)
        times[at_once] = time.perf_counter() - begin, run
    best = min(times, key=lambda n: times[n][0])
    print(f"{name}: {best} at a time")
    return times[best][1]


# ---- Measuring -------------------------------------------------------------------------------------------------------


def differences(runs: dict[str, Run], maps: Tensor) -> dict[str, tuple[float, float, float]]:
    """Largest difference of contributions and scores from the published form, and median difference of scores."""

    def of(run: Run) -> Tensor:
        return torch.tanh(torch.cat([run(part) for part in maps.split(max(AT_ONCE))]))[..., 0]

    expected = of(runs["published form"])
    baseline = expected[::2].mean(0)  # of the first class
    scores = ius(baseline, expected)
    found = {}
    for name, run in runs.items():
        contributions = of(run)
        off = (ius(baseline, contributions) - scores).abs()
        found[name] = float((contributions - expected).abs().max()), float(off.max()), float(off.median())
        allowed = {"iuscore fast": 5e-3}.get(name, 0.1 if name in FAST else 1e-5)
        if not found[name][1] <= allowed:
            raise SystemExit(f"{name}: scores differ by {found[name][1]:.2g}, allowed {allowed}")
    return found


def run_base(base: int, threads: int, quick: bool) -> tuple[list[dict[str, Any]], list[list[str]]]:
    torch.set_num_threads(threads)
    model, maps = make_model(base, 16)
    networks, some = model.networks(), maps[: max(AT_ONCE)].clone()
    runs: dict[str, Run] = {
        "iuscore": lambda maps: ops.additive_cnn(maps, networks),
        "iuscore fast": lambda maps: ops.additive_cnn(maps, networks, precision="fast"),
        "published form": published(model),
    }
    for name, make in makers(model, threads).items():
        if not (quick and name == "torch.compile") and (run := best_of(name, make, some)):
            runs[name] = run
    off = differences(runs, maps) if threads == 1 else {}
    others = harness.OtherPrograms()
    options: dict[str, Any] = {"repetitions": 2, "seconds": 0.01} if quick else {"repetitions": 5, "seconds": 0.3}
    rates = harness.measure(
        {name: (lambda run=run: run(some)) for name, run in runs.items()}, items=len(some), **options
    )
    other_cores = others.cores()
    which = "core_median" if threads == 1 else "wall_median"
    cases = []
    for kind, ours in (("float32", "iuscore"), ("reduced precision", "iuscore fast")):
        peers = {n: r for n, r in rates.items() if not n.startswith("iuscore") and (ours == "iuscore" or n in FAST)}
        chosen = {"iuscore": rates[ours], "published form": rates["published form"], **peers}
        if ours == "iuscore":
            chosen = {n: r for n, r in chosen.items() if n not in FAST}
        case = harness.as_case(f"base {base}, {kind}, {threads} thread{'s' if threads > 1 else ''}", which, chosen)
        disturbed = threads > 1 and (other_cores or 0.0) > 0.2
        cases.append({**case, "cores_used_by_other_programs": other_cores, "says_little": disturbed})
        print(f"\n{case['case']}")
        for who, rate in sorted(chosen.items(), key=lambda item: case["iuscore_over"][item[0]]):
            print(f"{who:36}{getattr(rate, which):10,.2f} images/s{case['iuscore_over'][who]:10.2f} x")
    rows = [[str(base), name, *(f"{value:.1e}" for value in values)] for name, values in off.items()]
    return cases, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small model, few repetitions, nothing saved")
    quick = parser.parse_args().quick
    cases: list[dict[str, Any]] = []
    rows: list[list[str]] = []
    with torch.no_grad():
        for base in (8,) if quick else (32, 64):
            for threads in (1,) if quick else (1, 2):
                found, differing = run_base(base, threads, quick)
                cases += found
                rows += differing
    if quick:
        return
    columns = ["base", "", "largest, contributions", "largest, IUS", "median, IUS"]
    title = "Differences from the published form, 16 drawn images, 24 steps of training"
    content = {
        "benchmark": "forward pass of EPU-CNN, maps of 128x128",
        "core_build": harness.core_build(),
        "cases": cases,
        "tables": [{"title": title, "columns": columns, "rows": rows}],
    }
    packages = ("torch", "onnxruntime", "openvino")
    print(harness.save("epu_forward", content, packages))


if __name__ == "__main__":
    main()
