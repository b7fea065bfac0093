"""The page of a comparison in headless Chromium: silent, without a request, at three widths, by keyboard, on paper."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from iuscore.explain.report import render
from tests.explain import chromium, comparisons
from tests.explain.comparisons import HOSTILE, comparison

pytestmark = pytest.mark.skipif(chromium.program() is None, reason="no Chromium on PATH")

WIDTHS = (360, 800, 1400)
TAB, ENTER = ("Tab", 9), ("Enter", 13)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = comparison()
    target = tmp_path_factory.mktemp("page") / "report.html"
    made = render(
        given,
        thumbnails=comparisons.thumbnails(given),
        overlays={"lightness": comparisons.picture(4, 300)},
        score_histograms=comparisons.histograms(given),
    )
    target.write_text(made, encoding="utf-8")
    return target


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Page]:
    with chromium.Page(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("width", WIDTHS)
def test_page_is_silent_asks_for_nothing_and_fits(
    browser: chromium.Page, path: Path, width: int, scripts: bool
) -> None:
    browser.requests.clear()
    browser.complaints.clear()
    browser.open(path, width, scripts=scripts)
    assert [request for request in browser.requests if not request.startswith("data:")] == [path.as_uri()]
    assert browser.complaints == []
    assert browser.value("document.documentElement.scrollWidth") <= width
    wide = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, svg, .skip') &&
        e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + '.' + e.className)"""
    assert browser.value(wide) == []
    assert browser.value("[...document.images].filter(i => !i.naturalWidth).length") == 0


def test_long_names_do_not_widen_the_page(browser: chromium.Page, tmp_path: Path) -> None:
    given = comparison()
    long = "a_long_name_without_any_break_in_it" * 5
    sets = tuple(
        replace(given.sets[0], name=f"{long}{i}", verdict=long, doubts=(long,), problems=(long,), place=i + 1)
        for i in range(7)
    )
    made = replace(given, sets=sets, pairs=(), verdict=long, doubts=(long,), advice=(long,), command=long, real=long)
    path = tmp_path / "long.html"
    path.write_text(render(made), encoding="utf-8")
    for width in WIDTHS:
        browser.open(path, width)
        assert browser.value("document.documentElement.scrollWidth") <= width
    browser.open(path, 360)
    assert browser.value("document.querySelector('.verdict').getBoundingClientRect().top < innerHeight / 2")


def test_a_planted_request_and_a_planted_script_are_seen(browser: chromium.Page, path: Path, tmp_path: Path) -> None:
    """The checks above can fail: a picture from elsewhere is refused by the policy, and the browser complains."""
    planted = tmp_path / "planted.html"
    text = path.read_text(encoding="utf-8")
    planted.write_text(text.replace("<main>", '<main><img src="http://127.0.0.1:9/x.png"><script>1</script>'), "utf-8")
    browser.complaints.clear()
    browser.open(planted, 800)
    assert len([complaint for complaint in browser.complaints if "Content Security Policy" in complaint]) == 2
    without = tmp_path / "without.html"
    without.write_text(re.sub(r"<meta http-equiv[^>]*>", "", planted.read_text(encoding="utf-8")), "utf-8")
    browser.requests.clear()
    browser.open(without, 800)
    assert "http://127.0.0.1:9/x.png" in browser.requests


@pytest.mark.parametrize("width", WIDTHS)
def test_verdict_and_doubts_are_on_the_first_screen_in_one_size(browser: chromium.Page, path: Path, width: int) -> None:
    browser.open(path, width)
    say = """[...document.querySelectorAll('.say')].map(e => [getComputedStyle(e).fontSize,
        getComputedStyle(e).fontWeight, e.getBoundingClientRect().bottom < innerHeight])"""
    found = browser.value(say)
    assert len(found) == 2
    assert found[0] == found[1]
    assert found[0][2] is True
    assert browser.value("document.querySelector('.facts').getBoundingClientRect().bottom < innerHeight")
    assert browser.value("document.querySelector('.yes').getBoundingClientRect().bottom < innerHeight")


