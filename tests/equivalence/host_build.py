"""Compiles and runs the C++ test programs of tests/cpp, which execute CUDA kernel bodies on the host."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pybind11
import pytest

ROOT = Path(__file__).parents[2]
FLAGS = ["-std=c++20", "-O1", "-g1", "-pthread", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
# The plain compilation of an _isa.cpp file is the CPU kernel for any machine.
FLAGS += ["-DIUSCORE_ISA=baseline", f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'tests/cpp'}"]
SANITIZERS = {
    "plain": [],
    "address": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "thread": ["-fsanitize=thread"],
}
SECONDS = 280.0  # of one compilation or one run


def cpu_sources(*ops: str) -> list[str]:
    """What CMake compiles of the CPU kernels of these ops."""
    paths = [f"csrc/cpu/{op}{part}.cpp" for op in ops for part in ("", "_isa")]
    return ["csrc/cpu/isa.cpp", *(path for path in paths if (ROOT / path).exists())]


def _run(
    command: Sequence[str], seconds: float = SECONDS, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **(environment or {})}
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, env=env)


@functools.cache
def _cache() -> Path:
    """A folder that later runs with the same compiler, flags and headers find again."""
    digest = hashlib.sha256(_run(["g++", "--version"]).stdout.encode())
    headers = [path for folder in ("csrc", "tests/cpp") for path in (ROOT / folder).rglob("*.*h")]
    for path in sorted(headers):
        digest.update(path.read_bytes())
    digest.update(repr(FLAGS).encode())
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    folder = Path(tempfile.gettempdir()) / f"iuscore-host-cuda-{user}" / digest.hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _made_at_once(target: Path) -> Iterator[str]:
    """A path to write to; what was written moves to ``target`` in one step, as another process may look for it."""
    with tempfile.TemporaryDirectory(dir=_cache()) as folder:
        yield f"{folder}/made"
        os.replace(f"{folder}/made", target)


@functools.cache
def require_compiler(sanitizer: str) -> None:
    """Skips the test where this machine cannot build with the sanitizer."""
    if platform.system() != "Linux" or shutil.which("g++") is None:
        pytest.skip("needs g++ on Linux")
    probe = _cache() / "probe.cpp"
    probe.write_text("#include <barrier>\nint main() { return 0; }\n")
    flags = [*FLAGS, *SANITIZERS[sanitizer]]
    built = _run(["g++", *flags, str(probe), "-o", str(_cache() / f"probe-{sanitizer}")])
    if built.returncode != 0:
        pytest.skip(f"g++ cannot build with {flags}: {built.stderr.strip()[:200]}")


def _compile(source: str, sanitizer: str) -> Path:
    """The object file of ``source``, compiled unless an earlier run did."""
    text = hashlib.sha256((ROOT / source).read_bytes()).hexdigest()[:16]
    target = _cache() / f"{Path(source).stem}-{sanitizer}-{text}.o"
    if not target.exists():
        with _made_at_once(target) as path:
            done = _run(["g++", *FLAGS, *SANITIZERS[sanitizer], "-c", str(ROOT / source), "-o", path])
            assert done.returncode == 0, done.stderr
    return target


def build(program: str, sanitizer: str, sources: Sequence[str] = ()) -> Path:
    """The program tests/cpp/<program>.cpp linked with ``sources``."""
    require_compiler(sanitizer)
    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(lambda source: _compile(source, sanitizer), (f"tests/cpp/{program}.cpp", *sources)))
    names = hashlib.sha256(repr(objects).encode()).hexdigest()[:16]
    binary = _cache() / f"{program}-{sanitizer}-{names}"
    if not binary.exists():
        with _made_at_once(binary) as path:
            done = _run(["g++", *FLAGS, *SANITIZERS[sanitizer], *map(str, objects), "-o", path])
            assert done.returncode == 0, done.stderr
    return binary


def build_module(name: str, *includes: str) -> Path:
    """The Python module tests/cpp/<name>.cpp; ``includes``: folders that come before all others."""
    require_compiler("plain")
    text = hashlib.sha256((ROOT / f"tests/cpp/{name}.cpp").read_bytes())
    sources = [path for folder in ("csrc/cuda", "csrc/bindings") for path in sorted((ROOT / folder).iterdir())]
    for path in sources:
        text.update(path.read_bytes())
    target = _cache() / f"{name}-{text.hexdigest()[:16]}-{sysconfig.get_config_var('SOABI')}.so"
    if not target.exists():
        headers = [pybind11.get_include(), sysconfig.get_path("include")]
        flags = [*(f"-I{ROOT / folder}" for folder in includes), *FLAGS, *(f"-isystem{folder}" for folder in headers)]
        with _made_at_once(target) as path:
            done = _run(
                [
                    "g++",
                    *flags,
                    "-fPIC",
                    "-shared",
                    "-fvisibility=hidden",
                    str(ROOT / f"tests/cpp/{name}.cpp"),
                    "-o",
                    path,
                ]
            )
            assert done.returncode == 0, done.stderr
    return target


def execute(
    binary: Path, *arguments: object, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs it; once more without address randomization where ThreadSanitizer does not stand the kernel's."""
    command = [str(binary), *map(str, arguments)]
    done = _run(command, environment=environment)
    if "unexpected memory mapping" in done.stderr and shutil.which("setarch"):
        done = _run(["setarch", platform.machine(), "-R", *command], environment=environment)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("ThreadSanitizer cannot run with this machine's address randomization")
    return done
