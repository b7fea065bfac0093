"""How `resize` takes its arguments, what it says when it cannot, and what it leaves alone."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from iuscore import ops
from iuscore.features import texture_features
from iuscore.ops._native import resize as _native
from iuscore.ops._taps import taps
from tests.conftest import BackendUnderTest

RGB = torch.randint(0, 256, (2, 9, 8, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
SIZE = "size: expected (height, width), two integers of at least 1, got "
FLOATS = "floats go through torch.nn.functional.interpolate(..., mode='bicubic', antialias=True)"

BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"size": 4}, ValueError, f"{SIZE}4"),
    ({"size": (4,)}, ValueError, f"{SIZE}(4,)"),
    ({"size": (4, 0)}, ValueError, f"{SIZE}(4, 0)"),
    ({"size": (4, 2.0)}, ValueError, f"{SIZE}(4, 2.0)"),
    ({"size": (4, True)}, ValueError, f"{SIZE}(4, True)"),
    ({"images": RGB.float()}, TypeError, f"images: expected dtype uint8, got float32; {FLOATS}"),
    ({"images": [RGB[0], RGB[1].half()]}, TypeError, f"images[1]: expected dtype uint8, got float16; {FLOATS}"),
    ({"images": [RGB[0], RGB[1, ..., :1]]}, ValueError,
     "images: expected all with 1 channel or all with 3, got some of each"),
    ({"images": "x.png"}, TypeError, "images: expected a torch.Tensor, a numpy.ndarray or a list of them, got str"),
    ({"backend": "cuda"}, ValueError, "backend: expected 'auto', 'native' or 'torch', got 'cuda'"),
    ({"layout": "HWC"}, ValueError, "layout: expected 'NHWC', 'NCHW' or None, got 'HWC'"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "error", "text"), BAD, ids=[text[:50] for _, _, text in BAD])
def test_bad_arguments(options: dict[str, Any], error: type[Exception], text: str) -> None:
    given = {"images": RGB, "size": (4, 4), **options}
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        ops.resize(given.pop("images"), given.pop("size"), **given)


def test_shapes(backend: BackendUnderTest) -> None:
    for images in (RGB, RGB[..., :1], RGB[:0], RGB[:, :1, :1]):
        got = ops.resize(images.to(backend.device), (5, np.int64(7)), layout="NHWC", backend=backend.backend)
        assert got.shape == (len(images), 5, 7, images.shape[3])
        assert (got.dtype, got.device.type) == (torch.uint8, backend.device.type)
    assert ops.resize([], (5, 7)).shape == (0, 5, 7, 3)
    assert ops.resize(RGB.numpy(), (5, 7)).shape == (2, 5, 7, 3)


def test_inputs_are_not_modified(backend: BackendUnderTest) -> None:
    images = RGB.to(backend.device)
    ops.resize(images, (4, 4), backend=backend.backend)
    assert torch.equal(images.cpu(), RGB)


def test_custom_op_passes_opcheck(native: BackendUnderTest) -> None:
    images = RGB.to(native.device)
    for parts in ([images], [images[:, ::2, 1:]], [images[:1], images[1:]]):
        torch.library.opcheck(_native.resize, (parts, 4, 5))


def test_weights_are_those_of_whole_numbers() -> None:
    for size, out in ((256, 128), (100, 7), (3, 50), (1, 9), (4000, 1)):
        table = taps(size, out)
        assert (table.start + 1 <= size).all()
        sums = table.weights.astype(np.int64).sum(1)
        assert np.abs(sums - (1 << table.shift)).max() <= table.weights.shape[1] / 2
        beyond = table.start[:, None] + np.arange(table.weights.shape[1]) >= size
        assert (table.weights[beyond] == 0).all()
        assert np.abs(table.weights.astype(np.int64)).sum(1).max() < 2 << table.shift  # so that sums fit 32 bits


def test_the_kernel_refuses_what_it_cannot_read() -> None:
    from iuscore.ops._native.calls import core, view_table

    out = torch.zeros(2, 4, 4, 3, dtype=torch.uint8)
    start, weights = np.zeros(4, np.int32), np.zeros((4, 8), np.int16)
    direction = (start.ctypes.data, weights.ctypes.data, 8, 14, 4)
    addresses = np.array([out[0].data_ptr(), out[1].data_ptr()])
    good: dict[str, Any] = {"channels": 3, "rows": direction, "columns": direction, "out": addresses, "threads": 1}
    for changed, text in [
        ({"channels": 2}, "channels: expected 1 or 3"),
        ({"out": addresses[:1]}, "out: expected one address per image"),
        ({"out": addresses * 0}, "out: expected a nonzero address divisible by 1, got 0"),
        ({"rows": (*direction[:2], 10, 14, 4)}, "rows: expected out of at least 1 and taps of 0..9"),
        ({"columns": (*direction[:4], 0)}, "columns: expected out of at least 1 and taps of 0..8"),
        ({"columns": (0, 0, 0, 0, 4)}, "columns: without taps the size is kept"),
        ({"columns": (0, *direction[1:])}, "columns: expected a nonzero address divisible by 4, got 0"),
        ({"rows": (*direction[:3], 23, 4)}, "rows: expected a shift of 1..22"),
    ]:
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            core().resize(view_table(RGB), **{**good, **changed})
    views = view_table(RGB)
    views[1, 1] = 8
    with pytest.raises(ValueError, match=r"^views: expected images of one size$"):
        core().resize(views, **good)


def test_features_are_those_of_resized_images(backend: BackendUnderTest) -> None:
    """Whatever the images come in: so a GPU measures what a CPU does."""
    images = torch.randint(0, 256, (4, 70, 50, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    images = images.to(backend.device)
    small = ops.resize(images, (32, 32), backend="torch")
    expected = texture_features(small, size=None, backend=backend.backend)
    for given in (images, list(images), [*images[:2], *small[2:]]):
        assert torch.equal(texture_features(given, size=(32, 32), layout="NHWC", backend=backend.backend), expected)
    mixed = [images[0], images[1, ..., :1], images[2].float() / 255, small[3]]
    got = texture_features(mixed, size=(32, 32), layout="NHWC", backend=backend.backend)
    assert torch.equal(got[[0, 3]], expected[[0, 3]])
    gray = texture_features(images[1:2, ..., :1], size=(32, 32), layout="NHWC", backend=backend.backend)
    assert torch.equal(got[1:2], gray)
