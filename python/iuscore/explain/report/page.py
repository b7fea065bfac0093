"""What the page says, put together from a comparison: sentences, and rows of tables with sort keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from iuscore.explain.compare.records import Change, ComparedSet, Comparison, Effect, ShownImage
from iuscore.explain.compare.sentences import AGREEMENT_GAP
from iuscore.explain.report import glossary, text
from iuscore.explain.report.downloads import influence_groups
from iuscore.explain.report.figures import VIEWS, learner_name
from iuscore.explain.value.records import Measure

REASONS: Mapping[str, str] = {
    "contradicted": "label contradicted",
    "copy of real": "copy of a real image",
    "copy": "near copy in the set",
    "best": "best",
    "typical": "typical",
    "worst": "worst",
}
"""Why an image is shown, in the order of the gallery -> words."""

BEYOND_CHANCE = 0.05


@dataclass(frozen=True)
class MeasureRow:
    """A row of a table of measures: name, key of the glossary or "", the measure, and whether it is a share."""

    label: str
    term: str
    measure: Measure
    share: bool = False

    def said(self, value: float | None) -> str:
        """A number of this row."""
        return text.percent(value) if self.share else text.number(value)

    @property
    def value(self) -> str:
        """The number of the set."""
        return self.said(self.measure.value)

    @property
    def ends(self) -> str:
        """Its interval, or ""."""
        low, high = text.known(self.measure.low), text.known(self.measure.high)
        return "" if low is None or high is None else f"{self.said(low)} to {self.said(high)}"

    @property
    def nearer(self) -> str:
        """Whether the number lies nearer to real images or to swapped labels, if it tells these apart."""
        value, real = text.known(self.measure.value), text.known(self.measure.real)
        none = [text.known(each) for each in (self.measure.shuffled, self.measure.swapped)]
        useless = next((each for each in none if each is not None), None)
        if value is None or real is None or useless is None:
            return text.MISSING
        if abs(real - useless) <= (text.known(self.measure.real_sd) or 0.0):
            return "does not tell them apart"
        gap = abs(value - real) - abs(value - useless)
        return "in the middle" if gap == 0 else "real images" if gap < 0 else "swapped labels"


def measures(each: ComparedSet) -> list[MeasureRow]:
    """The numbers of a set's value."""
    value = each.value
    views = sorted(value.transfer_by_view, key=lambda view: (list(VIEWS).index(view) if view in VIEWS else 9, view))
    rows = [MeasureRow("transfer", "transfer", value.transfer)]
    rows += [
        MeasureRow(f"transfer, view “{VIEWS.get(view, view).lower()}”", "view", value.transfer_by_view[view])
        for view in views
    ]
    rows.append(MeasureRow("expected AUROC", "expected-auroc", value.pix5 or value.pix4))
    rows += [
        MeasureRow(f"AUROC: {learner_name(name).lower()}", "learner", value.learners[name])
        for name in sorted(value.learners)
    ]
    return [
        *rows,
        MeasureRow("label agreement", "label-agreement", value.label_agreement, share=True),
        MeasureRow("near copies", "near-copy", value.near_copies, share=True),
        MeasureRow("copies of real images", "copy-of-real", value.copies_of_real, share=True),
    ]


def controls(each: ComparedSet) -> list[tuple[MeasureRow, str]]:
    """Other measures of a set, each with the side that is better, or ""."""
    order = [*glossary.CONTROLS, *sorted(set(each.controls) - set(glossary.CONTROLS))]
    rows = []
    for key in order:
        if key in each.controls:
            name, term, better = glossary.CONTROLS.get(key, (key, "", ""))
            rows.append((MeasureRow(name, term, each.controls[key]), better))
    return rows


def images_and_groups(n: int, groups: int | None) -> str:
    """Number of images beside that of patients or groups.

    Example:
        >>> images_and_groups(500, 84), images_and_groups(1, None)
        ('500 images of 84 patients or groups', '1 image; number of patients not known')
    """
    images = text.plural(n, "image")
    if groups is None:
        return f"{images}; number of patients not known"
    return f"{images} of {text.plural(groups, 'patient or group', 'patients or groups')}"


