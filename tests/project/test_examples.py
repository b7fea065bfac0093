"""The programs in examples/ run as they stand, without data, and print what their texts promise."""

from __future__ import annotations

import re
import sys

import pytest

from tests.project.tree import ROOT, run

EXPECTED = {
    "radiology": ["second: IUS", "note: the images compared with abnormal lie far outside real ones"],
    "endoscopy": ["kept 10 of 20 images", "against real abnormal: IUS"],
    "kernels": ["histograms equal those of numpy.histogram", "matrices and features equal those of scikit-image"],
    "training_loop": ["step  0: IUS", "step 30: IUS"],
}


def test_every_example_is_run() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_example_runs(name: str) -> None:
    done = run([sys.executable, ROOT / f"examples/{name}.py"])
    assert done.returncode == 0, done.stdout + done.stderr
    for words in EXPECTED[name]:
        assert words in done.stdout
    if name == "endoscopy":
        kept, every = (float(v) for v in re.findall(r"([+-]\d\.\d\d)(?:;|$)", done.stdout.splitlines()[1]))
        assert kept > every
    if name == "training_loop":
        steps = [float(v) for v in re.findall(r"IUS ([+-]\d\.\d\d)", done.stdout)]
        assert steps[-1] > steps[0]