def test_keyboard_goes_through_the_page_in_its_order_with_a_visible_focus(browser: chromium.Page, path: Path) -> None:
    browser.open(path, 1400)
    everything = "[...document.querySelectorAll('a[href], button, select, [tabindex]')]"
    n = browser.value(f"{everything}.filter(e => e.getClientRects().length).length")
    seen = []
    for _ in range(60):
        browser.press(*TAB)
        seen.append(browser.value(f"{everything}.indexOf(document.activeElement)"))
    assert n > 100
    assert seen == list(range(60))
    assert browser.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert browser.value("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 2


def test_first_tab_offers_to_skip_to_the_answer(browser: chromium.Page, path: Path) -> None:
    browser.open(path, 800)
    browser.press(*TAB)
    assert browser.value("document.activeElement.textContent") == "Skip to the answer"
    assert browser.value("document.activeElement.getBoundingClientRect().left >= 0")


def test_tables_are_sorted_by_keyboard_and_say_so(browser: chromium.Page, path: Path) -> None:
    browser.open(path, 1400)
    table = "document.querySelector('#set-1 table[aria-label], #set-1 .scroll[aria-label^=\"What changed\"] table')"
    column = f"[...{table}.tBodies[0].rows].map(r => parseFloat(r.cells[2].textContent.replace('\\u2212', '-')))"
    given = browser.value(column)
    browser.value(f"{table}.tHead.rows[0].cells[2].querySelector('button').focus()")
    sort = f"{table}.tHead.rows[0].cells[2].getAttribute('aria-sort')"
    assert browser.value(sort) is None
    for order, expected in (("ascending", sorted(given)), ("descending", sorted(given, reverse=True))):
        browser.press(*ENTER, text="\r")
        assert browser.value(sort) == order
        assert browser.value(column) == expected
    assert browser.value(f"{table}.querySelectorAll('[aria-sort]').length") == 1
    assert given != sorted(given)


def test_galleries_are_sorted_by_component_and_filtered(browser: chromium.Page, path: Path) -> None:
    browser.open(path, 1400)
    gallery = "document.querySelector('#set-1 .controls + .gallery')"
    names = comparison().sets[0].images[0].influence_by_group
    place = 5 + sorted(names).index("lightness")
    choose = """(() => { const e = document.querySelector('#set-1 %s'); e.value = '%s';
        e.dispatchEvent(new Event('change')); return document.querySelector('#set-1 .status').textContent; })()"""
    assert browser.value(choose % (".sort-by", place)) == "24 shown"
    keys = f"[...{gallery}.children].map(e => parseFloat(e.dataset.keys.split(' ')[{place}]))"
    expected = sorted((image.influence_by_group["lightness"] for image in comparison().sets[0].images), reverse=True)
    assert browser.value(keys) == pytest.approx(expected)
    browser.value("document.querySelector('#set-1 .turn').click()")
    assert browser.value(keys) == pytest.approx(expected[::-1])
    assert browser.value("document.querySelector('#set-1 .turn').getAttribute('aria-pressed')") == "true"
    assert browser.value(choose % (".show-only", "label contradicted")) == "4 shown"
    shown = f"[...{gallery}.children].filter(e => e.getClientRects().length).length"
    assert browser.value(shown) == 4


def test_missing_numbers_are_sorted_last(browser: chromium.Page, path: Path) -> None:
    browser.open(path, 1400)
    browser.value("""(() => { const e = document.querySelector('#set-3 .sort-by'); e.value = '1';
        e.dispatchEvent(new Event('change')); })()""")
    given = [image.ius for image in comparison().sets[2].images]
    known = sorted((ius for ius in given if ius is not None), reverse=True)
    words = "[...document.querySelectorAll('#set-3 .gallery .shown')].map(e => e.dataset.keys.split(' ')[1])"
    found = browser.value(words)
    assert [float(word) for word in found[: len(known)]] == pytest.approx(known)
    assert found[len(known) :] == ["x"] * (len(given) - len(known))


def test_without_scripts_no_dead_control_is_shown(browser: chromium.Page, path: Path) -> None:
    browser.open(path, 1400, scripts=False)
    # Scripts of the page are off; the tools of the browser still answer.
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    dead = "[...document.querySelectorAll('button, select')].filter(e => e.getClientRects().length).length"
    assert browser.value(dead) == 0
    assert browser.value("document.querySelectorAll('.shown').length") == 72


def test_names_with_markup_run_nothing(browser: chromium.Page, path: Path) -> None:
    browser.open(path, 800)
    assert browser.value("document.scripts.length") == 1
    assert browser.value(f"document.body.textContent.includes({json.dumps(HOSTILE)})")
    assert browser.value("document.querySelector('h3 b, td b, li b') === null")


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_contrast_in_both_schemes(browser: chromium.Page, path: Path, dark: bool) -> None:
    browser.open(path, 800, dark=dark)
    background = browser.value("getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, re.findall(r"\d+", background)[:3])) > 380
    assert light != dark
    colors = browser.value(
        "[...new Set([...document.querySelectorAll('.figure .dot')].map(e => getComputedStyle(e).fill))]"
    )
    assert len(colors) == 1
    assert colors[0] != background


def test_every_link_in_the_page_can_be_reached(browser: chromium.Page, path: Path) -> None:
    browser.open(path, 800)
    broken = """[...document.querySelectorAll('a[href^="#"]')].filter(a =>
        !document.getElementById(a.getAttribute('href').slice(1))).length"""
    assert browser.value(broken) == 0


def test_downloads_hold_what_they_say(browser: chromium.Page, path: Path) -> None:
    browser.open(path, 800)
    read = """(() => { const a = document.querySelector('a[download="comparison.json"]');
        return JSON.parse(atob(a.href.split('base64,')[1])).verdict; })()"""
    assert browser.value(read) == comparison().verdict


def test_page_prints(browser: chromium.Page, path: Path) -> None:
    browser.open(path, 800)
    printed = browser.pdf()
    assert printed.startswith(b"%PDF-")
    pages = len(re.findall(rb"/Type\s*/Page\b(?!s)", printed + b"".join(_inflated(printed))))
    assert 4 <= pages <= 28
    browser.call("Emulation.setEmulatedMedia", media="print", features=[])
    visible = "[...document.querySelectorAll('nav, .controls, .skip')].filter(e => e.getClientRects().length).length"
    assert browser.value(visible) == 0
    assert browser.value("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"


def _inflated(printed: bytes) -> Iterator[bytes]:
    for found in re.finditer(rb"stream\r?\n", printed):
        with suppress(zlib.error):  # pictures are packed otherwise
            yield zlib.decompressobj().decompress(printed[found.end() :])
