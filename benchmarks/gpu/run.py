"""Builds, tests, sanitizes and measures the CUDA kernels on a machine with a GPU, in under 8 minutes and offline.

    python benchmarks/gpu/run.py           # writes benchmarks/results/gpu.json, which docs/generate_numbers.py reads
    python benchmarks/gpu/run.py --plan    # says what it would do, without a GPU

Needs torch with CUDA, pybind11, scikit-build-core, cmake, ninja, nvcc and the extra "test". Every step has a time
budget, and measuring has what the others leave; a step that fails is recorded and the rest goes on; the file is written
after each step, and all that the steps printed into a .log beside it. ``--site`` takes a folder where the package was
installed before, instead of building it. IUSCORE_COMMIT names the commit where there is no git checkout. What is
measured: cases.py and networks.py beside this file. Exits 2 without a GPU, 1 where a step failed, else 0.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks"))
sys.path.insert(0, str(ROOT))
import _harness as harness  # noqa: E402
from tests import only_on_a_gpu  # noqa: E402

MEASURE = Path(__file__).with_name("measure.py")
NETWORKS = Path(__file__).with_name("networks.py")
# Seconds; a step that needs less leaves more for measuring, which comes last.
TOTAL = 465.0
BUDGET = {"build": 100.0, "tests": 80.0, "memcheck": 70.0, "racecheck": 55.0, "networks": 80.0}
COMPILING = 35.0  # what torch.compile may take of one model, which nothing ends but the end of the step
WRITING = 20.0  # between the last case of the measurements and their end
KEPT_CHARACTERS = 4000  # of what a step printed, in the results; the .log beside them has all

Report = dict[str, Any]
Step = Callable[[Path, float], Report]  # the folder to install into or use, seconds it may take


def run(command: list[str], seconds: float, env: dict[str, str] | None = None) -> Report:
    """Runs a command; what it printed is kept, also when its time is over."""
    begin = time.monotonic()
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=printed, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        try:
            code: int | str = process.wait(max(seconds, 1.0))
        except subprocess.TimeoutExpired:
            # With all that it started: a compiler or a sanitizer that goes on would disturb what is timed next.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = "out of time"
        printed.seek(0)
        output = printed.read()
    return {
        "ok": code == 0,
        "exit": code,
        "seconds": round(time.monotonic() - begin, 1),
        "output": f"$ {' '.join(command)}\n{output}",
    }


def environment(target: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(target), str(ROOT), os.environ.get("PYTHONPATH")])),
        # cmake and ninja lie beside this interpreter; nvcc and compute-sanitizer, where CUDA's installer put them.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/local/cuda/bin"]),
        "IUSCORE_REQUIRE_CUDA": "1",
        "IUSCORE_TEST_PROFILE": "gpu",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def build(target: Path, seconds: float) -> Report:
    """A wheel into ``target``; where pip or scikit-build-core refuse, CMake beside a copy of the Python files."""
    deadline = time.monotonic() + seconds
    pip = [sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps", "--no-index", "--quiet"]
    settings = ["-C", "cmake.define.IUSCORE_CUDA=ON", "-C", f"build-dir={target.with_name('wheel')}"]
    report = run([*pip, *settings, "--target", str(target), "."], seconds)
    if report["ok"]:
        return {"how": "pip", **report}
    folder = target.with_name("cmake")
    configure = ["cmake", "-S", ".", "-B", str(folder), "-DCMAKE_BUILD_TYPE=Release", "-DIUSCORE_CUDA=ON"]
    configure += [f"-DPython_EXECUTABLE={sys.executable}", "-DSKBUILD_PROJECT_VERSION=0.0"]
    if shutil.which("ninja"):
        configure += ["-G", "Ninja"]
    hint = run([sys.executable, "-m", "pybind11", "--cmakedir"], 30)
    if hint["ok"]:
        configure.append(f"-Dpybind11_DIR={hint['output'].strip()}")
    first = run(configure, deadline - time.monotonic())
    second = run(["cmake", "--build", str(folder), "--parallel"], deadline - time.monotonic()) if first["ok"] else first
    if second["ok"]:
        shutil.copytree(ROOT / "python" / "iuscore", target / "iuscore", dirs_exist_ok=True)
        for module in folder.glob("_c*.so"):
            shutil.copy(module, target / "iuscore")
    return {"how": "cmake", **second, "pip": report}


def tests(target: Path, seconds: float) -> Report:
    """The tests marked cuda, of all folders; a skipped one fails, unless what it compares with is not installed."""
    # Plugins named in pyproject.toml may be missing here, so its options are not read.
    options = ["-o", "addopts=", "-o", "filterwarnings=default", "-o", "timeout=60", "-p", "no:cacheprovider"]
    options += ["-v", "-rfEs", "--tb=short", "--durations=5"]
    if importlib.util.find_spec("xdist"):  # a test that spoils the device for its process leaves the others theirs
        options += ["-n", "8", "--dist", "loadfile"]
    left_out = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py") if missing(path))
    options += [f"--ignore={path}" for path in left_out]
    # First what has never run anywhere.
    first = dict.fromkeys(name.partition("::")[0] for name in only_on_a_gpu.TESTS)
    places = [*(name for name in first if name not in left_out), "tests"]
    report = run([sys.executable, "-m", "pytest", *places, "-m", "cuda", *options], seconds, environment(target))
    return {**report, "left_out": left_out}


def missing(path: Path) -> list[str]:
    """Packages that a file imports at its top and this machine lacks."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return sorted(name for name in names - {"iuscore", "tests"} if importlib.util.find_spec(name) is None)


