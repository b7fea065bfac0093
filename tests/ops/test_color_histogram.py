"""How `color_histogram` takes its arguments, what it says when it cannot, and what it leaves alone."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from iuscore import ops
from iuscore.ops._native import color_histogram as _native
from tests.conftest import BackendUnderTest
from tests.equivalence.color_histogram_cases import run

pytestmark = pytest.mark.usefixtures("one_thread")

RGB = torch.zeros(2, 9, 8, 3, dtype=torch.uint8)
MASK = torch.ones(2, 9, 8, dtype=torch.bool)

BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"space": "hsl"}, ValueError, "space: expected 'rgb', 'hsv', 'lab' or 'gray', got 'hsl'"),
    ({"bins": 0}, ValueError, "bins: expected an integer from 1 to 1024 or 3 of them, got 0"),
    ({"bins": 1025}, ValueError, "bins: expected an integer from 1 to 1024 or 3 of them, got 1025"),
    ({"bins": 8.0}, ValueError, "bins: expected an integer from 1 to 1024 or 3 of them, got 8.0"),
    ({"bins": True}, ValueError, "bins: expected an integer from 1 to 1024 or 3 of them, got True"),
    ({"bins": (8, 8)}, ValueError, "bins: expected an integer from 1 to 1024 or 3 of them, got (8, 8)"),
    (
        {"bins": 33, "joint": True},
        ValueError,
        "bins: expected an integer from 1 to 32 of a joint histogram or 3 of them, got 33",
    ),
    (
        {"bins": (8, 8, 8), "space": "gray"},
        ValueError,
        "bins: expected an integer from 1 to 1024, got (8, 8, 8)",
    ),
    (
        {"joint": True, "space": "gray"},
        ValueError,
        "joint: expected a space of three channels, got 'gray'; pass joint=False",
    ),
    ({"range": 1.0}, ValueError, "range: expected (low, high) or 3 such pairs, got 1.0"),
    ({"range": (0, 1, 2)}, ValueError, "range: expected (low, high) or 3 such pairs, got (0, 1, 2)"),
    ({"range": [(0, 1)] * 2}, ValueError, "range: expected (low, high) or 3 such pairs, got [(0, 1), (0, 1)]"),
    (
        {"range": [(0, 1)] * 3, "space": "gray"},
        ValueError,
        "range: expected (low, high), got [(0, 1), (0, 1), (0, 1)]",
    ),
    ({"range": (1, 1)}, ValueError, "range: expected finite numbers with low < high, got (1.0, 1.0)"),
    ({"range": (2, 1)}, ValueError, "range: expected finite numbers with low < high, got (2.0, 1.0)"),
    (
        {"range": (0, float("inf"))},
        ValueError,
        "range: expected finite numbers with low < high, got (0.0, inf)",
    ),
    (
        {"range": (0, float("nan"))},
        ValueError,
        "range: expected finite numbers with low < high, got (0.0, nan)",
    ),
    ({"mask": MASK[0]}, ValueError, "mask: expected [B, H, W] = [2, 9, 8] as the images, got [9, 8]"),
    (
        {"mask": MASK.float()},
        TypeError,
        "mask: expected dtype bool or uint8 (nonzero = counted), got float32; write mask != 0",
    ),
    ({"layout": "HWC"}, ValueError, "layout: expected 'NHWC', 'NCHW' or None, got 'HWC'"),
    ({"backend": "cuda"}, ValueError, "backend: expected 'auto', 'native' or 'torch', got 'cuda'"),
]


@pytest.mark.parametrize(("options", "error", "text"), BAD, ids=[str(options)[:60] for options, _, _ in BAD])
def test_bad_options(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        ops.color_histogram(RGB, **options)


def test_bad_images() -> None:
    with pytest.raises(TypeError, match=r"^images: expected dtype .*, got float64; write images\.to\(torch\.float32\)"):
        ops.color_histogram(RGB.double())
    with pytest.raises(ValueError, match=r"^mask: expected one mask per image, 2, got 1$"):
        ops.color_histogram(list(RGB), mask=[MASK[0]])
    text = "images: expected images without a gradient, as counts have none; pass images.detach()"
    images = RGB.float().requires_grad_()
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        ops.color_histogram(images)
    with torch.no_grad():
        assert not ops.color_histogram(images, normalize=True).counts.requires_grad


def test_shapes_and_dtypes(backend: BackendUnderTest) -> None:
    for images in (RGB, RGB[..., :1], RGB[:0], list(RGB), RGB.float()):
        n = len(images)
        for space in ops.CHANNELS:
            channels = len(ops.CHANNELS[space])
            got = run(backend, images, bins=5, space=space, layout="NHWC")
            assert [x.shape for x in got] == [(n, channels, 5)] + [(n, channels)] * 3
            assert {x.dtype for x in got} == {torch.int32}
        got = run(backend, images, bins=(5, 1, 7), layout="NHWC")
        assert [x.shape for x in got] == [(n, 13)] + [(n, 3)] * 3
        got = run(backend, images, bins=(5, 1, 7), joint=True, normalize=True, layout="NHWC")
        assert [x.shape for x in got] == [(n, 5, 1, 7)] + [(n,)] * 3
        assert got.counts.dtype == torch.float32


def test_nothing_in_nothing_out() -> None:
    for options in ({}, {"joint": True, "bins": 4}, {"bins": (1, 2, 3), "normalize": True}):
        got = ops.color_histogram([], **options)  # type: ignore[arg-type]
        assert [len(x) for x in got] == [0] * 4


def test_nothing_is_counted_where_all_is_masked(backend: BackendUnderTest) -> None:
    for joint in (False, True):
        got = run(backend, RGB, ~MASK, bins=4, joint=joint, normalize=True)
        assert all(int(x.abs().sum()) == 0 for x in got)


def test_constant_images(backend: BackendUnderTest) -> None:
    images = torch.tensor([255, 0, 128], dtype=torch.uint8).expand(1, 40, 50, 3)
    got = run(backend, images, bins=256)
    assert [int(channel.argmax()) for channel in got.counts[0]] == [255, 0, 128]
    assert got.counts.amax(2).tolist() == [[2000] * 3]
    lab = run(backend, images * 0 + 255, bins=4, space="lab")  # white is the last bin of L*, neither red nor green
    assert lab.counts[0, 0].tolist() == [0, 0, 0, 2000]
    assert sum(int(x.sum()) for x in lab[1:]) == 0


def test_lists_may_differ_in_size_dtype_and_channels(backend: BackendUnderTest) -> None:
    rng = np.random.default_rng(0)
    images = [
        torch.from_numpy(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)),
        torch.from_numpy(rng.random((7, 4, 1), dtype=np.float32)),
        torch.from_numpy(rng.integers(0, 65536, (5, 6, 3), dtype=np.uint16)),
        torch.from_numpy(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)),
    ]
    masks = [torch.from_numpy(rng.random(tuple(image.shape[:2])) < 0.5) for image in images]
    for options in ({"bins": 9}, {"bins": (2, 3, 4), "space": "lab"}, {"bins": 4, "joint": True}):
        got = run(backend, images, masks, layout="NHWC", **options)
        for i, image in enumerate(images):
            alone = run(backend, image[None], masks[i][None], layout="NHWC", **options)
            assert all(torch.equal(a[i], b[0]) for a, b in zip(got, alone, strict=True))


def test_inputs_are_not_modified(backend: BackendUnderTest) -> None:
    images, mask = torch.rand(2, 9, 8, 3), MASK.clone()
    before = images.clone()
    for space in ops.CHANNELS:
        run(backend, images, mask, space=space)
    assert torch.equal(images, before)
    assert bool(mask.all())


@pytest.mark.parametrize("joint", [False, True])
def test_custom_op_passes_opcheck(native: BackendUnderTest, joint: bool) -> None:
    options = ("rgb", joint, [4, 5, 6], [0.0, 0.0, 1.0], [256.0, 10.0, 2.0])
    images, mask = RGB.to(native.device), MASK.to(native.device)
    for given in (None, mask):
        torch.library.opcheck(_native.color_histogram, (images, given, *options))
    torch.library.opcheck(_native.color_histogram, (images.float()[:, ::2, 1:], mask[:, ::2, 1:], *options))


def test_the_kernel_refuses_what_it_cannot_read() -> None:
    from iuscore.ops._native.calls import core, mask_table, view_table

    edges = np.array([0.0, 1.0, 2.0], np.float32)
    out = torch.zeros(2, 100, dtype=torch.int32)
    good: dict[str, Any] = {
        "channels": 3, "pixel_type": "uint8", "space": "rgb", "joint": False, "edges": [edges] * 3,
        "counts": out.data_ptr(), "out_of_range": out.data_ptr(), "threads": 1,
    }  # fmt: skip
    views, masks = view_table(RGB), mask_table(MASK)
    for changed, text in [
        ({"channels": 2}, "channels: expected 1 or 3"),
        ({"space": "xyz"}, "space: expected rgb, hsv, lab or gray, got xyz"),
        ({"edges": [edges]}, "edges: expected one array per channel of the space"),
        ({"edges": [edges[::-1].copy()] * 3}, "edges: expected ascending values"),
        ({"edges": [edges[:1]] * 3}, "edges: expected 2..1025 values"),
        ({"edges": [np.arange(34, dtype=np.float32)] * 3, "joint": True}, "edges: expected 2..33 values"),
        ({"space": "gray", "joint": True, "edges": [edges]}, "joint: expected a space with three channels"),
    ]:
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            core().color_histogram(views, masks, **{**good, **changed})
    with pytest.raises(ValueError, match=r"^masks: expected one row per image or none$"):
        core().color_histogram(views, masks[:1], **good)
    huge = views.copy()
    huge[:, 1:3] = 1 << 16
    with pytest.raises(ValueError, match=r"^images: expected fewer than 2\^31 pixels each$"):
        core().color_histogram(huge, masks, **good)
