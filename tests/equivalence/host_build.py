"""Compiles and runs the C++ test programs of tests/cpp, which execute CUDA kernel bodies on the host."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLAGS = ["-std=c++20", "-O1", "-g1", "-pthread", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
FLAGS += [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'tests/cpp'}"]
# The plain compilation of the zone file is the CPU kernel for any machine.
CPU_SOURCES = ["csrc/cpu/perceptual_maps.cpp", "csrc/cpu/zone.cpp", "csrc/cpu/perceptual_maps_zone.cpp"]
SANITIZERS = {
    "plain": [],
    "address": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "thread": ["-fsanitize=thread"],
}


def _run(command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)


@functools.cache
def _cache() -> Path:
    """A folder that later runs with the same sources and compiler find again."""
    digest = hashlib.sha256(_run(["g++", "--version"], 60).stdout.encode())
    for path in sorted([*ROOT.glob("csrc/**/*"), *ROOT.glob("tests/cpp/*")]):
        if path.is_file():
            digest.update(path.read_bytes())
    digest.update(repr(FLAGS).encode())
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    folder = Path(tempfile.gettempdir()) / f"iuscore-host-cuda-{user}" / digest.hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@functools.cache
def require_compiler(sanitizer: str) -> None:
    """Skips the test where this machine cannot build with the sanitizer."""
    if platform.system() != "Linux" or shutil.which("g++") is None:
        pytest.skip("needs g++ on Linux")
    probe = _cache() / "probe.cpp"
    probe.write_text("#include <barrier>\nint main() { return 0; }\n")
    flags = [*FLAGS, *SANITIZERS[sanitizer]]
    built = _run(["g++", *flags, str(probe), "-o", str(_cache() / f"probe-{sanitizer}")], 120)
    if built.returncode != 0:
        pytest.skip(f"g++ cannot build with {flags}: {built.stderr.strip()[:200]}")


def build(program: str, sanitizer: str, sources: tuple[str, ...] = ()) -> Path:
    """The program tests/cpp/<program>.cpp linked with ``sources``, compiled unless an earlier run did."""
    require_compiler(sanitizer)
    binary = _cache() / f"{program}-{sanitizer}"
    if binary.exists():
        return binary
    with tempfile.TemporaryDirectory(dir=_cache()) as folder:
        objects = [f"{folder}/{Path(source).stem}.o" for source in (f"tests/cpp/{program}.cpp", *sources)]

        def compile_one(source: str, target: str) -> None:
            zone = ["-DIUSCORE_ZONE=baseline"] if source.endswith("_zone.cpp") else []
            command = ["g++", *FLAGS, *SANITIZERS[sanitizer], *zone, "-c", str(ROOT / source), "-o", target]
            done = _run(command, 280)
            assert done.returncode == 0, done.stderr

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(compile_one, (f"tests/cpp/{program}.cpp", *sources), objects))
        linked = _run(["g++", *FLAGS, *SANITIZERS[sanitizer], *objects, "-o", f"{folder}/program"], 120)
        assert linked.returncode == 0, linked.stderr
        os.replace(f"{folder}/program", binary)
    return binary


def execute(binary: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs it; once more without address randomization where ThreadSanitizer does not stand the kernel's."""
    command = [str(binary), *map(str, arguments)]
    done = _run(command, 280)
    if "unexpected memory mapping" in done.stderr and shutil.which("setarch"):
        done = _run(["setarch", platform.machine(), "-R", *command], 280)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("ThreadSanitizer cannot run with this machine's address randomization")
    return done
