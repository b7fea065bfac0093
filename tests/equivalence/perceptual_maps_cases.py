"""Images, views of them and options for the tests of `perceptual_maps`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from hypothesis import strategies as st
from torch import Tensor

DTYPES = (torch.uint8, torch.uint16, torch.float16, torch.bfloat16, torch.float32)
VIEWS = ("contiguous", "nchw", "every-other", "channel-slice", "transposed", "flipped", "padded-batch", "read-only")
PATTERNS = (
    "noise",
    "smooth",
    "constant",
    "one-constant-channel",
    "tiny-range",
    "black-border",
    "gray-as-rgb",
    "near-thresholds",
    "two-values",
    "large",
)
EDGES = (1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 70)


@dataclass(frozen=True)
class Case:
    """A batch of images and what is asked of it."""

    dtype: torch.dtype
    channels: int
    kind: str
    mode: str
    batch: int
    shape: tuple[int, int]
    size: tuple[int, int]
    view: str
    pattern: str
    seed: int

    @property
    def options(self) -> dict[str, Any]:
        return {"kind": self.kind, "mode": self.mode, "size": self.size}

    def changed(self, **changes: Any) -> Case:
        return replace(self, **changes)


_side = st.one_of(st.sampled_from(EDGES), st.integers(1, 70))
single_sizes = st.tuples(_side, _side)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    shape = draw(single_sizes)
    out = st.one_of(st.integers(4, 40), st.sampled_from((15, 16, 17, 31, 32, 33)))
    size = draw(st.tuples(out, out))
    # Often one direction, or both, keep their size: that path has exact pixels.
    keep = draw(st.sampled_from(("neither", "neither", "rows", "columns", "both")))
    size = (
        max(4, shape[0]) if keep in ("rows", "both") else size[0],
        max(4, shape[1]) if keep in ("columns", "both") else size[1],
    )
    return Case(
        dtype=draw(st.sampled_from(DTYPES)),
        channels=draw(st.sampled_from((1, 3, 3))),
        kind=draw(st.sampled_from(("color", "gray"))),
        mode=draw(st.sampled_from(("clean", "published"))),
        batch=draw(st.integers(1, 3)),
        shape=shape,
        size=size,
        view=draw(st.sampled_from(VIEWS)),
        pattern=draw(st.sampled_from(PATTERNS)),
        seed=draw(st.integers(0, 2**16)),
    )


def make_images(case: Case) -> Tensor:
    """[B, H, W, C] contiguous, of the case's dtype; the same for the same case."""
    rng = np.random.default_rng(case.seed)
    shape = (case.batch, *case.shape, case.channels)
    x = rng.random(shape)
    if case.pattern == "smooth":
        y, z = np.mgrid[0 : case.shape[0], 0 : case.shape[1], 0:1][:2] / 9.0
        x = 0.5 + 0.3 * np.sin(y + x[:, :1, :1] * 6.0) * np.cos(z) + 0.01 * x
    elif case.pattern == "constant":
        x = np.broadcast_to(x[:, :1, :1, :1], shape)
    elif case.pattern == "one-constant-channel":
        x[..., 0] = x[:, :1, :1, 0]
    elif case.pattern == "tiny-range":
        # A few steps of the type where it is an integer, a few thousandths where it is not.
        x = 0.4 + 0.004 * np.round(x * 4.0)
    elif case.pattern == "black-border":
        x[:, : shape[1] // 3] = 0.0
        x[:, :, -(shape[2] // 4) :] = 0.0
    elif case.pattern == "gray-as-rgb":
        x = np.broadcast_to(x[..., :1], shape)
    elif case.pattern == "near-thresholds":
        # Around the bends of the sRGB curve (.04045) and of Lab's f (.008856, reached at .0829) and the bands' edges.
        x = rng.choice([0.0404, 0.0405, 0.0828, 0.083, 0.3, 0.6], shape) + 1e-4 * x
        some = x.reshape(-1)[:: max(x.size // 8, 1)]
        some[:] = np.resize([0.0, 1.0], some.shape)  # so that the image's range is 1
    elif case.pattern == "two-values":
        x = np.where(x < 0.5, 0.0, 1.0)
    elif case.pattern == "large" and case.dtype.is_floating_point:
        x = (x - 0.5) * (6e4 if case.dtype == torch.float16 else 1e20)
    return _stored(x, case.dtype)


def _stored(x: npt.NDArray[np.float64], dtype: torch.dtype) -> Tensor:
    if dtype == torch.uint8:
        return torch.from_numpy(np.round(x * 255.0).astype(np.uint8))
    if dtype == torch.uint16:
        return torch.from_numpy(np.round(x * 65535.0).astype(np.uint16))
    return torch.from_numpy(np.array(x)).to(dtype)


def view_of(images: Tensor, form: str) -> tuple[Any, str]:
    """The same pixels in other memory, and their layout."""
    b, h, w, c = images.shape
    if form == "nchw":
        return images.permute(0, 3, 1, 2).contiguous(), "NCHW"
    if form == "every-other":
        wide = torch.zeros((b, 2 * h, 3 * w, c), dtype=images.dtype)
        wide[:, ::2, 1::3] = images
        return wide[:, ::2, 1::3], "NHWC"
    if form == "channel-slice":
        wide = torch.zeros((b, h, w, c + 2), dtype=images.dtype)
        wide[..., 1:-1] = images
        return wide[..., 1:-1], "NHWC"
    if form == "transposed":
        return images.permute(3, 2, 0, 1).contiguous().permute(2, 0, 3, 1), "NCHW"
    if form == "padded-batch":
        wide = torch.zeros((2 * b, h + 1, w + 2, c), dtype=images.dtype)
        wide[::2, 1:, 1:-1] = images
        return wide[::2, 1:, 1:-1], "NHWC"
    if images.dtype != torch.bfloat16:  # NumPy has none
        array = images.numpy()
        if form == "flipped":
            return np.ascontiguousarray(array[:, ::-1, ::-1, ::-1])[:, ::-1, ::-1, ::-1], "NHWC"
        if form == "read-only":
            array = array.copy()
            array.flags.writeable = False
            return array, "NHWC"
    return images, "NHWC"
