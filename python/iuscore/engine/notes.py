"""Notes of ``summary.json``: sentences that say what limits the meaning of a set's numbers."""

from __future__ import annotations

from collections.abc import Mapping

from iuscore.engine.most_like import exchange_notes, mixture_of_sets, weak_swap_note
from iuscore.engine.texts import TextCounts
from iuscore.features import VERSION
from iuscore.features.bytes import CONSTANT
from iuscore.features.registry import COLOR_GROUPS
from iuscore.images.listing import counted
from iuscore.scoring import HeldOut, Scorer, TargetSummary
from iuscore.scoring.color import COLOR_UNSEEN, COLORLESS_IMAGE
from iuscore.scoring.records import COPIES
from iuscore.scoring.words import in_words, label_notes

MAX_NAMED = 5
"""Most classes that a note names; a note on more classes gives the number of the rest."""

DEGENERATE_MAP = "degenerate map "
_FLAT = "the map is nearly constant, and the min-max stretches rounding errors to full range"
_NO_COLOR = (
    "the image has no color, and the min-max stretches a faint copy of its lightness to full range; "
    "fit with --mode clean or --color gray"
)
_NO_PIXEL = "no pixel lies in this band of gray levels"
DEGENERATE = {
    "red-green": _NO_COLOR,
    "blue-yellow": _NO_COLOR,
    "coarse-fine": _FLAT,
    "light-dark": _FLAT,
    "band-i": _NO_PIXEL,
    "band-ii": _NO_PIXEL,
}


def separation_note(name: str, ceiling: HeldOut | None, floor: HeldOut | None) -> str | None:
    """A note where real images of a class and of other classes score alike, so that a score says nothing.

    Example:
        >>> ceiling = HeldOut(9, 0.7, {"0.25": 0.6})
        >>> floor = HeldOut(9, 0.1, {"0.5": 0.1})
        >>> separation_note("benign", ceiling, floor) is None
        True
    """
    return separation_of_classes({name: (ceiling, floor)})


def separation_of_classes(references: Mapping[str, tuple[HeldOut | None, HeldOut | None]]) -> str | None:
    """`separation_note` for several classes, each with its held-out references (ceiling, floor), as one sentence.

    Example:
        >>> same = HeldOut(9, 0.7, {"0.25": 0.6, "0.5": 0.7})
        >>> separation_of_classes({"a": (same, same), "b": (same, same)}).split(":")[0]
        'with this model an IUS against a and b does not tell the class'
    """
    overlapping = {}
    for name, (ceiling, floor) in references.items():
        if ceiling is None or floor is None:
            continue
        if floor.quantiles["0.5"] >= ceiling.quantiles["0.25"] or ceiling.mean - floor.mean < 0.01:
            overlapping[name] = (ceiling, floor)
    if not overlapping:
        return None
    (name, (ceiling, floor)), *others = list(overlapping.items())[:MAX_NAMED]
    means = f"real images of {name} score {ceiling.mean:.2f} on average, real images of other classes {floor.mean:.2f}"
    for name, (ceiling, floor) in others:
        means += f"; real {name} {ceiling.mean:.2f}, others {floor.mean:.2f}"
    return (
        f"with this model an IUS against {in_words(list(overlapping), MAX_NAMED)} does not tell the class: "
        f"{means}{', and the' if len(overlapping) == 1 else '; each'} two overlap"
    )


def above_note(name: str, mean: float, ceiling: HeldOut | None, low: float | None = None) -> str | None:
    """A note that a mean above the mean of real images is not better; ``low`` is the lower end of its interval.

    Example:
        >>> above_note("benign", 0.8, HeldOut(9, 0.4, {"0.95": 0.7})).split(":")[0]
        'the images compared with benign score 0.80 on average, above 95 % of real ones'
        >>> above_note("benign", 0.6, HeldOut(9, 0.4, {"0.95": 0.7}), 0.5).split(":")[0]
        'the images compared with benign score 0.60 on average, held-out real ones 0.40'
    """
    notes = _above_notes({name: (mean, ceiling, low)})
    return notes[0] if notes else None


def _above_notes(sets: Mapping[str, tuple[float, HeldOut | None, float | None]]) -> list[str]:
    """`above_note` for several sets: one sentence for sets far above real images, one for sets slightly above."""
    far, near = {}, {}
    for name, (mean, ceiling, low) in sets.items():
        if ceiling is None:
            continue
        if mean > ceiling.quantiles["0.95"]:
            far[name] = f"{mean:.2f}"
        elif low is not None and low > ceiling.mean:
            near[name] = f"{mean:.2f}", f"{ceiling.mean:.2f}"
    notes = []
    if far:
        notes.append(
            f"the images compared with {in_words(list(far), MAX_NAMED)} score "
            f"{in_words(list(far.values()), MAX_NAMED)} on average, above 95 % of real ones: they show what "
            "distinguishes the class more strongly than real images do, which is also a difference from real images"
        )
    if near:
        means, real = (in_words([pair[i] for pair in near.values()], MAX_NAMED) for i in (0, 1))
        notes.append(
            f"the images compared with {in_words(list(near), MAX_NAMED)} score {means} on average, held-out real ones "
            f"{real}: to this model they are more typical of the class than real images, which does not mean that the "
            "set is better"
        )
    return notes


