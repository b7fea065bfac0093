"""Fit an additive model to real images and describe what they contribute."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from iuscore import images
from iuscore.contributions import contributions_of_inputs, prepare_source
from iuscore.errors import UserError
from iuscore.images import Source
from iuscore.models import EPUCNN, SPACES, AdditiveModel, Ensemble, save_model
from iuscore.profile import baseline_profiles, ceiling_and_floor, profiles_to_json
from iuscore.report import Report, Silent
from iuscore.training import LabeledInputs, Progress, TrainingOptions, auroc, predict, train
from iuscore.versions import versions


@dataclass(frozen=True)
class ModelOptions:
    """Which additive model; for "epu" the published sizes are base_channels 64 with hidden_units 32, and 32 with 64."""

    color: Literal["auto", "color", "gray"] = "auto"
    mode: Literal["clean", "paper"] = "clean"
    size: tuple[int, int] = (128, 128)
    base_channels: int = 64
    hidden_units: int = 32


@dataclass(frozen=True)
class Splits:
    """Real images by their use. ``test`` may be empty."""

    train: Source
    val: Source
    test: Source | None
    origin: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fitted:
    """Where the model is and how it came out."""

    folder: Path
    record: Mapping[str, Any]
    interrupted: bool
    unreadable: tuple[tuple[str, str], ...] = field(default=())


def open_splits(
    real: str | Path,
    *,
    val: str | Path | None = None,
    test: str | Path | None = None,
    labels_from: Literal["auto", "folder", "prefix"] = "auto",
    classes: Sequence[str] | None = None,
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    group_by: str | None = None,
) -> Splits:
    """Find training, validation and test images.

    Args:
        real: a folder by class or with class prefixes in the file names; a folder with train, val (valid,
            validation) and perhaps test inside; or a MedMNIST ``.npz``.
        val, test: folders of their own; then ``real`` is the training folder.
        labels_from, classes: see `iuscore.images.open_source`.
        fractions: of train, val and test where ``real`` is split here.
        seed: of that split.
        group_by: regular expression on file names; images of one group stay in one part. Where the parts are
            given, groups that two parts share are a warning.

    Raises:
        UserError: nothing found, classes that differ between the parts, a split that cannot be made.

    Example:
        >>> import tempfile
        >>> from iuscore import phantoms
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = phantoms.write(folder, "radiograph", n_per_class=8, size=32, seed=0)
        ...     open_splits(folder).train.classes
        ('abnormal', 'normal')
    """

    def opened(path: str | Path, split: str | None = None) -> Source:
        return images.open_source(path, labels_from=labels_from, classes=classes, split=split)

    root = Path(real)
    inside = images.find_explicit_splits(root) if root.is_dir() else {}
    if val is not None:
        parts = {"train": opened(root), "val": opened(val)} | ({"test": opened(test)} if test else {})
        origin = "folders given"
    elif test is not None:
        raise UserError("--test needs --val: give both, or neither to split the images by chance")
    elif "val" in inside:
        parts = {name: opened(path) for name, path in inside.items()}
        origin = "folders train, val and test" if "test" in inside else "folders train and val"
    elif root.suffix.lower() == ".npz":
        parts = {name: opened(root, name) for name in ("train", "val", "test")}
        origin = "splits of the npz file"
    else:
        whole = opened(root)
        indices = images.split_source(whole, fractions, seed=seed, group_by=group_by)
        named = zip(("train", "val", "test"), indices, strict=True)
        parts = {name: whole.subset(chosen) for name, chosen in named if len(chosen)}
        return Splits(parts["train"], parts["val"], parts.get("test"), f"split by chance, seed {seed}")
    for name, part in parts.items():
        if part.classes != parts["train"].classes:
            raise UserError(
                f"classes differ: training images are {', '.join(parts['train'].classes)}, "
                f"{name} images are {', '.join(part.classes) or 'without class'}"
            )
    return Splits(parts["train"], parts["val"], parts.get("test"), origin, _leaks(parts, group_by))


def _leaks(parts: Mapping[str, Source], group_by: str | None) -> tuple[str, ...]:
    found = []
    for name in [n for n in parts if n != "train"]:
        # The same name in two folders is no leak; the same bytes or the same group is.
        leaks = [leak for leak in images.leakage(parts["train"], parts[name], group_by=group_by) if leak.kind != "uid"]
        if leaks:
            one = leaks[0]
            found.append(f"train and {name} share {len(leaks)} {one.kind}s, such as {one.first} and {one.second}")
    return tuple(found)


def fit(
    splits: Splits,
    out: str | Path,
    *,
    model: Literal["epu"] = "epu",
    model_options: ModelOptions = ModelOptions(),
    training: TrainingOptions = TrainingOptions(),
    classes: Sequence[str] | None = None,
    seeds: int = 1,
    seed: int = 0,
    device: str | torch.device = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    strict: bool = False,
    tensorboard: bool = False,
    report: Report | None = None,
) -> Fitted:
    """Train on real images, compute baseline profiles, and write a model folder.

    Args:
        splits: see `open_splits`.
        out: the model folder: ``model.safetensors``, ``config.json``, ``log.jsonl``.
        model: kind of the additive model. model_options, training: see there.
        classes: label order; sorted names when None. Of two classes the second is the one of positive logits.
        seeds: number of members of the ensemble, trained from ``seed``, ``seed`` + 1, ...
        device: to train on.
        resume: go on with an interrupted run of the same options and data in ``out``.
        overwrite: replace a model that is in ``out``.
        strict: an unreadable image is an error; otherwise it is left out and listed in ``Fitted.unreadable``.
        tensorboard: write event files to ``out/tensorboard`` (extra ``tensorboard``).
        report: hears lines and progress.

    Returns:
        `Fitted`; ``interrupted`` where a KeyboardInterrupt ended the training early with the best weights kept.

    Raises:
        UserError: options or data that cannot be used, a folder that holds another model. KeyboardInterrupt: before
            the first epoch was complete.

    Example:
        >>> import tempfile
        >>> from iuscore import phantoms
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = phantoms.write(folder + "/real", "radiograph", n_per_class=8, size=32, seed=0)
        ...     small = ModelOptions(size=(16, 16), base_channels=2, hidden_units=4)
        ...     fitted = fit(open_splits(folder + "/real"), folder + "/model", model_options=small,
        ...                  training=TrainingOptions(epochs=1))
        ...     sorted(fitted.record["profiles"])
        ['evidence', 'paper']
    """
    report = report or Silent()
    names = _class_order(splits.train, classes)
    folder = _claim(Path(out), resume=resume, overwrite=overwrite)
    config = _model_config(splits.train, names, model_options)
    identity = {
        "model": config,
        "training": asdict(training),
        "seed": seed,
        "data": {name: images.fingerprint(part) for name, part in _parts(splits).items()},
    }
    with tempfile.TemporaryDirectory(dir=folder, prefix=".prepared-") as scratch:
        probe = EPUCNN(**config)
        prepared, unreadable = {}, []
        for name, part in _parts(splits).items():
            report.start(f"reading {name} images", len(part), "img")
            inputs, kept, errors = prepare_source(probe, part, Path(scratch) / name, on_batch=report.advance)
            report.stop()
            if errors and strict:
                raise UserError(f"{errors[0][0]}: {errors[0][1]} (--strict)")
            unreadable += errors
            prepared[name] = LabeledInputs(inputs, _labels(part, kept, names, name))
        members: list[EPUCNN] = []
        progresses: list[Progress] = []
        interrupted = False
        hooks = _Hooks(report, folder, tensorboard, training, len(prepared["train"]), resume)
        hooks.estimate(probe.to(device), prepared)
        for number in range(seeds):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed + number)
                member = EPUCNN(**config).to(device)
            hooks.begin(number, seeds)
            try:
                progress = train(
                    member,
                    prepared["train"],
                    prepared["val"],
                    options=training,
                    seed=seed + number,
                    state=folder / "training" / f"member{number}.safetensors",
                    identity={**identity, "seed": seed + number},
                    resume=resume,
                    on_batch=hooks.batch,
                    on_epoch=hooks.epoch,
                )
            except KeyboardInterrupt:
                if not members:
                    raise
                interrupted = True
                break
            finally:
                hooks.end()
            members.append(member)
            progresses.append(progress)
            if not progress.finished:
                interrupted = True
                break
        record = _record(splits, prepared, Ensemble(members), progresses, training, identity, interrupted, seed)
        save_model(folder, Ensemble(members), record=record)
    if not interrupted:
        shutil.rmtree(folder / "training")
    return Fitted(folder, record, interrupted, tuple(unreadable))


def _parts(splits: Splits) -> dict[str, Source]:
    parts = {"train": splits.train, "val": splits.val}
    return parts | ({"test": splits.test} if splits.test is not None and len(splits.test) else {})


def _class_order(train_images: Source, classes: Sequence[str] | None) -> tuple[str, ...]:
    present = train_images.classes
    names = present if classes is None else tuple(classes)
    if set(names) != set(present):
        raise UserError(f"--classes: expected {', '.join(present)} in some order, got {', '.join(names)}")
    return names


def _claim(folder: Path, *, resume: bool, overwrite: bool) -> Path:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: give a folder to write the model to")
    state = folder / "training"
    if resume and not state.is_dir():
        done = (folder / "config.json").exists()
        raise UserError(f"--resume: {folder} holds {'a finished model' if done else 'no interrupted training'}")
    if not resume and ((folder / "config.json").exists() or state.is_dir()):
        if not overwrite:
            what = (
                "an interrupted training: use --resume, --overwrite" if state.is_dir() else "a model: use --overwrite"
            )
            raise UserError(f"{folder} already holds {what} or another folder")
        shutil.rmtree(state, ignore_errors=True)
        (folder / "log.jsonl").unlink(missing_ok=True)
    state.mkdir(parents=True, exist_ok=True)
    return folder


def _model_config(train_images: Source, names: Sequence[str], options: ModelOptions) -> dict[str, Any]:
    color = options.color if options.color != "auto" else _color_of(train_images)
    return {
        "classes": list(names),
        "color": color,
        "mode": options.mode,
        "size": list(options.size),
        "base_channels": options.base_channels,
        "hidden_units": options.hidden_units,
    }


def _color_of(source: Source, looked_at: int = 64) -> Literal["color", "gray"]:
    """ "gray" where no pixel of up to 64 images spread over the source has a color."""
    for i in np.linspace(0, len(source) - 1, min(looked_at, len(source))).astype(int):
        pixels = source.read(int(i)).pixels
        if pixels is not None and pixels.shape[2] == 3 and (pixels != pixels[..., :1]).any():
            return "color"
    return "gray"


def _labels(part: Source, kept: Sequence[int], names: Sequence[str], what: str) -> Any:
    labels = np.array([names.index(part.items[i].label or "") for i in kept], dtype=np.int64)
    missing = [name for k, name in enumerate(names) if not (labels == k).any()]
    if missing and what != "test":
        raise UserError(f"no readable {what} image of class {missing[0]!r}")
    return labels


class _Hooks:
    """Progress, ``log.jsonl`` and TensorBoard of one run."""

    def __init__(self, report: Report, folder: Path, tensorboard: bool, options: TrainingOptions, n: int,
                 resume: bool) -> None:  # fmt: skip
        self.report, self.options, self.images = report, options, n
        self.log_path = folder / "log.jsonl"
        self.member = 0
        self.label = ""
        self.figures: dict[str, float | None] = {}
        self.writer: Any = None
        if not resume:
            self.log_path.unlink(missing_ok=True)
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise UserError("--tensorboard needs the extra: pip install 'iuscore[tensorboard]'") from None
            self.writer = SummaryWriter(folder / "tensorboard")

    def estimate(self, model: EPUCNN, prepared: Mapping[str, LabeledInputs]) -> None:
        from iuscore.models.epu import flops
        from iuscore.timing import format_seconds, seconds_per_image

        step, forward = seconds_per_image(model, prepared["train"], self.options)
        epoch = step * self.images + forward * len(prepared["val"])
        line = (
            f"about {format_seconds(epoch)} an epoch and member on this machine, at most {self.options.epochs} epochs"
        )
        smaller = []
        height, width = model.size
        if model.base_channels >= 4:
            half = model.config() | {"base_channels": model.base_channels // 2}
            smaller.append((f"--base-channels {model.base_channels // 2}", half))
        if min(height, width) >= 32:
            half = model.config() | {"size": [height // 2, width // 2]}
            smaller.append((f"--size {height // 2}" if height == width else f"--size {height // 2}x{width // 2}", half))
        with torch.device("meta"):
            times = [(option, epoch * flops(EPUCNN(**config)) / flops(model)) for option, config in smaller]
        line += "".join(f"; {option}: about {format_seconds(seconds)}" for option, seconds in times)
        self.report.line(line)

    def begin(self, member: int, members: int) -> None:
        self.member = member
        self.label = f"member {member + 1}/{members} " if members > 1 else ""
        self.report.start(f"{self.label}epoch 1", self.images, "img")

    def batch(self, n: int, loss: float) -> None:
        self.report.advance(n, **{**self.figures, "loss": loss})

    def epoch(self, progress: Progress) -> None:
        entry = progress.history[-1]
        line = {
            "time": time.time(),
            "member": self.member,
            "seed": progress.seed,
            **entry,
            "best_epoch": progress.best_epoch,
        }
        with self.log_path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        if self.writer is not None:
            for name, value in entry.items():
                if value is not None and name != "epoch":
                    self.writer.add_scalar(f"member{self.member}/{name}", value, progress.epoch)
        self.figures = {"val_loss": entry["val_loss"], "val_auroc": entry["val_auroc"]}
        self.report.stop()
        if not progress.finished:
            self.report.start(
                f"{self.label}epoch {progress.epoch + 1} (best {progress.best_epoch})", self.images, "img"
            )

    def end(self) -> None:
        self.figures = {}
        self.report.stop()
        if self.writer is not None:
            self.writer.flush()


def _record(splits: Splits, prepared: Mapping[str, LabeledInputs], model: Ensemble, progresses: Sequence[Progress],
            training: TrainingOptions, identity: Mapping[str, Any], interrupted: bool, seed: int) -> dict[str, Any]:  # fmt: skip
    val, test = prepared["val"], prepared.get("test")
    held_out = test if test is not None and len(test) else val
    profiles, ceiling, floor = {}, {}, {}
    for space in SPACES:
        profiles[space] = baseline_profiles(
            contributions_of_inputs(model, val.inputs, space), val.labels, classes=model.classes, seed=seed
        )
        ceiling[space], floor[space] = ceiling_and_floor(
            contributions_of_inputs(model, held_out.inputs, space),
            held_out.labels,
            profiles[space],
            classes=model.classes,
            source="leave-one-out" if held_out is val else "test",
        )
    return {
        "members": [
            {"seed": p.seed, "epochs": p.epoch, "best_epoch": p.best_epoch, **p.history[p.best_epoch - 1]}
            for p in progresses
        ],
        "profiles": profiles_to_json(profiles),
        "ceiling": ceiling,
        "floor": floor,
        "validation": _scores(model, val),
        "test": _scores(model, test) if test is not None else None,
        "training": {**asdict(training), "seeds": len(progresses), "interrupted": interrupted},
        "data": {
            "origin": splits.origin,
            "warnings": list(splits.warnings),
            "counts": {
                name: {c: int((part.labels == k).sum()) for k, c in enumerate(model.classes)}
                for name, part in prepared.items()
            },
            "fingerprints": identity["data"],
            "fingerprint": hashlib.sha256(json.dumps(identity["data"], sort_keys=True).encode()).hexdigest(),
        },
        "versions": {**versions(), "machine": platform.machine()},
    }


def _scores(model: AdditiveModel, data: LabeledInputs) -> dict[str, float | int | None]:
    probabilities = model.probabilities(predict(model, data.inputs)).numpy()
    accuracy = float((probabilities.argmax(1) == data.labels).mean()) if len(data) else None
    return {"n": len(data), "auroc": auroc(probabilities, data.labels), "accuracy": accuracy}
