"""What must hold of color histograms whatever counts them."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import BackendUnderTest
from tests.equivalence.color_histogram_cases import Case, assert_equal, cases, make_images, make_mask, run


@given(case=cases())
def test_every_counted_pixel_is_somewhere(backend: BackendUnderTest, case: Case) -> None:
    images, mask = make_images(case), make_mask(case)
    counts, *outside = run(backend, images, mask, layout="NHWC", **case.options)
    counted = torch.full((2,), case.shape[0] * case.shape[1]) if mask is None else (mask != 0).sum((1, 2))
    assert all(bool((part >= 0).all()) for part in (counts, *outside))
    if case.joint:
        assert torch.equal(counts.sum((1, 2, 3)) + sum(outside), counted)
    elif len(set(case.bins)) == 1:
        assert torch.equal(counts.sum(2) + sum(outside), counted[:, None].expand(-1, len(case.bins)))
    else:
        for c, part in enumerate(counts.split(list(case.bins), dim=1)):
            assert torch.equal(part.sum(1) + sum(x[:, c] for x in outside), counted)


@given(case=cases(), seed=st.integers(0, 2**16))
def test_the_order_of_pixels_does_not_matter(backend: BackendUnderTest, case: Case, seed: int) -> None:
    images, mask = make_images(case, 1), make_mask(case, 1)
    order = torch.randperm(case.shape[0] * case.shape[1], generator=torch.Generator().manual_seed(seed))

    def shuffled(x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1, 2)[:, order].view(x.shape)

    expected = run(backend, images, mask, layout="NHWC", **case.options)
    moved = None if mask is None else shuffled(mask)
    assert_equal(run(backend, shuffled(images), moved, layout="NHWC", **case.options), expected)


@given(case=cases())
def test_a_mask_and_its_complement_make_the_whole(backend: BackendUnderTest, case: Case) -> None:
    images = make_images(case)
    mask = torch.rand(2, *case.shape, generator=torch.Generator().manual_seed(case.seed)) < 0.5
    whole = run(backend, images, layout="NHWC", **case.options)
    parts = [run(backend, images, m, layout="NHWC", **case.options) for m in (mask, ~mask)]
    assert_equal([a + b for a, b in zip(*parts, strict=True)], whole)
    assert_equal(run(backend, images, torch.ones_like(mask), layout="NHWC", **case.options), whole)


@given(case=cases())
def test_shares_sum_to_one_or_are_zero(backend: BackendUnderTest, case: Case) -> None:
    images, mask = make_images(case), make_mask(case)
    counts = run(backend, images, mask, layout="NHWC", **case.options)
    shares = run(backend, images, mask, layout="NHWC", normalize=True, **case.options)
    assert_equal(shares, counts._replace(counts=shares.counts))
    assert (shares.counts.dtype, shares.counts.shape) == (torch.float32, counts.counts.shape)
    sizes = list(case.bins) if counts.counts.ndim == 2 else None
    for i in range(2):
        if case.joint:
            pairs = [(counts.counts[i].flatten(), shares.counts[i].flatten())]
        elif sizes:
            pairs = list(zip(counts.counts[i].split(sizes), shares.counts[i].split(sizes), strict=True))
        else:
            pairs = list(zip(counts.counts[i], shares.counts[i], strict=True))
        for count, share in pairs:
            total = int(count.sum())
            assert torch.equal(share, (count.double() / max(total, 1)).float())
            assert abs(float(share.double().sum()) - (total > 0)) < 1e-6 * len(share)


@given(case=cases(spaces=("rgb",)))
def test_a_joint_histogram_has_the_histograms_of_its_channels(backend: BackendUnderTest, case: Case) -> None:
    """Holds if no pixel is outside the range."""
    images, mask = make_images(case), make_mask(case)
    if images.is_floating_point():
        images = images.nan_to_num(0.5, 1.0, 0.0).clamp(0.0, 1.0)
    bins = tuple(min(n, 32) for n in case.bins)
    joint = run(backend, images, mask, layout="NHWC", bins=bins, joint=True).counts
    for c, n in enumerate(bins):
        single = run(backend, images, mask, layout="NHWC", bins=n).counts[:, c]
        assert torch.equal(joint.sum([d for d in (1, 2, 3) if d != c + 1], dtype=torch.int32), single)
