"""``iuscore doctor`` says what there is and why the rest is missing; a missing module is one log line and no error."""

from __future__ import annotations

import functools
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import iuscore
from iuscore._environment import report_lines
from iuscore.ops import _backend
from tests.project.tree import CI, ROOT, python, run

COMMAND = Path(sys.executable).with_name("iuscore")
NO_NVCC = "not built: no nvcc on PATH at build time"
# Runs the code after it as if the compiled modules did not exist.
BLOCKED = """
import logging, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
"""


@functools.cache
def doctor() -> list[str]:
    done = python("-c", "from iuscore.cli import main; main()", "doctor")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def line_of(lines: list[str], start: str) -> str:
    (found,) = (line for line in lines if line.startswith(start))
    return " ".join(found.removeprefix(start).split())


def test_says_version_commit_back_ends_and_ops() -> None:
    lines = doctor()
    head = re.fullmatch(r"iuscore (\S+), commit ([0-9a-f]{40}(?:-dirty)?|unknown)", lines[0])
    assert head, lines[0]
    assert re.match(r"python 3\.\d+\.\d+, torch \S+, numpy \S+, pillow \S+$", lines[1])
    assert line_of(lines, "  cpu ").startswith("available: ")
    assert line_of(lines, "  cuda ").startswith(("available: ", "built, but ", "built for ", "not built: "))
    assert line_of(lines, "  torch ").startswith("available")
    for op in _backend.OPS:
        assert line_of(lines, f"  {op} on cpu:") == "cpu"
        for i in range(torch.cuda.device_count()):
            assert line_of(lines, f"  {op} on cuda:{i}:").startswith(("cuda", "torch"))


