"""The command ``iuscore``: parse, call, print. Nothing else in the package prints."""

from __future__ import annotations

import logging
import math
import sys
from pathlib import Path
from typing import Any, Literal

import click

from iuscore.errors import UserError
from iuscore.report import Report

_SEED = click.IntRange(0, 2**32 - 1)
EXIT_UNREADABLE, EXIT_USER, EXIT_INTERRUPTED = 1, 2, 130


class _Progress(Report):
    """Progress on standard error: bars on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self.bar: Any = None

    def line(self, text: str) -> None:
        click.echo(text, err=True)

    def start(self, what: str, total: int, unit: str) -> None:
        from tqdm import tqdm

        self.stop()
        # A log file gets a line a minute at most, not a line for every redraw.
        interval = 0.1 if sys.stderr.isatty() else 60.0
        self.bar = tqdm(total=total, desc=what, unit=unit, file=sys.stderr, mininterval=interval, dynamic_ncols=True)

    def advance(self, n: int, **figures: float | None) -> None:
        if self.bar is not None:
            known = {key: value for key, value in figures.items() if value is not None}
            self.bar.set_postfix(
                {k: f"{v:.3f}" if isinstance(v, float) else v for k, v in known.items()}, refresh=False
            )
            self.bar.update(n)

    def stop(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


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


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        from iuscore.versions import package_version

        click.echo(f"iuscore {package_version()}")
        ctx.exit()


@click.group(
    invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"], "show_default": True}
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
@click.option("-v", "--verbose", is_flag=True, help="Say more, such as why a back end is missing.")
@click.pass_context
def cli(context: click.Context, verbose: bool) -> None:
    """How useful a synthetic medical image is for training a classifier, and why."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(EXIT_USER)
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(name)s: %(message)s")


@cli.command()
def doctor() -> None:
    """Say which back ends exist, which one each op uses, and why one is missing."""
    from iuscore.doctor import report_lines

    click.echo("\n".join(report_lines()))


