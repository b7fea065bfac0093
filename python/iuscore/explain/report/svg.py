"""Draws figures as SVG without a font, a script or a style of its own: classes say what a mark is (``figures.css``)."""

from __future__ import annotations

import math
from pathlib import Path

from markupsafe import Markup, escape

from iuscore.explain.report.figures import DotFigure, Figure, HistogramFigure, Panel, Row, description
from iuscore.explain.report.records import ScoreReference
from iuscore.explain.report.text import known, number, shortened, shown, width

STYLE = Path(__file__).with_name("templates") / "figures.css"

WIDTH = 360
"""Units of the figures, near pixels: wide enough for a phone, so that text is not made smaller there."""

_LEFT, _RIGHT = 14.0, WIDTH - 14.0
_FONT = 12.0
_ROW, _TRACK = 40.0, 26.0
_PANEL, _BARS = 118.0, 62.0


def draw(figure: Figure, *, standalone: bool = False) -> Markup:
    """The figure as one ``<svg>`` element.

    Args:
        figure: what to draw.
        standalone: with title, legend, style and name space, as a file of its own needs them.
    """
    parts = _dots(figure) if isinstance(figure, DotFigure) else _histograms(figure)
    body, height = parts
    if not standalone:
        template = Markup('<svg class="figure" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
        return template.format(WIDTH, _n(height), shown(description(figure)), body)
    lines = legend(figure)
    top, bottom = 30.0, 18.0 * len(lines) + 8
    texts = Markup("").join(
        Markup('<g transform="translate({} {})">{}</g>{}').format(
            _n(_LEFT + 6), _n(top + height + 10 + 18 * place), mark,
            _text(_LEFT + 20, top + height + 14 + 18 * place, words),
        )
        for place, (mark, words) in enumerate((_mark(kind), words) for kind, words in lines)
    )  # fmt: skip
    template = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="figure" width="{}" height="{}" viewBox="0 0 {} {}" role="img">'
        '<title>{}</title><style>{}</style><rect class="paper" width="100%" height="100%"/>{}'
        '<g transform="translate(0 {})">{}</g>{}</svg>\n'
    )
    total = _n(top + height + bottom)
    title = _text(_LEFT, 20, shortened(figure.title, (WIDTH - 28) / 16), "title")
    style = Markup(STYLE.read_text(encoding="utf-8"))
    return template.format(WIDTH, total, WIDTH, total, shown(description(figure)), style, title, _n(top), body, texts)


def legend(figure: Figure) -> list[tuple[str, str]]:
    """(kind of mark, its meaning) of the marks that the figure shows."""
    if isinstance(figure, HistogramFigure):
        found = [("bar", "images of the set")]
        if any(panel.ceiling for panel in figure.panels):
            found.append(("real", figure.ceiling_name))
        if any(panel.floor for panel in figure.panels):
            found.append(("shuffled", figure.floor_name))
        return found
    found = []
    if any(row.sure for row in figure.rows):
        found.append(("dot", figure.filled))
    if not all(row.sure for row in figure.rows):
        found.append(("hollow", figure.hollow))
    for kind, words in (
        ("real", "real against real"),
        ("swapped", "half of the labels swapped"),
        ("shuffled", "shuffled labels"),
    ):
        if any(known(getattr(row, kind)) is not None for row in figure.rows):
            found.append((kind, words))
    return found


