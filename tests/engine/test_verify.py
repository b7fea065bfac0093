"""`iuscore verify` compares all records of a run with the files; it never waits for a pipe."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import iuscore
from iuscore.engine import verify
from iuscore.engine.parts import content_of
from iuscore.images import open_shards
from tests.fixtures import Command, again, class_folders, run_apart


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = class_folders(tmp_path / "images", n=6, seed=5)
    (folder / "a/00.png").write_bytes((folder / "a/01.png").read_bytes()[:100])
    return folder


@pytest.fixture
def done(command: Command, fitted: Path, images: Path, tmp_path: Path) -> Path:
    """A finished run of three parts, with one image of twelve that cannot be read."""
    out = tmp_path / "out"
    assert again(command, fitted, images, out, "--shard-size", 4).status == 1
    return out


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_says_how_many_rows_could_not_be_read(command: Command, done: Path) -> None:
    ran = command("verify", done)
    assert ran.status == 0
    assert ran.out.splitlines() == [
        "3 parts, 12 rows",
        "1 of 12 images could not be read when they were scored: see the column error",
        "12 images scored again: largest difference 0",
        "all is as it was written",
    ]


@pytest.mark.parametrize("target", ["zzz", "", "\x1b[2J\ud800", "A"])
def test_target_that_is_no_class(command: Command, done: Path, target: str) -> None:
    identity = json.loads((done / "run.json").read_text())["identity"] | {"target": target}
    change(done / "run.json", identity=identity)
    said = command("verify", done).refusal()
    assert f"{done / 'run.json'}: identity.target: expected one of from-folder, a, b, got " in said


@pytest.mark.parametrize(
    ("field", "value"), [("precision", "fast"), ("arithmetic", 1), ("bits", 12), ("new_in_the_next_version", 1)]
)
def test_identity_is_what_the_run_began_with(
    command: Command, fitted: Path, images: Path, done: Path, field: str, value: object
) -> None:
    identity = json.loads((done / "run.json").read_text())["identity"] | {field: value}
    change(done / "run.json", identity=identity)
    ran = command("verify", done)
    assert ran.status == 1
    assert "run.json: identity: changed since the run began (its SHA-256 is not that in run)" in ran.out
    refused = again(command, fitted, images, done).refusal()
    assert refused.startswith(f"the run in {done} ")
    assert "give a new folder, or --overwrite" in refused


def test_a_run_of_a_version_that_records_more(command: Command, fitted: Path, images: Path, done: Path) -> None:
    identity = json.loads((done / "run.json").read_text())["identity"] | {"new_in_the_next_version": 1}
    change(done / "run.json", identity=identity)
    assert again(command, fitted, images, done).refusal() == (
        f"the run in {done} was made by another version, which writes 'new_in_the_next_version' (1, not None): "
        "give a new folder, or --overwrite to begin anew"
    )


@pytest.mark.parametrize(("field", "value", "there"), [("n_images", 13, 12), ("n_images", 0, 12), ("n_shards", 4, 3)])
def test_changed_counts_in_the_record_are_named(
    command: Command, done: Path, field: str, value: int, there: int
) -> None:
    change(done / "run.json", **{field: value})
    ran = command("verify", done)
    assert ran.status == 1
    assert ran.out.splitlines()[0] == f"run.json: {field}: expected {there}, got {value}"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            lambda s: s | {"n_scored": 12, "n_unreadable": 0},
            "summary.json: n_unreadable: expected 1, as the parts hold",
        ),
        (lambda s: s | {"n_listed": 99}, "summary.json: n_listed: expected 12, got 99"),
        (lambda s: s | {"n_listed": "12"}, "summary.json is missing or damaged (n_listed: expected a whole number"),
        (
            lambda s: s | {"targets": []},
            "summary.json is missing or damaged (targets: expected names with values, got []",
        ),
        (lambda s: s | {"targets": {}}, "summary.json: targets.a.n: expected 11, as the parts hold, got None"),
        (lambda s: s | {"targets": s["targets"] | {"b": s["targets"]["a"]}}, "summary.json: targets.b.n: expected 0"),
        (
            lambda s: s | {"targets": {"a": s["targets"]["a"] | {"ius": {"mean": 0.99}}}},
            "summary.json: targets.a.ius.mean: expected ",
        ),
        (
            lambda s: s | {"targets": {"a": s["targets"]["a"] | {"ius": [0.5]}}},
            "summary.json is missing or damaged (targets.a.ius: ",
        ),
        (
            lambda s: s | {"targets": {"a": s["targets"]["a"] | {"ius": s["targets"]["a"]["ius"] | {"low": 5.0}}}},
            "summary.json: targets.a.ius.low: expected ",
        ),
        (
            lambda s: s | {"targets": {"a": s["targets"]["a"] | {"ceiling": None}}},
            "summary.json: targets.a.ceiling: expected ",
        ),
        (
            lambda s: s | {"targets": {"a": s["targets"]["a"] | {"components": []}}},
            "summary.json: targets.a.components: expected ",
        ),
        (
            lambda s: s | {"mean_over_classes": {"classes": [], "mean": 99}},
            "summary.json: mean_over_classes: expected ",
        ),
        (lambda s: s | {"model": s["model"] | {"color": "red"}}, "summary.json: model.color: expected "),
        (lambda s: s | {"errors": {}}, "summary.json: errors: expected "),
        (lambda s: s | {"notes": []} if s["notes"] else s | {"n_known": 7}, "summary.json: n"),
    ],
)
def test_a_changed_summary_is_named(command: Command, done: Path, changed: Callable[[Any], Any], said: str) -> None:
    path = done / "summary.json"
    path.write_text(json.dumps(changed(json.loads(path.read_text()))))
    ran = command("verify", done)
    assert ran.status == 1
    assert ran.out.startswith(said)


def test_parts_of_another_run_are_told(command: Command, fitted: Path, images: Path, done: Path) -> None:
    """Without the check, their rows would be read as rows of this run."""
    first = done / "scores.parquet/part-000000.parquet"
    (done / "scores.parquet/part-000099.parquet").write_bytes(first.read_bytes())
    (done / "scores.parquet/.hidden").write_bytes(b"")
    ran = again(command, fitted, images, done)
    said = (
        "note: scores.parquet holds files that are not part of this run, and readers read them too: part-000099.parquet"
    )
    assert said in ran.out.splitlines()
    assert "part-000099.parquet" in command("verify", done).out


def test_footer_that_counts_other_rows(command: Command, done: Path) -> None:
    path = done / "scores.parquet/part-000000.parquet"
    table = pq.read_table(path)
    record = json.loads(table.schema.metadata[b"iuscore"]) | {"unreadable": 0}
    pq.write_table(table.replace_schema_metadata({b"iuscore": json.dumps(record)}), path)
    ran = command("verify", done)
    assert ran.status == 1
    assert ran.out.startswith("part-000000.parquet records 0 images that could not be read, its rows hold 1")


def test_of_very_many_problems_the_first_are_told(fitted: Path, images: Path, tmp_path: Path, command: Command) -> None:
    """Memory does not grow with the number of problems."""
    images = class_folders(tmp_path / "many", n=60, size=8, seed=1)
    out = tmp_path / "one_a_shard"
    assert again(command, fitted, images, out, "--shard-size", 1).status == 0
    for path in (out / "scores.parquet").iterdir():
        path.write_bytes(b"")
    (out / "scores.parquet" / "part-000120.parquet").write_bytes(b"")
    found = verify(out, iuscore.load(fitted), open_shards(images))
    # 120 damaged parts, a stranger, and a summary of other rows
    assert len(found.problems) == 101
    assert found.problems[-1] == "22 more problems"


def test_memory_does_not_grow_with_the_run(
    fitted: Path, images: Path, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every image fails with another error; not all of the errors are kept."""
    path = done / "scores.parquet/part-000000.parquet"
    table = pq.read_table(path)
    record = json.loads(table.schema.metadata[b"iuscore"])
    scorer, source = iuscore.load(fitted), open_shards(images)

    def peak(parts: int) -> int:
        calls = 0

        def read(path: Path, columns: object = None) -> Any:
            nonlocal calls
            calls += 1
            texts = [f"cannot be read: {calls} {row} {'x' * 200}" for row in range(1000)]
            rows = table.slice(1, 1).take([0] * 1000)
            return rows.set_column(rows.column_names.index("error"), table.schema.field("error"), [texts])

        class Info:
            run, content, unreadable = record["run"], content_of(table), 1000
            transient = tuple(range(1000))

            def __init__(self, path: Path) -> None:
                self.index = calls

        class Plan(list[int]):
            signature, images = json.loads((done / "run.json").read_text())["identity"]["source"], 1000 * parts

        module = import_module("iuscore.engine.verify")
        monkeypatch.setattr(module, "read_part", read)
        monkeypatch.setattr(module, "read_info", Info)
        monkeypatch.setattr(module, "make_plan", lambda *_, **__: Plan(range(parts)))
        monkeypatch.setattr(module, "part_path", lambda out, index: path)
        tracemalloc.start()
        try:
            assert verify(done, scorer, source).rows == 1000 * parts
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2)
    assert peak(40) < 1.5 * peak(4)


