"""iuscore: how useful a synthetic medical image is for training a classifier, and why."""

from iuscore import ops
from iuscore.errors import UserError

__all__ = ["UserError", "ops"]
