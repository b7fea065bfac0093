"""A scoring run in its folder: begin it, resume it, remove it, and write its summary."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from iuscore._run.files import TEMPORARY_SUFFIX, atomic_write, write_json
from iuscore._run.regular_files import not_a_file, regular_only
from iuscore.engine import parts, values, views
from iuscore.engine.plan import Plan, first_shard, make_plan
from iuscore.engine.records import ARITHMETIC, RunIdentity, RunRecord, read_json
from iuscore.engine.settings import FROM_FOLDER, Settings
from iuscore.engine.summary import SummaryBuilder
from iuscore.errors import UserError
from iuscore.explain.value import ReferenceViews
from iuscore.images import Shard, ShardedSource
from iuscore.images.groups import GroupBy
from iuscore.images.labels import ClassNames
from iuscore.images.listing import uid_of
from iuscore.models.record import no_hash_note
from iuscore.scoring import Scorer, SetSummary

RUN_NAME = RunRecord.NAME
PLAN_NAME, SUMMARY_NAME, CSV_NAME = "plan.jsonl", "summary.json", "scores.csv"
SHARD_SIZES = {"epu": 128, "texture": 512}
"""Default images per shard, by kind of model: a killed run loses a few seconds of work, and files stay few."""

TABLES = (parts.FOLDER, views.FOLDER, values.FOLDER)
"""Folders of Parquet files, each with one file for every shard."""

NPZ_ORIGIN = "splits of the npz file"
"""Beginning of ``data.origin`` in the record of a model that was fitted to an .npz file."""

_IN_SUMMARY = {"n_listed", "n_scored", "targets", "model", "versions"}
_MISMATCHES = {  # field of the identity -> message where two identities differ in it
    "arithmetic": "was made by a version that computes otherwise",
    "model": "was made with another model",
    "space": "was made in another space",
    "target": "has another target",
    "precision": "was made with another precision",
    "source": "is of other images, or of images that have changed since then",
    "shard_size": "has shards of another size",
    "group_by": "has groups by another pattern",
    "reference": "has other views of the images, or none",
}


@dataclass(frozen=True)
class Run:
    """A run in its folder.

    Attributes:
        out: the folder.
        settings: the settings that all shards share.
        images: path of the images, for the summary.
        notes: notes for the summary on how the images were read.
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
    group_by: str | None = None,
    reference: ReferenceViews | None = None,
) -> Run:
    """List the images, and begin a run in ``out`` or resume the run in it.

    Several processes may open the same run at the same time.

    Raises:
        UserError: a class without a profile, no images, or a folder that holds another run.
    """
    folder = Path(out)
    if (folder / parts.FOLDER).is_file():
        raise UserError(f"{folder / parts.FOLDER} is a file, of an earlier version: give a new folder")
    for name in (RUN_NAME, PLAN_NAME, SUMMARY_NAME, values.NAME):
        if (actual := not_a_file(folder / name)) is not None:
            raise UserError(f"{folder / name}: expected a file, got {actual}: move it away, or give another folder")
    if target != FROM_FOLDER:
        scorer.targets(target, 1)
    if overwrite:
        remove_run(folder)
    elif not (folder / RUN_NAME).exists():
        _require_own(folder)
    folder.mkdir(parents=True, exist_ok=True)
    before = RunRecord.read(folder / RUN_NAME)
    if shard_size is None:
        shard_size = before.identity.shard_size if before else SHARD_SIZES[scorer.model.member_kind]
    identity = RunIdentity(
        model=scorer.record.identity(),
        space=scorer.space,
        target=target,
        precision=cast(Literal["exact", "fast"], scorer.precision_on(device)),
        shard_size=shard_size,
        source="",  # not listed yet
        group_by=group_by,
        map=dict(source.names.given) if source.names is not None and source.names.given else None,
        bits=source.bits,
        reference=None if reference is None else reference.sha256(),
        arithmetic=ARITHMETIC,
    )
    if before:
        _compare(folder, before.identity, identity)

    def check(shard: Shard) -> None:
        if target == FROM_FOLDER:
            scorer.targets(shard.labels, len(shard.labels))

    def accept(plan: Plan) -> None:
        # Read again: another command may have begun a run while this process listed the images.
        if current := RunRecord.read(folder / RUN_NAME):
            _compare(folder, current.identity, replace(identity, source=plan.signature))

    groups = None if group_by is None else GroupBy(group_by)
    plan = make_plan(source, shard_size, folder / PLAN_NAME, check=check, accept=accept)
    if groups is not None:
        groups.of(next(source.items(plan.shard(0))).uid)
    identity = replace(identity, source=plan.signature)
    run = identity.sha256()
    if before is None:
        record = RunRecord(
            run,
            identity,
            images=str(source.path.absolute()),
            n_images=plan.images,
            n_shards=len(plan),
            split=cast(Literal["train", "val", "test"] | None, source.split),
            column=source.column,
            masks=None if source.masks is None else str(source.masks),
            by_content=source.by_content,
            labels_from=None if source.labels_from == "folder" else source.labels_from,
            model=None if scorer.folder is None else str(scorer.folder.absolute()),
        )
        with atomic_write(folder / RUN_NAME) as file:
            # json.dumps escapes names that are not UTF-8.
            file.write((json.dumps(record.to_json(), indent=1) + "\n").encode())
    (folder / parts.FOLDER).mkdir(exist_ok=True)
    settings = Settings(folder, run, plan, target, parts.sample_size(len(plan)), batch_size, device, strict,
                        scorer.model.mask_size, group_by, reference)  # fmt: skip
    notes = (*bits_notes(scorer.record.data.bits, source.bits), *filter(None, [no_hash_note(scorer.record)]))
    if group_by is None:
        notes += group_notes(scorer.record.data.group_by, next(source.items(plan.shard(0))).uid)
    return Run(folder, settings, uid_of(str(source.path)), notes)


