"""Sets compared with real images and with each other, as records: what `iuscore compare` writes and a report shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from iuscore._run import records
from iuscore.explain.value.records import Measure, SetValue

Reason = Literal["best", "typical", "worst", "contradicted", "copy", "copy of real"]
"""Why an image is shown: a high, middle or low value; a label that its nearest real images contradict; a near copy of
another image of the set; a near copy of a real image."""


@dataclass(frozen=True)
class Change:
    """One named feature of the images of one class, compared with real images of that class.

    Attributes:
        target: the class. group, feature: of the registry.
        shift: mean of the set less mean of the real images, in standard deviations of the real images of the class.
        low, high: ends of its 95 % interval.
        p: p-value of no shift, adjusted by Holm over all features and classes of the set.
        words: what the images look like.
    """

    target: str
    group: str
    feature: str
    shift: float
    low: float
    high: float
    p: float
    words: str


@dataclass(frozen=True)
class Effect:
    """One component of the model for the images of one class: what of the changes matters to the model.

    Attributes:
        target: the class. component: its name.
        difference: mean contribution towards the target in the set, less that of real images.
        low, high: ends of its 95 % interval.
        p: p-value of no difference, adjusted by Holm over all components and classes of the set.
    """

    target: str
    component: str
    difference: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class ShownImage:
    """One image of a set that a report shows, and why.

    Attributes:
        uid: name of the image in its source. target: the class it claims.
        reasons: why it is shown.
        value: place among the images of the set, 0 (least useful) to 1.
        ius: IUS; None without a score. confidence: probability of the claimed class; None likewise.
        influence: derivative of the transfer with respect to the weight of the image; above 0 it raises the transfer.
        influence_by_group: group of features -> its part in the view ``texture``.
        copies: images of its class that are nearly the same, itself included.
        own_share: share of its claimed class among its nearest real images.
        nearest_real: uid of the nearest real image of any class; None where names were not kept. nearest_label: the
            class of that real image.
        words: one sentence for a reader.
    """

    uid: str
    target: str
    reasons: tuple[Reason, ...]
    value: float
    ius: float | None
    confidence: float | None
    influence: float
    influence_by_group: dict[str, float]
    copies: int
    own_share: float
    nearest_real: str | None
    nearest_label: str
    words: str


@dataclass(frozen=True)
class Coverage:
    """Which real images of a class a set resembles.

    Attributes:
        target: the class.
        covered: `Measure`: share of real images with an image of the set as near as their nearest few real ones.
        uncovered: uids of real images without one, the farthest first, at most 12; empty where names were not kept.
        words: how the uncovered real images differ from the covered ones; "" where they do not differ.
    """

    target: str
    covered: Measure
    uncovered: tuple[str, ...]
    words: str


@dataclass(frozen=True)
class Gain:
    """What a set adds beside a number of real images.

    Attributes:
        n_real: real images of each class that a small learner is fitted to.
        without: AUROC on other real images of learners fitted to them alone.
        gain: AUROC with the set added, less ``without``; low, high: ends of its 95 % interval over draws.
        n_set: images of each class that were added, where not the whole set was.
    """

    n_real: int
    without: float
    gain: float
    low: float
    high: float
    n_set: int | None = None


@dataclass(frozen=True)
class ComparedSet:
    """One set beside real images.

    Attributes:
        name: as it was given. source: path of its images.
        n: number of scored images. n_unreadable: of images that could not be read. n_groups: of groups, if known.
        n_looked_at: images that the numbers come from: all, or as many, evenly spread, as memory allows.
        place: 1 for the most useful set. ties: names of the sets whose order relative to this one cannot be told.
        value: transfer, expected AUROC and what is wrong, with intervals, beside real images and shuffled labels.
        controls: other measures, beside the same number for real images and for swapped labels: "ius" (published, mean
            over classes), "confidence", "frechet distance", "kernel distance", "precision", "recall", "density",
            "coverage", "energy distance", "discriminative span".
        changes: features that changed, the smallest p-value first. effects: components, likewise.
        coverage: of each class.
        gains: what the set adds beside some numbers of real images.
        n_contradicted: class -> images whose nearest real images contradict their label.
        n_copies: images with a near copy in the set. n_copies_of_real: near copies of a real image.
        images: what a report shows.
        verdict: one sentence. use_for, not_for: what the set is good for, and what not. problems: what is wrong, the
            worst first. doubts: why this cannot be said, or how far to trust it.
    """

    name: str
    source: str
    n: int
    n_unreadable: int
    n_groups: int | None
    n_looked_at: int
    place: int
    ties: tuple[str, ...]
    value: SetValue
    controls: dict[str, Measure]
    changes: tuple[Change, ...]
    effects: tuple[Effect, ...]
    coverage: tuple[Coverage, ...]
    gains: tuple[Gain, ...]
    n_contradicted: dict[str, int]
    n_copies: int
    n_copies_of_real: int
    images: tuple[ShownImage, ...]
    verdict: str
    use_for: tuple[str, ...]
    not_for: tuple[str, ...]
    problems: tuple[str, ...]
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """Two sets: how much more useful the first one is.

    Attributes:
        first, second: names; ``first`` has the higher transfer.
        difference: transfer of the first less that of the second.
        low, high: ends of its 95 % interval over real images and over images of both sets.
        agrees: whether the expected AUROC gives the same order.
        told: whether the order can be told: the interval is above 0, and ``agrees``.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    agrees: bool
    told: bool


@dataclass(frozen=True)
class Comparison:
    """Sets of synthetic images compared with real images and with each other: ``comparison.json``.

    Attributes:
        classes: names. real: path of the real images. real_counts: of each class. real_groups: groups, if known.
        sets: the most useful first. pairs: every two of them.
        verdict: the first thing to read, one or two sentences.
        doubts: why nothing, or not everything, can be said; empty where nothing speaks against the numbers.
        advice: what would help, such as more images of a class.
        model: kind of the model. model_auroc: on held-out real images, and model_auroc_images their number.
        versions: of iuscore and what it computes with. command: the command that makes this again.
    """

    classes: tuple[str, ...]
    real: str
    real_counts: tuple[int, ...]
    real_groups: int | None
    sets: tuple[ComparedSet, ...]
    pairs: tuple[Pair, ...]
    verdict: str
    doubts: tuple[str, ...]
    advice: tuple[str, ...]
    model: str
    model_auroc: float | None
    model_auroc_images: int
    versions: dict[str, str]
    command: str
    format: int = 1

    FORMAT: ClassVar[int] = 1

    def to_json(self) -> dict[str, Any]:
        """As plain dicts, lists and values; what is not finite is None."""
        return records.to_json(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Comparison:
        """Read what `to_json` gave.

        Raises:
            UserError: a newer format, or a field that is not what it should be.
        """
        records.require_format(value.get("format"), Comparison.FORMAT)
        return records.from_json(Comparison, value)
