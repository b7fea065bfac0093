"""How `glcm` and `glcm_features` take their arguments, what they say when they cannot, and what they leave alone."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from iuscore import ops
from iuscore.ops import _backend
from iuscore.ops._native import glcm as _native
from iuscore.ops._native import glcm_features as _native_features
from tests.conftest import ROOT, BackendUnderTest

pytestmark = pytest.mark.usefixtures("one_thread")

GRAY = torch.arange(2 * 9 * 8, dtype=torch.uint8).reshape(2, 9, 8, 1)
FLOATS = GRAY.float() / 255.0
NAMES = tuple(ops.GLCM_FEATURES)
NO_GRADIENT = "images: expected images without a gradient, as counts have none; pass images.detach()"

BAD: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (GRAY, {"levels": 1}, ValueError, "levels: expected 2..256, got 1"),
    (GRAY, {"levels": 257}, ValueError, "levels: expected 2..256, got 257"),
    (GRAY, {"levels": 8.0}, TypeError, "levels: expected an integer, got float"),
    (GRAY, {"levels": True}, TypeError, "levels: expected an integer, got bool"),
    (
        GRAY,
        {"quantize": "equal"},
        ValueError,
        "quantize: expected one of range, minmax, width, levels, got 'equal'",
    ),
    (GRAY, {"range": (5, 5)}, ValueError, "range: expected finite (low, high) with low < high, got (5, 5)"),
    (GRAY, {"range": (0, None)}, ValueError, "range: expected finite (low, high) with low < high, got (0, None)"),
    (
        GRAY,
        {"range": (0, 9), "quantize": "minmax"},
        ValueError,
        "range: expected None with quantize='minmax', got (0, 9)",
    ),
    (GRAY, {"width": 2.0}, ValueError, "width: expected None with quantize='range', got 2.0"),
    (GRAY, {"quantize": "width"}, ValueError, "width: expected the width of a level with quantize='width', got None"),
    (GRAY, {"quantize": "width", "width": -1.0}, ValueError, "width: expected a positive number, got -1.0"),
    (
        GRAY,
        {"quantize": "width", "width": 1.0, "range": (float("nan"), None)},
        ValueError,
        "range: expected a finite low, got (nan, None)",
    ),
    (
        GRAY,
        {"range": (0.0, 1e39)},
        ValueError,
        "range: expected values that float32 pixels can have, at most 3.4e38, got 1e+39",
    ),
    (
        GRAY,
        {"quantize": "width", "width": 1.0, "range": (-1e39, None)},
        ValueError,
        "range: expected values that float32 pixels can have, at most 3.4e38, got -1e+39",
    ),
    (
        FLOATS,
        {"quantize": "levels"},
        ValueError,
        "quantize: 'levels' needs uint8 or uint16 images, got float32",
    ),
    (
        GRAY.expand(-1, -1, -1, 3),
        {"quantize": "levels"},
        ValueError,
        "images: expected one channel with quantize='levels', got 3",
    ),
    (
        GRAY,
        {"quantize": "levels", "levels": 143},
        ValueError,
        "images: expected values below levels=143 with quantize='levels', got 143; raise levels, or choose another "
        "quantize",
    ),
    (GRAY, {"distances": []}, ValueError, "distances: expected at least one finite number, got []"),
    (GRAY, {"angles": [float("inf")]}, ValueError, "angles: expected at least one finite number, got [inf]"),
    (GRAY, {"distances": "1"}, TypeError, "distances: expected a number or a sequence of numbers, got '1'"),
    (GRAY, {"distances": [-1]}, ValueError, "distances: expected 0 or more and below 2^31, got [-1]"),
    (GRAY, {"offsets": []}, ValueError, "offsets: expected at least one (rows, columns), got none"),
    (GRAY, {"offsets": [(0, 1, 2)]}, TypeError, "offsets: expected pairs (rows, columns), got (0, 1, 2)"),
    (GRAY, {"offsets": [(0, 1.0)]}, TypeError, "offsets: expected pairs of integers, got (0, 1.0)"),
    (GRAY, {"offsets": [(0, 2**31)]}, ValueError, "offsets: expected magnitudes below 2^31, got (0, 2147483648)"),
    (GRAY, {"backend": "fast"}, ValueError, "backend: expected 'auto', 'native' or 'torch', got 'fast'"),
    (FLOATS.clone().requires_grad_(), {}, ValueError, NO_GRADIENT),
    (
        GRAY[0],
        {},
        ValueError,
        "images: [9, 8, 1] may be 9 gray images or one image with 1 as its number of channels; for gray images pass "
        "images[..., None] with layout='NHWC', for one image images[None] with layout='NHWC'",
    ),
    (
        GRAY,
        {"mask": torch.ones(2, 9, 9, dtype=torch.bool)},
        ValueError,
        "mask: expected [B, H, W] = [2, 9, 8] as the images, got [2, 9, 9]",
    ),
]

MATRIX = torch.ones(1, 2, 4, 4, dtype=torch.int32)
BAD_COUNTS = "images: expected counts >= 0, and a sum of at most 2^30 in each matrix"
BAD_FEATURES: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (
        GRAY,
        {"levels": 8, "features": ["contrast"], "preset": "skimage"},
        ValueError,
        "features: expected names or a preset, not both, got ['contrast'] and 'skimage'",
    ),
    (
        GRAY,
        {"levels": 8, "preset": "matlab"},
        ValueError,
        "preset: expected one of skimage, mahotas, ibsi, haralick, got 'matlab'",
    ),
    (GRAY, {"levels": 8, "features": 3}, TypeError, "features: expected a name or a sequence of names, got 3"),
    (GRAY, {"levels": 8, "features": []}, ValueError, "features: expected at least one name, each once, got []"),
    (
        GRAY,
        {"levels": 8, "features": ["ASM", "ASM"]},
        ValueError,
        "features: expected at least one name, each once, got ['ASM', 'ASM']",
    ),
    (
        GRAY,
        {"levels": 8, "features": ["size"]},
        ValueError,
        f"features: unknown name 'size'; the names are {', '.join(NAMES)}",
    ),
    (
        GRAY,
        {"levels": 8, "dtype": torch.float16},
        TypeError,
        "dtype: expected torch.float32 or torch.float64, got torch.float16",
    ),
    (
        MATRIX,
        {"levels": None, "offsets": [(0, 1)]},
        ValueError,
        "offsets: expected None for matrices (levels=None), got [(0, 1)]",
    ),
    (
        MATRIX.short(),
        {"levels": None},
        TypeError,
        "images: expected matrices of dtype int32, float32 or float64, got int16",
    ),
    (
        [MATRIX],
        {"levels": None},
        TypeError,
        "images: expected matrices as a torch.Tensor or numpy.ndarray, got list",
    ),
    (
        MATRIX[..., :3],
        {"levels": None},
        ValueError,
        "images: expected matrices [B, ..., L, L], L = 2..256, with levels=None, got [1, 2, 4, 3]",
    ),
    (MATRIX - 2, {"levels": None}, ValueError, BAD_COUNTS),
    (MATRIX * 2**29, {"levels": None}, ValueError, BAD_COUNTS),
    (MATRIX.double() - 2.0, {"levels": None, "backend": "auto"}, ValueError, BAD_COUNTS),
    (
        MATRIX.double(),
        {"levels": None, "backend": "native"},
        ValueError,
        "images: expected int32 counts with backend='native', got floating matrices; use 'auto'",
    ),
]


@pytest.mark.parametrize(("images", "options", "error", "text"), BAD, ids=[f"{o}"[:50] for _, o, _, _ in BAD])
def test_bad_arguments(images: Any, options: dict[str, Any], error: type[Exception], text: str) -> None:
    for backend in ("native", "torch"):
        given = {"levels": 8, "backend": backend, **options}
        for op in (ops.glcm, ops.glcm_features):
            if isinstance(images, torch.Tensor) and images.requires_grad and backend == "native":
                continue
            with pytest.raises(error, match=f"^{re.escape(text)}$"):
                op(images, **given)


@pytest.mark.parametrize(
    ("images", "options", "error", "text"), BAD_FEATURES, ids=[f"{o}"[:60] for _, o, _, _ in BAD_FEATURES]
)
def test_bad_arguments_of_features(images: Any, options: dict[str, Any], error: type[Exception], text: str) -> None:
    for backend in ("native", "torch"):
        given = {"backend": backend, **options} if "backend" not in options else options
        if isinstance(images, torch.Tensor) and images.is_floating_point() and given["backend"] != "native":
            given = {**given, "backend": "auto"}
        elif isinstance(images, torch.Tensor) and images.is_floating_point() and "backend" not in options:
            continue
        with pytest.raises(error, match=f"^{re.escape(text)}$"):
            ops.glcm_features(images, **given)


def test_masked_values_need_not_be_levels(backend: BackendUnderTest) -> None:
    images, mask = GRAY.to(backend.device), (GRAY < 100).squeeze(-1).to(backend.device)
    counts = ops.glcm(images, levels=100, quantize="levels", mask=mask, layout="NHWC", backend=backend.backend)
    assert counts.sum((-1, -2)).sum() > 0


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float16, torch.bfloat16, torch.float32])
def test_nothing_in_nothing_out(backend: BackendUnderTest, dtype: torch.dtype) -> None:
    empty = torch.zeros(0, 5, 6, 3).to(dtype).to(backend.device)
    counts = ops.glcm(empty, levels=8, distances=[1, 2], layout="NHWC", backend=backend.backend)
    assert (counts.shape, counts.dtype) == ((0, 2, 4, 8, 8), torch.int32)
    values, names = ops.glcm_features(empty, levels=8, preset="haralick", layout="NHWC", backend=backend.backend)
    assert (values.shape, values.dtype, len(names)) == ((0, 1, 4, 14), torch.float32, 14)
    values = ops.glcm_features(counts, levels=None, features=NAMES, backend=backend.backend).values
    assert values.shape == (0, 2, 4, len(NAMES))
    assert ops.glcm([], levels=8, offsets=[(0, 1)], backend=backend.backend).shape == (0, 1, 8, 8)


@pytest.mark.parametrize("levels", [8, 64, 256])
@pytest.mark.parametrize("symmetric", [False, True])
def test_without_pairs_every_feature_is_zero(backend: BackendUnderTest, levels: int, symmetric: bool) -> None:
    pixel = torch.full((1, 1, 1, 1), 0.3, device=backend.device)
    small = torch.rand(2, 3, 4, 1, device=backend.device)
    nothing = torch.zeros(2, 3, 4, dtype=torch.bool, device=backend.device)
    options: dict[str, Any] = {"levels": levels, "symmetric": symmetric, "layout": "NHWC", "backend": backend.backend}
    for images, more in ((pixel, {}), (small, {"distances": [4]}), (small, {"mask": nothing}), (small * torch.nan, {})):
        for quantize in ("range", "minmax"):
            assert not ops.glcm(images, quantize=quantize, **more, **options).any()
            assert not ops.glcm(images, quantize=quantize, normalize=True, **more, **options).any()
            assert not ops.glcm_features(images, features=NAMES, quantize=quantize, **more, **options).values.any()


@pytest.mark.parametrize("levels", [8, 64, 256])
@pytest.mark.parametrize("symmetric", [False, True])
def test_constant_images(backend: BackendUnderTest, levels: int, symmetric: bool) -> None:
    """Exact, not amplified rounding; 0/0 by the rules of docs/glcm_features.md."""
    images = torch.full((1, 30, 40, 1), 0.6, device=backend.device)
    values, names = ops.glcm_features(
        images, levels=levels, features=NAMES, symmetric=symmetric, layout="NHWC", backend=backend.backend,
        dtype=torch.float64,
    )  # fmt: skip
    level = int(float(np.float32(0.6)) * levels)
    expected = dict.fromkeys(names, 0.0) | dict.fromkeys(
        ("homogeneity", "ASM", "energy", "correlation", "joint_maximum", "inverse_difference",
         "inverse_difference_normalized", "inverse_difference_moment_normalized", "angular_second_moment",
         "inverse_difference_moment"), 1.0)  # fmt: skip
    bins = level + 1.0
    expected |= {
        "mean": level,
        "joint_average": level + 1.0,
        "sum_average": 2.0 * level + 2.0,
        "sum_average_zero_based": 2.0 * level,
        "autocorrelation": (level + 1.0) ** 2,
        "difference_variance_of_bins": (1.0 - 1.0 / bins) / bins,
    }
    exact = [expected[name] for name in names]
    assert torch.allclose(values.cpu(), torch.tensor(exact, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_inputs_are_not_modified(backend: BackendUnderTest) -> None:
    images = torch.rand(2, 9, 8, 3)
    images[0, 0, 0, 0] = float("nan")
    images = images.to(backend.device)
    before = images.clone()
    counts = ops.glcm(images, levels=8, quantize="minmax", layout="NHWC", backend=backend.backend)
    kept = counts.clone()
    ops.glcm_features(counts, levels=None, symmetric=True, backend=backend.backend)
    assert torch.equal(images.view(torch.int32), before.view(torch.int32))
    assert torch.equal(counts, kept)


def test_lists_of_several_sizes_types_and_masks(backend: BackendUnderTest) -> None:
    rng = np.random.default_rng(0)
    images = [
        torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8)).to(backend.device)
        for shape in ((9, 8, 1), (4, 5, 3), (9, 8, 1), (1, 1, 1))
    ]
    images.insert(2, (images[0].float() / 255.0).to(torch.bfloat16))
    masks = [torch.from_numpy(rng.random(image.shape[:2]) < 0.7).to(backend.device) for image in images]
    options: dict[str, Any] = {"levels": 16, "layout": "NHWC", "backend": backend.backend}
    for mask in (None, masks):
        singles = [
            ops.glcm(image[None], mask=None if mask is None else mask[i][None], **options)
            for i, image in enumerate(images)
        ]
        assert torch.equal(ops.glcm(images, mask=mask, **options), torch.cat(singles))
        values = ops.glcm_features(images, mask=mask, **options).values
        of_counts = ops.glcm_features(torch.cat(singles), levels=None, backend=backend.backend).values
        assert torch.allclose(values, of_counts, rtol=1e-6)


def test_arrays_are_taken_as_they_are() -> None:
    array = np.random.default_rng(0).integers(0, 65536, (2, 9, 8, 1), dtype=np.uint16)
    expected = ops.glcm(torch.from_numpy(array), levels=16, layout="NHWC")
    backwards = np.ascontiguousarray(array[:, ::-1, ::-1])[:, ::-1, ::-1]
    for given in (array, backwards, list(array)):
        assert torch.equal(ops.glcm(given, levels=16, layout="NHWC"), expected)
    of_arrays = ops.glcm_features(expected.numpy(), levels=None).values
    assert torch.equal(of_arrays, ops.glcm_features(expected, levels=None).values)


def test_read_only_masks_and_matrices() -> None:
    """Warnings are errors here."""
    array = np.random.default_rng(0).integers(0, 256, (2, 9, 8, 1), dtype=np.uint8)
    mask = array[..., 0] > 50
    mask.flags.writeable = False
    expected = ops.glcm(array, levels=16, layout="NHWC", mask=mask.copy())
    assert torch.equal(ops.glcm(array, levels=16, layout="NHWC", mask=mask), expected)
    assert torch.equal(ops.glcm(array, levels=16, layout="NHWC", mask=mask[:, ::-1][:, ::-1]), expected)
    matrix = expected.numpy().copy()
    matrix.flags.writeable = False
    packed = np.zeros(matrix.shape, [("byte", "u1"), ("count", "i4")])  # elements 5 bytes apart
    packed["count"] = matrix
    for given in (matrix, packed["count"]):
        of_matrix = ops.glcm_features(given, levels=None).values
        assert torch.equal(of_matrix, ops.glcm_features(expected, levels=None).values)


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (np.ones((2, 9, 8), object), "mask: expected dtype bool or uint8 (nonzero = counted), got object"),
        (3, "mask: expected a torch.Tensor or numpy.ndarray, got int"),
    ],
)
def test_masks_of_another_kind(mask: Any, text: str) -> None:
    with pytest.raises(TypeError, match=re.escape(text)):
        ops.glcm(np.zeros((2, 9, 8, 1), np.uint8), levels=16, layout="NHWC", mask=mask)


@pytest.mark.parametrize(
    ("mask", "text"),
    [(3, "mask: expected one mask per image, got int"), ([None] * 2, "mask[0]: expected a torch.Tensor or numpy.")],
)
def test_masks_of_another_kind_for_a_list(mask: Any, text: str) -> None:
    with pytest.raises(TypeError, match=re.escape(text)):
        ops.glcm([np.zeros((9, 8, 1), np.uint8)] * 2, levels=16, layout="NHWC", mask=mask)


def test_weights_have_gradients() -> None:
    weights = torch.rand(1, 6, 6, dtype=torch.float64, requires_grad=True)
    smooth = ("contrast", "homogeneity", "ASM", "correlation", "joint_entropy", "cluster_shade")
    values = ops.glcm_features(weights, levels=None, features=smooth, symmetric=True, dtype=torch.float64).values
    (gradient,) = torch.autograd.grad(values.sum(), weights)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0.0


@pytest.mark.parametrize("masked", [False, True])
def test_custom_ops_pass_opcheck(native: BackendUnderTest, masked: bool) -> None:
    images = FLOATS.to(native.device)
    mask = (images[..., 0] > 0.2) if masked else None
    options = ("range", 8, 0.0, 1.0, [0, 1, 1, -1], True)
    torch.library.opcheck(_native.glcm, (images, mask, *options))
    torch.library.opcheck(_native.glcm, (images[:, ::2, 1:], None, "minmax", 8, None, None, [0, 1], False))
    torch.library.opcheck(_native_features.glcm_features, (images, mask, *options, [0, 5, 21], torch.float32))
    counts = torch.ones(2, 1, 4, 4, dtype=torch.int32, device=native.device)
    torch.library.opcheck(_native_features.glcm_matrix_features, (counts, True, [0, 5, 21], torch.float64))


def test_numbers_of_features_are_those_of_the_kernels() -> None:
    text = (ROOT / "csrc" / "core" / "haralick.h").read_text()
    body = re.search(r"enum class GlcmFeature : std::int32_t \{(.*?)\}", text, re.DOTALL)
    assert body
    kernel = [name.strip() for name in body[1].split(",") if name.strip()]
    ours = {feature.number: name for name, feature in reversed(ops.GLCM_FEATURES.items())}
    renamed = {"angular_second_moment": "ASM", "standard_deviation": "std", "entropy_nats": "entropy"}
    assert [ours[k] for k in range(len(kernel))] == [renamed.get(name, name) for name in kernel]
    assert re.search(rf"kGlcmFeatures = {len(kernel)};", text)


def test_registry_is_complete() -> None:
    for name, feature in ops.GLCM_FEATURES.items():
        assert feature.name == name
        assert all((feature.formula, feature.higher, feature.source))
        assert feature.logarithm in ("", "2", "e")
        assert ("log" in feature.formula or " ln " in feature.formula or "entropies" in feature.formula) == bool(
            feature.logarithm
        )
    for names in ops.GLCM_PRESETS.values():
        assert set(names) <= set(ops.GLCM_FEATURES)


def test_native_says_why_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_backend, "extension", lambda name: (None, "not built"))
    text = "glcm: backend='native' cannot run on cpu: not built; use backend='auto' or 'torch'"
    with pytest.raises(RuntimeError, match=f"^{re.escape(text)}$"):
        ops.glcm(GRAY, levels=8, backend="native")
    assert ops.glcm(GRAY, levels=8).shape == (2, 1, 4, 8, 8)
