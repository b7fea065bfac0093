"""Images, masks and options for the tests of `glcm` and `glcm_features`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from tests.reference import glcm as reference

DTYPES = (torch.uint8, torch.uint16, torch.float16, torch.bfloat16, torch.float32)
LEVELS = (2, 3, 7, 16, 31, 32, 33, 64, 65, 129, 256)
PATTERNS = ("noise", "smooth", "constant", "black-border", "two-values", "negative")
MASKS = (None, None, "bool", "bytes", "nothing", "slice")
EDGES = (1, 2, 3, 15, 16, 17, 31, 33)
OFFSETS = st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=1, max_size=7)


@dataclass(frozen=True)
class Case:
    """A batch of images and what is asked of it."""

    dtype: torch.dtype
    channels: int
    batch: int
    shape: tuple[int, int]
    view: str
    pattern: str
    mask: str | None
    levels: int
    quantize: str
    offsets: tuple[tuple[int, int], ...]
    symmetric: bool
    seed: int

    @property
    def quantization(self) -> dict[str, Any]:
        """As the reference takes it."""
        high = reference.HIGH.get(str(self.dtype)[6:], 1.0)
        options: dict[str, Any] = {"levels": self.levels, "quantize": self.quantize}
        if self.quantize == "width":  # of the first and the last many values lie on edges
            width = (high / 32.0, high / 23.0, 10.0 if high > 1.0 else 0.1)[self.seed % 3]
            options |= {"width": width, "value_range": (high / 7.0, None) if self.seed % 2 else None}
        if self.quantize == "range" and self.seed % 3 == 0:
            options["value_range"] = (high / 9.0, high * 0.8)
        if self.quantize == "range" and self.seed % 3 == 1:
            options["value_range"] = (-1.0, high - 1.0)
        return options

    @property
    def options(self) -> dict[str, Any]:
        """As the ops take them."""
        options = {**self.quantization, "offsets": list(self.offsets), "symmetric": self.symmetric}
        return options | ({"range": options.pop("value_range")} if "value_range" in options else {})


@st.composite
def cases(draw: st.DrawFn, levels: tuple[int, ...] = LEVELS) -> Case:
    side = st.one_of(st.sampled_from(EDGES), st.integers(1, 34))
    quantize = draw(st.sampled_from(("range", "range", "minmax", "width", "levels")))
    return Case(
        dtype=draw(st.sampled_from(DTYPES[:2] if quantize == "levels" else DTYPES)),
        channels=1 if quantize == "levels" else draw(st.sampled_from((1, 1, 3))),
        batch=draw(st.integers(1, 3)),
        shape=draw(st.tuples(side, side)),
        view=draw(st.sampled_from(("contiguous", "nchw", "every-other", "transposed", "flipped", "padded-batch"))),
        pattern=draw(st.sampled_from(PATTERNS)),
        mask=draw(st.sampled_from(MASKS)),
        levels=draw(st.sampled_from(levels)),
        quantize=quantize,
        offsets=tuple(draw(OFFSETS)),
        symmetric=draw(st.booleans()),
        seed=draw(st.integers(0, 2**16)),
    )


def make_images(case: Case) -> Tensor:
    """[B, H, W, C] contiguous; some pixels of floating types are not finite."""
    rng = np.random.default_rng(case.seed)
    shape = (case.batch, *case.shape, case.channels)
    x = rng.random(shape)
    if case.pattern == "smooth":
        rows, columns = np.mgrid[: case.shape[0], : case.shape[1]] / 9.0
        x = 0.5 + 0.4 * (np.sin(rows) * np.cos(columns))[..., None] + 0.05 * x
    elif case.pattern == "constant":
        x = np.broadcast_to(x[:, :1, :1], shape)
    elif case.pattern == "black-border":
        x[:, : shape[1] // 3] = 0.0
        x[:, :, -(shape[2] // 3) :] = 0.0
    elif case.pattern == "two-values":
        x = np.where(x < 0.5, 0.0, 1.0)
    if case.quantize == "levels":
        return torch.from_numpy(np.floor(x * 0.999 * case.levels)).to(torch.int32).to(case.dtype)
    if not case.dtype.is_floating_point:
        high = reference.HIGH[str(case.dtype)[6:]] - 1.0
        return torch.from_numpy(np.round(x * high)).to(torch.int32).to(case.dtype)
    if case.pattern == "negative":
        x = 3.0 * x - 1.0
    images = torch.from_numpy(np.array(x)).to(case.dtype)
    if case.seed % 2:
        where = torch.from_numpy(rng.random(shape) < 0.1)
        wrong = rng.choice([np.nan, np.inf, -np.inf], int(where.sum()))
        images[where] = torch.from_numpy(wrong).to(case.dtype)
    return images


def make_mask(case: Case) -> Tensor | None:
    """[B, H, W], nonzero = counted."""
    rng = np.random.default_rng(case.seed + 1)
    shape = (case.batch, *case.shape)
    if case.mask is None:
        return None
    if case.mask == "nothing":
        return torch.zeros(shape, dtype=torch.bool)
    if case.mask == "bytes":
        return torch.from_numpy(rng.choice([0, 1, 2, 255], shape, p=[0.3, 0.3, 0.2, 0.2]).astype(np.uint8))
    if case.mask == "slice":
        wide = torch.from_numpy(rng.random((case.batch, 2 * case.shape[0], case.shape[1] + 3)) < 0.7)
        return wide[:, ::2, 2:-1]
    return torch.from_numpy(rng.random(shape) < 0.6)


def expected_counts(case: Case) -> tuple[np.ndarray[Any, Any], list[int]]:
    """int64 [B, O, L, L], and the largest counted level of each image."""
    images, mask = make_images(case), make_mask(case)
    pixels = (images.float() if images.is_floating_point() else images).numpy()
    name = str(images.dtype).removeprefix("torch.")
    counts, largest = [], []
    for i, image in enumerate(pixels):
        own = None if mask is None else mask[i].numpy()
        level, counted = reference.levels_of(image, name, own, **case.quantization)
        counts.append(
            [reference.count_pairs(level, counted, case.levels, o, case.symmetric) for o in case.offsets],
        )
        largest.append(int(level[counted].max()) if counted.any() else 0)
    return np.array(counts), largest
