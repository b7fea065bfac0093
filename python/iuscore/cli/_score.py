"""``iuscore score``, ``iuscore verify`` and ``iuscore plot-features``: commands that use a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from iuscore._run.processes import processors, worker_context
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
    check_device,
    number,
    require_matplotlib,
    say,
    shown,
)
from iuscore.errors import UserError, class_named
from iuscore.progress import Progress

if TYPE_CHECKING:
    from iuscore.scoring import MeanIus, MeanOverClasses, SetSummary, TargetSummary


@click.command(cls=Command)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path))
@click.option(
    "--target",
    required=True,
    help="Real class to compare with, or from-folder: each image with its own class, see --labels-from.",
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder for scores.parquet and summary.json."
)
@click.option(
    "--split", type=click.Choice(["train", "val", "test"]), help="Part of an .npz file or of a folder of parts."
)
@click.option(
    "--space", type=click.Choice(["paper", "evidence"]), default="paper", help="Contributions after or before tanh."
)
@click.option(
    "--precision",
    type=click.Choice(["exact", "fast", "auto"]),
    default="exact",
    help="Arithmetic of an epu model on the CPU: float32, 16-bit integers, or the faster one.",
)
@click.option("--column", help=COLUMN_HELP)
@click.option(
    "--labels-from", type=LABELS_FROM, default="auto", help=f"Classes for --target from-folder: {LABELS_FROM_HELP}"
)
@click.option("--map", "class_map", help=MAP_HELP)
@click.option("--mask", metavar="FOLDER", help="Masks of the images, for a model fitted with such a folder.")
@click.option("--bits", type=int, help="Depth of the values in 16-bit files, such as 12; as given to fit.")
@click.option("--max-pixels", type=click.IntRange(min=1), help=MAX_PIXELS_HELP)
@click.option("--by-content", is_flag=True, help=BY_CONTENT_HELP)
@click.option("--group-by", help=f"{GROUP_BY_HELP} intervals then count groups.")
@click.option("--batch-size", type=click.IntRange(1, 65536), default=64, help="Images scored at once; fewer if large.")
@click.option("--device", default="cpu", help="Torch device.")
@click.option("--workers", type=click.IntRange(1, 65536), help="Processes or Ray actors; default: one per CPU.")
@click.option("--shard-size", type=click.IntRange(1, 100_000), help="Images per part of the table.")
@click.option(
    "--launcher",
    type=click.Choice(["local", "torchrun", "ray"]),
    default="local",
    help="What runs the workers: this command, the torchrun or srun that started it, or a Ray cluster.",
)
@click.option("--ray-address", show_default="local", help="With --launcher ray: address, such as auto or host:6379.")
@click.option("--plot", is_flag=True, help="Also draw OUT/contributions.png.")
@click.option("--csv", is_flag=True, help="Also write the table as OUT/scores.csv.")
@click.option("--value/--no-value", default=True, help="Judge the set and its images by the model's real images.")
@click.option("--strict", is_flag=True, help="Stop at the first unreadable image.")
@click.option("--overwrite", is_flag=True, help="Replace the run in OUT.")
@click.option("--quiet", is_flag=True, help="No progress.")
def score(model: Path, images: Path, target: str, out: Path, split: Any, space: Any, precision: Any, column: str | None,
          labels_from: Any, class_map: str | None, mask: str | None, bits: int | None, max_pixels: int | None,
          by_content: bool, group_by: str | None, batch_size: int, device: str, workers: int | None,
          shard_size: int | None, launcher: str, ray_address: str | None, plot: bool, csv: bool, value: bool,
          strict: bool, overwrite: bool, quiet: bool) -> int:  # fmt: skip
    """Score IMAGES with MODEL.

    IMAGES: a folder of images, an image, WebDataset .tar files, Parquet files, a MedMNIST .npz or .npy arrays. To
    resume a run that was stopped or killed, run the same command again; it also tries images again that could not be
    read for a transient reason, such as a missing permission.

    \b
    Example:
      iuscore score model generated --target malignant --out scores
    """
    if launcher == "local" and device == "cpu" and (workers or processors()) > 1:
        worker_context()  # starts the fork server, which imports modules while this process does
    with deferred_interrupts(repeated=True):
        from iuscore.engine import FROM_FOLDER, check_csv, score_source, write_csv
        from iuscore.engine.torchrun import rank_of, require_alone
        from iuscore.images import MAX_PIXELS, open_shards
        from iuscore.images.labels import parse_map
        from iuscore.images.listing import counted
        from iuscore.scoring import load

    picture = out / "contributions.png"
    own_picture = _is_own_picture(picture)
    if plot:
        require_matplotlib()
        if picture.exists() and not own_picture:
            raise UserError(f"--plot: {picture} was not drawn by iuscore: move it away, or give another --out")
    if csv:
        check_csv(out)
    if ray_address is not None and launcher != "ray":
        raise UserError(
            f"--ray-address: only --launcher ray has a cluster, not {launcher}: leave it out, or give --launcher ray"
        )
    if launcher == "local":
        require_alone()
    rank = rank_of() if launcher == "torchrun" else None
    if rank is not None and device == "cuda":
        device = f"cuda:{rank.local}"
    check_device(device)
    if labels_from == "prefix" and target != FROM_FOLDER:
        raise UserError(f"--labels-from: it needs --target from-folder, got --target {target}")
    scorer = load(model, space=space, precision=precision)
    if target != FROM_FOLDER:
        (target,) = scorer.targets(target, 1)
    masks = _mask_folder(scorer.model.mask, mask)
    if launcher == "ray":
        images = images.absolute()  # actors work in folders of their own
    try:
        with sigterm_as_interrupt() as ended:
            source = open_shards(
                images, labeled=target == FROM_FOLDER, split=split, column=column, bits=bits, by_content=by_content,
                labels_from=labels_from, max_pixels=max_pixels or MAX_PIXELS,
            )  # fmt: skip
            run = score_source(
                scorer,
                source,
                out,
                target=target,
                class_map=None if class_map is None else parse_map(class_map),
                batch_size=batch_size,
                device=device,
                workers=workers or (1 if rank else processors()),
                shard_size=shard_size,
                group_by=group_by,
                strict=strict,
                masks=masks
                and masks / source.path.relative_to(images),  # with --split, source.path is below ``images``
                overwrite=overwrite,
                rank=(rank.rank, rank.world) if rank else (0, 1),
                ray_address=(ray_address or "local") if launcher == "ray" else None,
                value=value,
                progress=Progress() if quiet else ProgressBar(),
            )
    except KeyboardInterrupt:
        if not ended.terminated:
            raise
        say("iuscore: interrupted", err=True)
        return EXIT_TERMINATED
    _print_summary(run.summary, scorer.record.recall)
    if run.read_as:
        read_as = ", ".join(f"{label} as {name}" for label, name in run.read_as.items())
        say(f"note: labels were read as when the model was fitted, {read_as}; --map changes that")
    if target != FROM_FOLDER and (others := _other_classes(images, scorer.classes, target)):
        say(
            f"note: {shown(images)} has folders named {', '.join(others)}, and all images were compared with {target}: "
            "--target from-folder compares each with the class of its folder"
        )
    if run.ignored:
        more = ", ..." if run.ignored > len(run.ignored_names) else ""
        names = f" ({', '.join(run.ignored_names)}{more})" if run.ignored_names else ""
        say(f"note: files that are no images: {run.ignored}, left out{names}")
    if run.tried_again:
        before = counted(run.tried_again, "image")
        say(f"tried again: {before} that could not be read before; {run.mended} could be read now")
    for line in run.value.lines if run.value else ():
        say(line)
    if run.value and run.value.value:
        say(f"value: of each image in {shown(out / 'values.parquet')}, of the set in {shown(out / 'value.json')}")
    written = [shown(path) for path in (run.table, run.summary_path) if path.exists()]
    say(f"written: {', '.join(written)}")
    if csv and (rank is None or run.summary.complete):
        say(f"written: {shown(write_csv(out))}")
    if own_picture:  # an earlier run drew it
        picture.unlink(missing_ok=True)
    if plot and run.summary.targets:
        from iuscore.explain.plot import plot_contributions

        say(f"written: {shown(plot_contributions(scorer, run.summary, picture))}")
    done = run.summary.n_done
    if rank and not (run.summary.complete or run.interrupted):
        say(f"{done} of {run.summary.n_listed} images are scored so far: the other ranks score the rest")
    if run.interrupted:
        listed = run.summary.n_listed
        say(f"interrupted: {done} of {listed} images are done; run the same command again to go on", err=True)
        return EXIT_TERMINATED if ended.terminated else EXIT_INTERRUPTED
    if run.summary.n_unreadable and (rank is None or run.summary.complete):  # torchrun ends all processes if one fails
        for bad in run.summary.first_unreadable:
            say(f"could not be read: {bad.uid}: {bad.error}", err=True)
        again = run.summary.n_to_try_again
        more = f"; {again} for a reason that may be gone: run the same command again to try them again" if again else ""
        n = run.summary.n_unreadable
        rest = ", the first of them above" if n > len(run.summary.first_unreadable) else ""
        say(f"{n} of {done} images could not be read{rest}: see the column error of the table{more}", err=True)
        return EXIT_UNREADABLE
    return 0


def _mask_folder(rule: str | None, mask: str | None) -> Path | None:
    """The folder of masks; None for "border" or "none", which must agree with the model's own rule."""
    if mask not in ("border", "none", None):
        return Path(mask)
    if mask is not None and mask != ("none" if rule is None else rule):
        action = {"border": "leaves the border out", "given": "was fitted with a folder of masks"}
        raise UserError(
            f"--mask {mask}: the model {action.get(rule or '', 'counts all pixels')}, and an image must be measured on "
            "the same pixels as the real images: use the rule of this model, or fit another model"
        )
    return None


