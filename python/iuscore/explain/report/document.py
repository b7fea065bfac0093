"""A comparison as one page that needs nothing else: no network, no script, no font, no other file."""

from __future__ import annotations

import base64
import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from iuscore._run.files import atomic_write, disk_errors_as_user_errors
from iuscore.errors import UserError
from iuscore.explain.compare.records import Comparison
from iuscore.explain.report import downloads, figures, glossary, page, pictures, svg, text
from iuscore.explain.report.records import ScoreHistogram

MAX_BYTES = 2_000_000
"""Largest page. More images do not make it larger; more sets do, and then it shows fewer rows and pictures of each."""

REAL = ""
"""Stands in the place of a set's name in the keys of ``thumbnails`` for pictures of real images."""

TEMPLATES = Path(__file__).with_name("templates")

Pictures = Mapping[tuple[str, str], bytes]
Overlays = Mapping[str, bytes] | Mapping[tuple[str, str], bytes] | Mapping[str | tuple[str, str], bytes]


@dataclass(frozen=True)
class _Detail:
    """How much a page shows.

    Attributes:
        side: pixels of a thumbnail; 0 for none. pictures: bytes of all thumbnails. overlays: of all overlays.
        shown: images of a set's gallery. rows: of a long table or a figure. downloads: bytes of one file; 0 for none.
    """

    side: int
    pictures: int
    overlays: int
    shown: int
    rows: int
    downloads: int


_DETAILS = (
    _Detail(128, 650_000, 300_000, 60, 12, 200_000),
    _Detail(96, 400_000, 200_000, 30, 8, 150_000),
    _Detail(64, 200_000, 100_000, 12, 6, 100_000),
    _Detail(0, 0, 0, 6, 3, 100_000),
    _Detail(0, 0, 0, 0, 1, 0),
)


def render(
    comparison: Comparison,
    *,
    thumbnails: Pictures | None = None,
    overlays: Overlays | None = None,
    score_histograms: Sequence[ScoreHistogram] = (),
) -> str:
    """The page of a comparison as HTML, at most `MAX_BYTES` in UTF-8. Equal arguments give equal bytes.

    Args:
        comparison: what the page shows.
        thumbnails: (name of the set, uid) -> PNG, JPEG or WebP of an image that `ComparedSet.images` names; pictures of
            real images have `REAL` in the place of the name. They are brought to at most 128 pixels, and written again
            without the metadata of their files. Those that do not fit are left out, and the page says how many.
        overlays: (name of the set, component) or component -> picture that shows where in an image the component sees
            something.
        score_histograms: distributions of scores.

    Raises:
        UserError: so many sets that the page would be too large.
        ValueError: a picture that cannot be read.
    """
    for detail in _DETAILS:
        made = _page(comparison, thumbnails or {}, overlays or {}, score_histograms, detail)
        if len(made.encode("utf-8")) <= MAX_BYTES:
            return made
    raise UserError(
        f"sets: {len(comparison.sets)} with {len(comparison.classes)} classes do not fit into a page of "
        f"{MAX_BYTES:,} bytes; compare fewer sets at once"
    )


def wanted_pictures(comparison: Comparison) -> list[tuple[str, str]]:
    """Keys of the ``thumbnails`` that `render` can show, the most important first; `REAL` stands for real images.

    A caller needs to make no other pictures.
    """
    return _wanted(comparison, [page.gallery(each, _DETAILS[0].shown) for each in comparison.sets])


