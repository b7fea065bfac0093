"""How `image_views` takes its arguments, what it says when it cannot, and what it leaves alone."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from iuscore import ops
from iuscore.ops._constants import MAX_VIEWS_SIDE
from iuscore.ops._native import image_views as _native
from tests.conftest import BackendUnderTest

RGB = torch.randint(0, 256, (2, 9, 8, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
WEIGHTS = torch.randn(108, 64, generator=torch.Generator().manual_seed(1))
BIAS = torch.randn(64, generator=torch.Generator().manual_seed(2))
BYTES = "bring values in [0, 1] to bytes by (255 * x).round().to(torch.uint8)"

BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"images": RGB.float()}, TypeError, f"images: expected dtype uint8, got float32; {BYTES}"),
    ({"images": [RGB[0], RGB[1].half()]}, TypeError, f"images[1]: expected dtype uint8, got float16; {BYTES}"),
    ({"images": "x.png"}, TypeError, "images: expected a torch.Tensor, a numpy.ndarray or a list of them, got str"),
    ({"images": RGB[:1, :1, :1].expand(1, MAX_VIEWS_SIDE + 1, 1, 3)}, ValueError,
     "images: expected sides of at most 2^24, got 16777217 x 1"),
    ({"weights": WEIGHTS.numpy()}, TypeError, "weights: expected a torch.Tensor, got ndarray"),
    ({"weights": WEIGHTS.double()}, TypeError,
     "weights: expected dtype float32, got float64; convert it with .float()"),
    ({"weights": WEIGHTS[:36]}, ValueError, "weights: expected [108, 64] of kind 'color', got [36, 64]"),
    ({"kind": "gray"}, ValueError, "weights: expected [36, 64] of kind 'gray', got [108, 64]"),
    ({"bias": BIAS[:, None]}, ValueError, "bias: expected [64] of kind 'color', got [64, 1]"),
    ({"bias": BIAS.to("meta")}, ValueError, "bias: expected the images' device cpu, got meta"),
    ({"kind": "blue"}, ValueError, "kind: expected 'color' or 'gray', got 'blue'"),
    ({"backend": "cuda"}, ValueError, "backend: expected 'auto', 'native' or 'torch', got 'cuda'"),
    ({"layout": "HWC"}, ValueError, "layout: expected 'NHWC', 'NCHW' or None, got 'HWC'"),
    ({"weights": WEIGHTS.clone().requires_grad_(), "backend": "native"}, RuntimeError,
     "image_views: backend='native' cannot run on cpu: the kernels have no gradient; use backend='auto' or 'torch'"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "error", "text"), BAD, ids=[text[:50] for _, _, text in BAD])
def test_bad_arguments(options: dict[str, Any], error: type[Exception], text: str) -> None:
    given = {"images": RGB, "weights": WEIGHTS, "bias": BIAS, **options}
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        ops.image_views(**given)


def test_shapes(backend: BackendUnderTest) -> None:
    for kind, k in (("color", 3), ("gray", 1)):
        filters = [WEIGHTS[: 36 * k].to(backend.device), BIAS.to(backend.device)]
        for images in (RGB, RGB[..., :1], RGB[:0], RGB[:, :1, :1]):
            got = ops.image_views(
                images.to(backend.device), *filters, kind=kind, layout="NHWC", backend=backend.backend  # type: ignore[arg-type]
            )  # fmt: skip
            assert got.thumb.shape == (len(images), 64 * k)
            assert got.patch.shape == (len(images), 512)
            for part in got:
                assert (part.dtype, part.device.type) == (torch.float32, backend.device.type)
    assert ops.image_views([], WEIGHTS, BIAS).patch.shape == (0, 512)
    assert ops.image_views(RGB.numpy(), WEIGHTS, BIAS).thumb.shape == (2, 192)


def test_inputs_are_not_modified(backend: BackendUnderTest) -> None:
    given = [tensor.to(backend.device) for tensor in (RGB, WEIGHTS, BIAS)]
    ops.image_views(*given, backend=backend.backend)
    for tensor, before in zip(given, (RGB, WEIGHTS, BIAS), strict=True):
        assert torch.equal(tensor.cpu(), before)


def test_filters_may_lie_anyhow(backend: BackendUnderTest) -> None:
    images, weights, bias = (tensor.to(backend.device) for tensor in (RGB, WEIGHTS, BIAS))
    spread = torch.stack([bias, bias], 1)[:, 0]
    expected = ops.image_views(images, weights, bias, backend=backend.backend)
    found = ops.image_views(images, weights.t().contiguous().t(), spread, backend=backend.backend)
    assert torch.equal(found.patch, expected.patch)


def test_custom_op_passes_opcheck(native: BackendUnderTest) -> None:
    images, weights, bias = (tensor.to(native.device) for tensor in (RGB, WEIGHTS, BIAS))
    for given in (images, images[:, ::2, 1:], images[..., :1]):
        torch.library.opcheck(_native.image_views, (given, weights, bias, True))
    torch.library.opcheck(_native.image_views, (images, weights[:36], bias, False))


def test_weights_have_a_gradient() -> None:
    """That of differences, where responses are smooth; 0 where no answer reaches the threshold."""
    weights, bias = (WEIGHTS * 0.3).requires_grad_(), BIAS.clone().requires_grad_()
    found = ops.image_views(RGB, weights, bias)
    found.patch.sum().backward()
    assert weights.grad is not None
    assert bias.grad is not None
    assert weights.grad.isfinite().all()
    step = 1e-2
    for f in (0, 7):
        moved = [BIAS.clone() for _ in range(2)]
        moved[0][f] += step
        moved[1][f] -= step
        more, less = (ops.image_views(RGB, weights.detach(), b, backend="torch").patch.double().sum() for b in moved)
        assert float(more - less) / (2 * step) == pytest.approx(float(bias.grad[f]), rel=2e-2)
    silent = torch.zeros(108, 64, requires_grad=True)
    ops.image_views(RGB, silent, torch.zeros(64)).patch.sum().backward()
    assert silent.grad is not None
    assert not silent.grad.any()


def test_the_kernel_refuses_what_it_cannot_read() -> None:
    from iuscore.ops._native.calls import core, view_table

    thumb, patch = torch.zeros(2, 192), torch.zeros(2, 512)
    good: dict[str, Any] = {
        "channels": 3, "color": True, "weights": WEIGHTS.data_ptr(), "bias": BIAS.data_ptr(),
        "thumb": thumb.data_ptr(), "patch": patch.data_ptr(), "threads": 1,
    }  # fmt: skip
    for changed, text in [
        ({"channels": 2}, "channels: expected 1 or 3"),
        ({"weights": 0}, "weights: expected a nonzero address divisible by 4, got 0"),
        ({"bias": 3}, "bias: expected a nonzero address divisible by 4, got 3"),
        ({"thumb": 0}, "thumb: expected a nonzero address divisible by 4, got 0"),
        ({"patch": 0}, "patch: expected a nonzero address divisible by 4, got 0"),
    ]:
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            core().image_views(view_table(RGB), **{**good, **changed})
    views = view_table(RGB)
    views[1, 2] = MAX_VIEWS_SIDE + 1
    with pytest.raises(ValueError, match=r"^images: expected sides of at most 16777216$"):
        core().image_views(views, **good)


def test_a_long_side_is_read_to_its_end(native: BackendUnderTest) -> None:
    """More columns than fit a window's 16-bit sums, and one pixel high."""
    wide = torch.zeros(1, 1, 70_000, 1, dtype=torch.uint8)
    wide[..., -1, 0] = 255
    weights, bias = torch.zeros(36, 64), torch.zeros(64)
    found = ops.image_views(
        wide.to(native.device), weights.to(native.device), bias.to(native.device), kind="gray", layout="NHWC"
    )
    expected = np.zeros((8, 8), np.float32)
    expected[:, 7] = 255 / 8750
    np.testing.assert_array_equal(found.thumb.cpu().numpy()[0], expected.ravel())
