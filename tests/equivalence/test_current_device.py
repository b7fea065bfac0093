"""What launchers do to the caller's CUDA device: nothing. A runtime of four devices stands in for CUDA's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.project.tree import ROOT, run


def test_the_callers_device_stays_current(tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("g++ is not on PATH")
    cpp = ROOT / "tests" / "cpp"
    built = run(["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{cpp / 'fake_cuda'}", f"-I{ROOT / 'csrc'}",
                 cpp / "current_device.cpp", "-o", tmp_path / "program"])  # fmt: skip
    assert built.returncode == 0, built.stderr
    done = run([tmp_path / "program"])
    assert done.returncode == 0, done.stdout
