"""Feature values of an image beside the range of real images, in numbers and words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from iuscore.features import Feature, FeatureProfile
from iuscore.features.change import MIN_SD, QUANTILES

By = Literal["percentiles", "deviations"]

LOW, HIGH = 0.05, 0.95
"""Ends of the range of real images, as shares of them."""


def range_of(mean: float, sd: float) -> tuple[float, float]:
    """Mean less, and plus, two standard deviations.

    Example:
        >>> range_of(1.0, 0.5)
        (0.0, 2.0)
    """
    return mean - 2.0 * sd, mean + 2.0 * sd


@dataclass(frozen=True)
class FeatureReason:
    """One feature of an image beside the real class.

    Attributes:
        name, group, unit: of the feature.
        value: of the image. mean: of the real class.
        low, high: range of the real class: from its 5th to its 95th percentile ("percentiles"), or, for a model that
            does not know these, the mean -+ 2 standard deviations, within the feature's possible range ("deviations").
        by: which of the two.
        shift: (value - mean) in standard deviations of the real class.
        part: what the feature adds to the contribution of its group, beside an image whose features are the means of
            the real class; the parts of a group sum to that difference.
        words: how an image looks whose value moved in this direction.
        shown: value, low and high in a unit that readers know.
    """

    name: str
    group: str
    unit: str
    value: float
    mean: float
    low: float
    high: float
    by: By
    shift: float
    part: float
    words: str
    shown: tuple[str, str, str]

    @property
    def inside(self) -> bool:
        """Whether the value lies in the range of the real class."""
        return self.low <= self.value <= self.high

    def line(self, target: str) -> str:
        """In words.

        Example:
            >>> reason = FeatureReason("fine-contrast homogeneity", "fine-contrast", "1", 0.31, 0.6, 0.52, 0.68,
            ...                        "percentiles", -6.0, -0.2, "neighboring pixels differ more",
            ...                        ("0.31", "0.52", "0.68"))
            >>> reason.line("malignant")
            'fine-contrast homogeneity 0.31, real malignant 0.52 to 0.68: neighboring pixels differ more'
        """
        value, low, high = self.shown
        given = f"{self.name}: {value} of pixels" if value.endswith("%") else f"{self.name} {value}"
        real = f"{low.removesuffix(' %')} to {high}"
        return f"{given}, real {target} {real}: {'within this range' if self.inside else self.words}"

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "inside": self.inside}


def feature_reasons(
    features: Sequence[Feature],
    profile: FeatureProfile,
    values: npt.NDArray[Any],
    parts: npt.NDArray[Any],
) -> tuple[FeatureReason, ...]:
    """Every feature beside the real class.

    Args:
        features: the F columns.
        profile: of the real class.
        values: [F], of the image.
        parts: [F], see `FeatureReason`.
    """
    found = []
    for i, feature in enumerate(features):
        low, high, by = feature_range(feature, profile, i)
        value, mean, sd = float(values[i]), profile.mean[i], max(profile.sd[i], MIN_SD)
        shift = (value - mean) / sd
        found.append(
            FeatureReason(
                feature.name, feature.group, feature.unit, value, mean, low, high, by, shift, float(parts[i]),
                feature.words(shift), (shown(feature, value), shown(feature, low), shown(feature, high)),
            )
        )  # fmt: skip
    return tuple(found)


def feature_range(feature: Feature, profile: FeatureProfile, column: int) -> tuple[float, float, By]:
    """Range of a feature in real images of a class, and by what."""
    if profile.quantiles is not None:
        row = profile.quantiles[column]
        return row[QUANTILES.index(LOW)], row[QUANTILES.index(HIGH)], "percentiles"
    low, high = np.clip(range_of(profile.mean[column], profile.sd[column]), *feature.range)
    return float(low), float(high), "deviations"


def range_words(profile: FeatureProfile | None, target: str) -> str:
    """What the range of real images is, for a reader.

    Example:
        >>> range_words(FeatureProfile(40, (0.0,), (1.0,), {}), "benign")
        'ranges of features: mean -+ 2 standard deviations of 40 real benign images'
    """
    if profile is None:
        return f"ranges of contributions: mean -+ 2 standard deviations of real {target} images"
    what = "mean -+ 2 standard deviations" if profile.quantiles is None else "5th to 95th percentile"
    return f"ranges of features: {what} of {profile.n} real {target} images"


def shown(feature: Feature, value: float) -> str:
    """A value in a unit that readers know: a share of pixels in percent, a correlation from -1 to 1.

    Example:
        >>> from iuscore.features import FEATURES
        >>> shown(FEATURES["gray"][0], 0.5), shown(FEATURES["gray"][16], 0.4567)
        ('25 %', '0.46')
    """
    if feature.role == "share":
        percent = 100 * value**2
        return f"{percent:.2g} %" if percent < 100 else "100 %"
    undone = feature.undone
    number = value if undone is None else undone(value)
    if feature.unit.startswith("inverse tanh"):
        return f"{number:.3f}"  # correlations crowd near 1
    if abs(number) < 0.1:
        return f"{number:.3f}"
    return f"{number:.2f}" if abs(number) < 10 else f"{number:.3g}"