def how_many(each: ComparedSet) -> str:
    """How many images of a set to use, as far as the numbers say it."""
    if not each.use_for:
        return "None: the set is not recommended for anything here."
    contradicted = sum(each.n_contradicted.values())
    sentences = [_parts_tried(each)]
    among = "" if each.n_looked_at >= each.n else f" (found among {text.count(each.n_looked_at)} images looked at)"
    out = []
    if contradicted and _labels_worse_than_real(each):
        out.append(f"{text.count(contradicted)} with a contradicted label")
    if each.n_copies_of_real:
        out.append(text.plural(each.n_copies_of_real, "copy of real images", "copies of real images"))
    if out:
        sentences.append(f"Leave out {' and '.join(out)}{among}.")
    if each.n_copies:
        sentences.append(
            f"{text.plural(each.n_copies, 'image has', 'images have')} near copies{among}: keep one of each."
        )
    return " ".join(sentences)


def _labels_worse_than_real(each: ComparedSet) -> bool:
    """Whether more labels are contradicted than those of real images: on hard tasks many of these are, too."""
    found = each.value.label_agreement
    real = text.known(found.real)
    return real is None or found.value < real - AGREEMENT_GAP


def _parts_tried(each: ComparedSet) -> str:
    """What a part of the set adds beside the whole set, where that was tried."""
    parts = sorted((gain for gain in each.gains if gain.n_set is not None), key=lambda gain: gain.n_set or 0)
    if not parts:
        return f"All {text.plural(each.n, 'image')} were judged together; fewer were not tried."
    whole = next(gain for gain in each.gains if gain.n_set is None and gain.n_real == parts[0].n_real)
    said = [f"{text.count(gain.n_set or 0)} of each class add {text.number(gain.gain, 3)}" for gain in parts]
    return (
        f"Beside {text.plural(parts[0].n_real, 'real image')} of each class, {', '.join(said)}, and all "
        f"{text.plural(each.n, 'image')} add {text.number(whole.gain, 3)} AUROC."
    )


def how_sure(each: ComparedSet) -> str:
    """The interval of a set's transfer beside real images, in a sentence."""
    found = each.value.transfer
    ends = text.interval(found.low, found.high)
    between = f", 95 % interval {ends}" if ends else ", without an interval"
    real = text.known(found.real)
    beside = "" if real is None else f"; real images of that number reach {text.number(real)}"
    return f"Transfer {text.number(found.value)}{between}{beside}."


def tie_words(each: ComparedSet) -> str:
    """Which other sets may be as useful, or "" if the order is clear."""
    return f"The order against {text.shown(', '.join(each.ties))} cannot be told." if each.ties else ""


@dataclass(frozen=True)
class Matter:
    """What matters most to the model in the images of one class of one set.

    Attributes:
        place: of the set, counted from 1. name: of the set. target: the class.
        effect: the component that differs most, beyond chance; None where none does.
        change: the surest change in the features of that component; None where there is none, or no such features.
        measured: whether the set has effects of components at all.
    """

    place: int
    name: str
    target: str
    effect: Effect | None
    change: Change | None
    measured: bool


def what_matters(comparison: Comparison) -> list[Matter]:
    """For each set and class, the component that differs most from real images, and how its images look."""
    found = []
    for place, each in enumerate(comparison.sets, 1):
        present = [c for c, n in zip(each.value.classes, each.value.counts, strict=True) if n]
        for target in present:
            sure = [effect for effect in each.effects if effect.target == target and effect.p < BEYOND_CHANCE]
            effect = max(sure, key=lambda some: abs(some.difference), default=None)
            changes = [
                change
                for change in each.changes
                if effect and (change.target, change.group) == (target, effect.component) and change.p < BEYOND_CHANCE
            ]
            surest = min(changes, key=lambda change: change.p, default=None)
            found.append(Matter(place, each.name, target, effect, surest, bool(each.effects)))
    return found


