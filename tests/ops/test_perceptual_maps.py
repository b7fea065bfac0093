"""How `perceptual_maps` takes its arguments, what it says when it cannot, and what it leaves alone."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from iuscore import ops
from iuscore.ops import _backend
from iuscore.ops._native import perceptual_maps as _native
from tests.conftest import ROOT, BackendUnderTest

pytestmark = pytest.mark.usefixtures("one_thread")

RGB = torch.zeros(2, 9, 8, 3, dtype=torch.uint8)
NAMES = "uint8, uint16, float16, bfloat16 or float32"
TO_FLOATS = "write images[1].to(torch.float32) for values in [0, 1]"
SHAPES = "[B, H, W, C] or [B, C, H, W], or gray images [B, H, W] or [H, W]"

BAD_IMAGES: list[tuple[Any, type[Exception], str]] = [
    (
        RGB[0],
        ValueError,
        "images: [9, 8, 3] may be 9 gray images or one image with 3 as its number of channels; for gray images pass "
        "images[..., None] with layout='NHWC', for one image images[None] with layout='NHWC'",
    ),
    (
        RGB.permute(0, 3, 1, 2)[0],
        ValueError,
        "images: [3, 9, 8] may be 3 gray images or one image with 3 as its number of channels; for gray images pass "
        "images[..., None] with layout='NHWC', for one image images[None] with layout='NCHW'",
    ),
    (RGB[0, 0, 0], ValueError, f"images: expected {SHAPES}, got [3]"),
    (RGB[None], ValueError, f"images: expected {SHAPES}, got [1, 2, 9, 8, 3]"),
    (RGB[..., :2], ValueError, "images: expected 1 or 3 channels in NHWC, got shape [2, 9, 8, 2]"),
    (torch.zeros(1, 4, 9, 9), ValueError, "images: expected 1 or 3 channels in NHWC, got shape [1, 4, 9, 9]"),
    (
        torch.zeros(2, 3, 8, 3),
        ValueError,
        "images: the channel axis of [2, 3, 8, 3] is ambiguous; pass layout='NHWC' or layout='NCHW'",
    ),
    (RGB[:, :0], ValueError, "images: expected height and width of at least 1, got shape [2, 0, 8, 3]"),
    (
        RGB[:1, :1, :1].expand(1, 2**24 + 1, 1, 3),
        ValueError,
        "images: expected height and width of at most 2^24, got 16777217 x 1; crop or shrink it first",
    ),
    (
        [RGB[0], RGB[0, :2, :1].expand(2, 34_780_558, 3)],
        ValueError,
        "images[1]: expected height and width of at most 2^24, got 2 x 34780558; crop or shrink it first",
    ),
    (
        RGB.double(),
        TypeError,
        f"images: expected dtype {NAMES}, got float64; write images.to(torch.float32) for values in [0, 1]",
    ),
    (RGB.bool(), TypeError, f"images: expected dtype {NAMES}, got bool; write images.to(torch.uint8) * 255"),
    (
        RGB.int().numpy(),
        TypeError,
        f"images: expected dtype {NAMES}, got int32; write images.astype('uint8') for values in 0..255, "
        "images.astype('uint16') for values in 0..65535",
    ),
    (
        np.zeros((1, 9, 8, 3), dtype=object),
        TypeError,
        f"images: expected dtype {NAMES}, got object; write list(images) for an array of arrays",
    ),
    (np.zeros((1, 9, 8, 3), dtype="U3"), TypeError, f"images: expected dtype {NAMES}, got <U3"),
    ({1, 2}, TypeError, "images: expected a torch.Tensor, a numpy.ndarray or a list of them, got set"),
    (None, TypeError, "images: expected a torch.Tensor, a numpy.ndarray or a list of them, got NoneType"),
    ([RGB[0], "a.png"], TypeError, "images[1]: expected a torch.Tensor or numpy.ndarray, got str"),
    ([RGB[0], RGB], ValueError, "images[1]: expected [H, W, C], [C, H, W] or [H, W], got [2, 9, 8, 3]"),
    ([RGB[0], RGB[0].double()], TypeError, f"images[1]: expected dtype {NAMES}, got float64; {TO_FLOATS}"),
    (
        [torch.zeros(3, 8, 3)],
        ValueError,
        "images[0]: the channel axis of [1, 3, 8, 3] is ambiguous; pass layout='NHWC' or layout='NCHW'",
    ),
]

BAD_OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"kind": "grey"}, ValueError, "kind: expected 'color' or 'gray', got 'grey'"),
    ({"mode": "fast"}, ValueError, "mode: expected 'clean' or 'published', got 'fast'"),
    ({"mode": "paper"}, ValueError, "mode: expected 'clean' or 'published', got 'paper'; did you mean 'published'?"),
    ({"size": (3, 8)}, ValueError, "size: expected (height, width), two integers of at least 4, got (3, 8)"),
    ({"size": 64}, ValueError, "size: expected (height, width), two integers of at least 4, got 64"),
    ({"size": (8.5, 9.9)}, ValueError, "size: expected (height, width), two integers of at least 4, got (8.5, 9.9)"),
    ({"size": (8, 8, 8)}, ValueError, "size: expected (height, width), two integers of at least 4, got (8, 8, 8)"),
    (
        {"size": (8, 2**24 + 1)},
        ValueError,
        "size: expected (height, width) of at most 2^24 each, got (8, 16777217); ask for less",
    ),
    ({"dtype": torch.float64}, TypeError, "dtype: expected torch.float32, float16 or bfloat16, got torch.float64"),
    ({"dtype": torch.uint8}, TypeError, "dtype: expected torch.float32, float16 or bfloat16, got torch.uint8"),
    ({"layout": "HWC"}, ValueError, "layout: expected 'NHWC', 'NCHW' or None, got 'HWC'"),
    ({"layout": "NCHW"}, ValueError, "images: expected 1 or 3 channels in NCHW, got shape [2, 9, 8, 3]"),
    ({"backend": "cuda"}, ValueError, "backend: expected 'auto', 'native' or 'torch', got 'cuda'"),
]


@pytest.mark.parametrize(("images", "error", "text"), BAD_IMAGES, ids=[text[:60] for _, _, text in BAD_IMAGES])
def test_bad_images(images: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        ops.perceptual_maps(images)


@pytest.mark.parametrize(("options", "error", "text"), BAD_OPTIONS, ids=[str(options) for options, _, _ in BAD_OPTIONS])
def test_bad_options(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        ops.perceptual_maps(RGB, **options)


@pytest.mark.cuda
def test_images_on_several_devices() -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    with pytest.raises(ValueError, match=r"^images: expected all on one device, got \['cpu', 'cuda:0'\]$"):
        ops.perceptual_maps([RGB[0], RGB[0].cuda()])


@pytest.mark.parametrize("backend", ["cpu-native", "cpu-torch"], indirect=True)
def test_arrays_that_torch_does_not_take_are_accepted(backend: BackendUnderTest) -> None:
    array = np.random.default_rng(0).integers(0, 65536, (2, 9, 8, 3), dtype=np.uint16)
    expected = backend.maps(torch.from_numpy(array), size=(12, 8))[0]
    frozen = array.copy()
    frozen.flags.writeable = False
    backwards = np.ascontiguousarray(array[:, ::-1, ::-1])[:, ::-1, ::-1]
    swapped = array.astype(array.dtype.newbyteorder(">"))
    for given in (array, frozen, backwards, swapped):
        assert torch.equal(backend.maps(given, size=(12, 8))[0], expected)
        assert torch.equal(backend.maps(list(given), size=(12, 8))[0], expected)
    with pytest.raises(TypeError, match=r"got float64; write images\.astype"):
        ops.perceptual_maps(np.zeros((1, 9, 8, 3), dtype=">f8"))


def test_two_dimensional_images_of_a_list_are_gray(backend: BackendUnderTest) -> None:
    image = torch.arange(72, dtype=torch.uint8).reshape(9, 8)
    expected = backend.maps(image[None, ..., None], layout="NHWC")[0]
    for layout in (None, "NHWC", "NCHW"):
        assert torch.equal(backend.maps([image], layout=layout)[0], expected)


def test_tuples_of_arrays_are_lists_of_images() -> None:
    image = np.zeros((9, 8, 3), dtype=np.uint8)
    assert ops.perceptual_maps((image, image)).shape == (2, 4, 128, 128)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_nothing_in_nothing_out(backend: BackendUnderTest, dtype: torch.dtype) -> None:
    for images in (RGB[:0], RGB[:0].float()):
        maps, ranges = backend.maps(images, size=(5, 6), dtype=dtype)
        assert (maps.shape, maps.dtype) == ((0, 4, 5, 6), dtype)
        assert (ranges.shape, ranges.dtype) == ((0, 4), torch.float32)
    maps, ranges = ops.perceptual_maps([], size=(5, 6), dtype=dtype, return_ranges=True)
    assert (maps.shape, maps.dtype, ranges.shape) == ((0, 4, 5, 6), dtype, (0, 4))


def test_inputs_are_not_modified(backend: BackendUnderTest) -> None:
    images = torch.rand(2, 9, 8, 3)
    images[0, 0, 0, 0] = float("nan")
    before = images.clone()
    for mode in ("clean", "published"):
        for kind in ("color", "gray"):
            backend.maps(images, kind=kind, mode=mode, size=(9, 8))
            backend.maps(list(images), kind=kind, mode=mode, size=(9, 8))
    assert torch.equal(images.view(torch.int32), before.view(torch.int32))


def test_maps_are_contiguous_and_own_their_memory(backend: BackendUnderTest) -> None:
    maps, _ = backend.maps(RGB, size=(9, 8))
    assert maps.is_contiguous()
    assert not maps.requires_grad


@pytest.mark.parametrize("kind", ["color", "gray"])
@pytest.mark.parametrize("mode", ["clean", "published"])
@pytest.mark.parametrize("size", [(9, 8), (12, 5)])
def test_gradients_take_the_torch_path(kind: Any, mode: Any, size: tuple[int, int]) -> None:
    noise = torch.rand(9, 8, 3, generator=torch.Generator().manual_seed(0))
    images = torch.stack([noise, torch.zeros_like(noise), torch.full_like(noise, 0.4)]).requires_grad_()
    for given in (images, list(images)):
        maps = ops.perceptual_maps(given, kind=kind, mode=mode, size=size, layout="NHWC")
        assert maps.requires_grad
        (gradient,) = torch.autograd.grad(maps.square().sum(), images)
        assert gradient.isfinite().all()
        assert gradient[0].abs().max() > 0.0
    with torch.no_grad():
        assert not ops.perceptual_maps(images, kind=kind, mode=mode, size=size, backend="native").requires_grad


def test_native_has_no_gradient() -> None:
    text = (
        "perceptual_maps: backend='native' cannot run on cpu: the kernels have no gradient; "
        "use backend='auto' or 'torch'"
    )
    images = torch.zeros(1, 9, 8, 3, requires_grad=True)
    for given in (images, [images[0]]):
        with pytest.raises(RuntimeError, match=f"^{re.escape(text)}$"):
            ops.perceptual_maps(given, backend="native")


def test_choose_explains(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, meta = torch.device("cpu"), torch.device("meta")
    assert _backend.choose("perceptual_maps", cpu) == _backend.Choice("cpu", "")
    assert _backend.choose("perceptual_maps", cpu, backend="native") == _backend.Choice("cpu", "")
    assert _backend.choose("perceptual_maps", cpu, backend="torch").reason == "backend='torch' was asked for"
    with_grad = _backend.choose("perceptual_maps", cpu, needs_grad=True)
    assert with_grad == _backend.Choice("torch", "the kernels have no gradient")
    assert _backend.choose("perceptual_maps", meta) == _backend.Choice("torch", "no kernels for meta devices")
    monkeypatch.setattr(_backend, "extension", lambda name: (None, "not built"))
    assert _backend.choose("perceptual_maps", cpu) == _backend.Choice("torch", "not built")
    text = "perceptual_maps: backend='native' cannot run on cpu: not built; use backend='auto' or 'torch'"
    with pytest.raises(RuntimeError, match=f"^{re.escape(text)}$"):
        ops.perceptual_maps(RGB, backend="native")
    assert ops.perceptual_maps(RGB).shape == (2, 4, 128, 128)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("color", [True, False])
def test_custom_ops_pass_opcheck(native: BackendUnderTest, dtype: torch.dtype, color: bool) -> None:
    images = RGB.to(dtype).to(native.device)
    options = (color, True, 5, 6, torch.float16)
    torch.library.opcheck(_native.perceptual_maps, (images, *options))
    torch.library.opcheck(
        _native.perceptual_maps, (images.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1), *options)
    )
    torch.library.opcheck(_native.perceptual_maps_ragged, ([images[0], images[1, 2:]], *options))


def test_one_image_is_the_example_of_the_docstring() -> None:
    images = torch.randint(0, 256, (2, 96, 80, 3), dtype=torch.uint8)
    assert ops.perceptual_maps(images, kind="color", size=(64, 64)).shape == (2, 4, 64, 64)
    gray = torch.randint(0, 256, (1, 64, 64, 1), dtype=torch.uint8)
    _, ranges = ops.perceptual_maps(gray, kind="color", mode="published", return_ranges=True)
    assert ops.degenerate_maps(ranges, kind="color").tolist() == [[True, True, False, False]]


def test_importing_iuscore_loads_no_heavy_package() -> None:
    heavy = {"pyarrow", "scipy", "sklearn", "PIL", "matplotlib"}
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import torch, sys; print('|', file=sys.stderr); import iuscore"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    lines = run.stderr.partition("\n|\n")[2].splitlines()  # what torch imports by itself is not ours
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert "iuscore" in modules
    assert not modules & heavy
