"""Includes and imports follow the arrows between layers in docs/design.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.project.tree import ROOT

# Standard headers without allocation, I/O, exceptions, containers or threads.
SCALAR_HEADERS = {"cfloat", "climits", "cmath", "cstddef", "cstdint", "cstring", "limits", "type_traits"}
# layer: the layers it may include
CPP_LAYERS = {
    "core": {"core"},
    "ops": {"ops", "core"},
    "cpu": {"cpu", "ops", "core"},
    "cuda": {"cuda", "ops", "core"},
    "bindings": {"bindings", "cpu", "cuda", "ops", "core"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def _system_header_allowed(layer: str, header: str) -> bool:
    if layer in ("core", "ops"):
        return header in SCALAR_HEADERS
    if header.startswith(("torch/", "ATen/", "c10/")):
        return False
    if header.startswith("pybind11/") or header == "Python.h":
        return layer == "bindings"
    if header.startswith("cuda"):
        return layer in ("cuda", "bindings")
    return True


def include_violations(layer: str, name: str, text: str) -> list[str]:
    """The includes that a file of ``layer`` must not have."""
    found = []
    for bracket, header in INCLUDE.findall(text):
        if bracket == '"':
            wrong = header.split("/")[0] not in CPP_LAYERS[layer] or "/" not in header or ".." in header
        else:
            wrong = not _system_header_allowed(layer, header)
        if wrong:
            found.append(f"{name}: a file of csrc/{layer} must not include {header}")
    return found


def test_includes_point_one_way() -> None:
    found = []
    layers = sorted(path for path in (ROOT / "csrc").iterdir() if path.is_dir())
    assert {path.name for path in layers} <= set(CPP_LAYERS), "a folder of csrc that docs/design.md does not know"
    for layer in layers:
        for path in sorted(path for path in layer.rglob("*") if path.is_file()):
            found += include_violations(layer.name, str(path.relative_to(ROOT)), path.read_text())
    assert found == []


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        ("core", '#include "ops/perceptual_maps.h"'),
        ("core", "#include <vector>"),
        ("core", "#  include <thread>"),
        ("ops", '#include "cpu/isa.h"'),
        ("ops", "#include <pybind11/pybind11.h>"),
        ("cpu", '#include "cuda/block.cuh"'),
        ("cpu", '#include "bindings/module.h"'),
        ("cpu", "#include <pybind11/numpy.h>"),
        ("cuda", '#include "cpu/parallel_for.h"'),
        ("cuda", "#include <torch/extension.h>"),
        ("bindings", "#include <ATen/ATen.h>"),
        ("cpu", '#include "../cuda/block.cuh"'),
        ("cpu", '#include "isa.h"'),
    ],
)
def test_planted_includes_are_found(layer: str, text: str) -> None:
    assert len(include_violations(layer, "planted", f"#pragma once\n{text}\n")) == 1


INLINE = re.compile(r"^[ \t]*(?:template *<[^\n]*> *)?(?:constexpr )?inline\b.*\(", re.MULTILINE)


def _with_includes(path: Path, seen: set[Path]) -> set[Path]:
    if path not in seen:
        seen.add(path)
        for bracket, header in INCLUDE.findall(path.read_text()):
            if bracket == '"':
                _with_includes(ROOT / "csrc" / header, seen)
    return seen


def test_instruction_sets_see_no_function_that_the_linker_could_share() -> None:
    seen: set[Path] = set()
    for isa in (ROOT / "csrc" / "cpu").glob("*_isa.cpp"):
        _with_includes(isa, seen)
    assert ROOT / "csrc" / "core" / "macros.h" in seen
    # Functions in the namespace of an instruction set have distinct names.
    texts = {
        path: text for path in sorted(seen) if "namespace iuscore::IUSCORE_ISA {" not in (text := path.read_text())
    }
    found = [f"{path.relative_to(ROOT)}: {match[0]}" for path, text in texts.items() for match in INLINE.finditer(text)]
    assert found == [], "csrc/core/macros.h says why these are IUSCORE_HD"


def test_planted_inline_functions_are_found() -> None:
    assert INLINE.search("inline std::int64_t rows(std::int64_t width) { return width; }")
    assert INLINE.search("template <class T>\ninline T twice(T x) { return x + x; }")
    assert not INLINE.search("IUSCORE_HD std::int64_t rows(std::int64_t width) { return width; }")


def test_kernels_have_no_static_shared_memory() -> None:
    """Launcher.launch (csrc/cuda/launch.h) requests all shared memory, which leaves none for static arrays."""
    texts = {path.name: path.read_text() for path in (ROOT / "csrc" / "cuda").iterdir()}
    found = {name: re.findall(r"(\w*) *\b__shared__", text) for name, text in texts.items()}
    assert {name: words for name, words in found.items() if words} == {"block.cuh": ["extern"]}


PACKAGE = ROOT / "python" / "iuscore"
# Module or package of python/iuscore: what of the package it may import, itself always. "" is the package's own
# __init__, which only re-exports. A new module needs a line here, and with it a place in docs/design.md.
ALLOWED: dict[str, set[str]] = {
    "": {"errors", "ops", "phantoms", "scoring"},
    "errors": set(),
    "progress": set(),
    "_run": {"errors"},
    "phantoms": {"errors"},
    "ops": {"errors"},
    "_environment": {"ops"},
    "images": {"errors", "_run"},
    "features": {"errors", "ops"},
    "models": {"_environment", "_run", "errors", "features", "ops"},
    "scoring": {"_run", "errors", "features", "images", "models", "ops"},
    "explain": {"_environment", "_run", "errors", "features", "images", "models", "ops", "progress", "scoring"},
    "fit": {"_environment", "_run", "errors", "explain", "features", "images", "models", "ops", "progress", "scoring"},
    "engine": {
        "_environment",
        "_run",
        "errors",
        "explain",
        "features",
        "images",
        "models",
        "ops",
        "progress",
        "scoring",
    },
    "demo": {"engine", "features", "fit", "models", "phantoms", "progress", "scoring"},
    "metrics": {"errors", "ops", "scoring"},
}
ALLOWED["__main__"] = {"_run", "cli"}
ALLOWED["cli"] = set(ALLOWED) - {"", "__main__"}
EXTENSIONS = {"_core", "_cuda"}
# Third-party packages, and the only places they belong to.
# scoring only names the type of the images it takes; explain makes small pictures for a page.
ONLY_IN = {
    "click": {"cli"},
    "tqdm": {"cli"},
    "PIL": {"explain", "images", "phantoms", "scoring"},
    "jinja2": {"explain"},
    "markupsafe": {"explain"},
    "simplejpeg": {"images"},
    "torchmetrics": {"metrics"},
    "yaml": {"models"},
}


def imported_names(tree: ast.AST, package: str) -> set[str]:
    """Absolute dotted names of everything imported anywhere in the file, in functions too.

    ``from a import b`` counts as ``a.b``: b may be a module. ``package`` resolves relative imports.
    """
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            names |= {f"{source}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            argument = node.args[0]
            names |= {argument.value} if isinstance(argument, ast.Constant) else {ast.unparse(argument).strip("f'\"")}
    return names


def import_violations(path: Path, text: str) -> list[str]:
    """What the file at ``path`` (relative to the package) imports or calls and must not."""
    tree = ast.parse(text)
    parts = ["iuscore", *path.with_suffix("").parts]
    package = ".".join(parts[:-1])
    unit = "" if path.parts == ("__init__.py",) else path.with_suffix("").parts[0]
    names = imported_names(tree, package)
    if unit not in ALLOWED:
        return [f"{path}: not in the table of this test"]

    found = []
    for name in sorted(names):
        top, *rest = name.split(".")
        if top == "iuscore":
            target = rest[0] if rest and (rest[0] in ALLOWED or rest[0] in EXTENSIONS or "{" in rest[0]) else ""
            if target in EXTENSIONS or "{" in target:
                # extension() in ops/_backend.py is the one door to them; the package itself imports by name.
                if path.as_posix() != "ops/_backend.py" and (target in EXTENSIONS or unit != ""):
                    found.append(f"{path}: imports a compiled module: {name}")
            elif target != unit and target not in ALLOWED[unit]:
                found.append(f"{path}: {unit or 'iuscore'} must not import {name}")
            if path.parts[:2] == ("ops", "_torch") and name.startswith(("iuscore.ops._native", "iuscore.ops._backend")):
                found.append(f"{path}: the torch implementations know no extension module: {name}")
        elif unit not in ONLY_IN.get(top, {unit}) and rest != ["__version__"]:
            found.append(f"{path}: {top} belongs to {sorted(ONLY_IN[top])}")
    return found + _printing(path, tree)


def _printing(path: Path, tree: ast.AST) -> list[str]:
    if path.parts[0] == "cli":
        return []
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    wrong = [c for c in calls if c in ("print", "echo", "click.echo") or c.startswith(("sys.stdout.", "sys.stderr."))]
    return [f"{path}: only cli/ prints: {call}" for call in wrong]


def test_imports_point_one_way() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        found += import_violations(path.relative_to(PACKAGE), path.read_text())
    assert found == []


def test_the_table_names_no_module_that_is_gone() -> None:
    units = {path.stem if path.is_file() else path.name for path in PACKAGE.iterdir()}
    assert {unit for unit in ALLOWED if unit} <= units


def test_the_table_has_no_cycle() -> None:
    done: set[str] = set()
    while rest := set(ALLOWED) - done:
        free = {unit for unit in rest if not (ALLOWED[unit] - done)}
        assert free, f"a cycle among {sorted(rest)}"
        done |= free


def file_imports() -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports, anywhere in the file."""
    modules = {
        ".".join(["iuscore", *path.relative_to(PACKAGE).with_suffix("").parts]): path for path in PACKAGE.rglob("*.py")
    }
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    found = {}
    for name, path in modules.items():
        names = imported_names(
            ast.parse(path.read_text()), name if path.stem == "__init__" else name.rpartition(".")[0]
        )
        # The package's own __init__ only re-exports, and the compiled modules seem to be its attributes.
        found[name] = {n if n in modules else n.rpartition(".")[0] for n in names} & set(modules) - {name, "iuscore"}
    return found