def gallery(each: ComparedSet, most: int) -> list[ShownImage]:
    """The images to show: of each reason in turn the first ones, then in the order of reasons and falling value."""
    order = list(REASONS)
    by_reason = {reason: [image for image in each.images if reason in image.reasons] for reason in order}
    kept: dict[str, ShownImage] = {}
    for turn in range(max(map(len, by_reason.values()), default=0)):
        for images in by_reason.values():
            if turn < len(images) and len(kept) < most:
                kept.setdefault(images[turn].uid, images[turn])
    return sorted(kept.values(), key=lambda image: (min(map(order.index, image.reasons)), -image.value, image.uid))


def sort_keys(image: ShownImage, groups: Sequence[str]) -> str:
    """Numbers by which a gallery is sorted, in the order of `sort_names`; empty where one is missing."""
    values = [image.value, image.ius, image.confidence, image.influence, float(image.copies)]
    values += [image.influence_by_group.get(group) for group in groups]
    return " ".join("x" if (value := text.known(each)) is None else f"{value:.4g}" for each in values)


def sort_names(comparison: Comparison) -> list[str]:
    """What a gallery can be sorted by."""
    groups = [f"influence through {group}" for group in influence_groups(comparison)]
    return ["value", "IUS", "confidence", "influence", "number of copies", *groups]


def influence_words(image: ShownImage) -> str:
    """Whether an image raises the transfer, and through which group of features most."""
    total = text.known(image.influence)
    if total is None:
        return text.MISSING
    does = "raises transfer" if total > 0 else "lowers transfer" if total < 0 else "no effect on transfer"
    same = {name: value for name, value in image.influence_by_group.items() if text.known(value) and value * total > 0}
    if not same:
        return does
    most = max(sorted(same), key=lambda name: abs(same[name]))
    return f"{does}, most through {most}"


def component_names(comparison: Comparison) -> tuple[str, ...]:
    """Components and groups of features that the page names, sorted."""
    names: set[str] = set(influence_groups(comparison))
    for each in comparison.sets:
        names.update(effect.component for effect in each.effects)
        names.update(change.group for change in each.changes)
        names.update(part.group for part in each.value.contrast)
    return tuple(sorted(names))


@dataclass(frozen=True)
class Warnings:
    """Sentences about one set, or about all."""

    name: str
    place: int | None
    sentences: tuple[str, ...]


def warnings(comparison: Comparison) -> list[Warnings]:
    """What to know before trusting the numbers: of the whole comparison first, then of each set."""
    found = [Warnings("All sets", None, comparison.doubts)]
    for place, each in enumerate(comparison.sets, 1):
        sentences = [*each.doubts, *each.value.cannot_be_said]
        if each.n_unreadable:
            sentences.append(f"{text.plural(each.n_unreadable, 'image')} could not be read and count nowhere.")
        if each.n_looked_at < each.n:
            looked = f"{text.count(each.n_looked_at)} of {text.count(each.n)} images"
            sentences.append(f"The numbers come from {looked}, evenly spread, as memory allows.")
        contradicted = {name: n for name, n in sorted(each.n_contradicted.items()) if n}
        sentences += [
            f"{text.plural(n, 'image')} of {name}: the nearest real images contradict the label."
            for name, n in contradicted.items()
        ]
        if each.n_copies:
            sentences.append(f"{text.plural(each.n_copies, 'image has', 'images have')} a near copy in the set.")
        if each.n_copies_of_real:
            many = text.plural(each.n_copies_of_real, "image is a near copy", "images are near copies")
            sentences.append(f"{many} of a real image: this may reveal a patient.")
        found.append(Warnings(each.name, place, unique(sentences)))
    return [each for each in found if each.sentences]


def unique(sentences: Iterable[str]) -> tuple[str, ...]:
    """The sentences without repetitions, in their order."""
    return tuple(dict.fromkeys(sentences))
