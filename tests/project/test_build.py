"""The C++ sources compile without a warning, and a build says in one line that it has no CUDA module."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.project.tree import ROOT, require_program, run


def configure(
    build: Path, *options: str, path: str | None = None, variables: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Configures the project in ``build``; the log."""
    pybind11 = pytest.importorskip("pybind11")
    environment = {**os.environ, "PATH": os.environ["PATH"] if path is None else path}
    for name in ("CUDACXX", "CUDA_PATH", "CUDAARCHS", "CXXFLAGS", "CMAKE_GENERATOR"):
        environment.pop(name, None)
    environment |= variables
    ninja = require_program("ninja")
    command = [require_program("cmake"), "-S", ROOT, "-B", build, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    command += [f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}", *options]
    done = run(command, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def compiler_only(tmp_path: Path) -> str:
    """A PATH that holds a C++ compiler and git, and no nvcc."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("c++", "g++", "clang++", "git", "ld", "as", "ar", "ranlib"):
        if found := shutil.which(name):
            (programs / name).symlink_to(found)
    return str(programs)


def test_clang_gives_no_warning(tmp_path: Path) -> None:
    """g++ is covered too: test_package.py builds the wheel with IUSCORE_WERROR."""
    if shutil.which("clang++") is None:
        pytest.skip("clang++ is not on PATH")
    options = ["-DCMAKE_BUILD_TYPE=Debug", "-DIUSCORE_WERROR=ON", "-DIUSCORE_CUDA=OFF", "-DCMAKE_CXX_FLAGS=-g0"]
    configure(tmp_path, *options, "-DCMAKE_CXX_COMPILER=clang++")
    done = run([require_program("cmake"), "--build", tmp_path])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stdout


def test_every_file_is_compiled_with_warnings_as_errors(tmp_path: Path) -> None:
    configure(tmp_path, "-DIUSCORE_WERROR=ON", "-DIUSCORE_CUDA=OFF", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON")
    commands = json.loads((tmp_path / "compile_commands.json").read_text())
    for flag in ("-Werror", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow"):
        assert [c["file"] for c in commands if flag not in c["command"].split()] == []


def test_no_file_is_compiled_with_contraction(tmp_path: Path) -> None:
    configure(tmp_path, "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON")
    commands = json.loads((tmp_path / "compile_commands.json").read_text())
    folders_and_names = {"/".join(Path(c["file"]).parts[-2:]) for c in commands}
    assert {"bindings/color_histogram.cpp", "cpu/texture_stats_isa.cpp"} <= folders_and_names
    assert [c["file"] for c in commands if "-ffp-contract=off" not in c["command"]] == []


def test_a_missing_nvcc_is_one_line(tmp_path: Path, compiler_only: str) -> None:
    log = configure(tmp_path / "build", "-DIUSCORE_CUDA=AUTO", path=compiler_only)
    lines = log.replace(str(tmp_path), "").splitlines()  # pytest names the folder after the test
    about = [line for line in lines if "cuda" in line.lower() or "nvcc" in line.lower()]
    assert about == ["-- iuscore: CUDA module not built: no nvcc on PATH at build time"]


def test_asking_for_cuda_without_nvcc_fails(tmp_path: Path, compiler_only: str) -> None:
    with pytest.raises(AssertionError, match="IUSCORE_CUDA=ON, but no nvcc was found on PATH"):
        configure(tmp_path / "build", "-DIUSCORE_CUDA=ON", path=compiler_only)


@pytest.mark.parametrize(
    ("gpus", "asked", "expected"),
    [
        ("8.9\n12.0\n12.0\n", None, {"sm_89", "sm_120"}),
        ("9.0\n", "80-real", {"sm_80"}),
        ("No devices were found\n", None, {"sm_80", "compute_90,sm_90", "compute_120,sm_120"}),
    ],
)
def test_cuda_is_built_for_the_gpus_of_this_machine(
    gpus: str, asked: str | None, expected: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("nvcc") is None:
        pytest.skip("no nvcc on PATH")
    tool = tmp_path / "bin/nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\nprintf '{gpus}'\n")
    tool.chmod(0o755)
    options = ["-DIUSCORE_CUDA=ON", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"]
    path = f"{tool.parent}{os.pathsep}{os.environ['PATH']}"
    configure(tmp_path / "build", *options, path=path, variables={} if asked is None else {"CUDAARCHS": asked})
    commands = (tmp_path / "build/compile_commands.json").read_text()
    assert set(re.findall(r"code=\[([^\]]*)\]", commands)) == expected
