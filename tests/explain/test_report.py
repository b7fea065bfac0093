"""The page of a comparison, read by a parser: complete, escaped, self-contained, bounded, equal for equal input."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import itertools
import json
import re
from collections import Counter
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iuscore import UserError
from iuscore.explain.compare import Comparison
from iuscore.explain.report import MAX_BYTES, REAL, document, render, wanted_pictures, write_report
from iuscore.explain.report.document import TEMPLATES
from iuscore.explain.value import Measure
from tests.explain import comparisons
from tests.explain.comparisons import HOSTILE, NAMES, RTL, comparison, picture

VOID = {"meta", "link", "img", "br", "input"}
ADDRESSES = ("href", "src", "srcset", "action", "data", "poster", "xlink:href", "formaction", "background")


class Read(HTMLParser):
    """Elements, ids, links and text of a page; fails where an element is not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1:] == [tag], (tag, self._open[-3:])
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        seen = "".join(data for tag, data in self.texts if tag not in ("style", "script"))
        return " ".join(seen.split())


@pytest.fixture(scope="module")
def given() -> Comparison:
    return comparison()


@pytest.fixture(scope="module")
def page(given: Comparison) -> str:
    return render(
        given, thumbnails=comparisons.thumbnails(given), score_histograms=comparisons.histograms(given),
        overlays={(NAMES[1], "fine-contrast"): picture(3, 300, "RGB"), ("", "lightness"): picture(4, 300, "RGB")},
    )  # fmt: skip


@pytest.fixture(scope="module")
def read(page: str) -> Read:
    return Read(page)


def test_first_screen_answers_before_anything_else(given: Comparison, read: Read) -> None:
    text = read.text
    answers = [
        given.verdict, given.doubts[0], "216 images of 84 patients or groups", "10 000 000 images of 84 patients",
        "training beside up to 200 real images", "Do not use it for", "replacing real images", "How many images of it",
        "What is wrong with it", "How sure is this",
    ]  # fmt: skip
    places = [text.replace("\u202f", " ").index(answer) for answer in answers]
    assert max(places) < text.replace("\u202f", " ").index("Which set, which component, where in the picture")
    assert text.index(given.sets[2].doubts[0]) < text.index("Which set, which component")


def test_doubts_are_written_as_large_as_the_verdict(read: Read) -> None:
    assert Counter(attributes.get("class") for attributes in read.all("p"))["say"] == 2


def test_everything_of_the_comparison_is_said(given: Comparison, read: Read) -> None:
    text = read.text
    for each in given.sets:
        sentences = [*each.use_for, *each.not_for, *each.problems, *each.doubts, *each.value.cannot_be_said]
        assert [sentence for sentence in sentences if sentence not in text] == []
        assert each.verdict in text
        for part in each.value.contrast:
            assert (part.words in text) or not part.beyond_chance
        names = [image.uid for image in each.images if image.uid.isascii()]
        assert [uid for uid in names if uid not in text] == []
    assert given.command in text
    assert given.advice[0] in text
    assert "0.91 on 80 held-out real images" in text
    assert all(f"{name}{version}" in text.replace(" ", "") for name, version in given.versions.items())


def test_numbers_stand_beside_real_and_shuffled_ones(given: Comparison, read: Read) -> None:
    found = given.sets[0].value.transfer
    rows = re.split(r"Shuffled labels ?", read.text)
    assert any("transfer 0.66 0.58 to 0.74 0.81 ± 0.04 0.03 0.03" in row for row in rows), found


def test_a_tie_and_a_missing_number_are_said_in_words(read: Read) -> None:
    assert "The order against gan_v2 cannot be told." in read.text
    assert "Cannot be told" in read.text
    assert "contributions were not measured" in read.text
    assert not re.search(r"\b(None|nan|NaN|inf|undefined)\b", read.text.replace("None: the set is not", ""))


def test_names_with_markup_and_hidden_characters_are_shown_as_text(page: str, read: Read) -> None:
    assert HOSTILE in read.text
    assert f"{HOSTILE}.png" not in page
    assert "blurred <b>&amp;" in read.text
    assert read.all("b") == []
    assert RTL in read.text
    assert "scan\\u202egnp.exe" in read.text
    assert "bad\\udcff.png" in read.text
    assert not re.search("[\u202a-\u202e\u2066-\u2069\ud800-\udfff\x00-\x08\x0e-\x1f]", page)
    assert page.encode("utf-8").decode("utf-8") == page


