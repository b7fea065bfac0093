"""The stubs of the compiled modules are what the modules say of themselves."""

from __future__ import annotations

from tests.project.tree import ROOT, python, require_module


def test_stubs_are_up_to_date() -> None:
    require_module("pybind11_stubgen")
    require_module("ruff")
    done = python(ROOT / "tools/generate_stubs.py", "--check")
    assert done.returncode == 0, f"run tools/generate_stubs.py:\n{done.stdout}{done.stderr}"
    assert "_core: not built" not in done.stdout


def test_package_is_marked_as_typed() -> None:
    assert (ROOT / "python/iuscore/py.typed").read_text() == ""
