"""iuscore: how useful a synthetic medical image is for training a classifier, and why."""

from iuscore import ops, phantoms
from iuscore.errors import UserError
from iuscore.score import Scorer, Scores, load

__all__ = ["Scorer", "Scores", "UserError", "load", "ops", "phantoms"]
