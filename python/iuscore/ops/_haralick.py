"""The co-occurrence features: one registry of names, formulas and sources, and the presets.

p[i, j] is the matrix over its sum, i the level of the first and j of the second pixel, counted from 0 up to L - 1;
P[i] = sum_j p[i, j] and Q[j] = sum_i p[i, j]; s[k] = sum of p where i + j = k; d[k] = sum of p where |i - j| = k;
m = sum_i i P[i], n = sum_j j Q[j]. N = g + 1 with g the largest counted level of the image: IBSI's Ng, the number of
gray levels. Entropies take 0 log 0 as 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Preset: TypeAlias = Literal["skimage", "mahotas", "ibsi", "haralick"]

WITH_TRANSPOSE: tuple[Preset, ...] = ("mahotas", "ibsi", "haralick")
"""Presets whose source counts every pair in both directions."""


@dataclass(frozen=True)
class GlcmFeature:
    """What a feature is.

    Attributes:
        name: as `glcm_features` takes and returns it.
        formula: in the letters of this module's text.
        higher: what a higher value looks like.
        source: number f1..f14 of Haralick 1973, IBSI's name and code, scikit-image's or mahotas's name.
        logarithm: "2" or "e"; "" where there is none.
        first_level: 0 or 1 where the value depends on whether levels are counted from 0 or 1; None where it does not.
        number: of the kernels' formula; None of what PyTorch computes on every back end. Equal where two names mean one
            value.
    """

    name: str
    formula: str
    higher: str
    source: str
    logarithm: str
    first_level: int | None
    number: int | None


def _feature(number: int | None, name: str, formula: str, higher: str, source: str, logarithm: str = "",
             first_level: int | None = None) -> GlcmFeature:  # fmt: skip
    return GlcmFeature(name, formula, higher, source, logarithm, first_level, number)


_ALL = (
    _feature(0, "contrast", "sum_k k^2 d[k]", "neighbors differ much", "f2; IBSI contrast ACUI; scikit-image"),
    _feature(1, "dissimilarity", "sum_k k d[k]", "neighbors differ", "IBSI dissimilarity 8S9J; scikit-image"),
    _feature(2, "homogeneity", "sum_k d[k] / (1 + k^2)", "neighbors are equal or nearly so", "f5; scikit-image"),
    _feature(3, "ASM", "sum p^2", "few pairs of levels make up the image", "f1; scikit-image"),
    _feature(4, "energy", "sqrt(ASM)", "few pairs of levels make up the image", "scikit-image"),
    _feature(
        5,
        "correlation",
        "sum (i - m)(j - n) p / (sd P sd Q); 1 where a variance is 0",
        "bright pixels lie beside bright ones",
        "f3; IBSI correlation NI2N; scikit-image",
    ),
    _feature(6, "mean", "m", "bright", "scikit-image", first_level=0),
    _feature(7, "variance", "sum_i (i - m)^2 P[i]", "gray levels spread wide", "f4; scikit-image"),
    _feature(8, "std", "sqrt(variance)", "gray levels spread wide", "scikit-image"),
    _feature(9, "entropy", "-sum p ln p", "many pairs of levels, equally often", "scikit-image", "e"),
    _feature(
        10, "joint_entropy", "-sum p log2 p", "many pairs of levels, equally often", "f9; IBSI joint entropy TU9B", "2"
    ),
    _feature(11, "joint_maximum", "max p", "one pair of levels prevails", "IBSI joint maximum GYBY"),
    _feature(12, "joint_average", "m + 1", "bright", "IBSI joint average 60VM", first_level=1),
    _feature(13, "sum_average", "sum_k (k + 2) s[k]", "bright", "f6; IBSI sum average ZGXS", first_level=1),
    _feature(14, "sum_average_zero_based", "sum_k k s[k]", "bright", "f6 as in mahotas", first_level=0),
    _feature(15, "sum_variance", "sum_k (k - mean)^2 s[k]", "bright and dark regions", "f7; IBSI sum variance OEEB"),
    _feature(16, "sum_entropy", "-sum_k s log2 s", "many brightnesses of pairs", "f8; IBSI sum entropy P6QZ", "2"),
    _feature(
        17,
        "difference_variance",
        "sum_k (k - dissimilarity)^2 d[k]",
        "both smooth and rough parts",
        "f10 as the variance of |i - j|; IBSI difference variance D3YU",
    ),
    _feature(
        18,
        "difference_variance_of_bins",
        "variance of the entries d[0] .. d[g], g the largest counted level of the image",
        "few differences make up the image",
        "f10 as in mahotas",
    ),
    _feature(
        19,
        "difference_entropy",
        "-sum_k d log2 d",
        "differences of many sizes",
        "f11; IBSI difference entropy NTRS",
        "2",
    ),
    _feature(
        20,
        "imc1",
        "(HXY - HX - HY) / max(HX, HY), of the entropies of p, P and Q; 0 where both are 0",
        "nearer to 0: a pixel says little about its neighbor",
        "f12; IBSI first measure of information correlation R8DG",
        "2",
    ),
    _feature(
        21,
        "imc2",
        "sqrt(1 - exp(-2 (HX + HY - HXY))), entropies in bits",
        "a pixel says much about its neighbor",
        "f13; IBSI second measure of information correlation JN9H; mahotas",
        "2",
    ),
    _feature(22, "inverse_difference", "sum_k d[k] / (1 + k)", "smooth", "IBSI inverse difference IB1Z"),
    _feature(
        23,
        "inverse_difference_normalized",
        "sum_k d[k] / (1 + k / N)",
        "smooth",
        "IBSI normalised inverse difference NDRX",
    ),
    _feature(
        24,
        "inverse_difference_moment_normalized",
        "sum_k d[k] / (1 + k^2 / N^2)",
        "smooth",
        "IBSI normalised inverse difference moment 1QCO",
    ),
    _feature(
        25,
        "inverse_variance",
        "sum_(k > 0) d[k] / k^2",
        "neighbors differ, but little",
        "IBSI inverse variance E8JP",
    ),
    _feature(
        26,
        "autocorrelation",
        "sum (i + 1)(j + 1) p",
        "bright beside bright",
        "IBSI autocorrelation QWB0",
        first_level=1,
    ),
    _feature(
        27,
        "cluster_shade",
        "sum (i + j - m - n)^3 p",
        "a few bright regions on a dark ground; below 0 the other way round",
        "IBSI cluster shade 7NFM",
    ),
    _feature(
        28,
        "cluster_prominence",
        "sum (i + j - m - n)^4 p",
        "a few regions far from the mean",
        "IBSI cluster prominence AE86",
    ),
    _feature(
        None,
        "maximal_correlation_coefficient",
        "second singular value of p[i, j] / sqrt(P[i] Q[j])",
        "a pixel says much about its neighbor",
        "f14",
    ),
    _feature(3, "angular_second_moment", "sum p^2", "few pairs of levels make up the image", "f1; IBSI 8ZQL"),
    _feature(7, "joint_variance", "sum_i (i - m)^2 P[i]", "gray levels spread wide", "IBSI joint variance UR99"),
    _feature(1, "difference_average", "sum_k k d[k]", "neighbors differ", "IBSI difference average TF7R"),
    _feature(
        2,
        "inverse_difference_moment",
        "sum_k d[k] / (1 + k^2)",
        "neighbors are equal or nearly so",
        "f5; IBSI inverse difference moment WF0Z",
    ),
    _feature(
        15, "cluster_tendency", "sum (i + j - m - n)^2 p", "bright and dark regions", "IBSI cluster tendency DG8W"
    ),
)

GLCM_FEATURES: dict[str, GlcmFeature] = {feature.name: feature for feature in _ALL}
"""Name -> what the feature is."""

GLCM_PRESETS: dict[Preset, tuple[str, ...]] = {
    "skimage": (
        "contrast",
        "dissimilarity",
        "homogeneity",
        "ASM",
        "energy",
        "correlation",
        "mean",
        "variance",
        "std",
        "entropy",
    ),
    "mahotas": (
        "ASM",
        "contrast",
        "correlation",
        "variance",
        "homogeneity",
        "sum_average_zero_based",
        "sum_variance",
        "sum_entropy",
        "joint_entropy",
        "difference_variance_of_bins",
        "difference_entropy",
        "imc1",
        "imc2",
    ),
    "ibsi": (
        "joint_maximum",
        "joint_average",
        "joint_variance",
        "joint_entropy",
        "difference_average",
        "difference_variance",
        "difference_entropy",
        "sum_average",
        "sum_variance",
        "sum_entropy",
        "angular_second_moment",
        "contrast",
        "dissimilarity",
        "inverse_difference",
        "inverse_difference_normalized",
        "inverse_difference_moment",
        "inverse_difference_moment_normalized",
        "inverse_variance",
        "correlation",
        "autocorrelation",
        "cluster_tendency",
        "cluster_shade",
        "cluster_prominence",
        "imc1",
        "imc2",
    ),
    "haralick": (
        "angular_second_moment",
        "contrast",
        "correlation",
        "variance",
        "inverse_difference_moment",
        "sum_average",
        "sum_variance",
        "sum_entropy",
        "joint_entropy",
        "difference_variance",
        "difference_entropy",
        "imc1",
        "imc2",
        "maximal_correlation_coefficient",
    ),
}
"""Preset -> names in the order of the tool, of IBSI's reference manual, or of Haralick's paper."""


def feature_names(features: Sequence[str] | None, preset: Preset | None) -> tuple[str, ...]:
    """Of the columns; preset "skimage" where neither is given.

    Raises:
        TypeError: ``features`` is no sequence of names. ValueError: an unknown or repeated name, or both given.
    """
    if features is not None and preset is not None:
        raise ValueError(f"features: expected names or a preset, not both, got {features!r} and {preset!r}")
    if features is None:
        preset = preset or "skimage"
        if preset not in GLCM_PRESETS:
            raise ValueError(f"preset: expected one of {', '.join(GLCM_PRESETS)}, got {preset!r}")
        return GLCM_PRESETS[preset]
    if isinstance(features, str) or not isinstance(features, Sequence):
        raise TypeError(f"features: expected a sequence of names, got {type(features).__name__}")
    names = tuple(features)
    for name in names:
        if name not in GLCM_FEATURES:
            raise ValueError(f"features: unknown name {name!r}; the names are {', '.join(GLCM_FEATURES)}")
    if not names or len(set(names)) != len(names):
        raise ValueError(f"features: expected at least one name, each once, got {list(names)}")
    return names
