"""What the command line refuses before anything is read or written: empty texts, patterns, foreign files, pipes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
import pytest

from iuscore.cli import _fit as fit_command
from iuscore.cli import cli
from iuscore.errors import UserError
from iuscore.fit import fit, open_splits
from iuscore.models.record import MAX_MEMBERS
from tests.fixtures import TINY, Command, class_folders, run_apart, tree

TEXTS = [
    (name, param)
    for name, command in sorted(cli.commands.items())
    for param in command.params
    if isinstance(param.type, click.Path | click.types.StringParamType) and param.name not in ("help", "version")
]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folders(tmp_path_factory.mktemp("data") / "real")


@pytest.mark.parametrize(("name", "param"), TEXTS, ids=[f"{name} {param.name}" for name, param in TEXTS])
def test_empty_texts_are_refused(
    command: Command, real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, param: click.Parameter
) -> None:
    """As a path, an empty text would mean the current folder."""
    monkeypatch.chdir(tmp_path)
    words: list[object] = [name]
    for other in cli.commands[name].params:
        if isinstance(other, click.Argument):
            words.append("" if other is param else real)
        elif other is param:
            words += [param.opts[0], ""]
        elif other.required:
            words += [other.opts[0], "a"]
    said = command(*words).refusal()
    shown = param.opts[0] if isinstance(param, click.Option) else str(param.name).upper()
    assert said == f"{shown}: expected a value, got an empty text (a variable that is not set?)"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("a{99999999999}", "a number in it is too large"),
        ("(?:" * 20_000 + ")" * 20_000, "too many brackets inside each other"),
        ("(", "missing ), unterminated subpattern at position 0"),
    ],
)
def test_unusable_regular_expressions_are_refused(
    command: Command, fitted: Path, real: Path, tmp_path: Path, pattern: str, reason: str
) -> None:
    out = tmp_path / "out"
    for words in (("fit", real, "--out", out), ("score", fitted, real, "--target", "a", "--out", out)):
        said = command(*words, "--group-by", pattern).refusal()
        assert said.startswith("group_by: '")
        assert said.endswith(f"' is not a regular expression: {reason}")
        assert len(said) < 300
        assert not out.exists()


def test_too_many_members_are_refused_before_training(command: Command, real: Path, tmp_path: Path) -> None:
    """Otherwise members would be trained that no model folder can hold."""
    assert fit_command.MAX_MEMBERS == MAX_MEMBERS
    said = command("fit", real, "--out", tmp_path / "m", "--members", MAX_MEMBERS + 1).refusal()
    assert said == "Invalid value for '--members': 1001 is not in the range 1<=x<=1000."
    with pytest.raises(UserError, match=r"^members: expected 1 to 1000, got 1001$"):
        fit(open_splits(real), tmp_path / "m", members=1001)
    assert not (tmp_path / "m").exists()


def test_an_empty_text_is_refused_in_python(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^out: expected a folder, got an empty text$"):
        fit(open_splits(real), "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_files_of_other_programs_stay(command: Command, real: Path, tmp_path: Path, name: str) -> None:
    """Folders of other libraries hold files of the same names."""
    out = tmp_path / "m"
    out.mkdir()
    (out / name).write_text(json.dumps({"model_type": "vit"}))
    before = tree(out)
    for words in (("fit", real, *TINY), ("import-reference", real)):
        assert name in command(*words, "--out", out).refusal().replace("a model", "config.json")
        assert tree(out) == before


@pytest.mark.parametrize("kind", ["a named pipe", "a folder"])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "log.jsonl"])
def test_folders_and_pipes_in_place_of_files_are_refused(
    command: Command, real: Path, tmp_path: Path, name: str, kind: str
) -> None:
    out = tmp_path / "m"
    out.mkdir()
    if kind == "a named pipe":
        os.mkfifo(out / name)
    else:
        (out / name).mkdir()
    for option in ((), ("--overwrite",), ("--resume",)):
        said = command("fit", real, "--out", out, *TINY, *option).refusal()
        assert said == f"{out / name}: expected a file, got {kind}: move it away, or give another folder"
    loaded = run_apart("score", out, real, "--target", "a", "--out", tmp_path / "s")
    assert loaded.status == 2
    assert "Traceback" not in loaded.err


def test_a_pipe_in_place_of_the_state_is_refused(real: Path, tmp_path: Path) -> None:
    (tmp_path / "m/training").mkdir(parents=True)
    os.mkfifo(tmp_path / "m/training/member0.safetensors")
    ran = run_apart("fit", real, "--out", tmp_path / "m", *TINY, "--resume")
    assert ran.status == 2
    assert "training holds files that no training wrote, such as member0.safetensors" in ran.err
