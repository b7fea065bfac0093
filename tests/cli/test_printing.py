"""Names from files and folders reach the terminal as text, never as control sequences."""

from __future__ import annotations

import ast
import json
import logging
import shutil
import tarfile
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iuscore.cli._common import PrintableFormatter, printable
from tests.fixtures import TINY, class_folders, run_apart, write_images
from tests.project.tree import ROOT

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"
"""Sets the title, clears the screen, turns text red, and writes from right to left."""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b.png", "a b.png"),
        ("Größe 2²", "Größe 2²"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb\nc\td", "a\\rb\\nc\\td"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2028", "\\u2028"),
        ("caf\udce9", "caf\\udce9"),
    ],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_log_records_keep_their_lines_but_no_control_characters() -> None:
    record = logging.LogRecord("iuscore", logging.INFO, "", 0, "one\x1b[2J\ntwo", None, None)
    assert PrintableFormatter("%(message)s").format(record) == "one\\x1b[2J\ntwo"


def test_commands_print_in_one_place() -> None:
    found = []
    for path in sorted((ROOT / "python" / "iuscore" / "cli").glob("*.py")):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        printing = [call for call in calls if ast.unparse(call.func) in ("print", "click.echo", "click.secho")]
        found += [f"{path.name}: {ast.unparse(call)}" for call in printing]
    # The help that click itself laid out in lines has no names in it.
    assert found == [
        "__init__.py: click.echo(context.get_help(), err=True)",
        "_common.py: click.echo(printable(text), err=err)",
    ]


def _strict_folder(root: Path) -> tuple[Path, list[str]]:
    (root / "images").mkdir()
    (root / "images" / f"{EVIL}.png").write_bytes(b"no image")
    return root / "images", ["--strict"]


def _unknown_class(root: Path) -> tuple[Path, list[str]]:
    write_images(root / "images", [f"{EVIL}/x.png"])
    return root / "images", ["--target", "from-folder"]


def _tar_member(root: Path) -> tuple[Path, list[str]]:
    with tarfile.open(root / "images.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo(f"{EVIL}.png"), BytesIO())
    return root / "images.tar", ["--target", "from-folder"]


def _parquet_column(root: Path) -> tuple[Path, list[str]]:
    pq.write_table(pa.table({EVIL: [b"1"], "b": [b"2"]}), root / "images.parquet")
    return root / "images.parquet", []


def _parquet_label(root: Path) -> tuple[Path, list[str]]:
    pq.write_table(pa.table({"image": [b"1"], "label": [EVIL]}), root / "images.parquet")
    return root / "images.parquet", ["--target", "from-folder"]


@pytest.mark.parametrize("case", [_strict_folder, _unknown_class, _tar_member, _parquet_column, _parquet_label])
def test_names_of_others_reach_the_terminal_as_text(case: object, tmp_path: Path, texture: Path) -> None:
    images, more = case(tmp_path)  # type: ignore[operator]
    target = [] if "--target" in more else ["--target", "a"]
    ran = run_apart("score", texture, images, "--out", tmp_path / "out", "--workers", "1", *target, *more)
    said = ran.out + ran.err
    assert "\\x1b" in said
    assert not set(said) & {"\x1b", "\x07", "\x9b", "\u202e"}


def test_names_of_a_model_reach_the_terminal_as_text(tmp_path: Path, texture: Path) -> None:
    model = shutil.copytree(texture, tmp_path / "model")
    text = (model / "config.json").read_text()
    first = json.loads(text)["model"]["classes"][0]
    changed = text.replace(json.dumps(first), json.dumps(first + EVIL)).replace('"config_sha256"', '"hash"')
    (model / "config.json").write_text(changed)
    ran = run_apart("score", model, write_images(tmp_path / "i", ["x.png"]), "--target", "z", "--out", tmp_path / "o")
    assert "\\x1b" in ran.err
    assert "\x1b" not in ran.out + ran.err


def test_files_that_training_leaves_out_reach_the_terminal_as_text(tmp_path: Path) -> None:
    real = class_folders(tmp_path / "real", n=12)
    (real / "a" / f"{EVIL}.png").write_bytes(b"no image")
    ran = run_apart("fit", real, "--out", tmp_path / "model", *TINY)
    assert "left out: a/\\x1b" in ran.err
    assert "\x1b" not in ran.out + ran.err
