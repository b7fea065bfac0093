"""ruff, mypy and clang-format find nothing; no file is too long or names a machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.project.tree import ROOT, python, require_module, require_program, run, tracked_files

PYTHON = (".py", ".pyi")
CPP = (".h", ".cpp", ".cu", ".cuh")
LONGEST = 400
LONGEST_KERNEL = 800  # of csrc/cpu and csrc/cuda, where an op's kernel is one file
# Paths of one machine and hosts that a build must not depend on.
MACHINE = re.compile(r"(?<![\w.~$}/-])/(?:root|home|Users|opt|mnt)/\w|(?:extra-)?index-(?:url)\b")


def sources(*suffixes: str) -> list[Path]:
    return [path for path in tracked_files() if path.suffix in suffixes]


def test_ruff_check_reports_nothing() -> None:
    require_module("ruff")
    done = python("-m", "ruff", "check", "--no-cache", *sources(*PYTHON))
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_format_changes_nothing() -> None:
    require_module("ruff")
    done = python("-m", "ruff", "format", "--check", "--no-cache", *sources(*PYTHON))
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_strict_reports_nothing() -> None:
    require_module("mypy")
    done = python("-m", "mypy", "--strict")
    assert done.returncode == 0, done.stdout + done.stderr


def test_clang_format_changes_nothing() -> None:
    program = require_program("clang-format")
    files = [path for path in sources(*CPP) if path.parts[0] in ("csrc", "tests")]
    assert files
    done = run([program, "--dry-run", "-Werror", *files])
    assert done.returncode == 0, done.stderr


def test_no_file_has_more_than_400_lines() -> None:
    code = [path for path in sources(*PYTHON, *CPP, ".cmake") if path.suffix != ".pyi"]
    lengths = {path: len((ROOT / path).read_text().splitlines()) for path in code}
    kernels = {path for path in code if path.parts[:2] in (("csrc", "cpu"), ("csrc", "cuda"))}
    too_long = {path: n for path, n in lengths.items() if n > (LONGEST_KERNEL if path in kernels else LONGEST)}
    assert too_long == {}


def _text(path: Path) -> str:
    try:
        return (ROOT / path).read_text()
    except UnicodeDecodeError:
        return ""


def test_no_file_names_a_machine() -> None:
    found = []
    for path in tracked_files():
        for number, line in enumerate(_text(path).splitlines(), 1):
            if match := MACHINE.search(line):
                found.append(f"{path}:{number}: {match[0]}")
    assert [line for line in found if not line.startswith("tests/project/test_style.py")] == []


@pytest.mark.parametrize("line", ["see /home/someone/x", "cd '/root/a'", "pip install --index-url=x", "/opt/lib"])
def test_planted_machines_are_found(line: str) -> None:
    assert MACHINE.search(line)


@pytest.mark.parametrize("line", ["../shared/work/x", "a/root/b", "https://example.org/home/x", "the homework/x"])
def test_other_paths_are_not_taken_for_machines(line: str) -> None:
    assert not MACHINE.search(line)
