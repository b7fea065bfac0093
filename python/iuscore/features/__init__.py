"""Named features of images, which a texture model takes in groups."""

from iuscore.features.change import (
    COLORLESS,
    MAX_NEIGHBORS,
    MIN_NEIGHBORS,
    FeatureProfile,
    GroupChange,
    changes,
    farthest_moved,
    feature_profile,
    nearest_ratio,
)
from iuscore.features.masks import Mask, border_masks, sized_masks
from iuscore.features.out_of_distribution import joint_distance, looks_inverted
from iuscore.features.registry import DISTANCES, FAINT, FEATURES, GROUPS, VERSION, Feature, group_sizes
from iuscore.features.texture import texture_features

__all__ = [
    "COLORLESS",
    "DISTANCES",
    "FAINT",
    "FEATURES",
    "GROUPS",
    "MAX_NEIGHBORS",
    "MIN_NEIGHBORS",
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
    "joint_distance",
    "looks_inverted",
    "nearest_ratio",
    "sized_masks",
    "texture_features",
]
