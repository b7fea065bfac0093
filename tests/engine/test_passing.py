"""The same command tries images again that a temporary failure made unreadable, and no others."""

from __future__ import annotations

import builtins
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import iuscore
from iuscore.engine import score_source
from iuscore.engine.parts import read_info
from iuscore.images import Item, StoredFile, UnreadableImage, decode, read_item
from iuscore.images.formats import gdcm_process
from tests.fixtures import Command, class_folders, rows_of, summary_of

OPTIONS = ("--target", "a", "--shard-size", 4, "--workers", 1)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "images", n=6, seed=5)


@contextmanager
def failing(name: str, open_: Callable[[Any], Any]) -> Iterator[None]:
    """In this context ``open_`` opens files of this name for decoding."""

    def instead(path: Any, *rest: Any, **options: Any) -> Any:
        return open_(path) if Path(path).name == name else builtins.open(path, *rest, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys.modules["iuscore.images.decode"], "open", instead, raising=False)
        yield


class _Breaks:
    """A file on a disk that fails after its first bytes."""

    def __init__(self, path: Any) -> None:
        self.file = open(path, "rb")  # noqa: SIM115

    def __enter__(self) -> _Breaks:
        return self

    def __exit__(self, *args: object) -> None:
        self.file.close()

    def read(self, n: int = -1) -> bytes:
        if self.file.tell() > 40:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return self.file.read(n)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def _raise(error: BaseException) -> Any:
    raise error


def system(number: int) -> Callable[[Any], Any]:
    return lambda path: _raise(OSError(number, os.strerror(number), str(path)))


