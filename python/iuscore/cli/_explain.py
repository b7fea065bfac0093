"""``iuscore explain``: why images score as they do, and what a model has learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from iuscore.cli._common import (
    BY_CONTENT_HELP,
    EXIT_UNREADABLE,
    GROUP_BY_HELP,
    MAX_PIXELS_HELP,
    SEED,
    Command,
    ProgressBar,
    require_matplotlib,
    say,
    shown,
)
from iuscore.errors import UserError

if TYPE_CHECKING:
    from iuscore.explain.local import LocalExplanation
    from iuscore.images import Source
    from iuscore.scoring import Scorer

EXPLAIN_EXAMPLE = """\b
Example:
  iuscore explain model scan_1.png scan_2.dcm --target malignant --out why
  iuscore explain model --out learned
"""

OWN = "iuscore explain"
"""Value of "made_by" in the JSON files, by which a later run recognizes them."""


@click.command(cls=Command, epilog=EXPLAIN_EXAMPLE)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
@click.option("--target", help="Real class to compare the IMAGES with; without IMAGES: whose output is shown.")
@click.option(
    "--out", type=click.Path(path_type=Path), show_default="explanation without IMAGES, else none",
    help="Folder for pictures and JSON.",
)  # fmt: skip
@click.option(
    "--real", type=click.Path(path_type=Path),
    help="Real images with classes: where the nearest ones are looked for; without IMAGES: what is measured.",
)  # fmt: skip
@click.option("--generated", type=click.Path(path_type=Path), help="Generated images: the nearest ones of them, too.")
@click.option(
    "--map", "maps", multiple=True, metavar="NAME",
    help="Component or feature to draw a map of, such as 'fine-contrast homogeneity'; repeat for more.",
)  # fmt: skip
@click.option(
    "--space", type=click.Choice(["paper", "evidence"]), default="paper", help="Contributions after or before tanh."
)
@click.option("--most", type=click.IntRange(1, 1000), default=20, help="Images of IMAGES that are explained, at most.")
@click.option("--mask", type=click.Path(path_type=Path), help="Masks of the images, for a model fitted with such.")
@click.option("--bits", type=int, help="Depth of the values in 16-bit files, such as 12; as given to fit.")
@click.option("--max-pixels", type=click.IntRange(min=1), help=MAX_PIXELS_HELP)
@click.option("--by-content", is_flag=True, help=BY_CONTENT_HELP)
@click.option("--group-by", help=f"{GROUP_BY_HELP} of --real: intervals count groups.")
@click.option("--seed", type=SEED, default=0, help="Random seed of the bootstrap.")
def explain(model: Path, images: tuple[Path, ...], target: str | None, out: Path | None, real: Path | None,
            generated: Path | None, maps: tuple[str, ...], space: Any, most: int, mask: Path | None, bits: int | None,
            max_pixels: int | None, by_content: bool, group_by: str | None, seed: int) -> int:  # fmt: skip
    """Explain IMAGES: shares, features beside real images, maps. Without IMAGES: explain the MODEL.

    IMAGES: image files of any format that score reads, or folders, of which at most --most images are explained.
    """
    from iuscore.scoring import load

    if images and target is None:
        raise UserError("--target: expected the real class to compare the images with, such as --target malignant")
    if generated is not None and real is None:
        raise UserError("--generated: it needs --real, the real images by which likeness is measured")
    if generated is not None and not images:
        raise UserError("--generated: it is for IMAGES; without any, the model itself is explained: leave it out")
    if maps and (not images or out is None):
        raise UserError("--map: maps are drawn of IMAGES, into the folder --out: give both")
    if not images:
        out = out or Path("explanation")
    if out is not None:
        require_matplotlib()
        if out.exists() and not out.is_dir():
            raise UserError(f"--out: expected a folder, got the file {out}")
    scorer = load(model, space=space)
    if target is not None:
        (target,) = scorer.targets(target, 1)
    options = {"bits": bits, "by_content": by_content} | ({} if max_pixels is None else {"max_pixels": max_pixels})
    if not images:
        if mask is not None and real is None:
            raise UserError("--mask: it is for IMAGES or --real: leave it out")
        assert out is not None
        return _explain_model(scorer, target, out, real, mask, {**options, "group_by": group_by}, seed)
    assert target is not None
    return _explain_images(scorer, images, target, out, real, generated, maps, most, mask, options)


def _explain_images(
    scorer: Scorer, images: Sequence[Path], target: str, out: Path | None, real: Path | None, generated: Path | None,
    maps: tuple[str, ...], most: int, mask: Path | None, options: Mapping[str, Any],
) -> int:  # fmt: skip
    from iuscore.explain.ranges import range_words
    from iuscore.explain.reading import chosen, explain_source, other_gallery, real_gallery
    from iuscore.images import Sample, open_source

    sources = [_masked(scorer, open_source(path, **options), mask) for path in images]
    galleries: dict[str, Any] = {}
    if real is not None:
        galleries["real"] = real_gallery(scorer, _with_classes(scorer, real, options), ProgressBar())
    if generated is not None:
        others = chosen(open_source(generated, **options), 10_000)
        galleries["generated"] = other_gallery(galleries["real"], others, ProgressBar())
    parts: list[LocalExplanation] = []
    unreadable: list[Sample] = []
    left = most
    for path, source in zip(images, sources, strict=True):
        if not left:
            break
        prefix = _prefix(path, source.items[0].uid)
        some = chosen(source, left)
        left -= len(some)
        for each in explain_source(
            scorer, some, target=target, prefix=prefix, maps=maps or out is not None, **galleries
        ):
            if isinstance(each, Sample):
                unreadable.append(each)
                continue
            parts.append(each)
            for line in each.images[0].lines:
                say(line)
            say("")
    if parts:
        say(range_words(scorer.feature_profiles.get(target), target))
    total = sum(map(len, sources))
    if total > most:
        say(f"note: {most} of {total} images were explained, evenly spread over each of IMAGES; --most explains more")
    if out is not None and parts:
        _write_images(out, parts, scorer)
    for bad in unreadable:
        say(f"could not be read: {bad.uid}: {bad.error}", err=True)
    return EXIT_UNREADABLE if unreadable else 0


def _prefix(path: Path, uid: str) -> str:
    """What makes names of images in a source paths again.

    Example:
        >>> _prefix(Path("a/b.png"), "b.png"), _prefix(Path("c.npz"), "test/000012")
        ('a/', 'c.npz/')
    """
    named = not path.is_dir() and uid.split("/")[0] == path.name
    return f"{path.parent if named else path}/".removeprefix("./")


def _write_images(out: Path, parts: Sequence[LocalExplanation], scorer: Scorer) -> None:
    from dataclasses import replace

    from iuscore.explain.overlay import picture_name

    found = replace(parts[0], images=tuple(part.images[0] for part in parts))
    names = [f"{picture_name(i, each.uid)}.png" for i, each in enumerate(found.images)]
    _prepare(out, ["images.json", *names])
    written = found.write_pictures(out)
    content = {
        "target": found.images[0].why.target,
        "space": scorer.space,
        "images": [{"picture": name, **each.to_json()} for name, each in zip(names, found.images, strict=True)],
    }
    _write_json(out / "images.json", content)
    more = f" and {len(written) - 1} more" if len(written) > 1 else ""
    say(f"written: {shown(written[0])}{more}, {shown(out / 'images.json')}")


def _explain_model(
    scorer: Scorer, target: str | None, out: Path, real: Path | None, mask: Path | None, options: Mapping[str, Any],
    seed: int,
) -> int:  # fmt: skip
    from iuscore.explain.overall import explain_global
    from iuscore.explain.plot_overall import toward, write_pictures
    from iuscore.explain.reading import real_images

    _prepare(out, ["model.json", "profiles.png", "shapes.png"])
    measured = None
    if real is not None:
        source = _masked(scorer, _with_classes(scorer, real, options), mask)
        measured = real_images(scorer, source, target or scorer.classes[-1], ProgressBar())
    found = explain_global(scorer, target=target, real=measured, seed=seed)
    written = write_pictures(found, out)
    _write_json(out / "model.json", {"space": scorer.space, **found.data(-1)})
    say(f"written: {', '.join(shown(path) for path in [*written, out / 'model.json'])}")
    where = {"images": f"over {shown(real) if real else ''}", "model": "over validation images", "unknown": ""}
    if found.importance is None:
        say("importance of components: unknown, as an older version fitted the model: give --real, or fit again")
    else:
        say(f"importance of components (mean absolute contribution {where[found.importance_by]}, less the mean):")
        ranked = sorted(zip(found.importance, found.components, strict=True), key=lambda pair: -pair[0])
        for value, name in ranked[:5]:
            say(f"  {name}: {value:.2f}")
    if found.shapes:
        say(f"largest effects of features (largest less smallest change of the contribution for {toward(found)}, "
            "within 2 standard deviations):")  # fmt: skip
        for shape in sorted(found.shapes, key=lambda shape: -shape.effect)[:3]:
            say(f"  {shape.feature.name}: {shape.effect:.2f}; higher means {shape.feature.higher}")
    return 0


def _with_classes(scorer: Scorer, path: Path, options: Mapping[str, Any]) -> Source:
    from iuscore.explain.reading import chosen_by_class
    from iuscore.images import open_source

    return chosen_by_class(open_source(path, labels_from="auto", classes=list(scorer.classes), **options))


def _masked(scorer: Scorer, source: Source, mask: Path | None) -> Source:
    from iuscore.images import with_masks

    if mask is not None and scorer.model.mask != "given":
        raise UserError("--mask: the model was not fitted with masks: leave it out")
    if mask is None and scorer.model.mask == "given":
        raise UserError("--mask: the model was fitted with masks: give the folder of the masks of the images")
    return source if mask is None else with_masks(source, mask)


def _prepare(out: Path, names: Sequence[str]) -> None:
    """Make the folder; refuse to replace files that this command did not write."""
    from iuscore.explain.plot import is_own_picture

    for name in names:
        path = out / name
        if path.exists() and not (is_own_picture(path) if path.suffix == ".png" else _is_own_json(path)):
            raise UserError(f"--out: {path} was not written by iuscore: move it away, or give another folder")
    out.mkdir(parents=True, exist_ok=True)


def _is_own_json(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return f'"made_by": "{OWN}"'.encode() in file.read(200)
    except OSError:
        return False


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    from iuscore._environment import package_version
    from iuscore._run.files import write_json

    write_json(path, {"made_by": OWN, "version": package_version(), "format": 1, **content})
