"""Pictures of scores: class names that fonts lack, and where labels and lines are drawn."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import iuscore
from iuscore.explain import plot
from tests.fixtures import Command, class_folders, summary_of

pytest.importorskip("matplotlib")


@pytest.mark.parametrize("name", ["白細胞", "백혈구", "كرية", "a$_$", "\U0001f9ec", "a\u0301"])
def test_any_class_name_is_drawn_without_a_warning(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with plot.fonts_for([name]):
            figure = plot.new_figure(3.0, 2.0)
            figure.subplots().set_title(plot.plain(name))
            figure.canvas.draw()


def test_a_character_that_no_font_has_is_an_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot, "_font_with", lambda missing: None)
    with plot.fonts_for(["白b"]):
        assert plot.plain("白b") == "\\u767db"


def test_a_font_that_has_them_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The font with most of the characters is chosen."""
    from matplotlib import font_manager

    tables: dict[str, dict[int, int]] = {"none": {65: 1}, "some": {30333: 1}, "all": {30333: 1, 34880: 2}}

    def opened(path: str) -> Any:
        if path == "gone":
            raise OSError(path)
        return SimpleNamespace(get_charmap=lambda: tables[path])

    entries = [SimpleNamespace(fname=path, name=f"font {path}") for path in ("none", "gone", "some", "all")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", entries)
    monkeypatch.setattr(font_manager, "get_font", opened)
    assert plot._font_with({30333, 34880}) == "font all"
    assert plot._font_with({128512}) is None


def test_labels_lie_beyond_the_dashed_lines(
    texture: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No text of the second panel touches a dashed line, and the line has a legend."""
    figures: list[Any] = []
    new_figure = plot.new_figure

    def kept(width: float, height: float) -> Any:
        figures.append(new_figure(width, height))
        return figures[-1]

    monkeypatch.setattr(plot, "new_figure", kept)
    images = class_folders(tmp_path / "images", "a", n=6, channels=3, seed=3)
    ran = command("score", texture, images, "--target", "a", "--out", tmp_path / "o", "--plot", "--quiet")
    assert ran.status == 0, ran.err
    figure = figures[-1]
    figure.canvas.draw()
    axis = figure.axes[1]
    lines = [axis.transData.transform((0, y))[1] for y in (-1, 1)]
    shifts = [change["shift"] for change in summary_of(tmp_path / "o")["targets"]["a"]["changes"]]
    assert len(axis.texts) == len(shifts)
    assert min(map(abs, shifts)) < 1.3  # some end near a line
    for text in axis.texts:
        box = text.get_window_extent()
        assert not any(box.y0 <= y <= box.y1 for y in lines), text.get_text()
    (label,) = [text.get_text() for text in axis.get_legend().get_texts()]
    assert label == "1 standard deviation of real a"


def test_repr_of_a_scorer(texture: Path) -> None:
    scorer = iuscore.load(texture)
    assert repr(scorer) == f"Scorer({str(texture)!r}, texture of a, b; 3 members)"
    scorer.folder = None
    assert repr(scorer) == "Scorer(texture of a, b; 3 members)"
