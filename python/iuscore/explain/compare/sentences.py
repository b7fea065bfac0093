"""What a comparison says in words: verdicts, what a set is good for, what is wrong with it, and doubts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from iuscore.explain.compare.records import Change, ComparedSet, Comparison, Coverage, Effect, Gain, Pair
from iuscore.explain.compare.sets import ScoredSet
from iuscore.explain.value import SetValue
from iuscore.scoring.words import spreads

USEFUL, POOR = 0.8, 0.4
"""Shares of the transfer of real images from which a set is called useful, and below which it is called poor. They are
a choice, not measured."""

LARGE, CHANGES_SAID = 1.0, 3
"""Standard deviations of real images from which a change is named as a problem, and how many groups are named."""

AGREEMENT_GAP = 0.05
"""Label agreement this far below that of real images is named as a problem."""


@dataclass(frozen=True)
class Words:
    """Of one set, as in `ComparedSet`."""

    verdict: str
    use_for: tuple[str, ...]
    not_for: tuple[str, ...]
    problems: tuple[str, ...]
    doubts: tuple[str, ...]


def words_of(
    given: ScoredSet, value: SetValue, gains: Sequence[Gain], coverage: Sequence[Coverage], changes: Sequence[Change],
    effects: Sequence[Effect], contradicted: Mapping[str, int], n_copies_of_real: int, stand_ins: Sequence[str] = (),
) -> Words:  # fmt: skip
    """The sentences of one set; real images of the classes ``stand_ins`` were added to it."""
    name = given.name
    together = f"{name}, together with real images of {' and '.join(stand_ins)}," if stand_ins else name
    outside = (
        (f"images of {' and '.join(given.far_outside)} lie far outside real images of any class",)
        if given.far_outside
        else ()
    )
    return Words(
        _verdict(together, value),
        *_uses(value, gains),
        (*outside, *_problems(value, coverage, changes, effects, contradicted, n_copies_of_real)),
        value.cannot_be_said,
    )


def share_of_real(value: SetValue) -> float | None:
    """Transfer of the set over that of real images at its size; None where that is not above 0."""
    real = value.transfer.real
    return None if real is None or real <= 0 else value.transfer.value / real


def _verdict(name: str, value: SetValue) -> str:
    share, chance = share_of_real(value), value.transfer.shuffled
    if share is None:
        return f"{name}: nothing can be said, since real images teach nothing about real images here"
    high = value.transfer.high
    if value.transfer.value < 0 and high is not None and high < 0:
        return f"{name} teaches the wrong thing: its labels may be swapped"
    if chance is not None and value.transfer.low is not None and value.transfer.low <= chance:
        return f"{name} cannot be told from images with labels in random order"
    if share >= 1:
        return (
            f"{name} teaches as much as that many real images do (transfer {value.transfer.value:.2f}, theirs "
            f"{value.transfer.real:.2f})"
        )
    grade = "as useful as" if share >= USEFUL else ("less useful than" if share >= POOR else "much less useful than")
    return f"{name} keeps {100 * max(share, 0):.0f} % of what that many real images teach: {grade} these"


def _uses(value: SetValue, gains: Sequence[Gain]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    whole = [gain for gain in gains if gain.n_set is None]
    helps = [gain for gain in whole if gain.low > 0]
    harms = [gain for gain in whole if gain.high < 0]
    use, avoid = [], []
    if helps:
        largest = max(helps, key=lambda gain: gain.n_real)
        use.append(
            f"adding it to up to {largest.n_real} real images of each class: at that number small learners gain "
            f"{largest.gain:.3f} AUROC [{largest.low:.3f}, {largest.high:.3f}]"
        )
        parts = [gain for gain in gains if gain.n_set is not None and gain.n_real == largest.n_real]
        enough = [gain for gain in parts if gain.gain >= 0.9 * largest.gain]
        if enough:
            fewest = min(enough, key=lambda gain: gain.n_set or 0)
            use.append(f"{fewest.n_set} images of each class are enough: the whole set adds hardly more")
    most_helped = max((gain.n_real for gain in helps), default=0)
    none = [gain for gain in whole if gain.low <= 0 <= gain.high and gain.n_real > most_helped]
    if harms:
        fewest_real = min(harms, key=lambda gain: gain.n_real)
        avoid.append(
            f"adding it to {fewest_real.n_real} real images of each class or more: small learners lose "
            f"{-fewest_real.gain:.3f} AUROC there"
        )
    elif none:
        fewest_real = min(none, key=lambda gain: gain.n_real)
        avoid.append(f"a gain beside {fewest_real.n_real} real images of each class or more: none was found")
    share = share_of_real(value)
    if share is not None and share < USEFUL:
        avoid.append("taking the place of real images")
    return tuple(use), tuple(avoid)


def _problems(
    value: SetValue, coverage: Sequence[Coverage], changes: Sequence[Change], effects: Sequence[Effect],
    contradicted: Mapping[str, int], n_copies_of_real: int,
) -> tuple[str, ...]:  # fmt: skip
    found = [*_large_changes(changes), *(each.line for each in value.contrast if each.beyond_chance)]
    agreement = value.label_agreement
    if agreement.real is not None and agreement.value < agreement.real - AGREEMENT_GAP:
        counts = ", ".join(f"{n} of {name}" for name, n in contradicted.items() if n)
        found.append(
            f"labels: the nearest real images agree with {100 * agreement.value:.0f} % of the labels, where they agree "
            f"with {100 * agreement.real:.0f} % of those of real images (contradicted: {counts or 'none'})"
        )
    found += value.copies_lines
    if n_copies_of_real:
        found.append(
            f"privacy: {n_copies_of_real} image{'s are near copies' if n_copies_of_real > 1 else ' is a near copy'} "
            "of a real image"
        )
    for each in coverage:
        real = each.covered.real
        if real is not None and each.covered.high is not None and each.covered.high < real:
            more = f"; those that it does not resemble are unlike the others, {each.words}" if each.words else ""
            found.append(
                f"coverage: the set resembles {100 * each.covered.value:.0f} % of the real images of {each.target}, "
                f"other real images resemble {100 * real:.0f} %{more}"
            )
    strong = [each for each in effects if each.p < 0.05]
    if strong:
        worst = max(strong, key=lambda each: abs(each.difference))
        found.append(
            f"to the model, {worst.component} of {worst.target} differs most from real images "
            f"({worst.difference:+.2f} [{worst.low:+.2f}, {worst.high:+.2f}])"
        )
    return tuple(found)


def _large_changes(changes: Sequence[Change]) -> list[str]:
    """The largest changes of groups of features, beyond chance, each group once."""
    large = sorted((c for c in changes if c.p < 0.05 and abs(c.shift) >= LARGE), key=lambda c: -abs(c.shift))
    found: dict[str, str] = {}
    for change in large:
        if change.group not in found and len(found) < CHANGES_SAID:
            found[change.group] = (
                f"{change.target}: {change.words} ({change.feature}, {spreads(change.shift)} than in real images)"
            )
    return list(found.values())


def verdict_of(sets: Sequence[ComparedSet], pairs: Sequence[Pair], doubts: Sequence[str] = ()) -> str:
    """The first sentence of a comparison; with doubts about every set it begins by saying that it is a guess."""
    found = _order_of(sets, pairs)
    if not any(each.use_for for each in sets):
        which = "The set is not" if len(sets) == 1 else "None of the sets is"
        found = f"{which} recommended for training. {found}"
    return f"A guess, for the reasons given. {found}" if doubts else found


def _order_of(sets: Sequence[ComparedSet], pairs: Sequence[Pair]) -> str:
    if len(sets) == 1:
        return sets[0].verdict
    first, ties = sets[0], sets[0].ties
    if not ties:
        nearest = next(pair for pair in pairs if pair.first == first.name)
        return (
            f"{first.name} is the most useful of {len(sets)} sets (transfer {nearest.difference:.2f} above "
            f"{nearest.second}, [{nearest.low:.2f}, {nearest.high:.2f}]). {first.verdict}"
        )
    if len(ties) == len(sets) - 1:
        return f"Which of the {len(sets)} sets is the most useful cannot be told. Highest: {first.verdict}"
    worse = [each.name for each in sets if each.name not in (*ties, first.name)]
    return (
        f"The most useful is {first.name} or {' or '.join(ties)}: which one cannot be told. "
        f"Less useful: {', '.join(worse)}. {first.verdict}"
    )


def _fewest(given: ComparedSet) -> int:
    """Images of the smallest class that the set has."""
    return min(n for n in given.value.counts if n)


def advice_of(sets: Sequence[ComparedSet], real_counts: Sequence[int], classes: Sequence[str]) -> tuple[str, ...]:
    """What would help to say more."""
    found = []
    few = [(n, name) for n, name in zip(real_counts, classes, strict=True) if n < 50]
    if few:
        found.append("more real images: at least 50 of " + " and ".join(name for _, name in few))
    small = [each.name for each in sets if _fewest(each) < 25]
    if small:
        found.append(f"more images in {', '.join(small)}: at least 25 of each class")
    tied = [each for each in sets if each.ties]
    if tied:
        n = min(_fewest(each) for each in tied)
        found.append(
            f"to tell sets apart: more images in each (now {n} of a class in the smallest), and more real images; an "
            "interval halves with four times as many"
        )
    if any("small learners" in doubt for each in sets for doubt in each.doubts):
        found.append("a measurement: train your own classifier on each set, since small learners fail on this task")
    return tuple(found)


def lines_of(comparison: Comparison) -> list[str]:
    """A comparison as lines for a terminal."""
    lines = [comparison.verdict, *(f"cannot be said: {doubt}" for doubt in comparison.doubts)]
    for each in comparison.sets:
        groups = "" if each.n_groups is None else f" of {each.n_groups} groups"
        ties = f" (order not told from {', '.join(each.ties)})" if each.ties else ""
        lines.append(f"{each.place}. {each.name}: {each.n} images{groups}{ties}")
        lines.append(f"  {each.verdict}")
        lines += [f"  {line}" for line in each.value.lines if line.startswith(("transfer", "expected"))]
        lines += [f"  use for: {text}" for text in each.use_for]
        lines += [f"  not for: {text}" for text in each.not_for]
        lines += [f"  wrong: {text}" for text in each.problems[:5]]
    lines += [f"what would help: {text}" for text in comparison.advice]
    return lines