def test_every_text_of_the_comparison_is_escaped(given: Comparison) -> None:
    def poisoned(value: Any) -> Any:
        if isinstance(value, str):
            return value + HOSTILE
        if isinstance(value, dict):
            return {poisoned(key): poisoned(part) for key, part in value.items()}
        if isinstance(value, tuple):
            return tuple(map(poisoned, value))
        if hasattr(value, "__dataclass_fields__"):
            keep = ("reasons", "format")
            return replace(
                value, **{f.name: poisoned(getattr(value, f.name)) for f in fields(value) if f.name not in keep}
            )
        return value

    made = poisoned(given)
    counted = [
        replace(h, set_name=h.set_name + HOSTILE, target=h.target + HOSTILE) for h in comparisons.histograms(given)
    ]
    read = Read(render(made, score_histograms=counted, overlays={HOSTILE: picture(1), (HOSTILE, HOSTILE): picture(2)}))
    assert len(read.all("script")) == 1
    assert read.text.count("<script>") > 100
    assert [name for _, attributes in read.elements for name in attributes if name.startswith("on")] == []


def test_no_address_leaves_the_page(read: Read) -> None:
    addresses = [attributes[name] for _, attributes in read.elements for name in ADDRESSES if name in attributes]
    assert len(addresses) > 100
    assert [address[:60] for address in addresses if not address.startswith(("#", "data:"))] == []
    assert {tag for tag, _ in read.elements}.isdisjoint({"iframe", "object", "embed", "base", "form", "audio", "video"})
    style = "".join(data for tag, data in read.texts if tag == "style")
    assert "url(" not in style
    assert "@import" not in style
    script = "".join(data for tag, data in read.texts if tag == "script")
    assert not re.search(r"fetch|XMLHttp|WebSocket|import\(|sendBeacon|innerHTML|eval", script)


