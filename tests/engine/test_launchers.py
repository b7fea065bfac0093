"""The same shards by ranks and by Ray, and their table in the readers that people use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import iuscore
from iuscore.engine import score_source
from iuscore.errors import UserError
from tests.fixtures import Command, class_folders


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folders(tmp_path_factory.mktemp("launchers") / "images", n=20, channels=3, seed=3)


@pytest.fixture(scope="module")
def expected(texture: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("expected")
    score_source(iuscore.load(texture), images, out, shard_size=3)
    return out


def parts(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "scores.parquet").iterdir())}


MAIN = "from iuscore.cli import main\nif __name__ == '__main__': main()"


def test_two_ranks_at_the_same_time(texture: Path, images: Path, expected: Path, tmp_path: Path) -> None:
    """Two processes, as torchrun starts them; they do not communicate."""
    options = ["--target", "from-folder", "--out", tmp_path / "out", "--launcher", "torchrun", "--shard-size", "3"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MAIN, "score", texture, images, *options],
            env=os.environ | {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in processes:
        _, said = process.communicate(timeout=200)
        assert process.returncode == 0, said
    assert parts(tmp_path / "out") == parts(expected)
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert (summary["n_scored"], summary["complete"]) == (40, True)


def test_a_rank_alone_says_what_is_missing(texture: Path, images: Path, expected: Path, tmp_path: Path) -> None:
    scorer = iuscore.load(texture)
    run = score_source(scorer, images, tmp_path, shard_size=3, rank=(0, 2))
    assert run.summary.complete is False
    assert run.summary.n_scored == 21  # seven shards of fourteen
    # Any later process does the missing shards, such as one process alone.
    run = score_source(scorer, images, tmp_path)
    assert run.summary.complete is True
    assert parts(tmp_path) == parts(expected)


def test_the_whole_summary_is_never_replaced(
    texture: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first rank finds parts missing; the second rank makes the parts and finishes before the first one writes."""
    from iuscore.engine import score as engine_score

    scorer = iuscore.load(texture)
    write = engine_score.write_summary
    others = tmp_path / ".summary.json.00000000.tmp"

    def late(*args: Any, **figures: Any) -> dict[str, Any]:
        monkeypatch.setattr(engine_score, "write_summary", write)
        others.touch()  # what this rank is writing
        assert score_source(scorer, images, tmp_path, rank=(1, 2)).summary.complete is True
        assert others.exists()
        return write(*args, **figures)

    monkeypatch.setattr(engine_score, "write_summary", late)
    run = score_source(scorer, images, tmp_path, shard_size=3, rank=(0, 2))
    assert run.summary.complete is True
    assert json.loads((tmp_path / "summary.json").read_text())["complete"] is True
    score_source(scorer, images, tmp_path)  # alone, and tidies up
    assert not others.exists()


def test_ranks_do_not_overwrite(texture: Path, images: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^overwrite: expected one process, got 2, .* remove this one first$"):
        score_source(iuscore.load(texture), images, tmp_path / "out", rank=(1, 2), overwrite=True)
    assert not (tmp_path / "out").exists()


def test_an_unreadable_image_fails_no_rank_but_the_last(
    command: Command, texture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchrun ends all processes when one ends with an error."""
    images = class_folders(tmp_path / "images", n=4, channels=3)
    (images / "a/00.png").write_bytes(b"")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, status in ((0, 0), (1, 1)):
        monkeypatch.setenv("RANK", str(rank))
        options = ("--target", "a", "--launcher", "torchrun", "--shard-size", 2)
        ran = command("score", texture, images, "--out", tmp_path / "out", *options)
        assert ran.status == status, ran.err


@pytest.fixture(scope="module")
def ray() -> Any:
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


@pytest.mark.filterwarnings("ignore")
class TestRay:
    def test_ray_writes_the_same_parts(
        self, ray: Any, texture: Path, images: Path, expected: Path, tmp_path: Path
    ) -> None:
        scorer = iuscore.load(texture)
        run = score_source(scorer, images, tmp_path, shard_size=3, workers=2, ray_address="local")
        assert (run.summary.n_scored, run.summary.complete) == (40, True)
        assert parts(tmp_path) == parts(expected)

    def test_an_actor_is_killed(self, ray: Any, texture: Path, images: Path, expected: Path, tmp_path: Path) -> None:
        killed = []

        def kill() -> None:
            deadline = time.monotonic() + 100
            while time.monotonic() < deadline:
                if (tmp_path / "scores.parquet").is_dir() and len(list((tmp_path / "scores.parquet").glob("part*"))):
                    for entry in Path("/proc").iterdir():
                        with suppress(OSError, ValueError):
                            title = (entry / "cmdline").read_bytes()
                            if title.startswith(b"ray::ShardActor"):
                                os.kill(int(entry.name), signal.SIGKILL)
                                killed.append(entry.name)
                                return
                time.sleep(0.002)

        killer = threading.Thread(target=kill)
        killer.start()
        run = score_source(
            iuscore.load(texture), images, tmp_path, shard_size=3, batch_size=1, workers=2, ray_address="local"
        )
        killer.join()
        assert killed
        assert run.summary.complete is True
        assert parts(tmp_path) == parts(expected)

    def test_a_strict_run_says_why_it_stopped(self, ray: Any, texture: Path, tmp_path: Path) -> None:
        images = class_folders(tmp_path / "images", n=4, channels=3)
        (images / "a/00.png").write_bytes(b"")
        with pytest.raises(UserError, match=r"a/00\.png: empty file \(0 bytes\) \(--strict\)"):
            score_source(
                iuscore.load(texture), images, tmp_path / "o", workers=2, ray_address="local", strict=True, shard_size=2
            )


class TestReaders:
    """Usual tools read the folder of parts as one table."""

    def test_pyarrow_and_pandas_read_the_table(self, expected: Path) -> None:
        assert len(pq.read_table(expected / "scores.parquet")) == 40
        pandas = pytest.importorskip("pandas")
        frame = pandas.read_parquet(expected / "scores.parquet")
        assert list(frame["uid"]) == sorted(frame["uid"])
        assert len(frame) == 40

    def test_polars_reads_the_table(self, expected: Path) -> None:
        polars = pytest.importorskip("polars")
        frame = polars.scan_parquet(expected / "scores.parquet").filter(polars.col("error").is_null()).collect()
        assert len(frame) == 40

    def test_duckdb_reads_the_table(self, expected: Path) -> None:
        duckdb = pytest.importorskip("duckdb")
        query = (
            f"SELECT target, count(*), avg(ius) FROM '{expected}/scores.parquet/*.parquet' GROUP BY target ORDER BY 1"
        )
        rows = duckdb.sql(query).fetchall()
        assert [(name, n) for name, n, _ in rows] == [("a", 20), ("b", 20)]