@click.command(cls=Command)
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--model", type=click.Path(path_type=Path), help="Model folder, if it has moved.")
@click.option("--images", type=click.Path(path_type=Path), help="Images, if they have moved.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="As given to score.")
@click.option("--column", help="As given to score.")
@click.option("--max-pixels", type=click.IntRange(min=1), help="As given to score.")
@click.option("--mask", type=click.Path(path_type=Path), help="Masks, if they have moved.")
@click.option("--sample", type=click.IntRange(min=0), default=100, help="Images to score again.")
@click.option("--seed", type=SEED, default=0, help="Random seed that chooses them.")
def verify(out: Path, model: Path | None, images: Path | None, split: Any, column: str | None,
           max_pixels: int | None, mask: Path | None, sample: int, seed: int) -> int:  # fmt: skip
    """Check the folder OUT of a finished run: counts, hashes, columns, and some images scored again.

    \b
    Example:
      iuscore verify scores
    """
    from iuscore.engine import FROM_FOLDER
    from iuscore.engine import verify as check
    from iuscore.engine.records import require_run
    from iuscore.images import MAX_PIXELS, MaskedShards, ShardedSource, open_shards
    from iuscore.images.listing import counted
    from iuscore.scoring import load

    record = require_run(out)
    identity = record.identity
    if (model := model or (None if record.model is None else Path(record.model))) is None:
        raise UserError(f"{out} does not say where its model is: give --model")
    scorer = load(model, space=identity.space, precision=identity.precision)
    labeled = identity.target == FROM_FOLDER
    # For a folder, the recorded path already contains the split.
    split = split or record.split
    source: ShardedSource = open_shards(
        images or record.images,
        labeled=labeled,
        split=split,
        column=column or record.column,
        max_pixels=max_pixels or MAX_PIXELS,
        bits=identity.bits,
        by_content=bool(record.by_content),
        labels_from=record.labels_from or "folder",
    )
    if mask := mask or (None if record.masks is None else Path(record.masks)):
        source = MaskedShards(source, mask)
    found = check(out, scorer, source, sample=sample, seed=seed, progress=ProgressBar())
    for problem in found.problems:
        say(problem)
    say(f"{counted(found.parts, 'part')}, {counted(found.rows, 'row')}")
    if found.unreadable:
        say(f"{found.unreadable} of {found.rows} images could not be read when they were scored: see the column error")
    if found.largest_difference is not None:
        say(f"{found.rescored} images scored again: largest difference {found.largest_difference:.2g}")
    unchanged = "all is as it was written" if found.unreadable else "all is well"
    say(unchanged if not found.problems else counted(len(found.problems), "problem"))
    return EXIT_UNREADABLE if found.problems else 0


def _is_own_picture(path: Path) -> bool:
    if not path.exists():
        return False
    from iuscore.explain.plot import is_own_picture

    return is_own_picture(path)


def _other_classes(images: Path, classes: Sequence[str], target: str) -> list[str]:
    """Classes that have a folder directly in ``images``; empty if only the target has one."""
    found = [name for name in classes if (images / name).is_dir()] if images.is_dir() else []
    return [] if found == [target] else found


def _print_summary(summary: SetSummary, recall: Mapping[str, float]) -> None:
    from iuscore.engine.most_like import others_line
    from iuscore.scoring.words import doubt_of, shift_line

    # A number that a note below takes back is printed with its doubt on the same line.
    if over := summary.mean_over_classes:
        doubt = ""
        if over.out_of_distribution:
            doubt = f", a guess: those against {', '.join(over.out_of_distribution)} lie far outside real images"
        elif over.classes_overlap:
            names = " and ".join(over.classes_overlap)
            doubt = f", of little meaning: real images of other classes score about the same as those of {names}"
        say(f"mean over {len(over.classes)} classes, equally weighted: IUS {_with_interval(over)}{doubt}")
        if over.ceiling is not None and over.floor is not None:
            ceiling, floor = number(over.ceiling), number(over.floor)
            say(f"  real images of each class: {ceiling} (ceiling); other real images: {floor} (floor)")
    for name, entry in summary.targets.items():
        doubt = doubt_of(entry)
        of = f" of {entry.n_groups} groups" if entry.n_groups else ""
        say(f"{entry.n} images{of} against real {name}: IUS {_with_interval(entry.ius)}{doubt and f', {doubt}'}")
        if entry.ceiling and entry.floor:
            ceiling, floor = number(entry.ceiling.mean), number(entry.floor.mean)
            say(f"  real {name}: {ceiling} (ceiling); other real images: {floor} (floor)")
        if not entry.out_of_distribution and (others := others_line(name, entry.most_like or {}, recall.get(name))):
            say(f"  {others}")
        if entry.most_changed:
            _print_why(name, entry)
        elif entry.most_shifted:
            shifts = {c.name: c.shift for c in entry.components if c.shift is not None}
            say(f"  {shift_line(entry.most_shifted, shifts[entry.most_shifted], name)}")
    for note in summary.notes:
        say(f"note: {note}")


def _with_interval(mean: MeanIus | MeanOverClasses) -> str:
    """A mean with its interval; a set of few images has no interval."""
    if mean.low is None:
        return f"{number(mean.mean)} (no interval: too few)"
    return f"{number(mean.mean)} [{number(mean.low)}, {number(mean.high)}]"


def _print_why(name: str, entry: TargetSummary) -> None:
    """Print what changed and what matters, for a model with named features."""
    from iuscore.features import COLORLESS
    from iuscore.scoring.words import change_lines, diversity_line

    for line in change_lines(entry.changes or (), name, entry.n):
        say(f"  {line}")
    changes = entry.changes or ()
    left_out = {change.name for change in changes if change.words == COLORLESS}
    known = [c for c in entry.components if c.name not in left_out and c.difference is not None]
    if known and any(change.beyond_chance for change in changes):
        matters = max(known, key=lambda component: abs(component.difference or 0.0))
        say(
            f"  what matters most: {matters.name}, contribution {matters.contribution:+.2f} where real {name} "
            f"have {matters.baseline:+.2f}"
        )
    say(f"  {diversity_line(entry.diversity, name, entry.n)}")


@click.command("plot-features", cls=Command)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Picture to write, such as out.png.")
@click.option("--target", help="Class whose output is shown, of more than two; default: the last.")
@click.option("--table", type=click.Path(path_type=Path), help="Also write the curves of all features as CSV.")
def plot_features(model: Path, out: Path, target: str | None, table: Path | None) -> None:
    """Draw what each feature of a texture MODEL contributes as it goes from low to high.

    \b
    Example:
      iuscore plot-features model --out features.png
    """
    from iuscore.explain.plot import check_picture
    from iuscore.explain.shapes import plot_shapes, shape_functions, write_shapes
    from iuscore.models import load_model

    require_matplotlib()
    check_picture(out)
    if table is not None and table.resolve() == out.resolve():
        raise UserError(f"--table: expected another file than the picture's, got {table}")
    loaded, _ = load_model(model)
    target = target or loaded.classes[-1]
    target = class_named(target, loaded.classes) or target
    shapes = shape_functions(loaded, target)
    say(f"written: {shown(plot_shapes(loaded, target, shapes, out))}")
    if table is not None:
        say(f"written: {shown(write_shapes(shapes, table))}")
    say(f"largest effects on the output for {target} (largest less smallest change of the contribution, while the "
        "feature goes from 2 standard deviations below its mean to 2 above):")  # fmt: skip
    for shape in sorted(shapes, key=lambda shape: -shape.effect)[:3]:
        say(f"  {shape.feature.name}: {shape.effect:.2f}; higher means {shape.feature.higher}")
