"""From a checkpoint of the published implementation and image files to its contributions and IUS, by the commands.

Source: github innoisys/ius, commit 2561846, torch 2.13.0 on a CPU; see reference/README.md beside the files.
Left out are images with a degenerate map: its content is rounding noise stretched to full range, another one in
every implementation. In the color model these are the constant image and those that are gray (red-green and
blue-yellow), in the gray model the constant image alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from iuscore.cli import cli
from iuscore.scoring.color import COLOR_UNSEEN

pytestmark = pytest.mark.usefixtures("one_thread")

TOLERANCE = 1e-5
DEGENERATE = {
    "rgb": {
        "constant_64",
        "grey_as_rgb_128",
        "mammography_real_val_malignant_P_00001_mass0_924515",
        "mammography_real_val_malignant_P_00001_mass1_180834",
        "mammography_synthetic_cdcgan_benign_batch_0_16_benign",
        "mammography_synthetic_cdcgan_benign_batch_0_18_benign",
    },
    "gray": {"constant_64"},
}


class Case(NamedTuple):
    kind: str
    model: Path
    expected: dict[str, Any]
    classes: list[str]


def run(*arguments: object) -> str:
    result = CliRunner().invoke(cli, [str(a) for a in arguments], standalone_mode=False)
    assert result.exception is None
    assert result.return_value in (None, 0)
    return result.output


def scored(case: Case, images: Path, target: str, out: Path) -> dict[str, dict[str, Any]]:
    run("score", case.model, images, "--target", target, "--out", out)
    return {row["uid"]: row for row in pq.read_table(out / "scores.parquet").to_pylist()}


def contributions(row: dict[str, Any]) -> list[float]:
    return [value for name, value in row.items() if name.startswith("contribution_")]


@pytest.fixture(scope="module", params=["rgb", "gray"])
def case(request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = shared / "reference" / f"epu_{request.param}"
    out = tmp_path_factory.mktemp("imported") / "model"
    classes = ["rbc", "wbc"] if request.param == "rgb" else ["benign", "malignant"]
    assert run("import-reference", folder, "--out", out).startswith(f"model written to {out}: classes {classes[0]}, ")
    with np.load(folder / "expected.npz") as file:
        return Case(request.param, out, dict(file), classes)


def test_images_of_the_reference_maps_have_the_published_scores(case: Case, shared: Path, tmp_path: Path) -> None:
    keys = [str(key) for key in case.expected["keys"]]
    (tmp_path / "images").mkdir()
    with np.load(shared / "reference" / "perceptual_maps.npz") as file:
        for key in keys:
            Image.fromarray(file[f"{key}/image"]).save(tmp_path / "images" / f"{key}.png")
    for name in case.classes:
        rows = scored(case, tmp_path / "images", name, tmp_path / name)
        flagged = {key for key in keys if rows[f"{key}.png"]["warnings"] not in ("", COLOR_UNSEEN)}
        assert flagged == DEGENERATE[case.kind]
        for i, key in enumerate(keys):
            if key in DEGENERATE[case.kind]:
                continue
            row = rows[f"{key}.png"]
            np.testing.assert_allclose(
                contributions(row), case.expected["contributions"][i, :, 0], rtol=0, atol=TOLERANCE
            )
            assert row["ius"] == pytest.approx(case.expected[f"ius_{name}"][i], abs=TOLERANCE), key
            probability = 1 / (1 + np.exp(-case.expected["logits"][i, 0]))
            assert row[f"probability_{case.classes[1]}"] == pytest.approx(probability, abs=TOLERANCE)


@pytest.mark.parametrize("as_rgb", [True, False])
def test_held_out_images_have_the_published_scores(case: Case, shared: Path, tmp_path: Path, as_rgb: bool) -> None:
    """The published implementation turns all files into RGB; here a gray file stays one channel."""
    files = [str(name) for name in case.expected["test_files"]]
    for file in files:
        # gray ones lie in any of the folders real_train, real_val, real_test
        parts = ("blood_cells",) if case.kind == "rgb" else (f"mammography/real_{p}" for p in ("train", "val", "test"))
        source = next((p for part in parts if (p := shared / "data" / part / file).exists()), None)
        if source is None:
            pytest.skip(f"no file {file} below {shared / 'data'}")
        (tmp_path / "images" / file).parent.mkdir(parents=True, exist_ok=True)
        with Image.open(source) as image:
            (image.convert("RGB") if as_rgb else image).save(tmp_path / "images" / file)
    for name in case.classes:
        rows = scored(case, tmp_path / "images", name, tmp_path / name)
        assert len(rows) == len(files)
        assert not any(row["warnings"] for row in rows.values())
        for i, file in enumerate(files):
            row = rows[file]
            wanted = case.expected["test_contributions"][i, :, 0]
            np.testing.assert_allclose(contributions(row), wanted, rtol=0, atol=TOLERANCE)
            assert row["ius"] == pytest.approx(case.expected[f"test_ius_{name}"][i], abs=TOLERANCE), file
