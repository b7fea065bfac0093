"""Stateless batched image operations, each with CPU, CUDA and PyTorch implementations that agree."""

from iuscore.ops._additive import AdditiveOutput, AdditiveTables, AdditiveWeights
from iuscore.ops._cnn import CnnBlock, CnnNetwork, Precision
from iuscore.ops._haralick import GLCM_FEATURES, GLCM_PRESETS, GlcmFeature
from iuscore.ops.additive_cnn import additive_cnn, chosen_precision
from iuscore.ops.additive_lookup import additive_lookup, additive_tables
from iuscore.ops.additive_mlp import additive_mlp
from iuscore.ops.color_histogram import CHANNELS, ColorHistogram, Space, color_histogram
from iuscore.ops.glcm import glcm
from iuscore.ops.glcm_features import GlcmFeatures, glcm_features
from iuscore.ops.image_views import ImageViews, image_views
from iuscore.ops.perceptual_maps import COMPONENTS, DEGENERATE_RANGE, Kind, Mode, degenerate_maps, perceptual_maps
from iuscore.ops.resize import resize
from iuscore.ops.texture_stats import ANGLES, PLANES, PROPERTIES, STATISTICS, TextureStats, texture_stats

__all__ = [
    "ANGLES",
    "CHANNELS",
    "COMPONENTS",
    "DEGENERATE_RANGE",
    "GLCM_FEATURES",
    "GLCM_PRESETS",
    "PLANES",
    "PROPERTIES",
    "STATISTICS",
    "AdditiveOutput",
    "AdditiveTables",
    "AdditiveWeights",
    "CnnBlock",
    "CnnNetwork",
    "ColorHistogram",
    "GlcmFeature",
    "GlcmFeatures",
    "ImageViews",
    "Kind",
    "Mode",
    "Precision",
    "Space",
    "TextureStats",
    "additive_cnn",
    "additive_lookup",
    "additive_mlp",
    "additive_tables",
    "chosen_precision",
    "color_histogram",
    "degenerate_maps",
    "glcm",
    "glcm_features",
    "image_views",
    "perceptual_maps",
    "resize",
    "texture_stats",
]
