"""Stateless batched image operations, each with CPU, CUDA and PyTorch implementations that agree."""

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
    "Kind",
    "Mode",
    "TextureStats",
    "degenerate_maps",
    "perceptual_maps",
    "texture_stats",
]
