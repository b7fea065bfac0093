"""What a set, and each of its images, is worth for training, judged by real reference images."""

from iuscore.explain.value.of_images import image_values
from iuscore.explain.value.of_sets import LEARNABLE, MIN_REFERENCE, MIN_SET, set_value
from iuscore.explain.value.records import GroupContrast, ImageValues, Measure, SetValue
from iuscore.explain.value.reference import ReferenceRecord, ReferenceViews

__all__ = [
    "LEARNABLE",
    "MIN_REFERENCE",
    "MIN_SET",
    "GroupContrast",
    "ImageValues",
    "Measure",
    "ReferenceRecord",
    "ReferenceViews",
    "SetValue",
    "image_values",
    "set_value",
]
