"""The color codes of `texture_stats` for all 2^24 colors of bytes, and at the edges that many pixels lie on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from iuscore import ops
from iuscore.ops._torch import texture_stats as in_torch
from tests.conftest import BackendUnderTest
from tests.reference.texture_stats import RGB_TO_XYZ, WHITE

pytestmark = pytest.mark.usefixtures("one_thread")

PLANES = ops.PLANES["color"]
STATISTICS = ops.STATISTICS
# L*, a* and b* are float32 by definition. The largest difference of a code before it is cut from its float64 value is
# 1.05e-4 over all colors (a*): nearer to the edge of a code a color may have either. At most one in 50,000 has another.
NEAR_AN_EDGE = 1.1e-4
MOST_OTHERS = 2**24 // 50_000

Codes = npt.NDArray[np.int16]


@pytest.fixture(scope="module")
def colors() -> npt.NDArray[np.uint8]:
    """[2^24, 3]."""
    byte = np.arange(256, dtype=np.uint8)
    return np.stack(np.meshgrid(byte, byte, byte, indexing="ij"), -1).reshape(-1, 3)


def hsv_codes() -> tuple[Codes, Codes, npt.NDArray[np.bool_]]:
    """Saturation, hue and where a hue is counted, [2^24], from the definitions in whole numbers."""
    parts = []
    g, b = np.mgrid[:256, :256].reshape(2, -1)
    for r in range(256):
        high, low = np.maximum(np.maximum(r, g), b), np.minimum(np.minimum(r, g), b)
        spread = high - low
        saturation = np.minimum(256 * spread // np.maximum(high, 1), 255)
        # H in sixths of a turn, times spread; red at 0
        red, green = high == r, (high == g) & (high != r)
        sixths = np.where(red, g - b, np.where(green, b - r + 2 * spread, r - g + 4 * spread))
        hue = 256 * ((sixths + 3 * spread) % np.maximum(6 * spread, 1)) // np.maximum(6 * spread, 1)
        parts.append((saturation, hue, (16 * spread >= high) & (16 * high >= 255)))
    saturation, hue, counted = (np.concatenate(part) for part in zip(*parts, strict=True))
    return saturation.astype(np.int16), hue.astype(np.int16), counted


def lab_codes(plane: str) -> tuple[Codes, npt.NDArray[np.bool_]]:
    """Codes of lightness, red-green or blue-yellow in float64, [2^24], and where these are too near to an edge."""
    byte = np.arange(256) / 255
    linear = np.where(byte > 0.04045, ((byte + 0.055) / 1.055) ** 2.4, byte / 12.92)
    parts = []
    for r in linear:
        f = []
        for row, white in zip(RGB_TO_XYZ, WHITE, strict=True):
            t = ((row[0] * r + row[1] * linear[:, None] + row[2] * linear) / white).ravel()
            f.append(np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116))
        if plane == "lightness":
            parts.append(2.56 * (116 * f[1] - 16))
        else:
            away = 500 * (f[0] - f[1]) if plane == "red-green" else 200 * (f[1] - f[2])
            parts.append((away + 110) * 256 / 220)
    position = np.concatenate(parts)
    codes = np.clip(np.floor(position), 0, 255).astype(np.int16)
    near = abs(position - np.round(position)) < NEAR_AN_EDGE
    return codes, near & (np.round(position) > 0) & (np.round(position) < 256)


def others(backend: BackendUnderTest, colors: npt.NDArray[np.uint8], plane: str, codes: Codes) -> int:
    """How many colors have another code than theirs in a plane: of the colors of each code, an image."""
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=256))
    wrong = 0
    for code, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        if start == end:
            continue
        image = torch.from_numpy(colors[order[start:end]])[None, None].to(backend.device)
        stats = ops.texture_stats(image, bins=256, distances=(), layout="NHWC", backend=backend.backend)
        histogram = stats.histograms[0, PLANES.index(plane)]
        wrong += int(end - start - histogram[code])
    return wrong


def test_saturation_and_hue_of_every_color(native: BackendUnderTest, colors: npt.NDArray[np.uint8]) -> None:
    """A hue is counted from a saturation of 1/16 on, exactly: 594 colors have just that."""
    saturation, hue, counted = hsv_codes()
    assert others(native, colors, "saturation", saturation) == 0
    assert others(native, colors[counted], "hue", hue[counted]) == 0
    image = torch.from_numpy(colors[~counted])[None, None].to(native.device)
    stats = ops.texture_stats(image, distances=(), layout="NHWC", backend=native.backend)
    assert int(stats.counted[0, PLANES.index("hue")]) == 0


@pytest.mark.parametrize("plane", PLANES[:3])
def test_lab_of_every_color(native: BackendUnderTest, colors: npt.NDArray[np.uint8], plane: str) -> None:
    codes, near = lab_codes(plane)
    gray = (colors == colors[:, :1]).all(1) & (plane != "lightness")  # of grays: the last test but one
    sure = ~near & ~gray
    assert others(native, colors[sure], plane, codes[sure]) == 0
    assert others(native, colors[near & ~gray], plane, codes[near & ~gray]) <= MOST_OTHERS


def test_torch_has_the_codes_of_every_color(colors: npt.NDArray[np.uint8]) -> None:
    saturation, hue, counted = hsv_codes()
    planes = [*(lab_codes(plane) for plane in PLANES[:3])]
    different = np.zeros(3, np.int64)
    for r in range(256):
        here = slice(r * 65536, (r + 1) * 65536)
        image = torch.from_numpy(colors[here].reshape(1, 256, 256, 3))
        codes, valid = in_torch.plane_codes(image, None, True)
        got = codes[0].flatten(1).numpy()
        gray = (colors[here] == r).all(1)
        for p, (expected, near) in enumerate(planes):
            other = (got[p] != expected[here]) & ~(gray & (p > 0))
            assert not (other & ~near[here]).any()
            different[p] += other.sum()
        assert np.array_equal(got[3], saturation[here])
        assert np.array_equal(valid[0, 4].flatten().numpy(), counted[here])
        assert np.array_equal(got[4][counted[here]], hue[here][counted[here]])
    assert (different <= MOST_OTHERS).all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 3])
def test_grays_have_one_code_black_included(backend: BackendUnderTest, dtype: torch.dtype, channels: int) -> None:
    """Measured in color, a gray image has no spread in the planes of color, and so no kurtosis from black pixels."""
    ramp = torch.linspace(0.0, 1.0, 4096)
    if dtype == torch.uint8:
        ramp = torch.arange(256)
    elif dtype == torch.uint16:
        ramp = torch.arange(65536)
    image = ramp.to(dtype)[None, None, :, None].expand(-1, -1, -1, channels).to(backend.device)
    stats = ops.texture_stats(image, bins=256, distances=(), layout="NHWC", backend=backend.backend)
    for plane, code in (("red-green", 127), ("blue-yellow", 128)):
        p = PLANES.index(plane)
        assert int(stats.histograms[0, p, code]) == ramp.numel()
        found = dict(zip(STATISTICS, stats.statistics[0, p].tolist(), strict=True))
        assert found["sd"] == found["skewness"] == found["kurtosis"] == found["entropy"] == 0.0


@pytest.mark.parametrize("most", [255, 65535])
def test_edges_of_saturation_and_hue(backend: BackendUnderTest, most: int) -> None:
    """Colors exactly on edges and one step below them, of bytes and of 16 bits."""
    step = 1 if most == 255 else 256
    rng = np.random.default_rng(most)
    high = 16 * rng.integers(1, most // 16 + 1, 4000)
    colors = [np.stack([high, high - high // 16, high - high // 16], -1)]  # a saturation of 1/16
    colors += [
        colors[0] + [0, 1, 1],
        np.stack([high, high // 2, high // 4], -1),
        np.stack([high, 0 * high, high // 4], -1),
    ]
    colors += [rng.integers(0, most + 1, (20_000, 3)), np.array([[16 * step, 0, 0], [15 * step, 0, 0]])]
    if most > 255:  # quotients whose float32 is the edge above
        wide = rng.integers(43_691, 65_536, 20_000)
        colors.append(np.stack([0 * wide, wide, (wide * rng.integers(1, 128, 20_000)) // 128], -1))
    rgb = np.concatenate(colors).clip(0, most)
    r, g, b = rgb.T
    spread, top = rgb.max(1) - rgb.min(1), rgb.max(1)
    sixths = np.where(top == r, g - b, np.where(top == g, b - r + 2 * spread, r - g + 4 * spread)) + 3 * spread
    hue = 256 * (sixths % np.maximum(6 * spread, 1)) // np.maximum(6 * spread, 1)
    counted = (16 * spread >= top) & (16 * top >= most)
    saturation = np.minimum(256 * spread // np.maximum(top, 1), 255)
    dtype: Any = np.uint8 if most == 255 else np.uint16
    for plane, codes, where in (("saturation", saturation, slice(None)), ("hue", hue, counted)):
        image = torch.from_numpy(rgb[where].astype(dtype))
        wrong = 0
        for code in np.unique(codes[where]):
            some = image[torch.from_numpy(codes[where] == code)][None, None].to(backend.device)
            stats = ops.texture_stats(some, bins=256, distances=(), layout="NHWC", backend=backend.backend)
            wrong += some.shape[2] - int(stats.histograms[0, PLANES.index(plane), code])
        assert wrong == 0, plane
