"""Compiles and runs the C++ test programs of tests/cpp, which execute CUDA kernel bodies on the host."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
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
# -O0: to compile takes far longer than to run.
FLAGS = ["-std=c++20", "-O0", "-g1", "-pthread", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off"]
FLAGS += ["-Wall", "-Wextra", "-Werror"]
# The plain compilation of an _isa.cpp file is the CPU kernel for any machine.
FLAGS += [
    "-DIUSCORE_ISA=baseline",
    f"-I{ROOT / 'tests/cpp/fake_cuda'}",
    f"-I{ROOT / 'csrc'}",
    f"-I{ROOT / 'tests/cpp'}",
]
SANITIZERS = {
    "plain": [],
    # What checks for null pointers would say, AddressSanitizer says.
    "address": ["-fsanitize=address,undefined", "-fno-sanitize=null,vptr", "-fno-sanitize-recover=all"],
    "thread": ["-fsanitize=thread"],
}
SECONDS = 280.0  # of one compilation or one run


OP_LIST = ROOT / "csrc/ops/ops.def"
OPS = tuple(re.findall(r"^IUSCORE_OP\((\w+)\)$", OP_LIST.read_text(), re.M))


def cpu_sources() -> list[str]:
    """What CMake compiles of the CPU kernels of all ops, for one instruction set."""
    paths = [f"csrc/cpu/{op}{part}.cpp" for op in OPS for part in ("", "_isa")]
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
    headers = [*(path for folder in ("csrc", "tests/cpp") for path in (ROOT / folder).rglob("*.*h")), OP_LIST]
    for path in sorted(headers):
        digest.update(path.read_bytes())
    digest.update(repr(FLAGS).encode())
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    folder = Path(tempfile.gettempdir()) / f"iuscore-host-cuda-{user}" / digest.hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _made_at_once(target: Path) -> Iterator[str | None]:
    """A path to write to, which moves to ``target`` in one step; None where another process has made it meanwhile."""
    import fcntl  # not everywhere

    with target.with_name(f"{target.name}.lock").open("w") as lock, tempfile.TemporaryDirectory(dir=_cache()) as folder:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            yield None
        else:
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


def _text_of(source: str) -> bytes:
    """The file with those that it includes which are no headers: the cache's name has the headers."""
    text = (ROOT / source).read_bytes()
    included = re.findall(rb'^#include "(\w+/\w+\.(?:cu|cpp))"$', text, re.M)
    return b"".join([text, *(_text_of(f"csrc/{name.decode()}") for name in included)])


def _compile(source: str, sanitizer: str, *more: str) -> Path:
    """The object file of ``source``, compiled unless an earlier run did."""
    text = hashlib.sha256(_text_of(source) + repr(more).encode()).hexdigest()[:16]
    target = _cache() / f"{Path(source).parent.name}-{Path(source).stem}-{sanitizer}-{text}.o"
    if not target.exists():
        with _made_at_once(target) as path:
            if path is not None:
                done = _run(["g++", *FLAGS, *SANITIZERS[sanitizer], *more, "-c", str(ROOT / source), "-o", path])
                assert done.returncode == 0, done.stderr
    return target


def _link(name: str, sanitizer: str, objects: Sequence[Path], *more: str) -> Path:
    names = hashlib.sha256(repr(objects).encode()).hexdigest()[:16]
    target = _cache() / f"{name}-{sanitizer}-{names}{'.so' if '-shared' in more else ''}"
    if not target.exists():
        with _made_at_once(target) as path:
            if path is not None:
                done = _run(["g++", *FLAGS, *SANITIZERS[sanitizer], *map(str, objects), *more, "-o", path])
                assert done.returncode == 0, done.stderr
    return target


def _archive(objects: Sequence[Path]) -> Path:
    """A static library, of which the linker takes what is called."""
    names = hashlib.sha256(repr(objects).encode()).hexdigest()[:16]
    target = _cache() / f"cpu-{names}.a"
    if not target.exists():
        with _made_at_once(target) as path:
            if path is not None:
                done = _run(["ar", "rcs", path, *map(str, objects)])
                assert done.returncode == 0, done.stderr
    return target


def _objects(sources: Sequence[tuple[str, ...]]) -> list[Path]:
    """Of files; each with its sanitizer and further options."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda source: _compile(*source), sources))


def build(program: str, sanitizer: str, *, with_cpu_kernels: bool = False) -> Path:
    """The program tests/cpp/<program>.cpp, linked with those of the CPU kernels that it calls."""
    require_compiler(sanitizer)
    # ThreadSanitizer is for the CUDA kernels; the CPU kernels, which they are compared with, run on one thread.
    others = "plain" if sanitizer == "thread" else sanitizer
    objects = _objects([(f"tests/cpp/{program}.cpp", sanitizer)])
    archives = [_archive(_objects([(source, others) for source in cpu_sources()]))] if with_cpu_kernels else []
    return _link(program, sanitizer, [*objects, *archives])


def build_module() -> Path:
    """The Python module tests/cpp/host_kernels.cpp, of all ops; what the plain sweeps run, is linked again."""
    require_compiler("plain")
    headers = [f"-isystem{folder}" for folder in (pybind11.get_include(), sysconfig.get_path("include"))]
    bindings = ["tests/cpp/host_kernels.cpp", *(f"csrc/bindings/{op}.cpp" for op in OPS)]
    sources = [f"tests/cpp/run_{op}.cpp" for op in OPS]
    objects = _objects([
        *((source, "plain", *headers, "-DIUSCORE_CUDA_MODULE") for source in bindings),
        *((source, "plain") for source in sources),
    ])  # fmt: skip
    kernels = _archive(_objects([(source, "plain") for source in cpu_sources()]))
    return _link("host_kernels", "plain", [*objects, kernels], "-shared")


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
