"""The digital phantom of the Image Biomarker Standardisation Initiative and its published co-occurrence values.

Zwanenburg, Leger, Vallieres, Loeck, "Image biomarker standardisation initiative", reference manual, arXiv:1612.07003,
sections 3.6 and 5.1; Zwanenburg et al., Radiology 295 (2020) 328-338. Values as printed: symmetric matrices at distance
1, for each slice and direction a feature, averaged ("2D, averaged"), or the directions of a slice added up first
("2D, slice-merged").
"""

from __future__ import annotations

import numpy as np

# [z, y, x]; 0: outside the region of interest.
PHANTOM = np.array(
    [
        [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
        [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [0, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 6, 1, 1]],
        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
    ],
    np.uint8,
)
LEVELS = 6

# Name in the manual's order: averaged, slice-merged; text, because the number of digits counts.
PUBLISHED: dict[str, tuple[str, str]] = {
    "joint_maximum": ("0.519", "0.512"),
    "joint_average": ("2.14", "2.14"),
    "joint_variance": ("2.69", "2.71"),
    "joint_entropy": ("2.05", "2.24"),
    "difference_average": ("1.42", "1.40"),
    "difference_variance": ("2.90", "3.06"),
    "difference_entropy": ("1.40", "1.49"),
    "sum_average": ("4.28", "4.29"),
    "sum_variance": ("5.47", "5.66"),
    "sum_entropy": ("1.60", "1.79"),
    "angular_second_moment": ("0.368", "0.352"),
    "contrast": ("5.28", "5.19"),
    "dissimilarity": ("1.42", "1.40"),
    "inverse_difference": ("0.678", "0.683"),
    "inverse_difference_normalized": ("0.851", "0.854"),
    "inverse_difference_moment": ("0.619", "0.625"),
    "inverse_difference_moment_normalized": ("0.899", "0.901"),
    "inverse_variance": ("0.0567", "0.0553"),
    "correlation": ("-0.0121", "0.0173"),
    "autocorrelation": ("5.09", "5.14"),
    "cluster_tendency": ("5.47", "5.66"),
    "cluster_shade": ("7.00", "6.98"),
    "cluster_prominence": ("79.1", "80.4"),
    "imc1": ("-0.155", "-0.0341"),
    "imc2": ("0.487", "0.263"),
}


def half_a_digit(text: str) -> float:
    """Half a unit of the last digit printed."""
    return 0.5 * 10.0 ** -len(text.partition(".")[2])