def put(kind: str, path: Path) -> None:
    path.unlink(missing_ok=True)
    if kind == "a named pipe":
        os.mkfifo(path)
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", ["a named pipe", "a folder"])
@pytest.mark.parametrize("name", ["run.json", "plan.jsonl", "summary.json"])
def test_folders_and_pipes_in_place_of_files_are_refused(
    command: Command, fitted: Path, images: Path, done: Path, name: str, kind: str
) -> None:
    put(kind, done / name)
    refusal = f"{done / name}: expected a file, got {kind}: move it away, or give another folder"
    for options in ((), ("--overwrite",)):
        assert again(command, fitted, images, done, *options).refusal() == refusal
    ran = command("verify", done)
    if name == "run.json":
        assert ran.refusal() == f"cannot read {done / name}: expected a file, got {kind}"
    elif name == "summary.json":
        assert ran.out.startswith(f"summary.json is missing or damaged (expected a file, got {kind})")
    else:
        assert ran.status == 0  # the plan is made anew elsewhere


@pytest.mark.parametrize("name", ["run.json", "summary.json", "scores.csv", "scores.parquet/part-000001.parquet"])
def test_a_pipe_is_not_waited_for(fitted: Path, images: Path, done: Path, name: str) -> None:
    """In a separate process, because the test would hang on a failure."""
    put("a named pipe", done / name)
    assert run_apart("verify", done).status in (0, 1, 2)
    options = ("--target", "a", "--out", done, "--workers", 1, "--csv")
    ran = run_apart("score", fitted, images, *options)
    assert ran.status == 2
    assert "expected a file" in ran.err or "is not of a run of iuscore" in ran.err
    assert "Traceback" not in ran.err
