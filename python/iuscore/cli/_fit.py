"""``iuscore fit`` and ``iuscore import-reference``: commands that make a model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from iuscore._run.signals import deferred_interrupts, sigterm_as_interrupt
from iuscore.cli._common import (
    BY_CONTENT_HELP,
    COLUMN_HELP,
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    EXIT_UNREADABLE,
    GROUP_BY_HELP,
    LABELS_FROM,
    LABELS_FROM_HELP,
    MAP_HELP,
    MAX_PIXELS_HELP,
    SEED,
    Command,
    ProgressBar,
    WarningsOnly,
    check_device,
    number,
    say,
    shown,
)
from iuscore.errors import UserError

if TYPE_CHECKING:
    from iuscore.models import ModelRecord


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    parts = value.lower().split("x")
    if len(parts) > 2 or not all(p.isdecimal() for p in parts):
        raise click.BadParameter(f"expected a number such as 128, or HEIGHTxWIDTH such as 96x128, got {value!r}")
    return int(parts[0]), int(parts[-1])


def _fractions(ctx: click.Context, param: click.Parameter, value: str) -> tuple[float, ...]:
    try:
        parts = tuple(float(p) for p in value.split(","))
    except ValueError:
        parts = ()
    if len(parts) != 3 or not all(math.isfinite(p) for p in parts):
        raise click.BadParameter(f"expected three numbers such as 0.7,0.15,0.15, got {value!r}")
    return parts


class _Mode(click.Choice):  # type: ignore[type-arg]  # has no parameters in click 8.1
    """Modes of the perceptual maps; the error for the word of version 0.1 names the present one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "paper":
            self.fail("'paper' is not one of 'clean', 'published'; did you mean 'published'?", param, ctx)
        return super().convert(value, param, ctx)


def _defaults(epu: float, texture: float) -> str:
    """Help on a default that depends on the kind of model; a test compares it with `iuscore.fit.kinds`."""
    return f"{epu}; texture: {texture}"


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


MAX_MEMBERS = 1000
"""Most members of a model, as in `iuscore.models`; a test compares the two numbers."""

FIT_EXAMPLE = """\b
Example:
  iuscore fit real/ --out model/ --group-by '^P_[0-9]+'
"""
IMPORT_EXAMPLE = """\b
Example:
  iuscore import-reference reference/ --out model/
"""


