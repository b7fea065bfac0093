"""Parts of a report: numbers in words, pictures, figures and their files, records of distributions."""

from __future__ import annotations

import builtins
import io
import itertools
import logging
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from iuscore.explain.report import ScoreHistogram, figures, glossary, page, pictures, svg, text, write_figures
from iuscore.explain.value import Measure
from tests.explain import comparisons
from tests.explain.comparisons import CLASSES, comparison, picture

SVG = "{http://www.w3.org/2000/svg}"


def row(value: float, **beside: Any) -> figures.Row:
    return figures.Row("a set", "said", value, **beside)


def dots(*rows: figures.Row, **changes: Any) -> figures.DotFigure:
    return replace(figures.DotFigure("f", "Title", "axis", rows, 0.0, 1.0), **changes)


def marks(figure: figures.Figure, kind: str) -> list[float]:
    """Where marks of a kind stand, from left to right in units of the figure."""
    tree = ET.fromstring(svg.draw(figure, standalone=True))
    groups = [g for g in tree.iter(f"{SVG}g") if len(g) == 1 and g[0].get("class") == kind]
    places = [g.get("transform", "").removeprefix("translate(").split()[0] for g in groups]
    return [float(place) for place in places][: -1 if len(places) > 1 else None]  # the last one is in the legend


def test_marks_stand_where_the_axis_says() -> None:
    figure = dots(row(0.25, real=0.5, swapped=0.0, shuffled=1.0))
    at = {value: 14 + value * (360 - 28) for value in (0.0, 0.25, 0.5, 1.0)}
    assert marks(figure, "dot")[:1] == pytest.approx([at[0.25]], abs=0.01)
    assert marks(figure, "real")[:1] == pytest.approx([at[0.5]], abs=0.01)
    assert marks(figure, "swapped")[:1] == pytest.approx([at[0.0]], abs=0.01)
    assert marks(figure, "shuffled")[:1] == pytest.approx([at[1.0]], abs=0.01)


def test_an_axis_holds_its_rows_up_to_its_limits() -> None:
    figure = dots(row(3.0, low=-2.0, high=8.0), row(1e6), limits=(-5.0, 5.0))
    assert figure.ends == (-2.0, 5.0)
    drawn = str(svg.draw(figure))
    assert 'd="M-7-6 3 0-7 6Z"' in drawn  # an arrow
    assert "1000000" not in drawn


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_what_is_not_a_number_is_not_drawn(value: Any) -> None:
    drawn = str(svg.draw(dots(row(value, low=value, high=value, real=value, real_sd=value, shuffled=value))))
    assert "nan" not in drawn
    assert "inf" not in drawn
    assert 'class="dot"' not in drawn


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.013, 0.004), (2.0, 2.0), (-1e6, 3e5), (0.5, 0.97)])
def test_ticks_enclose_the_values_at_equal_round_steps(low: float, high: float) -> None:
    found = svg.ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    steps = np.diff(found)
    assert 3 <= len(found) <= 8
    assert steps == pytest.approx(steps[0], rel=1e-6)
    assert low == high or f"{steps[0]:.0e}"[0] in "125"


def test_kinds_of_marks_differ_in_shape_not_in_color_alone() -> None:
    kinds = ["dot", "hollow", "real", "swapped", "shuffled"]
    shapes = {str(svg.legend_mark(kind)).replace(f'class="{kind}"', "") for kind in kinds}
    assert len(shapes) == len(kinds)


def test_bars_are_as_high_as_their_counts() -> None:
    counts = tuple(int(n) for n in np.arange(20))
    figure = figures.histograms(comparison(), [ScoreHistogram("gan_v2", "benign", "value", counts)])[0]
    tree = ET.fromstring(svg.draw(figure, standalone=True))
    bars = [bar for bar in tree.iter(f"{SVG}rect") if bar.get("class") == "bar" and bar.get("height") != "10"]
    heights = np.array([float(bar.get("height", "")) for bar in bars])
    assert heights / heights.max() == pytest.approx(np.arange(1, 20) / 19, abs=0.01)
    assert "half of them below 0.75" in svg.draw(figure)  # 0 + ... + 13 = 91 < 95 <= 105 = 0 + ... + 14


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counts": (1, 2)}, "counts: expected 40 bins of 'ius', got 2"),
        ({"counts": (-1,) * 40}, "counts: expected numbers of images, got -1"),
        ({"score": "fid"}, "score: expected 'ius' or 'value', got 'fid'"),
    ],
)
def test_a_wrong_distribution_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScoreHistogram(**{"set_name": "a", "target": "b", "score": "ius", "counts": (1,) * 40} | changes)


