"""Named features of an image that a texture model adds up, group by group."""

from iuscore.features.registry import FEATURES, GROUPS, Feature, group_sizes
from iuscore.features.texture import texture_features

__all__ = ["FEATURES", "GROUPS", "Feature", "group_sizes", "texture_features"]