@click.command(cls=Command, epilog=FIT_EXAMPLE)
@click.argument("real", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Model folder to write.")
@click.option(
    "--model",
    type=click.Choice(["texture", "epu"]),
    default="texture",
    help="texture: named color and texture features; epu: the published network.",
)
@click.option("--val", type=click.Path(path_type=Path), help="Validation images, if they are not in REAL.")
@click.option("--test", type=click.Path(path_type=Path), help="Test images, if they are not in REAL.")
@click.option(
    "--fractions", callback=_fractions, default="0.7,0.15,0.15", help="Shares of training, validation and test "
    "images, where REAL is split at random."
)  # fmt: skip
@click.option("--group-by", help=f"{GROUP_BY_HELP} a group stays in one part.")
@click.option(
    "--groups",
    metavar="FILE|folder|column:NAME",
    help="Groups: a CSV file with columns file,group; the folders below a class; a column of Parquet files.",
)
@click.option(
    "--exclude", multiple=True, metavar="PATTERN", help="Leave out images with such names, as '*_mask.png'; "
    "repeat for more."
)  # fmt: skip
@click.option("--column", help=COLUMN_HELP)
@click.option("--labels-from", type=LABELS_FROM, default="auto", help=f"Classes of image files: {LABELS_FROM_HELP}")
@click.option("--classes", help="Class names in label order, with commas. Of two, the second has positive logits.")
@click.option("--map", "class_map", help=MAP_HELP)
@click.option("--bits", type=int, help="Depth of the values in 16-bit files, such as 12; score needs the same.")
@click.option("--max-pixels", type=click.IntRange(min=1), help=MAX_PIXELS_HELP)
@click.option("--by-content", is_flag=True, help=BY_CONTENT_HELP)
@click.option(
    "--color", type=click.Choice(["auto", "color", "gray"]), show_default="auto", help="Use color, or gray levels only."
)
@click.option("--size", callback=_size, show_default="128", metavar="SIZE", help="Size that images are resized to.")
@click.option(
    "--mode",
    type=_Mode(["clean", "published"]),
    show_default="clean",
    help="epu: maps of iuscore, or the published maps.",
)
@click.option("--base-channels", type=int, show_default="64", help="epu: channels of the first convolutions.")
@click.option(
    "--heads", type=click.Choice(["linear", "tanh"]), show_default="linear", help="texture: contributions as they are, "
    "or after a tanh."
)  # fmt: skip
@click.option("--dropout", type=float, show_default="0.2", help="texture: share of features left out in training.")
@click.option(
    "--mask", metavar="border|FOLDER", show_default="None: all pixels",
    help="texture: leave out black borders, or what is 0 in the masks in FOLDER, one per image.",
)  # fmt: skip
@click.option("--hidden-units", type=int, show_default=_defaults(32, 16), help="Units of the hidden layers.")
@click.option("--epochs", type=int, show_default="200", help="Largest number of epochs.")
@click.option("--patience", type=int, show_default=_defaults(10, 20), help="Epochs without a lower validation loss.")
@click.option("--batch-size", type=int, show_default=_defaults(8, 32), help="Images per training step.")
@click.option("--lr", "learning_rate", type=float, show_default=_defaults(0.001, 0.003), help="Learning rate.")
@click.option("--momentum", type=float, show_default="0.9")
@click.option("--weight-decay", type=float, show_default=_defaults(0.001, 0.1))
@click.option("--seed", type=SEED, default=0, help="Random seed of the split and of the first member.")
@click.option(
    "--members", type=click.IntRange(1, MAX_MEMBERS), show_default=_defaults(1, 3), help="Members of the ensemble."
)
@click.option("--device", default="cpu", help="Torch device to train on.")
@click.option("--resume", is_flag=True, help="Continue an interrupted training in --out.")
@click.option("--overwrite", is_flag=True, help="Replace what is in --out.")
@click.option("--strict", is_flag=True, help="Stop at the first unreadable image.")
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard events to OUT/tensorboard.")
@click.option("--quiet", "-q", is_flag=True, help="No progress; warnings and the result only.")
def fit(real: Path, out: Path, **options: Any) -> int:
    """Fit an additive model to the real images in REAL.

    REAL is a folder with one sub-folder a class (or with class prefixes in the file names), WebDataset .tar files,
    Parquet files, a MedMNIST .npz or .npy arrays. Folders or archives named train, val and test are these parts.
    """
    with deferred_interrupts(repeated=True):
        from iuscore.fit.training import ResumeDiffers

    with sigterm_as_interrupt() as ended:
        try:
            status = _fit(real, out, options)
        except ResumeDiffers as error:
            params = click.get_current_context().command.params
            names = {param.name: param.opts[0] for param in params if isinstance(param, click.Option)}
            raise UserError(error.called(names.get(error.name, error.name))) from None
        except KeyboardInterrupt:
            if not ended.terminated:
                raise
            say("iuscore: interrupted", err=True)
            status = EXIT_INTERRUPTED
    return EXIT_TERMINATED if status == EXIT_INTERRUPTED and ended.terminated else status


def _fit(real: Path, out: Path, options: dict[str, Any]) -> int:
    with deferred_interrupts(repeated=True):
        from iuscore.fit import fit, open_splits
        from iuscore.images import MAX_PIXELS
        from iuscore.images.labels import parse_map

    class_map = options.pop("class_map")
    progress = WarningsOnly() if options.pop("quiet") else ProgressBar()
    classes = _names(options.pop("classes"))
    masks = options["mask"] if options["mask"] not in (None, "border") else None
    options["mask"] = options["mask"] if masks is None else "given"
    model_options, training = _model_options(options)
    splits = open_splits(
        real,
        val=options.pop("val"),
        test=options.pop("test"),
        labels_from=options.pop("labels_from"),
        classes=classes,
        fractions=options.pop("fractions"),
        seed=options["seed"],
        group_by=options.pop("group_by"),
        class_map=None if class_map is None else parse_map(class_map),
        masks=masks,
        groups=options.pop("groups"),
        exclude=options.pop("exclude"),
        column=options.pop("column"),
        max_pixels=options.pop("max_pixels") or MAX_PIXELS,
        bits=options.pop("bits"),
        by_content=options.pop("by_content"),
    )
    for warning in splits.warnings:
        progress.warning(warning)
    for note in splits.notes:
        progress.line(f"note: {note}")
    check_device(options["device"])
    try:
        fitted = fit(
            splits, out, model_options=model_options, training=training, classes=classes, progress=progress, **options
        )
    except KeyboardInterrupt:
        progress.stop()
        kept = (out / "training").is_dir()
        state = (
            f"{shown(out)} keeps the finished epochs; --resume goes on"
            if kept
            else "no epoch was complete, nothing is kept; the same command begins again"
        )
        say(f"interrupted: {state}", err=True)
        return EXIT_INTERRUPTED
    finally:
        progress.stop()
    _print_fitted(fitted.record, out)
    if isinstance(progress, WarningsOnly) and "image by image" in splits.origin:
        say(f"note: {splits.origin}")
    for uid, reason in fitted.unreadable:
        say(f"left out: {uid}: {reason}", err=True)
    if fitted.interrupted:
        say(f"interrupted: {shown(out)} holds the best weights so far; --resume goes on", err=True)
        return EXIT_INTERRUPTED
    if fitted.unreadable:
        say(f"images that could not be read and were left out: {len(fitted.unreadable)}", err=True)
    return EXIT_UNREADABLE if fitted.unreadable else 0


_TRAINING = ("epochs", "patience", "batch_size", "learning_rate", "momentum", "weight_decay")
_MODEL = ("color", "mode", "size", "base_channels", "hidden_units", "heads", "dropout", "mask")


def _model_options(options: dict[str, Any]) -> tuple[Any, Any]:
    """Remove the options of the model and of its training from ``options``, and add the defaults of its kind.

    Raises:
        UserError: an option of another kind of model was given.
    """
    from dataclasses import fields, replace

    from iuscore.fit.kinds import KINDS, kind_of

    kind = kind_of(options["model"])
    training = {key: value for key in _TRAINING if (value := options.pop(key)) is not None}
    given = {key: value for key in _MODEL if (value := options.pop(key)) is not None}
    known = {field.name for field in fields(kind.options)}
    for key in given:
        if key not in known:
            owners = [name for name, other in KINDS.items() if key in {f.name for f in fields(other.options)}]
            option = f"--{key.replace('_', '-')}"
            raise UserError(
                f"{option} belongs to --model {' and '.join(owners)}, not to {options['model']}: leave it out, or give "
                f"--model {owners[0]}"
            )
    return kind.options(**given), replace(kind.training, **training)


def _print_fitted(record: ModelRecord, out: Path) -> None:
    from iuscore.engine.notes import separation_of_classes

    for title, figures in (("validation", record.validation), ("test", record.test)):
        if figures is not None:
            result = f"{title} AUROC {number(figures.auroc)} on {figures.n} images"
            say(result if title == "test" else f"model written to {shown(out)}: {result}")
    notes = auroc_notes(record)
    references = {}
    for name in record.ceiling["paper"]:
        ceiling, floor = record.ceiling["paper"][name], record.floor["paper"][name]
        references[name] = record.ceiling_of("paper", name), record.floor_of("paper", name)
        say(
            f"IUS against {name}: real {name} {number(ceiling.mean)} (ceiling, {ceiling.source}), "
            f"other real images {number(floor.mean)} (floor)"
        )
    for note in filter(None, [*notes, separation_of_classes(references)]):
        say(f"note: {note}")


MIN_IMAGES_OF_A_CLASS = 10
"""Fewest images of a class for an AUROC that means something."""


def auroc_notes(record: ModelRecord) -> list[str | None]:
    """Notes on an AUROC that is low, or of few images.

    Example:
        >>> from iuscore.models.record import DataRecord, Figures, ModelRecord
        >>> record = ModelRecord(validation=Figures(auroc=0.09), data=DataRecord(counts={"val": {"a": 99, "b": 99}}))
        >>> auroc_notes(record)[0][:56]
        'validation AUROC 0.090 is below 0.5: the model takes mos'
    """
    notes: list[str | None] = []
    for part, key, figures in (("val", "validation", record.validation), ("test", "test", record.test)):
        auroc = None if figures is None else figures.auroc
        counts = record.data.counts.get(part, {})
        if auroc is None:
            continue
        if few := {name: n for name, n in counts.items() if n < MIN_IMAGES_OF_A_CLASS}:
            of = " and ".join(f"{n} of {name}" for name, n in few.items())
            notes.append(f"{key} AUROC {number(auroc)} rests on {of}: of so few images it means little")
        elif auroc < 0.4:
            notes.append(
                f"{key} AUROC {number(auroc)} is below 0.5: the model takes most {key} images for another class; the "
                f"labels of training and {key} images may be swapped (class folders, --classes)"
            )
        elif auroc < 0.6:
            notes.append(
                f"the model hardly tells the classes apart ({key} AUROC {number(auroc)}, chance is 0.5): its "
                "scores mean little. The task may be too hard for it, or labels are swapped or shuffled: look at "
                "some images of each class folder"
            )
    return notes


@click.command("import-reference", cls=Command, epilog=IMPORT_EXAMPLE)
@click.argument("reference", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Model folder to write.")
def import_reference(reference: Path, out: Path) -> None:
    """Import a model of the published implementation.

    REFERENCE holds ckpt.pt, epu_config.yaml and cb_vector_<class>.npy.
    """
    from iuscore.models import import_reference, save_model

    for name in ("config.json", "model.safetensors"):
        if (out / name).exists():
            what = "a model" if name == "config.json" else name
            raise UserError(f"{out} already holds {what}: give another folder")
    model, record = import_reference(reference)
    save_model(out, model, record=record)
    say(f"model written to {shown(out)}: classes {', '.join(model.classes)}; components {', '.join(model.components)}")
