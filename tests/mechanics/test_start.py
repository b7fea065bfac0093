"""What a command or a worker imports before its first score: each start pays for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SLOW = ("torch._dynamo", "sympy", "pandas", "matplotlib", "sklearn", "scipy.stats", "ray", "torchmetrics")


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
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
