"""Plots of profiles and scores (extra ``plot``)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from iuscore._run.regular_files import regular_only
from iuscore.errors import UserError
from iuscore.features import COLORLESS
from iuscore.scoring.records import SetSummary, TargetSummary
from iuscore.scoring.scorer import Scorer
from iuscore.scoring.words import doubt_of

_SOFTWARE = "iuscore"
_BASELINE, _SET = "#4477AA", "#EE7733"  # color-blind readers can distinguish these colors
_CHANCE = "#BBBBBB"
_LONGEST = 20.0  # longer bars are cut, so that one bar of a thousand spreads does not hide the others


def plot_contributions(scorer: Scorer, summary: SetSummary, path: str | os.PathLike[str]) -> Path:
    """Draw mean contributions of the real class and of the scored set side by side, with 95 % intervals.

    Args:
        scorer: the model.
        summary: summary of `iuscore.engine.score_source`.
        path: file to write, ``.png`` or another format of matplotlib; one panel per target class.

    Raises:
        UserError: matplotlib is missing, or nothing was scored.
    """
    targets = summary.targets
    if not targets:
        raise UserError("nothing to plot: no image was scored")
    measured = any(entry.changes for entry in targets.values())
    with fonts_for(scorer.classes):
        return _drawn(scorer, summary, Path(path), measured=measured)


def _drawn(scorer: Scorer, summary: SetSummary, path: Path, *, measured: bool) -> Path:
    targets = summary.targets
    rows = (2 if measured else 1) * len(targets)
    figure = new_figure(1.5 + (1.2 if measured else 1.35) * len(scorer.components), 4.6 * rows)
    axes = iter(figure.subplots(rows, 1, squeeze=False)[:, 0])
    for name, entry in targets.items():
        _panel(next(axes), scorer, name, entry)
        if measured:
            _changes_panel(next(axes), name, entry)
    # Mark the file: a later run replaces only pictures with this mark.
    figure.savefig(path, metadata={"Software": _SOFTWARE} if path.suffix.lower() == ".png" else None)
    return path


def is_own_picture(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a PNG that `plot_contributions` drew."""
    try:
        with open(path, "rb", opener=regular_only) as file:
            return b"tEXtSoftware\0" + _SOFTWARE.encode() in file.read(4096)
    except OSError:
        return False


