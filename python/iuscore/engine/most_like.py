"""Which real class each image looks to the model most like: sets that mix classes, and labels that were exchanged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from iuscore.features import FeatureProfile, changes, farthest_moved, joint_distance
from iuscore.features.registry import Feature
from iuscore.scoring.words import MIXED, in_words

Array = npt.NDArray[np.floating[Any]]
Counts = Mapping[str, int]

SURE = 1e-4
"""Chance of so many images, per class, below which labels are said to be swapped even by a weak model."""

MIN_IMAGES_OF_A_MIXTURE = 10
"""Images below which nothing is said of a mixture."""

MAX_LOOKED_AT = 100
"""Images of a set whose nearest class is found one by one."""


def most_probable(probabilities: Array) -> npt.NDArray[np.int64]:
    """Number of images for which each class has the largest probability, [K], of probabilities [N, K].

    Rows that are not finite count nowhere.

    Example:
        >>> most_probable(np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [np.nan, np.nan]])).tolist()
        [1, 2]
    """
    usable = probabilities[np.isfinite(probabilities).all(axis=1)]
    return np.bincount(usable.argmax(axis=1) if len(usable) else [], minlength=probabilities.shape[1]).astype(np.int64)


def others_line(target: str, most_like: Counts, recall: float | None) -> str | None:
    """How many images look most like a class that they were not compared with; None where none does.

    Args:
        target: the class that the images were compared with.
        most_like: class -> number of images that have its probability as the largest.
        recall: share of held-out real images of the class that the model finds; None where it is not known.

    Example:
        >>> others_line("wbc", {"rbc": 31, "wbc": 69}, 0.98)
        '31 of 100 images look to the model most like another class: rbc 31 (of held-out real wbc 2 % do)'
    """
    n, others = sum(most_like.values()), {name: k for name, k in most_like.items() if k and name != target}
    if not others:
        return None
    most = sorted(others, key=lambda name: -others[name])
    named = ", ".join(f"{name} {others[name]}" for name in most[:5]) + (", ..." if len(most) > 5 else "")
    known = "" if recall is None else f" (of held-out real {target} {100 * (1 - recall):.0f} % do)"
    verb = "looks" if sum(others.values()) == 1 else "look"
    return f"{sum(others.values())} of {n} images {verb} to the model most like another class: {named}{known}"


def mixture_note(target: str, most_like: Counts, recall: float | None) -> str | None:
    """A set of which a part looks like another class, far more than of real images; None of any other set.

    Example:
        >>> mixture_note("wbc", {"rbc": 40, "wbc": 40}, 0.95).split(":")[0]
        'the images against wbc may mix classes (wbc 40, rbc 40)'
        >>> mixture_note("wbc", {"rbc": 5, "wbc": 75}, 0.95) is None
        True
    """
    return mixture_of_sets({target: most_like}, {} if recall is None else {target: recall})


def mixture_of_sets(most_like: Mapping[str, Counts], recall: Mapping[str, float]) -> str | None:
    """The same of several sets in one sentence.

    Args:
        most_like: class that images were compared with -> class -> number of images most like it.
        recall: class -> share of its held-out real images that the model finds.

    Example:
        >>> mixture_of_sets({"a": {"a": 40, "b": 40}, "b": {"a": 20, "b": 60}}, {"a": 0.95, "b": 1.0}).split(":")[0]
        'the images against a (a 40, b 40) and b (b 60, a 20) may mix classes'
    """
    found = {name: by for name, of in most_like.items() if (by := _mixture(name, of, recall.get(name)))}
    if not found:
        return None
    if len(found) == 1:
        ((name, by),) = found.items()
        who = f"{name} may mix classes ({by})"
    else:
        who = f"{in_words([f'{name} ({by})' for name, by in found.items()])} may mix classes"
    return f"the images against {who}: what changed describes the mixture, not its images"


def _mixture(target: str, most_like: Counts, recall: float | None) -> str:
    """The classes that a set mixes, with the number of images of each; "" of a set that does not."""
    if recall is None:
        return ""
    n = sum(most_like.values())
    usual = {name: 0.0 if name == target else 2 * (1 - recall) for name in most_like}
    parts = {name: k for name, k in most_like.items() if k >= max(MIXED, usual[name]) * n}
    if n < MIN_IMAGES_OF_A_MIXTURE or len(parts) < 2 or target not in parts:
        return ""
    others = sorted((name for name in parts if name != target), key=lambda name: -parts[name])
    return ", ".join(f"{name} {parts[name]}" for name in (target, *others))


def exchange_notes(
    most_like: Mapping[str, Counts], accuracy: float | None, doubtful: Collection[str] = ()
) -> list[str]:
    """What to say of labels that the model does not find in the images, of any number of classes.

    Args:
        most_like: class that images were compared with -> class -> number of images most like it.
        accuracy: of the model on held-out real images; None where it is not known.
        doubtful: classes of which the model's opinion is a guess, so that nothing follows from it.

    Returns:
        A note for each ring of classes most of whose images look like the next class, one for each other class most of
        whose images look like another, or one for labels that say nothing about the images.

    Example:
        >>> found = {"a": {"a": 1, "b": 9, "c": 0}, "b": {"a": 8, "b": 1, "c": 1}, "c": {"a": 0, "b": 0, "c": 10}}
        >>> exchange_notes(found, 0.9)[0].split(". ")[0]
        'labels of a and b are probably swapped: 9 of 10 images of a look most like b, 8 of 10 images of b most like a'
    """
    known = {name: by for name, by in most_like.items() if name not in doubtful and any(by.values())}
    taken: dict[str, str] = {}
    for name, by in known.items():
        most = max(by, key=lambda each: by[each])
        if most != name and 2 * by[most] > sum(by.values()):
            taken[name] = most
    notes: list[str] = []
    ringed: set[str] = set()
    for name in taken:
        ring = _ring(name, taken)
        if ring and not ringed & set(ring):
            ringed |= set(ring)
            notes.append(
                f"labels of {in_words(ring)} are probably swapped: {_counts(ring, taken, known)}. "
                "Compare the names of the folders with what the images show"
            )
    notes += [
        f"labels of {name} may be wrong: {_counts([name], taken, known)}. If the images are meant as {name}, "
        f"they do not show what tells it from {taken[name]}"
        for name in taken
        if name not in ringed
    ]
    return notes or _shuffled(known, accuracy)


def weak_swap_note(most_like: Mapping[str, Counts], recall: Mapping[str, float]) -> str | None:
    """What to say where a weak model takes more images for other classes than it takes real ones.

    A single opinion of a weak model means little; that every class has more such images than held-out real images, by
    more than chance allows (binomial test, `SURE` for each class), does not happen to sets with the right labels.

    Args:
        most_like: class that images were compared with -> class -> number of images most like it.
        recall: class -> share of held-out real images of the class that the model finds.

    Example:
        >>> weak_swap_note({"a": {"a": 55, "b": 102}, "b": {"a": 160, "b": 85}}, {"a": 0.59, "b": 0.65})[:46]
        'labels may be swapped: 102 of 157 images again'
        >>> weak_swap_note({"a": {"a": 90, "b": 67}, "b": {"a": 90, "b": 155}}, {"a": 0.59, "b": 0.65}) is None
        True
    """
    from scipy.stats import binom

    said = []
    for name, by in most_like.items():
        n, others = sum(by.values()), sum(k for each, k in by.items() if each != name)
        if name not in recall or binom.sf(others - 1, n, 1 - recall[name]) > SURE:
            return None
        expected = f"of held-out real ones {1 - recall[name]:.0%}".replace("%", " %")
        said.append(f"{others} of {n} images against {name} look most like another class ({expected})")
    if len(said) < 2:
        return None
    return f"labels may be swapped: {in_words(said)}. Compare the names of the folders with what the images show"


def _ring(name: str, taken: Mapping[str, str]) -> list[str]:
    """From ``name`` to the class it is taken for, and on, back to ``name``; empty where that leads elsewhere."""
    ring = [name]
    while (following := taken.get(ring[-1])) is not None and following not in ring:
        ring.append(following)
    return ring if following == name else []


def _counts(names: Sequence[str], taken: Mapping[str, str], known: Mapping[str, Counts]) -> str:
    said: list[str] = []
    for name in names:
        look = "look " if not said else ""
        of = f"{known[name][taken[name]]} of {sum(known[name].values())}"
        said.append(f"{of} images of {name} {look}most like {taken[name]}")
    return ", ".join(said)


def _shuffled(known: Mapping[str, Counts], accuracy: float | None) -> list[str]:
    """A model that tells real classes apart finds the labels no more often than chance does."""
    if len(known) < 2 or accuracy is None:
        return []
    n, right = sum(sum(by.values()) for by in known.values()), sum(by.get(name, 0) for name, by in known.items())
    chance = 1 / len(next(iter(known.values())))
    if accuracy - chance < 0.2 or right / n - chance > 0.25 * (accuracy - chance) or n < 10 * len(known):
        return []
    return [
        f"labels may be shuffled: {right} of {n} images look most like the class of their label, as by chance, and "
        f"{100 * accuracy:.0f} % of held-out real images do. Or the images hardly depend on their class"
    ]


def outside_of_mixture(
    profiles: Mapping[str, FeatureProfile], sample: Array, features: Sequence[Feature]
) -> float | None:
    """How far images of several classes lie from real ones, each compared with the class it lies nearest to.

    The mean of such a set lies between the classes, far from each; the means of its parts do not.

    Args:
        profiles: class -> features of real images.
        sample: [N, F], images of the set.
        features: what the columns are.

    Returns:
        Mean over the images of how far their part of the set lies from its class: root mean square of the farthest
        group, in spreads. None without images or profiles.
    """

    def farthest(profile: FeatureProfile, mean: Array, n: int) -> float:
        return max(change.moved for change in changes(profile, mean, features, n))

    return _of_parts(profiles, sample, features, farthest)


def jointly_outside_of_mixture(
    profiles: Mapping[str, FeatureProfile], sample: Array, features: Sequence[Feature]
) -> float | None:
    """The same of all groups together, as `iuscore.features.joint_distance` measures it."""

    def jointly(profile: FeatureProfile, mean: Array, n: int) -> float:
        return joint_distance(profile, mean, features, n)

    return _of_parts(profiles, sample, features, jointly)


def _of_parts(
    profiles: Mapping[str, FeatureProfile],
    sample: Array,
    features: Sequence[Feature],
    distance: Callable[[FeatureProfile, Array, int], float],
) -> float | None:
    """Mean over images of the distance of their part, (profile, mean [F], images of the part), from its class."""
    if not profiles or not len(sample):
        return None
    chosen = sample[np.linspace(0, len(sample) - 1, min(MAX_LOOKED_AT, len(sample))).astype(int)]
    names = list(profiles)
    nearest = np.argmin([farthest_moved(profiles[name], chosen, features) for name in names], axis=0)
    total = 0.0
    for k in np.unique(nearest):
        part = chosen[nearest == k]
        total += len(part) * distance(profiles[names[k]], part.mean(axis=0), len(part))
    return total / len(chosen)
