"""The list of ops, csrc/ops/ops.def, is the only one; from the name of an op follow the paths of its files."""

from __future__ import annotations

import re

import pytest

import iuscore.ops
from iuscore.ops._backend import extension
from iuscore.ops._constants import OPS
from tests.project.tree import ROOT

LISTED = tuple(re.findall(r"^IUSCORE_OP\((\w+)\)$", (ROOT / "csrc/ops/ops.def").read_text(), re.M))
PATHS = (
    "csrc/ops/{}.h",
    "csrc/cpu/{}.cpp",
    "csrc/cuda/{}.cu",
    "csrc/bindings/{}.cpp",
    "python/iuscore/ops/{}.py",
    "python/iuscore/ops/_native/{}.py",
    "python/iuscore/ops/_torch/{}.py",
    "tests/cpp/run_{}.cpp",
    "tests/equivalence/test_{}.py",
)
# Sources that are not named after an op.
SHARED = {"csrc/cpu": {"isa"}, "csrc/cuda": set(), "csrc/bindings": {"core_module", "cuda_module"}}


def test_python_knows_the_ops_of_the_list() -> None:
    assert len(LISTED) == len(set(LISTED)) >= 9
    assert OPS == LISTED


@pytest.mark.parametrize("name", ["_core", "_cuda"])
def test_a_module_offers_the_ops_of_the_list(name: str) -> None:
    module, why = extension(name)  # type: ignore[arg-type]
    if module is None:
        pytest.skip(why)
    assert module.OPS == LISTED


@pytest.mark.parametrize("op", LISTED)
def test_the_name_of_an_op_gives_its_files(op: str) -> None:
    assert [path for path in PATHS if not (ROOT / path.format(op)).is_file()] == []
    assert callable(getattr(iuscore.ops, op))


@pytest.mark.parametrize("folder", SHARED)
def test_a_source_file_belongs_to_an_op(folder: str) -> None:
    names = {path.stem.removesuffix("_isa") for path in (ROOT / folder).iterdir() if path.suffix in (".cpp", ".cu")}
    assert names - SHARED[folder] == set(LISTED)


def test_a_header_is_included_by_several_files() -> None:
    """What one file alone includes is part of that file."""
    files = [path for folder in ("csrc", "tests/cpp") for path in (ROOT / folder).rglob("*") if path.is_file()]
    headers = [path for path in files if path.suffix in (".h", ".cuh") and path.is_relative_to(ROOT / "csrc")]
    includes = {path: set(re.findall(r'^#include "([^"]+)"$', path.read_text(), re.M)) for path in files}
    counts = {
        name: sum(name in included for included in includes.values())
        for name in (path.relative_to(ROOT / "csrc").as_posix() for path in headers)
    }
    assert {name: count for name, count in counts.items() if count < 2} == {}
