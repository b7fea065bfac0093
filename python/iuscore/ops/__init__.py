"""Stateless batched image operations, each with CPU, CUDA and PyTorch implementations that agree."""

from iuscore.ops.additive_mlp import AdditiveOutput, AdditiveWeights, additive_mlp
from iuscore.ops.perceptual_maps import (
    COMPONENTS,
    DEGENERATE_RANGE,
    Kind,
    Mode,
    degenerate_maps,
    perceptual_maps,
)
from iuscore.ops.texture_stats import ANGLES, PLANES, PROPERTIES, STATISTICS, TextureStats, texture_stats

__all__ = [
    "ANGLES",
    "COMPONENTS",
    "DEGENERATE_RANGE",
    "PLANES",
    "PROPERTIES",
    "STATISTICS",
    "AdditiveOutput",
    "AdditiveWeights",
    "Kind",
    "Mode",
    "TextureStats",
    "additive_mlp",
    "degenerate_maps",
    "perceptual_maps",
    "texture_stats",
]
