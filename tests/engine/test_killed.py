"""After a kill, a full disk or a lost worker, the same command ends with every image exactly once."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import iuscore
from iuscore.engine import score_source, verify
from iuscore.images import Item, Shard, open_shards
from iuscore.images.sources.folder import FolderShards
from iuscore.progress import Progress
from tests.fixtures import Command, class_folders

KILLS = 50


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folders(tmp_path_factory.mktemp("killed") / "images", n=60, channels=3, seed=3)


def whole(out: Path) -> dict[str, Any]:
    """The uids and scores of a run, each image once."""
    table = pq.read_table(out / "scores.parquet")
    found = dict(zip(table.column("uid").to_pylist(), table.column("ius").to_pylist(), strict=True))
    assert len(found) == len(table)
    return found


def _score(model: Path, images: Path, out: Path) -> None:
    import torch

    torch.set_num_threads(1)
    score_source(iuscore.load(model), open_shards(images), out, target="a", shard_size=4, batch_size=2)


@pytest.mark.timeout(900)
def test_killed_at_random_instants(texture: Path, tmp_path: Path) -> None:
    """SIGKILL at least 50 times, anywhere from the listing to the summary."""
    images = class_folders(tmp_path / "images", n=16, channels=3, seed=3)
    context: Any = multiprocessing.get_context("forkserver")  # forks of a process that has the modules loaded
    context.set_forkserver_preload(["scipy.stats", "pyarrow.parquet", __name__])
    _score(texture, images, tmp_path / "expected")
    expected = whole(tmp_path / "expected")
    longest = 0.0
    for name in ("first", "timed"):  # the first also starts the server
        started = time.perf_counter()
        process = context.Process(target=_score, args=(texture, images, tmp_path / name))
        process.start()
        process.join(100)
        longest = time.perf_counter() - started
    rng = random.Random(0)
    kills = killed_in_a_row = finished = left_behind = 0
    while kills < KILLS:
        out = tmp_path / f"run{finished}"
        while True:
            process = context.Process(target=_score, args=(texture, images, out))
            process.start()
            # A longer time between kills: even on a machine that has become slow a run must finish its first part.
            process.join(rng.uniform(0.1, 0.9) * longest * (1 + 0.1 * killed_in_a_row))
            if not process.is_alive():
                assert process.exitcode == 0
                killed_in_a_row = 0
                break
            os.kill(process.pid, signal.SIGKILL)
            process.join(100)
            kills += 1
            killed_in_a_row += 1
            if (out / "scores.parquet").is_dir():
                left_behind += len(list((out / "scores.parquet").glob(".*.tmp")))
                partial = [path for path in (out / "scores.parquet").iterdir() if path.name.startswith("part-")]
                assert all(len(pq.read_table(path)) == 4 for path in partial)  # whole parts only
        assert whole(out) == expected
        assert json.loads((out / "summary.json").read_text())["complete"] is True
        assert not list(out.rglob(".*"))
        finished += 1
    print(f"{kills} kills, {finished} runs of {longest:.2f} s, {left_behind} hidden files were left behind")
    found = verify(tmp_path / "run0", iuscore.load(texture), open_shards(images), sample=10)
    assert found.problems == ()


def children(pid: int) -> list[int]:
    """Processes whose parent, or parent's parent, is ``pid``."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                found += [int(entry.name), *children(int(entry.name))]
    return found


@contextmanager
def command_line(model: Path, images: Path, out: Path) -> Iterator[subprocess.Popen[str]]:
    """``iuscore score`` with two workers that are slowed down in each batch."""
    code = """
import sys, time
from iuscore.cli import main
from iuscore.scoring import Scorer
if __name__ != "__main__":
    score_list = Scorer.score_list
    def slow(self, *args):
        time.sleep(0.02)
        return score_list(self, *args)
    Scorer.score_list = slow
else:
    main()
"""
    script = out.with_suffix(".py")
    script.write_text(code)
    options = ["--target", "a", "--out", out, "--shard-size", "4", "--batch-size", "2", "--workers", "2"]
    argv = [sys.executable, script, "score", model, images, *options]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def wait_for_parts(out: Path, n: int) -> None:
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        with suppress(OSError):
            if len(list((out / "scores.parquet").glob("part-*"))) >= n:
                return
        time.sleep(0.01)
    raise AssertionError("no parts in time")


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_a_killed_parent_takes_its_workers_along(texture: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with command_line(texture, images, out) as process:
        wait_for_parts(out, 3)
        family = children(process.pid)
        assert len(family) >= 3  # the server that forks, two workers
        process.kill()
        process.wait(100)
        deadline = time.monotonic() + 30
        while any(Path(f"/proc/{pid}/cmdline").exists() and _alive(pid) for pid in family):
            assert time.monotonic() < deadline, "orphans"
            time.sleep(0.05)
    assert 12 <= len(whole(out)) < 120
    _score(texture, images, out)
    assert len(whole(out)) == 120


def _alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_a_killed_worker_is_replaced(texture: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with command_line(texture, images, out) as process:
        wait_for_parts(out, 3)
        os.kill(max(children(process.pid)), signal.SIGKILL)
        _, said = process.communicate(timeout=200)
        assert process.returncode == 0, said
        assert "a worker process died; its shards are done again" in said
    assert len(whole(out)) == 120
    assert json.loads((out / "summary.json").read_text())["complete"] is True


class _Deadly(FolderShards):
    """A source of images; the process that reads the fourth image dies, once."""

    def items(self, shard: Shard) -> Iterator[Item]:
        once = self.path.parent / "died"
        for i, item in enumerate(super().items(shard)):
            if shard.index == 5 and i == 3 and not once.exists():
                once.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield item


class _Counting(Progress):
    """A progress listener that adds up the images done."""

    def __init__(self) -> None:
        self.images = 0
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def advance(self, n: int, **figures: float | None) -> None:
        assert n >= 0
        self.images += n


def test_images_of_a_killed_worker_count_once(texture: Path, tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "images", n=20, channels=3, seed=3)
    said = _Counting()
    score_source(
        iuscore.load(texture), _Deadly(folder), tmp_path / "out",
        target="a", shard_size=4, batch_size=2, workers=2, progress=said,
    )  # fmt: skip
    assert (tmp_path / "died").exists()
    assert said.lines == ["a worker process died; its shards are done again"]
    assert said.images == len(whole(tmp_path / "out")) == 40


@contextmanager
def small_disk(folder: Path, n_bytes: int) -> Iterator[Path]:
    """A file system of ``size`` bytes; the test is skipped if mounting is not allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no mount: {error}")
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_filled_the_disk_can_be_resumed(
    command: Command, texture: Path, images: Path, tmp_path: Path, workers: int
) -> None:
    options = ("--target", "a", "--shard-size", 4, "--workers", workers)
    with small_disk(tmp_path / "disk", 200 << 10) as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(120 << 10))
        said = command("score", texture, images, "--out", disk / "out", *options)
        assert said.status == 2
        assert "No space left on device; what is done is kept" in said.said()[-1]
        kept = len(list((disk / "out/scores.parquet").glob("part-*")))
        assert not list((disk / "out/scores.parquet").glob(".*"))
        ballast.unlink()
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        ran = command("score", texture, images, "--out", disk / "out", *options)
        assert ran.status == 0, ran.err
        assert 0 < kept < 30
        assert len(whole(disk / "out")) == 120
        found = verify(disk / "out", iuscore.load(texture), open_shards(images), sample=5)
        assert found.problems == ()
