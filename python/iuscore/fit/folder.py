"""The model folder of a training: check its content before writing, and remove files of earlier trainings."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from iuscore._run.regular_files import not_a_file
from iuscore.errors import UserError
from iuscore.explain.value import reference
from iuscore.models.files import CONFIG_NAME, WEIGHTS_NAME

_STATE = re.compile(r"member\d+\.safetensors(\.tmp)?")
_FILES = (WEIGHTS_NAME, CONFIG_NAME, reference.WEIGHTS_NAME, reference.CONFIG_NAME, "log.jsonl")
_EVENTS = re.compile(r"events\.out\.tfevents\..*")


def check_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise unless a training may write to the folder.

    Raises:
        UserError: ``folder`` is a file, holds files of the user, or holds a model or an interrupted training that
            neither ``resume`` nor ``overwrite`` allows to change.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: give a folder to write the model to")
    if resume and overwrite:
        raise UserError("--resume and --overwrite exclude each other: give one of them")
    for name in _FILES:
        if (actual := not_a_file(folder / name)) is not None:
            raise UserError(f"{folder / name}: expected a file, got {actual}: move it away, or give another folder")
    state = folder / "training"
    _require_own(state, _STATE)
    _require_own(folder / "tensorboard", _EVENTS)
    if not (state.exists() or (folder / "config.json").exists()):
        for name in ("log.jsonl", "tensorboard"):
            if (folder / name).exists():
                raise UserError(f"{folder} holds {name}, but no model that it belongs to: give another folder")
    if (folder / WEIGHTS_NAME).exists() and not (overwrite or state.exists() or (folder / CONFIG_NAME).exists()):
        raise UserError(
            f"{folder} holds {WEIGHTS_NAME}, but no {CONFIG_NAME} that it belongs to: give another folder, or "
            "--overwrite to replace it"
        )
    epochs, done = has_epochs(state), (folder / "config.json").exists()
    if resume and done and not epochs:
        raise UserError(f"--resume: {folder} holds a finished model")
    if not (resume or overwrite) and (done or epochs):
        what = "an interrupted training: use --resume, --overwrite" if epochs else "a model: use --overwrite"
        raise UserError(f"{folder} already holds {what} or another folder")


def has_epochs(state: Path) -> bool:
    """Whether an interrupted training has a finished epoch; without one, a new training may replace it."""
    return state.is_dir() and any(file.suffix == ".safetensors" for file in state.iterdir())


def remove_state(folder: Path) -> None:
    """Remove the files that ``--resume`` needs."""
    _remove_own(folder / "training", _STATE)


def clear(folder: Path) -> None:
    """Remove the files of an earlier training, but not its model, which stays until a new model replaces it."""
    remove_state(folder)
    (folder / "training").mkdir(exist_ok=True)
    _remove_own(folder / "tensorboard", _EVENTS)
    (folder / "log.jsonl").unlink(missing_ok=True)


def _require_own(path: Path, names: re.Pattern[str]) -> None:
    """Raise if a folder of this name holds files that no training wrote: the user's files are never removed."""
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file: give another folder to write the model to")
    files = sorted(path.iterdir()) if path.exists() else []
    if others := [file.name for file in files if not names.fullmatch(file.name) or not_a_file(file)]:
        raise UserError(
            f"{path} holds files that no training wrote, such as {others[0]}: give another folder for the model"
        )


def _remove_own(path: Path, names: re.Pattern[str]) -> None:
    """Remove the files whose names match, and the folder if it is empty then."""
    for file in list(path.iterdir()) if path.is_dir() else []:
        if names.fullmatch(file.name):
            file.unlink()
    with suppress(OSError):
        path.rmdir()


@contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder in the model folder, for prepared inputs that are too large for memory."""
    for leftover in folder.glob(".prepared-*"):  # of a killed run
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".prepared-") as scratch:
        yield Path(scratch)
