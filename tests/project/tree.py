"""Shared by the tests of the source tree and of the build: files, tools, and how to run them."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CI = os.environ.get("CI") == "true"
# What building and testing leave behind, for trees that are no git checkout (an unpacked sdist).
LEFT_BEHIND = {"build", "dist", "_build", "__pycache__", ".venv", "PKG-INFO", "shared"}


@functools.cache
def tracked_files() -> tuple[Path, ...]:
    """The files git tracks, relative to the root; in an unpacked sdist, all files."""
    if (ROOT / ".git").exists():
        done = run(["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"])
        assert done.returncode == 0, done.stderr
        found = [Path(name) for name in done.stdout.split("\0") if name]
    else:
        found = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()]
        found = [p for p in found if not LEFT_BEHIND & set(p.parts) and p.suffix != ".so" and "_cache" not in str(p)]
    return tuple(sorted(path for path in found if (ROOT / path).exists()))


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    seconds: float = 280,
) -> subprocess.CompletedProcess[str]:
    """Runs the command without input; its output as text."""
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=None if environment is None else dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def python(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Runs this interpreter, so that the package under test is the one found here."""
    return run([sys.executable, *arguments], **options)  # type: ignore[arg-type]


def missing(why: str) -> None:
    """Skip the test because a tool is missing; with CI=true this is a failure, so that no check is lost unseen."""
    if CI:
        pytest.fail(f"CI=true, but {why}")
    pytest.skip(why)


def require_module(name: str) -> None:
    """The tool ``python -m <name>``."""
    if importlib.util.find_spec(name) is None:
        missing(f"{name} is not installed: pip install '.[test]'")


def require_program(name: str) -> str:
    """The path of a program: beside this interpreter or on PATH."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        missing(f"{name} is not on PATH")
    return str(found)