def in_circles(imports: Mapping[str, set[str]]) -> list[str]:
    """The modules that import themselves through others."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(imports[start])
        while waiting:
            if (name := waiting.pop()) not in seen:
                seen.add(name)
                waiting += imports[name]
        return seen

    return sorted(name for name in imports if name in reached(name))


def test_no_file_imports_itself_through_others() -> None:
    assert in_circles(file_imports()) == []


def test_planted_circles_are_found() -> None:
    assert in_circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["b", "c"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("images/folder.py", "from iuscore.models import load_model"),
        ("images/folder.py", "def f():\n    from iuscore import models"),
        ("images/folder.py", "from .. import models"),
        ("models/files.py", "from iuscore.images import open_source"),
        ("models/epu.py", "import iuscore.fit"),
        ("models/epu.py", "from ..cli import main"),
        ("models/epu.py", "from iuscore import Scorer"),
        ("models/base.py", "from iuscore.scoring import load"),
        ("scoring/scorer.py", "from iuscore.cli import main"),
        ("ops/_torch/perceptual_maps.py", "from iuscore.ops import _native"),
        ("ops/_torch/perceptual_maps.py", "from iuscore.ops._backend import extension"),
        ("ops/perceptual_maps.py", "from iuscore import _core"),
        ("ops/perceptual_maps.py", "import importlib\nimportlib.import_module('iuscore._cuda')"),
        ("models/epu.py", "import click"),
        ("models/base.py", "import PIL.Image"),
        ("scoring/scorer.py", "import torchmetrics"),
        ("scoring/scorer.py", "print('scored')"),
        ("scoring/scorer.py", "import sys\nsys.stdout.write('scored')"),
        ("new_verb.py", "import torch"),
    ],
)
def test_planted_imports_are_found(path: str, text: str) -> None:
    assert len(import_violations(Path(path), text)) == 1


def test_allowed_imports_pass() -> None:
    allowed = "import torch\nfrom iuscore.ops import COMPONENTS\nfrom iuscore.models.base import SPACES\n"
    assert import_violations(Path("models/epu.py"), allowed) == []
    assert import_violations(Path("cli/_fit.py"), "import click\nclick.echo('x')\nprint('y')") == []
