"""Notes on sets that mix classes and on swapped labels, from the most probable class of each image."""

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

MAX_P_OF_A_SWAP = 1e-4
"""Largest p value, of each class, for a note that labels may be swapped where the model is weak."""

MIN_IMAGES_OF_A_MIXTURE = 10
"""Fewest images of a set for a note that the set mixes classes."""

MAX_LOOKED_AT = 100
"""Most images of a set whose nearest class is computed."""


def most_probable(probabilities: Array) -> npt.NDArray[np.int64]:
    """Number of images for which each class has the largest probability, [K], of probabilities [N, K].

    Rows that are not finite are left out.

    Example:
        >>> most_probable(np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [np.nan, np.nan]])).tolist()
        [1, 2]
    """
    usable = probabilities[np.isfinite(probabilities).all(axis=1)]
    return np.bincount(usable.argmax(axis=1) if len(usable) else [], minlength=probabilities.shape[1]).astype(np.int64)


def others_line(target: str, most_like: Counts, recall: float | None) -> str | None:
    """A line with the number of images whose most probable class is not ``target``; None where there is no such image.

    Args:
        target: the class that the images were compared with.
        most_like: class -> number of images for which it is the most probable class.
        recall: share of held-out real images of ``target`` that the model classifies correctly; None if unknown.

    Example:
        >>> others_line("wbc", {"rbc": 31, "wbc": 69}, 0.98)
        'to the model, 31 of 100 images look most like another class: rbc 31 (of held-out real wbc, 2 % do)'
    """
    n, others = sum(most_like.values()), {name: k for name, k in most_like.items() if k and name != target}
    if not others:
        return None
    most = sorted(others, key=lambda name: -others[name])
    named = ", ".join(f"{name} {others[name]}" for name in most[:5]) + (", ..." if len(most) > 5 else "")
    known = "" if recall is None else f" (of held-out real {target}, {100 * (1 - recall):.0f} % do)"
    verb = "looks" if sum(others.values()) == 1 else "look"
    return f"to the model, {sum(others.values())} of {n} images {verb} most like another class: {named}{known}"


def mixture_note(target: str, most_like: Counts, recall: float | None) -> str | None:
    """A note on a set of which a larger part looks like another class than of real images; None for any other set.

    Example:
        >>> mixture_note("wbc", {"rbc": 40, "wbc": 40}, 0.95).split(":")[0]
        'the images compared with wbc may mix classes (wbc 40, rbc 40)'
        >>> mixture_note("wbc", {"rbc": 5, "wbc": 75}, 0.95) is None
        True
    """
    return mixture_of_sets({target: most_like}, {} if recall is None else {target: recall})


def mixture_of_sets(most_like: Mapping[str, Counts], recall: Mapping[str, float]) -> str | None:
    """`mixture_note` for several sets, as one sentence.

    Args:
        most_like: class that images were compared with -> class -> number of images for which it is most probable.
        recall: class -> share of its held-out real images that the model classifies correctly.

    Example:
        >>> mixture_of_sets({"a": {"a": 40, "b": 40}, "b": {"a": 20, "b": 60}}, {"a": 0.95, "b": 1.0}).split(":")[0]
        'the images compared with a (a 40, b 40) and b (b 60, a 20) may mix classes'
    """
    mixtures = {
        name: classes for name, counts in most_like.items() if (classes := _mixture(name, counts, recall.get(name)))
    }
    if not mixtures:
        return None
    if len(mixtures) == 1:
        ((name, classes),) = mixtures.items()
        subject = f"{name} may mix classes ({classes})"
    else:
        subject = f"{in_words([f'{name} ({classes})' for name, classes in mixtures.items()])} may mix classes"
    return f"the images compared with {subject}: what changed describes the mixture, not single images"


def _mixture(target: str, most_like: Counts, recall: float | None) -> str:
    """The classes that a set mixes, with the number of images of each; "" for a set of one class."""
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
    """Notes on labels that disagree with the model's most probable classes, for any number of classes.

    Args:
        most_like: class that images were compared with -> class -> number of images for which it is most probable.
        accuracy: accuracy of the model on held-out real images; None if unknown.
        doubtful: classes to leave out, because the model's output for their images is unreliable.

    Returns:
        One note for each cycle of classes (most images of each class look like the next class), one for each other
        class most of whose images look like another class, or else one for labels as good as random.

    Example:
        >>> found = {"a": {"a": 1, "b": 9, "c": 0}, "b": {"a": 8, "b": 1, "c": 1}, "c": {"a": 0, "b": 0, "c": 10}}
        >>> exchange_notes(found, 0.9)[0].split(". ")[0]
        'labels of a and b are probably swapped: 9 of 10 images of a look most like b, 8 of 10 images of b most like a'
    """
    known = {name: by for name, by in most_like.items() if name not in doubtful and any(by.values())}
    taken_for: dict[str, str] = {}  # class of the label -> class that most of its images look like
    for name, by in known.items():
        most = max(by, key=lambda each: by[each])
        if most != name and 2 * by[most] > sum(by.values()):
            taken_for[name] = most
    notes: list[str] = []
    in_cycles: set[str] = set()
    for name in taken_for:
        cycle = _cycle(name, taken_for)
        if cycle and not in_cycles & set(cycle):
            in_cycles |= set(cycle)
            notes.append(
                f"labels of {in_words(cycle)} are probably swapped: {_counts(cycle, taken_for, known)}. "
                "Compare the names of the folders with what the images show"
            )
    notes += [
        f"labels of {name} may be wrong: {_counts([name], taken_for, known)}. If the images are meant as {name}, "
        f"they lack what distinguishes {name} from {taken_for[name]}"
        for name in taken_for
        if name not in in_cycles
    ]
    return notes or _shuffled(known, accuracy)


