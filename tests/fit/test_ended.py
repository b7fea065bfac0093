"""`iuscore fit` and `iuscore score` that a scheduler or the disk ends: one line, and nothing that was done is lost."""

from __future__ import annotations

import errno
import os
import signal
import sys
from io import FileIO
from pathlib import Path

import pytest

import iuscore
import iuscore.engine
from iuscore.fit import log
from iuscore.images import open_source
from iuscore.models import EPUCNN
from iuscore.scoring.contributions import prepare_source
from tests.fixtures import TINY, Command, class_folders, run_apart, signal_when_there, write_images

OPTIONS = (*TINY, "--epochs", "3", "--quiet")
WEIGHTS = "model.safetensors"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folders(tmp_path_factory.mktemp("data") / "real")


@pytest.fixture
def whole(command: Command, real: Path, tmp_path: Path) -> bytes:
    """The weights of an uninterrupted training."""
    assert command("fit", real, "--out", tmp_path / "whole", *OPTIONS).status == 0
    return (tmp_path / "whole" / WEIGHTS).read_bytes()


AT_BATCH = """
import pathlib, time
from iuscore.fit import log
batch, calls = log.TrainingLog.batch, []
def waiting(self, *args):
    calls.append(1)
    if len(calls) == {n}:
        pathlib.Path({marker!r}).touch()
        time.sleep(600)
    batch(self, *args)
log.TrainingLog.batch = waiting
"""


@pytest.mark.parametrize(
    ("n", "said"),
    [
        (4, "holds the best weights so far; --resume goes on"),
        (1, "no epoch was complete, nothing is kept; the same command begins again"),
    ],
)
def test_sigterm_is_as_ctrl_c(command: Command, real: Path, tmp_path: Path, whole: bytes, n: int, said: str) -> None:
    marker, out = tmp_path / "there", tmp_path / "m"
    code = AT_BATCH.format(n=n, marker=str(marker))
    ran = signal_when_there(signal.SIGTERM, marker, "fit", real, "--out", out, *OPTIONS, code=code)
    assert ran.status == 128 + signal.SIGTERM
    (line,) = ran.said()
    assert line.endswith(said)
    assert out.exists() is (n == 4)
    if n == 4:
        assert iuscore.load(out).classes == ("a", "b")
    assert command("fit", real, "--out", out, *OPTIONS, "--resume").status == 0
    assert (out / WEIGHTS).read_bytes() == whole


def test_sigterm_before_the_training(real: Path, tmp_path: Path) -> None:
    marker = tmp_path / "there"
    code = f"""
import pathlib, time
import iuscore.fit
def waiting(*args, **options):
    pathlib.Path({str(marker)!r}).touch()
    time.sleep(600)
iuscore.fit.open_splits = waiting
"""
    ran = signal_when_there(signal.SIGTERM, marker, "fit", real, "--out", tmp_path / "m", *OPTIONS, code=code)
    assert (ran.status, ran.said(), ran.out) == (143, ["iuscore: interrupted"], "")


LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({n}, {n}))"


def test_a_full_disk_in_the_first_epoch_leaves_no_model(
    command: Command, real: Path, tmp_path: Path, whole: bytes
) -> None:
    out = tmp_path / "m"
    ran = run_apart("fit", real, "--out", out, *OPTIONS, code=LIMITED.format(n=3000))
    assert ran.refusal() == (
        f"cannot write {out / 'training/member0.safetensors'}: File too large; no epoch was complete, nothing is kept: "
        "mend that and give the same command again"
    )
    assert not out.exists()
    assert command("fit", real, "--out", out, *OPTIONS).status == 0
    assert (out / WEIGHTS).read_bytes() == whole


