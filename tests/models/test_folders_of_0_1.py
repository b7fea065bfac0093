"""Model folders that version 0.1 wrote, before its records were typed, load and give the same scores in every bit.

``expected.json`` holds what 0.1 said of ``images.npy``: column -> numbers as `float.hex` writes them. In
``epu_published`` the mode of the maps has its name of version 0.1, "paper".
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.torch

import iuscore
from iuscore import phantoms
from iuscore.errors import UserError
from iuscore.fit import EPUOptions, TrainingOptions, fit, open_splits
from iuscore.models import load_model, save_model
from tests.cli.test_fit import stop_at
from tests.fixtures import Command, record_of, summary_of, tree

FOLDERS = Path(__file__).parent / "folders_of_0_1"
PUBLISHED = FOLDERS / "epu_published"
IDENTITY = "264ae4e8334557651187be70f5479f1a23ec5977d1000dc64c1ab9ae14e124f5"
"""Of `PUBLISHED` as 0.1 wrote it into the ``run.json`` of a run."""


@pytest.mark.parametrize("name", ["texture_color", "texture_gray", "epu", "epu_published"])
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


def test_the_mode_of_0_1_gets_its_present_name(tmp_path: Path) -> None:
    assert record_of(PUBLISHED)["model"]["mode"] == "paper"
    model, record = load_model(PUBLISHED)
    assert (record.mode, model.config()["model"]["mode"]) == ("published", "published")
    saved = record_of(save_model(tmp_path, model, record=record))
    assert (saved["format"], saved["model"]["mode"]) == (2, "published")


def test_the_identity_of_a_model_of_0_1_is_unchanged() -> None:
    """So a run that an earlier version began with this model goes on."""
    assert load_model(PUBLISHED)[1].identity() == IDENTITY


def test_a_run_with_the_former_name_of_the_mode_is_verified_and_resumes(command: Command, tmp_path: Path) -> None:
    images, out = tmp_path / "images.npy", tmp_path / "out"
    np.save(images, np.load(PUBLISHED / "images.npy"))
    score = ("score", PUBLISHED, images, "--target", "abnormal", "--out", out, "--workers", 1, "--shard-size", 2)
    assert command(*score).status == 0
    summary = summary_of(out)
    assert summary["model"]["mode"] == "published"
    (out / "summary.json").write_text(json.dumps({**summary, "model": {**summary["model"], "mode": "paper"}}))
    assert iuscore.scoring.SetSummary.read(out).model.mode == "published"
    verified = command("verify", out)
    assert (verified.status, verified.out.splitlines()[-1]) == (0, "all is well"), verified.out
    before = tree(out)
    (out / "summary.json").unlink()
    next(out.glob("scores.parquet/*.parquet")).unlink()
    assert command(*score).status == 0
    parts = {name: content for name, content in tree(out).items() if name.endswith(".parquet")}
    assert parts == {name: content for name, content in before.items() if name.endswith(".parquet")}


def test_an_interrupted_training_with_the_former_name_of_the_mode_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phantoms.write(tmp_path / "real", "endoscopy", n_per_class=8, size=16, splits={"train": 0.5, "val": 0.5})

    def trained(out: Path, *, mode: Any = "published", resume: bool = False) -> Any:
        options = EPUOptions(color="color", mode=mode, size=(16, 16), base_channels=2, hidden_units=4)
        training = TrainingOptions(epochs=3, batch_size=4)
        return fit(open_splits(tmp_path / "real"), out, model_options=options, training=training, resume=resume)

    trained(tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_at(patch, "batch", 4)
        assert trained(tmp_path / "m").interrupted
    (state,) = (tmp_path / "m/training").glob("*.safetensors")
    with safetensors.safe_open(state, "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    identity = json.loads(metadata["identity"])
    assert identity["model"]["mode"] == "published"
    identity["model"]["mode"] = "paper"
    safetensors.torch.save_file(tensors, state, {**metadata, "identity": json.dumps(identity)})
    with pytest.raises(UserError, match="--resume: mode was 'published', now it is 'clean'"):
        trained(tmp_path / "m", mode="clean", resume=True)
    trained(tmp_path / "m", resume=True)
    weights = "model.safetensors"
    assert (tmp_path / "m" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