def weak_swap_note(most_like: Mapping[str, Counts], recall: Mapping[str, float]) -> str | None:
    """A note that labels may be swapped, for a weak model; None if the model gives no reason for one.

    The most probable class of a single image means little if the model is weak. But with the right labels, a set has
    about as many images that look most like another class as held-out real images have. The note is given if every
    class has more of them than chance allows (binomial test, `MAX_P_OF_A_SWAP` for each class).

    Args:
        most_like: class that images were compared with -> class -> number of images most like it.
        recall: class -> share of its held-out real images that the model classifies correctly.

    Example:
        >>> weak_swap_note({"a": {"a": 55, "b": 102}, "b": {"a": 160, "b": 85}}, {"a": 0.59, "b": 0.65})[:46]
        'labels may be swapped: 102 of 157 images compa'
        >>> weak_swap_note({"a": {"a": 90, "b": 67}, "b": {"a": 90, "b": 155}}, {"a": 0.59, "b": 0.65}) is None
        True
    """
    from scipy.stats import binom

    said = []
    for name, by in most_like.items():
        n, others = sum(by.values()), sum(k for each, k in by.items() if each != name)
        if name not in recall or binom.sf(others - 1, n, 1 - recall[name]) > MAX_P_OF_A_SWAP:
            return None
        expected = f"of held-out real ones, {100 * (1 - recall[name]):.0f} % do"
        said.append(f"{others} of {n} images compared with {name} look most like another class ({expected})")
    if len(said) < 2:
        return None
    return f"labels may be swapped: {in_words(said)}. Compare the names of the folders with what the images show"


def _cycle(name: str, taken_for: Mapping[str, str]) -> list[str]:
    """The classes reached from ``name`` by following ``taken_for`` back to ``name``; empty if there is no way back."""
    cycle = [name]
    while (following := taken_for.get(cycle[-1])) is not None and following not in cycle:
        cycle.append(following)
    return cycle if following == name else []


def _counts(names: Sequence[str], taken_for: Mapping[str, str], known: Mapping[str, Counts]) -> str:
    phrases: list[str] = []
    for name in names:
        look = "look " if not phrases else ""
        share = f"{known[name][taken_for[name]]} of {sum(known[name].values())}"
        phrases.append(f"{share} images of {name} {look}most like {taken_for[name]}")
    return ", ".join(phrases)


def _shuffled(known: Mapping[str, Counts], accuracy: float | None) -> list[str]:
    """A note where a model that classifies real images well agrees with the labels no more often than by chance."""
    if len(known) < 2 or accuracy is None:
        return []
    n, right = sum(sum(by.values()) for by in known.values()), sum(by.get(name, 0) for name, by in known.items())
    chance = 1 / len(next(iter(known.values())))
    if accuracy - chance < 0.2 or right / n - chance > 0.25 * (accuracy - chance) or n < 10 * len(known):
        return []
    return [
        f"labels may be shuffled: only {right} of {n} images look most like the class of their label, about as many as "
        f"by chance; of held-out real images, {100 * accuracy:.0f} % do. Or images of different classes hardly differ"
    ]


def outside_of_mixture(
    profiles: Mapping[str, FeatureProfile], sample: Array, features: Sequence[Feature]
) -> float | None:
    """Distance of a set of several classes from real images, each image compared with its nearest class.

    The mean of a mixed set lies between the classes, far from all of them. So the set is split by nearest class, and
    the mean of each part is compared with that class.

    Args:
        profiles: class -> feature profile of real images.
        sample: [N, F], features of images of the set.
        features: names of the F columns.

    Returns:
        Mean over the images of the distance between their part and its class: root mean square over the farthest
        feature group, in standard deviations. None without images or profiles.
    """

    def farthest(profile: FeatureProfile, mean: Array, n: int) -> float:
        return max(change.moved for change in changes(profile, mean, features, n))

    return _of_parts(profiles, sample, features, farthest)


def jointly_outside_of_mixture(
    profiles: Mapping[str, FeatureProfile], sample: Array, features: Sequence[Feature]
) -> float | None:
    """`outside_of_mixture` with `iuscore.features.joint_distance`, which takes all feature groups together."""

    def jointly(profile: FeatureProfile, mean: Array, n: int) -> float:
        return joint_distance(profile, mean, features, n)

    return _of_parts(profiles, sample, features, jointly)


def _of_parts(
    profiles: Mapping[str, FeatureProfile],
    sample: Array,
    features: Sequence[Feature],
    distance: Callable[[FeatureProfile, Array, int], float],
) -> float | None:
    """Mean over images of ``distance`` (profile, mean [F], number of images) between their part and its class."""
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
