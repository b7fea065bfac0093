"""Every input of the corpus (which includes all that once failed), and a minute of fuzzing."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from tests.fuzz import mutators
from tests.fuzz.seeds import CORPUS, SEEDS
from tests.fuzz.targets import TARGETS
from tests.project.tree import python

SECONDS = 60
"""Of one target at most; the inputs below take about a minute together."""

RUNS = {"weights": 200, "tar": 1000, "dicom": 1000, "npz": 1000, "ops": 1000, "config": 1000}
INPUTS = sorted(path for path in CORPUS.rglob("*") if path.is_file())


def test_every_target_has_a_corpus() -> None:
    assert set(TARGETS) == set(SEEDS) == {path.name for path in CORPUS.iterdir()}


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}/{path.name}")
@pytest.mark.filterwarnings("ignore")
def test_the_corpus_is_read_or_refused_in_words(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_a_minute_of_fuzzing(target: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris has no wheel for this Python or platform")
    # From one seed and of one length, so that a change is judged by the same inputs every time.
    runs, seconds = str(RUNS.get(target, 2000)), str(SECONDS)
    asked = ("--runs", runs, "--seconds", seconds, "--seed", "1", "--out", tmp_path)
    done = python("-W", "ignore", "-m", "tests.fuzz", target, *asked)
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"python -m tests.fuzz {target} FILE, with the file in {tmp_path}:\n{said[-5000:]}"
    assert int(re.search(r"number_of_executed_units: (\d+)", said)[1]) > len(list((CORPUS / target).iterdir()))  # type: ignore[index]


def test_a_planted_fault_is_found(tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris has no wheel for this Python or platform")
    fault = "lambda data: 1 / (len(data) % 512 != 1)"
    code = f"import tests.fuzz.targets as t; t.TARGETS['tar'] = {fault}; from tests.fuzz.__main__ import main; main()"
    done = python("-W", "ignore", "-c", code, "tar", "--seconds", "30", "--out", tmp_path)
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stdout + done.stderr
    (failed,) = tmp_path.iterdir()
    assert failed.name.startswith("tar-crash-")
    assert len(failed.read_bytes()) % 512 == 1


def test_mutated_files_keep_valid_checksums() -> None:
    png, tar = (CORPUS / "image" / "gray.png").read_bytes(), (CORPUS / "tar" / "ustar.tar").read_bytes()
    assert mutators.png_checksums(png) == png
    assert mutators.tar_checksums(tar) == tar
    assert mutators.png_checksums(png[:19] + b"\x09" + png[20:]) != png[:19] + b"\x09" + png[20:]


def test_json_is_changed_in_one_place() -> None:
    config = (CORPUS / "config" / "epu.json").read_bytes()
    changed = {mutators.change_json(config, seed) for seed in range(50)}
    assert len(changed) > 40
