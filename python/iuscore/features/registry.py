"""All features by name, with unit, range, source, and the look of images with higher or lower values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from iuscore.ops import PLANES, Kind

VERSION = 2
"""Version of the features. A release that changes a measured value increases it; models record their version.

1: release 0.1. 2: saturation and hue of integers are exact, and black has the code of the other grays.
"""

FAINT = 16 / 255
"""Channel differences up to this share of full scale do not count as color: JPEG causes them in gray images."""

COLOR_GROUPS = ("red-green", "blue-yellow", "saturation", "hue")
"""Groups that have no meaning for an image without color."""

BINS = 16
"""Bins of a plane's histogram; the share of each bin is a feature."""

LEVELS = 32
"""Gray levels of the co-occurrence matrices."""

DISTANCES: Mapping[str, int] = MappingProxyType({"fine": 1, "broad": 4})
"""Scale of a co-occurrence group -> distance of its pixel pairs, in pixels."""

_HARALICK = "Haralick, Shanmugam, Dinstein, IEEE SMC 1973"
_SWAIN = "Swain, Ballard, IJCV 1991"
_CIELAB = "CIE 1976 L*a*b*"


@dataclass(frozen=True)
class Feature:
    """One number that is measured in an image.

    Attributes:
        name: unique for "color" or "gray": the group, a space, and the measure.
        group: component of the model that the feature belongs to.
        unit: unit of the value.
        range: smallest and largest possible value; for skewness and kurtosis in at most 170 x 170 pixels, since one
            outlier among n pixels gives a skewness near sqrt(n).
        higher: how an image with a higher value looks, compared with others; a complete clause.
        lower: how an image with a lower value looks.
        reference: source of the measure, or of the color space.
        role: "statistic", or "share" for one bin of a histogram. Explanations name statistics.
    """

    name: str
    group: str
    unit: str
    range: tuple[float, float]
    higher: str
    lower: str
    reference: str
    role: Literal["statistic", "share"] = "statistic"

    @property
    def undone(self) -> Callable[[float], float] | None:
        """Function from values back to the unit that readers know; None if the value is in such a unit already.

        Example:
            >>> feature = next(f for f in FEATURES["gray"] if f.name == "fine-regularity correlation")
            >>> round(feature.undone(2.4), 2)
            0.98
        """
        return next((inverse for unit, inverse in _INVERSES.items() if self.unit.startswith(unit)), None)

    def words(self, shift: float) -> str:
        """How an image looks whose value is higher (``shift`` >= 0) or lower than the value of others.

        Example:
            >>> next(f for f in FEATURES["gray"] if f.name == "lightness mean").words(-2.0)
            'on average, pixels are darker'
        """
        return self.higher if shift >= 0 else self.lower


_INVERSES: Mapping[str, Callable[[float], float]] = MappingProxyType({"inverse tanh": math.tanh, "asinh": math.sinh})
"""Beginning of a transformed unit -> inverse of the transformation."""

_FULL = "of full range"
_HSV = "HSV, Smith, SIGGRAPH 1978"


@dataclass(frozen=True)
class _Plane:
    """Texts that describe a plane and its statistics.

    Attributes:
        scale: direction of the codes, such as "from dark to light".
        subject, more, less: "<subject> <more>" describes higher codes, "<subject> <less>" lower codes.
        low, high: names of the pixels with the lowest and the highest codes.
        spread: description of a larger, and of a smaller, standard deviation.
        quantity: the quantity that varies from pixel to pixel.
        few: possible causes of few different values.
        source: source of the plane.
    """

    scale: str
    subject: str
    more: str
    less: str
    low: str
    high: str
    spread: tuple[str, str]
    quantity: str
    few: str
    source: str


