"""What the figures of a report show, as plain data: `svg` and `png` draw it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from iuscore.explain.compare.records import ComparedSet, Comparison, Gain, Pair
from iuscore.explain.report.records import RANGES, Score, ScoreHistogram, ScoreReference
from iuscore.explain.report.text import count, known, number, plural, with_interval
from iuscore.explain.value.records import Measure

VIEWS = {"texture": "Named features", "patch": "Small patterns", "thumb": "Light and shade"}
"""View -> its name for readers."""

_LEARNERS = {"lda": "Linear", "neighbors": "Neighbors", "trees": "Trees"}

_FARTHEST = 12.0
"""Spreads at which an axis ends: one feature a thousand spreads away must not hide the others."""


@dataclass(frozen=True)
class Row:
    """One number of a `DotFigure`, with what stands beside it.

    Attributes:
        label: its name. said: the number in words.
        value: the dot. low, high: ends of its whisker.
        real, real_sd: the number for real images against real ones, and its standard deviation.
        swapped, shuffled: for half of the labels exchanged, and for all labels in random order.
        sure: whether the dot is filled: it can be told from nothing.
    """

    label: str
    said: str
    value: float | None
    low: float | None = None
    high: float | None = None
    real: float | None = None
    real_sd: float | None = None
    swapped: float | None = None
    shuffled: float | None = None
    sure: bool = True


@dataclass(frozen=True)
class DotFigure:
    """Numbers as dots with whiskers, one below the other on one axis.

    Attributes:
        name: of the file, without its extension. title, axis: words above the figure, and below its axis.
        rows: from top to bottom.
        low, high: values that the axis shows at least; it grows to hold the rows, up to ``limits``.
        line: value of a dashed line; None for no line.
        filled, hollow: what a filled and a hollow dot mean.
        limits: where the axis ends at the latest; an arrow stands for what lies beyond.
    """

    name: str
    title: str
    axis: str
    rows: tuple[Row, ...]
    low: float
    high: float
    line: float | None = None
    filled: str = "set, with 95 % interval"
    hollow: str = ""
    limits: tuple[float, float] = (-1e9, 1e9)

    @property
    def ends(self) -> tuple[float, float]:
        """Smallest and largest value to show, within ``limits``."""
        values = [self.low, self.high]
        for row in self.rows:
            real_low = None if row.real is None or row.real_sd is None else row.real - row.real_sd
            real_high = None if row.real is None or row.real_sd is None else row.real + row.real_sd
            found = (row.value, row.low, row.high, row.real, real_low, real_high, row.swapped, row.shuffled)
            values += [value for value in map(known, found) if value is not None]
        return max(min(values), self.limits[0]), min(max(values), self.limits[1])


@dataclass(frozen=True)
class Panel:
    """The scores of one set: shares of its images in bins of equal width."""

    label: str
    counts: tuple[int, ...]
    ceiling: ScoreReference | None
    floor: ScoreReference | None


@dataclass(frozen=True)
class HistogramFigure:
    """Distributions of one score for images of one class, one set below the other, on one axis."""

    name: str
    title: str
    axis: str
    panels: tuple[Panel, ...]
    low: float
    high: float
    ceiling_name: str
    floor_name: str


Figure = DotFigure | HistogramFigure


def of_measure(label: str, measure: Measure, digits: int = 2, **changes: bool) -> Row:
    """A `Measure` as a row."""
    said = with_interval(measure.value, measure.low, measure.high, digits)
    fields = (measure.low, measure.high, measure.real, measure.real_sd, measure.swapped, measure.shuffled)
    return Row(label, said, measure.value, *fields, **changes)


def learner_name(name: str) -> str:
    """A small learner in words.

    Example:
        >>> learner_name("neighbors thumb"), learner_name("my_network")
        ('Neighbors, light and shade', 'my_network')
    """
    kind, _, view = name.partition(" ")
    if kind not in _LEARNERS or view not in VIEWS:
        return name
    return f"{_LEARNERS[kind]}, {VIEWS[view].lower()}"


def ranking(comparison: Comparison) -> DotFigure:
    """Transfer of every set on one axis."""
    rows = tuple(of_measure(f"{each.place}. {each.name}", each.value.transfer) for each in comparison.sets)
    title = "How useful each set is"
    return DotFigure(
        "ranking", title, "transfer: 0 is useless, 1 is ideal", rows, 0.0, 1.0, line=0.0, limits=(-1.5, 1.5)
    )


MOST_PAIRS = 24


def main_pairs(comparison: Comparison) -> list[Pair]:
    """At most `MOST_PAIRS` pairs: those of the most useful set first, then neighbors in the order, then others."""
    places = {each.name: place for place, each in enumerate(comparison.sets)}

    def rank(pair: Pair) -> tuple[int, int]:
        first, second = sorted((places.get(pair.first, 0), places.get(pair.second, 0)))
        return (0 if first == 0 else 1 if second - first == 1 else 2), first

    chosen = sorted(range(len(comparison.pairs)), key=lambda i: rank(comparison.pairs[i]))[:MOST_PAIRS]
    return [comparison.pairs[i] for i in sorted(chosen)]


def pairs(comparison: Comparison) -> DotFigure:
    """Every two sets, or the `main_pairs` of many: the difference of their transfers."""
    rows = tuple(
        Row(
            f"{pair.first} less {pair.second}",
            with_interval(pair.difference, pair.low, pair.high),
            pair.difference, pair.low, pair.high, sure=pair.told,
        )
        for pair in main_pairs(comparison)
    )  # fmt: skip
    return DotFigure(
        "pairs", "Which of two sets is more useful", "transfer of the first less that of the second",
        rows, -0.1, 0.2, line=0.0, filled="order can be told", hollow="order cannot be told", limits=(-2.0, 2.0),
    )  # fmt: skip


def transfer(stem: str, each: ComparedSet) -> DotFigure:
    """Transfer of one set and of its views."""
    value = each.value
    views = sorted(value.transfer_by_view, key=lambda view: (list(VIEWS).index(view) if view in VIEWS else 9, view))
    rows = [of_measure("Transfer, all views", value.transfer)]
    rows += [of_measure(VIEWS.get(view, view), value.transfer_by_view[view]) for view in views]
    axis = "transfer: 0 is useless, 1 is ideal"
    return DotFigure(f"{stem}-transfer", "Transfer", axis, tuple(rows), 0.0, 1.0, line=0.0, limits=(-1.5, 1.5))


def auroc(stem: str, each: ComparedSet) -> DotFigure:
    """Expected AUROC of one set, and that of each small learner."""
    value = each.value
    rows = [of_measure("Expected AUROC, all learners", value.pix5 or value.pix4)]
    rows += [of_measure(learner_name(name), value.learners[name]) for name in sorted(value.learners)]
    axis = "AUROC on real images: 0.5 is guessing, 1 is perfect"
    return DotFigure(f"{stem}-auroc", "Expected AUROC", axis, tuple(rows), 0.5, 1.0, line=0.5, limits=(0.0, 1.0))


def changes(stem: str, each: ComparedSet, most: int) -> DotFigure:
    """Features that changed, the surest first."""
    rows = tuple(
        Row(
            f"{change.feature} ({change.target})", with_interval(change.shift, change.low, change.high, 1),
            change.shift, change.low, change.high, sure=change.p < 0.05,
        )
        for change in each.changes[:most]
    )  # fmt: skip
    return DotFigure(
        f"{stem}-changes", "What changed in the images", "spreads away from real images of the class", rows, -1.0, 1.0,
        line=0.0, filled="beyond chance", hollow="may be chance", limits=(-_FARTHEST, _FARTHEST),
    )  # fmt: skip


def effects(stem: str, each: ComparedSet, most: int) -> DotFigure:
    """Components of the model: what of the changes matters."""
    rows = tuple(
        Row(
            f"{effect.component} ({effect.target})", with_interval(effect.difference, effect.low, effect.high),
            effect.difference, effect.low, effect.high, sure=effect.p < 0.05,
        )
        for effect in each.effects[:most]
    )  # fmt: skip
    return DotFigure(
        f"{stem}-effects", "What of it matters to the model", "contribution less that of real images", rows, -0.2, 0.2,
        line=0.0, filled="beyond chance", hollow="may be chance", limits=(-10.0, 10.0),
    )  # fmt: skip


def _part(gain: Gain) -> str:
    return "" if gain.n_set is None else f", {count(gain.n_set)} added"


def gains(stem: str, each: ComparedSet) -> DotFigure:
    """What the set adds beside real images."""
    rows = tuple(
        Row(
            f"beside {plural(gain.n_real, 'real image')}{_part(gain)}",
            with_interval(gain.gain, gain.low, gain.high),
            gain.gain, gain.low, gain.high, sure=gain.low > 0 or gain.high < 0,
        )
        for gain in each.gains
    )  # fmt: skip
    return DotFigure(
        f"{stem}-gains", "What the set adds to real images", "gain of AUROC beside real images of each class", rows,
        -0.05, 0.1, line=0.0, filled="differs from 0", hollow="may be 0", limits=(-1.0, 1.0),
    )  # fmt: skip


SCORE_NAMES: dict[Score, str] = {"ius": "IUS", "value": "Value"}
_SCORE_AXES: dict[Score, str] = {
    "ius": "IUS: \N{MINUS SIGN}1 is unlike, 1 is like the real class",
    "value": "value: 1 is the most useful of all images",
}


def histograms(comparison: Comparison, given: Iterable[ScoreHistogram]) -> list[HistogramFigure]:
    """Score distributions, one figure for each score and class, sets in the order of the comparison."""
    found = {(each.score, each.target, each.set_name): each for each in given}
    figures = []
    for score in SCORE_NAMES:
        for place, target in enumerate(comparison.classes, 1):
            rows = [found[key] for each in comparison.sets if (key := (score, target, each.name)) in found]
            if rows:
                panels = tuple(
                    Panel(f"{row.set_name}: {plural(row.n, 'image')}", row.counts, row.ceiling, row.floor)
                    for row in rows
                )
                figures.append(
                    HistogramFigure(
                        f"scores-{score}-{place}", f"{SCORE_NAMES[score]} of {target}", _SCORE_AXES[score], panels,
                        *RANGES[score], f"real {target} (ceiling)", "real images of other classes (floor)",
                    )
                )  # fmt: skip
    return figures


def stem_of(place: int) -> str:
    """Beginning of the names of the figures of the set at this place in the comparison, counted from 1."""
    return f"set-{place}"


def of_set(place: int, each: ComparedSet, most: int) -> dict[str, DotFigure]:
    """The figures of one set that have something to show, by what they show.

    Args:
        place: of the set in the comparison, counted from 1.
        each: the set.
        most: rows of a figure at most.
    """
    stem = stem_of(place)
    made = {
        "transfer": transfer(stem, each),
        "auroc": auroc(stem, each),
        "changes": changes(stem, each, most),
        "effects": effects(stem, each, most),
        "gains": gains(stem, each),
    }
    return {kind: figure for kind, figure in made.items() if figure.rows}


def all_figures(comparison: Comparison, score_histograms: Sequence[ScoreHistogram], most: int) -> list[Figure]:
    """Every figure of a report, in its order; those of a set have its name in their title, as they stand alone."""
    found: list[Figure] = [figure for figure in (ranking(comparison), pairs(comparison)) if figure.rows]
    for place, each in enumerate(comparison.sets, 1):
        made = of_set(place, each, most).values()
        found += [replace(figure, title=f"{figure.title}: {each.name}") for figure in made]
    return found + list(histograms(comparison, score_histograms))


def description(figure: Figure) -> str:
    """The figure in words, for readers who cannot see it."""
    if isinstance(figure, DotFigure):
        rows = [row.label + ": " + row.said + _beside(row) for row in figure.rows]
    else:
        rows = [panel.label + _median(figure, panel) for panel in figure.panels]
    return f"{figure.title}. {'; '.join(rows)}."


def _beside(row: Row) -> str:
    known_ones = (("real", row.real), ("half swapped", row.swapped), ("shuffled labels", row.shuffled))
    return "".join(f", {name} {number(value)}" for name, value in known_ones if known(value) is not None)


def _median(figure: HistogramFigure, panel: Panel) -> str:
    half, seen = sum(panel.counts) / 2, 0
    step = (figure.high - figure.low) / len(panel.counts)
    for place, n in enumerate(panel.counts):
        seen += n
        if n and seen >= half:
            start = figure.low + place * step
            return f", half of them below {number(start + step)}"
    return ""
