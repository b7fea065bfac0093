"""What a score says in words: what changed, how varied a set is, and what its reader has to know."""

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

COPIES = 0.5
"""Distance to the nearest neighbor, compared with real images, below which a set is said to repeat itself."""

MAX_LINES = 4
"""Changes that are said in words; others are only named."""

MAX_DISTANCE = 1.5
"""Spreads of real images beyond which a model's opinion of a set is a guess."""

MAX_JOINT_DISTANCE = 0.8
"""The same bound for all groups of features together, where these do not move as real images do."""

MIXED = 0.1
"""Share of the images of a set that look like its own class, from which on the set may be a mixture."""

FARTHEST = 100.0
"""Spreads beyond which a number says no more."""


def spreads(shift: float) -> str:
    """A distance in spreads (standard deviations among real images), with its direction.

    Example:
        >>> spreads(5.62), spreads(-1e6)
        ('5.6 spreads higher', 'more than 100 spreads lower')
    """
    size = f"more than {FARTHEST:.0f}" if abs(shift) > FARTHEST else f"{abs(shift):.1f}"
    return f"{size} spreads {'higher' if shift >= 0 else 'lower'}"


def change_lines(changes: Sequence[GroupChange], target: str, n: int) -> list[str]:
    """What changed, in words, as lines to print.

    Args:
        changes: of a set, or of an image, as `iuscore.features.changes` gives them.
        target: the real class.
        n: number of images.

    Returns:
        A heading and a line for each of the groups that moved farthest, `MAX_LINES` at most, fine and broad scale on
        one line where they say the same; or one line that says that nothing changed beyond chance.

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
        few = "; so few images show large changes only" if 1 < n < MIN_IMAGES_INVERTED else ""
        return [f"{heading}: nothing beyond what {real}{few}"]
    alike: dict[tuple[str, bool], list[GroupChange]] = {}
    for change in beyond:
        alike.setdefault(_said(change), []).append(change)
    said = sorted(alike.values(), key=lambda same: same[0].words != COLORLESS)  # a lack of color first, once
    small = "" if abs(beyond[0].shift) >= 1 else ", by less than its images differ from each other"
    lines = [f"{heading}{small} (1 spread = the standard deviation among its images):"]
    for first, *others in said[:MAX_LINES]:
        if first.words == COLORLESS:
            lines.append(f"  {COLORLESS}, and real {target} have: groups of color are left out")
            continue
        values = [f"{change.feature} {spreads(change.shift)}" for change in (first, *others)]
        lines.append(f"  {first.words}: {', '.join(values)}")
    if rest := [change.name for same in said[MAX_LINES:] for change in same if change.words != COLORLESS]:
        lines.append(f"  others beyond chance: {', '.join(rest)}")
    return lines


def _said(change: GroupChange) -> tuple[str, bool]:
    """What a change is about, and which way it goes: the same for both scales of co-occurrence, and without color."""
    if change.words == COLORLESS:
        return COLORLESS, True
    group, statistic = change.feature.split(" ", 1)
    scale, _, family = group.partition("-")
    if scale not in DISTANCES:
        return change.name, True
    topic = statistic if statistic == "correlation" else family
    return topic, (change.shift > 0) != (statistic in ("homogeneity", "energy"))  # these fall where the others rise


def shift_line(component: str, shift: float, target: str) -> str:
    """The component whose contribution lies farthest from real images, of a model without named features.

    Example:
        >>> shift_line("coarse-fine", -2.31, "benign")
        'contribution farthest from real benign: coarse-fine, 2.3 spreads lower (1 spread = the standard deviation)'
    """
    return (
        f"contribution farthest from real {target}: {component}, {spreads(shift)} (1 spread = the standard deviation)"
    )


def diversity_line(nearest: float | None, target: str, n: int) -> str:
    """How varied a set is, compared with real images.

    Args:
        nearest: as `iuscore.features.nearest_ratio` gives it; None where it was not measured.
        target: the real class.
        n: number of images.

    Example:
        >>> diversity_line(0.93, "benign", 200)
        'diversity: 0.93 times that of real benign (distance from an image to the one most like it)'
        >>> diversity_line(None, "benign", 20)
        'diversity: not measured, which takes 25 images or more'
    """
    if nearest is not None:
        return f"diversity: {nearest:.2f} times that of real {target} (distance from an image to the one most like it)"
    if n < MIN_NEIGHBORS:
        return f"diversity: not measured, which takes {MIN_NEIGHBORS} images or more"
    return f"diversity: not measured, as the model was fitted to fewer than {MIN_NEIGHBORS} images of {target}"


def in_words(names: Sequence[str], most: int | None = None) -> str:
    """Names as they stand in a sentence; of more than ``most`` the first ones, and how many others there are.

    Example:
        >>> in_words(["a"]), in_words(["a", "b", "c"]), in_words(["a", "b", "c", "d"], most=2)
        ('a', 'a, b and c', 'a, b and 2 others')
    """
    if most is not None and len(names) > most + 1:
        names = [*names[:most], f"{len(names) - most} others"]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def is_out_of_distribution(changes: Iterable[Sequence[GroupChange] | None]) -> bool:
    """Whether images lie so far from real ones of every class that a model's opinion of them is a guess.

    Args:
        changes: of the images, compared with each class; None where that is not known.

    Example:
        >>> near, far = (GroupChange("hue", moved, "hue mean", moved, noise=2.5) for moved in (2.0, 9.0))
        >>> [is_out_of_distribution(changes) for changes in ([[near], [far]], [[far], [near, far]], [None])]
        [False, True, False]
    """
    known = [found for found in changes if found]
    return bool(known) and all(any(c.moved > max(MAX_DISTANCE, c.noise) for c in found) for found in known)


def is_of_another_kind(
    profiles: Mapping[str, FeatureProfile], values: Array | None, features: Sequence[Feature], n: int
) -> bool:
    """Whether images lie far from real ones of every class in many groups at once, or have inverted gray levels.

    Args:
        profiles: class -> features of real images.
        values: [F], of an image or the mean of a set; None where there are none.
        features: what the columns are.
        n: number of images.
    """
    if values is None or not profiles:
        return False
    jointly = min(joint_distance(profile, values, features, n) for profile in profiles.values())
    return jointly > MAX_JOINT_DISTANCE or looks_inverted(profiles, values, features, n)


def doubt_of(entry: TargetSummary) -> str:
    """What stands behind the score of one class where a note says that it means little; else "".

    Example:
        >>> from iuscore.scoring import MeanIus
        >>> doubt_of(TargetSummary(9, MeanIus(0.9), (), out_of_distribution=True))
        'a guess: they lie far outside real images'
    """
    if entry.inverted:
        return "a guess: they look like negatives of real images"
    if entry.out_of_distribution:
        return "a guess: they lie far outside real images"
    if (entry.diversity is not None and entry.diversity < COPIES) or 2 * entry.n_identical > entry.n:
        return "of little meaning: they are nearly copies of each other, and the interval takes them for independent"
    return "of little meaning: real images of other classes score much the same" if entry.classes_overlap else ""


def label_notes(
    targets: Mapping[str, TargetSummary], classes: Sequence[str], doubtful: Collection[str] = ()
) -> list[str]:
    """What to say of sets that the model takes for the other class.

    Args:
        targets: class -> the images compared with it.
        classes: the two of the model; of more there is no other class.
        doubtful: classes of which the model's opinion is a guess, so that nothing follows from it.

    Returns:
        A note for each set that has gone half the way or more to the other class; one for both where both have.

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
    ways = {
        name: entry.toward_other
        for name, entry in targets.items()
        if name not in doubtful and entry.toward_other is not None and entry.toward_other >= 0.5
    }
    if len(ways) == 2:
        far = " and ".join(f"{100 * min(way, 1.0):.0f} %" for way in ways.values())
        return [
            f"labels are probably swapped: the images against {' and '.join(ways)} have gone {far} of the way to the "
            "other class. Compare the names of the folders with what the images show"
        ]
    notes = []
    for name, way in ways.items():
        other = next(each for each in classes if each != name)
        most_like = targets[name].most_like
        what = "labels may be swapped"
        if most_like and most_like[name] >= MIXED * sum(most_like.values()):
            what = f"the images against {name} may mix classes, or some labels are swapped"
        notes.append(
            f"{what}: what the model sees in the images against {name} is {100 * min(way, 1.0):.0f} % of the way from "
            f"real {name} to real {other}. If the images are meant as {name}, they do not show what tells it from "
            f"{other}"
        )
    return notes


