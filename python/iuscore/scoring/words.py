"""Texts about scores: what changed, how varied a set is, and notes on labels, distribution and resolution."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from iuscore.features import (
    COLORLESS,
    DISTANCES,
    MIN_NEIGHBORS,
    Feature,
    FeatureProfile,
    GroupChange,
    joint_distance,
    looks_inverted,
)
from iuscore.features.out_of_distribution import MIN_IMAGES_INVERTED
from iuscore.scoring.records import TargetSummary

Array = npt.NDArray[np.floating[Any]]

MAX_LINES = 4
"""Most changes that are described; further changes are only named."""

MAX_DISTANCE = 1.5
"""Distance in spreads from real images beyond which a set is out of distribution, and its scores are a guess."""

MAX_JOINT_DISTANCE = 0.8
"""The same bound for `iuscore.features.joint_distance`, which takes all groups of features together."""

MIXED = 0.1
"""Share of the images that must look like a class before a note says that the set mixes it with another class."""

FARTHEST = 100.0
"""Largest distance in spreads that is printed as a number."""


def spreads(shift: float) -> str:
    """A distance in spreads (standard deviations among real images), with its direction.

    Example:
        >>> spreads(5.62), spreads(-1e6)
        ('5.6 spreads higher', 'more than 100 spreads lower')
    """
    size = f"more than {FARTHEST:.0f}" if abs(shift) > FARTHEST else f"{abs(shift):.1f}"
    return f"{size} spreads {'higher' if shift >= 0 else 'lower'}"


def change_lines(changes: Sequence[GroupChange], target: str, n: int) -> list[str]:
    """Lines that describe what changed.

    Args:
        changes: changes of a set, or of an image, from `iuscore.features.changes`.
        target: the real class.
        n: number of images.

    Returns:
        A heading, and one line for each of the groups that moved farthest, at most `MAX_LINES`; fine and broad scale
        share a line if they moved alike. If nothing changed beyond chance, one line says so.

    Example:
        >>> moved = GroupChange("lightness", 3.1, "lightness mean", -4.2, 0.6, "on average, pixels are darker")
        >>> print("\\n".join(change_lines([moved], "benign", 20)))
        what changed, compared with real benign (1 spread = the standard deviation among its images):
          on average, pixels are darker: lightness mean 4.2 spreads lower
        >>> still = GroupChange("lightness", 0.3, "lightness mean", -0.4, 0.6, "on average, pixels are darker")
        >>> print("\\n".join(change_lines([still], "benign", 20)))
        what changed, compared with real benign: nothing beyond what real sets of 20 images show by chance
    """
    known = sorted((c for c in changes if np.isfinite(c.moved)), key=lambda change: -change.moved)
    heading = f"what changed, compared with real {target}"
    if not known:
        return [f"{heading}: unknown"]
    beyond = [change for change in known if change.beyond_chance]
    if not beyond:
        real = "single real images show" if n == 1 else f"real sets of {n} images show by chance"
        few = "; with so few images, only large changes can be told from chance" if 1 < n < MIN_IMAGES_INVERTED else ""
        return [f"{heading}: nothing beyond what {real}{few}"]
    alike: dict[tuple[str, bool], list[GroupChange]] = {}
    for change in beyond:
        alike.setdefault(_topic(change), []).append(change)
    topics = sorted(alike.values(), key=lambda same: same[0].words != COLORLESS)  # a lack of color first, once
    small = "" if abs(beyond[0].shift) >= 1 else ", by less than its images differ from each other"
    lines = [f"{heading}{small} (1 spread = the standard deviation among its images):"]
    for first, *others in topics[:MAX_LINES]:
        if first.words == COLORLESS:
            lines.append(f"  {COLORLESS}, but real {target} have: feature groups of color are left out")
            continue
        values = [f"{change.feature} {spreads(change.shift)}" for change in (first, *others)]
        lines.append(f"  {first.words}: {', '.join(values)}")
    if rest := [change.name for same in topics[MAX_LINES:] for change in same if change.words != COLORLESS]:
        lines.append(f"  others beyond chance: {', '.join(rest)}")
    return lines


def _topic(change: GroupChange) -> tuple[str, bool]:
    """(topic, direction) of a change; equal for both scales of co-occurrence, and for all groups without color."""
    if change.words == COLORLESS:
        return COLORLESS, True
    group, statistic = change.feature.split(" ", 1)
    scale, _, family = group.partition("-")
    if scale not in DISTANCES:
        return change.name, True
    topic = statistic if statistic == "correlation" else family
    # Homogeneity and energy fall when the other statistics rise.
    return topic, (change.shift > 0) != (statistic in ("homogeneity", "energy"))


def shift_line(component: str, shift: float, target: str) -> str:
    """A line on the component whose contribution lies farthest from real images, for models without named features.

    Example:
        >>> shift_line("coarse-fine", -2.31, "benign")
        'contribution farthest from real benign: coarse-fine, 2.3 spreads lower (1 spread = the standard deviation)'
    """
    return (
        f"contribution farthest from real {target}: {component}, {spreads(shift)} (1 spread = the standard deviation)"
    )


def diversity_line(nearest: float | None, target: str, n: int) -> str:
    """A line on how varied a set is, compared with real images.

    Args:
        nearest: result of `iuscore.features.nearest_ratio`; None if it was not measured.
        target: the real class.
        n: number of images.

    Example:
        >>> diversity_line(0.93, "benign", 200)
        'diversity: 0.93 times that of real benign (distance from an image to the one most like it)'
        >>> diversity_line(None, "benign", 20)
        'diversity: not measured: that takes at least 25 images'
    """
    if nearest is not None:
        return f"diversity: {nearest:.2f} times that of real {target} (distance from an image to the one most like it)"
    if n < MIN_NEIGHBORS:
        return f"diversity: not measured: that takes at least {MIN_NEIGHBORS} images"
    return f"diversity: not measured: the model was fitted to fewer than {MIN_NEIGHBORS} images of {target}"


def in_words(names: Sequence[str], most: int | None = None) -> str:
    """Names joined for a sentence; beyond ``most`` names, only the number of the others.

    Example:
        >>> in_words(["a"]), in_words(["a", "b", "c"]), in_words(["a", "b", "c", "d"], most=2)
        ('a', 'a, b and c', 'a, b and 2 others')
    """
    if most is not None and len(names) > most + 1:
        names = [*names[:most], f"{len(names) - most} others"]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def is_out_of_distribution(changes: Iterable[Sequence[GroupChange] | None]) -> bool:
    """Whether images lie so far from real images of every class that their scores are a guess.

    Args:
        changes: changes of the images, compared with each class; None if unknown.

    Example:
        >>> near, far = (GroupChange("hue", moved, "hue mean", moved, noise=2.5) for moved in (2.0, 9.0))
        >>> [is_out_of_distribution(changes) for changes in ([[near], [far]], [[far], [near, far]], [None])]
        [False, True, False]
    """
    known = [found for found in changes if found]
    return bool(known) and all(any(c.moved > max(MAX_DISTANCE, c.noise) for c in found) for found in known)


def is_jointly_out_of_distribution(
    profiles: Mapping[str, FeatureProfile], values: Array | None, features: Sequence[Feature], n: int
) -> bool:
    """Whether images lie far from real images of every class in all groups together, or have inverted gray levels.

    Args:
        profiles: class -> feature profile of real images.
        values: [F], features of an image, or their mean over a set; None for a model without named features.
        features: the F columns.
        n: number of images.
    """
    if values is None or not profiles:
        return False
    jointly = min(joint_distance(profile, values, features, n) for profile in profiles.values())
    return jointly > MAX_JOINT_DISTANCE or looks_inverted(profiles, values, features, n)


def doubt_of(entry: TargetSummary) -> str:
    """Words to print after the score of one class if the score means little; else "".

    Example:
        >>> from iuscore.scoring import MeanIus
        >>> doubt_of(TargetSummary(9, MeanIus(0.9), (), out_of_distribution=True))
        'a guess: they lie far outside real images'
    """
    if entry.inverted:
        return "a guess: they look like negatives of real images"
    if entry.out_of_distribution:
        return "a guess: they lie far outside real images"
    if entry.repeats_itself:
        return "of little meaning: they are nearly copies of each other, but the interval assumes independent images"
    return "of little meaning: real images of other classes score about the same" if entry.classes_overlap else ""


def label_notes(
    targets: Mapping[str, TargetSummary], classes: Sequence[str], doubtful: Collection[str] = ()
) -> list[str]:
    """Notes on sets that look like the other class to a model of two classes.

    Args:
        targets: class -> summary of the images compared with it.
        classes: classes of the model; no notes for more than two.
        doubtful: classes to leave out, because the model's output for their images is unreliable.

    Returns:
        One note for each set that is at least halfway to the other class; a single note if both sets are.

    Example:
        >>> from iuscore.scoring import MeanIus
        >>> entry = TargetSummary(50, MeanIus(-0.6), (), toward_other=0.96)
        >>> label_notes({"benign": entry}, ("benign", "malignant"))[0].split(":")[0]
        'labels may be swapped'
        >>> label_notes({"benign": TargetSummary(50, MeanIus(0.5), (), toward_other=0.1)}, ("benign", "malignant"))
        []
    """
    if len(classes) != 2:
        return []
    toward = {
        name: entry.toward_other
        for name, entry in targets.items()
        if name not in doubtful and entry.toward_other is not None and entry.toward_other >= 0.5
    }
    if len(toward) == 2:
        far = " and ".join(f"{100 * min(share, 1.0):.0f} %" for share in toward.values())
        return [
            f"labels are probably swapped: to the model, the images compared with {' and '.join(toward)} lie {far} of "
            "the way from their class to the other one. Compare the names of the folders with what the images show"
        ]
    notes = []
    for name, share in toward.items():
        other = next(each for each in classes if each != name)
        most_like = targets[name].most_like
        problem = "labels may be swapped"
        if most_like and most_like[name] >= MIXED * sum(most_like.values()):
            problem = f"the images compared with {name} may mix classes, or some labels are swapped"
        notes.append(
            f"{problem}: to the model, the images compared with {name} lie {100 * min(share, 1.0):.0f} % of the way "
            f"from real {name} to real {other}. If the images are meant as {name}, they lack what distinguishes {name} "
            f"from {other}"
        )
    return notes


@dataclass
class Resolution:
    """Counts the images that are larger than the model's size, and so lose detail when they are resized.

    Attributes:
        size: (height, width) of the model.
        n: number of images of known size.
        larger, smaller: number of images that lose detail, and that are enlarged.
        least, most: (factor, width, height) of the larger image that is reduced least, and most.

    Example:
        >>> seen = Resolution((128, 128))
        >>> seen.add([512, 512], [512, 512])
        >>> seen.note()
        'images are 512x512, measured at 128x128: detail finer than 4 pixels is not seen'
    """

    size: tuple[int, int]
    n: int = 0
    larger: int = 0
    smaller: int = 0
    least: tuple[float, int, int] | None = None
    most: tuple[float, int, int] | None = None

    def add(self, widths: npt.ArrayLike, heights: npt.ArrayLike) -> None:
        """Add the sizes of images in pixels; 0 means unknown."""
        width, height = np.asarray(widths, dtype=np.int64), np.asarray(heights, dtype=np.int64)
        known = (width > 0) & (height > 0)
        self.n += int(known.sum())
        factor = np.maximum(width / self.size[1], height / self.size[0])
        larger = np.flatnonzero(known & (factor > 1))
        self.larger += len(larger)
        self.smaller += int((known & (factor < 1)).sum())
        for i in larger[[factor[larger].argmin(), factor[larger].argmax()]] if len(larger) else ():
            entry = (float(factor[i]), int(width[i]), int(height[i]))
            self.least = entry if self.least is None else min(self.least, entry)
            self.most = entry if self.most is None else max(self.most, entry)

    def note(self) -> str | None:
        """A note on the detail that the model cannot see, or on enlarged images; None if neither is there."""
        if self.least is None or self.most is None:
            if not self.smaller:
                return None
            subject = "images are" if self.smaller == self.n else f"{self.smaller} of {self.n} images are"
            return (
                f"{subject} smaller than {self.size[1]}x{self.size[0]}, the size at which the model measures: "
                "enlarging softens their edges, which matters where the real images were larger"
            )
        subject = "images are" if self.larger == self.n else f"{self.larger} of {self.n} images are"
        sizes, details = ([form(end) for end in (self.least, self.most)] for form in (_in_pixels, _detail))
        at = f"{self.size[1]}x{self.size[0]}"
        return (
            f"{subject} {' to '.join(dict.fromkeys(sizes))}, measured at {at}: detail finer than "
            f"{' to '.join(dict.fromkeys(details))} pixels is not seen"
        )


def _in_pixels(seen: tuple[float, int, int]) -> str:
    return f"{seen[1]}x{seen[2]}"


def _detail(seen: tuple[float, int, int]) -> str:
    return f"{seen[0]:.2g}" if seen[0] < 10 else f"{seen[0]:.0f}"
