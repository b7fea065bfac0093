"""Demonstration on phantoms, from drawing to explained scores. Phantoms are no evidence about clinical images."""

from __future__ import annotations

import math
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from iuscore import phantoms
from iuscore.engine import COPIES
from iuscore.features import nearest_ratio
from iuscore.fit import EPUOptions, TextureOptions, TrainingOptions, fit, open_splits
from iuscore.fit.training import threads
from iuscore.models import ModelRecord
from iuscore.progress import Progress
from iuscore.scoring import Explanation, Scorer, load

CLASSES = ("normal", "abnormal")
TARGET: phantoms.Label = "abnormal"
IMAGES_PER_SET = 100
KIND: phantoms.Kind = "endoscopy"
DEFECTIVE_SETS = {
    "blurred": "blur",
    "texture lost": "texture_loss",
    "color cast": "color_cast",
    "wrong lesion contrast": "lesion_contrast",
    "three pictures repeated": "mode_collapse",
}
"""Name of a set -> the field of `iuscore.phantoms.Defects` that is set to 1."""


@dataclass(frozen=True)
class DemoScore:
    """Mean IUS of a set by one model, with its explanation; ``diversity`` as in `iuscore.features.nearest_ratio`."""

    ius: float
    why: Explanation
    diversity: float | None = None


@dataclass(frozen=True)
class DemoRow:
    """One set: its name, its scores by both models, and the components that its defect changes (None: faithful)."""

    name: str
    epu: DemoScore
    texture: DemoScore
    drawn_to_hit: phantoms.Target | None


@dataclass(frozen=True)
class DemoModel:
    """Validation AUROC of a model, and mean IUS of held-out "real" phantoms of the class and of the other class."""

    auroc: float
    ceiling: float
    floor: float


@dataclass(frozen=True)
class DemoResult:
    """The result of a demo: one row per set, the faithful set first, and both models."""

    rows: tuple[DemoRow, ...]
    epu: DemoModel
    texture: DemoModel


def run_demo(out: str | Path | None = None, *, seed: int = 0, progress: Progress | None = None) -> DemoResult:
    """Draw phantoms, fit small models of both kinds, and score a faithful and five defective "generated" sets.

    Args:
        out: folder to keep phantoms and models in; None: a temporary folder.
        seed: seed of drawing and training.
        progress: receives lines and progress; None: nothing is reported.

    Returns:
        `DemoResult`.
    """
    progress = progress or Progress()
    place = tempfile.TemporaryDirectory(prefix="iuscore-demo-") if out is None else nullcontext(str(out))
    with place as folder, threads(1):  # models are so small that more threads wait for each other
        root = Path(folder)
        progress.line("phantoms are drawings for trying the library out, not evidence about any clinical image")
        phantoms.write(root / "real", KIND, n_per_class=240, size=64, seed=seed)
        splits = open_splits(root / "real")
        common: dict[str, Any] = {"classes": CLASSES, "seed": seed, "progress": progress}
        progress.line("texture: named statistics of color and texture")
        texture = fit(splits, root / "texture", model="texture", model_options=TextureOptions(size=(64, 64)), **common)
        progress.line("epu: the published model, small")
        epu = fit(
            splits,
            root / "epu",
            model_options=EPUOptions(size=(64, 64), base_channels=8, hidden_units=16),
            training=TrainingOptions(epochs=15, learning_rate=1e-2, batch_size=16),
            **common,
        )
        scorers = load(epu.folder), load(texture.folder)
        sets = {"faithful": None, **DEFECTIVE_SETS}
        rows = [_row(*scorers, name, defect, seed + 1) for name, defect in sets.items()]
    return DemoResult(tuple(rows), _model(epu.record), _model(texture.record))


def _model(record: ModelRecord) -> DemoModel:
    auroc = record.validation.auroc if record.validation else None
    ceiling, floor = record.ceiling["paper"][TARGET].mean, record.floor["paper"][TARGET].mean
    return DemoModel(math.nan if auroc is None else auroc, ceiling, floor)


def _row(epu: Scorer, texture: Scorer, name: str, defect: str | None, seed: int) -> DemoRow:
    defects = phantoms.Defects(**({defect: 1.0} if defect else {}))
    images = phantoms.draw(KIND, TARGET, IMAGES_PER_SET, size=64, seed=seed, defects=defects)
    target = phantoms.DEFECT_TARGETS[KIND][defect] if defect else None
    return DemoRow(name, _score(epu, images), _score(texture, images), target)


def _score(scorer: Scorer, images: npt.NDArray[np.uint8]) -> DemoScore:
    scores = scorer(images, target=TARGET)
    contributions, shares = scores.contributions.numpy(), scores.shares.numpy()
    mean = float(np.mean(scores.ius.numpy()))
    if scores.features is None:
        return DemoScore(mean, scorer.explained(TARGET, contributions, shares))
    values = scores.features.numpy()
    nearest = nearest_ratio(scorer.feature_profiles[TARGET], values, scorer.model.features)
    return DemoScore(mean, scorer.explained(TARGET, contributions, shares, values.mean(axis=0)), nearest)


def table_lines(result: DemoResult) -> list[str]:
    """The demo's table, ready to print."""
    lines = [""]
    for name, model in (("epu", result.epu), ("texture", result.texture)):
        lines.append(
            f"{name}: validation AUROC {model.auroc:.2f}; real {TARGET} phantoms reach an IUS of {model.ceiling:.2f} "
            f"(ceiling), real normal ones {model.floor:.2f} (floor)"
        )
    columns = f"{'what changed most':<27}{'what matters most':<23}the defect hits"
    lines += ["", f"{'':<24}{'IUS':>6}{'IUS':>9}   texture model:"]
    lines.append(f"{'generated set':<24}{'epu':>6}{'texture':>9}   {columns}")
    for row in result.rows:
        hit = " or ".join(row.drawn_to_hit.components) if row.drawn_to_hit else ""
        lines.append(
            f"{row.name:<24}{row.epu.ius:>6.2f}{row.texture.ius:>9.2f}   {_changed(row.texture):<27}"
            f"{_matters(row.texture):<23}{hit or '-'}"
        )
    best = max(result.rows, key=lambda row: row.texture.ius)
    faithful, *defective = result.rows
    missed = ", ".join(row.name for row in defective if row.epu.ius >= faithful.epu.ius)
    missed_line = [f"not noticed by this small epu model: {missed}"] if missed else []
    return [*lines, "", *missed_line, f"most useful: {best.name}"]


def _changed(score: DemoScore) -> str:
    change = score.why.most_changed
    if score.diversity is not None and score.diversity < COPIES:
        return "near copies of each other"
    return f"{change.name}, {change.moved:.1f} sd" if change else "unknown"


def _matters(score: DemoScore) -> str:
    matters = score.why.matters_most
    return f"{matters.name}, {matters.difference:+.1f}" if matters else "unknown"


def tiny_model(folder: str | Path) -> Path:
    """Fit a model in about a second to try the library out; the model is too small to be useful.

    Args:
        folder: folder to write to: phantoms in its sub-folder ``real``, the model in ``model``.

    Returns:
        The model folder: a gray model of 16x16 maps with classes normal and abnormal.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tiny_model(folder).name
        'model'
    """
    root = Path(folder)
    phantoms.write(root / "real", "radiograph", n_per_class=10, size=32)
    options = EPUOptions(size=(16, 16), base_channels=2, hidden_units=4)
    return fit(
        open_splits(root / "real"),
        root / "model",
        classes=CLASSES,
        model_options=options,
        training=TrainingOptions(epochs=1),
    ).folder
