"""Every feature by name: what it measures, in which unit and range, and what an image with more of it looks like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from iuscore.ops import PLANES, Kind

BINS = 16
"""Shares of a plane's values that are features."""

LEVELS = 32
DISTANCES: Mapping[str, int] = MappingProxyType({"fine": 1, "broad": 4})
"""Scale of a co-occurrence group -> distance of its pairs in pixels."""

_HARALICK = "Haralick, Shanmugam, Dinstein, IEEE SMC 1973"
_SWAIN = "Swain, Ballard, IJCV 1991"
_CIELAB = "CIE 1976 L*a*b*"


@dataclass(frozen=True)
class Feature:
    """One number that is measured in an image.

    Attributes:
        name: unique within a kind: the group, a space, and what is measured.
        group: the component of the model that it belongs to.
        unit: what it is counted in.
        range: smallest and largest value there can be; of skewness and kurtosis in at most 170 x 170 pixels, since
            one pixel that stands out of n gives a skewness near sqrt(n).
        higher: what an image with a higher value looks like.
        reference: where the measure, or the space it is taken in, comes from.
        role: "statistic", or "share" for one bin of a histogram. Explanations name statistics.
    """

    name: str
    group: str
    unit: str
    range: tuple[float, float]
    higher: str
    reference: str
    role: Literal["statistic", "share"] = "statistic"


_FULL = "of full range"
_HSV = "HSV, Smith, SIGGRAPH 1978"
_PLANES: Mapping[str, tuple[str, str, str, str]] = MappingProxyType(
    # what more of it is; what its codes run through; what a large spread is; where the plane comes from
    {
        "lightness": ("lighter", "from dark to light", "dark beside light", _CIELAB),
        "red-green": ("redder", "from green to red", "green beside red", _CIELAB),
        "blue-yellow": ("yellower", "from blue to yellow", "blue beside yellow", _CIELAB),
        "saturation": ("stronger colors", "from gray to pure color", "gray beside pure color", _HSV),
        "hue": (
            "hues turned from blue over red to green",
            "from cyan over blue, red and green back to cyan",
            "blue beside green",
            _HSV,
        ),
        "coarse-fine": (
            "stronger edges and grain",
            "from even surface to edges and grain",
            "even surface beside edges and grain",
            "Sobel operator",
        ),
    }
)


def _plane_features(plane: str) -> list[Feature]:
    more, way, spread, source = _PLANES[plane]
    shares = [
        Feature(
            f"{plane} {100 * i / BINS:.0f} to {100 * (i + 1) / BINS:.0f} %",
            plane,
            "square root of the share of pixels",
            (0.0, 1.0),
            f"more pixels at {100 * i / BINS:g} to {100 * (i + 1) / BINS:g} % of the way {way}",
            _SWAIN,
            "share",
        )
        for i in range(BINS)
    ]
    statistics = [
        ("mean", _FULL, (0.0, 1.0), f"{more} on the whole"),
        ("sd", _FULL, (0.0, 0.5), spread),
        ("skewness", "asinh of the third moment", (-6.0, 6.0), f"a few pixels stand out: {more}"),
        ("kurtosis", "asinh of the excess", (-1.5, 11.0), "most pixels alike, a few far off"),
        ("entropy", "bits", (0.0, 8.0), "many different values, none of them common"),
        ("p05", _FULL, (0.0, 1.0), f"{more} in the lowest 5 % of pixels"),
        ("median", _FULL, (0.0, 1.0), f"{more} in the typical pixel"),
        ("p95", _FULL, (0.0, 1.0), f"{more} in the highest 5 % of pixels"),
    ]
    found = shares + [
        Feature(f"{plane} {name}", plane, unit, span, text, source) for name, unit, span, text in statistics
    ]
    if plane == "hue":
        found.append(
            Feature("hue colored", "hue", "share of pixels", (0.0, 1.0), "more pixels with a color at all", source)
        )
    return found


def _pair_features(scale: str) -> list[Feature]:
    far = f"pixels {DISTANCES[scale]} apart"
    contrast, regularity = f"{scale}-contrast", f"{scale}-regularity"
    rows = [
        (contrast, "difference", _FULL, (0.0, 1.0), f"{far} differ strongly in lightness, root mean square"),
        (contrast, "mean difference", _FULL, (0.0, 1.0), f"{far} differ in lightness"),
        (contrast, "homogeneity", "1", (0.0, 1.0), f"{far} are of the same lightness"),
        (regularity, "energy", "1", (0.0, 1.0), f"few pairs of lightness, again and again, among {far}"),
        (regularity, "correlation", "inverse tanh", (-4.0, 5.0), f"lightness of a pixel foretells that of {far}"),
        (regularity, "entropy", "nats", (0.0, 7.0), f"many different pairs of lightness among {far}"),
    ]
    return [Feature(f"{group} {name}", group, unit, span, text, _HARALICK) for group, name, unit, span, text in rows]


def _direction_features(scale: str) -> list[Feature]:
    far = f"pixels {DISTANCES[scale]} apart"
    rows = [
        ("contrast", "spread over four directions, of the mean", (0.0, 2.0)),
        ("correlation", "spread over four directions", (0.0, 1.0)),
        ("homogeneity", "spread over four directions", (0.0, 0.5)),
        ("entropy", "spread over four directions, nats", (0.0, 3.5)),
    ]
    return [
        Feature(f"direction {scale} {name}", "direction", unit, span,
                f"stripes: the {name} of {far} depends on the direction", _HARALICK)
        for name, unit, span in rows
    ]  # fmt: skip


def _layout_features() -> list[Feature]:
    rows = [
        ("spread", (0.0, 0.5), "large light areas beside large dark ones"),
        ("center", (-1.0, 1.0), "the middle is lighter than the rim"),
        ("top", (-1.0, 1.0), "the upper half is lighter than the lower"),
        ("left", (-1.0, 1.0), "the left half is lighter than the right"),
        ("asymmetry", (0.0, 1.0), "left and right are no mirror images"),
        ("lightest", (0.0, 1.0), "one area is much lighter than the rest"),
        ("darkest", (0.0, 1.0), "one area is much darker than the rest"),
        ("unevenness", (0.0, 2.0), "neighboring areas differ in lightness"),
    ]
    source = "means over an 8x8 grid, this library"
    return [Feature(f"light-dark {name}", "light-dark", _FULL, span, text, source) for name, span, text in rows]


def _of_kind(kind: Kind) -> tuple[Feature, ...]:
    found = [feature for plane in PLANES[kind] for feature in _plane_features(plane)]
    found += [feature for scale in DISTANCES for feature in _pair_features(scale)]
    found += [feature for scale in DISTANCES for feature in _direction_features(scale)]
    return tuple(found + _layout_features())


FEATURES: Mapping[Kind, tuple[Feature, ...]] = MappingProxyType({kind: _of_kind(kind) for kind in PLANES})
"""Kind ("color" or "gray") -> features in the order of `texture_features`; those of a group stand together."""

GROUPS: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {kind: tuple(dict.fromkeys(feature.group for feature in features)) for kind, features in FEATURES.items()}
)
"""Kind -> names of the groups in their order."""


def group_sizes(kind: Kind) -> tuple[int, ...]:
    """Number of features of each group.

    Example:
        >>> dict(zip(GROUPS["gray"], group_sizes("gray")))["light-dark"]
        8
    """
    groups = [feature.group for feature in FEATURES[kind]]
    return tuple(groups.count(group) for group in GROUPS[kind])
