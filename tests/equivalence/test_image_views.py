"""Every back end of `image_views` gives the reference's views, within derived bounds."""

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
from tests.reference.image_views import Trace
from tests.reference.image_views import image_views as reference
from tests.tolerances_views import assert_image_views
from tests.tolerances_views import image_views as bounds

pytestmark = pytest.mark.usefixtures("one_thread")

_side = st.one_of(st.sampled_from((1, 2, 7, 8, 9, 31, 32, 33, 63, 64, 96)), st.integers(1, 70))
PATTERNS = ("noise", "extremes", "constant", "faint", "black border", "smooth")


@dataclass(frozen=True)
class Case:
    """A batch and filters."""

    shape: tuple[int, int]
    channels: int
    color: bool
    batch: int
    pattern: str
    view: str
    bias: float
    seed: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    return Case(
        shape=draw(st.tuples(_side, _side)),
        channels=draw(st.sampled_from((1, 3))),
        color=draw(st.booleans()),
        batch=draw(st.integers(1, 2)),
        pattern=draw(st.sampled_from(PATTERNS)),
        view=draw(st.sampled_from(VIEWS)),
        bias=draw(st.sampled_from((0.0, 0.5, -0.5, 2.0))),  # .5: flat patches lie on the threshold
        seed=draw(st.integers(0, 2**16)),
    )


def images_of(case: Case) -> Tensor:
    random = np.random.default_rng(case.seed)
    shape = (case.batch, *case.shape, case.channels)
    noise = random.integers(0, 256, shape)
    if case.pattern == "extremes":
        noise = np.where(noise > 127, 255, 0)
    elif case.pattern == "constant":
        noise = np.full(shape, case.seed % 256)
    elif case.pattern == "faint":
        noise = 252 + noise % 4
    elif case.pattern == "black border":
        noise[:, :, : case.shape[1] // 2] = 0
    elif case.pattern == "smooth":
        rows, columns = np.indices(case.shape)
        noise = noise % 8 + (rows + 2 * columns)[None, :, :, None] % 240
    return torch.from_numpy(noise.astype(np.uint8))


def filters_of(case: Case) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(case.seed)
    weights = torch.randn(108 if case.color else 36, 64, generator=generator) * 0.3
    return weights, torch.randn(64, generator=generator) * 0.1 + case.bias


def run(backend: BackendUnderTest, images: Any, case: Case, layout: str = "NHWC") -> ops.ImageViews:
    weights, bias = (backend.moved(part) for part in filters_of(case))
    kind = "color" if case.color else "gray"
    found = ops.image_views(
        backend.moved(images), weights, bias, kind=kind, layout=layout, backend=backend.backend  # type: ignore[arg-type]
    )  # fmt: skip
    return ops.ImageViews(found.thumb.cpu(), found.patch.cpu())


def trace(image: Tensor, case: Case) -> Trace:
    weights, bias = (part.double().numpy() for part in filters_of(case))
    return reference(image.numpy(), weights, bias, case.color)


@given(case=cases())
def test_equals_the_reference(backend: BackendUnderTest, case: Case) -> None:
    images = images_of(case)
    view, layout = view_of(images, case.view)
    found = run(backend, view, case, layout)
    weights = filters_of(case)[0].double().numpy()
    for i, image in enumerate(images):
        assert_image_views(found.thumb[i], found.patch[i], trace(image, case), weights)


@given(case=cases())
def test_cpu_isas_have_equal_bits(several_isas: tuple[str, ...], case: Case) -> None:
    images = images_of(case)
    found = []
    for isa in several_isas:
        with using(isa):
            found.append(run(BackendUnderTest("cpu-native", torch.device("cpu"), "native"), images, case))
    for one in found[1:]:
        assert torch.equal(one.thumb, found[0].thumb)
        assert torch.equal(one.patch, found[0].patch)


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("shape", [(300, 8300), (9000, 40), (128, 128)])
def test_large_images(backend: BackendUnderTest, shape: tuple[int, int], color: bool) -> None:
    """Windows of more bytes than 16 bits can add up, and of more than a float32 counts exactly."""
    case = Case(shape, 3, color, 1, "faint", "contiguous", 0.5, 1)
    images = images_of(case)
    found = run(backend, images, case)
    assert_image_views(found.thumb[0], found.patch[0], trace(images[0], case), filters_of(case)[0].double().numpy())


def test_the_bounds_say_something() -> None:
    """Next to the responses themselves they are small, but where a patch is flat and far from black."""
    case = Case((64, 64), 3, True, 1, "noise", "contiguous", 0.0, 3)
    t = trace(images_of(case)[0], case)
    thumb, patch = bounds(t, filters_of(case)[0].double().numpy())
    assert thumb.max() < 1e-4
    assert np.median(t.responses) > 0.3
    assert np.median(patch) < 1e-3


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(backend: BackendUnderTest, broken: float) -> None:
    """They touch the responses of their own filter alone."""
    case = Case((40, 40), 1, False, 2, "noise", "contiguous", 0.0, 2)
    images = images_of(case)
    weights, bias = filters_of(case)
    expected = run(backend, images, case).patch.unflatten(1, (2, 64, 4))
    weights[3, 5] = broken
    found = ops.image_views(
        backend.moved(images), backend.moved(weights), backend.moved(bias), kind="gray", backend=backend.backend
    )
    patch = found.patch.cpu().unflatten(1, (2, 64, 4))
    others = [f for f in range(64) if f != 5]
    torch.testing.assert_close(patch[:, :, others], expected[:, :, others], rtol=1e-5, atol=1e-5)
    assert not patch[:, :, 5].isfinite().flatten(1).all(1).any()
