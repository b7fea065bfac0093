"""The figures of a report as files, for papers and slides."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from iuscore._run.files import atomic_write, disk_errors_as_user_errors
from iuscore.explain.compare.records import Comparison
from iuscore.explain.report import png, svg
from iuscore.explain.report.figures import all_figures
from iuscore.explain.report.records import ScoreHistogram

_MOST_ROWS = 12

_log = logging.getLogger(__name__)


def write_figures(
    folder: str | os.PathLike[str], comparison: Comparison, *, score_histograms: Sequence[ScoreHistogram] = ()
) -> list[Path]:
    """Write the figures of a report as SVG and, where matplotlib is installed, as PNG.

    The names say what a figure shows: ``ranking``, ``pairs``, ``set-1-transfer``, ``scores-ius-1`` and so on, with
    sets and classes numbered in the order of the comparison. Files with these names are replaced. Without matplotlib
    only SVG is written, and a warning is logged.

    Args:
        folder: where to; made if it is not there.
        comparison: what the figures show.
        score_histograms: distributions of scores.

    Returns:
        The files written.

    Raises:
        UserError: a file cannot be written.
    """
    target = Path(folder)
    written = []
    with_png = importlib.util.find_spec("matplotlib") is not None
    if not with_png:
        _log.warning("figures are written as SVG alone: PNG needs the extra: pip install -c constraints.txt '.[plot]'")
    with disk_errors_as_user_errors(lambda error: f"{target}: cannot write the figures: {error.strerror}"):
        target.mkdir(parents=True, exist_ok=True)
        for figure in all_figures(comparison, score_histograms, _MOST_ROWS):
            path = target / f"{figure.name}.svg"
            with atomic_write(path) as file:
                file.write(svg.draw(figure, standalone=True).encode("utf-8"))
            written.append(path)
            if with_png:
                path = target / f"{figure.name}.png"
                with atomic_write(path) as file:
                    png.write(figure, file)
                written.append(path)
    return written