@dataclass
class Resolution:
    """Which of the images are larger than the size that a model measures at.

    Attributes:
        size: (height, width) of the model.
        n: images of a known size.
        larger, smaller: of these, the images that lose detail, and those that are enlarged.
        least, most: (factor, width, height) of the image that loses least, and most, of those that do.

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
        """Take the sizes of images in pixels; 0 is an unknown one."""
        width, height = np.asarray(widths, dtype=np.int64), np.asarray(heights, dtype=np.int64)
        known = (width > 0) & (height > 0)
        self.n += int(known.sum())
        factor = np.maximum(width / self.size[1], height / self.size[0])
        found = np.flatnonzero(known & (factor > 1))
        self.larger += len(found)
        self.smaller += int((known & (factor < 1)).sum())
        for i in found[[factor[found].argmin(), factor[found].argmax()]] if len(found) else ():
            this = (float(factor[i]), int(width[i]), int(height[i]))
            self.least = this if self.least is None else min(self.least, this)
            self.most = this if self.most is None else max(self.most, this)

    def note(self) -> str | None:
        """What the model cannot see, or what enlarging does; None where images have the size of the model."""
        if self.least is None or self.most is None:
            if not self.smaller:
                return None
            who = "images are" if self.smaller == self.n else f"{self.smaller} of {self.n} images are"
            return (
                f"{who} smaller than {self.size[1]}x{self.size[0]}, at which the model measures, and were enlarged: "
                "softer edges may come from that alone"
            )
        who = "images are" if self.larger == self.n else f"{self.larger} of {self.n} images are"
        sizes, details = ([form(end) for end in (self.least, self.most)] for form in (_in_pixels, _detail))
        at = f"{self.size[1]}x{self.size[0]}"
        return (
            f"{who} {' to '.join(dict.fromkeys(sizes))}, measured at {at}: detail finer than "
            f"{' to '.join(dict.fromkeys(details))} pixels is not seen"
        )


def _in_pixels(seen: tuple[float, int, int]) -> str:
    return f"{seen[1]}x{seen[2]}"


def _detail(seen: tuple[float, int, int]) -> str:
    return f"{seen[0]:.2g}" if seen[0] < 10 else f"{seen[0]:.0f}"
