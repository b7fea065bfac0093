"""Which images of a set a report shows, and why."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from iuscore.explain.compare.records import Reason, ShownImage
from iuscore.explain.compare.sets import ScoredSet
from iuscore.explain.value import ImageValues, ReferenceViews
from iuscore.explain.value.linear import Labels

EACH = 4
"""Images of a class that are shown for each reason."""


def shown_images(
    reference: ReferenceViews, given: ScoredSet, values: ImageValues, each: int = EACH
) -> tuple[ShownImage, ...]:
    """The best, typical and worst images of each class, labels that real images contradict, and copies.

    Args:
        reference: real images. given: the set. values: of its images. each: images of a class for each reason.

    Returns:
        An image stands once, with all reasons for which it was chosen; the most valuable first.
    """
    reasons: dict[int, list[Reason]] = {}

    def choose(places: Sequence[int] | Labels, reason: Reason) -> None:
        for place in places[:each]:
            reasons.setdefault(int(place), []).append(reason)

    for k in range(len(given.classes)):
        mine = np.flatnonzero(given.labels == k)
        order = mine[np.lexsort((mine, -values.place[mine]))]
        sound = order[~values.contradicted[order]]
        once = _first_of_copies(sound, values.copies)
        choose(once, "best")
        middle = max(0, (len(once) - each) // 2)
        choose(once[middle:], "typical")
        choose(order[::-1], "worst")
        wrong = order[values.contradicted[order]]
        choose(wrong[np.argsort(values.own_share[wrong], kind="stable")], "contradicted")
        copied = order[values.copies[order] > 1]
        choose(copied[np.argsort(-values.copies[copied], kind="stable")], "copy")
        real = order[values.nearness[order] < 1]
        choose(real[np.argsort(values.nearness[real], kind="stable")], "copy of real")
    shown = sorted(reasons, key=lambda place: (-values.place[place], place))
    return tuple(_shown(reference, given, values, place, tuple(reasons[place])) for place in shown)


def _first_of_copies(places: Labels, copies: Labels) -> Labels:
    """Images without near copies first, so that a gallery does not show one image many times."""
    return np.concatenate([places[copies[places] == 1], places[copies[places] > 1]])


def _shown(
    reference: ReferenceViews, given: ScoredSet, values: ImageValues, place: int, reasons: tuple[Reason, ...]
) -> ShownImage:
    record = reference.record
    nearest = int(values.nearest_real[place])
    ius, confidence = float(given.ius[place]), float(given.confidence[place])
    target, label = given.classes[given.labels[place]], record.classes[reference.labels[nearest]]
    groups = {name: float(each[place]) for name, each in values.influence_by_group.items()}
    return ShownImage(
        uid=given.uids[place],
        target=target,
        reasons=reasons,
        value=float(values.place[place]),
        ius=ius if np.isfinite(ius) else None,
        confidence=confidence if np.isfinite(confidence) else None,
        influence=float(values.influence[place]),
        influence_by_group=groups,
        copies=int(values.copies[place]),
        own_share=float(values.own_share[place]),
        nearest_real=None if record.uids is None else record.uids[nearest],
        nearest_label=label,
        words=_words(values, place, target, label, groups, reasons),
    )


def _words(
    values: ImageValues, place: int, target: str, label: str, groups: dict[str, float], reasons: tuple[Reason, ...]
) -> str:
    found = [f"more useful than {100 * values.place[place]:.0f} % of the set"]
    if "contradicted" in reasons:
        found.append(f"claims {target}, but only {100 * values.own_share[place]:.0f} % of its nearest real images do")
    elif label != target:
        found.append(f"its nearest real image is {label}")
    if values.copies[place] > 1:
        found.append(f"{values.copies[place] - 1} more images of the set are nearly the same")
    if values.nearness[place] < 1:
        found.append("a near copy of a real image")
    strongest = max(groups, key=lambda name: abs(groups[name])) if groups else None
    if strongest is not None and groups[strongest]:
        found.append(f"{'helps' if groups[strongest] > 0 else 'harms'} most by {strongest}")
    return "; ".join(found)
