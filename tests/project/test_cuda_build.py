"""Output of nvcc for every architecture of the wheel: no warning, no spill, no forbidden instruction.

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

from tests.project.machine_code import LOCAL, Function, disassembled, functions_of
from tests.project.test_build import configure
from tests.project.tree import ROOT, missing, run

OPS = sorted(path.stem for path in (ROOT / "csrc/cuda").glob("*.cu"))
# Kernels that count in shared memory, by a part of their names.
COUNTING = {
    "color_histogram": ("color_histogram_kernel",),
    "glcm": ("glcm_kernel",),
    "glcm_features": ("glcm_count_kernel",),
    "texture_stats": ("texture_stats_kernel",),
}
NOT_COUNTING = {"additive_cnn", "additive_lookup", "additive_mlp", "image_views", "perceptual_maps", "resize"}
# Ops whose arithmetic is written with explicit multiply-adds.
WITH_FMA = {"additive_cnn", "additive_mlp", "image_views"}
# Kernels that move float16, 16 bytes at a time.
WIDE = {"additive_cnn": ("first", "rectify", "pool", "dense")}
# Code that runs once per image or matrix may spill registers; counting loops may not.
SPILLS_OUTSIDE_LOOPS = {"texture_stats"}
# Arrays in local memory outside the loops that cost time.
LOCAL_ARRAYS = {"additive_mlp_add_kernel"}


@dataclass(frozen=True)
class Build:
    op: str
    log: str
    object: Path
    ptx: str
    architectures: int


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """How CMake compiles each op."""
    # Skips even with CI=true, because CI machines need no CUDA.
    if shutil.which("nvcc") is None:
        pytest.skip("no nvcc on PATH")
    folder = tmp_path_factory.mktemp("configured")
    options = ["-DCMAKE_BUILD_TYPE=Release", "-DIUSCORE_WERROR=ON", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"]
    log = configure(folder, *options)
    entries = json.loads((folder / "compile_commands.json").read_text())
    found = {Path(entry["file"]).stem: shlex.split(entry["command"]) for entry in entries if ".cu" in entry["file"]}
    if not found:
        missing("\n".join(line for line in log.splitlines() if "CUDA module" in line))
    return found


@pytest.fixture(scope="module", params=OPS)
def build(
    request: pytest.FixtureRequest, commands: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Build:
    op = request.param
    folder = tmp_path_factory.mktemp(op)
    target = folder / f"{op}.o"
    command = list(commands[op])
    command[command.index("-o") + 1] = str(target)
    command += ["-Xptxas", "-v", "--threads", "2", "--keep", "--keep-dir", str(folder)]
    done = run(command, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    architectures = len(re.findall(r"code=\[[^]]*\bsm_\d+", shlex.join(command)))
    assert architectures > 0
    ptx = "\n".join(path.read_text() for path in sorted(folder.glob("*.ptx")))
    return Build(op, done.stderr, target, ptx, architectures)


@pytest.fixture(scope="module")
def functions(build: Build) -> list[Function]:
    return [function for function in disassembled(build.object) if "_kernel" in function.name]


def test_every_op_is_compiled(commands: dict[str, list[str]]) -> None:
    assert sorted(commands) == OPS
    assert set(COUNTING) | NOT_COUNTING == set(OPS), "a new op: does it count?"


def test_no_kernel_spills(build: Build) -> None:
    frames = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", build.log)
    assert len(frames) >= build.log.count("Compiling entry function") > 0
    if build.op not in SPILLS_OUTSIDE_LOOPS:
        assert {(stores, loads) for _, stores, loads in frames} == {("0", "0")}


def test_every_kernel_says_how_many_threads_it_takes(build: Build) -> None:
    """With launch bounds the compiler limits the registers, so that the block can run."""
    kernels = build.ptx.count(".visible .entry")
    assert kernels % build.architectures == 0
    assert kernels == build.log.count("Compiling entry function")
    assert build.ptx.count(".maxntid") == kernels


def test_no_float_atomics_and_no_contraction_in_ptx(build: Build) -> None:
    # Float atomics in shared memory become loops that spin on a compare-and-swap.
    assert re.findall(r"\b(?:atom|red)\.[\w.:]*(?:f16|bf16|f32|f64|cas)\w*", build.ptx) == []
    fma = set(re.findall(r"\bfma\.\w+\.(?:f32|f64)\b", build.ptx))
    assert fma == ({"fma.rn.f32"} if build.op in WITH_FMA else set())
    assert re.findall(r"\b(?:div|sqrt|lg2|ex2|sin|cos|tanh)\.(?:approx|full)\w*", build.ptx) == []


def test_no_spinning_atomics_in_machine_code(build: Build, functions: list[Function]) -> None:
    assert len(functions) == build.ptx.count(".visible .entry")
    for function in functions:
        assert function.named("ATOMS.CAS", "ATOM.CAS", "ATOMG.CAS") == [], function.name
        assert [i for i in function.instructions if "SPIN" in i.name] == [], function.name


def test_no_local_memory_in_machine_code(build: Build, functions: list[Function]) -> None:
    for function in functions:
        assert function.local_memory_while_counting() == [], function.name
        cold = build.op in SPILLS_OUTSIDE_LOOPS or any(name in function.name for name in LOCAL_ARRAYS)
        assert cold or function.named(*LOCAL) == [], function.name


def test_counting_kernels_merge_lanes(build: Build, functions: list[Function]) -> None:
    """Lanes of a warp that count in one cell cost one addition, so flat images are no slower than others."""
    names = COUNTING.get(build.op, ())
    counting = [function for function in functions if any(name in function.name for name in names)]
    assert len({function.architecture for function in counting}) == (build.architectures if names else 0)
    for function in counting:
        assert function.counting_loops(), (function.name, function.architecture)


def test_kernels_load_and_store_wide_words(build: Build) -> None:
    """float16 is loaded and stored eight at a time."""
    kernels = dict(re.findall(r"\.entry \w*?(\w+_kernel)\w*\((.*?)\n}", build.ptx, re.S))
    for name in WIDE.get(build.op, ()):
        (text,) = (text for kernel, text in kernels.items() if kernel.endswith(f"{name}_kernel"))
        assert re.search(r"\bld\.global\.v4\.", text), name
        assert not re.search(r"\b(?:ld|st)\.global\.[a-z]?(?:16|8)\b|\b(?:ld|st)\.global\.v2\.", text), name
        assert name == "dense" or re.search(r"\bst\.global\.v4\.", text), name


LISTING = """
Fatbin elf code:
================
arch = sm_90
                Function : planted_kernel
        /*0000*/                   LDL R1, [R2] ;                        /* 0x0 */
        /*0010*/                   ISETP.GE.AND P0, PT, R0, R3, PT ;     /* 0x0 */
        /*0020*/              @!P0 ATOMS.POPC.INC.32 RZ, [R4+URZ] ;      /* 0x0 */
        /*0030*/                   STL [R2], R1 ;                        /* 0x0 */
        /*0040*/               @P0 BRA 0x10 ;                            /* 0x0 */
        /*0050*/                   ATOMS.CAST.SPIN.64 R2, [R3] ;         /* 0x0 */
        /*0060*/                   BRA 0x0 ;                             /* 0x0 */
"""


def test_planted_instructions_are_found() -> None:
    (function,) = functions_of(LISTING)
    assert (function.name, function.architecture) == ("planted_kernel", "sm_90")
    assert function.loops() == [(0x10, 0x40), (0x0, 0x60)]
    assert function.counting_loops() == {(0x10, 0x40)}
    assert [i.address for i in function.local_memory_while_counting()] == [0x30]
    assert [i.name for i in function.instructions if "SPIN" in i.name] == ["ATOMS.CAST.SPIN.64"]
    assert len(function.named(*LOCAL)) == 2