def test_pictures_are_small_and_keep_nothing_of_their_files() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("PatientName", "Doe^Jane")
    written = io.BytesIO()
    Image.new("L", (300, 150), 99).save(written, "PNG", pnginfo=info, icc_profile=b"Doe^Jane", dpi=(72, 72))
    found = pictures.prepare({"a": written.getvalue()}, ["a"], side=128, most_bytes=10**6, name="thumbnails")["a"]
    assert (found.width, found.height) == (128, 64)
    kept = decoded(found)
    assert kept.info == {}
    assert np.unique(np.asarray(kept)).tolist() == [99]
    assert b"Doe" in written.getvalue()


def decoded(found: pictures.Picture) -> Image.Image:
    import base64

    image = Image.open(io.BytesIO(base64.b64decode(found.address.partition(",")[2])))
    image.load()
    return image


@pytest.mark.parametrize(
    ("mode", "kind"), [("L", "PNG"), ("RGB", "JPEG"), ("RGB", "WEBP"), ("P", "PNG"), ("RGBA", "PNG")]
)
def test_small_pictures_come_back_as_they_are(mode: str, kind: str) -> None:
    content = picture(0, 40, mode, kind)
    found = pictures.prepare({"a": content}, ["a"], side=128, most_bytes=10**6, name="thumbnails")["a"]
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(np.asarray(decoded(found).convert("RGB")), expected)


def test_sixteen_bits_become_eight() -> None:
    deep = np.array([[0, 257, 32896, 65535]], np.uint16).repeat(4, 0)
    written = io.BytesIO()
    Image.fromarray(deep).save(written, "PNG")
    found = pictures.prepare({"a": written.getvalue()}, ["a"], side=128, most_bytes=10**6, name="thumbnails")["a"]
    assert np.asarray(decoded(found))[0].tolist() == [0, 1, 128, 255]


def test_pictures_that_do_not_fit_are_left_out_from_the_end() -> None:
    given = {name: picture(i, 128) for i, name in enumerate("abcdef")}
    whole = pictures.prepare(given, list("abcdef"), side=128, most_bytes=10**6, name="thumbnails")
    assert all(each.address.startswith("data:image/png") for each in whole.values())
    fewer = pictures.prepare(given, list("fedcba"), side=128, most_bytes=20_000, name="thumbnails")
    assert list(fewer) == list("fedcba")[: len(fewer)]
    assert 1 <= len(fewer) < 6
    assert sum(len(each.address) for each in fewer.values()) <= 20_000
    assert pictures.prepare(given, list("abc"), side=0, most_bytes=10**6, name="thumbnails") == {}


@pytest.mark.parametrize("content", [b"", b"<svg onload='alert(1)'/>", b"GIF89a" + b"\0" * 40, picture(0)[:60]])
def test_what_is_no_picture_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"thumbnails\[\('a', 'b'\)\]: expected a picture as PNG, JPEG or WebP"):
        pictures.prepare({("a", "b"): content}, [("a", "b")], side=128, most_bytes=10**6, name="thumbnails")


def test_how_many_images_to_use_follows_from_the_numbers() -> None:
    first, second, third = comparison().sets
    assert page.how_many(third) == "None: the set is not recommended for anything here."
    words = page.how_many(second)
    tried = "Beside 1\u202f000 real images of each class, 150 of each class add \N{MINUS SIGN}0.0"
    assert words.startswith(tried)
    whole = page.how_many(replace(second, gains=second.gains[:-1]))
    assert whole.startswith("All 500 images were judged together; fewer were not tried.")
    assert "Leave out 12 with a contradicted label and 2 copies of real images." in words
    assert "found among 50\u202f000 images looked at" in page.how_many(first)


def test_what_matters_most_is_the_largest_sure_difference_and_its_look() -> None:
    found = page.what_matters(comparison())
    first = comparison().sets[0]
    (benign,) = (each for each in found if each.place == 1 and each.target == "benign")
    sure = [e for e in first.effects if e.target == "benign" and e.p < 0.05]
    assert benign.effect == max(sure, key=lambda effect: abs(effect.difference))
    assert benign.change is not None
    assert (benign.change.group, benign.change.target) == (benign.effect.component, "benign")
    assert [each.measured for each in found if each.place == 3] == [False, False]


