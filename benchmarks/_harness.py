"""Functions that all benchmarks share: interleaved repetitions, medians, machine, versions and the results file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
ISAS = ("baseline", "avx2", "avx512")


@dataclass(frozen=True)
class Rate:
    """Items per second over the repetitions.

    `wall` is by elapsed time. `core` is by CPU time of all threads of the process: with one thread it is the rate of
    one core, even if other programs use the core too.
    """

    wall_median: float
    wall_min: float
    wall_max: float
    core_median: float
    core_min: float
    core_max: float
    repetitions: int
    calls_per_repetition: int


def measure(
    contestants: Mapping[str, Callable[[], object]], *, items: int, repetitions: int = 9, seconds: float = 0.15
) -> dict[str, Rate]:
    """Time all contestants in turn, `repetitions` times, so that a busy moment affects all of them.

    Args:
        contestants: name -> a call that processes `items` items.
        items: items per call.
        repetitions: number of rounds; in each round a contestant is called repeatedly for about `seconds`.
        seconds: length of one measurement.
    """
    calls = {}
    for name, run in contestants.items():
        run()  # caches, thread pools, lazy imports
        begin = time.perf_counter()
        run()
        calls[name] = max(1, round(seconds / (time.perf_counter() - begin)))
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for round_number in range(repetitions):
        names = list(contestants)
        for name in names if round_number % 2 == 0 else reversed(names):
            run, wall, core = contestants[name], time.perf_counter(), time.process_time()
            for _ in range(calls[name]):
                run()
            done = calls[name] * items
            samples[name].append((done / (time.perf_counter() - wall), done / (time.process_time() - core)))
    return {name: _rate(taken, calls[name]) for name, taken in samples.items()}


def _rate(samples: list[tuple[float, float]], calls: int) -> Rate:
    wall, core = zip(*samples, strict=True)
    return Rate(
        statistics.median(wall),
        min(wall),
        max(wall),
        statistics.median(core),
        min(core),
        max(core),
        len(samples),
        calls,
    )


def machine() -> dict[str, Any]:
    """CPU, number of cores, and the vector extensions that the kernels use."""
    info: dict[str, Any] = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "flags": []}
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    info["cpu"] = fields.get("model name", info["cpu"])
    present = fields.get("flags", "").split()
    info["flags"] = [flag for flag in ("avx2", "avx512f", "avx512bw", "avx512vl") if flag in present]
    info["platform"] = f"{platform.system()} {platform.machine()}"
    return info


class OtherPrograms:
    """Average number of cores that other programs used since this object was created; None if unknown."""

    def __init__(self) -> None:
        self._start = self._now()

    def cores(self) -> float | None:
        now = self._now()
        if now is None or self._start is None:
            return None
        wall, all_programs, own = (b - a for a, b in zip(self._start, now, strict=True))
        return round(max(0.0, all_programs - own) / wall, 2)

    @staticmethod
    def _now() -> tuple[float, float, float] | None:
        try:
            fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]
        except OSError:
            return None
        user, nice, system, _idle, _waiting, interrupts, soft_interrupts, _stolen = (int(field) for field in fields)
        ticks = user + nice + system + interrupts + soft_interrupts
        return time.perf_counter(), ticks / os.sysconf("SC_CLK_TCK"), time.process_time()


def versions(*packages: str) -> dict[str, str]:
    return {"python": platform.python_version(), **{package: _version(package) for package in packages}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def commit() -> str:
    """Commit of the working tree, with "+changes" if the code differs; IUSCORE_COMMIT sets it for a plain copy."""
    if given := os.environ.get("IUSCORE_COMMIT"):
        return given
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "csrc", "python"], cwd=ROOT, check=False)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+changes" if changed.returncode else "")


def core_build() -> dict[str, str]:
    """Build information of the CPU kernels."""
    from iuscore.ops import _backend

    core, why = _backend.extension("_core")
    if core is None:
        raise SystemExit(f"the CPU kernels are missing: {why}")
    return dict(core.build_info())


def use_threads(threads: int) -> None:
    """Set the number of threads of torch and, if imported, numba; BLAS uses one thread.

    The BLAS of NumPy and SciPy would use all cores for one image. Here each thread processes whole images instead.
    """
    import torch
    from threadpoolctl import threadpool_limits

    if "numba" in sys.modules:
        sys.modules["numba"].set_num_threads(threads)
    threadpool_limits(1, user_api="blas")
    torch.set_num_threads(threads)  # last, because starting numba's threads resets it


@contextmanager
def cpu_isa(name: str) -> Iterator[None]:
    """In the block, the CPU kernels use the instruction set of this name."""
    before = os.environ.get("IUSCORE_CPU_ISA")
    os.environ["IUSCORE_CPU_ISA"] = name  # read at every call
    try:
        yield
    finally:
        if before is None:
            del os.environ["IUSCORE_CPU_ISA"]
        else:
            os.environ["IUSCORE_CPU_ISA"] = before


def available_isas() -> list[str]:
    """Instruction sets of the CPU kernels on this machine, from the slowest to the default."""
    found = []
    for isa in ISAS:
        with cpu_isa(isa):
            if core_build()["cpu_isa"] == isa:
                found.append(isa)
    return found


def as_case(name: str, ranked_by: str, rates: Mapping[str, Rate]) -> dict[str, Any]:
    """One case of a results file: the contestants' rates, and how many times slower than "iuscore" each is.

    Args:
        name: name of the case.
        ranked_by: the field of `Rate` that is compared.
        rates: rates of all contestants.
    """
    best = getattr(rates["iuscore"], ranked_by)
    ratios = {who: float(f"{best / getattr(rate, ranked_by):.3g}") for who, rate in rates.items()}
    return {"case": name, "ranked_by": ranked_by, "rates": _as_json(rates), "iuscore_over": ratios}


def _as_json(rates: Mapping[str, Rate]) -> dict[str, dict[str, float]]:
    return {name: {key: _short(value) for key, value in asdict(rate).items()} for name, rate in rates.items()}


def _short(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.4g}")


def run_case(
    name: str,
    threads: int,
    runs: Mapping[str, Callable[[], object]],
    *,
    items: int,
    differences: Mapping[str, float],
    of: str = "images",
    **options: Any,
) -> dict[str, Any]:
    """Measure contestants in turn and print a table: one case of a results file.

    Args:
        name: name of the case; the number of threads is added.
        threads: one thread is ranked by CPU time, which other programs do not disturb; more threads by elapsed time.
        runs: name -> a call that processes `items` items.
        items: items per call.
        differences: name -> difference of its result from the result of iuscore.
        of: name of the items.
        options: options of `measure`.
    """
    others = OtherPrograms()
    rates = measure(runs, items=items, **options)
    other_cores = others.cores()
    which = "core_median" if threads == 1 else "wall_median"
    case = as_case(f"{name}, {threads} thread{'s' if threads > 1 else ''}", which, rates)
    # Threads that wait for each other are delayed when another program uses one of their cores.
    disturbed = threads > 1 and (other_cores or 0.0) > 0.2
    print(f"\n{case['case']}{f'; says little, others used {other_cores} cores' if disturbed else ''}")
    print(f"{'':40}{f'{of}/s':>12}{'min':>12}{'max':>12}{'iuscore is':>13}")
    for who, rate in sorted(rates.items(), key=lambda item: case["iuscore_over"][item[0]]):
        middle, low, high = (getattr(rate, which.replace("median", part)) for part in ("median", "min", "max"))
        print(f"{who:40}{middle:12,.0f}{low:12,.0f}{high:12,.0f}{case['iuscore_over'][who]:11.2f} x")
    return {
        **case,
        "cores_used_by_other_programs": other_cores,
        "says_little": disturbed,
        "largest_difference_from_iuscore": dict(differences),
    }


def main(
    description: str | None,
    name: str,
    benchmark: str,
    packages: tuple[str, ...],
    cases: Callable[..., list[dict[str, Any]]],
    *,
    usual: Mapping[str, Any],
    quick: Mapping[str, Any],
) -> None:
    """The command of an image benchmark: run all cases; with ``--quick``, small cases, and save nothing.

    Args:
        description: description of the program.
        name, packages: see `save`.
        benchmark: title of the results.
        cases: function that runs all cases; called with ``usual`` or ``quick``.
        usual, quick: `count` (images per call) and options of `measure`.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few images and repetitions, nothing saved")
    if parser.parse_args().quick:
        cases(**quick)
        return
    content = {
        "benchmark": benchmark,
        "core_build": core_build(),
        "images_per_call": usual["count"],
        "cases": cases(**usual),
    }
    print(f"\nwritten: {save(name, content, packages).relative_to(ROOT)}")


def save(name: str, content: Mapping[str, Any], packages: tuple[str, ...], folder: Path = RESULTS) -> Path:
    """Write `content` with machine, versions, commit and date to <folder>/<name>.json.

    On a CPU without AVX-512 the name ends with its instruction set, so that results of both kinds are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    isa = content.get("core_build", {}).get("cpu_isa", ISAS[-1])
    name += "" if isa == ISAS[-1] else f"_{isa}"
    path = folder / f"{name}.json"
    head = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(*packages),
    }
    path.write_text(json.dumps({**head, **content}, indent=1) + "\n", encoding="utf-8")
    return path