@cli.command()
@click.argument("real", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Model folder to write.")
@click.option("--model", type=click.Choice(["epu"]), default="epu", help="Additive model.")
@click.option("--val", type=click.Path(path_type=Path), help="Validation images; REAL is then the training folder.")
@click.option("--test", type=click.Path(path_type=Path), help="Test images; needs --val.")
@click.option("--split", callback=_fractions, default="0.7,0.15,0.15", help="Fractions, where REAL is split by chance.")
@click.option("--group-by", help="Regular expression on file names; a group (patient, video) stays in one part.")
@click.option(
    "--labels-from", type=click.Choice(["auto", "folder", "prefix"]), default="auto", help="Where classes are read."
)
@click.option("--classes", help="Class names in label order, with commas. Of two, the second has positive logits.")
@click.option("--color", type=click.Choice(["auto", "color", "gray"]), show_default="auto", help="Kind of images.")
@click.option(
    "--mode", type=click.Choice(["clean", "paper"]), show_default="clean", help="Maps: ours, or as published."
)
@click.option("--size", callback=_size, show_default="128", metavar="SIZE", help="Size that images are brought to.")
@click.option("--base-channels", type=int, show_default="64", help="Channels of the first convolutions.")
@click.option("--hidden-units", type=int, show_default="32", help="Units of the hidden layers.")
@click.option("--epochs", type=int, show_default="200", help="Most epochs.")
@click.option("--patience", type=int, show_default="10", help="Epochs without a lower validation loss before stopping.")
@click.option("--batch-size", type=int, show_default="8", help="Images a training step.")
@click.option("--lr", "learning_rate", type=float, show_default="0.001", help="Learning rate.")
@click.option("--momentum", type=float, show_default="0.9")
@click.option("--weight-decay", type=float, show_default="0.001")
@click.option("--seed", type=_SEED, default=0, help="Of the split and of the first member.")
@click.option("--seeds", type=click.IntRange(min=1), show_default="1", help="Members of the ensemble.")
@click.option("--device", default="cpu", help="Torch device to train on.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted training in --out.")
@click.option("--overwrite", is_flag=True, help="Replace what is in --out.")
@click.option("--strict", is_flag=True, help="Stop at the first unreadable image.")
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard events to OUT/tensorboard.")
def fit(real: Path, out: Path, **options: Any) -> int:
    """Fit an additive model to the real images in REAL.

    REAL is a folder with one sub-folder a class (or with class prefixes in the file names), a folder with train, val
    and perhaps test inside, or a MedMNIST .npz file.
    """
    from iuscore.fit import fit, open_splits

    classes = _names(options.pop("classes"))
    model_options, training = _model_options(options)
    splits = open_splits(
        real,
        val=options.pop("val"),
        test=options.pop("test"),
        labels_from=options.pop("labels_from"),
        classes=classes,
        fractions=options.pop("split"),
        seed=options["seed"],
        group_by=options.pop("group_by"),
    )
    for warning in splits.warnings:
        click.echo(f"warning: {warning}", err=True)
    _check_device(options["device"])
    report = _Progress()
    try:
        fitted = fit(
            splits, out, model_options=model_options, training=training, classes=classes, report=report, **options
        )
    except KeyboardInterrupt:
        report.stop()
        kept = (out / "training").is_dir()
        what = (
            f"{out} keeps the finished epochs; --resume goes on" if kept else "no epoch was complete, nothing is kept"
        )
        click.echo(f"interrupted: {what}", err=True)
        return EXIT_INTERRUPTED
    finally:
        report.stop()
    _print_fitted(fitted.record, out)
    for uid, reason in fitted.unreadable:
        click.echo(f"left out: {uid}: {reason}", err=True)
    if fitted.interrupted:
        click.echo(f"interrupted: {out} holds the best weights so far; --resume goes on", err=True)
        return EXIT_INTERRUPTED
    if fitted.unreadable:
        click.echo(f"images that could not be read and were left out: {len(fitted.unreadable)}", err=True)
    return EXIT_UNREADABLE if fitted.unreadable else 0


_TRAINING = ("epochs", "patience", "batch_size", "learning_rate", "momentum", "weight_decay")
_MODEL = ("color", "mode", "size", "base_channels", "hidden_units")


def _model_options(options: dict[str, Any]) -> tuple[Any, Any]:
    """Take the options of the model and of its training out of ``options``; what was not given is the kind's default.

    Raises:
        UserError: an option that belongs to another kind.
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
                f"{option} belongs to --model {' and '.join(owners)}, not to {options['model']}: leave it out"
            )
    return kind.options(**given), replace(kind.training, **training)


def _print_fitted(record: Any, out: Path) -> None:
    from iuscore.score.summary import separation_note

    figures = record["validation"]
    click.echo(f"model written to {out}: validation AUROC {_number(figures['auroc'])} on {figures['n']} images")
    if record["test"]:
        click.echo(f"test AUROC {_number(record['test']['auroc'])} on {record['test']['n']} images")
    notes: list[str | None] = []
    if figures["auroc"] is not None and figures["auroc"] < 0.6:
        notes.append("the model hardly tells the classes apart (AUROC near 0.5): scores of it mean little")
    for name, ceiling in record["ceiling"]["paper"].items():
        floor = record["floor"]["paper"][name]
        notes.append(separation_note(name, ceiling, floor))
        click.echo(
            f"IUS against {name}: real {name} {_number(ceiling['mean'])} (ceiling, {ceiling['source']}), "
            f"other real images {_number(floor['mean'])} (floor)"
        )
    for note in filter(None, notes):
        click.echo(f"note: {note}")


@cli.command("import-reference")
@click.argument("reference", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Model folder to write.")
def import_reference(reference: Path, out: Path) -> None:
    """Import a model of the published implementation.

    REFERENCE holds ckpt.pt, epu_config.yaml and cb_vector_<class>.npy.
    """
    from iuscore.models import import_reference, save_model

    if (out / "config.json").exists():
        raise UserError(f"{out} already holds a model: give another folder")
    model, record = import_reference(reference)
    save_model(out, model, record=record)
    click.echo(f"model written to {out}: classes {', '.join(model.classes)}; components {', '.join(model.components)}")


@cli.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path))
@click.option("--target", required=True, help="Real class to compare with, or from-folder: each image's sub-folder.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder for scores.parquet and summary.json."
)
@click.option(
    "--split", type=click.Choice(["train", "val", "test"]), help="Part of an .npz file or of a folder of parts."
)
@click.option(
    "--space", type=click.Choice(["paper", "evidence"]), default="paper", help="Contributions after or before tanh."
)
@click.option("--batch-size", type=click.IntRange(min=1), default=64, help="Images at once.")
@click.option("--device", default="cpu", help="Torch device.")
@click.option("--plot", is_flag=True, help="Also draw OUT/contributions.png.")
@click.option("--strict", is_flag=True, help="Stop at the first unreadable image.")
def score(model: Path, images: Path, target: str, out: Path, split: Any, space: Any, batch_size: int, device: str,
          plot: bool, strict: bool) -> int:  # fmt: skip
    """Score IMAGES (a folder, an image or a MedMNIST .npz file) with MODEL."""
    from iuscore.images import open_source
    from iuscore.score import load
    from iuscore.score.run import FROM_FOLDER, score_source

    if plot:
        _require_matplotlib()
    _check_device(device)
    scorer = load(model, space=space)
    labels: Literal["folder"] | None = "folder" if target == FROM_FOLDER else None
    source = open_source(images, labels_from=labels, split=split)
    run = score_source(
        scorer, source, out, target=target, batch_size=batch_size, device=device, strict=strict, report=_Progress()
    )
    _print_summary(run.summary)
    if source.ignored:
        click.echo(f"note: files that are no images: {source.ignored}, left out")
    click.echo(f"written: {run.table}, {run.summary_path}")
    picture = out / "contributions.png"
    picture.unlink(missing_ok=True)  # of an earlier run
    if plot and run.summary["targets"]:
        from iuscore.score.plot import plot_contributions

        click.echo(f"written: {plot_contributions(scorer, run.summary, picture)}")
    if run.interrupted:
        done = run.summary["n_scored"] + run.summary["n_unreadable"]
        click.echo(f"interrupted: {done} of {run.summary['n_listed']} images are in the table", err=True)
        return EXIT_INTERRUPTED
    if run.summary["n_unreadable"]:
        n, listed = run.summary["n_unreadable"], run.summary["n_listed"]
        click.echo(f"{n} of {listed} images could not be read: see the column error", err=True)
        return EXIT_UNREADABLE
    return 0


def _print_summary(summary: dict[str, Any]) -> None:
    for name, entry in summary["targets"].items():
        ius = entry["ius"]
        click.echo(
            f"{entry['n']} images against real {name}: IUS {_number(ius['mean'])} "
            f"[{_number(ius['low'])}, {_number(ius['high'])}]"
        )
        if entry["ceiling"] and entry["floor"]:
            click.echo(
                f"  real {name}: {_number(entry['ceiling']['mean'])} (ceiling); other real images: "
                f"{_number(entry['floor']['mean'])} (floor); {_percent(entry['above_ceiling_lower_quartile'])} of the "
                "images are above the ceiling's lower quartile"
            )
        if entry["most_shifted"]:
            shift = next(c["shift"] for c in entry["components"] if c["name"] == entry["most_shifted"])
            by = f"{shift:+.1f}" if abs(shift) <= 10 else f"more than {'+' if shift > 0 else '-'}10"
            click.echo(f"  farthest from real: {entry['most_shifted']}, by {by} of its standard deviations")
    for note in summary["notes"]:
        click.echo(f"note: {note}")


@cli.command()
@click.option("--out", type=click.Path(path_type=Path), help="Keep the phantoms and the model here.")
@click.option("--seed", type=_SEED, default=0)
def demo(out: Path | None, seed: int) -> None:
    """Draw phantoms, fit a small model, and score a faithful and three defective sets; no data, no network."""
    from iuscore.demo import run_demo, table_lines

    click.echo("\n".join(table_lines(run_demo(out, seed=seed, report=_Progress()))))


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "an unknown part" if value is None else f"{100 * value:.0f} %"


def _require_matplotlib() -> None:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise UserError("--plot needs the extra: pip install -c constraints.txt '.[plot]'")


def _check_device(name: str) -> None:
    import torch

    try:
        usable = torch.empty(0, device=name).device.type != "meta"
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {name}: {str(error).splitlines()[0]}") from None
    if not usable:
        raise UserError(f"--device {name}: expected a device that computes, such as cpu or cuda")


def main() -> None:
    """Entry point. A user's mistake is one line and exit status 2; an interruption ends with 130."""
    try:
        status = cli.main(prog_name="iuscore", standalone_mode=False)
    except UserError as error:
        click.echo(f"iuscore: {' '.join(str(error).split())}", err=True)
        status = EXIT_USER
    except click.ClickException as error:
        click.echo(f"iuscore: {error.format_message()}", err=True)
        status = EXIT_USER
    except (KeyboardInterrupt, click.Abort):
        click.echo("iuscore: interrupted", err=True)
        status = EXIT_INTERRUPTED
    except OSError as error:
        click.echo(f"iuscore: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", err=True)
        status = EXIT_USER
    except (MemoryError, RuntimeError) as error:
        import torch

        # Torch raises a plain RuntimeError where the CPU's memory ends; any other one is a fault of ours.
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        reason = (str(error).splitlines() or ["no room"])[0]
        click.echo(f"iuscore: not enough memory, use a smaller --size or --batch-size: {reason}", err=True)
        status = EXIT_USER
    sys.exit(status if isinstance(status, int) else 0)