_ORDER = "in the order cyan, blue, magenta, red, yellow, green"
_PLANES: Mapping[str, _Plane] = MappingProxyType(
    {
        "lightness": _Plane(
            "from dark to light", "pixels", "are lighter", "are darker", "the darkest parts", "the lightest parts",
            ("light and dark differ more (higher contrast)", "light and dark differ less (lower contrast)"),
            "lightness", "even areas, a border, clipping, or lower contrast", _CIELAB,
        ),
        "red-green": _Plane(
            "from green to red", "colors", "are redder or less green", "are greener or less red",
            "the greenest parts", "the reddest parts",
            ("red and green tints differ more", "red and green tints differ less"),
            "the tint between green and red", "even areas, paler colors, or JPEG compression", _CIELAB,
        ),
        "blue-yellow": _Plane(
            "from blue to yellow", "colors", "are yellower or less blue", "are bluer or less yellow",
            "the bluest parts", "the yellowest parts",
            ("blue and yellow tints differ more", "blue and yellow tints differ less"),
            "the tint between blue and yellow", "even areas, paler colors, or JPEG compression", _CIELAB,
        ),
        "saturation": _Plane(
            "from gray to pure color", "colors", "are stronger", "are paler", "the palest colors",
            "the strongest colors", ("pale and strong colors differ more", "pale and strong colors differ less"),
            "the strength of color", "even or gray areas, or JPEG compression", _HSV,
        ),
        "hue": _Plane(
            "from cyan over blue, red and green back to cyan", "hues", f"lie farther right {_ORDER}",
            f"lie farther left {_ORDER}", "the leftmost hues", "the rightmost hues",
            ("hues differ more from each other", "hues differ less from each other"),
            "the hue", "even or gray areas, or JPEG compression", _HSV,
        ),
        "coarse-fine": _Plane(
            "from even surface to edges and grain", "edges and grain", "are stronger", "are weaker",
            "the smoothest parts", "the strongest edges",
            ("smooth parts and edges differ more", "smooth parts and edges differ less"),
            "the strength of edges", "blur, lower contrast, even areas, a border, or JPEG compression",
            "Sobel operator",
        ),
    }
)  # fmt: skip


def _plane_statistics(name: str, plane: _Plane) -> list[tuple[str, str, tuple[float, float], str, str]]:
    """(statistic, unit, range, higher, lower) of each statistic of a plane."""
    more, less = plane.more, plane.less
    lowest = ("are rougher (perhaps grain or noise)", "are smoother") if name == "coarse-fine" else (more, less)
    order = f", {_ORDER}" if name == "hue" else ""
    return [
        ("mean", _FULL, (0.0, 1.0), f"on average, {plane.subject} {more}", f"on average, {plane.subject} {less}"),
        ("sd", _FULL, (0.0, 0.5), *plane.spread),
        ("skewness", "asinh of the third moment", (-6.0, 6.0),
         f"{plane.high} stand out more, or {plane.low} less{order}",
         f"{plane.low} stand out more, or {plane.high} less{order}"),
        ("kurtosis", "asinh of the excess", (-1.5, 11.0),
         f"{plane.quantity} is nearly the same in more of the image, with a few pixels far off",
         f"{plane.quantity} is spread more evenly, with fewer pixels far off"),
        ("entropy", "bits", (0.0, 8.0), f"{plane.quantity} takes more different values",
         f"{plane.quantity} takes fewer different values (perhaps {plane.few})"),
        ("p05", _FULL, (0.0, 1.0), f"{plane.low} {lowest[0]}", f"{plane.low} {lowest[1]}"),
        ("median", _FULL, (0.0, 1.0), f"typical {plane.subject} {more}", f"typical {plane.subject} {less}"),
        ("p95", _FULL, (0.0, 1.0), f"{plane.high} {more}", f"{plane.high} {less}"),
    ]  # fmt: skip


def _plane_features(name: str) -> list[Feature]:
    plane = _PLANES[name]
    found = []
    for i in range(BINS):
        part = f"pixels at {100 * i / BINS:g} to {100 * (i + 1) / BINS:g} % of the way {plane.scale}"
        found.append(
            Feature(f"{name} {100 * i / BINS:.0f} to {100 * (i + 1) / BINS:.0f} %", name,
                    "square root of the share of pixels", (0.0, 1.0), f"more {part}", f"fewer {part}", _SWAIN, "share")
        )  # fmt: skip
    found += [
        Feature(f"{name} {statistic}", name, unit, span, higher, lower, plane.source)
        for statistic, unit, span, higher, lower in _plane_statistics(name, plane)
    ]
    if name == "hue":
        found.append(
            Feature("hue colored", "hue", "share of pixels", (0.0, 1.0), "more pixels have a color at all",
                    "fewer pixels have a color at all (more are gray or black)", plane.source)
        )  # fmt: skip
    return found


