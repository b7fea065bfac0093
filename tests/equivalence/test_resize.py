"""Every back end of `resize` gives the bytes of the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iuscore import ops
from tests.conftest import BackendUnderTest
from tests.equivalence.perceptual_maps_cases import VIEWS, view_of
from tests.isas import using
from tests.reference.resize import resize as reference

_side = st.one_of(st.sampled_from((1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33)), st.integers(1, 50))


@dataclass(frozen=True)
class Case:
    """A batch and the size it is brought to."""

    shape: tuple[int, int]
    size: tuple[int, int]
    channels: int
    batch: int
    pattern: str
    view: str
    seed: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    shape = draw(st.tuples(_side, _side))
    size = draw(st.tuples(_side, _side))
    keep = draw(st.sampled_from(("neither", "neither", "rows", "columns", "both")))
    return Case(
        shape=shape,
        size=(shape[0] if keep in ("rows", "both") else size[0], shape[1] if keep in ("columns", "both") else size[1]),
        channels=draw(st.sampled_from((1, 3))),
        batch=draw(st.integers(1, 3)),
        pattern=draw(st.sampled_from(("noise", "extremes", "constant"))),  # extremes: overshoots are clamped
        view=draw(st.sampled_from(VIEWS)),
        seed=draw(st.integers(0, 2**16)),
    )


def images_of(case: Case) -> Tensor:
    generator = torch.Generator().manual_seed(case.seed)
    shape = (case.batch, *case.shape, case.channels)
    if case.pattern == "constant":
        return torch.full(shape, case.seed % 256, dtype=torch.uint8)
    noise = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return noise if case.pattern == "noise" else torch.where(noise > 127, 255, 0).to(torch.uint8)


def run(backend: BackendUnderTest, images: Any, size: tuple[int, int], layout: str) -> Tensor:
    """[B, h, w, C]; the op keeps the layout that it got."""
    resized = ops.resize(backend.moved(images), size, layout=layout, backend=backend.backend).cpu()  # type: ignore[arg-type]
    return resized.permute(0, 2, 3, 1) if layout == "NCHW" else resized


@given(case=cases())
def test_equals_the_reference(backend: BackendUnderTest, case: Case) -> None:
    images = images_of(case)
    view, layout = view_of(images, case.view)
    expected = np.stack([reference(image, *case.size) for image in images.numpy()])
    assert torch.equal(run(backend, view, case.size, layout), torch.from_numpy(expected))


@given(case=cases())
def test_cpu_isas_give_the_same(several_isas: tuple[str, ...], case: Case) -> None:
    images = images_of(case)
    found = []
    for isa in several_isas:
        with using(isa):
            found.append(ops.resize(images, case.size, layout="NHWC", backend="native"))
    assert all(torch.equal(one, found[0]) for one in found[1:])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("shape", "size"), [((200, 300), (3, 5)), ((5, 9), (150, 130)), ((2, 2000), (2, 64))])
def test_large_images(backend: BackendUnderTest, channels: int, shape: tuple[int, int], size: tuple[int, int]) -> None:
    """More weights an output than any path of its own."""
    image = torch.randint(0, 256, (1, *shape, channels), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    got = run(backend, image, size, "NHWC")
    assert torch.equal(got[0], torch.from_numpy(reference(image[0].numpy(), *size)))
