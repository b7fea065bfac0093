"""Choose images of a finished run, and write what was chosen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from iuscore._run.files import output_folder, write_json
from iuscore._run.regular_files import not_a_file
from iuscore.engine.records import read_json
from iuscore.engine.selected_columns import read_columns
from iuscore.engine.selected_files import ChosenImages, link_images, require_files, require_new_folder, write_rows
from iuscore.engine.selecting import NAMES, Asked, Selecting
from iuscore.errors import UserError, bounded
from iuscore.explain.select.budgets import Budget
from iuscore.explain.select.records import POLICIES, Policy, Selection
from iuscore.progress import Progress


@dataclass(frozen=True)
class Selected:
    """What was chosen and written.

    Attributes:
        selection: the record, as it stands in ``selection.json``.
        folder: of the lists and the record.
        links, copies: hard links and copies made in the folder of links. archives: .tar archives written.
    """

    selection: Selection
    folder: Path
    links: int = 0
    copies: int = 0
    archives: int = 0

    @property
    def uids(self) -> list[str]:
        """The lines of ``selected.txt``: class after class, by a score the best first."""
        return (self.folder / NAMES[0]).read_text(encoding="utf-8").split("\n")[:-1]


def select_images(
    out: str | os.PathLike[str],
    to: str | os.PathLike[str],
    *,
    count: int | None = None,
    fraction: float | None = None,
    per_class: Mapping[str, int] | None = None,
    policy: Policy = "value",
    drop_copies: bool | None = None,
    drop_contradicted: bool | None = None,
    seed: int = 0,
    link: str | os.PathLike[str] | None = None,
    parquet: str | os.PathLike[str] | None = None,
    shards: str | os.PathLike[str] | None = None,
    shard_size: int = 1000,
    images: str | os.PathLike[str] | None = None,
    model: str | os.PathLike[str] | None = None,
    max_pixels: int | None = None,
    predicted: bool = True,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Selected:
    """Choose images of a run, and write their uids with random and confident ones of equal number beside them.

    Args:
        out: folder of a run of `score_source`. A run with values and views takes all policies.
        to: folder for ``selected.txt``, ``random.txt``, ``confidence.txt`` and, written last, ``selection.json``.
        count, fraction, per_class: how many: see `iuscore.explain.select.Budget`; one of the three.
        policy, drop_copies, drop_contradicted, seed: see `iuscore.explain.select.choose`.
        link: new or empty folder for hard links to the images, in sub-folders by class; copies where that cannot be.
        parquet: new file for the chosen rows of the scores, joined with those of the values.
        shards: new or empty folder for WebDataset archives of the chosen images, byte for byte.
        shard_size: samples in an archive.
        images: where the images are now, for ``link`` and ``shards``. model: where the model is now.
        max_pixels: as it was given to the run.
        predicted: whether to predict the gain over random and confident images; needs the reference in the model.
        overwrite: replace an earlier selection in ``to``.
        progress: receives progress; None: no progress is reported.

    Raises:
        UserError: more images wanted than there are, something missing that the policy needs, images that are gone or
            have changed, or a file that is there already.

    Example:
        >>> import tempfile, iuscore
        >>> from iuscore import demo
        >>> from iuscore.engine import score_source
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     scorer = iuscore.load(demo.tiny_model(folder))
        ...     _ = score_source(scorer, f"{folder}/real/test", f"{folder}/scores")
        ...     best = select_images(f"{folder}/scores", f"{folder}/best", count=2, policy="ius", predicted=False)
        ...     sorted(uid.split("/")[0] for uid in best.uids)
        ['abnormal', 'normal']
    """
    asked = Asked(Path(out), Path(to), policy, seed, model, progress or Progress())
    budget = Budget(count, fraction, per_class)
    _check(asked, shard_size)
    _require_free(asked.to, overwrite)
    for option, new in (("link", link), ("shards", shards)):
        if new is not None:
            require_new_folder(option, Path(new))
    if parquet is not None and os.path.lexists(parquet):
        raise UserError(f"parquet: {parquet} is there already, and no file is overwritten: give another")
    columns = read_columns(asked.out, asked.progress)
    for option, new in (("link", link), ("shards", shards)):
        if new is not None:
            require_files(option, columns, None if images is None else Path(images))
    selecting = Selecting(asked, columns)
    if model is not None:
        _ = selecting.scorer  # a wrong one is refused, even if nothing needs it
    choice = selecting.choose(budget, drop_copies, drop_contradicted)
    selection = selecting.record(budget, choice, predicted)
    found = None
    if link is not None or shards is not None:
        where = None if images is None else Path(images)
        found = ChosenImages(columns, choice.places, selecting.scorer, where, max_pixels)
    links, copies, archives = 0, 0, 0
    with output_folder(asked.to):
        if overwrite:
            (asked.to / Selection.NAME).unlink(missing_ok=True)
        selection = selecting.write_lists(selection, choice)
        if parquet is not None:
            Path(parquet).parent.mkdir(parents=True, exist_ok=True)
            write_rows(Path(parquet), columns, choice.places)
        if link is not None and found is not None:
            links, copies = link_images(Path(link), found, asked.progress)
        if shards is not None and found is not None:
            from iuscore.engine.selected_shards import write_shards

            archives = write_shards(Path(shards), found, shard_size, asked.progress)
        write_json(asked.to / Selection.NAME, selection.to_json())
    return Selected(selection, asked.to, links, copies, archives)


def _check(asked: Asked, shard_size: int) -> None:
    if asked.policy not in POLICIES:
        raise UserError(f"policy: expected one of {', '.join(POLICIES)}, got {bounded(asked.policy)}")
    for name, value, least, most in (("seed", asked.seed, 0, 2**32 - 1), ("shard_size", shard_size, 1, 10**6)):
        if type(value) is not int or not least <= value <= most:
            raise UserError(f"{name}: expected a whole number from {least} to {most}, got {bounded(value)}")
    if not os.fspath(asked.to):
        raise UserError("to: expected a folder, got an empty text")


def _require_free(to: Path, overwrite: bool) -> None:
    """Raise unless the files of a selection can be written into ``to``."""
    if to.exists() and not to.is_dir():
        raise UserError(f"{to} is a file: give a folder to write the selection to")
    present = [name for name in NAMES if os.path.lexists(to / name)]
    for name in present:
        if (actual := not_a_file(to / name)) is not None:
            raise UserError(f"{to / name}: expected a file, got {actual}: move it away, or give another folder")
    if present and not overwrite:
        raise UserError(f"{to} already holds {present[0]}: use --overwrite or another folder")
    if present and not _is_selection(to / Selection.NAME):
        raise UserError(
            f"{to / present[0]} is not of a selection of iuscore, and would be replaced: give another folder, or move "
            "it away"
        )


def _is_selection(path: Path) -> bool:
    try:
        Selection.from_json(read_json(path))
        return True
    except (OSError, ValueError, AttributeError):
        return False


def read_selection(folder: str | os.PathLike[str]) -> Selection:
    """Read the record of a selection.

    Args:
        folder: that `select_images` wrote to.

    Raises:
        UserError: there is none, or it is damaged or of a newer version.
    """
    path = Path(folder) / Selection.NAME
    try:
        return Selection.from_json(read_json(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give the --out folder of a selection") from None
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path}: {error}; run 'iuscore select' again") from None
