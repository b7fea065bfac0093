"""What nvcc makes of the CUDA sources: no warning, no spill, nothing forbidden; for every architecture of the wheel."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ARCHITECTURES = ("80", "90", "120")
# Pixel types x color or gray x modes.
KERNELS = 20
LARGEST_BLOCK = 768
FLAGS = [
    "-std=c++17",
    "-O3",
    "--fmad=false",
    "-Werror",
    "all-warnings",
    "-Xcompiler",
    "-Wall,-Wextra,-Werror",
]


@dataclass(frozen=True)
class Build:
    log: str
    object: Path
    ptx: str


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    if shutil.which("nvcc") is None:
        pytest.skip("no nvcc on PATH")
    folder = tmp_path_factory.mktemp("nvcc")
    target = folder / "perceptual_maps.o"
    command = ["nvcc", *FLAGS, f"-I{ROOT / 'csrc'}", "-Xptxas", "-v", "--threads", "2"]
    command += [f"-gencode=arch=compute_{a},code=sm_{a}" for a in ARCHITECTURES]
    command += ["--keep", "--keep-dir", str(folder), "-o", str(target)]
    command += ["-c", str(ROOT / "csrc/cuda/perceptual_maps.cu")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return Build(done.stderr, target, "\n".join(p.read_text() for p in sorted(folder.glob("*.ptx"))))


def test_no_kernel_spills(build: Build) -> None:
    frames = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", build.log)
    assert len(frames) == KERNELS * len(ARCHITECTURES)
    assert set(frames) == {("0", "0", "0")}


def test_registers_leave_room_for_the_largest_block(build: Build) -> None:
    registers = [int(n) for n in re.findall(r"Used (\d+) registers", build.log)]
    assert len(registers) == KERNELS * len(ARCHITECTURES)
    assert max(registers) <= 65536 // LARGEST_BLOCK // 8 * 8


def test_no_float_atomics_and_no_contraction_in_ptx(build: Build) -> None:
    assert build.ptx.count(".visible .entry") == KERNELS * len(ARCHITECTURES)
    # Float atomics in shared memory become loops that spin on a compare-and-swap.
    assert re.findall(r"\b(?:atom|red)\.[\w.:]*(?:f16|bf16|f32|f64|cas)\w*", build.ptx) == []
    assert re.findall(r"\bfma\.\w+\.f32\b", build.ptx) == []
    assert re.findall(r"\b(?:div|sqrt)\.(?:approx|full)\w*", build.ptx) == []
    assert re.findall(r"\b(?:ld|st)\.local\b", build.ptx) == []


def test_no_spinning_atomics_in_machine_code(build: Build) -> None:
    if shutil.which("cuobjdump") is None:
        pytest.skip("no cuobjdump on PATH")
    command = ["cuobjdump", "-sass", str(build.object)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert re.findall(r"\b(?:ATOMS?\.CAST?\.SPIN|ATOM[SG]?\.CAS|LDL|STL)\b", done.stdout) == []
