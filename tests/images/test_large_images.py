"""Images of many pixels: looked at piece by piece, with the same result as at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from iuscore.images.decode import decode
from iuscore.scoring.color import colored


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "CMYK", "P", "1"])
@pytest.mark.parametrize("size", [(1500, 1100), (3_000_001, 1), (1, 70_000)])
def test_pixels(tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    """As Pillow gives them all at once."""
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    image = Image.fromarray(noise, "RGBA").convert(mode) if mode != "RGBA" else Image.fromarray(noise, "RGBA")
    suffix = "tif" if mode == "CMYK" else "png"
    image.save(tmp_path / f"a.{suffix}")
    pixels = decode(tmp_path / f"a.{suffix}").pixels
    wanted = image.convert("L" if mode in ("L", "LA", "1") else "RGB")
    expected = np.array(wanted)
    assert np.array_equal(pixels, expected[..., None] if expected.ndim == 2 else expected)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("row", [0, 63, 64, 199])
def test_color_in_any_row(kind: str, row: int) -> None:
    """By the formula in float64: a difference between channels of more than 16/255 of the range."""
    scale = {"uint8": 255, "uint16": 65535, "float32": 1}[kind]
    for share in (0, 15 / 255, 16 / 255, 17 / 255, 1):
        image = np.full((200, 40, 3), 0, dtype=kind)
        image[row, 7, 1] = share * scale
        exact = image.astype(np.float64)
        expected = (exact.max(2) - exact.min(2)).max() > 16 / 255 * scale
        assert colored([torch.from_numpy(image)]) == [expected]
    broken = torch.zeros(200, 40, 3)
    broken[row, 3, 2], broken[100, 5, 0] = torch.nan, 1.0
    assert colored([broken]) == [False]  # as one that is not finite: it has no scores


def fastest(work: Callable[[], object]) -> float:
    """Seconds of the processor."""
    found = []
    for _ in range(5):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def test_time_of_a_large_image(tmp_path: Path) -> None:
    """Of one color and 16 million pixels; compared with the same steps at once, on the same machine."""
    image = Image.new("RGB", (4000, 4000), 9)
    image.save(tmp_path / "a.png")
    at_once = fastest(lambda: np.array(Image.open(tmp_path / "a.png")))
    assert fastest(lambda: decode(tmp_path / "a.png")) < at_once
    pixels = torch.from_numpy(np.array(image))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        wide = pixels.to(torch.int32)
        assert fastest(lambda: colored([pixels])) < 0.7 * fastest(lambda: (wide.amax(2) - wide.amin(2)).max())
    finally:
        torch.set_num_threads(threads)
