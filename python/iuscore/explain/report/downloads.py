"""The numbers of a report as files that its page carries: CSV for a spreadsheet, JSON for programs."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from iuscore.explain.compare.records import ComparedSet, Comparison
from iuscore.explain.report.text import known
from iuscore.explain.value.records import Measure

_FORMULA = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
"""A spreadsheet runs a cell that begins so as a formula; the last four are the wide forms of the first."""

NUMBERS = (
    "set",
    "class",
    "kind",
    "name",
    "value",
    "low",
    "high",
    "real",
    "real_sd",
    "swapped",
    "shuffled",
    "p",
    "words",
)
IMAGES = (
    "set", "uid", "class", "reasons", "value", "ius", "confidence", "influence", "copies", "own_share", "nearest_real",
    "nearest_label", "words",
)  # fmt: skip

Cell = str | float | int | None


@dataclass(frozen=True)
class Download:
    """A file in a page: its name, what is in it, and its content as an address that needs no network."""

    name: str
    words: str
    address: str


def cell(value: Cell) -> str:
    """A cell of a CSV file. Text that a spreadsheet would run gets an apostrophe in front; numbers do not.

    Example:
        >>> cell("=HYPERLINK(1)"), cell(" @x"), cell("a-b"), cell(-0.5), cell(None), cell(float("nan"))
        ("'=HYPERLINK(1)", "' @x", 'a-b', '-0.5', '', '')
    """
    if isinstance(value, str):
        text = value.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")
        starts = (text[:1], text.lstrip()[:1])
        return f"'{text}" if any(start and start in _FORMULA for start in starts) else text
    return "" if known(value) is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def as_csv(header: Iterable[str], rows: Iterable[Iterable[Cell]]) -> bytes:
    """A CSV file in UTF-8 with a byte order mark, without which spreadsheets take it for another encoding."""
    written = io.StringIO(newline="")
    table = csv.writer(written, lineterminator="\r\n")
    table.writerow(header)
    table.writerows([cell(value) for value in row] for row in rows)
    return b"\xef\xbb\xbf" + written.getvalue().encode("utf-8")


def numbers(comparison: Comparison) -> Iterator[tuple[Cell, ...]]:
    """Every number of the sets, one in a row, under `NUMBERS`."""
    for each in comparison.sets:
        yield from (row for rows in (_measures(each), _differences(each), _counts(each)) for row in rows)
    for pair in comparison.pairs:
        words = "order can be told" if pair.told else "order cannot be told"
        yield _row(pair.first, "", "pair", pair.second, pair.difference, pair.low, pair.high, words=words)


def _row(
    name: str, target: str, kind: str, what: str, value: Cell, low: Cell = None, high: Cell = None, p: Cell = None,
    words: str = "",
) -> tuple[Cell, ...]:  # fmt: skip
    return (name, target, kind, what, value, low, high, None, None, None, None, p, words)


def _measures(each: ComparedSet) -> Iterator[tuple[Cell, ...]]:
    value = each.value
    named: list[tuple[str, str, str, Measure | None]] = [("", "value", "transfer", value.transfer)]
    named += [("", "transfer by view", view, value.transfer_by_view[view]) for view in sorted(value.transfer_by_view)]
    named += [("", "value", "expected AUROC, pix4", value.pix4), ("", "value", "expected AUROC, pix5", value.pix5)]
    named += [("", "learner", learner, value.learners[learner]) for learner in sorted(value.learners)]
    named += [
        ("", "value", "label agreement", value.label_agreement),
        ("", "value", "near copies", value.near_copies),
        ("", "value", "copies of real", value.copies_of_real),
    ]
    named += [("", "control", control, each.controls[control]) for control in sorted(each.controls)]
    named += [(part.target, "coverage", "covered", part.covered) for part in each.coverage]
    for target, kind, name, found in named:
        if found is not None:
            yield (
                each.name, target, kind, name, found.value, found.low, found.high, found.real, found.real_sd,
                found.swapped, found.shuffled, None, "",
            )  # fmt: skip


def _differences(each: ComparedSet) -> Iterator[tuple[Cell, ...]]:
    for part in each.value.contrast:
        found = part.moved
        yield (
            each.name, part.target, "contrast", part.group, found.value, found.low, found.high, found.real,
            found.real_sd, found.swapped, found.shuffled, None, part.line,
        )  # fmt: skip
    for change in each.changes:
        numbers = (change.shift, change.low, change.high, change.p)
        yield _row(each.name, change.target, "change", change.feature, *numbers, words=change.words)
    for effect in each.effects:
        numbers = (effect.difference, effect.low, effect.high, effect.p)
        yield _row(each.name, effect.target, "effect", effect.component, *numbers)
    for gain in each.gains:
        added = "" if gain.n_set is None else f", {gain.n_set} of the set added to each class"
        name = f"beside {gain.n_real} real images of each class{added}"
        yield _row(each.name, "", "gain", name, gain.gain, gain.low, gain.high)


def _counts(each: ComparedSet) -> Iterator[tuple[Cell, ...]]:
    for target, n in zip(each.value.classes, each.value.counts, strict=True):
        yield _row(each.name, target, "count", "images", n)
    for target in sorted(each.n_contradicted):
        yield _row(each.name, target, "count", "contradicted labels", each.n_contradicted[target])
    totals = (
        ("scored", each.n), ("unreadable", each.n_unreadable), ("groups", each.n_groups),
        ("looked at", each.n_looked_at), ("near copies", each.n_copies), ("copies of real", each.n_copies_of_real),
    )  # fmt: skip
    for name, total in totals:
        yield _row(each.name, "", "count", name, total)


def images(comparison: Comparison) -> Iterator[tuple[Cell, ...]]:
    """The shown images, one in a row, under `IMAGES` and one more column for each group of influence."""
    groups = influence_groups(comparison)
    for each in comparison.sets:
        for image in each.images:
            yield (
                each.name, image.uid, image.target, ", ".join(image.reasons), image.value, image.ius, image.confidence,
                image.influence, image.copies, image.own_share, image.nearest_real, image.nearest_label, image.words,
                *(image.influence_by_group.get(group) for group in groups),
            )  # fmt: skip


def influence_groups(comparison: Comparison) -> list[str]:
    """Names of the groups of features by which any image has an influence, sorted."""
    return sorted({group for each in comparison.sets for image in each.images for group in image.influence_by_group})


def as_json(comparison: Comparison) -> bytes:
    """`Comparison.to_json` in ASCII with sorted names: equal comparisons give equal bytes."""
    return json.dumps(comparison.to_json(), ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode("ascii")


def made(comparison: Comparison, most_bytes: int) -> list[Download]:
    """The files of a page; each one that is large is compressed, and left out if it is too large even so.

    Args:
        comparison: what they hold.
        most_bytes: of one address.
    """
    header = (*IMAGES, *(f"influence {group}" for group in influence_groups(comparison)))
    files = (
        ("comparison.json", "everything, for programs", "application/json", as_json(comparison)),
        ("numbers.csv", "all numbers of the sets", "text/csv", as_csv(NUMBERS, numbers(comparison))),
        ("images.csv", "the shown images", "text/csv", as_csv(map(_plain, header), images(comparison))),
    )
    found = []
    for name, words, kind, content in files:
        small = _as_address(kind, content)
        if len(small) > most_bytes:
            name, words = f"{name}.gz", f"{words}, compressed by gzip"
            small = _as_address("application/gzip", gzip.compress(content, 9, mtime=0))
        if len(small) <= most_bytes:
            found.append(Download(name, words, small))
    return found


def _plain(text: str) -> str:
    return cell(text)


def _as_address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
