"""``iuscore compare``: sets of synthetic images beside real ones, in words, as JSON and as one page."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from iuscore._run.processes import processors
from iuscore._run.signals import deferred_interrupts
from iuscore.cli._common import (
    COLUMN_HELP,
    EXIT_INTERRUPTED,
    GROUP_BY_HELP,
    LABELS_FROM,
    LABELS_FROM_HELP,
    MAP_HELP,
    SEED,
    Command,
    ProgressBar,
    WarningsOnly,
    check_device,
    say,
    shown,
)
from iuscore.errors import UserError
from iuscore.progress import Progress

if TYPE_CHECKING:
    from iuscore.explain.compare import Comparison
    from iuscore.explain.value import ReferenceViews
    from iuscore.fit import Splits
    from iuscore.images import ShardedSource
    from iuscore.scoring import Scorer

EXAMPLE = """\b
Example:
  iuscore compare real/ gan/ diffusion/ --group-by '^P_[0-9]+' --html report.html
"""


@click.command(cls=Command, epilog=EXAMPLE)
@click.argument("real", type=click.Path(path_type=Path))
@click.argument("sets", nargs=-1, required=True, metavar="SET...")
@click.option("--out", type=click.Path(path_type=Path), default=Path("comparison"), help="Folder to write.")
@click.option("--model", type=click.Path(path_type=Path), help="A fitted model, instead of fitting one to REAL.")
@click.option("--html", type=click.Path(path_type=Path), help="Also write a page that needs no other file.")
@click.option("--target", help="Class of all synthetic images, where these are in no class folders.")
@click.option("--val", type=click.Path(path_type=Path), help="Validation images, as for fit.")
@click.option("--test", type=click.Path(path_type=Path), help="Test images, as for fit.")
@click.option("--group-by", help=f"{GROUP_BY_HELP} real images, and sets whose names have them.")
@click.option("--groups", metavar="FILE|folder|column:NAME", help="Groups of the real images, as for fit.")
@click.option("--labels-from", type=LABELS_FROM, default="auto", help=f"Classes of image files: {LABELS_FROM_HELP}")
@click.option("--map", "class_map", help=MAP_HELP)
@click.option("--column", help=COLUMN_HELP)
@click.option("--bits", type=int, help="Depth of the values in 16-bit files, such as 12.")
@click.option("--seed", type=SEED, default=0, help="Random seed of the split and of the model.")
@click.option("--workers", type=click.IntRange(1, 65536), help="Processes; default: one per CPU.")
@click.option("--device", default="cpu", help="Torch device.")
@click.option("--overwrite", is_flag=True, help="Replace the model and the scores in --out.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def compare(real: Path, sets: tuple[str, ...], out: Path, model: Path | None, html: Path | None, quiet: bool,
            **options: Any) -> int:  # fmt: skip
    """Compare sets of synthetic images with REAL images and with each other.

    REAL holds real images, one sub-folder a class, as for fit; or it is a model folder that was fitted to them. Each
    SET holds synthetic images of the same classes (a folder, .tar or Parquet files, .npz), or it is the --out folder
    of 'iuscore score' with the same model. NAME=PATH gives a set a name.

    To resume, run the same command again: what is done is kept in --out.
    """
    progress: Progress = WarningsOnly() if quiet else ProgressBar()
    check_device(options["device"])
    named = _named(sets)
    with deferred_interrupts(repeated=True):
        from iuscore.engine import require_comparable
        from iuscore.scoring import load
    for path in named.values():
        require_comparable(path)
    try:
        folder, splits = _model(real, out, model, options, progress)
        scorer = load(folder)
        reference = _reference(folder, scorer)
        runs = {name: _scored(path, name, out, scorer, options, progress) for name, path in named.items()}
        comparison = _compared(real, runs, reference, scorer, progress)
    except KeyboardInterrupt:
        progress.stop()
        say(f"interrupted: {shown(out)} keeps what is done; run the same command again to go on", err=True)
        return EXIT_INTERRUPTED
    finally:
        progress.stop()
    _print(comparison)
    written = [_written_json(out, comparison)]
    if html is not None:
        written.append(_written_page(html, comparison, runs, scorer, splits, progress))
    say(f"written: {', '.join(map(shown, written))}")
    return 0


def _named(sets: Sequence[str]) -> dict[str, Path]:
    """Name of each set -> its path: as given, or the last part of the path."""
    found: dict[str, Path] = {}
    for text in sets:
        name, equals, path = text.partition("=")
        if not equals or Path(text).exists() or "/" in name:
            name, path = Path(text).resolve().name, text
        if not name or not path:
            raise UserError(f"SET: expected a path or NAME=PATH, got {text}")
        if name in found:
            raise UserError(f"SET: two sets are called {name}, {found[name]} and {path}: name them, as in first={path}")
        found[name] = Path(path)
    return found


def _model(
    real: Path, out: Path, model: Path | None, options: Mapping[str, Any], progress: Progress
) -> tuple[Path, Splits | None]:
    """The model folder: given, REAL itself, or fitted to REAL; and the real images, where REAL holds them."""
    with deferred_interrupts(repeated=True):
        from iuscore.fit import fit, open_splits
        from iuscore.images import fingerprint
        from iuscore.images.labels import parse_map
        from iuscore.models import load_model

    if (real / "config.json").is_file():
        if model is not None:
            raise UserError(f"--model: REAL is a model folder already, {shown(real)}: leave one of them out")
        return real, None
    class_map = options["class_map"]
    splits = open_splits(
        real, val=options["val"], test=options["test"], labels_from=options["labels_from"], seed=options["seed"],
        group_by=options["group_by"], groups=options["groups"], column=options["column"], bits=options["bits"],
        class_map=None if class_map is None else parse_map(class_map),
    )  # fmt: skip
    if model is not None:
        return model, splits
    folder = out / "model"
    if (folder / "config.json").is_file() and not options["overwrite"]:
        _, record = load_model(folder)
        if record.data.fingerprints != {name: fingerprint(part) for name, part in splits.parts().items()}:
            raise UserError(
                f"{shown(folder)} was fitted to other images, or to another split of them: give another --out, or "
                "--overwrite"
            )
        if not record.training.interrupted:
            progress.line(f"the model in {shown(folder)} was fitted to these images: it is used again")
            return folder, splits
    for warning in splits.warnings:
        progress.warning(warning)
    for note in splits.notes:
        progress.line(f"note: {note}")
    resume = (folder / "training").is_dir() and not options["overwrite"]
    fitted = fit(
        splits, folder, device=options["device"], seed=options["seed"], progress=progress, resume=resume,
        overwrite=options["overwrite"],
    )  # fmt: skip
    if fitted.interrupted:
        raise KeyboardInterrupt
    return folder, splits


def _scored(path: Path, name: str, out: Path, scorer: Scorer, options: Mapping[str, Any], progress: Progress) -> Path:
    """The folder of a finished run over a set."""
    from iuscore.engine import FROM_FOLDER, score_source
    from iuscore.images import open_shards
    from iuscore.images.labels import parse_map

    if (path / "run.json").is_file():
        return path
    class_map, target = options["class_map"], options["target"]
    progress.line(f"set {name}")
    source = open_shards(
        path,
        labeled=target is None,
        column=options["column"],
        bits=options["bits"],
        labels_from="auto" if target else options["labels_from"],
    )
    run = score_source(
        scorer,
        source,
        out / "scores" / name,
        target=target or FROM_FOLDER,
        class_map=None if class_map is None or target else parse_map(class_map),
        workers=options["workers"] or processors(),
        device=options["device"],
        group_by=_pattern_of(source, options["group_by"], progress),
        overwrite=options["overwrite"],
        progress=progress,
    )
    if run.interrupted:
        raise KeyboardInterrupt
    for bad in run.summary.first_unreadable:
        say(f"could not be read: {bad.uid}: {bad.error}", err=True)
    return out / "scores" / name


def _pattern_of(source: ShardedSource, group_by: str | None, progress: Progress) -> str | None:
    """The pattern of groups, where the names of a set have them: generated images seldom come from patients."""
    from iuscore.images.groups import GroupBy

    if group_by is None:
        return None
    first = next((item.uid for shard in source.shards(1) for item in source.items(shard)), "")
    try:
        GroupBy(group_by).of(first)
    except UserError:
        progress.line(f"its names have no groups by {group_by}: every image counts as its own")
        return None
    return group_by


def _reference(folder: Path, scorer: Scorer) -> ReferenceViews:
    from iuscore.engine import reference_of

    reference = reference_of(scorer)
    if reference is None:
        raise UserError(
            f"{shown(folder)} holds no reference of real images, because it has fewer than 10 images of a class, or "
            "was fitted by an earlier version: fit a model again, to more images"
        )
    return reference


def _compared(
    real: Path, runs: Mapping[str, Path], reference: ReferenceViews, scorer: Scorer, progress: Progress
) -> Comparison:
    from iuscore.engine import read_set
    from iuscore.explain.compare import compare_sets

    sets = [read_set(path, reference, name) for name, path in runs.items()]
    command = shlex.join(["iuscore", *sys.argv[1:]])
    return compare_sets(
        reference, sets, scorer.record, space=scorer.space, real=shown(real), command=command,
        step=lambda name: progress.line(f"computing: {name}"),
    )  # fmt: skip


def _print(comparison: Comparison) -> None:
    from iuscore.explain.compare.sentences import lines_of

    for line in lines_of(comparison):
        say(line)


def _written_json(out: Path, comparison: Comparison) -> Path:
    from iuscore._run.files import disk_errors_as_user_errors, write_json

    path = out / "comparison.json"
    with disk_errors_as_user_errors(lambda error: f"cannot write {path}: {error.strerror}"):
        out.mkdir(parents=True, exist_ok=True)
        write_json(path, comparison.to_json())
    return path


def _written_page(
    html: Path, comparison: Comparison, runs: Mapping[str, Path], scorer: Scorer, splits: Splits | None,
    progress: Progress,
) -> Path:  # fmt: skip
    from iuscore.engine import score_histograms, thumbnails, thumbnails_of
    from iuscore.explain.report import REAL, wanted_pictures, write_report

    progress.line("pictures of the images to show")
    wanted = wanted_pictures(comparison)
    pictures: dict[tuple[str, str], bytes] = {}
    for name, run in runs.items():
        made = thumbnails(run, {uid for of, uid in wanted if of == name})
        pictures |= {(name, uid): picture for uid, picture in made.items()}
    if splits is not None:
        made = thumbnails_of((splits.train, splits.val), {uid for of, uid in wanted if of == REAL})
        pictures |= {(REAL, uid): picture for uid, picture in made.items()}
    histograms = score_histograms(runs, scorer)
    overlays = _overlays(comparison, runs, scorer)
    return write_report(html, comparison, thumbnails=pictures, overlays=overlays, score_histograms=histograms)


def _overlays(comparison: Comparison, runs: Mapping[str, Path], scorer: Scorer) -> dict[tuple[str, str], bytes]:
    """(set, component) -> a typical image, and where in it the component that differs most comes from."""
    from iuscore.engine import read_again
    from iuscore.explain.local import explain_local
    from iuscore.explain.overlay import beside_map

    found = {}
    for each in comparison.sets:
        sure = [effect for effect in each.effects if effect.p < 0.05]
        if not sure or scorer.model.mask is not None:
            continue
        effect = max(sure, key=lambda effect: abs(effect.difference))
        shown = [image for image in each.images if image.target == effect.target and image.ius is not None]
        typical = [image for image in shown if "typical" in image.reasons] or shown
        pixels = read_again(runs[each.name], {image.uid for image in typical[:1]})
        for uid, image in pixels.items():
            made = explain_local(
                scorer, [image], target=effect.target, layout="NHWC", names=[uid], maps=[effect.component]
            )
            found[each.name, effect.component] = beside_map(made.images[0], effect.component)
    return found
