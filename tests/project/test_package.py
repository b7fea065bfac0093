"""The sdist is what git tracks, a wheel builds from it alone, and its metadata says what pyproject.toml promises."""

from __future__ import annotations

import email
import importlib.util
import json
import re
import shutil
import tarfile
import zipfile
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.project.tree import ROOT, python, require_module, tracked_files

if importlib.util.find_spec("tomllib"):
    import tomllib
else:  # Python 3.10
    import tomli as tomllib

LARGEST_WHEEL = 5_000_000
# Untracked files of a working tree, which do not belong into an sdist.
LEFT_BEHIND = ("build/cp0/CMakeCache.txt", "python/iuscore/_core.so", "shared/data/image.png", "docs/_build/index.html")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("build", "scikit_build_core", "pybind11"):
        require_module(name)
    folder = tmp_path_factory.mktemp("sdist")
    for path in tracked_files():
        (folder / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, folder / "tree" / path)
    for name in LEFT_BEHIND:
        (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "tree" / name).write_text("left behind")
    done = python("-m", "build", "--sdist", "--no-isolation", "--outdir", folder / "dist", cwd=folder / "tree")
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = (folder / "dist").iterdir()
    return found


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (tree,) = folder.iterdir()
    options = [f"-Ccmake.define.{option}" for option in ("IUSCORE_CUDA=OFF", "IUSCORE_WERROR=ON")]
    done = python("-m", "build", "--wheel", "--no-isolation", *options, "--outdir", folder / "dist", cwd=tree)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = (folder / "dist").iterdir()
    return found


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_sdist_holds_what_git_tracks(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {Path(*Path(member.name).parts[1:]).as_posix() for member in archive if member.isfile()}
    assert names == {path.as_posix() for path in tracked_files()} | {"PKG-INFO"}


def test_wheel_holds_the_package_alone(wheel: Path, project: dict[str, Any]) -> None:
    assert wheel.stat().st_size < LARGEST_WHEEL
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    modules = {name for name in names if name.endswith((".so", ".pyd"))}
    assert len(modules) == 1
    assert re.fullmatch(r"iuscore/_core\..+\.(so|pyd)", modules.pop())
    package = {str(path.relative_to("python")) for path in tracked_files() if path.parts[:2] == ("python", "iuscore")}
    assert {"iuscore/py.typed", "iuscore/_core.pyi", "iuscore/cli/__init__.py"} <= package <= names
    rest = {name.split("/")[0] for name in names - package}
    assert rest == {"iuscore", f"iuscore-{project['project']['version']}.dist-info"}


def test_wheel_is_for_this_python_and_platform(wheel: Path) -> None:
    assert re.fullmatch(r"iuscore-[\d.]+-cp3\d+-cp3\d+-(?!any)\w+\.whl", wheel.name)


def test_module_of_the_wheel_loads(wheel: Path, tmp_path: Path, project: dict[str, Any]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith((".so", ".pyd")))
        archive.extract(name, tmp_path)
    code = "import _core; info = _core.build_info(); print(info['version'], info['commit'], info['cuda'], sep='|')"
    done = python("-c", code, cwd=tmp_path / "iuscore")
    # No commit: an sdist does not know one, and must not take that of a repository around it.
    assert done.stdout.strip() == f"{project['project']['version']}|unknown|not built: IUSCORE_CUDA=OFF", done.stderr


def test_metadata_is_that_of_pyproject(metadata: Message, project: dict[str, Any]) -> None:
    assert metadata["Name"] == "iuscore"
    assert metadata["Version"] == project["project"]["version"]
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Requires-Python"] == ">=3.10"
    assert "torch>=2.8" in metadata.get_all("Requires-Dist", [])
    extras = {"plot", "tensorboard", "fast", "dicom", "metrics", "ray", "docs", "test", "bench"}
    assert set(metadata.get_all("Provides-Extra", [])) == extras


def test_the_wheel_installs_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt"))
        text = archive.read(name).decode()
    assert "iuscore=iuscore.__main__:run" in text.replace(" ", "").splitlines()


def test_building_needs_no_torch(project: dict[str, Any]) -> None:
    names = {Requirement(line).name for line in project["build-system"]["requires"]}
    assert names == {"scikit-build-core", "pybind11"}


def test_constraints_pin_what_pyproject_names(project: dict[str, Any]) -> None:
    extras = project["project"]["optional-dependencies"].values()
    lines = [*project["project"]["dependencies"], *(line for extra in extras for line in extra)]
    direct = {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, lines)}
    del direct["iuscore"]
    text = [line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pins = [Requirement(line) for line in text if line]
    here = {canonicalize_name(pin.name): pin for pin in pins if pin.marker is None or pin.marker.evaluate()}
    assert set(here) == set(direct)
    for name, pin in here.items():
        (exact,) = pin.specifier
        assert exact.operator == "=="
        assert "+" not in exact.version, "a local version exists on one index only"
        assert pin.url is None
        assert direct[name].specifier.contains(exact.version)
    assert str(here["torch"]) == "torch==2.13.0"


def test_the_citation_is_of_this_version(project: dict[str, Any]) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == project["project"]["version"]
    assert citation["license"] == project["project"]["license"]
    assert citation["preferred-citation"]["doi"] in (ROOT / "README.md").read_text()


def test_sessions_of_nox_run_what_the_pages_say() -> None:
    require_module("nox")
    sessions = ("test", "lint", "sanitize", "fuzz", "docs", "bench", "wheel")
    done = python("-m", "nox", "--list", "--json", "--sessions", *sessions)
    assert done.returncode == 0, done.stderr
    assert [session["name"] for session in json.loads(done.stdout)] == list(sessions)
    text = (ROOT / "noxfile.py").read_text()
    named = re.findall(r"tests/[\w/]+\.py|benchmarks/[\w/]+\.py", text)
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_hooks_are_the_tools_of_the_tests() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    words = {hook["entry"].split()[0] for hook in hooks}
    style = (ROOT / "tests" / "project" / "test_style.py").read_text()
    assert words == {"ruff", "clang-format", "mypy"}
    assert [word for word in words if word not in style] == []
