"""A fitted model applied to images: scores, why they are what they are, and pictures."""

from iuscore.score.explain import ComponentReason, Explanation
from iuscore.score.scorer import Scorer, load
from iuscore.score.scores import Scores

__all__ = ["ComponentReason", "Explanation", "Scorer", "Scores", "load"]
