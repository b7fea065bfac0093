"""Runs: what they refuse to resume with, and what `iuscore verify` finds."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import iuscore
from iuscore.engine import run as engine_run
from iuscore.engine import score_source
from iuscore.engine.torchrun import rank_of
from iuscore.errors import UserError
from tests.fixtures import Command, run_apart, write_images


class TestAnotherRun:
    """A folder holds one run."""

    def again(self, command: Command, model: Path, images: Path, out: Path, *options: object) -> str:
        before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        said = command("score", model, images, "--out", out, *(options or ("--target", "a"))).refusal()
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
        ending = ": give a new folder, or --overwrite to begin anew"
        assert said.endswith(ending)
        return said.removeprefix(f"the run in {out} ").removesuffix(ending)

    def test_changed_options_are_refused_by_name(
        self, command: Command, fitted: Path, images: Path, done: Path
    ) -> None:
        assert self.again(command, fitted, images, done, "--target", "b") == "has another target (a, not b)"
        said = self.again(command, fitted, images, done, "--target", "a", "--space", "evidence")
        assert said == "was made in another space (paper, not evidence)"
        said = self.again(command, fitted, images, done, "--target", "a", "--shard-size", 5)
        assert said == "has shards of another size (4, not 5)"

    def test_another_model_is_refused(
        self, command: Command, fitted: Path, images: Path, done: Path, tmp_path: Path
    ) -> None:
        other = tmp_path / "other"
        shutil.copytree(fitted, other)
        record = json.loads((other / "config.json").read_text())
        record["profiles"]["paper"]["a"]["mean"][0] += 0.125
        del record["config_sha256"]
        (other / "config.json").write_text(json.dumps(record))
        assert self.again(command, other, images, done) == "was made with another model"

    @pytest.mark.parametrize("change", ["more", "fewer", "renamed", "touched", "grown"])
    def test_changed_images_are_refused(
        self, command: Command, fitted: Path, images: Path, done: Path, change: str
    ) -> None:
        path = images / "b/03.png"
        if change == "more":
            write_images(images, ["b/99.png"])
        elif change == "fewer":
            path.unlink()
        elif change == "renamed":
            path.rename(path.with_name("03x.png"))
        elif change == "touched":
            os.utime(path, (1, 1))
        else:
            date = path.stat()
            path.write_bytes(path.read_bytes() + b"x")
            os.utime(path, (date.st_atime, date.st_mtime))
        said = self.again(command, fitted, images, done)
        assert said == "is of other images, or of images that have changed since then"

    def test_moved_images_belong_to_the_same_run(
        self, command: Command, fitted: Path, images: Path, done: Path
    ) -> None:
        moved = images.rename(images.with_name("moved"))
        ran = command("score", fitted, moved, "--target", "a", "--out", done)
        assert ran.status == 0, ran.err

    def test_overwrite_replaces_the_run_and_keeps_other_files(
        self, command: Command, fitted: Path, images: Path, done: Path
    ) -> None:
        (done / "mine.txt").write_text("stays")
        ran = command("score", fitted, images, "--target", "b", "--out", done, "--overwrite")
        assert ran.status == 0, ran.err
        assert len(list((done / "scores.parquet").iterdir())) == 1
        assert set(pq.read_table(done / "scores.parquet").column("target").to_pylist()) == {"b"}
        assert (done / "mine.txt").read_text() == "stays"

    def test_a_record_that_cannot_be_read(self, command: Command, fitted: Path, images: Path, done: Path) -> None:
        (done / "run.json").unlink()
        (done / "run.json").mkdir()
        said = command("score", fitted, images, "--target", "a", "--out", done).refusal()
        ending = "expected a file, got a folder: move it away, or give another folder"
        assert said == f"{done / 'run.json'}: {ending}"

    def test_standard_error_is_closed(self, fitted: Path, images: Path, tmp_path: Path) -> None:
        out = tmp_path / "s"
        ran = run_apart("score", fitted, images, "--target", "a", "--out", out, code="import sys; sys.stderr = None")
        assert ran.status == 0
        assert (out / "summary.json").exists()

    def test_a_damaged_record_is_refused_and_can_be_overwritten(
        self, command: Command, fitted: Path, images: Path, done: Path
    ) -> None:
        (done / "run.json").write_text("{")
        said = command("score", fitted, images, "--target", "a", "--out", done).refusal()
        assert said.startswith(f"{done / 'run.json'} is damaged, or of another version (expected JSON, got ")
        assert said.endswith("): give a new folder, or --overwrite")
        assert command("score", fitted, images, "--target", "a", "--out", done, "--overwrite").status == 0

    def test_table_of_an_earlier_version(self, command: Command, fitted: Path, images: Path, tmp_path: Path) -> None:
        (tmp_path / "o").mkdir()
        (tmp_path / "o/scores.parquet").write_bytes(b"PAR1")
        said = command("score", fitted, images, "--target", "a", "--out", tmp_path / "o").refusal()
        assert said.endswith("scores.parquet is a file, of an earlier version: give a new folder")


class TestResume:
    def test_finished_parts_are_not_written_again(
        self, command: Command, fitted: Path, images: Path, done: Path
    ) -> None:
        dates = {path: path.stat().st_mtime_ns for path in (done / "scores.parquet").iterdir()}
        assert command("score", fitted, images, "--target", "a", "--out", done).status == 0
        assert {path: path.stat().st_mtime_ns for path in (done / "scores.parquet").iterdir()} == dates

    @pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "foreign", "of another place"])
    def test_a_part_that_is_not_whole_is_done_again(
        self, command: Command, fitted: Path, images: Path, done: Path, damage: str
    ) -> None:
        part, other = (done / f"scores.parquet/part-00000{i}.parquet" for i in (1, 2))
        before = part.read_bytes()
        if damage == "missing":
            part.unlink()
        elif damage == "truncated":
            part.write_bytes(before[:-9])
        elif damage == "empty":
            part.write_bytes(b"")
        elif damage == "foreign":
            pq.write_table(pq.read_table(part).replace_schema_metadata(None), part)
        else:
            shutil.copy(other, part)
        assert command("score", fitted, images, "--target", "a", "--out", done).status == 0
        assert part.read_bytes() == before

    def test_a_part_with_damaged_pages_is_noticed(
        self, command: Command, fitted: Path, images: Path, done: Path
    ) -> None:
        """The footer is valid, so only reading the rows shows the damage."""
        part = done / "scores.parquet/part-000001.parquet"
        content = bytearray(part.read_bytes())
        content[8:400] = bytes(392)
        part.write_bytes(content)
        said = command("score", fitted, images, "--target", "a", "--out", done).refusal()
        assert said.startswith(f"{part} is damaged (")
        assert said.endswith("): remove it and run the same 'iuscore score' again")
        ran = command("verify", done)
        assert ran.status == 1
        assert f"{part} is damaged (" in ran.out

    def test_a_run_of_another_arithmetic_is_refused(
        self, command: Command, fitted: Path, images: Path, done: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = engine_run.ARITHMETIC
        monkeypatch.setattr(engine_run, "ARITHMETIC", 999)
        said = command("score", fitted, images, "--target", "a", "--out", done).refusal()
        assert f"was made by a version that computes otherwise ({now}, not 999)" in said

    def test_hidden_files_of_killed_processes_go(
        self, command: Command, fitted: Path, images: Path, done: Path
    ) -> None:
        left = [done / "scores.parquet/.part-000001.parquet.0badf00d.tmp", done / ".plan.jsonl.0badf00d.tmp"]
        for path in left:
            path.write_bytes(b"half")
        assert len(pq.read_table(done / "scores.parquet")) == 12  # readers pass them over
        assert command("score", fitted, images, "--target", "a", "--out", done).status == 0
        assert not any(path.exists() for path in left)


Damage = Callable[[Path, Path], None]


def _other_number(out: Path, images: Path) -> None:
    path = out / "scores.parquet/part-000001.parquet"
    table = pq.read_table(path)
    values = table.column("ius").to_pylist()
    values[2] += 0.25
    at = table.column_names.index("ius")
    import pyarrow as pa

    pq.write_table(table.set_column(at, "ius", pa.array(values, pa.float32())), path)


def _no_column(out: Path, images: Path) -> None:
    path = out / "scores.parquet/part-000001.parquet"
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["ius"]).replace_schema_metadata(table.schema.metadata), path)


def _summary(out: Path, images: Path) -> None:
    summary = json.loads((out / "summary.json").read_text())
    (out / "summary.json").write_text(json.dumps({**summary, "n_scored": 11}))


DAMAGES: dict[str, tuple[Damage, str]] = {
    "part missing": (
        lambda out, images: (out / "scores.parquet/part-000002.parquet").unlink(),
        "1 of 3 parts are missing, such as part-000002.parquet: the run is not finished; "
        "run the same 'iuscore score' again",
    ),
    "number changed": (_other_number, "part-000001.parquet has changed since it was written"),
    "column gone": (_no_column, "part-000001.parquet has other columns than the model gives"),
    "file added": (
        lambda out, images: (out / "scores.parquet/part-9.parquet").touch(),
        "files that are no part of the run: part-9.parquet",
    ),
    "image changed": (
        lambda out, images: (images / "a/02.png").write_bytes(b"x"),
        "the images have changed since: 12 then, 12 now",
    ),
    "summary changed": (_summary, "summary.json counts 11 images, the parts hold 12"),
    "summary gone": (lambda out, images: (out / "summary.json").unlink(), "summary.json is missing or damaged"),
}


class TestVerify:
    def test_a_finished_run_passes(self, command: Command, done: Path) -> None:
        before = done.stat().st_mtime_ns
        ran = command("verify", done, "--sample", 1000)
        assert ran.status == 0, ran.out
        assert done.stat().st_mtime_ns == before  # nothing was written there, not even temporarily
        assert ran.out.splitlines() == [
            "3 parts, 12 rows",
            "12 images scored again: largest difference 0",
            "all is well",
        ]

    @pytest.mark.parametrize("name", DAMAGES)
    def test_damage_is_found(self, command: Command, images: Path, done: Path, name: str) -> None:
        damage, said = DAMAGES[name]
        damage(done, images)
        ran = command("verify", done)
        assert ran.status == 1
        assert said in ran.out.splitlines()

    def test_scores_of_another_model(self, command: Command, fitted: Path, done: Path, tmp_path: Path) -> None:
        """The configuration is the same and the arithmetic differs, so only scoring again shows it."""
        scorer = iuscore.load(fitted)
        weight = next(iter(scorer.model.parameters()))
        weight.add_(0.5)
        from iuscore.engine import verify
        from iuscore.images import open_shards

        found = verify(done, scorer, open_shards(tmp_path / "images"))
        assert found.rescored == 12
        assert any("scored again its numbers differ by" in text for text in found.problems)

    def test_a_run_that_goes_on(self, command: Command, done: Path) -> None:
        summary = json.loads((done / "summary.json").read_text())
        (done / "summary.json").write_text(json.dumps(summary | {"complete": False}))
        assert command("verify", done).out.splitlines()[0] == "summary.json is of a run that is not complete"

    def test_a_folder_without_a_run_is_refused(self, command: Command, tmp_path: Path) -> None:
        said = command("verify", tmp_path).refusal()
        assert said == f"{tmp_path} holds no run: give the --out folder of 'iuscore score'"

    def test_unreadable_images_stay_so(self, command: Command, fitted: Path, images: Path, tmp_path: Path) -> None:
        (images / "a/00.png").write_bytes(b"no image")
        assert command("score", fitted, images, "--target", "a", "--out", tmp_path / "o").status == 1
        ran = command("verify", tmp_path / "o", "--sample", 50)
        assert ran.status == 0, ran.out


class TestRanks:
    def test_ranks_of_torchrun_and_slurm_are_read(self) -> None:
        assert rank_of({"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "0"}) == (2, 4, 0)
        assert rank_of({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}) == (0, 1, 0)

    @pytest.mark.parametrize(
        ("environment", "said"),
        [
            ({}, "expected RANK and WORLD_SIZE or SLURM_PROCID and SLURM_NTASKS in the environment"),
            ({"RANK": "4", "WORLD_SIZE": "4"}, "expected a rank below the number of processes"),
            ({"RANK": "x", "WORLD_SIZE": "4"}, "expected a rank below the number of processes"),
        ],
    )
    def test_contradictory_ranks_are_refused(self, environment: dict[str, str], said: str) -> None:
        with pytest.raises(UserError, match=said):
            rank_of(environment)

    def test_on_the_command_line(
        self, command: Command, fitted: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "o"
        for rank in (1, 0):
            monkeypatch.setenv("RANK", str(rank))
            monkeypatch.setenv("WORLD_SIZE", "2")
            options = ("--target", "a", "--out", out, "--launcher", "torchrun", "--shard-size", 5)
            ran = command("score", fitted, images, *options)
            assert ran.status == 0, ran.err
            complete = json.loads((out / "summary.json").read_text())["complete"] if rank == 0 else None
        assert complete is True
        assert len(pq.read_table(out / "scores.parquet")) == 12


class TestArguments:
    def test_arguments_out_of_range_are_refused_in_python(self, fitted: Path, images: Path, tmp_path: Path) -> None:
        scorer = iuscore.load(fitted)
        with pytest.raises(UserError, match="batch_size: expected 1 to 65536, got 0"):
            score_source(scorer, images, tmp_path / "o", batch_size=0)
        scorer.folder = None
        with pytest.raises(UserError, match=r"workers: expected a scorer of iuscore\.load"):
            score_source(scorer, images, tmp_path / "o", workers=2, shard_size=2)
