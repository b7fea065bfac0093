"""Named features of an image that a texture model adds up, group by group."""

from iuscore.features.change import (
    COLORLESS,
    FEWEST,
    MOST,
    FeatureProfile,
    GroupChange,
    changes,
    farthest_moved,
    feature_profile,
    nearest_ratio,
)
from iuscore.features.masks import Mask, border_masks, sized_masks
from iuscore.features.outside import jointly_outside, looks_inverted
from iuscore.features.registry import DISTANCES, FAINT, FEATURES, GROUPS, VERSION, Feature, group_sizes
from iuscore.features.texture import texture_features

__all__ = [
    "COLORLESS",
    "DISTANCES",
    "FAINT",
    "FEATURES",
    "FEWEST",
    "GROUPS",
    "MOST",
    "VERSION",
    "Feature",
    "FeatureProfile",
    "GroupChange",
    "Mask",
    "border_masks",
    "changes",
    "farthest_moved",
    "feature_profile",
    "group_sizes",
    "jointly_outside",
    "looks_inverted",
    "nearest_ratio",
    "sized_masks",
    "texture_features",
]
