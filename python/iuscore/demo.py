"""A run from nothing to an explanation, on phantoms: drawings, not evidence about any clinical image."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from iuscore import phantoms
from iuscore.fit import EPUOptions, fit
from iuscore.fit.splits import open_splits
from iuscore.fit.training import TrainingOptions
from iuscore.report import Report
from iuscore.score import Scorer, load
from iuscore.score.explain import Explanation, explain_contributions

CLASSES = ("normal", "abnormal")
TARGET: phantoms.Label = "abnormal"
IMAGES_PER_SET = 100
KIND: phantoms.Kind = "endoscopy"
DEFECTIVE_SETS = {"blurred": "blur", "texture lost": "texture_loss", "wrong lesion contrast": "lesion_contrast"}
"""Name of a set -> the dial of `iuscore.phantoms.Defects` that is turned up to 1."""


@dataclass(frozen=True)
class DemoRow:
    """One scored set: its name, mean IUS, why, and the components that its defect is drawn to hit (none: faithful)."""

    name: str
    ius: float
    why: Explanation
    drawn_to_hit: tuple[str, ...]


@dataclass(frozen=True)
class DemoResult:
    """Rows of a demo, the faithful set first, with the ceiling and floor of real phantoms."""

    rows: tuple[DemoRow, ...]
    ceiling: float
    floor: float
    auroc: float


def run_demo(out: str | Path | None = None, *, seed: int = 0, report: Report | None = None) -> DemoResult:
    """Draw phantoms, fit a small model on the "real" ones, and score a faithful and three defective "generated" sets.

    Args:
        out: folder to keep phantoms and model in; a temporary one when None.
        seed: of drawing and training.
        report: hears lines and progress.

    Returns:
        `DemoResult`.
    """
    report = report or Report()
    place = tempfile.TemporaryDirectory(prefix="iuscore-demo-") if out is None else nullcontext(str(out))
    with place as folder, _one_thread():
        root = Path(folder)
        report.line("phantoms are phantoms: drawings for trying things out, not evidence about any clinical image")
        phantoms.write(root / "real", KIND, n_per_class=240, size=64, seed=seed)
        fitted = fit(
            open_splits(root / "real"),
            root / "model",
            classes=CLASSES,
            model_options=EPUOptions(size=(64, 64), base_channels=8, hidden_units=16),
            training=TrainingOptions(epochs=15, learning_rate=1e-2, batch_size=16),
            seed=seed,
            report=report,
        )
        scorer = load(root / "model")
        rows = [_row(scorer, "faithful", None, seed + 1)]
        rows += [_row(scorer, name, dial, seed + 1) for name, dial in DEFECTIVE_SETS.items()]
    record: Mapping[str, Any] = fitted.record
    return DemoResult(
        rows=tuple(rows),
        ceiling=record["ceiling"]["paper"][TARGET]["mean"],
        floor=record["floor"]["paper"][TARGET]["mean"],
        auroc=record["validation"]["auroc"],
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """A model this small gains nothing from a second thread, and on a busy machine waits for it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _row(scorer: Scorer, name: str, dial: str | None, seed: int) -> DemoRow:
    defects = phantoms.Defects(**({dial: 1.0} if dial else {}))
    images = phantoms.draw(KIND, TARGET, IMAGES_PER_SET, size=64, seed=seed, defects=defects)
    scores = scorer(images, target=TARGET)
    why = explain_contributions(
        scorer.profiles[TARGET],
        scores.contributions.numpy(),
        scores.shares.numpy(),
        target=TARGET,
        components=scorer.components,
    )
    hit = phantoms.DEFECT_TARGETS[KIND][dial].components if dial else ()
    return DemoRow(name, float(np.mean(scores.ius.numpy())), why, hit)


def table_lines(result: DemoResult) -> list[str]:
    """The demo's table, ready to print."""
    lines = [
        "",
        f"validation AUROC {result.auroc:.2f}; real {TARGET} phantoms reach an IUS of {result.ceiling:.2f} (ceiling), "
        f"real normal ones {result.floor:.2f} (floor)",
        "",
        f"{'generated set':<24}{'IUS':>6}   {'farthest from the real class':<30}the defect is drawn to hit",
    ]
    for row in result.rows:
        named = row.why.most_shifted
        shift = next((c.shift for c in row.why.components if c.name == named), None)
        reason = f"{named} ({shift:+.1f} sd)" if named and shift is not None else "unknown"
        lines.append(f"{row.name:<24}{row.ius:>6.2f}   {reason:<30}{' or '.join(row.drawn_to_hit) or '-'}")
    best = max(result.rows, key=lambda row: row.ius)
    return [*lines, "", f"most useful: {best.name}"]


def tiny_model(folder: str | Path) -> Path:
    """Fit a model too small to be of use, in about a second, for trying the library out.

    Args:
        folder: where to work; the model is in its sub-folder ``model``.

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
