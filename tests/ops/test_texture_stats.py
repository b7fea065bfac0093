"""Texts of errors, edge cases and the custom op of `texture_stats`."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from iuscore import ops
from iuscore.ops._native import texture_stats as _native
from tests.conftest import BackendUnderTest

IMAGES = torch.randint(0, 256, (2, 12, 15, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"kind": "grey"}, ValueError, "kind: expected 'color' or 'gray', got 'grey'"),
        ({"bins": 30}, ValueError, "bins: expected a power of two from 2 to 256, got 30"),
        ({"levels": 257}, ValueError, "levels: expected an integer from 2 to 256, got 257"),
        ({"levels": 8.0}, ValueError, "levels: expected an integer from 2 to 256, got 8.0"),
        ({"distances": (0,)}, ValueError, "distances: expected at most 16 integers, each from 1 to 65535, got (0,)"),
        ({"distances": 4.0}, ValueError, "distances: expected at most 16 integers, each from 1 to 65535, got 4.0"),
        ({"bins": 32.0}, ValueError, "bins: expected a power of two from 2 to 256, got 32.0"),
        ({"distances": (1.5,)}, ValueError, "distances: expected at most 16 integers, each from 1 to 65535, got (1.5"),
        ({"mask": torch.ones(2, 12, 15)}, TypeError, "mask: expected dtype bool or uint8 (nonzero = counted), got fl"),
        ({"mask": torch.ones(12, 15, dtype=torch.bool)}, ValueError, "mask: expected [B, H, W] = [2, 12, 15]"),
        ({"backend": "gpu"}, ValueError, "backend: expected 'auto', 'native' or 'torch', got 'gpu'"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_named(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=re.escape(text)):
        ops.texture_stats(IMAGES, **options)


def test_integers_may_be_those_of_numpy() -> None:
    options: Any = {"bins": np.int64(16), "levels": np.int64(8), "distances": np.array([1, 3])}
    got = ops.texture_stats(IMAGES, **options)
    expected = ops.texture_stats(IMAGES, bins=16, levels=8, distances=(1, 3))
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_masks_of_a_list_belong_to_its_images() -> None:
    images = [IMAGES[0], IMAGES[1, :5]]
    with pytest.raises(ValueError, match="mask: expected one mask per image, 2, got 1"):
        ops.texture_stats(images, mask=[torch.ones(12, 15, dtype=torch.bool)])
    with pytest.raises(ValueError, match=re.escape("mask[1]: expected [B, H, W] = [1, 5, 15]")):
        ops.texture_stats(images, mask=[torch.ones(12, 15, dtype=torch.bool)] * 2)


def test_a_gradient_is_refused() -> None:
    images = torch.rand(1, 8, 8, 3, requires_grad=True)
    with pytest.raises(ValueError, match=r"without a gradient, as counts have none; pass images.detach\(\)"):
        ops.texture_stats(images)
    with torch.no_grad():
        ops.texture_stats(images)


def test_only_auto_takes_torch_for_rows_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = ops.texture_stats(IMAGES, backend="torch")
    monkeypatch.setattr(_native, "too_large", lambda *arguments: "too wide")
    monkeypatch.setattr(_native, "texture_stats", None)
    text = "texture_stats: backend='native' cannot run on cpu: too wide; use backend='auto' or 'torch'"
    with pytest.raises(RuntimeError, match=f"^{re.escape(text)}$"):
        ops.texture_stats(IMAGES, backend="native")
    assert all(torch.equal(a, b) for a, b in zip(ops.texture_stats(IMAGES), expected, strict=True))


@pytest.mark.parametrize(("workspace", "why"), [
    (-1, "rows of 15 pixels with pairs 4 apart do not fit into the shared memory of this GPU"), (0, ""), (64, ""),
])  # fmt: skip
def test_the_cuda_module_says_what_does_not_fit(monkeypatch: pytest.MonkeyPatch, workspace: int, why: str) -> None:
    asked: list[dict[str, Any]] = []
    module = SimpleNamespace(texture_stats_workspace=lambda **sizes: asked.append(sizes) or workspace)
    monkeypatch.setattr(_native, "cuda", lambda: module)
    assert _native.too_large(IMAGES, None, True, 32, [0, 1, -4, 4]) == ""
    assert asked == []
    on_gpu: Any = SimpleNamespace(
        device=torch.device("cuda:0"), dtype=torch.uint8, shape=IMAGES.shape, stride=IMAGES.stride, data_ptr=lambda: 64
    )
    assert _native.too_large(on_gpu, None, True, 32, [0, 1, -4, 4]) == why
    assert asked[0]["offsets"] == [(0, 1), (4, -4)]


@pytest.mark.cuda
def test_rows_too_wide_for_the_gpu(cuda_native: BackendUnderTest) -> None:
    images = torch.zeros(1, 3, 300_000, 1, dtype=torch.uint8, device=cuda_native.device)
    with pytest.raises(
        RuntimeError, match="rows of 300000 pixels with pairs 2 apart do not fit into the shared memory"
    ):
        ops.texture_stats(images, distances=(1, 2), layout="NHWC", backend="native")
    expected = ops.texture_stats(images, distances=(1, 2), layout="NHWC", backend="torch")
    found = ops.texture_stats(images, distances=(1, 2), layout="NHWC")
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("kind", ["color", "gray"])
def test_nothing_to_count_gives_zeros(backend: BackendUnderTest, kind: Any) -> None:
    images = IMAGES.to(backend.device)
    got = ops.texture_stats(images, kind=kind, mask=torch.zeros_like(images[..., 0]), backend=backend.backend)
    assert not any(tensor.any() for tensor in got)
    nan = torch.full((1, 4, 4, 1), torch.nan, device=backend.device)
    assert not any(tensor.any() for tensor in ops.texture_stats(nan, kind=kind, layout="NHWC", backend=backend.backend))


def test_one_pixel_and_one_level(backend: BackendUnderTest) -> None:
    got = ops.texture_stats(IMAGES[:, :1, :1].to(backend.device), layout="NHWC", backend=backend.backend)
    assert not got.cooccurrence.any()
    assert (got.statistics[..., 1:5] == 0).all()
    assert torch.equal(got.blocks, got.blocks[:, :1, :1].expand_as(got.blocks))
    flat = ops.texture_stats(torch.full((1, 9, 9, 1), 0.4, device=backend.device), kind="gray", backend=backend.backend)
    values = dict(zip(ops.PROPERTIES, flat.cooccurrence[0, 0, 0].tolist(), strict=True))
    assert (values["correlation"], values["homogeneity"], values["contrast"], values["entropy"]) == (1, 1, 0, 0)


@pytest.mark.parametrize("backend_name", ["native", "torch"])
def test_shapes_of_empty_batches_and_lists(backend_name: Any) -> None:
    for images in (IMAGES[:0], [], IMAGES):
        got = ops.texture_stats(images, bins=16, distances=(1, 2, 3), layout="NHWC", backend=backend_name)
        batch = len(images)
        shapes = [(batch, 6, 16), (batch, 6, 8), (batch, 6), (batch, 3, 4, 10), (batch, 8, 8)]
        assert [tuple(tensor.shape) for tensor in got] == shapes


def test_a_list_gives_what_batches_give() -> None:
    images = [IMAGES[0], IMAGES[1, :5], IMAGES[1], IMAGES[0].float() / 255, IMAGES[0, ..., :1]]
    masks = [np.arange(image.shape[0] * 15).reshape(-1, 15) % 7 != 0 for image in images]
    together = ops.texture_stats(images, mask=masks, layout="NHWC")
    for i, image in enumerate(images):
        alone = ops.texture_stats(image[None], mask=masks[i][None], layout="NHWC")
        for a, b in zip(together, alone, strict=True):
            assert torch.equal(a[i : i + 1], b)


def test_the_custom_op_is_one() -> None:
    mask = IMAGES[..., 0] > 100
    for images in (IMAGES, IMAGES.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)):
        torch.library.opcheck(_native.texture_stats, (images, mask, True, 32, 16, [0, 1, 1, -1]))
    torch.library.opcheck(_native.texture_stats, (IMAGES[:0], None, False, 32, 16, []))


def test_images_are_left_alone() -> None:
    before = IMAGES.clone()
    ops.texture_stats(IMAGES)
    assert torch.equal(IMAGES, before)


def test_images_whose_pairs_do_not_fit_the_counters(backend: BackendUnderTest) -> None:
    huge = torch.zeros(1, 1, 1, 1, dtype=torch.uint8, device=backend.device).expand(1, 32768, 32769, 1)
    text = "images: expected at most 2^30 pixels each, got 32768 x 32769"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        ops.texture_stats(huge, layout="NHWC", backend=backend.backend)
