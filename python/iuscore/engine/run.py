"""A scoring run: what it is made of, begun or gone on with in a folder, and its summary."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from iuscore.engine import parts
from iuscore.engine.plan import Plan, make_plan
from iuscore.engine.shard import FROM_FOLDER, RUN_NAME, Settings
from iuscore.engine.summary import Summary
from iuscore.errors import UserError
from iuscore.images import Shard, ShardedSource
from iuscore.images.labels import ClassNames
from iuscore.images.listing import uid_of
from iuscore.runs import TEMPORARY, replacing
from iuscore.score import Scorer

FORMAT = 1
ARITHMETIC = 2
"""Raised by a release whose numbers differ from those of the one before, so that no run holds both."""

PLAN_NAME, SUMMARY_NAME = "plan.jsonl", "summary.json"
SHARD_SIZES = {"epu": 128, "texture": 512}
"""Images a shard, by kind of model: what a killed run loses is a few seconds, and a million images are few files."""

NPZ_ORIGIN = "splits of the npz file"
"""What the record of a model says whose images were in an .npz."""

_KEYS = {"run", "images", "model", "n_images"}
_OTHER = {
    "arithmetic": "was made by a version that computes otherwise",
    "model": "was made with another model",
    "space": "was made in another space",
    "target": "has another target",
    "precision": "was made with another precision",
    "source": "is of other images, or of images that have changed since then",
    "shard_size": "has shards of another size",
}
_MAP = "map"  # in the identity of runs that have one
_BITS = "was made with another --bits"


@dataclass(frozen=True)
class Run:
    """A run in its folder.

    Attributes:
        out: the folder.
        settings: what every shard needs.
        images: where the images come from, for the summary.
        notes: what a reader of the numbers has to know of how the images were read.
    """

    out: Path
    settings: Settings
    images: str
    notes: tuple[str, ...] = ()

    @property
    def plan(self) -> Plan:
        return self.settings.plan


def open_run(
    scorer: Scorer,
    source: ShardedSource,
    out: str | os.PathLike[str],
    *,
    target: str,
    batch_size: int = 64,
    device: str = "cpu",
    strict: bool = False,
    shard_size: int | None = None,
    overwrite: bool = False,
) -> Run:
    """List the images and begin a run in ``out``, or go on with the one that is there.

    Several processes may do so at the same time.

    Raises:
        UserError: a class without a profile, nothing to score, or a folder that holds another run.
    """
    folder = Path(out)
    if (folder / parts.FOLDER).is_file():
        raise UserError(f"{folder / parts.FOLDER} is a file, of an earlier version: give a new folder")
    if target != FROM_FOLDER:
        scorer.targets(target, 1)
    if overwrite:
        remove_run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    before = read_record(folder / RUN_NAME)
    if shard_size is None:
        shard_size = before["identity"]["shard_size"] if before else SHARD_SIZES[scorer.model.member_kind]
    identity: dict[str, Any] = {
        "format": FORMAT,
        "arithmetic": ARITHMETIC,
        "model": model_identity(scorer),
        "space": scorer.space,
        "target": target,
        "precision": scorer.precision_on(device),
        "shard_size": shard_size,
    }
    if source.names is not None and source.names.given:
        identity[_MAP] = dict(source.names.given)
    if source.bits is not None:  # a run without it is as one of 0.1
        identity["bits"] = source.bits
    if before:
        _compare(folder, before["identity"], identity)

    def check(shard: Shard) -> None:
        if target == FROM_FOLDER:
            scorer.targets(shard.labels, len(shard.labels))

    def accept(plan: Plan) -> None:
        identity["source"] = plan.signature
        # Read again: listing takes its time, and another command may have begun meanwhile.
        if there := read_record(folder / RUN_NAME):
            _compare(folder, there["identity"], identity)

    plan = make_plan(source, shard_size, folder / PLAN_NAME, check=check, accept=accept)
    run = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    if before is None:
        record = {
            "run": run,
            "identity": identity,
            "images": str(source.path.absolute()),
            "split": source.split,
            "column": source.column,
            **({} if source.masks is None else {"masks": str(source.masks)}),
            "by_content": source.by_content,
            "model": None if scorer.folder is None else str(scorer.folder.absolute()),
            "n_images": plan.images,
            "n_shards": len(plan),
        }
        with replacing(folder / RUN_NAME) as file:
            # Names that are not UTF-8 are written as escapes.
            file.write((json.dumps(record, indent=1) + "\n").encode())
    (folder / parts.FOLDER).mkdir(exist_ok=True)
    settings = Settings(folder, run, plan, target, parts.sample_size(len(plan)), batch_size, device, strict,
                        scorer.model.mask_size)  # fmt: skip
    fitted = (scorer.record.get("data") or {}).get("bits")
    return Run(folder, settings, uid_of(str(source.path)), bits_notes(fitted, source.bits))


def bits_notes(fitted: int | None, given: int | None) -> tuple[str, ...]:
    """What to say where images are read with another ``--bits`` than those that the model was fitted to.

    Example:
        >>> bits_notes(12, None)
        ('the model was fitted with --bits 12, these images were read without: use the same if their values are alike',)
    """
    if fitted == given:
        return ()
    one, other = ("without" if bits is None else f"with --bits {bits}" for bits in (fitted, given))
    one = "without --bits" if fitted is None else one
    return (f"the model was fitted {one}, these images were read {other}: use the same if their values are alike",)


def model_identity(scorer: Scorer) -> str:
    """SHA-256 in hex over the model's configuration, which holds its profiles and the hash of its weights."""
    return hashlib.sha256(json.dumps(scorer.record, sort_keys=True).encode()).hexdigest()


