"""Model folders that version 0.1 wrote, before its records were typed, load and give the same scores in every bit.

``expected.json`` holds what 0.1 said of ``images.npy``: column -> numbers as `float.hex` writes them.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import iuscore
from iuscore.models import load_model, save_model

FOLDERS = Path(__file__).parent / "folders_of_0_1"


@pytest.mark.parametrize("name", ["texture_color", "texture_gray", "epu"])
@pytest.mark.usefixtures("one_thread")
def test_folders_of_0_1_give_the_same_scores_in_every_bit(name: str, tmp_path: Path) -> None:
    images = np.load(FOLDERS / name / "images.npy")
    expected = json.loads((FOLDERS / name / "expected.json").read_text())
    model, record = load_model(FOLDERS / name)
    save_model(tmp_path / "saved_again", model, record=record)
    for folder in (FOLDERS / name, tmp_path / "saved_again"):
        found = iuscore.load(folder)(images, target="abnormal").to_dict()
        assert set(found) == {*expected, "target", "warnings"}
        for column, numbers in expected.items():
            assert [number.hex() for number in found[column]] == numbers, column