def sanitizer(tool: str) -> Step:
    def step(target: Path, seconds: float) -> Report:
        # PyTorch's allocator hands out parts of blocks of 2 MiB: a kernel could write past its array unnoticed.
        env = {**environment(target), "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
        program = shutil.which("compute-sanitizer", path=env["PATH"])
        if program is None:
            return {"ok": True, "skipped": "no compute-sanitizer on PATH"}
        # Importing torch can outlast the default time to the first launch, and its start has errors of its own.
        command = [program, "--tool", tool, "--error-exitcode", "9", "--launch-timeout", "120"]
        command += ["--report-api-errors", "no", sys.executable, str(MEASURE), "--small"]
        report = run(command, seconds, env)
        if "Device not supported" in report["output"]:
            return {**report, "ok": True, "skipped": "compute-sanitizer does not support this machine"}
        return report

    return step


def measure(target: Path, seconds: float) -> Report:
    out = target.with_name("measurements.json")
    command = [sys.executable, str(MEASURE), "--out", str(out), "--seconds", str(seconds - WRITING)]
    report = run(command, seconds, environment(target))
    if out.exists():
        report["measurements"] = json.loads(out.read_text())
    return report


def networks(target: Path, seconds: float) -> Report:
    """EPU-CNN beside PyTorch."""
    out = target.with_name("networks.json")
    command = [sys.executable, str(NETWORKS), "--out", str(out), "--seconds", str(seconds - COMPILING)]
    report = run(command, seconds, environment(target))
    if out.exists():
        report["networks"] = json.loads(out.read_text())
    return report


def last_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    lines = (done.stdout or "").strip().splitlines()
    if done.returncode != 0:
        return "unknown"
    return lines[-1] if lines else ""


def device() -> Report:
    """What this GPU is and what drives it."""
    import torch

    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": properties.name,
        "gpu_capability": f"{properties.major}.{properties.minor}",
        "gpu_multiprocessors": properties.multi_processor_count,
        "gpu_memory_bytes": properties.total_memory,
        "gpu_l2_bytes": getattr(properties, "L2_cache_size", None),
        "driver": last_line(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]),
        "nvcc": last_line(["nvcc", "--version"]),
        "cuda_of_torch": torch.version.cuda,
    }


STEPS: dict[str, Step] = {
    "build": build,
    "tests": tests,
    "memcheck": sanitizer("memcheck"),
    "racecheck": sanitizer("racecheck"),
    "networks": networks,
    "measure": measure,
}


