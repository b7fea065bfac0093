"""The shape of a black border changes a score much without a mask, and hardly with a mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import iuscore
from iuscore import phantoms
from iuscore.fit import TextureOptions, fit, open_splits
from tests.invariants.test_masks import shape

SIZE = 64


def scenes(label: Any, n: int, seed: int, border: str) -> npt.NDArray[np.uint8]:
    """Drawings of one class with a border of the given shape; the scenes do not depend on the border."""
    images = phantoms.draw("endoscopy", label, n, size=SIZE, seed=seed)
    return np.where(shape(border, SIZE, SIZE)[..., None], images, np.uint8(4))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of an endoscope that shows an octagon."""
    root = tmp_path_factory.mktemp("borders") / "real"
    for label in ("normal", "abnormal"):
        (root / label).mkdir(parents=True)
        for i, picture in enumerate(scenes(label, 60, 1, "octagon")):
            Image.fromarray(picture).save(root / label / f"{i:03d}.png")
    return root


def means(real: Path, folder: Path, mask: Any) -> dict[str, float]:
    """Mean IUS against abnormal of the same generated scenes behind two borders."""
    options = TextureOptions(size=(SIZE, SIZE), color="color", mask=mask)
    fitted = fit(open_splits(real), folder, model="texture", model_options=options, classes=["normal", "abnormal"])
    assert fitted.record.validation.auroc > 0.8
    scorer = iuscore.load(folder)
    found = {b: scorer(scenes("abnormal", 40, 2, b), target="abnormal") for b in ("octagon", "round")}
    return {border: float(scores.ius.mean()) for border, scores in found.items()}


def test_a_round_border_for_an_octagonal_one(real: Path, tmp_path: Path, one_thread: None) -> None:
    without = means(real, tmp_path / "without", None)
    found = means(real, tmp_path / "border", "border")
    moved, left = (abs(means_of["round"] - means_of["octagon"]) for means_of in (without, found))
    assert moved > 0.2
    assert left < moved / 4
