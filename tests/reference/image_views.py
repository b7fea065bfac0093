"""Thumbnails and patch responses, window by window and patch by patch: docs/image_views.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

WINDOW, POSITIONS, HALF = 6, 27, 14


@dataclass(frozen=True)
class Trace:
    """One image on its way; K channels, n = 36 K values of a patch.

    Attributes:
        thumb: [64 K].
        patches: [729, n], pixels of the small image.
        centered: [729, n], less the mean of the patch.
        root: [729], of the variance plus 10.
        answers: [729, 64].
        responses: [512].
    """

    thumb: Array
    patches: Array
    centered: Array
    root: Array
    answers: Array
    responses: Array


def image_views(image: Bytes, weights: Array, bias: Array, color: bool) -> Trace:
    """Of [H, W, C]."""
    levels = gray_levels(image, color)
    small = area_means(levels, 32)
    patches, centered, root, answers = [], [], [], []
    for y in range(POSITIONS):
        for x in range(POSITIONS):
            values = [
                float(small[c, y + i, x + j])
                for c in range(len(small)) for i in range(WINDOW) for j in range(WINDOW)
            ]  # fmt: skip
            mean = sum(values) / len(values)
            without = [value - mean for value in values]
            scale = (sum(value * value for value in without) / len(values) + 10.0) ** 0.5
            patches.append(values)
            centered.append(without)
            root.append(scale)
            answers.append(np.array(without) / scale @ weights + bias)
    found = np.array(answers)
    return Trace(
        thumb=area_means(levels, 8).ravel(),
        patches=np.array(patches),
        centered=np.array(centered),
        root=np.array(root),
        answers=found,
        responses=np.sqrt(quarter_means(np.stack([beyond(found), beyond(-found)], axis=1))),
    )


def gray_levels(image: Bytes, color: bool) -> npt.NDArray[np.int64]:
    """[K, H, W]; the gray level in float32, whose roundings decide about halves."""
    planes = [image[..., min(c, image.shape[2] - 1)] for c in range(3)]
    if color:
        return np.stack(planes).astype(np.int64)
    if image.shape[2] == 1:
        return planes[0][None].astype(np.int64)
    red, green, blue = (plane.astype(np.float32) for plane in planes)
    level = red * np.float32(0.299) + green * np.float32(0.587) + blue * np.float32(0.114)
    return np.rint(level)[None].astype(np.int64)


def area_means(levels: npt.NDArray[np.int64], side: int) -> Array:
    """[K, side, side]: window i of n over a side s runs from floor(i s / n) to ceil((i + 1) s / n)."""
    channels, height, width = levels.shape
    found = np.empty((channels, side, side))
    for c in range(channels):
        for i in range(side):
            for j in range(side):
                rows = slice(i * height // side, -(-(i + 1) * height // side))
                columns = slice(j * width // side, -(-(j + 1) * width // side))
                window = levels[c, rows, columns]
                found[c, i, j] = int(window.sum()) / window.size
    return found


def beyond(answers: Array) -> Array:
    """How far above the threshold."""
    return np.maximum(answers - 0.5, 0.0)


def quarter_means(values: Array) -> Array:
    """[729, 2, 64] -> [512]: sign by sign, filter by filter, quarter by quarter."""
    found = []
    halves = (slice(0, HALF), slice(POSITIONS - HALF, POSITIONS))
    for sign in range(2):
        for f in range(64):
            plane = values[:, sign, f].reshape(POSITIONS, POSITIONS)
            found += [plane[rows, columns].mean() for rows in halves for columns in halves]
    return np.array(found)