def known_note(hits: int, looked_at: int, total: int) -> list[str]:
    """A note on images that the model was trained or validated on.

    Args:
        hits: number of scored images that are such images.
        looked_at: number of scored images for which the model's record can tell.
        total: number of scored images.

    Example:
        >>> known_note(3, 9, 9)[0].split(":")[0]
        '3 of 9 images are training or validation images of this model'
        >>> known_note(1, 40, 900)[0].split(":")[0]
        'in a sample of 40 of the 900 images, 1 is a training or validation image of this model'
    """
    if not hits:
        return []
    # A model of many images keeps the marks of a sample only, so that only a sample of the scored images can be tested.
    share = f"{hits} of" if looked_at >= total else f"in a sample of {looked_at} of the {total} images, {hits}"
    subject = f"{share} {counted(looked_at, 'image')}" if looked_at >= total else share
    return [
        f"{subject} {'is a' if hits == 1 else 'are'} training or validation {'image' if hits == 1 else 'images'} of "
        "this model: their scores show what the model has memorized, not what new images are worth"
    ]


def set_notes(scorer: Scorer, targets: Mapping[str, TargetSummary], warnings: TextCounts, scored: int) -> list[str]:
    """All notes of ``summary.json`` that follow from the scores, the warnings and the model."""
    separation = separation_of_classes({name: (entry.ceiling, entry.floor) for name, entry in targets.items()})
    notes = [separation] if separation else []
    doubtful = [name for name, entry in targets.items() if entry.classes_overlap or entry.out_of_distribution]
    on_labels = label_notes(targets, scorer.classes, doubtful)
    if not on_labels:
        most_like = {name: entry.most_like or {} for name, entry in targets.items()}
        on_labels = exchange_notes(most_like, scorer.record.accuracy, doubtful)
    if not on_labels and not any(entry.out_of_distribution for entry in targets.values()):
        note = weak_swap_note({name: entry.most_like or {} for name, entry in targets.items()}, scorer.record.recall)
        on_labels = [note] if note else []
    notes += on_labels
    if not on_labels:
        sure = {name: entry.most_like or {} for name, entry in targets.items() if name not in doubtful}
        notes += [note for note in [mixture_of_sets(sure, scorer.record.recall)] if note]
    if scorer.model.features and scorer.record.feature_version < VERSION:
        notes.append(
            "the model was fitted by an earlier version of iuscore, which measured some colors differently: scores of "
            "color images may have changed; fit the model again if that matters"
        )
    if inverted := [name for name, entry in targets.items() if entry.inverted]:
        notes.append(
            f"the images compared with {in_words(inverted, MAX_NAMED)} look like negatives of real images, light where "
            "real images are dark: if that is a mistake, invert their gray levels (255 - value); if not, trust the "
            "list of what changed more than the IUS"
        )
    if far := [name for name, entry in targets.items() if entry.out_of_distribution and not entry.inverted]:
        notes.append(
            f"the images compared with {in_words(far, MAX_NAMED)} lie far outside real ones of any class: the model "
            "was trained on nothing like them, so trust the list of what changed more than the IUS"
        )
    notes += _above_notes(
        {
            name: (entry.ius.mean, entry.ceiling, entry.ius.low)
            for name, entry in targets.items()
            if entry.ius.mean is not None
        }
    )
    nearest = {
        name: entry.diversity
        for name, entry in targets.items()
        if entry.diversity is not None and 2 * entry.n_identical <= entry.n_compared
    }
    if copies := {name: f"{distance:.2f}" for name, distance in nearest.items() if distance < COPIES}:
        notes.append(
            f"the images compared with {in_words(list(copies), MAX_NAMED)} are nearly copies of each other: the "
            f"distance from an image to its nearest neighbor is {in_words(list(copies.values()), MAX_NAMED)} of that "
            "among real images, which the mean IUS does not show"
        )
    same = {name: f"{entry.n_identical} of {entry.n_compared}" for name, entry in targets.items() if entry.n_identical}
    if same:
        notes.append(
            f"of the images compared with {in_words(list(same), MAX_NAMED)}, "
            f"{in_words(list(same.values()), MAX_NAMED)} examined ones are copies of another image: a copy adds "
            "nothing new, but the interval counts it as one more image"
        )
    notes += [f"{n} of {scored} images: {text}" for text, n in warnings.to_json().items() if "--bits" in text]
    for name in sorted(DEGENERATE, key=lambda name: -warnings[DEGENERATE_MAP + name]):
        if n := warnings[DEGENERATE_MAP + name]:
            notes.append(f"{n} of {scored} images have a degenerate {name} map: {DEGENERATE[name]}")
    if unseen := warnings[COLOR_UNSEEN]:
        notes.append(f"{unseen} of {scored} images have color, which this gray model does not see")
    if (none := warnings[COLORLESS_IMAGE]) and not any(warnings[DEGENERATE_MAP + name] for name in COLOR_GROUPS):
        notes.append(
            f"{none} of {scored} images have no color: the color components of this model mean nothing for them"
        )
    if constant := warnings[CONSTANT]:
        notes.append(f"{constant} of {scored} images are of one color throughout; their scores mean nothing")
    if scorer.profiles and all(profile.sd is None for profile in scorer.profiles.values()):
        notes.append(
            "the baseline has no standard deviations (it was imported, or made from one image), so shifts are unknown"
        )
    if interrupted_training(scorer):
        notes.append("the training of this model was interrupted: fit it to the end before trusting its scores")
    return notes


def interrupted_training(scorer: Scorer) -> bool:
    return scorer.record.training.interrupted
