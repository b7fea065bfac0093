"""Every back end of `color_histogram` counts what the reference counts, and all of them the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iuscore import ops
from iuscore.ops import _backend
from iuscore.ops._edges import float32_edges
from tests.conftest import BackendUnderTest
from tests.equivalence.color_histogram_cases import Case, assert_equal, cases, make_images, make_mask, run
from tests.equivalence.perceptual_maps_cases import VIEWS, view_of
from tests.isas import available, using
from tests.reference import color_histogram as reference

pytestmark = pytest.mark.usefixtures("one_thread")

# In units of a channel: float32 rounding of the conversions (tests/tolerances.py derives those of CIELab: 500 times
# the errors of two cube roots of sums of powers).
CONVERSION = {"hsv": (3e-6, 3e-6, 1e-7), "lab": (5e-4, 4e-3, 2e-3)}


def expected_of(case: Case, images: Tensor, mask: Tensor | None) -> list[Tensor]:
    """The reference's counts, below, above and nan."""
    parts = []
    for i, image in enumerate(images):
        array = (image.float() if image.is_floating_point() else image).numpy()
        values = reference.channels(array, case.name, case.space)
        of_image = None if mask is None else mask[i].numpy()
        if case.joint:
            counts, outside = reference.joint_histogram(values, of_image, case.bins, case.ranges)
            parts.append((torch.from_numpy(counts), *map(torch.tensor, outside)))
        else:
            found = reference.histograms(values, of_image, case.bins, case.ranges)
            rows = [torch.tensor(channel[:-3]) for channel in found]
            counts_ = torch.stack(rows) if len(set(case.bins)) == 1 else torch.cat(rows)
            parts.append((counts_, *torch.tensor([channel[-3:] for channel in found]).unbind(1)))
    return [torch.stack(tensors).int() for tensors in zip(*parts, strict=True)]


@given(case=cases(spaces=("rgb", "gray"), views=VIEWS))
def test_equals_the_reference(backend: BackendUnderTest, case: Case) -> None:
    images, mask = make_images(case), make_mask(case)
    view, layout = view_of(images, case.view)
    assert_equal(run(backend, view, mask, layout=layout, **case.options), expected_of(case, images, mask))


@given(case=cases(spaces=("hsv", "lab")).filter(lambda case: not case.joint))
def test_converted_colors_are_near_the_reference(backend: BackendUnderTest, case: Case) -> None:
    """A value within the rounding of the conversion of an edge may fall on either side of it."""
    image, mask = make_images(case, 1), make_mask(case, 1)
    got = run(backend, image, mask, layout="NHWC", **case.options)
    array = (image[0].float() if image.is_floating_point() else image[0]).numpy()
    values = reference.channels(array, case.name, case.space)
    counted = np.ones(case.shape, bool) if mask is None else mask[0].numpy() != 0
    each = got.counts[0].split(list(case.bins)) if got.counts.ndim == 2 else got.counts[0].unbind(0)
    for c, counts in enumerate(each):
        value = values[c][counted]
        assert int(got.nan[0, c]) == np.isnan(value).sum()
        value, e = value[~np.isnan(value)], CONVERSION[case.space][c]
        if case.space == "hsv" and c == 0:
            near_red = (value < e) | (value > 1.0 - e)  # 0 or almost 1 by the last bit
            value = np.where(near_red, np.nan, value)
        below_edges = int(got.below[0, c]) + np.concatenate([[0], counts.numpy().cumsum()])
        unsure = np.isnan(value).sum()
        for edge, found in zip(reference.edges(*case.ranges[c], case.bins[c]), below_edges, strict=True):
            slack = e + 1e-7 * abs(edge)
            assert (value < edge - slack).sum() <= found <= (value <= edge + slack).sum() + unsure


@given(case=cases(views=VIEWS))
def test_all_count_the_same(backend: BackendUnderTest, case: Case) -> None:
    images, mask = make_images(case), make_mask(case)
    view, layout = view_of(images, case.view)
    got = run(backend, view, mask, layout=layout, **case.options)
    other = "native" if backend.name == "cpu-torch" else "torch"
    assert_equal(got, ops.color_histogram(images, mask=mask, layout="NHWC", backend=other, **case.options))