def write_report(
    path: str | os.PathLike[str],
    comparison: Comparison,
    *,
    thumbnails: Pictures | None = None,
    overlays: Overlays | None = None,
    score_histograms: Sequence[ScoreHistogram] = (),
) -> Path:
    """Write the page of `render` to ``path``, in one atomic write.

    Raises:
        UserError: as `render`, or the file cannot be written.
        ValueError: a picture that cannot be read.
    """
    content = render(comparison, thumbnails=thumbnails, overlays=overlays, score_histograms=score_histograms)
    target = Path(path)
    with disk_errors_as_user_errors(lambda error: f"{target}: cannot write the report: {error.strerror}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target) as file:
            file.write(content.encode("utf-8"))
    return target


def _page(
    comparison: Comparison,
    thumbnails: Pictures,
    overlays: Overlays,
    score_histograms: Sequence[ScoreHistogram],
    detail: _Detail,
) -> str:
    groups, names = downloads.influence_groups(comparison), page.component_names(comparison)
    galleries = [page.gallery(each, detail.shown) for each in comparison.sets]
    links = _Links(names)
    style, script = _file("figures.css") + _file("report.css"), _file("report.js")
    wanted = _wanted(comparison, galleries)
    made = pictures.prepare(thumbnails, wanted, side=detail.side, most_bytes=detail.pictures, name="thumbnails")
    left_out = Counter(key[0] for key in wanted if key in thumbnails and key not in made)
    histograms = figures.histograms(comparison, score_histograms)
    context: dict[str, Any] = {
        "comparison": comparison,
        "sets": [
            {
                "place": place,
                "of": each,
                "figures": figures.of_set(place, each, detail.rows),
                "images": galleries[place - 1],
                "left_out": left_out[each.name],
            }
            for place, each in enumerate(comparison.sets, 1)
        ],
        "overview": [figure for figure in (figures.ranking(comparison), figures.pairs(comparison)) if figure.rows],
        "pairs": figures.main_pairs(comparison),
        "histograms": histograms,
        "matters": page.what_matters(comparison),
        "warnings": page.warnings(comparison),
        "groups": groups,
        "sort_names": page.sort_names(comparison),
        "pictures": made,
        "overlays": _overlays(overlays, detail),
        "downloads": downloads.made(comparison, detail.downloads) if detail.downloads else [],
        "rows": detail.rows,
        "real": REAL,
        "links": links,
        "policy": _policy(style, script),
        "style": Markup(style),
        "script": Markup(script),
    }
    return _environment(links).get_template("report.html.j2").render(context)


class _Links:
    """Links to the glossary; it then lists the terms that the page links, and no others."""

    def __init__(self, components: tuple[str, ...]) -> None:
        self._components = components
        self._used: dict[str, glossary.Entry] = {}

    def term(self, key: str, words: str = "") -> Markup:
        """A link to a term, with other words if given."""
        return self._link(glossary.entry(key), words)

    def component(self, name: str) -> Markup:
        """A link to a component or group of features."""
        if name not in self._components:
            return Markup("<bdi>{}</bdi>").format(text.shown(name))
        return self._link(glossary.component(name, self._components), "")

    def _link(self, entry: glossary.Entry, words: str) -> Markup:
        self._used[entry.anchor] = entry
        template = Markup('<a class="term" href="#{}"><bdi>{}</bdi></a>')
        return template.format(entry.anchor, text.shown(words or entry.term))

    def used(self) -> list[glossary.Entry]:
        """The terms that were linked, by name."""
        return sorted(self._used.values(), key=lambda entry: (entry.term.casefold(), entry.anchor))


def _wanted(comparison: Comparison, galleries: Sequence[Sequence[Any]]) -> list[tuple[str, str]]:
    """Keys of the pictures of the page; sets take turns, so that each keeps its first ones if not all fit."""
    queues = []
    for each, images in zip(comparison.sets, galleries, strict=True):
        queue = []
        for image in images:
            queue.append((each.name, image.uid))
            if image.nearest_real is not None and _shows_nearest(image):
                queue.append((REAL, image.nearest_real))
        queues.append(queue + [(REAL, uid) for part in each.coverage for uid in part.uncovered])
    longest = max(map(len, queues), default=0)
    return list(dict.fromkeys(queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)))


def _shows_nearest(image: Any) -> bool:
    return not {"contradicted", "copy of real"}.isdisjoint(image.reasons)


def _overlays(given: Overlays, detail: _Detail) -> list[tuple[str, str, pictures.Picture]]:
    """(set or "", component, picture), sorted."""
    by_key = {(("", key) if isinstance(key, str) else key): content for key, content in given.items()}
    order = sorted(by_key)
    side = 320 if detail.overlays else 0
    made = pictures.prepare(by_key, order, side=side, most_bytes=detail.overlays, name="overlays")
    return [(*key, made[key]) for key in order if key in made]


def _policy(style: str, script: str) -> str:
    """Content security policy: the page's own style and script, pictures in the page, and nothing else."""

    def hashed(content: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode('utf-8')).digest()).decode('ascii')}'"

    return (
        f"default-src 'none'; img-src data:; style-src {hashed(style)}; script-src {hashed(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _file(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _environment(links: _Links) -> Environment:
    # Not StrictUndefined alone: every printed value goes through `_printed`, so no name can hide characters.
    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, finalize=_printed,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    made.globals |= {
        "term": links.term, "component": links.component, "legend_mark": svg.legend_mark, "legend": svg.legend,
        "draw": svg.draw, "REASONS": page.REASONS, "shows_nearest": _shows_nearest,
    }  # fmt: skip
    for function in (
        text.number, text.interval, text.with_interval, text.percent, text.p_value, text.count, text.plural,
        page.measures, page.controls, page.images_and_groups, page.how_many, page.how_sure, page.tie_words,
        page.influence_words, page.sort_keys,
    ):  # fmt: skip
        made.globals[function.__name__] = function
    return made


def _printed(value: Any) -> Any:
    """Text without characters that mislead; a value that is missing is an error of the template, not "None"."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return text.shown(value)
    if value is None:
        raise TypeError("expected a value to print, got None")
    return value
