"""A run checks the files that it reads from its folder, and removes or replaces only files of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import iuscore
from iuscore.engine import score_source
from iuscore.engine.plan import make_plan
from iuscore.errors import UserError
from iuscore.images import open_shards
from tests.fixtures import Command, again

NESTED = b"[" * 200_000
NESTED_OBJECT = b'{"a":' * 100_000


class TestRunRecord:
    @pytest.mark.parametrize("content", [NESTED, NESTED_OBJECT, b"[]", b"\xff\xfe", b"9" * 5000, b"", b"null"])
    def test_what_is_no_record_is_refused(
        self, command: Command, fitted: Path, images: Path, done: Path, content: bytes
    ) -> None:
        (done / "run.json").write_bytes(content)
        for ran in (again(command, fitted, images, done), command("verify", done)):
            said = ran.refusal()
            assert said.startswith(f"{done / 'run.json'} is damaged, or of another version (")
            assert said.endswith("): give a new folder, or --overwrite")
            assert len(said) < 400
        assert again(command, fitted, images, done, "--overwrite").status == 0

    @pytest.mark.parametrize(
        ("field", "value", "said"),
        [
            ("shard_size", "4", "identity.shard_size: expected a whole number from 1 to 100000, got '4'"),
            ("shard_size", 0, "identity.shard_size: expected a whole number from 1 to 100000, got 0"),
            ("shard_size", 10**30, "identity.shard_size: expected a whole number from 1 to 100000, got 1.0e+30"),
            ("shard_size", True, "identity.shard_size: expected a whole number from 1 to 100000, got True"),
            ("shard_size", 4.0, "identity.shard_size: expected a whole number from 1 to 100000, got 4.0"),
            ("space", ["paper"], "identity.space: expected paper or evidence, got ['paper']"),
            ("space", "zzz", "identity.space: expected paper or evidence, got 'zzz'"),
            ("precision", "auto", "identity.precision: expected exact or fast, got 'auto'"),
            ("format", True, "identity.format: expected 1, got True"),
            ("format", 2, "identity.format: expected 1, got 2"),
            ("source", "abc", "identity.source: expected 64 hexadecimal digits, got 'abc'"),
            ("bits", 7, "identity.bits: expected a whole number from 8 to 16 or null, got 7"),
            ("map", {"0": 1}, "identity.map.0: expected text, got 1"),
            ("target", None, "identity.target: expected text, got null"),
            ("model", 7, "identity.model: expected 64 hexadecimal digits, got 7"),
            ("group_by", 7, "identity.group_by: expected text or null, got 7"),
            ("arithmetic", "x" * 5000, "identity.arithmetic: expected a whole number of at least 0, got 'xxx"),
        ],
    )
    def test_a_wrong_field_of_the_identity_is_named(
        self, command: Command, fitted: Path, images: Path, done: Path, field: str, value: object, said: str
    ) -> None:
        record = json.loads((done / "run.json").read_text())
        record["identity"][field] = value
        (done / "run.json").write_text(json.dumps(record))
        for ran in (again(command, fitted, images, done), command("verify", done)):
            assert f"({said}" in ran.refusal()

    @pytest.mark.parametrize(
        ("field", "value"),
        [("run", 1), ("identity", []), ("images", None), ("images", {}), ("split", 3), ("split", "rest"), ("run", "x"),
         ("by_content", 1), ("masks", 3), ("column", [1]), ("model", 0.5),
         ("n_images", -1), ("n_images", "12"), ("n_images", 1e300), ("n_shards", None)],
    )  # fmt: skip
    def test_a_wrong_field_is_named(
        self, command: Command, fitted: Path, images: Path, done: Path, field: str, value: object
    ) -> None:
        record = json.loads((done / "run.json").read_text()) | {field: value}
        (done / "run.json").write_text(json.dumps(record))
        for ran in (again(command, fitted, images, done), command("verify", done)):
            said = ran.refusal()
            assert f"({field}: expected " in said or field == "identity"
            assert said.endswith("give a new folder, or --overwrite")


class TestSummaryAndParts:
    @pytest.mark.parametrize("content", [NESTED, NESTED_OBJECT, b"[]", b'{"n_scored": [1], "n_unreadable": [2]}'])
    def test_a_damaged_summary_is_named_and_written_anew(
        self, command: Command, fitted: Path, images: Path, done: Path, content: bytes
    ) -> None:
        (done / "summary.json").write_bytes(content)
        ran = command("verify", done)
        assert ran.status == 1
        assert ran.out.startswith("summary.json is missing or damaged (")
        assert again(command, fitted, images, done).status == 0  # it is written anew

    @pytest.mark.parametrize(
        "change",
        [
            lambda record: NESTED,
            lambda record: b"[]",
            lambda record: {**record, "passing": [[1]]},
            lambda record: {**record, "features": []},
            lambda record: {**record, "index": "0"},
            lambda record: {**record, "known": 5},
            lambda record: {**record, "unreadable": 10**40},
        ],
    )
    def test_footer_of_a_part(
        self, command: Command, fitted: Path, images: Path, done: Path, change: Callable[[Any], Any]
    ) -> None:
        """A part with such a footer does not belong to this run, and is done again."""
        path = done / "scores.parquet/part-000001.parquet"
        before = path.read_bytes()
        table = pq.read_table(path)
        changed = change(json.loads(table.schema.metadata[b"iuscore"]))
        text = changed if isinstance(changed, bytes) else json.dumps(changed).encode()
        pq.write_table(table.replace_schema_metadata({b"iuscore": text}), path)
        assert command("verify", done).out.startswith("part-000001.parquet is damaged or of another run")
        assert again(command, fitted, images, done).status == 0
        assert path.read_bytes() == before

    def test_features_of_another_model(self, command: Command, texture: Path, images: Path, tmp_path: Path) -> None:
        out = tmp_path / "t"
        assert again(command, texture, images, out).status == 0
        path = out / "scores.parquet/part-000000.parquet"
        table = pq.read_table(path)
        record = json.loads(table.schema.metadata[b"iuscore"])
        record["features"]["a"] |= {"total": record["features"]["a"]["total"][:32], "kept": "", "rows": 0}
        pq.write_table(table.replace_schema_metadata({b"iuscore": json.dumps(record)}), path)
        assert "part-000000.parquet is damaged (features): remove it" in again(command, texture, images, out).refusal()


class TestPlan:
    @pytest.mark.parametrize("content", [NESTED + b"\n", b"{}\n", b"", b'{"index": 0, "n": 1e9}\n'])
    def test_a_plan_changed_during_the_run_is_noticed(self, images: Path, tmp_path: Path, content: bytes) -> None:
        plan = make_plan(open_shards(images), 4, tmp_path / "plan.jsonl")
        assert [plan.shard(i).index for i in range(3)] == [0, 1, 2]
        (tmp_path / "plan.jsonl").write_bytes(content)
        for index in range(3):
            with pytest.raises(UserError, match=r"is gone or was changed by another command: run this one again$"):
                plan.shard(index)

    def test_one_changed_letter_in_the_plan_is_noticed(self, images: Path, tmp_path: Path) -> None:
        plan = make_plan(open_shards(images), 4, tmp_path / "plan.jsonl")
        (tmp_path / "plan.jsonl").write_bytes((tmp_path / "plan.jsonl").read_bytes().replace(b"05.png", b"04.png", 1))
        with pytest.raises(UserError, match="changed by another command"):
            plan.shard(1)

    def test_left_by_another_program(self, command: Command, fitted: Path, images: Path, done: Path) -> None:
        (done / "plan.jsonl").write_bytes(NESTED)
        assert again(command, fitted, images, done).status == 0  # the plan of a known run is made anew


MINE = {
    "notes.tmp": "mine",
    ".draft.tmp": "mine",
    ".summary.json.tmp": "mine",
    ".summary.json.old.0badf00d.tmp": "mine",
    ".part-000001.parquet.0badf00d.tmp": "mine",  # such a file belongs to a run only in the folder of parts
    "contributions.png": "mine",
    "scores.csv": "mine",
}


class TestOnlyItsOwnFiles:
    @pytest.mark.parametrize("overwrite", [False, True])
    def test_files_of_others_stay(
        self, command: Command, fitted: Path, images: Path, tmp_path: Path, overwrite: bool
    ) -> None:
        out = tmp_path / "out"
        mine = {out / name: text for name, text in MINE.items() if "part-" not in name}
        mine |= {out / "scores.parquet" / name: "mine" for name in (".draft.tmp", "part-0.parquet", "readme.txt")}
        (out / "scores.parquet").mkdir(parents=True)
        for path, text in mine.items():
            path.write_text(text)
        assert again(command, fitted, images, out).status == 0
        left = [out / ".summary.json.0badf00d.tmp", out / "scores.parquet/.part-000001.parquet.0badf00d.tmp"]
        for path in left:
            path.write_text("of a process that was killed")
        assert again(command, fitted, images, out, *(["--overwrite"] if overwrite else [])).status == 0
        assert {path: path.read_text() for path in mine} == mine
        assert not any(path.exists() for path in left)

    @pytest.mark.parametrize("name", ["summary.json", "plan.jsonl", "scores.parquet/part-000000.parquet"])
    @pytest.mark.parametrize("options", [(), ("--overwrite",)])
    def test_a_file_of_a_name_that_a_run_needs(
        self, command: Command, fitted: Path, images: Path, tmp_path: Path, name: str, options: tuple[str, ...]
    ) -> None:
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True)
        path.write_text('{"experiment": 7}\n')
        said = again(command, fitted, images, tmp_path / "out", *options).refusal()
        assert said == (
            f"{path} is not of a run of iuscore, and a run would replace it: give another folder, or move it away"
        )
        assert path.read_text() == '{"experiment": 7}\n'

    def test_a_record_of_something_else(self, command: Command, fitted: Path, images: Path, tmp_path: Path) -> None:
        path = tmp_path / "out/run.json"
        path.parent.mkdir()
        path.write_text('{"run": "marathon"}')
        assert again(command, fitted, images, path.parent).status == 2
        assert "is not of a run of iuscore" in again(command, fitted, images, path.parent, "--overwrite").refusal()
        assert path.read_text() == '{"run": "marathon"}'

    @pytest.mark.parametrize("left", [["plan.jsonl"], ["plan.jsonl", "summary.json", "scores.parquet"]])
    def test_what_a_killed_run_left_without_its_record(
        self, command: Command, fitted: Path, images: Path, done: Path, left: list[str]
    ) -> None:
        for path in done.iterdir():
            if path.is_file() and path.name not in left:
                path.unlink()
        if "scores.parquet" not in left:
            for path in (done / "scores.parquet").iterdir():
                path.unlink()
        assert again(command, fitted, images, done).status == 0
        assert command("verify", done).status == 0 or "scores.parquet" in left

    def test_only_pictures_of_a_run_are_replaced(
        self, command: Command, fitted: Path, images: Path, done: Path
    ) -> None:
        picture = done / "contributions.png"
        picture.write_text("mine")
        said = again(command, fitted, images, done, "--plot").refusal()
        assert said == f"--plot: {picture} was not drawn by iuscore: move it away, or give another --out"
        picture.unlink()
        assert again(command, fitted, images, done, "--plot").status == 0
        assert again(command, fitted, images, done, "--plot").status == 0  # the picture of the run is replaced
        assert picture.exists()
        assert again(command, fitted, images, done).status == 0
        assert not picture.exists()  # of an earlier run


def test_a_marked_picture_is_told_by_its_content(fitted: Path, images: Path, tmp_path: Path) -> None:
    from PIL import Image

    from iuscore.explain.plot import is_own_picture, plot_contributions

    scorer = iuscore.load(fitted)
    summary = score_source(scorer, images, tmp_path / "o", target="a").summary
    plot_contributions(scorer, summary, tmp_path / "own.png")
    plot_contributions(scorer, summary, tmp_path / "own.svg")
    Image.new("L", (9, 9)).save(tmp_path / "other.png")
    assert is_own_picture(tmp_path / "own.png")
    assert not is_own_picture(tmp_path / "other.png")
    assert not is_own_picture(tmp_path / "none.png")
    with Image.open(tmp_path / "own.png") as picture:
        assert picture.info["Software"] == "iuscore"