def verdict(steps: Report) -> str:
    """What docs/numbers.md says of the kernels after these steps."""
    failed = [name for name, step in steps.items() if not step["ok"]]
    left_out = [name for name in STEPS if name not in steps or (steps[name]["ok"] and "skipped" in steps[name])]
    if failed:
        return f"failed: {', '.join(failed)}"
    return f"passed, but without {', '.join(left_out)}" if left_out else "passed"


def save(out: Path, gpu: Report, steps: Report) -> None:
    """Writes the results file: what harness.save says, the GPU, a verdict on each kernel, and the steps."""
    # Every step runs all kernels.
    kernels = {path.stem: verdict(steps) for path in sorted((ROOT / "csrc" / "cuda").glob("*.cu"))}
    parts = [step for report in steps.values() for step in (report.get("pip"), report) if step and "output" in step]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".log").write_text("\n".join(part["output"] for part in parts), encoding="utf-8")
    content = {"benchmark": "CUDA kernels on a GPU", **gpu, "kernels": kernels, "steps": _shortened(steps)}
    packages = ("torch", "numpy", "pybind11", "scikit-build-core", "cmake", "pytest", "hypothesis")
    harness.save(out.stem, content, packages, out.parent)


def _shortened(steps: Report) -> Report:
    """The steps with the end of what each printed."""
    short = {}
    for name, value in steps.items():
        if isinstance(value, dict):
            short[name] = _shortened(value)
        else:
            short[name] = value[-KEPT_CHARACTERS:] if name == "output" else value
    return short


def plan(site: Path | None) -> str:
    """The steps in their order, with the seconds each may take, and what nothing but a GPU shows."""
    lines = []
    for name in STEPS:
        carried = name == "build" and site is not None
        most = f"{BUDGET[name]:.0f} s at most" if name in BUDGET else f"the rest of {TOTAL:.0f} s"
        lines.append(f"{name:9} {f'taken from {site}' if carried else most}: {only_on_a_gpu.STEPS[name]}")
    lines += ["", "Tests that run nowhere else, and why:"]
    lines += [f"  {name}: {why}" for name, why in only_on_a_gpu.TESTS.items()]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=harness.RESULTS / "gpu.json", help="the .json file to write")
    parser.add_argument("--site", type=Path, help="folder with the installed package, instead of building it")
    parser.add_argument("--plan", action="store_true", help="print the steps and end")
    options = parser.parse_args()
    out: Path = options.out
    if options.site is not None and not list(options.site.glob("iuscore/_cuda.*")):
        parser.error(f"--site: expected a folder with an installed iuscore and its CUDA module, got {options.site}")
    if options.plan:
        print(plan(options.site))
        return 0
    try:
        import torch
    except ImportError:
        print("no GPU run: torch is not installed")
        return 2
    if not torch.cuda.is_available():
        print("no GPU run: torch sees no CUDA device on this machine")
        return 2
    begin = time.monotonic()
    gpu = device()
    steps: Report = {}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "site" if options.site is None else options.site.resolve()
        target.mkdir(exist_ok=True)
        for name, step in STEPS.items():
            if name == "build" and options.site is not None:
                steps[name] = {"ok": True, "how": f"taken from {options.site}"}
            elif name != "build" and not steps["build"]["ok"]:
                steps[name] = {"ok": False, "skipped": "the build failed"}
            else:
                try:
                    left = TOTAL - (time.monotonic() - begin)
                    steps[name] = step(target, min(BUDGET.get(name, left), left))
                except Exception as error:  # the other steps still tell something
                    steps[name] = {"ok": False, "error": f"{type(error).__name__}: {error}"}
            save(out, gpu, steps)
            done = steps[name]
            word = "ok" if done["ok"] else "FAILED"
            print(f"{name}: {word} {done.get('skipped', '')} {done.get('seconds', '')}", flush=True)
            if not done["ok"]:
                print(done.get("error", done.get("output", ""))[-1500:], flush=True)
    return 0 if all(step["ok"] for step in steps.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