def test_policy_allows_the_own_style_and_script_alone(read: Read) -> None:
    (policy,) = (m["content"] for m in read.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        content = "".join(data for name, data in read.texts if name == tag)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert [attributes for _, attributes in read.elements if "style" in attributes] == []


def test_ids_are_unique_and_links_lead_somewhere(read: Read) -> None:
    ids = Counter(attributes["id"] for _, attributes in read.elements if "id" in attributes)
    assert [name for name, n in ids.items() if n > 1] == []
    links = {a["href"][1:] for a in read.all("a") if a["href"].startswith("#")}
    assert links - set(ids) == set()
    for name in ("aria-labelledby", "aria-describedby"):
        assert {attributes[name] for _, attributes in read.elements if name in attributes} <= set(ids)


def test_glossary_explains_the_linked_terms_in_one_sentence_each(read: Read) -> None:
    links = {a["href"][1:] for a in read.all("a") if a.get("class") == "term"}
    explained = {d["id"] for d in read.all("dt") if "id" in d}
    assert links == explained
    assert len(explained) > 30
    glossary = read.text[read.text.rindex("Words explained") :]
    assert "transfer The share of the difference" in glossary


def test_reads_well_without_seeing_it(read: Read) -> None:
    assert read.all("html") == [{"lang": "en"}]
    assert len(read.all("h1")) == 1
    levels = [int(tag[1]) for tag, _ in read.elements if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(attributes.get("alt") for attributes in read.all("img"))
    drawn = [each for each in read.all("svg") if each.get("class") == "figure"]
    assert drawn
    assert all(each["role"] == "img" and each["aria-label"].endswith(".") for each in drawn)
    assert all(head.get("scope") == "col" for head in read.all("th"))
    assert {attributes.get("tabindex", "0") for _, attributes in read.elements} == {"0"}


def test_equal_input_gives_equal_bytes(given: Comparison, page: str) -> None:
    def reversed_dicts(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: reversed_dicts(part) for key, part in reversed(value.items())}
        if isinstance(value, tuple):
            return tuple(map(reversed_dicts, value))
        if hasattr(value, "__dataclass_fields__"):
            return replace(value, **{f.name: reversed_dicts(getattr(value, f.name)) for f in fields(value)})
        return value

    other = reversed_dicts(comparison())
    assert other == given or any(each.controls for each in other.sets)  # a NaN is not equal to itself
    again = render(
        other, thumbnails=reversed_dicts(comparisons.thumbnails(given)),
        score_histograms=comparisons.histograms(given)[::-1],
        overlays={("", "lightness"): picture(4, 300, "RGB"), (NAMES[1], "fine-contrast"): picture(3, 300, "RGB")},
    )  # fmt: skip
    assert again == page


def test_page_is_bounded_whatever_the_number_of_images_and_sets(given: Comparison) -> None:
    first = given.sets[0]
    images = tuple(replace(first.images[i % 24], uid=f"{i:07d}.png") for i in range(5000))
    pairs = tuple(replace(given.pairs[0], first=f"set {i}", second=f"set {j}") for j in range(25) for i in range(j))
    many = tuple(
        replace(first, name=f"set {i}", place=i + 1, images=images if i < 3 else first.images) for i in range(25)
    )
    pictures = {(f"set {s}", f"{i:07d}.png"): picture(i, 200) for s in range(2) for i in range(60)}
    for sets in (many[:3], many):
        made = render(replace(given, sets=sets, pairs=pairs), thumbnails=pictures)
        assert len(made.encode()) <= MAX_BYTES
        assert all(f"#set-{each.place}" in made for each in sets)
        assert "images, with their" in made
        assert "The main 24 of 300 pairs." in made


def test_more_sets_than_a_page_holds_are_refused_in_one_line(
    given: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "MAX_BYTES", 50_000)
    with pytest.raises(
        UserError, match=r"^sets: 3 with 2 classes do not fit into a page of 50,000 bytes; compare fewer sets at once$"
    ):
        render(given)


@pytest.mark.parametrize("n", [0, 1])
def test_no_set_and_one_set_have_a_page_too(given: Comparison, n: int) -> None:
    read = Read(render(replace(given, sets=given.sets[:n], pairs=(), doubts=(), advice=())))
    assert "Nothing speaks against these numbers." in read.text
    assert ("No set was compared." in read.text) == (n == 0)


def test_a_set_without_any_detail_has_a_page(given: Comparison) -> None:
    bare = replace(
        given.sets[0], controls={}, changes=(), effects=(), coverage=(), gains=(), images=(), n_contradicted={},
        value=replace(given.sets[0].value, learners={}, transfer=Measure(float("nan")), contrast=()), n_groups=None,
    )  # fmt: skip
    read = Read(render(replace(given, sets=(bare,), pairs=(), model_auroc=None, real_groups=None)))
    assert "Transfer not measured, without an interval." in read.text
    assert "number of patients not known" in read.text


def downloads(read: Read) -> dict[str, bytes]:
    links = [a for a in read.all("a") if "download" in a]
    return {a["download"]: base64.b64decode(a["href"].partition(";base64,")[2]) for a in links}


def test_page_carries_its_numbers_as_files(given: Comparison, read: Read) -> None:
    files = downloads(read)
    assert set(files) == {"comparison.json", "numbers.csv", "images.csv"}
    assert json.loads(files["comparison.json"]) == json.loads(json.dumps(given.to_json()))
    assert Comparison.from_json(json.loads(files["comparison.json"])).verdict == given.verdict
    rows = list(csv.DictReader(io.StringIO(files["numbers.csv"].decode("utf-8-sig"))))
    (transfer,) = (row for row in rows if row["set"] == NAMES[0] and row["name"] == "transfer")
    assert [float(transfer[name]) for name in ("value", "low", "high", "real")] == pytest.approx(
        [0.66, 0.58, 0.74, 0.81]
    )
    assert sum(row["kind"] == "change" for row in rows) == sum(len(each.changes) for each in given.sets)
    images = list(csv.DictReader(io.StringIO(files["images.csv"].decode("utf-8-sig"))))
    assert [row["uid"] for row in images[:2]] == [f"{HOSTILE}.png", RTL]
    assert len(images) == sum(len(each.images) for each in given.sets)


def test_tables_for_spreadsheets_run_no_formula(given: Comparison) -> None:
    bad = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\uff1d1"]
    images = tuple(replace(given.sets[0].images[i], uid=uid, words=uid) for i, uid in enumerate(bad))
    made = replace(given, sets=(replace(given.sets[0], name="=cmd|' /C calc'!A0", images=images),), pairs=())
    for name, content in downloads(Read(render(made))).items():
        if name.endswith(".csv"):
            cells = [cell for row in csv.reader(io.StringIO(content.decode("utf-8-sig"))) for cell in row]
            risky = [cell for cell in cells if cell.lstrip()[:1] in tuple("=+@\uff1d") or cell[:1] == "\t"]
            assert risky == []
            assert [cell for cell in cells if cell.startswith("-") and not re.fullmatch(r"-[\d.e+-]+", cell)] == []


def test_large_files_are_compressed(given: Comparison) -> None:
    many = tuple(replace(given.sets[0], name=f"set {i}", place=i + 1) for i in range(14))
    files = downloads(Read(render(replace(given, sets=many, pairs=()))))
    assert "comparison.json.gz" in files
    assert len(json.loads(gzip.decompress(files["comparison.json.gz"]))["sets"]) == 14


def test_pictures_of_real_images_stand_beside_contradicted_ones(given: Comparison) -> None:
    shown = next(image for image in given.sets[0].images if "contradicted" in image.reasons)
    assert shown.nearest_real
    own, near = (NAMES[0], shown.uid), (REAL, shown.nearest_real)
    read = Read(render(given, thumbnails={own: picture(1), near: picture(2)}))
    alts = [image["alt"] for image in read.all("img")]
    assert sum(alt.startswith("Its nearest real image") for alt in alts) >= 1
    assert sum(alt.startswith("Synthetic image") for alt in alts) == 1


def test_wanted_pictures_are_those_that_a_page_shows(given: Comparison) -> None:
    wanted = wanted_pictures(given)
    assert len(wanted) == len(set(wanted))
    everything = {key: picture(1, 30) for key in wanted}
    more = everything | {("gan_v2", "nowhere.png"): picture(1), (REAL, "nowhere.png"): picture(1)}
    read = Read(render(given, thumbnails=more))
    assert "no picture" not in read.text
    assert len(read.all("img")) >= len(wanted)
    assert render(given, thumbnails=everything) == render(given, thumbnails=more)


def test_pictures_that_do_not_fit_are_counted(given: Comparison) -> None:
    first = given.sets[0]
    large = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    written = io.BytesIO()
    Image.fromarray(large).save(written, "PNG")
    images = tuple(replace(first.images[i % 24], uid=f"{i}.png", reasons=("best",)) for i in range(60))
    pictures = {(NAMES[0], f"{i}.png"): written.getvalue() for i in range(60)}
    read = Read(render(replace(given, sets=(replace(first, images=images),), pairs=()), thumbnails=pictures))
    (n,) = (int(n) for n in re.findall(r"(\d+) pictures do not fit into this page", read.text))
    assert n + len(read.all("img")) == 60
    assert 0 < n < 60


def test_written_atomically_and_over_an_older_page(given: Comparison, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    assert write_report(path, given) == path
    first = path.read_bytes()
    assert write_report(path, replace(given, verdict="Another verdict.")).read_bytes() != first
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]
    assert b"Another verdict." in path.read_bytes()


def _luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_that_of_wcag(scheme: str) -> None:
    """WCAG 2.2, 1.4.3 and 1.4.11: text 4.5 to 1, marks 3 to 1."""
    light, dark = re.findall(r":root\{(--paper:#[^}]*)\}", (TEMPLATES / "report.css").read_text())[:2]
    palette = dict(part.removeprefix("--").split(":") for part in (light if scheme == "light" else dark).split(";"))
    for paper in ("paper", "sheet"):
        for ink in ("text", "muted", "link", "yes", "no"):
            assert _contrast(palette[ink], palette[paper]) >= 4.5, (ink, paper)
    assert _contrast(palette["doubt"], palette["doubt-paper"]) >= 4.5
    assert _contrast(palette["text"], palette["calm-paper"]) >= 4.5
    for mark in ("set", "real", "other", "link"):
        assert _contrast(palette[mark], palette["paper"]) >= 3, mark
    assert _contrast("#ffffff", "#000000") == pytest.approx(21)
