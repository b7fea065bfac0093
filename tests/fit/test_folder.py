"""`iuscore fit` into an existing folder removes only files that an earlier training wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures import TINY, Command, class_folders


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folders(tmp_path_factory.mktemp("data") / "real")


@pytest.mark.parametrize("options", [(), ("--overwrite",), ("--resume",)])
@pytest.mark.parametrize("name", ["training/normal_1.png", "training/normal/1.png", "tensorboard/mine.txt"])
def test_folders_of_the_names_it_uses(
    command: Command, real: Path, tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    file = tmp_path / "m" / name
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    ran = command("fit", real, "--out", tmp_path / "m", *TINY, *options)
    first = file.relative_to(tmp_path / "m").parts
    assert ran.status == 2
    assert ran.err.splitlines()[-1].endswith(
        f"{first[0]} holds files that no training wrote, such as {first[1]}: give another folder for the model"
    )
    assert file.read_text() == "mine"


@pytest.mark.parametrize("name", ["log.jsonl", "tensorboard/events.out.tfevents.1"])
def test_a_log_without_a_model(command: Command, real: Path, tmp_path: Path, name: str) -> None:
    file = tmp_path / "m" / name
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    ran = command("fit", real, "--out", tmp_path / "m", *TINY)
    assert ran.status == 2
    assert f"holds {name.split('/')[0]}, but no model that it belongs to" in ran.err
    assert file.read_text() == "mine"


def test_a_file_in_the_place_of_a_folder(command: Command, real: Path, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "training").write_text("mine")
    ran = command("fit", real, "--out", tmp_path / "m", *TINY)
    assert ran.status == 2
    assert "training is a file: give another folder" in ran.err


def test_other_files_beside_the_model_stay(command: Command, real: Path, tmp_path: Path) -> None:
    options = (real, "--out", tmp_path / "m", *TINY, "--epochs", 1)
    assert command("fit", *options, "--tensorboard").status == 0
    (tmp_path / "m" / "notes.txt").write_text("mine")
    assert command("fit", *options, "--overwrite").status == 0
    assert (tmp_path / "m" / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "m" / "tensorboard").exists()
    assert not (tmp_path / "m" / "training").exists()