def legend_mark(kind: str) -> Markup:
    """The mark alone, 14 pixels wide, for the text beside a figure."""
    template = '<svg class="mark" viewBox="-7 -7 14 14" width="14" height="14" aria-hidden="true">{}</svg>'
    return Markup(template).format(_mark(kind))


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round values at equal steps, from at or below ``low`` to at or above ``high``.

    Example:
        >>> ticks(-0.13, 1.0), ticks(0.5, 1.0)
        ([-0.5, 0.0, 0.5, 1.0], [0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    """
    span = high - low
    if not span > 0:
        return [low - 0.5, low, low + 0.5]
    power = 10.0 ** math.floor(math.log10(span / most))
    for step in (power, 2 * power, 5 * power, 10 * power, 20 * power):
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first < most:
            break
    return [round(place * step, 12) + 0.0 for place in range(first, last + 1)]


class _Axis:
    """A linear axis over ticks, between the left and the right margin."""

    def __init__(self, low: float, high: float) -> None:
        self.ticks = ticks(low, high)
        self.low, self.high = self.ticks[0], self.ticks[-1]

    def at(self, value: float) -> float:
        """Place of a value, kept between the ends."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return _LEFT + share * (_RIGHT - _LEFT)

    def crossings(self, y: float, line: float | None = None) -> Markup:
        """Short grid lines across a track, which leave the words above it free, and a longer one at ``line``."""
        grid = Markup("").join(_line("grid", self.at(tick), y - 8, self.at(tick), y + 8) for tick in self.ticks)
        if line is None or not self.low <= line <= self.high:
            return grid
        return grid + _line("zero", self.at(line), y - 9, self.at(line), y + 9)

    def names(self, bottom: float, words: str) -> Markup:
        digits = max(0, min(3, -math.floor(math.log10(self.ticks[1] - self.ticks[0]) + 1e-9)))
        names = Markup("").join(_tick(self.at(tick), bottom + 14, number(tick, digits)) for tick in self.ticks)
        return names + _text(_LEFT, bottom + 31, shortened(words, (WIDTH - 28) / 11), "axis")


def _dots(figure: DotFigure) -> tuple[Markup, float]:
    axis = _Axis(*figure.ends)
    bottom = _ROW * len(figure.rows) + 2
    rows = [_row(axis, row, place * _ROW, figure.line) for place, row in enumerate(figure.rows)]
    return Markup("").join([*rows, axis.names(bottom, figure.axis)]), bottom + 38


def _row(axis: _Axis, row: Row, top: float, line: float | None) -> Markup:
    y = top + _TRACK + 2
    said = _text(_RIGHT, top + 14, row.said, "said")
    room = (_RIGHT - _LEFT) / _FONT - 1.12 * width(row.said) - 0.6
    parts = [_text(_LEFT, top + 14, shortened(row.label, room)), said, axis.crossings(y, line)]
    parts.append(_line("track", _LEFT, y, _RIGHT, y))
    if (real := known(row.real)) is not None:
        if (sd := known(row.real_sd)) is not None:
            start, stop = axis.at(real - sd), axis.at(real + sd)
            band = Markup('<rect class="band" x="{}" y="{}" width="{}" height="10"/>')
            parts.append(band.format(_n(start), _n(y - 5), _n(max(stop - start, 0.5))))
        parts.append(_placed("real", axis.at(real), y))
    beside = (("swapped", known(row.swapped)), ("shuffled", known(row.shuffled)))
    parts += [_placed(kind, axis.at(value), y) for kind, value in beside if value is not None]
    if (value := known(row.value)) is not None:
        if (low := known(row.low)) is not None and (high := known(row.high)) is not None:
            parts.append(_whisker(axis.at(low), axis.at(high), y))
        parts.append(_point(axis, value, y, "dot" if row.sure else "hollow"))
    return Markup("").join(parts)


def _point(axis: _Axis, value: float, y: float, kind: str) -> Markup:
    if axis.low <= value <= axis.high:
        return _placed(kind, axis.at(value), y)
    return _placed("beyond-right" if value > axis.high else "beyond-left", axis.at(value), y)


def _whisker(low: float, high: float, y: float, kind: str = "whisker") -> Markup:
    ends = Markup("").join(_line(kind, x, y - 4, x, y + 4) for x in (low, high))
    return _line(kind, low, y, high, y) + ends


def _histograms(figure: HistogramFigure) -> tuple[Markup, float]:
    axis = _Axis(figure.low, figure.high)
    bottom = _PANEL * len(figure.panels)
    panels = [_panel(axis, figure, panel, place * _PANEL) for place, panel in enumerate(figure.panels)]
    return Markup("").join([*panels, axis.names(bottom, figure.axis)]), bottom + 38


def _panel(axis: _Axis, figure: HistogramFigure, panel: Panel, top: float) -> Markup:
    base, step = top + 20 + _BARS, (figure.high - figure.low) / len(panel.counts)
    most = max(*panel.counts, 1)
    bars = Markup("").join(
        Markup('<rect class="bar" x="{}" y="{}" width="{}" height="{}"/>').format(
            _n(axis.at(figure.low + place * step) + 0.5), _n(base - _BARS * n / most),
            _n(axis.at(figure.low + (place + 1) * step) - axis.at(figure.low + place * step) - 1), _n(_BARS * n / most),
        )
        for place, n in enumerate(panel.counts)
        if n
    )  # fmt: skip
    parts = [_text(_LEFT, top + 14, shortened(panel.label, (_RIGHT - _LEFT) / _FONT)), bars]
    parts += [_line("track", _LEFT, base, _RIGHT, base)]
    parts += [_line("grid", axis.at(tick), base, axis.at(tick), base + 30) for tick in axis.ticks]
    parts += [_reference(axis, panel.ceiling, base + 12, "real"), _reference(axis, panel.floor, base + 25, "shuffled")]
    return Markup("").join(parts)


def _reference(axis: _Axis, reference: ScoreReference | None, y: float, kind: str) -> Markup:
    if reference is None or known(reference.mean) is None:
        return Markup("")
    drawn = _placed(kind, axis.at(reference.mean), y)
    if (low := known(reference.low)) is not None and (high := known(reference.high)) is not None:
        drawn = _whisker(axis.at(low), axis.at(high), y, f"of-{kind}") + drawn
    return drawn


_MARKS = {
    "dot": '<circle class="dot" r="5"/>',
    "hollow": '<circle class="hollow" r="4.5"/>',
    "real": '<path class="real" d="M0-6.5 6.5 0 0 6.5-6.5 0Z"/>',
    "swapped": '<rect class="swapped" x="-4" y="-4" width="8" height="8"/>',
    "shuffled": '<path class="shuffled" d="M-4-4 4 4M-4 4 4-4"/>',
    "bar": '<rect class="bar" x="-5" y="-5" width="10" height="10"/>',
    "beyond-right": '<path class="dot" d="M-7-6 3 0-7 6Z"/>',
    "beyond-left": '<path class="dot" d="M7-6-3 0 7 6Z"/>',
}
"""Each kind has a shape of its own, so that no color is needed to tell them apart."""


def _mark(kind: str) -> Markup:
    return Markup(_MARKS[kind])


def _placed(kind: str, x: float, y: float) -> Markup:
    return Markup('<g transform="translate({} {})">{}</g>').format(_n(x), _n(y), _mark(kind))


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    template = Markup('<path class="{}" d="M{} {}L{} {}"/>')
    return template.format(kind, _n(x1), _n(y1), _n(x2), _n(y2))


def _text(x: float, y: float, words: str, kind: str = "label") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(kind, _n(x), _n(y), escape(shown(words)))


def _tick(x: float, y: float, words: str) -> Markup:
    kind = "tick first" if x <= _LEFT + 1 else "tick last" if x >= _RIGHT - 1 else "tick"
    return _text(x, y, words, kind)


def _n(value: float) -> str:
    """A coordinate with at most two decimals."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
