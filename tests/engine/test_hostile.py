"""Disturbed runs: a second command in the folder, a changed model, signals, damage, odd names."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import iuscore
from iuscore.engine import score_source
from iuscore.engine.local import Loading
from iuscore.engine.torchrun import require_alone
from iuscore.errors import UserError
from iuscore.images import open_shards
from iuscore.progress import Progress
from tests.fixtures import EXIT_INTERRUPTED, Command, class_folders, run_apart, signal_when_there, write_record


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "images", n=6, seed=5)


class _Meanwhile(Progress):
    """A progress listener that acts once, when the first images are done."""

    def __init__(self, what: object) -> None:
        self.what = what

    def advance(self, n: int, **figures: float | None) -> None:
        what, self.what = self.what, None
        if callable(what):
            what()


def test_another_command_begins_anew_in_the_folder(texture: Path, images: Path, tmp_path: Path) -> None:
    scorer, out = iuscore.load(texture), tmp_path / "out"
    source = open_shards(images)

    def other() -> None:
        score_source(scorer, open_shards(images), out, target="b", shard_size=4, overwrite=True)

    with pytest.raises(UserError, match=r"another command has begun anew in .*: give each a folder of its own"):
        score_source(scorer, source, out, target="a", shard_size=2, progress=_Meanwhile(other))
    assert set(pq.read_table(out / "scores.parquet").column("target").to_pylist()) == {"b"}


def test_another_command_removes_parts(texture: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    class Removed(Progress):
        def advance(self, n: int, **figures: float | None) -> None:
            (out / "scores.parquet/part-000000.parquet").unlink(missing_ok=True)

    with pytest.raises(UserError, match="of 12 images only 8 are left in"):
        score_source(iuscore.load(texture), open_shards(images), out, target="a", shard_size=4, progress=Removed())


def test_a_model_that_changes_is_not_loaded_by_a_worker(texture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(texture, folder)
    loading = Loading.of(iuscore.load(folder))
    loading.load()
    record = json.loads((folder / "config.json").read_text())
    write_record(folder, record | {"note": "fitted again"})
    with pytest.raises(UserError, match="has changed since the run began"):
        loading.load()


def test_another_column_is_another_source(command: Command, texture: Path, images: Path, tmp_path: Path) -> None:
    files = [path.read_bytes() for path in sorted(images.rglob("*.png"))]
    pq.write_table(pa.table({"left": files[:6], "right": files[6:]}), tmp_path / "two.parquet")
    common = ("score", texture, tmp_path / "two.parquet", "--target", "a", "--out", tmp_path / "out")
    assert command(*common, "--column", "left").status == 0
    assert "is of other images" in command(*common, "--column", "right").refusal()
    assert command("verify", tmp_path / "out").status == 0  # the column is in run.json


def test_verify_knows_the_split(command: Command, texture: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (9, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "m.npz", train_images=pixels, test_images=pixels[:4])
    out = tmp_path / "out"
    assert command("score", texture, tmp_path / "m.npz", "--split", "test", "--target", "a", "--out", out).status == 0
    assert command("verify", out).status == 0


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes")
def test_names_that_are_not_utf8(command: Command, texture: Path, images: Path, tmp_path: Path) -> None:
    model, source, out = (Path(os.fsdecode(os.fsencode(tmp_path) + name)) for name in (b"/m\xe9", b"/i\xe9", b"/o\xe9"))
    shutil.copytree(texture, model)
    shutil.copytree(images, source)
    assert command("score", model, source, "--target", "a", "--out", out).status == 0
    assert json.loads((out / "summary.json").read_text())["complete"] is True
    assert command("verify", out).out.endswith("all is well\n")


@pytest.mark.parametrize("inside", [".", "a", "new/folder"])
def test_an_output_folder_inside_the_images_is_refused(
    command: Command, texture: Path, images: Path, inside: str
) -> None:
    said = command("score", texture, images, "--target", "a", "--out", images / inside).refusal()
    assert said.endswith("give a folder outside")
    assert not list(images.rglob("*.json"))


def test_an_output_folder_that_is_a_dangling_link_is_refused(
    command: Command, texture: Path, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").symlink_to("nowhere")
    said = command("score", texture, images, "--target", "a", "--out", tmp_path / "out").refusal()
    assert "is a link to nothing: make the folder nowhere" in said


@pytest.mark.parametrize("variables", [{"RANK": "0", "WORLD_SIZE": "4"}, {"SLURM_STEP_NUM_TASKS": "2"}])
def test_several_processes_without_ranks_are_refused(variables: dict[str, str]) -> None:
    with pytest.raises(UserError, match="each of which would score all images: add --launcher torchrun"):
        require_alone(variables)
    require_alone({"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"})


def test_many_processes_on_the_command_line(
    command: Command, texture: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    common = ("score", texture, images, "--target", "a", "--out", tmp_path / "out", "--shard-size", 4)
    assert "torchrun started 4 processes" in command(*common).refusal()
    alone = command(*common, "--launcher", "torchrun")
    assert alone.status == 0
    assert "4 of 12 images are scored so far: the other ranks score the rest" in alone.out
    assert "summary.json" not in alone.out
    unfinished = command("verify", tmp_path / "out")
    assert unfinished.status == 1
    assert "2 of 3 parts are missing, such as part-000000.parquet: the run is not finished" in unfinished.out


@pytest.fixture
def done(command: Command, texture: Path, images: Path, tmp_path: Path) -> Path:
    out = tmp_path / "out"
    assert command("score", texture, images, "--target", "a", "--out", out, "--shard-size", 4).status == 0
    return out


def test_rows_that_are_damaged(command: Command, texture: Path, images: Path, done: Path) -> None:
    """The footer is valid, so the part looks complete."""
    part = done / "scores.parquet/part-000001.parquet"
    content = bytearray(part.read_bytes())
    content[10:200] = b"\x55" * 190
    part.write_bytes(content)
    said = command("score", texture, images, "--target", "a", "--out", done).refusal()
    assert str(part) in said
    assert "remove it and run the same 'iuscore score' again" in said
    checked = command("verify", done)
    assert checked.status == 1
    assert "part-000001.parquet" in checked.out
    part.unlink()
    assert command("score", texture, images, "--target", "a", "--out", done).status == 0
    assert command("verify", done).status == 0


@pytest.mark.parametrize("column", ["ius", "uid", "target", "share_hue", "warnings"])
def test_rows_that_another_program_wrote(
    command: Command, texture: Path, images: Path, done: Path, column: str
) -> None:
    """Footer and record belong to the part, but another program replaced the rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    part = done / "scores.parquet/part-000001.parquet"
    table = pq.read_table(part)
    values = table.column(column).to_pylist()
    changed = [value / 2 if isinstance(value, float) else "b" for value in values[:1]] + values[1:]
    place = table.column_names.index(column)
    pq.write_table(
        table.set_column(place, table.schema.field(place), pa.array(changed, table.schema.types[place])), part
    )
    said = command("score", texture, images, "--target", "a", "--out", done).refusal()
    assert said == f"{part} has changed since it was written: remove it and run the same 'iuscore score' again"
    part.unlink()
    assert command("score", texture, images, "--target", "a", "--out", done).status == 0
    assert command("verify", done).status == 0


