"""`.ci/run` runs the README's test command, and nothing it does can hide that command's failure."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.project.tree import ROOT, run

BLOCK = "<!-- test-command -->\n```bash\n{}\n```\n"


def run_ci(folder: Path, readme: str) -> subprocess.CompletedProcess[str]:
    """Runs a copy of the script over another README, with a python3 that makes an empty environment."""
    (folder / "tree/.ci").mkdir(parents=True)
    script = folder / "tree/.ci/run"
    script.write_text((ROOT / ".ci/run").read_text())
    (folder / "tree/README.md").write_text(readme)
    (folder / "bin").mkdir()
    fake = folder / "bin/python3"
    fake.write_text('#!/bin/sh\n[ "$1 $2" = "-m venv" ] && mkdir -p "$3/bin"\n')
    fake.chmod(0o755)
    scratch = folder / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "TMPDIR": str(scratch)}
    environment |= {"PYTHONPATH": "elsewhere", "PYTEST_ADDOPTS": "--co"}
    done = run(["bash", script], environment=environment, cwd=folder)
    assert list(scratch.iterdir()) == [], "the environment was left behind"
    return done


def test_runs_the_block_under_its_mark(tmp_path: Path) -> None:
    command = 'echo "$CI" "$PWD" "${PYTHONPATH-unset}" "${PYTEST_ADDOPTS-unset}"; cat; echo "= 3 passed ="'
    readme = "```bash\nexit 3\n```\n" + BLOCK.format(command) + "```bash\nexit 4\n```\n"
    done = run_ci(tmp_path, readme)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"true {tmp_path / 'tree'} unset unset", "= 3 passed ="]


@pytest.mark.parametrize(
    "command", ["false && echo unreachable", "exit 7", "false | cat", "echo '= 1 failed ='; exit 1"]
)
def test_fails_as_the_command_fails(tmp_path: Path, command: str) -> None:
    assert run_ci(tmp_path, BLOCK.format(command)).returncode != 0


def test_a_readme_without_the_block_fails(tmp_path: Path) -> None:
    done = run_ci(tmp_path, "```bash\necho something else\n```\n")
    assert done.returncode == 1
    assert "no bash block under <!-- test-command -->" in done.stderr


def test_readme_holds_both_commands() -> None:
    blocks = dict(
        re.findall(r"<!-- (\w+)-command -->\n```bash\n(.*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)
    )
    assert blocks["demo"] == "pip install -c constraints.txt . && iuscore demo"
    assert blocks["test"] == 'pip install -c constraints.txt ".[test]" && python -m pytest -n auto --dist loadfile'


def test_the_script_is_executable() -> None:
    assert os.access(ROOT / ".ci/run", os.X_OK)
