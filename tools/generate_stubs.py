"""Writes what Python knows of the compiled modules from the modules themselves.

python tools/generate_stubs.py            writes python/iuscore/_core.pyi, _cuda.pyi (where that module is built) and
                                          ops/_constants.py: the names of the ops, and limits of the kernels
python tools/generate_stubs.py --check    writes nothing; exit status 1 and the difference where they are out of date
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "python" / "iuscore"
MODULES = ("_core", "_cuda")
# Bare containers, which pybind11 writes for py::dict and py::tuple, are errors for mypy --strict.
BARE = {"dict": "dict[str, typing.Any]", "tuple": "tuple[typing.Any, ...]", "list": "list[typing.Any]"}


CONSTANTS = '''"""The ops, and limits of the kernels: written by tools/generate_stubs.py, from what _core exports.

Python knows them where no compiled module is there, too. What a limit means stands beside it in csrc/ops/<op>.h.
"""

'''


def constants() -> str:
    """The text of ops/_constants.py, of ``iuscore._core`` as it is installed or on the path now."""
    core = importlib.import_module("iuscore._core")
    lines = [f"OPS = {core.OPS!r}", *(f"{name} = {value:_}" for name, value in sorted(core.LIMITS.items()))]
    return _formatted("\n".join([CONSTANTS.rstrip("\n"), "", *lines, ""]))


def _formatted(text: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.py"
        path.write_text(text)
        _run("ruff", "format", "--quiet", f"--config={ROOT / 'pyproject.toml'}", str(path))
        return path.read_text()


def generate(module: str) -> str:
    """The formatted stub of ``iuscore.<module>`` as it is installed or on the path now."""
    with tempfile.TemporaryDirectory() as folder:
        _run("pybind11_stubgen", f"iuscore.{module}", "--output-dir", folder, "--exit-code")
        stub = Path(folder) / "iuscore" / f"{module}.pyi"
        text = re.sub(r"-> (dict|tuple|list):", lambda match: f"-> {BARE[match[1]]}:", stub.read_text())
        stub.write_text(re.sub(r"^(\w+): (dict|tuple) =.*", lambda m: f"{m[1]}: {BARE[m[2]]}", text, flags=re.M))
        configuration = f"--config={ROOT / 'pyproject.toml'}"
        _run("ruff", "check", "--quiet", "--fix-only", configuration, str(stub))
        _run("ruff", "format", "--quiet", configuration, str(stub))
        return stub.read_text()


def _run(*command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Generate the stubs of the compiled modules.")
    parser.add_argument("--check", action="store_true", help="only compare with the stubs in the tree")
    check = parser.parse_args().check
    stale = 0
    files: dict[Path, str] = {}
    for module in MODULES:
        if importlib.util.find_spec(f"iuscore.{module}") is None:
            sys.stdout.write(f"iuscore.{module}: not built, its stub is left as it is\n")
            continue
        files[PACKAGE / f"{module}.pyi"] = generate(module)
        if module == "_core":
            files[PACKAGE / "ops/_constants.py"] = constants()
    for path, new in files.items():
        old = path.read_text() if path.exists() else ""
        if not check:
            path.write_text(new)
        elif old != new:
            stale = 1
            lines = difflib.unified_diff(old.splitlines(True), new.splitlines(True), str(path.name), "generated")
            sys.stdout.writelines(lines)
    return stale


if __name__ == "__main__":
    sys.exit(main())
