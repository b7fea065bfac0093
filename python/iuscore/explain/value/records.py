"""What a set and its images are worth, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from iuscore._run import records
from iuscore.explain.value.linear import Array, Labels
from iuscore.scoring.words import spreads

COPIES_SAID = 0.02
"""Share of near copies, above that of real images, from which they are named."""

SAID = 3
"""Groups of features that are described in `SetValue.lines`; of more, the names."""


@dataclass(frozen=True)
class Measure:
    """One number of a set, beside the same number of sets that are known.

    Attributes:
        value: of the set; NaN, null in JSON, where it could not be measured.
        low, high: ends of its 95 % bootstrap interval over reference images; None where none was asked for.
        real: mean of the same number for real images against other real ones, over random halves of the reference,
            with as many images of each class as the set, or as the half has; None where the reference cannot be split.
        real_sd: standard deviation over these halves.
        swapped, shuffled: the same with the labels of half of the images of each class exchanged for another class,
            and with the labels of all images in random order: what a useless set has.
    """

    value: float = float("nan")
    low: float | None = None
    high: float | None = None
    real: float | None = None
    real_sd: float | None = None
    swapped: float | None = None
    shuffled: float | None = None


@dataclass(frozen=True)
class GroupContrast:
    """How far the difference between classes departs from the real one in a group of features.

    Attributes:
        group: of features. target, other: the class, and what it is set against ("the others" of more than one).
        moved: `Measure` of the root mean square of D_S - D_R in standard deviations of real images; of halves of real
            images it is above 0 by chance.
        beyond_chance: whether ``moved`` is above what halves of real images reach in any group, relative to the mean of
            the group over halves; False where there are none.
        feature, shift: the statistic whose D_S - D_R is largest, and that difference with its sign.
        words: what the target looks like beside the other, compared with the same in real images.
        sides: the classes whose own mean moved: both names, or the one that moved more than twice as far.
    """

    group: str
    target: str
    other: str
    moved: Measure
    beyond_chance: bool
    feature: str
    shift: float
    words: str
    sides: tuple[str, ...]

    @property
    def line(self) -> str:
        """In one sentence."""
        who = f"images of {self.sides[0]} alone" if len(self.sides) == 1 else "images of both sides"
        return (
            f"{self.group}: {self.target} beside {self.other}, compared with the same in real images: {self.words} "
            f"({self.feature}, {spreads(self.shift)}); {who} moved"
        )


@dataclass(frozen=True)
class SetValue:
    """What a set is worth for training, judged by real reference images.

    Attributes:
        classes: names. counts: the set's images of each. real_counts: the reference's. real_groups: its groups.
        transfer: T_lin, mean over the views of the share of the real class separation that a linear discriminant
            fitted to the set keeps: 1 as good as real, 0 useless, below 0 it teaches the wrong thing.
        transfer_by_view: view -> T.
        pix4: expected AUROC: mean over {linear discriminant, 7 nearest neighbors} x {thumb, patch}.
        pix5: the same with 40 boosted trees on ``thumb`` as a fifth; None where trees were not asked for.
        learners: name -> AUROC on the reference.
        label_agreement: share of images that no other class claims among their nearest real images.
        near_copies: share of images with a near copy in the set.
        copies_of_real: share of images that are near copies of a reference image.
        contrast: what is wrong, group by group, the farthest moved first.
        cannot_be_said: why the numbers are not to be trusted; empty where nothing speaks against them.
    """

    classes: tuple[str, ...]
    counts: tuple[int, ...]
    real_counts: tuple[int, ...]
    real_groups: int | None
    transfer: Measure
    transfer_by_view: dict[str, Measure]
    pix4: Measure
    pix5: Measure | None
    learners: dict[str, Measure]
    label_agreement: Measure
    near_copies: Measure
    copies_of_real: Measure
    contrast: tuple[GroupContrast, ...]
    cannot_be_said: tuple[str, ...]
    format: int = 1

    FORMAT: ClassVar[int] = 1

    def to_json(self) -> dict[str, Any]:
        """As plain dicts, lists and values."""
        return records.to_json(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> SetValue:
        """Read what `to_json` gave.

        Raises:
            UserError: a newer format, or a field that is not what it should be.
        """
        records.require_format(value.get("format"), SetValue.FORMAT)
        return records.from_json(SetValue, value)

    @property
    def copies_lines(self) -> list[str]:
        """What there is to say about near copies: of real images, and of each other."""
        found = []
        share = self.copies_of_real.value
        if share > COPIES_SAID + (self.copies_of_real.real or 0.0):
            found.append(
                f"{100 * share:.0f} % of the images are near copies of real images that the model was fitted to: they "
                "add nothing to these, and may reveal patients"
            )
        if self.near_copies.value > COPIES_SAID + (self.near_copies.real or 0.0):
            found.append(f"{100 * self.near_copies.value:.0f} % of the images have a near copy in the set")
        return found

    @property
    def lines(self) -> list[str]:
        """The numbers in words, why they cannot be said, and what departs from real images beyond chance."""
        pix = self.pix5 or self.pix4
        lines = [f"cannot be said: {reason}" for reason in self.cannot_be_said]
        lines += [f"transfer {_said(self.transfer)}", f"expected AUROC {_said(pix)}"]
        if self.transfer.high is not None and self.transfer.high < 0:
            lines.append("the set teaches the wrong thing: its labels may be swapped")
        lines += self.copies_lines
        beyond = [each for each in self.contrast if each.beyond_chance]
        wrong = [each.line for each in beyond[:SAID]]
        if more := list(dict.fromkeys(each.group for each in beyond[SAID:])):
            wrong.append(f"beyond chance as well: {', '.join(more)}")
        return lines + (wrong or ["difference between classes: nothing beyond what halves of real images show"])


@dataclass(frozen=True, eq=False)
class ImageValues:
    """What each image of a set adds, N images.

    Attributes:
        value: float64 [N]: rank of the Shapley value in ``texture`` plus that in ``patch``, 2 (least) to 2 N.
        place: float64 [N]: of ``value`` among all images, 0 (least) to 1.
        shapley_texture, shapley_patch: float64 [N]: exact Shapley values for the 7-nearest-neighbor learner.
        influence: float64 [N]: derivative of T_lin with respect to the image's weight; above 0 it raises T_lin.
        influence_by_view: view -> the same for T of that view.
        influence_by_group: group of features -> its part of the influence on T of ``texture``, which they sum to.
        copies: int64 [N]: images of its claimed class that are nearly the same, itself included.
        own_share: float64 [N]: share of its claimed class among its nearest real images, 7 in each of two views.
        contradicted: bool [N]: another class has more of them.
        nearest_real: int64 [N]: place of the nearest real image in the reference, by ``texture`` and ``patch``.
        nearness: float64 [N]: distance to it; below 1 the image is a near copy of it.
    """

    value: Array
    place: Array
    shapley_texture: Array
    shapley_patch: Array
    influence: Array
    influence_by_view: dict[str, Array]
    influence_by_group: dict[str, Array]
    copies: Labels
    own_share: Array
    contradicted: npt.NDArray[np.bool_]
    nearest_real: Labels
    nearness: Array

    def at(self, places: Labels | slice) -> ImageValues:
        """Those of some images."""
        found: dict[str, Any] = {
            name: {key: each[places] for key, each in value.items()} if isinstance(value, dict) else value[places]
            for name, value in vars(self).items()
        }
        return ImageValues(**found)


def _said(measure: Measure) -> str:
    interval = "" if measure.low is None else f" [{measure.low:.2f}, {measure.high:.2f}]"
    beside = "" if measure.real is None else f"; real {measure.real:.2f}, shuffled labels {measure.shuffled:.2f}"
    return f"{measure.value:.2f}{interval}{beside}"