@pytest.mark.parametrize("content", ["[]", '{"identity": {"format": 1}}', '{"run": "x", "identity": 3}'])
def test_a_record_that_lacks_something(command: Command, texture: Path, images: Path, done: Path, content: str) -> None:
    (done / "run.json").write_text(content)
    for argv in (("score", texture, images, "--target", "a", "--out", done), ("verify", done)):
        assert "run.json is damaged, or of another version" in command(*argv).refusal()


def test_verify_writes_nothing(command: Command, done: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (done, *done.rglob("*"))}
    assert command("verify", done).status == 0
    assert {path: path.stat().st_mtime_ns for path in (done, *done.rglob("*"))} == before


def test_progress_in_a_log_file(texture: Path, images: Path, tmp_path: Path) -> None:
    ran = run_apart("score", texture, images, "--target", "a", "--out", tmp_path / "out", "--workers", 1)
    assert ran.status == 0
    assert "\r" not in ran.err
    assert "\x1b" not in ran.err
    lines = ran.err.splitlines()
    assert lines[0].startswith("scoring: 0/12 [")
    assert lines[-1].startswith("scoring: 12/12 [")


SLOW = """
import time
from pathlib import Path
from iuscore.scoring import Scorer
score_list = Scorer.score_list
def slow(self, *args):
    Path({!r}).touch()
    time.sleep(0.5)
    return score_list(self, *args)
Scorer.score_list = slow
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
@pytest.mark.parametrize("sign", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_a_run_in_good_order(texture: Path, images: Path, tmp_path: Path, sign: str) -> None:
    out, code = tmp_path / "out", SLOW.format(str(tmp_path / "there"))
    options = ("--target", "a", "--out", out, "--shard-size", 2, "--workers", 1, "--quiet")
    ran = signal_when_there(getattr(signal, sign), tmp_path / "there", "score", texture, images, *options, code=code)
    assert ran.status == 128 + getattr(signal, sign)
    assert "run the same command again to go on" in ran.err
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["interrupted"], summary["complete"]) == (True, False)
    assert not list(out.rglob(".*"))


LISTING = """
import time
from pathlib import Path
from iuscore import images
def waiting(*args, **options):
    Path({!r}).touch()
    time.sleep(600)
images.open_shards = waiting
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
@pytest.mark.parametrize("sign", ["SIGINT", "SIGTERM"])
def test_a_signal_while_images_are_listed(texture: Path, images: Path, tmp_path: Path, sign: str) -> None:
    code, argv = LISTING.format(str(tmp_path / "there")), ("--target", "a", "--out", tmp_path / "out")
    ran = signal_when_there(getattr(signal, sign), tmp_path / "there", "score", texture, images, *argv, code=code)
    assert ran.status == 128 + getattr(signal, sign)
    assert ran.err.strip() == "iuscore: interrupted"
    assert not (tmp_path / "out").exists()


def _interrupt_group(argv: Sequence[object], delays: Sequence[float], out: Path) -> tuple[int, str]:
    """Send SIGINT to all processes, as a terminal does, some seconds after ``out`` was made."""
    import subprocess
    import time

    with subprocess.Popen(
        [sys.executable, "-m", "iuscore", *map(str, argv)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 100
        while not (out / "scores.parquet").is_dir() and time.monotonic() < deadline:
            time.sleep(0.005)
        try:
            for delay in delays:
                time.sleep(delay)
                os.killpg(process.pid, signal.SIGINT)
            _, err = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, err


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked from a server")
@pytest.mark.parametrize("delays", [(0.0,), (0.3,), (1.0,), (1.0, 0.2)])
def test_interrupted_while_workers_start(
    texture: Path, images: Path, tmp_path: Path, delays: tuple[float, ...]
) -> None:
    out = tmp_path / "out"
    argv = ("score", texture, images, "--target", "a", "--out", out, "--shard-size", 1, "--workers", 2, "--quiet")
    status, err = _interrupt_group(argv, delays, out)
    assert status in (EXIT_INTERRUPTED, 0, -signal.SIGINT), err
    assert "Traceback" not in err
