"""Every back end of `glcm_features` equals the formulas; compiled ones equal themselves bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from iuscore import ops
from tests.conftest import BackendUnderTest
from tests.equivalence.glcm_cases import Case, cases, expected_counts, make_images, make_mask
from tests.equivalence.perceptual_maps_cases import view_of
from tests.isas import using
from tests.reference import glcm as reference
from tests.tolerances_glcm import FLOAT32, assert_features

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = tuple(ops.GLCM_FEATURES)
KERNELS = tuple(name for name in NAMES if ops.GLCM_FEATURES[name].number is not None)
FEW_LEVELS = (2, 3, 16, 31, 33, 65)  # the reference takes long for many
FEWER = settings(max_examples=max(settings().max_examples // 2, 1))


def features(backend: BackendUnderTest, images: Any, mask: Any = None, **options: Any) -> Tensor:
    images, mask = backend.moved(images), backend.moved(mask)
    options = {"features": NAMES, "dtype": torch.float64, **options}
    values, names = ops.glcm_features(images, mask=mask, backend=backend.backend, **options)
    assert values.device.type == backend.device.type
    assert names == tuple(options["features"])
    return values.cpu()


def same_bits(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())


@FEWER
@given(case=cases(levels=FEW_LEVELS), dtype=st.sampled_from((torch.float64, torch.float32)))
def test_equals_the_reference(backend: BackendUnderTest, case: Case, dtype: torch.dtype) -> None:
    view, layout = view_of(make_images(case), case.view)
    values = features(backend, view, make_mask(case), layout=layout, dtype=dtype, **case.options)
    counts, largest = expected_counts(case)
    assert values.dtype == dtype
    assert values.shape == (*counts.shape[:2], len(NAMES))
    rounding = FLOAT32 if dtype == torch.float32 else 0.0
    for b, k in np.ndindex(*counts.shape[:2]):
        expected = reference.features(counts[b, k], largest[b])
        assert_features(values[b, k].double().numpy(), NAMES, counts[b, k], expected, rounding)


@FEWER
@given(case=cases(levels=FEW_LEVELS))
def test_matrices_have_the_features_of_their_images(backend: BackendUnderTest, case: Case) -> None:
    images, mask = make_images(case), make_mask(case)
    options = {**case.options, "symmetric": False}
    counts = ops.glcm(images, mask=mask, layout="NHWC", **options)
    values = features(backend, counts, levels=None, symmetric=case.symmetric)
    expected = expected_counts(case)[0]
    for b in range(len(counts)):
        used = np.argwhere(expected[b].sum(0))
        largest = int(used.max()) if len(used) else 0
        for k in range(len(case.offsets)):
            wanted = reference.features(expected[b, k], largest)
            assert_features(values[b, k].numpy(), NAMES, expected[b, k], wanted)
    weights = features(BackendUnderTest("cpu-torch", torch.device("cpu"), "torch"), counts.double() / 7.0, levels=None,
                       symmetric=case.symmetric)  # fmt: skip
    assert torch.allclose(weights, values, rtol=1e-9, atol=1e-7)  # sqrt takes the rounding of imc2's square to 1e-7


@given(case=cases(), cut=st.integers(0, 3))
def test_native_bits_do_not_depend_on_how_the_op_is_called(native: BackendUnderTest, case: Case, cut: int) -> None:
    images, mask = make_images(case), make_mask(case)
    options = {**case.options, "layout": "NHWC", "features": KERNELS}
    expected = features(native, images, mask, **options)
    parts = [
        features(native, images[at], None if mask is None else mask[at], **options)
        for at in (slice(0, cut), slice(cut, None))
    ]
    assert same_bits(torch.cat(parts), expected)
    view, layout = view_of(images, case.view)
    assert same_bits(features(native, view, mask, **{**options, "layout": layout}), expected)
    some = KERNELS[case.seed % 7 :: 3]
    few = features(native, images, mask, **{**options, "features": some})
    assert same_bits(few, expected[..., [KERNELS.index(name) for name in some]])
    alone = [features(native, images, mask, **{**options, "offsets": [offset]}) for offset in case.offsets]
    assert same_bits(torch.cat(alone, 1), expected)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert same_bits(features(native, images, mask, **options), expected)
    finally:
        torch.set_num_threads(threads)


@given(case=cases())
def test_cpu_isas_have_equal_bits(several_isas: tuple[str, ...], case: Case) -> None:
    images, mask = make_images(case), make_mask(case)
    counts = ops.glcm(images, mask=mask, layout="NHWC", **case.options)
    results = []
    options: dict[str, Any] = {"features": KERNELS, "dtype": torch.float64, "backend": "native"}
    for isa in several_isas:
        with using(isa):
            of_images = ops.glcm_features(images, mask=mask, layout="NHWC", **options, **case.options).values
            of_counts = ops.glcm_features(counts, levels=None, **options).values
            results.append((of_images, of_counts))
    for result in results[1:]:
        assert all(same_bits(a, b) for a, b in zip(result, results[0], strict=True))


@pytest.mark.cuda
@given(case=cases())
def test_cuda_bits_are_those_of_the_cpu(cuda_native: BackendUnderTest, case: Case) -> None:
    images, mask = make_images(case), make_mask(case)
    options = {**case.options, "layout": "NHWC", "features": KERNELS}
    cpu = BackendUnderTest("cpu-native", torch.device("cpu"), "native")
    assert same_bits(features(cuda_native, images, mask, **options), features(cpu, images, mask, **options))


@pytest.mark.parametrize("levels", [32, 256])
@pytest.mark.parametrize("symmetric", [False, True])
def test_large_images(native: BackendUnderTest, levels: int, symmetric: bool) -> None:
    """More pixels than a 16-bit counter holds; against float64 in torch."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[:300, :310]
    smooth = 0.5 + 0.3 * np.sin(rows / 31.0) * np.cos(columns / 17.0)
    images = np.stack([smooth + 0.05 * rng.random((300, 310)), rng.random((300, 310)), np.full((300, 310), 0.7)])
    options: dict[str, Any] = {"levels": levels, "symmetric": symmetric, "layout": "NHWC", "dtype": torch.float64}
    pixels = torch.from_numpy(np.float32(images))[..., None]
    got = features(native, pixels, features=KERNELS, **options)
    expected = ops.glcm_features(pixels, features=KERNELS, backend="torch", **options).values
    assert torch.allclose(got, expected, rtol=1e-10, atol=1e-7)
    assert torch.equal(got[2, 0, :, KERNELS.index("joint_maximum")], torch.ones(4, dtype=torch.float64))