@given(case=cases(), cut=st.integers(0, 3))
def test_counts_do_not_depend_on_how_it_is_called(native: BackendUnderTest, case: Case, cut: int) -> None:
    images, mask = make_images(case, 3), make_mask(case, 3)
    expected = run(native, images, mask, layout="NHWC", **case.options)
    for form in VIEWS:
        view, layout = view_of(images, form)
        assert_equal(run(native, view, mask, layout=layout, **case.options), expected)
    halves = [
        run(native, images[part], None if mask is None else mask[part], layout="NHWC", **case.options)
        for part in (slice(0, cut), slice(cut, 3))
    ]
    assert_equal([torch.cat(tensors) for tensors in zip(*halves, strict=True)], expected)
    masks = None if mask is None else list(mask)
    assert_equal(run(native, list(images), masks, layout="NHWC", **case.options), expected)
    if mask is not None:
        spread = torch.zeros(3, 2 * case.shape[0], 3 * case.shape[1], dtype=mask.dtype)
        spread[:, ::2, ::3] = mask
        assert_equal(run(native, images, spread[:, ::2, ::3], layout="NHWC", **case.options), expected)


@given(case=cases())
def test_cpu_isas_count_the_same(several_isas: tuple[str, ...], case: Case) -> None:
    images, mask = make_images(case), make_mask(case)
    options: dict[str, Any] = {"mask": mask, "layout": "NHWC", **case.options}
    expected = None
    for isa in several_isas:
        with using(isa):
            got = ops.color_histogram(images, backend="native", **options)
        assert_equal(got, expected or got)
        expected = got


