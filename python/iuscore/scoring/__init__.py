"""A fitted model applied to images: scores, why they are what they are, and pictures."""

from iuscore.scoring.explanation import ComponentReason, Explanation
from iuscore.scoring.records import (
    ComponentSummary,
    MeanIus,
    MeanOverClasses,
    ModelUsed,
    Reference,
    SetSummary,
    TargetSummary,
    Unreadable,
)
from iuscore.scoring.scorer import Scorer, load
from iuscore.scoring.scores import Scores

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
