"""Reads what cuobjdump prints of a compiled CUDA file: the instructions of each kernel, and loops among them."""

from __future__ import annotations

import os
import re
import shutil
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.project.tree import run

_FUNCTION = re.compile(r"^\s*Function : (\S+)", re.M)
_ARCHITECTURE = re.compile(r"^arch = (sm_\d+)", re.M)
_INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,})\*/\s+((?:@!?U?P\w+ )?)([A-Z][\w.]*)([^;]*);")
LOCAL = ("LDL", "STL")
COUNT = "ATOMS.POPC.INC"


@dataclass(frozen=True)
class Instruction:
    address: int
    name: str  # with its modifiers
    operands: str


@dataclass(frozen=True)
class Function:
    """A kernel, as the compiler names it, for one architecture."""

    name: str
    architecture: str
    instructions: tuple[Instruction, ...]

    def named(self, *beginnings: str) -> list[Instruction]:
        return [i for i in self.instructions if i.name.startswith(beginnings)]

    def loops(self) -> list[tuple[int, int]]:
        """First and last address of what every branch backwards repeats; from the innermost out."""
        found = []
        for instruction in self.named("BRA"):
            targets = [int(word, 16) for word in re.findall(r"0x([0-9a-f]+)", instruction.operands)]
            found += [(to, instruction.address) for to in targets if to < instruction.address]
        return sorted(found, key=lambda loop: loop[1] - loop[0])

    def counting_loops(self) -> set[tuple[int, int]]:
        """The smallest loop around each counting instruction."""
        loops = self.loops()
        around = (next(((a, b) for a, b in loops if a <= i.address <= b), None) for i in self.named(COUNT))
        return {loop for loop in around if loop is not None}

    def local_memory_while_counting(self) -> list[Instruction]:
        """Accesses to local memory in the counting loops."""
        loops = self.counting_loops()
        return [i for i in self.named(*LOCAL) if any(a <= i.address <= b for a, b in loops)]


def functions_of(listing: str) -> list[Function]:
    """Of all architectures in the output of ``cuobjdump -sass``."""
    found = []
    for part in re.split(r"^(?=Fatbin elf code:)", listing, flags=re.M):
        architecture = _ARCHITECTURE.search(part)
        for text in re.split(r"^(?=[ \t]*Function : )", part, flags=re.M)[1:]:
            name = _FUNCTION.search(text)
            assert name is not None
            assert architecture is not None
            instructions = tuple(Instruction(int(m[1], 16), m[3], m[4]) for m in _INSTRUCTION.finditer(text))
            found.append(Function(name[1], architecture[1], instructions))
    return found


def disassembled(path: Path) -> list[Function]:
    """The kernels in an object file; skips the test where there is no cuobjdump."""
    # On PATH with a CUDA toolkit; or from the packages nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm.
    wheels = sorted(Path(sysconfig.get_path("platlib")).glob("nvidia/cu*/bin"))
    places = os.pathsep.join([os.environ.get("PATH", ""), *map(str, wheels)])
    program = shutil.which("cuobjdump", path=places)
    if program is None or shutil.which("nvdisasm", path=places) is None:
        pytest.skip("no cuobjdump and nvdisasm on PATH or among the installed packages")
    done = run([program, "-sass", path], environment={**os.environ, "PATH": places})
    assert done.returncode == 0, done.stderr
    return functions_of(done.stdout)