def large_bytes(seed: int, content: str, height: int, width: int) -> Tensor:
    """uint8 [1, H, W, 3] with repeats that begin and end anywhere."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if content == "constant":
        x[:] = (7, 130, 255)
    elif content == "border":
        x[:, : width * 2 // 5] = 0
        x[: height // 3] = 3
    elif content == "stripes":
        x[:] = np.repeat(x[:, :1], width, axis=1)
    return torch.from_numpy(x)[None]


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("content", ["noise", "constant", "border", "stripes"])
@pytest.mark.parametrize("shape", [(56, 57), (64, 96), (257, 263)])
def test_bytes_counted_in_blocks_and_pairs(
    monkeypatch: pytest.MonkeyPatch, isa: str, content: str, shape: tuple[int, int]
) -> None:
    """Images that are long enough for every way in which the CPU kernel counts bytes."""
    monkeypatch.setenv("IUSCORE_CPU_ISA", isa)
    images = large_bytes(sum(shape), content, *shape)
    flat = images[0].reshape(-1, 3).long()
    fine = torch.stack([torch.bincount(flat[:, c], minlength=256) for c in range(3)])
    views = [view_of(images, form) for form in ("contiguous", "nchw", "padded-batch", "every-other", "flipped")]
    for view, layout in views:
        for bins in (256, 64, 16, 1):
            got = ops.color_histogram(view, bins=bins, layout=layout, backend="native")
            assert torch.equal(got.counts[0], fine.view(3, bins, -1).sum(2).int())
        for bins in (8, 16, 32, (2, 4, 16)):
            n = (bins,) * 3 if isinstance(bins, int) else bins
            key = sum(flat[:, c] * n[c] // 256 * int(np.prod(n[c + 1 :])) for c in range(3))
            expected = torch.bincount(torch.as_tensor(key), minlength=int(np.prod(n))).view(1, *n).int()
            got = ops.color_histogram(view, bins=bins, joint=True, layout=layout, backend="native")
            assert torch.equal(got.counts, expected)
        for bins, limits in ((64, (0, 256)), (50, (3, 201))):
            options: dict[str, Any] = {"bins": bins, "range": limits, "space": "gray", "layout": layout}
            native, torch_ = (ops.color_histogram(view, backend=b, **options) for b in ("native", "torch"))
            assert_equal(native, torch_)
            first = view[..., :1] if layout == "NHWC" else view[:, :1]
            native, torch_ = (ops.color_histogram(first, backend=b, **options) for b in ("native", "torch"))
            assert_equal(native, torch_)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
def test_threads_share_a_large_image(joint: bool, batch: int) -> None:
    images = large_bytes(1, "border", 383, 520).expand(batch, -1, -1, -1)
    mask = torch.rand(batch, 383, 520, generator=torch.Generator().manual_seed(2)) < 0.7
    threads = torch.get_num_threads()
    try:
        for given_mask in (None, mask):
            for given_images in (images, images.float() / 255.0):
                results = []
                for count in (1, 2, 4, 7):
                    torch.set_num_threads(count)
                    results.append(ops.color_histogram(given_images, bins=9, joint=joint, mask=given_mask))
                for result in results[1:]:
                    assert_equal(result, results[0])
    finally:
        torch.set_num_threads(threads)


@given(
    low=st.floats(-1e30, 1e30, width=64),
    width=st.floats(1e-30, 1e30, width=64),
    bins=st.integers(1, 1024),
    seed=st.integers(0, 2**16),
)
def test_values_at_the_edges(low: float, width: float, bins: int, seed: int) -> None:
    high = low + width
    if not low < high:
        return
    rng = np.random.default_rng(seed)
    at = rng.choice(float32_edges(low, high, bins), (1, 20, 30))
    values = np.stack([at, np.nextafter(at, np.float32(np.inf)), np.nextafter(at, np.float32(-np.inf))], axis=-1)
    bounds = np.array(reference.edges(low, high, bins))
    for backend in ("native", "torch"):
        got = ops.color_histogram(values, bins=bins, range=(low, high), layout="NHWC", backend=backend)  # type: ignore[arg-type]
        for c in range(3):
            v = values[..., c].astype(np.float64).ravel()
            inside = v[(v >= low) & (v <= high)]
            index = np.minimum(np.searchsorted(bounds, inside, side="right") - 1, bins - 1)
            assert np.array_equal(got.counts[0, c], np.bincount(index, minlength=bins))
            assert got.below[0, c] == (v < low).sum()
            assert got.above[0, c] == (v > high).sum()


@pytest.mark.parametrize("edges", [(0.0, 1.0, 7), (-110.0, 110.0, 32), (1000.3, 1000.301, 1024), (-1e300, 1e300, 5)])
def test_guesses_are_called_close_only_where_they_are(edges: tuple[float, float, int]) -> None:
    core, why = _backend.extension("_core")
    assert core, why
    bounds = float32_edges(*edges)
    low, scale, close = core.guessed_axis(bounds)
    assert close == (edges[2] in (7, 32))
    values = np.linspace(bounds[0], bounds[-1], 5001, dtype=np.float32) if close else bounds[:0]
    guess = np.clip(((values - np.float32(low)) * np.float32(scale)).astype(np.int64), 0, edges[2] - 1)
    true = np.clip(np.searchsorted(bounds, values, side="right") - 1, 0, edges[2] - 1)
    assert np.abs(guess - true).max(initial=0) <= 1


@pytest.mark.cuda
@given(case=cases(views=VIEWS))
def test_cuda_counts_what_the_cpu_counts(cuda_native: BackendUnderTest, case: Case) -> None:
    images, mask = make_images(case), make_mask(case)
    view, layout = view_of(images, case.view)
    expected = ops.color_histogram(images, mask=mask, layout="NHWC", backend="native", **case.options)
    assert_equal(run(cuda_native, view, mask, layout=layout, **case.options), expected)


@pytest.mark.cuda
@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("shape", [(128, 128), (700, 900)])
def test_cuda_counts_large_images(cuda_native: BackendUnderTest, joint: bool, shape: tuple[int, int]) -> None:
    images = large_bytes(3, "border", *shape).repeat(2, 1, 1, 1)
    for bins in (32, 8, 3) if joint else (1024, 64):
        for space in ("rgb", "lab"):
            options: dict[str, Any] = {"bins": bins, "joint": joint, "space": space, "layout": "NHWC"}
            expected = ops.color_histogram(images, backend="native", **options)
            assert_equal(run(cuda_native, images, **options), expected)
