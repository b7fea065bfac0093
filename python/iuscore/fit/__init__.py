"""From real images to a model folder."""

from iuscore.fit.kinds import EPUOptions, TextureOptions
from iuscore.fit.run import Fitted, fit
from iuscore.fit.splits import Splits, open_splits
from iuscore.fit.training import TrainingOptions

__all__ = ["EPUOptions", "Fitted", "Splits", "TextureOptions", "TrainingOptions", "fit", "open_splits"]
