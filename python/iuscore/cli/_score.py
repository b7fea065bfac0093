"""``iuscore score``: a model applied to images."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from iuscore.cli._common import (
    EXIT_INTERRUPTED,
    EXIT_UNREADABLE,
    Progress,
    check_device,
    number,
    percent,
    require_matplotlib,
    times,
)
from iuscore.errors import UserError


@click.command()
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
        require_matplotlib()
    check_device(device)
    scorer = load(model, space=space)
    labels: Literal["folder"] | None = "folder" if target == FROM_FOLDER else None
    source = open_source(images, labels_from=labels, split=split)
    run = score_source(
        scorer, source, out, target=target, batch_size=batch_size, device=device, strict=strict, report=Progress()
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
            f"{entry['n']} images against real {name}: IUS {number(ius['mean'])} "
            f"[{number(ius['low'])}, {number(ius['high'])}]"
        )
        if entry["ceiling"] and entry["floor"]:
            click.echo(
                f"  real {name}: {number(entry['ceiling']['mean'])} (ceiling); other real images: "
                f"{number(entry['floor']['mean'])} (floor); {percent(entry['above_ceiling_lower_quartile'])} of the "
                "images are above the ceiling's lower quartile"
            )
        if entry["most_changed"]:
            _print_why(name, entry)
        elif entry["most_shifted"]:
            shift = next(c["shift"] for c in entry["components"] if c["name"] == entry["most_shifted"])
            by = f"{shift:+.1f}" if abs(shift) <= 10 else f"more than {'+' if shift > 0 else '-'}10"
            click.echo(f"  farthest from real: {entry['most_shifted']}, by {by} of its standard deviations")
    for note in summary["notes"]:
        click.echo(f"note: {note}")


def _print_why(name: str, entry: dict[str, Any]) -> None:
    """What changed and what matters, of a model that knows both."""
    changed = next(c for c in entry["changes"] if c["name"] == entry["most_changed"])
    click.echo(
        f"  what changed most: {changed['name']}, by {times(changed['moved'])} times the spread of real {name} "
        f"({changed['feature']}: {times(changed['shift'], signed=True)})"
    )
    matters = next((c for c in entry["components"] if c["name"] == entry["matters_most"]), None)
    if matters is not None:
        click.echo(
            f"  what matters most: {matters['name']}, contribution {matters['contribution']:+.2f} where real {name} "
            f"have {matters['baseline']:+.2f}"
        )
    if entry["toward_other"] is not None and entry["toward_other"] >= 0.5:
        click.echo(f"  taken together, {percent(entry['toward_other'])} of the way to the other class")


@click.command("plot-features")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Picture to write, such as out.png.")
@click.option("--target", help="Class, of more than two, whose output is shown; the last one unless said.")
@click.option("--table", type=click.Path(path_type=Path), help="Also write the curves of all features as CSV.")
def plot_features(model: Path, out: Path, target: str | None, table: Path | None) -> None:
    """Draw what each feature of a texture MODEL contributes as it goes from low to high."""
    from iuscore.models import load_model
    from iuscore.score.plot import check_picture
    from iuscore.score.shapes import plot_shapes, shape_functions, write_shapes

    require_matplotlib()
    check_picture(out)
    if table is not None and table.resolve() == out.resolve():
        raise UserError(f"--table: expected another file than the picture's, got {table}")
    loaded, _ = load_model(model)
    target = target or loaded.classes[-1]
    shapes = shape_functions(loaded, target)
    click.echo(f"written: {plot_shapes(loaded, target, shapes, out)}")
    if table is not None:
        click.echo(f"written: {write_shapes(shapes, table)}")
    for shape in sorted(shapes, key=lambda shape: -shape.effect)[:3]:
        click.echo(f"{shape.feature.name}: {shape.effect:.2f} from low to high; higher means {shape.feature.higher}")
