"""Draws the figures of a report with matplotlib: the same marks as in `svg`, as PNG."""

from __future__ import annotations

from typing import Any, BinaryIO

from iuscore.explain.plot import fonts_for, new_figure, plain
from iuscore.explain.report.figures import DotFigure, Figure, HistogramFigure, Row
from iuscore.explain.report.records import ScoreReference
from iuscore.explain.report.svg import legend, ticks
from iuscore.explain.report.text import known, shown

_SET, _REAL, _OTHER, _LINE = "#0b5394", "#a34700", "#57606a", "#c9ced4"
_MARKS: dict[str, dict[str, Any]] = {
    "dot": {"marker": "o", "color": _SET},
    "hollow": {"marker": "o", "markerfacecolor": "white", "markeredgecolor": _SET, "color": _SET},
    "real": {"marker": "D", "markerfacecolor": "none", "markeredgecolor": _REAL, "color": _REAL, "markersize": 9},
    "swapped": {"marker": "s", "markerfacecolor": "none", "markeredgecolor": _OTHER, "color": _OTHER},
    "shuffled": {"marker": "x", "color": _OTHER},
    "bar": {"marker": "s", "color": _SET},
}


def write(figure: Figure, file: BinaryIO) -> None:
    """Write one figure as PNG.

    Raises:
        UserError: matplotlib is missing.
    """
    rows = len(figure.rows) if isinstance(figure, DotFigure) else 2.6 * len(figure.panels)
    drawn = new_figure(7.0, 1.7 + 0.42 * rows)
    with fonts_for([shown(name) for name in _names(figure)]):
        if isinstance(figure, DotFigure):
            axis = drawn.subplots()
            _dots(axis, figure)
        else:
            axes = drawn.subplots(len(figure.panels), 1, sharex=True, squeeze=False)[:, 0]
            _histograms(axes, figure)
        drawn.suptitle(_plain(figure.title), fontsize=11, x=0.01, ha="left")
        handles = [_handle(kind, words) for kind, words in legend(figure)]
        drawn.legend(handles=handles, loc="outside lower left", fontsize=8, frameon=False, ncols=2)
        drawn.savefig(file, format="png", metadata={"Software": "iuscore"})


def _names(figure: Figure) -> list[str]:
    labels = [row.label for row in figure.rows] if isinstance(figure, DotFigure) else [p.label for p in figure.panels]
    return [figure.title, *labels, *(words for _, words in legend(figure))]


def _plain(words: str) -> str:
    return plain(shown(words))


def _handle(kind: str, words: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="none", label=_plain(words), **_MARKS[kind])


def _dots(axis: Any, figure: DotFigure) -> None:
    marked = ticks(*figure.ends)
    axis.set_xticks(marked)
    axis.set_xlim(marked[0], marked[-1])
    if figure.line is not None:
        axis.axvline(figure.line, color="black", linestyle="--", linewidth=0.8)
    for place, row in enumerate(figure.rows):
        _row(axis, row, place, (marked[0], marked[-1]))
    places = range(len(figure.rows))
    axis.set_yticks(places, [_plain(row.label) for row in figure.rows], fontsize=8)
    right = axis.twinx()
    right.set_yticks(places, [_plain(row.said) for row in figure.rows], fontsize=8)
    for each in (axis, right):
        each.set_ylim(len(figure.rows) - 0.5, -0.5)
        each.tick_params(axis="y", length=0, pad=9)
        each.spines[["top", "right", "left"]].set_visible(False)
    axis.grid(axis="x", color=_LINE, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.set_xlabel(_plain(figure.axis), fontsize=9)


def _row(axis: Any, row: Row, place: int, ends: tuple[float, float]) -> None:
    real, sd = known(row.real), known(row.real_sd)
    if real is not None and sd is not None:
        axis.barh(place, 2 * sd, left=real - sd, height=0.3, color=_REAL, alpha=0.28)
    for kind, value in (("real", row.real), ("swapped", row.swapped), ("shuffled", row.shuffled)):
        if known(value) is not None:
            axis.plot([value], [place], clip_on=False, **_MARKS[kind])
    value, low, high = known(row.value), known(row.low), known(row.high)
    if value is None:
        return
    if low is not None and high is not None:
        axis.plot([low, high], [place, place], color=_SET, linewidth=1.6, marker="|", markersize=7)
    mark = _MARKS["dot" if row.sure else "hollow"]
    if value < ends[0] or value > ends[1]:
        mark = {"marker": "<" if value < ends[0] else ">", "color": _SET}
    axis.plot([min(max(value, ends[0]), ends[1])], [place], clip_on=False, zorder=3, **mark)


def _histograms(axes: Any, figure: HistogramFigure) -> None:
    for axis, panel in zip(axes, figure.panels, strict=True):
        step = (figure.high - figure.low) / len(panel.counts)
        starts = [figure.low + place * step for place in range(len(panel.counts))]
        axis.bar(starts, panel.counts, 0.92 * step, align="edge", color=_SET)
        most = max(*panel.counts, 1)
        _reference(axis, panel.ceiling, -0.16 * most, "real")
        _reference(axis, panel.floor, -0.34 * most, "shuffled")
        axis.set_ylim(-0.48 * most, 1.05 * most)
        axis.set_xlim(figure.low, figure.high)
        axis.axhline(0, color="black", linewidth=0.8)
        axis.set_yticks([])
        axis.set_title(_plain(panel.label), fontsize=9, loc="left")
        axis.spines[["top", "right", "left"]].set_visible(False)
    axes[-1].set_xlabel(_plain(figure.axis), fontsize=9)


def _reference(axis: Any, reference: ScoreReference | None, y: float, kind: str) -> None:
    if reference is None or known(reference.mean) is None:
        return
    if known(reference.low) is not None and known(reference.high) is not None:
        axis.plot([reference.low, reference.high], [y, y], color=_MARKS[kind]["color"], marker="|")
    axis.plot([reference.mean], [y], **_MARKS[kind])