@pytest.mark.parametrize(
    ("place", "name", "code"),
    [
        ("state", "training/member0.safetensors", errno.ENOSPC),
        ("state", "training/member0.safetensors", errno.EROFS),
        ("log", "log.jsonl", errno.EDQUOT),
        ("weights", WEIGHTS, errno.ENOSPC),
        ("config", "config.json", errno.EDQUOT),
    ],
)
def test_a_full_disk_later_keeps_the_finished_epochs(
    command: Command, real: Path, tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch, place: str, name: str,
    code: int,
) -> None:  # fmt: skip
    """The disk is full in the second epoch, or after the last one."""
    out, file, calls = tmp_path / "m", tmp_path / "m" / name, 0
    full = OSError(code, os.strerror(code))

    def at(n: int) -> None:
        nonlocal calls
        calls += 1
        if calls == n:
            raise full

    write, write_all, sync = Path.write_bytes, log._write_all, os.fsync

    def write_state(path: Path, content: bytes) -> int:
        written = write(path, content if calls == 0 else content[:99])
        at(2)
        return written

    def write_line(file: FileIO, content: bytes) -> None:
        write_all(file, content if calls == 0 else content[:9])
        at(2)

    def sync_model(descriptor: int) -> None:
        at(3 if place == "config" else 1)  # the weights, their folder, the configuration
        sync(descriptor)

    with monkeypatch.context() as patched:
        if place == "state":
            patched.setattr(Path, "write_bytes", write_state)
        elif place == "log":
            patched.setattr(log, "_write_all", write_line)
        else:
            patched.setattr(os, "fsync", sync_model)
        said = command("fit", real, "--out", out, *OPTIONS).refusal()
    assert said == (
        f"cannot write {file}: {os.strerror(code)}; the finished epochs are kept: mend that and give the same command "
        "with --resume"
    )
    assert not list(out.rglob("*.tmp"))
    assert not (out / "config.json").exists()
    assert command("fit", real, "--out", out, *OPTIONS, "--resume").status == 0
    assert (out / WEIGHTS).read_bytes() == whole
    assert all(line.endswith("}") for line in (out / "log.jsonl").read_text().splitlines())


def test_scoring_into_a_read_only_folder_is_refused(
    command: Command, fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, out = write_images(tmp_path / "images", ["a.png", "b.png"]), tmp_path / "out"

    def refuse(source: object, target: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(source), None, str(target))

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refuse)
        said = command("score", fitted, images, "--target", "a", "--out", out, "--workers", 1).refusal()
    assert said.startswith(f"cannot write to {out}")
    assert "Read-only file system; what is done is kept" in said


@pytest.mark.parametrize("n", [100, 1500])
def test_scoring_on_a_full_disk_names_the_file(command: Command, fitted: Path, tmp_path: Path, n: int) -> None:
    """The disk is full when the plan is written, or when the first part is."""
    images, out = write_images(tmp_path / "images", ["a.png", "b.png"]), tmp_path / "out"
    words = ("score", fitted, images, "--target", "a", "--out", out, "--workers", 1, "--csv")
    said = run_apart(*words, "--quiet", code=LIMITED.format(n=n)).refusal()
    assert said.startswith(f"cannot write to {out}")
    assert "File too large; what is done is kept: mend that and run the same command again to go on" in said
    assert command(*words).status == 0


def test_a_full_disk_while_the_csv_file_is_written_is_named(
    command: Command, fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, out = write_images(tmp_path / "images", ["a.png", "b.png"]), tmp_path / "out"
    words = ("score", fitted, images, "--target", "a", "--out", out, "--workers", 1, "--quiet")
    assert command(*words).status == 0

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write_csv(folder: Path) -> Path:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            return engine_write_csv(folder)

    engine_write_csv = iuscore.engine.write_csv
    monkeypatch.setattr(iuscore.engine, "write_csv", write_csv)
    ran = command(*words, "--csv")
    assert ran.status == 2
    advice = "mend that and run the same command again"
    assert ran.said() == [f"iuscore: No space left on device: {out / 'scores.csv'}; {advice}"]
    assert not list(out.glob(".*"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="room is taken ahead where posix_fallocate is")
def test_inputs_on_a_disk_without_room(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing to a mapped file without disk space would kill the process; so the space is allocated first."""
    monkeypatch.setattr("iuscore.scoring.contributions.IN_MEMORY_BYTES", 0)
    model = EPUCNN(["a", "b"], size=(16, 16), base_channels=2, hidden_units=2).eval()
    source = open_source(real)
    inputs, kept, errors = prepare_source(model, source, tmp_path / "spill")
    assert (len(inputs), len(kept), errors) == (len(source), len(source), [])
    assert (tmp_path / "spill").stat().st_blocks * 512 >= inputs.nbytes

    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        prepare_source(model, source, tmp_path / "spill")
    assert caught.value.filename == str(tmp_path / "spill")
