"""Fit an additive model to real images, compute its baseline profiles, and write the model folder."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch

from iuscore import images
from iuscore._environment import versions
from iuscore._run.files import disk_errors_as_user_errors, output_folder
from iuscore.errors import UserError
from iuscore.features import VERSION
from iuscore.fit.findings import Findings
from iuscore.fit.folder import check_folder, clear, has_epochs, remove_state, scratch_folder
from iuscore.fit.kinds import EPUOptions, ModelKind, TextureOptions, kind_of
from iuscore.fit.log import TrainingLog, summary_writer
from iuscore.fit.reference import ReferenceImages
from iuscore.fit.splits import Splits
from iuscore.fit.timing import suggestion
from iuscore.fit.training import LabeledInputs, MemberProgress, TrainingOptions, auroc, predict, threads, train
from iuscore.images import Sample, Source
from iuscore.models import SPACES, AdditiveModel, Ensemble, save_model
from iuscore.models.base import check_weights
from iuscore.models.record import (
    MAX_MEMBERS,
    DataRecord,
    Figures,
    KnownImagesRecord,
    MemberRecord,
    ModelRecord,
    TrainingRecord,
)
from iuscore.models.texture import NO_BORDER
from iuscore.progress import Progress
from iuscore.scoring.baseline import baseline_profiles, ceiling_and_floor
from iuscore.scoring.contributions import contributions_of_inputs, prepare_source

MAX_SEED = 2**32  # larger seeds are valid for NumPy, but not for scikit-learn


@dataclass(frozen=True)
class Fitted:
    """The result of `fit`.

    Attributes:
        folder: the model folder.
        record: the content of its ``config.json``.
        interrupted: whether the training was stopped before its end.
        unreadable: (uid, reason) of the images that were left out.
    """

    folder: Path
    record: ModelRecord
    interrupted: bool
    unreadable: tuple[tuple[str, str], ...] = field(default=())


def fit(
    splits: Splits,
    out: str | Path,
    *,
    model: Literal["epu", "texture"] | None = None,
    model_options: EPUOptions | TextureOptions | None = None,
    training: TrainingOptions | None = None,
    classes: Sequence[str] | None = None,
    members: int | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    strict: bool = False,
    tensorboard: bool = False,
    progress: Progress | None = None,
) -> Fitted:
    """Train on real images, compute baseline profiles, and write a model folder.

    Args:
        splits: see `open_splits`.
        out: the model folder: ``model.safetensors``, ``config.json``, ``log.jsonl``.
        model: kind of the additive model: "texture", or "epu" (the published model); None: the kind of
            ``model_options``, or "texture" without options.
        model_options: `EPUOptions` or `TextureOptions`, to match ``model``; None: the defaults.
        training: see `TrainingOptions`; None: the defaults of the kind.
        classes: class names in label order; None: sorted names. Of two classes, the second has positive logits.
        seed: random seed of the first member, 0 to 2^32 - 1.
        members: number of members of the ensemble, trained from ``seed``, ``seed`` + 1, ...; None: 1 for "epu" and 3
            for "texture".
        device: torch device to train on.
        resume: continue an interrupted training of the same options and data in ``out``; without a finished epoch in
            ``out``, begin a new training.
        overwrite: replace a model in ``out``.
        strict: raise at an unreadable image; otherwise it is left out and listed in ``Fitted.unreadable``.
        tensorboard: write event files to ``out/tensorboard`` (extra ``tensorboard``).
        progress: receives lines and progress; None: nothing is reported.

    Returns:
        `Fitted`; ``interrupted`` if a KeyboardInterrupt ended the training early, with the best weights kept.

    Raises:
        UserError: options or data that cannot be used, or a folder that holds another model. KeyboardInterrupt:
            interrupted before the first epoch was complete.

    Example:
        >>> import tempfile
        >>> from iuscore import phantoms
        >>> from iuscore.fit.splits import open_splits
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = phantoms.write(folder + "/real", "radiograph", n_per_class=8, size=32, seed=0)
        ...     small = EPUOptions(size=(16, 16), base_channels=2, hidden_units=4)
        ...     fitted = fit(open_splits(folder + "/real"), folder + "/model", model_options=small,
        ...                  training=TrainingOptions(epochs=1))
        ...     sorted(fitted.record.profiles)
        ['evidence', 'paper']
    """
    model = model or ("epu" if isinstance(model_options, EPUOptions) else "texture")
    kind = kind_of(model)
    model_options = kind.options() if model_options is None else model_options
    if not isinstance(model_options, kind.options):
        given = type(model_options).__name__
        raise UserError(f"model_options: expected {kind.options.__name__} for model {model!r}, got {given}")
    training, count = training or kind.training, kind.members if members is None else members
    if not 0 <= seed < MAX_SEED:
        raise UserError(f"seed: expected 0 to {MAX_SEED - 1}, got {seed}")
    if not 1 <= count <= MAX_MEMBERS:
        raise UserError(f"members: expected 1 to {MAX_MEMBERS}, got {count}")
    if not os.fspath(out):
        raise UserError("out: expected a folder, got an empty text")
    progress, folder = progress or Progress(), Path(out)
    names = _class_order(splits.train, classes)
    _check_masks(splits, getattr(model_options, "mask", None))
    check_folder(folder, resume=resume, overwrite=overwrite)
    if resume and not has_epochs(folder / "training"):
        progress.line(f"nothing to resume in {folder}: the training begins")
        resume = False
    if tensorboard:
        summary_writer()
    config = kind.configure(model_options, names, splits.train)
    check_weights(kind.model, config)  # raises for wrong options before the images are read
    counts = len(splits.train), len(splits.val)
    if not resume and (advice := suggestion(kind, config, device, images=counts, batch=training.batch_size,
                                            epochs=training.epochs, members=count)):  # fmt: skip
        progress.line(advice)
    fingerprints = {name: images.fingerprint(part) for name, part in splits.parts().items()}
    with (
        disk_errors_as_user_errors(partial(_write_error, folder)),
        output_folder(folder, "training"),
        scratch_folder(folder) as scratch,
        torch.random.fork_rng(devices=[]),
    ):
        marks: list[int] = []
        real = ReferenceImages(splits.parts(), names, config["size"], seed)
        prepared, unreadable, findings = _prepare(
            kind.model(**config), splits, scratch, progress, marks, real, strict=strict
        )
        warnings = findings.lines(config["color"])
        for line in warnings:
            progress.warning(line)
        config = kind.standardized(config, prepared["train"])
        if not resume:
            clear(folder)
        identity = {"data": {**fingerprints, "bits": splits.train.bits}, "model": config, "training": asdict(training)}
        log = TrainingLog(progress, folder, tensorboard, training, len(prepared["train"]), resume)
        with threads(1 if kind.one_thread else torch.get_num_threads()):
            log.estimate(kind, config, device, prepared)
            progress.line(_data_line(splits, prepared, names))
            trained, progresses = _train_members(
                kind, config, prepared, training, folder, identity, range(seed, seed + count), device, resume, log
            )
        ensemble = Ensemble(trained)
        interrupted = len(trained) < count or not progresses[-1].finished
        record = ModelRecord(
            members=tuple(_describe_member(progress) for progress in progresses),
            **_profiles(ensemble, prepared),
            features=kind.feature_profiles(prepared, config),
            validation=_figures(ensemble, prepared["val"]),
            test=_figures(ensemble, prepared["test"]) if "test" in prepared else None,
            training=TrainingRecord(**asdict(training), seeds=len(trained), interrupted=interrupted),
            data=DataRecord(
                **_describe_data(splits, warnings, prepared, names, fingerprints),
                numbers=_numbers(splits, names, classes),
                known_images=KnownImagesRecord(**images.KnownImages.of(marks).to_json()),
            ),
            versions={**versions(), "machine": platform.machine()},
            feature_version=VERSION if ensemble.features else 1,
        )
        with real.replaced(folder):
            save_model(folder, ensemble, record=record)
    if not interrupted:
        remove_state(folder)
    return Fitted(folder, record, interrupted, tuple(unreadable))


def _write_error(folder: Path, error: OSError) -> str:
    """The message for a disk that refused to write, with how to continue."""
    kept = (
        "the finished epochs are kept: mend that and give the same command with --resume"
        if has_epochs(folder / "training")
        else "no epoch was complete, nothing is kept: mend that and give the same command again"
    )
    return f"cannot write {error.filename or folder}: {error.strerror}; {kept}"


def _prepare(
    model: AdditiveModel,
    splits: Splits,
    scratch: Path,
    progress: Progress,
    marks: list[int],
    real: ReferenceImages,
    *,
    strict: bool,
) -> tuple[dict[str, LabeledInputs], list[tuple[str, str]], Findings]:
    """Read all images: inputs and labels of each part, (uid, reason) of the images left out, and the findings.

    The marks of training and validation images are appended to ``marks``, and ``real`` keeps some of them.
    """
    prepared: dict[str, LabeledInputs] = {}
    findings = Findings(splits.parts())
    unreadable: list[tuple[str, str]] = []
    dark: list[str] = []

    def on_warnings(uid: str, texts: tuple[str, ...]) -> None:
        dark.extend([uid] * (NO_BORDER in texts))

    border_warnings = on_warnings if model.mask == "border" else None
    for name, part in splits.parts().items():
        progress.start(f"reading {name} images", len(part), "img")

        def look(position: int, sample: Sample, name: str = name, part: Source = part) -> None:
            findings.look(name, sample, part.items[position].stored.digest())
            real.look(name, position, sample)

        inputs, kept, errors = prepare_source(
            model, part, scratch / name, on_batch=progress.advance, on_image=look, on_warnings=border_warnings,
            marks=None if name == "test" else marks,
        )  # fmt: skip
        progress.stop()
        if errors and strict:
            raise UserError(f"{errors[0][0]}: {errors[0][1]} (--strict)")
        unreadable += errors
        labels = np.array([model.classes.index(part.items[i].label or "") for i in kept], dtype=np.int64)
        missing = [c for k, c in enumerate(model.classes) if not (labels == k).any()]
        if missing and name != "test":
            raise UserError(f"no readable {name} image of class {missing[0]!r}")
        prepared[name] = LabeledInputs(inputs, labels, tuple(part.items[i].group for i in kept))
    if dark:
        progress.line(
            f"warning: too dark to tell their border, all pixels count: {len(dark)} images, such as {dark[0]}"
        )
    return prepared, unreadable, findings


def _train_members(
    kind: ModelKind[Any],
    config: Mapping[str, Any],
    prepared: Mapping[str, LabeledInputs],
    training: TrainingOptions,
    folder: Path,
    identity: Mapping[str, Any],
    seeds: range,
    device: str | torch.device,
    resume: bool,
    log: TrainingLog,
) -> tuple[list[AdditiveModel], list[MemberProgress]]:
    """Train one member per seed; a KeyboardInterrupt keeps the members so far, or is raised if there are none."""
    members: list[AdditiveModel] = []
    progresses: list[MemberProgress] = []
    for number, seed in enumerate(seeds):
        torch.manual_seed(seed)
        member = kind.model(**config).to(device)
        log.begin(number, len(seeds))
        try:
            progress = train(
                member,
                prepared["train"],
                prepared["val"],
                options=training,
                seed=seed,
                state=folder / "training" / f"member{number}.safetensors",
                identity={**identity, "seed": seed},
                resume=resume,
                on_batch=log.batch,
                on_epoch=log.epoch,
            )
        except KeyboardInterrupt:
            if not members:
                raise
            break
        finally:
            log.end()
        kind.finish(member, prepared["train"])
        members.append(member)
        progresses.append(progress)
        if not progress.finished:
            break
    return members, progresses


def _class_order(train_images: Source, classes: Sequence[str] | None) -> tuple[str, ...]:
    present = train_images.classes
    names = present if classes is None else tuple(classes)
    if set(names) != set(present):
        raise UserError(f"--classes: expected {', '.join(present)} in some order, got {', '.join(names)}")
    return names


def _check_masks(splits: Splits, rule: str | None) -> None:
    given = any(item.mask is not None for part in splits.parts().values() for item in part.items)
    if given and rule != "given":
        raise UserError(f"mask: the images come with masks, so expected TextureOptions(mask='given'), got {rule!r}")
    if rule == "given" and not given:
        raise UserError("mask: expected images that come with masks: open_splits(..., masks=folder)")


def _describe_member(progress: MemberProgress) -> MemberRecord:
    best = {key: value for key, value in progress.history[progress.best_epoch - 1].items() if key != "epoch"}
    return MemberRecord(seed=progress.seed, epochs=progress.epoch, best_epoch=progress.best_epoch, **best)


def _profiles(model: Ensemble, prepared: Mapping[str, LabeledInputs]) -> dict[str, Any]:
    """Baseline profiles of validation images, and held-out references (ceiling, floor), in every space.

    The held-out images are the test images if they cover all classes, else each validation image is held out in turn.
    """
    val, test = prepared["val"], prepared.get("test")
    covers_all = test is not None and len(np.unique(test.labels)) == len(model.classes)
    held_out, source = (test, "test") if test is not None and covers_all else (val, "leave-one-out")
    profiles, ceiling, floor = {}, {}, {}
    groups = val.groups if any(group is not None for group in val.groups) else None
    for space in SPACES:
        profiles[space] = baseline_profiles(
            contributions_of_inputs(model, val.inputs, space), val.labels, classes=model.classes, groups=groups
        )
        ceiling[space], floor[space] = ceiling_and_floor(
            contributions_of_inputs(model, held_out.inputs, space),
            held_out.labels,
            profiles[space],
            classes=model.classes,
            source=cast(Literal["test", "leave-one-out"], source),
        )
    return {"profiles": profiles, "ceiling": ceiling, "floor": floor}


def _figures(model: AdditiveModel, data: LabeledInputs) -> Figures:
    """Number of held-out real images, AUROC, accuracy, and recall by class."""
    logits = predict(model, data.inputs)
    right = model.probabilities(logits).numpy().argmax(1) == data.labels
    accuracy = float(right.mean()) if len(data) else None
    of_class = ((name, right[data.labels == k]) for k, name in enumerate(model.classes))
    recall = {name: float(found.mean()) for name, found in of_class if len(found)}
    return Figures(len(data), auroc(logits.numpy(), data.labels), accuracy, recall)


def _data_line(splits: Splits, prepared: Mapping[str, LabeledInputs], names: Sequence[str]) -> str:
    counts = [
        f"{part} " + ", ".join(f"{name} {int((data.labels == k).sum())}" for k, name in enumerate(names))
        for part, data in prepared.items()
    ]
    labels = [f"{label} = {name}" for label, name in (splits.class_map or {}).items() if label.isdecimal()]
    return f"{'; '.join(counts)} ({'; '.join([splits.origin, *([', '.join(labels)] if labels else [])])})"


def _numbers(splits: Splits, names: Sequence[str], classes: Sequence[str] | None) -> dict[str, str]:
    """Integer label -> class, from the user's map, or from the order of the given class names."""
    if splits.class_map:
        return {label: name for label, name in splits.class_map.items() if label.isdecimal()}
    return {} if classes is None else {str(i): name for i, name in enumerate(names)}


def _describe_data(
    splits: Splits,
    warnings: Sequence[str],
    prepared: Mapping[str, LabeledInputs],
    names: Sequence[str],
    fingerprints: Mapping[str, str],
) -> dict[str, Any]:
    return {
        "origin": splits.origin,
        "warnings": (*splits.warnings, *warnings),
        "notes": tuple(splits.notes),
        "bits": splits.train.bits,
        "group_by": splits.group_by,
        "counts": {
            name: {c: int((part.labels == k).sum()) for k, c in enumerate(names)} for name, part in prepared.items()
        },
        "fingerprints": dict(fingerprints),
        "fingerprint": hashlib.sha256(json.dumps(fingerprints, sort_keys=True).encode()).hexdigest(),
    }
