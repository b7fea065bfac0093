"""Imports of a command or a worker before its first score; each of them delays the start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SLOW = ("torch._dynamo", "sympy", "pandas", "matplotlib", "sklearn", "scipy.stats", "ray", "torchmetrics")


def printed(code: str) -> list[str]:
    """Lines of a fresh process, which says nothing on standard error."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout.splitlines()


@pytest.mark.parametrize("model", ["fitted", "texture"])
def test_a_score_imports_nothing_slow(model: str, request: pytest.FixtureRequest) -> None:
    """Neither PyTorch's compiler, which arithmetic on the meta device imports, nor what draws and fits."""
    folder: Path = request.getfixturevalue(model)
    code = (
        "import sys, torch, iuscore; "
        f"scorer = iuscore.load({str(folder)!r}); "
        "images = torch.randint(0, 256, (2, 40, 40, 3), dtype=torch.uint8); "
        "assert len(scorer(images, target='a').ius) == 2; "
        f"print([name for name in {SLOW!r} if name in sys.modules])"
    )
    assert printed(code) == ["[]"]


def test_help_does_without_torch() -> None:
    code = (
        "import sys, runpy; sys.argv = ['iuscore', '--help']\n"
        "try: runpy.run_module('iuscore', run_name='__main__')\n"
        "except SystemExit as end: print(end.code, 'torch' in sys.modules)"
    )
    first, *_, last = printed(code)
    assert first.startswith("Usage: iuscore ")
    assert last == "0 False"


def test_names_of_the_package_are_found_on_first_use() -> None:
    code = (
        "import iuscore; assert {'load', 'ops'} <= set(dir(iuscore)); "
        "print([getattr(iuscore, name).__name__ for name in iuscore.__all__], iuscore.features.__name__); "
        "from iuscore import *; print(load.__name__, hasattr(iuscore, 'nothing'))"
    )
    assert printed(code) == [
        "['Scorer', 'Scores', 'UserError', 'load', 'iuscore.ops', 'iuscore.phantoms'] iuscore.features",
        "load False",
    ]


def test_what_fit_imports_before_it_reads_images() -> None:
    """Its first line, of a training that would take long, comes within five seconds; scikit-learn alone takes one."""
    code = f"import sys, iuscore.fit.training; print([name for name in {SLOW!r} if name in sys.modules])"
    assert printed(code) == ["[]"]
