"""The tests marked cuda, on a CUDA device that is pretended (tests/pretended_gpu.py), in a process of their own."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.equivalence.host_build import build_module
from tests.only_on_a_gpu import STEPS, TESTS
from tests.project.tree import ROOT, python

pytestmark = pytest.mark.timeout(900)  # the first to ask has all kernels compiled
# Half a minute for every color there is, of which other tests take a few.
TOO_LONG = "test_texture_colors.py"
FILES = sorted(
    str(path.relative_to(ROOT))
    for folder in ("equivalence", "invariants", "ops")
    for path in (ROOT / "tests" / folder).glob("test_*.py")
    if path.name != TOO_LONG
    and re.search(r"cuda_native\b|\bbackend: BackendUnderTest|\bnative: BackendUnderTest", path.read_text())
)


def run_pretended(*arguments: str) -> str:
    build_module()
    options = ["-q", "-p", "tests.pretended_gpu", "-p", "no:cacheprovider", "-n", "0", "--tb=short"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    done = python("-m", "pytest", *options, *arguments, environment=environment, seconds=600)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def test_launchers_equal_the_cpu_in_any_order() -> None:
    assert "4 passed" in run_pretended("tests/equivalence/launchers.py")


def test_what_is_marked_cuda_passes_on_a_pretended_gpu() -> None:
    assert len(FILES) > 20
    shown = run_pretended("-m", "cuda", *FILES)
    found = re.search(r"(\d+) passed", shown)
    assert found is not None
    assert int(found[1]) > 450
    assert "failed" not in shown


def test_what_only_a_gpu_shows_exists() -> None:
    for name in TESTS:
        file, _, test = name.partition("::")
        assert f"def {test}" in (ROOT / file).read_text()


WRONG = """
import numpy as np
import pytest
import torch

def test_numpy():
    with pytest.raises(TypeError, match="can't convert cuda:0"):
        torch.zeros(3, device="cuda").numpy()
    with pytest.raises(TypeError, match="can't convert cuda:0"):
        np.asarray(torch.zeros(3).to("cuda"))

def test_mixed():
    there, here = torch.zeros(3).cuda(), torch.zeros(3)
    for wrong in (lambda: there + here, lambda: torch.cat([here, there]), lambda: there.add_(here)):
        with pytest.raises(RuntimeError, match="at least two devices, cuda:0 and cpu"):
            wrong()
    assert torch.equal(there + torch.tensor(1.0), torch.ones(3, device="cuda"))

def test_copies():
    here = torch.zeros(3)
    there = here.to("cuda:0")
    here += 1
    assert (there.device.type, there.is_cuda, there[1:].device.type) == ("cuda", True, "cuda")
    assert there.cpu().tolist() == [0, 0, 0]
    assert not there.cpu().is_cuda
"""


def test_the_pretended_gpu_refuses_what_a_gpu_refuses(tmp_path: Path) -> None:
    (tmp_path / "test_wrong.py").write_text(WRONG)
    assert "3 passed" in run_pretended(str(tmp_path / "test_wrong.py"), "--rootdir", str(tmp_path))


def test_the_plan_of_a_gpu_run_says_what_only_it_shows() -> None:
    done = python("benchmarks/gpu/run.py", "--plan")
    assert done.returncode == 0, done.stderr
    for name, why in {**STEPS, **TESTS}.items():
        assert re.search(rf"^ *{re.escape(name)}\b.*: {re.escape(why)}$", done.stdout, re.M), name
