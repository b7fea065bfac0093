"""What was selected from a scored set, and what the selection is expected to gain, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

import msgspec

from iuscore._run import records

Policy = Literal["value", "ius", "confidence", "diverse", "covariance", "stratified", "random"]
POLICIES: tuple[Policy, ...] = get_args(Policy)

Count = Annotated[int, msgspec.Meta(ge=0)]

_WORDS: dict[Policy, str] = {
    "value": "those of the highest value",
    "ius": "those of the highest IUS",
    "confidence": "those the model is the most confident of",
    "diverse": "spread as far apart as can be",
    "covariance": "so that mean and covariance of their features come near those of real images",
    "stratified": "evenly along the IUS",
    "random": "at random",
}


def best_words(policy: Policy) -> str:
    """What a policy chooses.

    Example:
        >>> best_words("ius")
        'those of the highest IUS'
    """
    return _WORDS[policy]


TIES = (
    "of equal images, the one whose random key is smaller; the key follows from the uid and the seed alone, so it "
    "depends neither on the order of the files nor on other images"
)
"""The rule for ties, as it stands in the record."""


@dataclass(frozen=True)
class ClassSelection:
    """What was selected among the images that claim one class.

    Attributes:
        target: the class.
        n: images of the run that claim it.
        n_unreadable: of these, those that could not be read.
        n_scoreless: those that were read, and have no score, or not the one that the policy needs.
        n_contradicted: those left out because their nearest real images contradict their label.
        n_identical: those left out because their features equal those of another image bit for bit.
        n_candidates: those that the policy chose among.
        n_chosen: chosen images.
        copies_discounted: whether near copies counted less: score in standard deviations less log2 of their number.
    """

    target: str
    n: Count
    n_unreadable: Count
    n_scoreless: Count
    n_contradicted: Count
    n_identical: Count
    n_candidates: Count
    n_chosen: Count
    copies_discounted: bool = False

    @property
    def left_out(self) -> dict[str, int]:
        """Why images were not among the candidates -> how many."""
        return {
            "unreadable": self.n_unreadable,
            "without a score": self.n_scoreless,
            "contradicted by their nearest real images": self.n_contradicted,
            "identical to another one": self.n_identical,
        }


@dataclass(frozen=True)
class Gain:
    """Expected AUROC of a selection, less that of another one of equal size.

    Attributes:
        over: what the other one is: images drawn at random (the mean of ``draws`` draws), or those that a classifier
            fitted to the real images is the most confident of.
        auroc: expected AUROC of the other one.
        gain: that of the selection less ``auroc``; low, high: ends of its 95 % bootstrap interval over real images.
    """

    over: Literal["random", "confidence"]
    auroc: float
    gain: float
    low: float
    high: float
    draws: Count = 1


@dataclass(frozen=True)
class Prediction:
    """What a selection is expected to be worth for training, judged by the real images of the model.

    Attributes:
        auroc: expected AUROC (PIX4) of small learners fitted to the selection, on the real images.
        gains: over random and over confident images.
        n_images: images of a class, at most, that each selection was judged by.
        n_real: real images of each class. real: expected AUROC of real images against other real ones.
        doubts: why the numbers are not to be trusted; empty where nothing speaks against them.
        crossed: whether one half of the real images chose and the other judged, both ways round; the numbers are means
            of both. Otherwise the images of the selection itself were judged by all real images.
    """

    auroc: float
    gains: tuple[Gain, ...]
    n_images: Count
    n_real: tuple[Count, ...]
    real: float | None
    doubts: tuple[str, ...]
    crossed: bool = False


@dataclass(frozen=True)
class Selection:
    """What was selected from a run, and how: ``selection.json``.

    Attributes:
        scores: path of the run. run: its identity.
        policy: by what images were chosen. seed: of ties and of everything drawn.
        budget: what was asked for, in words.
        classes: what was chosen in each class.
        drop_identical: whether images with identical features were kept once, and near copies counted less.
        drop_contradicted: whether images whose nearest real images contradict their label were left out.
        ties: the rule for images with equal scores.
        prediction: expected gain over random and confident images; None where it was not predicted.
        not_predicted: why it was not; "" where it was.
        notes: what else is to be known.
        versions: of iuscore and what it computes with.
    """

    NAME: ClassVar[str] = "selection.json"
    FORMAT: ClassVar[int] = 1

    scores: str
    run: str
    policy: Policy
    seed: Count
    budget: str
    classes: tuple[ClassSelection, ...]
    drop_identical: bool
    drop_contradicted: bool
    ties: str
    prediction: Prediction | None
    not_predicted: str
    notes: tuple[str, ...]
    versions: dict[str, str]
    format: int = 1

    @property
    def n_chosen(self) -> int:
        """Chosen images of all classes."""
        return sum(each.n_chosen for each in self.classes)

    def to_json(self) -> dict[str, Any]:
        """As plain dicts, lists and values; what is not finite is None."""
        return records.to_json(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Selection:
        """Read what `to_json` gave.

        Raises:
            UserError: a newer format, or a field that is not what it should be.
        """
        records.require_format(value.get("format"), Selection.FORMAT)
        return records.from_json(Selection, value)
