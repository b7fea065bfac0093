"""--bits and --by-content: the same options in fit and score, kept in the model and in the run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from iuscore.errors import UserError
from iuscore.fit import EPUOptions, Fitted, TrainingOptions, fit, open_splits
from iuscore.progress import Progress
from tests.fixtures import TINY, Command, class_folders, record_of

NOTE = "the model was fitted with --bits 12, these images were read without: use the same if their values are alike"


def shallow(root: Path, shift: int, suffix: str = ".png") -> Path:
    """The same drawn images as 16-bit files, of values shifted down by ``shift`` bits; named ``00.png`` or as said."""
    folders = class_folders(root, n=12, seed=3)
    for path in folders.rglob("*.png"):
        values = np.asarray(Image.open(path)).astype(np.uint16)
        path.unlink()
        Image.fromarray((values << 8) >> shift).save(path.with_suffix(suffix), "PNG")
    return folders


@pytest.fixture(scope="module")
def twelve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shallow(tmp_path_factory.mktemp("twelve") / "images", 4)


def scored(command: Command, model: Path, images: Path, out: Path, *options: object) -> tuple[list[dict], dict, str]:
    ran = command("score", model, images, "--target", "a", "--out", out, *options)
    assert ran.status == 0, ran.err
    rows = pq.read_table(out / "scores.parquet").to_pylist()
    return rows, json.loads((out / "summary.json").read_text()), ran.out


def test_bits_of_fit_and_score_give_the_same_scores(command: Command, twelve: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    ran = command("fit", twelve, "--out", model, *TINY, "--epochs", 1, "--bits", 12)
    assert ran.status == 0, ran.err
    assert record_of(model)["data"]["bits"] == 12
    rows, summary, _ = scored(command, model, twelve, tmp_path / "same", "--bits", 12)
    assert {row["warnings"] for row in rows} == {""}
    assert not [note for note in summary["notes"] if "--bits" in note]
    assert json.loads((tmp_path / "same/run.json").read_text())["identity"]["bits"] == 12
    # Eight bits in the high byte: the same brightness, to the rounding of the last of 12 bits.
    full = shallow(tmp_path / "full", 0)
    expected, summary, _ = scored(command, model, full, tmp_path / "full_scores")
    assert [row["ius"] for row in rows] == pytest.approx([row["ius"] for row in expected], abs=0.02)
    assert NOTE in summary["notes"]
    rows, summary, said = scored(command, model, twelve, tmp_path / "other")
    assert {row["warnings"] for row in rows} == {"values use 1/16 of 16 bits (--bits 12?)"}
    assert summary["warnings"] == {"values use 1/16 of 16 bits (--bits 12?)": len(rows)}
    assert NOTE in summary["notes"]
    assert f"note: {NOTE}" in said
    # One run never mixes rows of both depths; `verify` reads the images with the bits of the run.
    again = command("score", model, twelve, "--target", "a", "--out", tmp_path / "same")
    assert again.refusal().startswith(f"the run in {tmp_path / 'same'} was made with another --bits (12, not none)")
    again = command("score", model, twelve, "--target", "a", "--out", tmp_path / "other", "--bits", 12)
    assert "was made with another --bits (none, not 12)" in again.refusal()
    for out in ("same", "other"):
        checked = command("verify", tmp_path / out)
        assert checked.status == 0, checked.out


def test_a_model_without_bits_says_nothing_of_them(
    command: Command, fitted: Path, twelve: Path, tmp_path: Path
) -> None:
    assert record_of(fitted)["data"]["bits"] is None
    _, summary, _ = scored(command, fitted, twelve, tmp_path / "with", "--bits", 12)
    assert (
        "the model was fitted without --bits, these images were read with --bits 12: "
        "use the same if their values are alike" in summary["notes"]
    )
    scored(command, fitted, twelve, tmp_path / "without")
    assert "bits" not in json.loads((tmp_path / "without/run.json").read_text())["identity"]


def test_a_training_is_not_gone_on_with_other_bits(twelve: Path, tmp_path: Path) -> None:
    small, out = EPUOptions(size=(16, 16), base_channels=2, hidden_units=4), tmp_path / "m"

    class Interrupting(Progress):
        def advance(self, n: int, **figures: float | None) -> None:
            if "best" in figures:  # an epoch is complete
                raise KeyboardInterrupt

    def trained(bits: int | None, progress: Progress | None = None, **options: bool) -> Fitted:
        return fit(open_splits(twelve, bits=bits), out, model_options=small, training=TrainingOptions(epochs=3),
                   progress=progress, **options)  # fmt: skip

    assert trained(12, Interrupting()).interrupted
    with pytest.raises(UserError, match="--resume: bits was 12, now it is None; use the same options"):
        trained(None, resume=True)
    assert not trained(12, resume=True).interrupted


def test_by_content_finds_images_without_an_extension(command: Command, tmp_path: Path) -> None:
    images = shallow(tmp_path / "images", 0, suffix="")
    assert command("fit", images, "--out", tmp_path / "m", *TINY, "--epochs", 1).refusal().startswith("no images in ")
    ran = command("fit", images, "--out", tmp_path / "m", *TINY, "--epochs", 1, "--by-content")
    assert ran.status == 0, ran.err
    refused = command("score", tmp_path / "m", images, "--target", "a", "--out", tmp_path / "none").refusal()
    assert refused.startswith("no images in ")
    rows, _, _ = scored(command, tmp_path / "m", images, tmp_path / "out", "--by-content")
    assert [row["uid"] for row in rows] == [f"{name}/{i:02d}" for name in "ab" for i in range(12)]
    assert {row["error"] for row in rows} == {None}
    assert command("verify", tmp_path / "out").status == 0


@pytest.mark.parametrize("name", ["fit", "score"])
def test_impossible_bits_are_refused(command: Command, fitted: Path, twelve: Path, tmp_path: Path, name: str) -> None:
    given = (twelve,) if name == "fit" else (fitted, twelve, "--target", "a")
    refusal = command(name, *given, "--out", tmp_path / "out", "--bits", 20).refusal()
    assert refusal == "bits: expected the depth of the values in 16-bit files, 8 to 16, got 20"
