"""What tests of the command line and of scoring share: tiny images, tiny models, and a way to run commands."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iuscore.cli import main
from iuscore.models.record import config_sha256

TINY = ("--model", "epu", "--size", "16", "--base-channels", "2", "--hidden-units", "4")
EXIT_INTERRUPTED = 130
_BAR = re.compile(r"\d+/\d+ \[")


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str

    def said(self) -> list[str]:
        """Lines on standard error without the progress bars."""
        lines = self.err.replace("\r", "\n").splitlines()
        return [line for line in lines if line.strip() and not _BAR.search(line)]

    def refusal(self) -> str:
        """The one line of a user's error; fails where there is anything else."""
        assert self.status == 2, (self.status, self.out, self.err)
        (line,) = self.said()
        assert line.startswith("iuscore: "), line
        assert self.out == ""
        return line.removeprefix("iuscore: ")


class Command:
    """The command line in this process: ``command("fit", folder, "--out", ...)``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> Ran:
        self.monkeypatch.setattr(sys, "argv", ["iuscore", *map(str, arguments)])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        assert isinstance(stopped.value.code, int)
        return Ran(stopped.value.code, *self.capsys.readouterr())


def run_apart(*arguments: object, code: str = "") -> Ran:
    """The command line in a process of its own, after ``code``."""
    done = subprocess.run(_argv(arguments, code), capture_output=True, text=True, env=_environment(), timeout=200)
    return Ran(done.returncode, done.stdout, done.stderr)


def signal_when_there(sign: signal.Signals, marker: Path, *arguments: object, code: str) -> Ran:
    """Run the command line after ``code``, which makes ``marker`` and waits; then send ``sign``."""
    with subprocess.Popen(
        _argv(arguments, code), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment()
    ) as process:
        deadline = time.monotonic() + 200
        while not marker.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        there = marker.exists()
        process.send_signal(sign if there else signal.SIGKILL)
        out, err = process.communicate(timeout=100)
    assert there, err
    return Ran(process.returncode, out, err)


def _argv(arguments: Sequence[object], code: str) -> list[str]:
    return [sys.executable, "-c", f"{code}\nfrom iuscore.cli import main; main()", *map(str, arguments)]


def _environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


def write_images(root: Path, names: Sequence[str], *, size: int = 16, channels: int = 1, seed: int = 0) -> Path:
    """A bright disk in noise; the first letter of the name says how much noise, so that classes can be learned."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = 0.1 + 0.3 * ((ord(name[0]) - ord("a")) % 3)
        disk = (x - rng.uniform(0.3, 0.7)) ** 2 + (y - rng.uniform(0.3, 0.7)) ** 2 < rng.uniform(0.02, 0.1)
        level = rng.uniform(0.2, 0.5) + 0.5 * disk[..., None] + noise * rng.uniform(-1, 1, (size, size, channels))
        pixels = (255 * level.clip(0, 1)).astype(np.uint8)
        Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(path)
    return root


def class_folders(root: Path, classes: str = "ab", n: int = 12, **options: Any) -> Path:
    """``n`` images a class: ``a/00.png``, ..."""
    return write_images(root, [f"{c}/{i:02d}.png" for c in classes for i in range(n)], **options)


def record_of(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return record


def again(command: Command, model: Path, images: Path, out: Path, *options: object) -> Any:
    """Score images against class a in this process; in the folder of a run, the same command again."""
    return command("score", model, images, "--target", "a", "--out", out, "--workers", 1, *options)


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """``config.json`` as if the model had been written so: with the hash of what it holds."""
    if "config_sha256" in record:
        record = record | {"config_sha256": config_sha256(record)}
    (folder / "config.json").write_text(json.dumps(record))


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def tree(root: Path) -> dict[str, bytes]:
    """Every file and folder below ``root``, with its content."""
    return {str(p.relative_to(root)): p.read_bytes() if p.is_file() else b"" for p in sorted(root.rglob("*"))}


def rows_of(out: Path) -> list[dict[str, Any]]:
    """The rows of a scoring run, in their order."""
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(out / "scores.parquet").to_pylist()
    return rows


def summary_of(out: Path) -> dict[str, Any]:
    """What a scoring run says of itself."""
    found: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return found
