"""Images, masks and options for the tests of `color_histogram`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from iuscore import ops
from iuscore.ops._edges import float32_edges
from tests.conftest import BackendUnderTest

DTYPES = (torch.uint8, torch.uint16, torch.float16, torch.bfloat16, torch.float32)
SPACES = ("rgb", "hsv", "lab", "gray")
PATTERNS = ("noise", "constant", "border", "runs", "on-edges", "odd-values")
SIDES = (1, 2, 3, 5, 7, 8, 9, 16, 17, 24, 25)


@dataclass(frozen=True)
class Case:
    """A batch of images and what is asked of it."""

    dtype: torch.dtype
    channels: int
    shape: tuple[int, int]
    space: str
    joint: bool
    bins: tuple[int, ...]
    ranges: tuple[tuple[float, float], ...]
    masked: bool
    view: str
    pattern: str
    seed: int

    @property
    def options(self) -> dict[str, Any]:
        return {"space": self.space, "joint": self.joint, "bins": self.bins, "range": self.ranges}

    @property
    def name(self) -> str:
        return str(self.dtype).removeprefix("torch.")


def default_range(dtype: torch.dtype, space: str, channel: int) -> tuple[float, float]:
    if space == "lab":
        return (0.0, 100.0) if channel == 0 else (-110.0, 110.0)
    if space == "hsv":
        return (0.0, 1.0)
    return {torch.uint8: (0.0, 256.0), torch.uint16: (0.0, 65536.0)}.get(dtype, (0.0, 1.0))


@st.composite
def cases(draw: st.DrawFn, spaces: Sequence[str] = SPACES, views: Sequence[str] = ("contiguous",)) -> Case:
    space = draw(st.sampled_from(spaces))
    dtype = draw(st.sampled_from(DTYPES))
    joint = space != "gray" and draw(st.booleans())
    channels = 1 if space == "gray" else 3
    some = st.sampled_from((1, 2, 8, 32)) if joint else st.sampled_from((1, 2, 16, 64, 256, 1024))
    count = st.one_of(some, st.integers(1, 32 if joint else 300))
    bins = draw(st.one_of(count.map(lambda n: (n,) * channels), st.tuples(*[count] * channels)))
    ranges = []
    for c in range(channels):
        low, high = default_range(dtype, space, c)
        if draw(st.booleans()):  # a part of it, one that is larger, or one that float32 hardly resolves
            width = high - low
            low += width * draw(st.floats(-0.3, 0.8))
            high = low + width * draw(st.one_of(st.floats(0.05, 1.5), st.just(1e-7)))
        ranges.append((low, high))
    return Case(
        dtype=dtype,
        channels=draw(st.sampled_from((1, 3, 3))),
        shape=(draw(st.sampled_from(SIDES)), draw(st.sampled_from(SIDES))),
        space=space,
        joint=joint,
        bins=bins,
        ranges=tuple(ranges),
        masked=draw(st.booleans()),
        view=draw(st.sampled_from(views)),
        pattern=draw(st.sampled_from(PATTERNS)),
        seed=draw(st.integers(0, 2**16)),
    )


def make_images(case: Case, batch: int = 2) -> Tensor:
    """[B, H, W, C] contiguous, of the case's dtype; the same for the same case."""
    rng = np.random.default_rng(case.seed)
    shape = (batch, *case.shape, case.channels)
    largest = {torch.uint8: 255.0, torch.uint16: 65535.0}.get(case.dtype, 1.0)
    x = rng.random(shape) * largest
    if case.pattern == "constant":
        x[:] = x[:, :1, :1]
    elif case.pattern == "border":
        x[:, :, : shape[2] // 2] = 0.0
    elif case.pattern == "runs":
        x = x[:, :, rng.integers(0, 3, shape[2]).cumsum() // 3 % shape[2]]
    elif case.pattern == "on-edges" and case.space in ("rgb", "gray"):
        edges = float32_edges(*case.ranges[0], case.bins[0])
        x = rng.choice(np.concatenate([edges, np.nextafter(edges, np.float32(-np.inf))]), shape).astype(np.float64)
    elif case.pattern == "odd-values":
        x = rng.choice([0.0, -0.0, largest, 0.5 * largest, -largest, 2.0 * largest, np.nan, np.inf, -np.inf], shape)
    if case.dtype.is_floating_point:
        return torch.from_numpy(x).to(case.dtype)
    whole = np.clip(np.round(np.nan_to_num(x)), 0, largest)
    return torch.from_numpy(whole.astype(np.uint8 if case.dtype == torch.uint8 else np.uint16))


def make_mask(case: Case, batch: int = 2) -> Tensor | None:
    if not case.masked:
        return None
    rng = np.random.default_rng(case.seed + 1)
    mask = torch.from_numpy(rng.integers(0, 3, (batch, *case.shape), dtype=np.uint8))
    return mask if case.seed % 2 else mask > 0


def run(backend: BackendUnderTest, images: Any, mask: Any = None, **options: Any) -> ops.ColorHistogram:
    """`color_histogram` there; results on the CPU."""
    result = ops.color_histogram(backend.moved(images), mask=backend.moved(mask), backend=backend.backend, **options)
    assert {part.device.type for part in result} == {backend.device.type}
    return ops.ColorHistogram(*(part.cpu() for part in result))


def assert_equal(got: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for name, a, b in zip(ops.ColorHistogram._fields, got, expected, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), name
        assert torch.equal(a, b), f"{name}: {int((a != b).sum())} of {a.numel()} differ"
