"""What nvcc makes of the CUDA sources: no warning, no spill, nothing forbidden; for every architecture of the wheel.

The compiler is called as CMake would call it, so a flag that goes missing there is missing here.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mechanics.test_build import configure
from tests.mechanics.tree import ROOT, missing, run

SOURCE = ROOT / "csrc/cuda/perceptual_maps.cu"
# Pixel types x color or gray x modes.
KERNELS = 20


@dataclass(frozen=True)
class Build:
    log: str
    object: Path
    ptx: str
    architectures: int

    @property
    def kernels(self) -> int:
        return KERNELS * self.architectures


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    # Also where CI=true: a machine without CUDA is no gap there.
    if shutil.which("nvcc") is None:
        pytest.skip("no nvcc on PATH")
    folder = tmp_path_factory.mktemp("nvcc")
    options = ["-DCMAKE_BUILD_TYPE=Release", "-DIUSCORE_WERROR=ON", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"]
    log = configure(folder, *options)
    commands = json.loads((folder / "compile_commands.json").read_text())
    found = [shlex.split(entry["command"]) for entry in commands if Path(entry["file"]) == SOURCE]
    if not found:
        missing("\n".join(line for line in log.splitlines() if "CUDA module" in line))
    (command,) = found
    target = folder / "perceptual_maps.o"
    command[command.index("-o") + 1] = str(target)
    command += ["-Xptxas", "-v", "--threads", "2", "--keep", "--keep-dir", str(folder)]
    done = run(command, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    architectures = len(re.findall(r"code=\[[^]]*\bsm_\d+", shlex.join(command)))
    assert architectures > 0
    ptx = "\n".join(path.read_text() for path in sorted(folder.glob("*.ptx")))
    return Build(done.stderr, target, ptx, architectures)


def test_no_kernel_spills(build: Build) -> None:
    frames = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", build.log)
    assert len(frames) == build.kernels
    assert set(frames) == {("0", "0", "0")}


def test_registers_leave_room_for_the_largest_block(build: Build) -> None:
    registers = [int(n) for n in re.findall(r"Used (\d+) registers", build.log)]
    assert len(registers) == build.kernels
    header = (ROOT / "csrc/ops/perceptual_maps.h").read_text()
    (largest_block,) = re.findall(r"\bkLargestCudaBlock = (\d+);", header)
    assert max(registers) <= 65536 // int(largest_block) // 8 * 8


def test_no_float_atomics_and_no_contraction_in_ptx(build: Build) -> None:
    assert build.ptx.count(".visible .entry") == build.kernels
    # Float atomics in shared memory become loops that spin on a compare-and-swap.
    assert re.findall(r"\b(?:atom|red)\.[\w.:]*(?:f16|bf16|f32|f64|cas)\w*", build.ptx) == []
    assert re.findall(r"\bfma\.\w+\.f32\b", build.ptx) == []
    assert re.findall(r"\b(?:div|sqrt)\.(?:approx|full)\w*", build.ptx) == []
    assert re.findall(r"\b(?:ld|st)\.local\b", build.ptx) == []


def test_no_spinning_atomics_in_machine_code(build: Build) -> None:
    if shutil.which("cuobjdump") is None:
        pytest.skip("no cuobjdump on PATH")
    done = run(["cuobjdump", "-sass", build.object])
    assert done.returncode == 0, done.stderr
    assert re.findall(r"\b(?:ATOMS?\.CAST?\.SPIN|ATOM[SG]?\.CAS|LDL|STL)\b", done.stdout) == []
