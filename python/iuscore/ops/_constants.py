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
    "image_views",
    "perceptual_maps",
    "resize",
    "texture_stats",
)
CNN_LANES = 8
CNN_MAX_LINEARS = 8
CNN_MAX_PATCH = 4_095
CNN_MAX_UNITS = 4_096
CNN_PANEL = 32
CNN_UNITS = 4
CNN_VECTOR = 16
MAX_BINS = 1_024
MAX_GLCM_PIXELS = 1_073_741_824
MAX_JOINT_BINS = 32
MAX_KNOTS = 16_777_216
MAX_LEVELS = 256
MAX_MAP_PIXELS = 536_870_912
MAX_OFFSETS = 64
MAX_RESIZE_SHIFT = 22
MAX_SIDE = 16_777_216
MAX_VIEWS_SIDE = 16_777_216
MIN_LEVELS = 2
MIN_MAP_SIDE = 4
PATCH_FILTERS = 64
PATCH_RESPONSES = 512
PATCH_SIDE = 32
PATCH_WINDOW = 6
TEXTURE_COLOR_PLANES = 6
TEXTURE_GRAY_PLANES = 2
TEXTURE_GRID = 8
TEXTURE_PROPERTIES = 10
TEXTURE_STATISTICS = 8
THUMB_SIDE = 8