@pytest.mark.skipif(not COMMAND.exists(), reason="the package is on the path, not installed")
def test_installed_command_says_the_same() -> None:
    done = run([COMMAND, "doctor"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == doctor()


@pytest.mark.skipif(not (CI and (ROOT / ".git").exists()), reason="only CI builds the commit it tests")
def test_says_the_commit_it_was_built_from() -> None:
    head = run(["git", "-c", f"safe.directory={ROOT}", "rev-parse", "HEAD"]).stdout.strip()
    assert len(head) == 40
    assert f"commit {head}" in doctor()[0]


def test_says_the_instruction_set_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    def isa() -> str:
        return line_of(report_lines(), "  cpu ").split()[1]

    monkeypatch.delenv("IUSCORE_CPU_ISA", raising=False)
    order = ["baseline", "avx2", "avx512"]
    best = order.index(isa())
    for wish, name in enumerate(order):
        monkeypatch.setenv("IUSCORE_CPU_ISA", name)
        assert isa() == order[min(wish, best)]
    monkeypatch.setenv("IUSCORE_CPU_ISA", "no such set")
    assert isa() == order[best]


Simulate = Callable[..., list[str]]


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulate]:
    """Lines of doctor with these compiled modules: each a module, or the error that importing it raises."""
    real = importlib.import_module

    def report(**modules: Any) -> list[str]:
        def import_module(name: str, package: str | None = None) -> Any:
            module = modules.get(name.removeprefix("iuscore."), real)
            if module is real:
                return real(name, package)
            if isinstance(module, Exception):
                raise module
            return module

        monkeypatch.setattr(importlib, "import_module", import_module)
        _backend.extension.cache_clear()
        _backend._able.clear()
        return report_lines()

    yield report
    monkeypatch.undo()
    _backend.extension.cache_clear()
    _backend._able.clear()


def core(cuda: str) -> SimpleNamespace:
    info = {"version": "0", "commit": "c" * 40, "compiler": "GNU 12", "cuda": cuda, "cpu_isa": "avx2"}
    return SimpleNamespace(build_info=lambda: info)


def cuda(**status: Any) -> SimpleNamespace:
    full = {"runtime": 13000, "driver": 13000, "devices": 1, "error": None, **status}
    return SimpleNamespace(status=lambda: full, build_info=lambda: {"nvcc": "13.0", "architectures": "80 90"})


def gone(name: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"No module named 'iuscore.{name}'", name=f"iuscore.{name}")


def test_a_build_without_nvcc_says_so(simulate: Simulate) -> None:
    lines = simulate(_core=core(NO_NVCC), _cuda=gone("_cuda"))
    assert lines[0].endswith(f"commit {'c' * 40}")
    assert line_of(lines, "  cuda ") == NO_NVCC


def test_a_missing_compiled_module_is_named(simulate: Simulate) -> None:
    lines = simulate(_core=gone("_core"), _cuda=gone("_cuda"))
    assert lines[0].endswith("commit unknown")
    assert line_of(lines, "  cpu ") == "not built"
    assert line_of(lines, "  cuda ") == "not built: the CPU module is missing too (not built)"
    assert line_of(lines, "  perceptual_maps on cpu:") == "torch (not built)"


def test_a_module_that_does_not_load_is_named(simulate: Simulate) -> None:
    why = "libstdc++.so.6: version `GLIBCXX_3.4.99' not found"
    lines = simulate(_core=ImportError(why), _cuda=gone("_cuda"))
    assert line_of(lines, "  cpu ") == why
    assert line_of(lines, "  perceptual_maps on cpu:") == f"torch ({why})"


def test_a_missing_driver_is_named(simulate: Simulate) -> None:
    error = "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version"
    assert line_of(simulate(_cuda=cuda(error=error)), "  cuda ") == f"built, but {error}"


def test_a_torch_without_cuda_is_named(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    why = "built, but this torch sees no CUDA device (a CPU build of torch)"
    assert line_of(simulate(_cuda=cuda()), "  cuda ") == why


def test_a_gpu_older_than_the_kernels_is_named(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (7, 5))
    lines = simulate(_cuda=cuda())
    why = "built for compute capability 8.0 and newer, this GPU has 7.5"
    assert line_of(lines, "  cuda ") == why
    assert line_of(lines, "  perceptual_maps on cuda:0:") == f"torch ({why})"


def test_a_gpu_is_available_and_used(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "Some GPU")
    lines = simulate(_cuda=cuda())
    assert line_of(lines, "  cuda ").startswith("available: Some GPU")
    assert line_of(lines, "  perceptual_maps on cuda:0:") == "cuda"


def test_a_gpu_that_works_is_asked_once(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call of an op checks the GPU; the result is kept only for a GPU that works."""
    asked: list[object] = []
    status = {"runtime": 13000, "driver": 13000, "devices": 2, "error": "no driver"}
    module = SimpleNamespace(status=lambda: asked.append("status") or status, build_info=dict)  # type: ignore[func-returns-value]
    for name, value in (("is_available", True), ("device_count", 0), ("current_device", 1)):
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    capabilities = {0: (9, 0), 1: (9, 0), 2: (7, 5), None: (9, 0)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda d=None: capabilities[getattr(d, "index", None)])
    simulate(_cuda=module)
    for _ in range(2):
        assert _backend.why_not_cuda(torch.device("cuda:0")) == "built, but no driver"
    status["error"] = ""
    asked.clear()
    current = [None, torch.device("cuda"), torch.device("cuda:1")]
    assert [_backend.why_not_cuda(device) for device in [*current, torch.device("cuda:0"), *current]] == [""] * 7
    assert asked == ["status"] * 2
    for _ in range(2):
        assert _backend.why_not_cuda(torch.device("cuda:2")).endswith("this GPU has 7.5")
    assert asked == ["status"] * 4


def test_import_and_ops_work_without_compiled_modules() -> None:
    code = BLOCKED.format(blocked={"iuscore._core", "iuscore._cuda"}) + (
        "import torch, iuscore\n"
        "image = torch.arange(48, dtype=torch.uint8).reshape(1, 4, 4, 3)\n"
        "maps = iuscore.ops.perceptual_maps(image, size=(8, 8))\n"
        "iuscore.ops.perceptual_maps(image, size=(8, 8))\n"
        "print(tuple(maps.shape))\n"
        "try:\n"
        "    iuscore.ops.perceptual_maps(image, size=(8, 8), backend='native')\n"
        "except RuntimeError as error:\n"
        "    print(error)\n"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    shape, error = done.stdout.splitlines()
    assert shape == "(1, 4, 8, 8)"
    assert error.startswith("perceptual_maps: backend='native' cannot run on cpu: not built")
    assert done.stderr.splitlines() == ["iuscore: iuscore._core is not available: not built"]


def test_a_missing_cuda_module_is_one_line() -> None:
    code = (
        BLOCKED.format(blocked={"iuscore._cuda"})
        + "import iuscore._environment as d\nprint(*d.report_lines(), sep='\\n')\n"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("iuscore: iuscore._cuda is not available: ")
    assert line_of(done.stdout.splitlines(), "  perceptual_maps on cpu:") == "cpu"


def test_importing_the_package_imports_no_compiled_module() -> None:
    code = "import sys, iuscore; print([name for name in sys.modules if name in ('iuscore._core', 'iuscore._cuda')])"
    assert python("-c", code).stdout.strip() == "[]"
    assert iuscore.__doc__
