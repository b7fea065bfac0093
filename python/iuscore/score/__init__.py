"""A fitted model applied to images: scores, why they are what they are, and pictures."""

from iuscore.score.explain import ComponentReason, Explanation
from iuscore.score.records import (
    ComponentSummary,
    MeanIus,
    MeanOverClasses,
    ModelUsed,
    Reference,
    SetSummary,
    TargetSummary,
    Unreadable,
)
from iuscore.score.scorer import Scorer, load
from iuscore.score.scores import Scores

__all__ = [
    "ComponentReason",
    "ComponentSummary",
    "Explanation",
    "MeanIus",
    "MeanOverClasses",
    "ModelUsed",
    "Reference",
    "Scorer",
    "Scores",
    "SetSummary",
    "TargetSummary",
    "Unreadable",
    "load",
]
