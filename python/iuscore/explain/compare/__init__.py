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

__all__ = ["Change", "ComparedSet", "Comparison", "Coverage", "Effect", "Gain", "Pair", "ShownImage"]
