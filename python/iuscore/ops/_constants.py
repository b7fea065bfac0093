"""The ops, and limits of the kernels: written by tools/generate_stubs.py, from what _core exports.

Python knows them where no compiled module is there, too. What a limit means stands beside it in csrc/ops/<op>.h.
"""

OPS = (
    "additive_cnn",
    "additive_lookup",
    "additive_mlp",
    "color_histogram",
    "glcm",
    "glcm_features",
    "perceptual_maps",
    "resize",
    "texture_stats",
)