FAILURES = {
    "rights": system(errno.EACCES),
    "disk": system(errno.EIO),
    "disk, on the way": _Breaks,
    "network file system": system(errno.ESTALE),
    "network": system(errno.ETIMEDOUT),
    "too many files": system(errno.EMFILE),
    "memory": lambda path: _raise(MemoryError()),
    "kernel memory": system(errno.ENOMEM),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_the_same_command_tries_them_again(
    command: Command, fitted: Path, images: Path, tmp_path: Path, failure: Callable[[Any], Any]
) -> None:
    out = tmp_path / "out"
    (images / "b/02.png").write_bytes(b"no image")  # a lasting failure, in another shard
    again = ("score", fitted, images, "--out", out, *OPTIONS)
    with failing("01.png", failure):
        ran = command(*again)
        said = "3 of 12 images could not be read: see the column error of the table; 2 for a reason that may be gone"
        assert [line.split(": ")[1] for line in ran.said()[:-1]] == ["a/01.png", "b/01.png", "b/02.png"]
        assert ran.said()[-1:] == [f"{said}: run the same command again to try them again"]
        assert ran.status == 1
        assert [row["uid"] for row in rows_of(out) if row["error"]] == ["a/01.png", "b/01.png", "b/02.png"]
        assert summary_of(out)["n_to_try_again"] == 2
        verified = command("verify", out)
        assert verified.status == 1
        assert "2 images could not be read for a reason that may be gone (" in verified.out
        assert "run the same 'iuscore score' again, which tries them again" in verified.out
    lasting = out / "scores.parquet/part-000002.parquet"
    date = lasting.stat().st_mtime_ns
    assert [read_info(path).transient for path in sorted(lasting.parent.iterdir())] == [(1,), (3,), ()]  # type: ignore[union-attr]
    ran = command(*again)
    assert ran.status == 1
    assert "tried again: 2 images that could not be read before; 2 could be read now" in ran.out
    first = "2 images that could not be read for a reason that may be gone: tried again, with all of 2 shards"
    assert ran.said()[0] == first
    assert ran.said()[1].startswith("could not be read: b/02.png: not an image")
    assert ran.said()[2:] == ["1 of 12 images could not be read: see the column error of the table"]
    assert lasting.stat().st_mtime_ns == date  # the shard holds only lasting failures
    assert command("score", fitted, images, "--out", tmp_path / "whole", *OPTIONS).status == 1
    assert rows_of(out) == rows_of(tmp_path / "whole")
    assert summary_of(out)["targets"] == summary_of(tmp_path / "whole")["targets"]
    assert command("verify", out).status == 0
    assert "tried again" not in command(*again).out


def test_by_processes_and_ranks(texture: Path, images: Path, tmp_path: Path) -> None:
    scorer, out = iuscore.load(texture), tmp_path / "out"
    with failing("01.png", FAILURES["disk"]):
        score_source(scorer, images, out, target="a", shard_size=4)
    ran = score_source(scorer, images, out, target="a", rank=(1, 2))  # shards 1, 3, ...
    assert (ran.tried_again, ran.mended, ran.summary.n_to_try_again) == (1, 1, 1)
    ran = score_source(scorer, images, out, target="a", workers=2)
    assert (ran.tried_again, ran.mended, ran.summary.n_to_try_again) == (1, 1, 0)
    assert ran.summary.complete is True
    score_source(scorer, images, tmp_path / "whole", target="a", shard_size=4)
    assert rows_of(out) == rows_of(tmp_path / "whole")


def test_an_image_that_fails_again_stays_unreadable(texture: Path, images: Path, tmp_path: Path) -> None:
    scorer, out = iuscore.load(texture), tmp_path / "out"
    with failing("01.png", FAILURES["disk"]):
        first = score_source(scorer, images, out, target="a", shard_size=4)
        again = score_source(scorer, images, out, target="a", shard_size=4)
    assert (again.tried_again, again.mended) == (2, 0)
    assert again.summary.n_scored == first.summary.n_scored == 10


def test_a_summary_that_another_rank_makes_old_is_written_anew(
    texture: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One rank counts a part with a failure; before it writes the summary, the other rank reads the image."""
    from iuscore.engine import score as engine_score

    scorer, out = iuscore.load(texture), tmp_path / "out"
    with failing("01.png", FAILURES["disk"]):
        score_source(scorer, images, out, target="a", shard_size=4)
    write = engine_score.write_summary

    def late(*args: Any, **figures: Any) -> dict[str, Any]:
        monkeypatch.setattr(engine_score, "write_summary", write)
        score_source(scorer, images, out, target="a", rank=(1, 2))
        return write(*args, **figures)

    monkeypatch.setattr(engine_score, "write_summary", late)
    score_source(scorer, images, out, target="a", rank=(0, 2))
    assert summary_of(out)["n_to_try_again"] == 0
    assert summary_of(out)["n_scored"] == 12


class TestWhatIsPassing:
    def read(self, path: Path) -> bool:
        sample = read_item(Item("x", None, None, StoredFile(path)))
        assert sample.error is not None
        return sample.passing

    @pytest.mark.parametrize(
        "content", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"P5 9 9 255 x", b"II*\0\xff\xff\xff\xff"]
    )
    def test_a_damaged_file_is_no_temporary_failure(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "x.png").write_bytes(content)
        assert self.read(tmp_path / "x.png") is False

    def test_a_file_that_is_gone_may_come_back(self, tmp_path: Path) -> None:
        assert self.read(tmp_path / "x.png") is True

    def test_an_extra_may_be_installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "x.dcm").write_bytes(bytes(128) + b"DICM")
        monkeypatch.setitem(sys.modules, "pydicom", None)
        assert self.read(tmp_path / "x.dcm") is True

    @pytest.mark.parametrize(
        ("sign", "passing"), [(signal.SIGKILL, True), (signal.SIGTERM, True), (signal.SIGSEGV, False)]
    )
    def test_gdcm_is_killed_or_crashes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sign: signal.Signals, passing: bool
    ) -> None:
        """Killed from outside (out of memory) is temporary; a crash of its own is the fault of the file."""
        program = tmp_path / "gdcm.py"
        program.write_text(f"import os, sys; sys.stdin.buffer.read(9); os.kill(os.getpid(), {int(sign)})")
        monkeypatch.setattr(gdcm_process, "__file__", str(program))
        monkeypatch.setattr(gdcm_process, "_running", None)
        with pytest.raises(gdcm_process.GdcmError) as failed:
            gdcm_process.first_frame(b"x")
        assert failed.value.passing is passing

    def test_what_a_damaged_file_makes_the_system_say(self, tmp_path: Path) -> None:
        """Seeking before the beginning gives EINVAL: the file causes that, so it will happen again."""
        (tmp_path / "x.png").write_bytes(b"no image")
        with failing("x.png", system(errno.EINVAL)), pytest.raises(UnreadableImage) as failed:
            decode(tmp_path / "x.png")
        assert failed.value.passing is False


def test_an_archive_that_cannot_be_opened(command: Command, fitted: Path, tmp_path: Path) -> None:
    """The archive disappears after listing and comes back: every image of it is tried again."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 255, (6, 16, 16), dtype=np.uint8))
    from iuscore.images import open_shards

    source, hidden = open_shards(tmp_path / "x.npy"), tmp_path / "hidden"
    listed = list(source.shards(3))
    (tmp_path / "x.npy").rename(hidden)
    gone = [read_item(item) for shard in listed for item in source.items(shard)]
    assert [sample.passing for sample in gone] == [True] * 6
    hidden.rename(tmp_path / "x.npy")
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-300])
    cut = [read_item(item) for shard in listed for item in source.items(shard)]
    assert [sample.passing for sample in cut if sample.error] == [False, False]