def _pair_features(scale: str) -> list[Feature]:
    far = "neighboring pixels" if scale == "fine" else f"pixels {DISTANCES[scale]} apart"
    grain = "fine grain" if scale == "fine" else "coarse grain"
    more = ("edges are sharper, grain or noise is stronger, or contrast is higher" if scale == "fine"
            else "texture or noise is stronger, or contrast is higher") + f" ({far} differ more)"  # fmt: skip
    less = ("edges are softer, grain is weaker, or contrast is lower" if scale == "fine"
            else "texture is weaker, or contrast is lower") + f" ({far} differ less)"  # fmt: skip
    contrast, regularity = f"{scale}-contrast", f"{scale}-regularity"
    rows = [
        (contrast, "difference", _FULL, (0.0, 1.0),
         f"{far} differ more (perhaps noise, sharper edges, a border, or higher contrast)",
         f"{far} differ less (perhaps softer edges, less noise, or lower contrast)"),
        (contrast, "mean difference", _FULL, (0.0, 1.0), more, less),
        (contrast, "homogeneity", "1", (0.0, 1.0), less, more),
        (regularity, "energy", "1", (0.0, 1.0),
         "a few lightness values fill more of the image (perhaps even areas, a border, clipping, or lower contrast)",
         "a few lightness values fill less of the image (perhaps texture, noise, or higher contrast)"),
        (regularity, "correlation", "inverse tanh", (-4.0, 5.0),
         f"{grain} is weaker relative to the contrast of the whole image ({far} are more alike)",
         f"{grain} or noise is stronger relative to the contrast of the whole image ({far} are less alike)"),
        (regularity, "entropy", "nats", (0.0, 7.0),
         f"lightness values of {far} combine in more ways (perhaps texture, noise, or higher contrast)",
         f"lightness values of {far} combine in fewer ways (perhaps even areas, blur, a border, or lower contrast)"),
    ]  # fmt: skip
    return [
        Feature(f"{group} {name}", group, unit, span, higher, lower, _HARALICK)
        for group, name, unit, span, higher, lower in rows
    ]


def _direction_features(scale: str) -> list[Feature]:
    rows = [
        ("contrast", "spread over four directions, of the mean", (0.0, 2.0)),
        ("correlation", "spread over four directions", (0.0, 1.0)),
        ("homogeneity", "spread over four directions", (0.0, 0.5)),
        ("entropy", "spread over four directions, nats", (0.0, 3.5)),
    ]
    what = "fine structure" if scale == "fine" else "broad structure"
    higher = f"{what} depends more on its direction (perhaps stripes, lines, edges of blocks, or blur)"
    lower = f"{what} depends less on its direction (fewer lines; perhaps blur, grain or noise)"
    return [
        Feature(f"direction {scale} {name}", "direction", unit, span, higher, lower, _HARALICK)
        for name, unit, span in rows
    ]


def _layout_features() -> list[Feature]:
    rows = [
        ("spread", (0.0, 0.5), "large light and dark areas differ more", "large light and dark areas differ less"),
        ("center", (-1.0, 1.0), "the middle is lighter, or the rim darker (perhaps a black border)",
         "the middle is darker, or the rim lighter"),
        ("top", (-1.0, 1.0), "the upper half is lighter, or the lower darker",
         "the upper half is darker, or the lower lighter"),
        ("left", (-1.0, 1.0), "the left half is lighter, or the right darker",
         "the left half is darker, or the right lighter"),
        ("asymmetry", (0.0, 1.0), "left and right differ more in light", "left and right differ less in light"),
        ("lightest", (0.0, 1.0), "the lightest area stands out more from the average",
         "the lightest area stands out less from the average"),
        ("darkest", (0.0, 1.0), "the darkest area stands out more from the average",
         "the darkest area stands out less from the average"),
        ("unevenness", (0.0, 2.0), "areas side by side differ more in lightness",
         "areas side by side differ less in lightness"),
    ]  # fmt: skip
    source = "means over an 8x8 grid, this library"
    return [
        Feature(f"light-dark {name}", "light-dark", _FULL, span, higher, lower, source)
        for name, span, higher, lower in rows
    ]


def _of_kind(kind: Kind) -> tuple[Feature, ...]:
    found = [feature for plane in PLANES[kind] for feature in _plane_features(plane)]
    found += [feature for scale in DISTANCES for feature in _pair_features(scale)]
    found += [feature for scale in DISTANCES for feature in _direction_features(scale)]
    return tuple(found + _layout_features())


FEATURES: Mapping[Kind, tuple[Feature, ...]] = MappingProxyType({kind: _of_kind(kind) for kind in PLANES})
"""Kind ("color" or "gray") -> features in the order of `texture_features`; features of a group are adjacent."""

GROUPS: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {kind: tuple(dict.fromkeys(feature.group for feature in features)) for kind, features in FEATURES.items()}
)
"""Kind -> names of the groups, in order."""


def group_sizes(kind: Kind) -> tuple[int, ...]:
    """Number of features of each group.

    Example:
        >>> dict(zip(GROUPS["gray"], group_sizes("gray")))["light-dark"]
        8
    """
    groups = [feature.group for feature in FEATURES[kind]]
    return tuple(groups.count(group) for group in GROUPS[kind])
