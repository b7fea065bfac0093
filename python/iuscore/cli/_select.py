"""``iuscore select``: choose images of a scored set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from iuscore.cli._common import SEED, Command, ProgressBar, WarningsOnly, say, shown
from iuscore.errors import UserError

if TYPE_CHECKING:
    from iuscore.explain.select import Prediction, Selection

POLICIES = ("value", "ius", "confidence", "diverse", "covariance", "stratified", "random")


@click.command(cls=Command)
@click.argument("scores", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the lists and the record.")
@click.option("--count", type=int, help="Images of all classes together, as many of each.")
@click.option("--fraction", type=float, help="Share of the scored images of each class.")
@click.option("--per-class", help="Images of each class, such as benign=200,malignant=300.")
@click.option("--policy", type=click.Choice(POLICIES), default="value", help="By what images are chosen.")
@click.option(
    "--drop-copies/--keep-copies",
    "drop_copies",
    default=None,
    show_default="dropped by value, diverse, covariance",
    help="Keep images with identical features once, and count near copies less.",
)
@click.option(
    "--drop-contradicted/--keep-contradicted",
    "drop_contradicted",
    default=None,
    show_default="dropped by diverse, covariance",
    help="Leave out images whose nearest real images contradict their label.",
)
@click.option("--seed", type=SEED, default=0, help="Of ties and of what is drawn.")
@click.option("--link", type=click.Path(path_type=Path), help="New folder for links to the images, by class.")
@click.option("--parquet", type=click.Path(path_type=Path), help="New file for the rows of the chosen images.")
@click.option("--shards", type=click.Path(path_type=Path), help="New folder for .tar shards of the chosen images.")
@click.option("--shard-size", type=click.IntRange(1, 10**6), default=1000, help="Samples in a .tar shard.")
@click.option("--images", type=click.Path(path_type=Path), help="Images, if they have moved.")
@click.option("--model", type=click.Path(path_type=Path), help="Model folder, if it has moved.")
@click.option("--max-pixels", type=click.IntRange(min=1), help="As given to score.")
@click.option("--predict/--no-predict", default=True, help="Predict the gain over random and confident images.")
@click.option("--overwrite", is_flag=True, help="Replace the selection in OUT.")
@click.option("--quiet", is_flag=True, help="No progress.")
def select(scores: Path, out: Path, count: int | None, fraction: float | None, per_class: str | None, policy: Any,
           drop_copies: bool | None, drop_contradicted: bool | None, seed: int, link: Path | None,
           parquet: Path | None, shards: Path | None, shard_size: int, images: Path | None, model: Path | None,
           max_pixels: int | None, predict: bool, overwrite: bool, quiet: bool) -> int:  # fmt: skip
    """Choose images of the run in SCORES.

    SCORES is the --out folder of iuscore score. How many is said by one of --count, --fraction and --per-class. OUT
    gets selected.txt, the uids of the chosen images; random.txt and confidence.txt, as many images drawn at random and
    those that the model is the most confident of; and selection.json, which says how they were chosen.

    \b
    Example:
      iuscore select scores --fraction 0.25 --out quarter --link quarter/images
    """
    given = [name for name, value in (("--count", count), ("--fraction", fraction), ("--per-class", per_class))
             if value is not None]  # fmt: skip
    if len(given) != 1:
        got = " and ".join(given) or "none of them"
        raise UserError(f"expected one of --count, --fraction and --per-class, got {got}: how many images do you want?")
    from iuscore.engine import select_images
    from iuscore.explain.select import parse_per_class

    found = select_images(
        scores,
        out,
        count=count,
        fraction=fraction,
        per_class=None if per_class is None else parse_per_class(per_class),
        policy=policy,
        drop_copies=drop_copies,
        drop_contradicted=drop_contradicted,
        seed=seed,
        link=link,
        parquet=parquet,
        shards=shards,
        shard_size=shard_size,
        images=images,
        model=model,
        max_pixels=max_pixels,
        predicted=predict,
        overwrite=overwrite,
        progress=WarningsOnly() if quiet else ProgressBar(),
    )
    _print_selection(found.selection, out)
    if link is not None:
        copies = f", {found.copies} copies" if found.copies else ""
        say(f"linked: {shown(link)}: {found.links} hard links{copies}")
    if parquet is not None:
        say(f"written: {shown(parquet)}")
    if shards is not None:
        say(f"written: {shown(shards)}: {found.archives} .tar shards")
    return 0


def _print_selection(selection: Selection, out: Path) -> None:
    from iuscore.explain.select import best_words

    n = sum(each.n for each in selection.classes)
    say(f"chosen: {selection.n_chosen} of {n} images, {best_words(selection.policy)}")
    for each in selection.classes:
        left_out = ", ".join(f"{number} {what}" for what, number in each.left_out.items() if number)
        rule = "; near copies count less" if each.copies_discounted else ""
        say(f"  {each.target}: {each.n_chosen} of {each.n}{f' (left out: {left_out})' if left_out else ''}{rule}")
    if selection.prediction is None:
        say(f"gain over random and confident images not predicted: {selection.not_predicted}")
    else:
        _print_prediction(selection.prediction)
    for note in selection.notes:
        say(f"note: {note}")
    written = ("selected.txt", "random.txt", "confidence.txt", selection.NAME)
    say(f"written: {', '.join(shown(out / name) for name in written)}")


def _print_prediction(prediction: Prediction) -> None:
    real = "" if prediction.real is None else f"; real images reach {prediction.real:.3f}"
    say(f"expected AUROC of small learners fitted to it: {prediction.auroc:.3f}{real}")
    for gain in prediction.gains:
        drawn = f", mean of {gain.draws} draws" if gain.draws > 1 else ""
        say(
            f"  predicted gain over {gain.over} images: {gain.gain:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] "
            f"(these: {gain.auroc:.3f}{drawn})"
        )
    for doubt in prediction.doubts:
        say(f"  in doubt: {doubt}")
