"""Apply a fitted model to images: scores, their explanation, and summaries of sets."""

from iuscore.models.record import HeldOut
from iuscore.scoring.explanation import ComponentReason, Explanation
from iuscore.scoring.loading import load
from iuscore.scoring.records import (
    ComponentSummary,
    MeanIus,
    MeanOverClasses,
    ModelUsed,
    SetSummary,
    TargetSummary,
    Unreadable,
)
from iuscore.scoring.scorer import Scorer
from iuscore.scoring.scores import ImageScore, Scores

__all__ = [
    "ComponentReason",
    "ComponentSummary",
    "Explanation",
    "HeldOut",
    "ImageScore",
    "MeanIus",
    "MeanOverClasses",
    "ModelUsed",
    "Scorer",
    "Scores",
    "SetSummary",
    "TargetSummary",
    "Unreadable",
    "load",
]