def new_figure(width: float, height: float) -> Any:
    """A matplotlib figure; width and height in inches.

    Raises:
        UserError: matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("a plot needs the extra: pip install -c constraints.txt '.[plot]'") from None
    # Not pyplot, which has global state and needs a display.
    figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    return figure


def check_picture(path: str | os.PathLike[str]) -> None:
    """Raise a UserError if matplotlib cannot write pictures with the extension of ``path``."""
    kinds = new_figure(1.0, 1.0).canvas.get_supported_filetypes()
    if Path(path).suffix[1:].lower() not in kinds:
        raise UserError(f"{path}: expected a name that ends as a picture does, such as features.png or features.pdf")


def _panel(axis: Any, scorer: Scorer, name: str, entry: TargetSummary) -> None:
    profile = scorer.profiles[name]
    places = range(len(scorer.components))
    width = 0.38
    real = f"real {plain(name)}" + (f" (validation images: {profile.n})" if profile.n else "")
    axis.bar(
        [x - width / 2 for x in places],
        profile.mean,
        width,
        color=_BASELINE,
        label=real,
        yerr=_errors(profile.mean, profile.low, profile.high),
        capsize=3,
    )
    means = [c.contribution for c in entry.components]
    lows, highs = [c.low for c in entry.components], [c.high for c in entry.components]
    axis.bar(
        [x + width / 2 for x in places],
        means,
        width,
        color=_SET,
        label=f"scored images: {entry.n}",
        yerr=_errors(means, lows, highs),
        capsize=3,
    )
    axis.axhline(0, color="black", linewidth=0.8)
    names = [c.replace("band-ii", "Band-II").replace("band-i", "Band-I") for c in scorer.components]
    crowded = len(names) > 6
    axis.set_xticks(list(places), names, rotation=20 if crowded else 0, ha="right" if crowded else "center")
    column = scorer.model.target_column(name)
    toward = scorer.classes[-1] if len(scorer.classes) == 2 else scorer.classes[column]
    away = f"for {plain(scorer.classes[0])}" if len(scorer.classes) == 2 else "against it"
    axis.set_ylabel(f"mean contribution\n(positive: speaks for {plain(toward)}; negative: speaks {away})", fontsize=8)
    axis.set_title(_title(name, entry), fontsize=10)
    axis.margins(y=0.18)
    below: dict[str, Any] = {} if crowded else {"loc": "upper center", "bbox_to_anchor": (0.5, -0.09)}
    axis.legend(fontsize=8, frameon=False, ncols=2, **below)
    axis.spines[["top", "right"]].set_visible(False)


def _changes_panel(axis: Any, name: str, entry: TargetSummary) -> None:
    """Bars of the statistic of each group that moved farthest, with sign: the numbers that the command prints."""
    # Color groups without color are left out: their shifts are huge and would hide all other bars. The title says so.
    changes = [change for change in entry.changes or () if change.words != COLORLESS]
    shifts = [max(-_LONGEST, min(_LONGEST, change.shift)) for change in changes]
    colors = [_SET if change.beyond_chance else _CHANCE for change in changes]
    axis.bar(range(len(changes)), shifts, 0.6, color=colors)
    for x, (change, shift) in enumerate(zip(changes, shifts, strict=True)):
        leading = change.feature.removeprefix(f"{change.name} ")
        up = shift >= 0
        # If the bar ends before the dashed line, write the number beyond the line, so that the line does not cross it.
        axis.annotate(
            f"{leading}\n{change.shift:+.1f}", (x, max(shift, 1.0) if up else min(shift, -1.0)),
            xytext=(0, 3 if up else -3), textcoords="offset points", ha="center", va="bottom" if up else "top",
            fontsize=8,
        )  # fmt: skip
    axis.axhline(0, color="black", linewidth=0.8)
    for line in (-1, 1):
        label = f"1 standard deviation of real {plain(name)}" if line == 1 else None
        axis.axhline(line, color="black", linewidth=0.8, linestyle="--", label=label)
    axis.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2, fontsize=8, frameon=False)
    axis.set_xticks(range(len(changes)), [change.name for change in changes], rotation=20, ha="right")
    axis.set_ylabel(
        f"mean less that of real {plain(name)}, in their\nstandard deviations (gray: within chance)", fontsize=8
    )
    without = f" ({COLORLESS})" if len(changes) < len(entry.changes or ()) else ""
    title = f"What changed in the scored images, compared with real {plain(name)}{without}"
    axis.set_title(title, fontsize=10, loc="left")
    axis.margins(y=0.25)
    axis.spines[["top", "right"]].set_visible(False)


def _title(name: str, entry: TargetSummary) -> str:
    ius, name = entry.ius, plain(name)
    interval = "" if ius.low is None else f" [{ius.low:.2f}, {ius.high:.2f}]"
    doubt = doubt_of(entry)
    title = f"Scored images against real {name}: IUS {ius.mean:.2f}{interval}{doubt and f',{chr(10)}{doubt}'}"
    ceiling, floor = entry.ceiling, entry.floor
    if ceiling and floor:
        title += f"\nreal {name} reach {ceiling.mean:.2f}, real images of other classes {floor.mean:.2f}"
    return title + "\nbars: mean, whiskers: 95 % interval of the mean"


def plain(name: str) -> str:
    """A class name that matplotlib can draw: "$" is escaped, and characters that no font has are written as escapes.

    Example:
        >>> plain("a$")
        'a\\\\$'
    """
    known = _characters()
    drawn = "".join(c if ord(c) in known else c.encode("unicode_escape").decode("ascii") for c in name)
    return drawn.replace("$", r"\$")


@contextmanager
def fonts_for(names: Iterable[str]) -> Iterator[None]:
    """In the block, add an installed font for characters of ``names`` that the default font lacks."""
    import matplotlib

    missing = {ord(c) for name in names for c in name} - _characters()
    found = _font_with(missing) if missing else None
    families = [*matplotlib.rcParams["font.family"], *([found] if found else [])]
    with matplotlib.rc_context({"font.family": families}):
        yield


def _characters() -> set[int]:
    """Code points that the current fonts can draw."""
    import matplotlib
    from matplotlib.font_manager import FontProperties, findfont, get_font

    paths = [findfont(FontProperties(family=[family])) for family in matplotlib.rcParams["font.family"]]
    return {code for path in paths for code in get_font(path).get_charmap()}


def _font_with(missing: set[int]) -> str | None:
    """Name of the installed font with the most of these characters."""
    from matplotlib.font_manager import fontManager, get_font

    best, most = None, 0
    for entry in fontManager.ttflist:
        try:
            has = len(missing & get_font(entry.fname).get_charmap().keys())
        except (OSError, RuntimeError):  # a font that is gone or damaged
            continue
        if has > most:
            best, most = entry.name, has
        if most == len(missing):
            break
    return best


def _errors(means: Any, lows: Any, highs: Any) -> Any:
    if lows is None or None in lows:
        return None
    below = [max(0.0, m - low) for m, low in zip(means, lows, strict=True)]
    above = [max(0.0, high - m) for m, high in zip(means, highs, strict=True)]
    return [below, above]