@pytest.mark.parametrize(
    ("value", "real", "useless", "words"),
    [(0.8, 0.9, 0.1, "real images"), (0.2, 0.9, 0.1, "swapped labels"), (0.5, 0.9, 0.89, "does not tell them apart")],
)
def test_a_control_lies_nearer_to_one_of_two(value: float, real: float, useless: float, words: str) -> None:
    assert page.MeasureRow("m", "", Measure(value, real=real, real_sd=0.02, swapped=useless)).nearer == words


def test_of_many_pairs_those_of_the_best_set_and_of_neighbors_are_shown() -> None:
    given = comparison()
    names = [f"set {i:02d}" for i in range(12)]
    sets = tuple(replace(given.sets[0], name=name, place=i + 1) for i, name in enumerate(names))
    every = tuple(replace(given.pairs[0], first=a, second=b) for i, a in enumerate(names) for b in names[i + 1 :])
    shown = figures.main_pairs(replace(given, sets=sets, pairs=every))
    assert len(every) == 66
    assert len(shown) == 24
    needed = {(names[0], name) for name in names[1:]} | set(itertools.pairwise(names))
    assert needed <= {(pair.first, pair.second) for pair in shown}
    assert figures.main_pairs(given) == list(given.pairs)


def test_gallery_takes_turns_over_the_reasons() -> None:
    each = comparison().sets[0]
    some = page.gallery(each, 6)
    assert len(some) == 6
    assert {reason for image in some for reason in image.reasons} == set(page.REASONS)
    assert len({image.uid for image in page.gallery(each, 100)}) == len(each.images)


def test_every_control_and_reason_of_the_records_is_explained() -> None:
    from typing import get_args

    from iuscore.explain.compare import ComparedSet
    from iuscore.explain.compare.records import Reason

    assert set(page.REASONS) == set(get_args(Reason))
    documented = ComparedSet.__doc__ or ""
    assert [key for key in glossary.CONTROLS if f'"{key}"' not in documented] == []
    assert all(glossary.entry(term).meaning.count(".") >= 1 for _, term, _ in glossary.CONTROLS.values())


def test_group_names_of_models_and_features_are_explained() -> None:
    from iuscore.features import GROUPS
    from iuscore.ops import COMPONENTS

    names = tuple(sorted({name for kinds in (GROUPS, COMPONENTS) for kind in kinds.values() for name in kind}))
    unknown = glossary.component("something else", ("something else",)).meaning
    assert [name for name in names if glossary.component(name, names).meaning == unknown] == []
    assert len({glossary.component_anchor(name, names) for name in names}) == len(names)


def test_figures_are_written_as_svg_and_png(tmp_path: Path) -> None:
    given = comparison()
    counted = comparisons.histograms(given)
    written = write_figures(tmp_path / "figures", given, score_histograms=counted)
    names = {path.name for path in written}
    assert names == {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"ranking.svg", "ranking.png", "pairs.svg", "set-1-gains.png", "scores-ius-1.svg"} <= names
    assert "set-3-gains.svg" not in names
    for path in written:
        if path.suffix == ".svg":
            tree = ET.parse(path).getroot()
            assert tree.tag == f"{SVG}svg"
            assert tree.find(f"{SVG}title") is not None
            assert "http" not in path.read_text().replace("http://www.w3.org/2000/svg", "")
        else:
            with Image.open(path) as image:
                assert min(image.size) > 200
    again = [svg.draw(figure, standalone=True) for figure in figures.all_figures(comparison(), counted, 12)]
    assert [path.read_text(encoding="utf-8") for path in written if path.suffix == ".svg"] == again


def test_figures_say_that_png_needs_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = builtins.__import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "matplotlib" else found(name))
    with caplog.at_level(logging.WARNING):
        written = write_figures(tmp_path, comparison())
    assert {path.suffix for path in written} == {".svg"}
    assert "PNG needs the extra" in caplog.text


def test_figures_show_hostile_names_as_text(tmp_path: Path) -> None:
    given = comparison()
    name = f"{comparisons.HOSTILE} $x$ \u202e{comparisons.RTL}"
    made = replace(given, sets=(replace(given.sets[0], name=name),), pairs=())
    for path in write_figures(tmp_path, made):
        if path.suffix == ".svg":
            assert [each.tag for each in ET.parse(path).iter() if "script" in each.tag] == []
            assert "\u202e" not in path.read_text(encoding="utf-8")


def test_long_names_are_shortened_in_the_middle() -> None:
    long = "a" * 1_000_000 + "_v2"
    kept = text.shortened(long, 20)
    assert kept.startswith("aaa")
    assert kept.endswith("_v2")
    assert text.width(kept) <= 20


def test_classes_of_the_example_are_those_of_its_sets() -> None:
    assert all(each.value.classes == CLASSES for each in comparison().sets)
