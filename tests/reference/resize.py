"""Images of bytes at another size, output by output: docs/resize.md."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


def cubic(x: float) -> float:
    """Keys' kernel with a = -1/2."""
    x = abs(x)
    if x < 1.0:
        return (1.5 * x - 2.5) * x * x + 1.0
    if x < 2.0:
        return (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    return 0.0


def weights(size: int, out: int) -> tuple[list[tuple[int, list[int]]], int]:
    """(first input, whole-number weights) of each output, and their fraction bits."""
    scale = size / out
    stretch = max(scale, 1.0)
    found = []
    for o in range(out):
        center = scale * (o + 0.5)
        first = max(int(center - 2.0 * stretch + 0.5), 0)
        end = min(int(center + 2.0 * stretch + 0.5), size)
        values = [cubic((i - center + 0.5) * (1.0 / stretch)) for i in range(first, end)]
        total = sum(values)
        found.append((first, [value * (1.0 / total) for value in values]))
    largest = max(value for _, values in found for value in values)
    bits = 0
    while bits < 22 and int(0.5 + largest * 2 ** (bits + 1)) < 2**15:
        bits += 1
    return [
        (first, [int(value * 2**bits + (0.5 if value >= 0 else -0.5)) for value in values]) for first, values in found
    ], bits


def along(line: list[int], size: int) -> list[int]:
    """One row or column at another size."""
    if len(line) == size:
        return line
    taps, bits = weights(len(line), size)
    sums = [sum(w * line[first + j] for j, w in enumerate(each)) for first, each in taps]
    return [min(max((value + 2 ** (bits - 1)) // 2**bits, 0), 255) for value in sums]


def resize(image: Bytes, height: int, width: int) -> Bytes:
    """[H, W, C] -> [height, width, C]: rows of pixels first, rounded, then columns."""
    channels = []
    for c in range(image.shape[2]):
        wide = [along(row, width) for row in image[:, :, c].tolist()]
        high = [along(list(column), height) for column in zip(*wide, strict=True)]
        channels.append(np.array(high, np.uint8).T)
    return np.stack(channels, axis=2)
