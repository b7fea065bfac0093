"""Sets of images compared with real images and with each other: which is more useful, why, and how sure that is."""

from iuscore.explain.compare.records import (
    Change,
    ComparedSet,
    Comparison,
    Coverage,
    Effect,
    Gain,
    Pair,
    ShownImage,
)
from iuscore.explain.compare.sets import ScoredSet
from iuscore.explain.compare.together import compare_sets

__all__ = [
    "Change",
    "ComparedSet",
    "Comparison",
    "Coverage",
    "Effect",
    "Gain",
    "Pair",
    "ScoredSet",
    "ShownImage",
    "compare_sets",
]