def bits_notes(fitted: int | None, given: int | None) -> tuple[str, ...]:
    """A note where ``--bits`` differs between fitting the model and scoring.

    Example:
        >>> bits_notes(12, None)
        ('the model was fitted with --bits 12, these images were read without: use the same if their values are alike',)
    """
    if fitted == given:
        return ()
    in_fit, here = ("without" if bits is None else f"with --bits {bits}" for bits in (fitted, given))
    in_fit = "without --bits" if fitted is None else in_fit
    return (f"the model was fitted {in_fit}, these images were read {here}: use the same if their values are alike",)


def group_notes(fitted: str | None, uid: str) -> tuple[str, ...]:
    """What to say where images have groups as those that the model was fitted to, and no ``--group-by`` was given.

    Example:
        >>> group_notes("^P_[0-9]+", "benign/P_07_2.png")[0][:62]
        'the names of the images have groups as those of the real ones '
        >>> group_notes("^P_[0-9]+", "benign/07.png"), group_notes(None, "P_07.png")
        ((), ())
    """
    try:
        if fitted is None or not GroupBy(fitted).of(uid):
            return ()
    except UserError:
        return ()
    return (
        f"the names of the images have groups as those of the real ones had: with --group-by '{fitted}' the intervals "
        "count groups, such as patients, in the place of images",
    )


def class_names(scorer: Scorer, given: Mapping[str, str] | None) -> ClassNames:
    """The rule that maps labels to classes of the model.

    ``given`` is the user's map. Integer labels also stand for classes, if fitting gave these numbers names.
    """
    data = scorer.record.data
    numbers: Mapping[str, str] = data.numbers
    if not numbers and data.origin.startswith(NPZ_ORIGIN):  # version 0.1 kept no numbers: --classes was in label order
        numbers = {str(i): name for i, name in enumerate(scorer.classes)}
    return ClassNames(scorer.classes, dict(given or {}), dict(numbers))


def _compare(folder: Path, before: RunIdentity, now: RunIdentity) -> None:
    """Raise if the identity of a run differs from ``now``, whose source may be empty: not listed yet."""

    def refuse(why: str, was: object = None, given: object = None) -> None:
        values = "" if was is given is None else f" ({was}, not {given})"
        raise UserError(f"the run in {folder} {why}{values}: give a new folder, or --overwrite to begin anew")

    if before.map != now.map:
        refuse("maps labels otherwise", _shown_map(before.map), _shown_map(now.map))
    if before.bits != now.bits:
        refuse("was made with another --bits", before.bits or "none", now.bits or "none")
    for key, why in _MISMATCHES.items():
        was, given = getattr(before, key), getattr(now, key)
        if was != given and (key != "source" or given):
            refuse(why, *(() if key in ("model", "source", "reference") else (was, given)))
    for key, was in before.unknown.items():
        refuse(f"was made by another version, which writes {key[:60]!r}", was)


def _shown_map(pairs: Mapping[str, str] | None) -> str:
    return "without --map" if pairs is None else ",".join(f"{label}={name}" for label, name in pairs.items())


