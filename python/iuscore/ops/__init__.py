"""Stateless batched image operations, each with CPU, CUDA and PyTorch implementations that agree."""

from iuscore.ops.perceptual_maps import (
    COMPONENTS,
    DEGENERATE_RANGE,
    Kind,
    Mode,
    degenerate_maps,
    perceptual_maps,
)

__all__ = ["COMPONENTS", "DEGENERATE_RANGE", "Kind", "Mode", "degenerate_maps", "perceptual_maps"]