def read_record(path: Path) -> dict[str, Any] | None:
    """What ``run.json`` says; None where there is none."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if (
            record["identity"]["format"] == FORMAT
            and record.keys() >= _KEYS
            and record["identity"].keys() >= _OTHER.keys()
        ):
            return dict(record)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise UserError(f"{path} is damaged, or of another version: give a new folder, or --overwrite")


def class_names(scorer: Scorer, given: Mapping[str, str] | None) -> ClassNames:
    """Which class of the model a label stands for; ``given``: as the user says.

    Integers stand for classes where the model was fitted with numbers that were named.
    """
    data = scorer.record.get("data") or {}
    numbers = data.get("numbers")
    if numbers is None and str(data.get("origin")).startswith(NPZ_ORIGIN):  # of version 0.1: --classes in label order
        numbers = {str(i): name for i, name in enumerate(scorer.classes)}
    return ClassNames(scorer.classes, dict(given or {}), numbers if isinstance(numbers, dict) else {})


def _compare(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    if before.get(_MAP) != now.get(_MAP):
        raise UserError(
            f"the run in {folder} maps labels otherwise ({_shown_map(before)}, not {_shown_map(now)}): "
            "give a new folder, or --overwrite to begin anew"
        )
    if before.get("bits") != now.get("bits"):
        was, given = (side.get("bits") or "none" for side in (before, now))
        raise UserError(f"the run in {folder} {_BITS} ({was}, not {given}): give a new folder, or --overwrite")
    for key, value in now.items():
        if before.get(key) != value:
            was = "" if key in ("model", "source") else f" ({before.get(key)}, not {value})"
            raise UserError(f"the run in {folder} {_OTHER[key]}{was}: give a new folder, or --overwrite to begin anew")


def _shown_map(identity: Mapping[str, Any]) -> str:
    pairs = identity.get(_MAP)
    return ",".join(f"{label}={name}" for label, name in pairs.items()) if isinstance(pairs, dict) else "without --map"


def remove_run(folder: Path) -> None:
    """Remove what a run wrote into a folder, and nothing else."""
    # The record first: what is left of a run that was half removed is not gone on with.
    for name in (RUN_NAME, SUMMARY_NAME, PLAN_NAME):
        (folder / name).unlink(missing_ok=True)
    if (folder / parts.FOLDER).is_dir():
        for path in (folder / parts.FOLDER).iterdir():
            if path.name.startswith(("part-", ".part-")):
                path.unlink(missing_ok=True)


def write_summary(scorer: Scorer, run: Run, summary: Summary, **figures: Any) -> dict[str, Any]:
    """Write ``summary.json`` of the parts that ``summary`` was given."""
    described = summary.describe(images=run.images, listed=run.plan.images, device=run.settings.device, **figures)
    described["notes"] = [*described["notes"], *run.notes]
    text = json.dumps(_finite(described), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(run.out / SUMMARY_NAME) as file:
        file.write(text.encode())
    return described


def tidy(run: Run, *, alone: bool) -> None:
    """Remove the hidden files of processes that were killed; called where all parts are there.

    Where this process is not ``alone``, others may just be writing beside the parts.
    """
    for folder in (run.out / parts.FOLDER, *((run.out,) if alone else ())):
        for path in folder.glob(f".*{TEMPORARY}"):
            path.unlink(missing_ok=True)


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