def remove_run(folder: Path) -> None:
    """Remove the files that a run wrote into a folder, and no others.

    Raises:
        UserError: a file has the name of a file of a run, but no run wrote it.
    """
    try:
        record = RunRecord.read(folder / RUN_NAME)
    except UserError:  # damaged: it is of a run if another file in the folder is
        record = None
        if not any(path.is_file() and is_own(path) for path, is_own in _written(folder)):
            raise UserError(not_own(folder / RUN_NAME)) from None
    if record is None:
        _require_own(folder)
    # The record first: without it, a partly removed run cannot be resumed.
    names = (RUN_NAME, SUMMARY_NAME, PLAN_NAME, values.NAME, *([CSV_NAME] if is_csv(folder / CSV_NAME) else []))
    for name in names:
        (folder / name).unlink(missing_ok=True)
    for name in TABLES:
        for path in (folder / name).iterdir() if (folder / name).is_dir() else ():
            if parts.NAME.fullmatch(path.name) or _is_temporary(path.name):
                path.unlink(missing_ok=True)


def _require_own(folder: Path) -> None:
    """Raise if the folder holds a user's file under a name that a run would write; for folders without a record."""
    for path, is_own in _written(folder):
        if path.exists() and not is_own(path):
            raise UserError(not_own(path))


def not_own(path: Path) -> str:
    """The error for a file that no run wrote and that a run would replace."""
    return f"{path} is not of a run of iuscore, and a run would replace it: give another folder, or move it away"


def _written(folder: Path) -> Iterator[tuple[Path, Callable[[Path], bool]]]:
    """Paths that a run may have written, each with a test whether a run wrote it; without the record of the run."""
    yield folder / SUMMARY_NAME, _is_summary
    yield folder / PLAN_NAME, lambda path: first_shard(path) is not None
    if (folder / parts.FOLDER).is_dir():
        for path in sorted((folder / parts.FOLDER).iterdir()):
            if parts.NAME.fullmatch(path.name):
                yield path, lambda path: parts.read_info(path) is not None
    yield folder / values.NAME, values.is_value
    for name in (views.FOLDER, values.FOLDER):
        for path in sorted((folder / name).iterdir()) if (folder / name).is_dir() else ():
            if parts.NAME.fullmatch(path.name):
                yield path, parts.has_footer


def is_csv(path: Path) -> bool:
    """Whether a file begins with the header of the table of a run."""
    try:
        with open(path, "rb", opener=regular_only) as file:
            return file.read(200).startswith((b'"uid","target","ius"', b'"uid","target","group","ius"'))
    except OSError:
        return False


def _is_summary(path: Path) -> bool:
    try:
        content = read_json(path)
        return isinstance(content, dict) and content.keys() >= _IN_SUMMARY
    except (OSError, ValueError):
        return False


_TEMPORARY = re.compile(rf"\.(?P<name>.+)\.[0-9a-f]{{8}}{re.escape(TEMPORARY_SUFFIX)}")


def _is_temporary(name: str) -> bool:
    """Whether ``name`` is a temporary name that `atomic_write` gives to a file of a run."""
    match = _TEMPORARY.fullmatch(name)
    written = match["name"] if match else ""
    return (
        written in (RUN_NAME, SUMMARY_NAME, PLAN_NAME, CSV_NAME, values.NAME)
        or parts.NAME.fullmatch(written) is not None
    )


def write_summary(scorer: Scorer, run: Run, builder: SummaryBuilder, **figures: Any) -> SetSummary:
    """Write ``summary.json`` of the parts that were added to ``builder``."""
    summary = builder.describe(images=run.images, listed=run.plan.images, device=run.settings.device, **figures)
    notes = run.notes
    if foreign := parts.foreign_files(run.out, len(run.plan), hidden=False):
        names = ", ".join(foreign)
        notes = (
            *notes,
            f"{parts.FOLDER} holds files that are not part of this run, and readers read them too: {names}",
        )
    summary = summary.with_notes(notes)
    write_json(run.out / SUMMARY_NAME, summary.to_json())
    return summary


def tidy(run: Run, *, alone: bool) -> None:
    """Remove the temporary files of killed processes; called when all parts are finished.

    If this process is not ``alone``, another one may be writing ``summary.json``, so only parts are tidied.
    """
    for folder in (*(run.out / name for name in TABLES), *((run.out,) if alone else ())):
        for path in folder.glob(f".*{TEMPORARY_SUFFIX}"):
            if _is_temporary(path.name):
                path.unlink(missing_ok=True)
