"""The log of a training: progress, ``log.jsonl`` and TensorBoard."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from iuscore.errors import UserError
from iuscore.fit.kinds import Config, ModelKind
from iuscore.fit.timing import format_seconds, seconds_per_image
from iuscore.fit.training import LabeledInputs, MemberProgress, TrainingOptions
from iuscore.progress import Progress

SHORT_EPOCH = 2.0
"""Epochs shorter than this, in seconds: progress counts epochs instead of images."""


def summary_writer() -> Any:
    """TensorBoard's ``SummaryWriter``.

    Raises:
        UserError: the extra is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError("--tensorboard needs the extra: pip install -c constraints.txt '.[tensorboard]'") from None
    return SummaryWriter


def _write_all(file: io.FileIO, content: bytes) -> None:
    """Write until all is written: on a full disk, one call writes a part of the content, and the next call raises."""
    done = 0
    while done < len(content):
        done += file.write(content[done:])


class TrainingLog:
    """Receives batches and epochs of one training; ``begin`` and ``end`` are called around each member."""

    def __init__(self, progress: Progress, folder: Path, tensorboard: bool, options: TrainingOptions, n: int,
                 resume: bool) -> None:  # fmt: skip
        self.progress, self.options, self.images = progress, options, n
        self.log_path = folder / "log.jsonl"
        self.member = 0
        self.label = ""
        self.figures: dict[str, float | None] = {}
        self.writer: Any = None
        self.by_epoch = False
        if not resume:
            self.log_path.unlink(missing_ok=True)
        if tensorboard:
            self.writer = summary_writer()(folder / "tensorboard")

    def estimate(self, kind: ModelKind[Any], config: Config, device: str | torch.device,
                 prepared: Mapping[str, LabeledInputs]) -> None:  # fmt: skip
        """Measure the time of an epoch on this machine, and report it."""
        step, forward = seconds_per_image(kind.model(**config).to(device), min(self.options.batch_size, self.images))
        seconds = step * self.images + forward * len(prepared["val"])
        self.by_epoch = seconds < SHORT_EPOCH
        self.progress.line(
            f"about {format_seconds(seconds)} an epoch and member on this machine, at most {self.options.epochs} epochs"
        )

    def begin(self, member: int, members: int) -> None:
        self.member = member
        self.label = f"member {member + 1}/{members} " if members > 1 else ""
        if self.by_epoch:
            self.progress.start(f"{self.label}training", self.options.epochs, "epoch")
        else:
            self.progress.start(f"{self.label}epoch 1", self.images, "img")

    def batch(self, n: int, loss: float) -> None:
        if not self.by_epoch:
            self.progress.advance(n, **{**self.figures, "loss": loss})

    def epoch(self, member: MemberProgress) -> None:
        entry = member.history[-1]
        line = {
            "time": time.time(),
            "member": self.member,
            "seed": member.seed,
            **entry,
            "best_epoch": member.best_epoch,
        }
        with self.log_path.open("ab", buffering=0) as log:
            end = log.tell()
            try:
                _write_all(log, (json.dumps(line) + "\n").encode())
            except OSError as error:
                with suppress(OSError):
                    log.truncate(end)  # removes the incomplete line
                error.filename = str(self.log_path)
                raise
        if self.writer is not None:
            for name, value in entry.items():
                if value is not None and name != "epoch":
                    self.writer.add_scalar(f"member{self.member}/{name}", value, member.epoch)
        self.figures = {"val_loss": entry["val_loss"], "val_auroc": entry["val_auroc"]}
        if self.by_epoch:
            self.progress.advance(1, **self.figures, best=member.best_epoch)
            return
        self.progress.stop()
        if not member.finished:
            self.progress.start(f"{self.label}epoch {member.epoch + 1} (best {member.best_epoch})", self.images, "img")

    def end(self) -> None:
        self.figures = {}
        self.progress.stop()
        if self.writer is not None:
            self.writer.flush()
