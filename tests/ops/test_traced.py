"""Every public op under torch.compile(fullgraph=True), torch.export and torch.func: the results of a plain call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor

from iuscore import ops
from iuscore.models import EPUCNN

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.*functools.lru_cache.*:UserWarning"),
]

Case = tuple[Callable[[Any], Any], tuple[int, ...]]


def pixels(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(sum(shape)))


def numbers(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape))) * 0.9 + 0.05


def tensors(result: Any) -> list[Tensor]:
    """What a result holds; names are left out."""
    if isinstance(result, Tensor):
        return [result]
    return [part for item in result for part in tensors(item)] if isinstance(result, tuple | list) else []


def assert_same(left: Any, right: Any) -> None:
    pairs = list(zip(tensors(left), tensors(right), strict=True))
    assert pairs
    for a, b in pairs:
        assert (a.shape, a.dtype, a.stride()) == (b.shape, b.dtype, b.stride()) or a.is_contiguous()
        assert torch.equal(a, b)


WEIGHTS = ops.AdditiveWeights.random((2, 1, 3), hidden=(4, 3), outputs=2, generator=torch.Generator().manual_seed(0))
SINGLE = ops.AdditiveWeights.random((1, 1, 1), hidden=(4, 4), generator=torch.Generator().manual_seed(0))
TABLES = ops.additive_tables(SINGLE, low=0.0, high=1.0, points=33)
NETWORKS = EPUCNN(["a", "b"], size=(16, 16), base_channels=2, hidden_units=4).eval().requires_grad_(False).networks()

FILTERS = (torch.randn(108, 64, generator=torch.Generator().manual_seed(0)), torch.full((64,), 0.25))

# each over images [B, H, W, 3] of bytes
IMAGES: dict[str, Callable[[Tensor], Any]] = {
    "perceptual_maps": lambda x: ops.perceptual_maps(x, size=(8, 9)),
    "perceptual_maps, options": lambda x: ops.perceptual_maps(
        x.permute(0, 3, 1, 2), kind="gray", mode="published", size=(8, 9), dtype=torch.float16, return_ranges=True
    ),
    "perceptual_maps, list": lambda x: ops.perceptual_maps([x[0], x[1, 2:]], size=(8, 9)),
    "degenerate_maps": lambda x: ops.degenerate_maps(
        ops.perceptual_maps(x, mode="published", size=(8, 9), return_ranges=True)[1], kind="color"
    ),
    "color_histogram": lambda x: ops.color_histogram(x, bins=(8, 16, 4), range=(0, 100), mask=x[..., 0] > 40),
    "color_histogram, joint": lambda x: ops.color_histogram(x, bins=4, space="lab", joint=True, normalize=True),
    "color_histogram, list": lambda x: ops.color_histogram([x[0], x[1, 2:]], mask=[x[0, ..., 0], x[1, 2:, :, 1]]),
    "glcm": lambda x: ops.glcm(x, levels=8, distances=1, angles=0, normalize=True),
    "glcm, width": lambda x: ops.glcm(
        x, levels=8, quantize="width", width=20.5, range=(3, None), offsets=[(0, 1), (2, -1)], symmetric=True
    ),
    "glcm, gray": lambda x: ops.glcm(x[..., 1], levels=8, quantize="minmax"),
    "glcm_features": lambda x: ops.glcm_features(x, levels=8, preset="ibsi", mask=x[..., 2] > 9, dtype=torch.float64),
    "glcm_features, matrices": lambda x: ops.glcm_features(ops.glcm(x, levels=8), levels=None, symmetric=True),
    "image_views": lambda x: ops.image_views(x, *FILTERS),
    "image_views, gray": lambda x: ops.image_views(x.permute(0, 3, 1, 2), FILTERS[0][:36], FILTERS[1], kind="gray"),
    "image_views, list": lambda x: ops.image_views([x[0], x[1, 2:]], *FILTERS),
    "texture_stats": lambda x: ops.texture_stats(x, mask=x[..., 0] > 40),
    "texture_stats, list": lambda x: ops.texture_stats([x[0], x[1, 2:]], kind="gray", distances=2, bins=8),
    "resize": lambda x: ops.resize(x, (9, 7)),
    "resize, channels first": lambda x: ops.resize(x.permute(0, 3, 1, 2), (9, 7)),
    "resize, gray": lambda x: ops.resize(x[..., 0], (9, 7)),
    "resize, list": lambda x: ops.resize([x[0], x[1, 2:]], (9, 7)),
}
# each over float32 of the shape
NUMBERS: dict[str, Case] = {
    "perceptual_maps": (lambda x: ops.perceptual_maps(x, size=(8, 9), backend="torch"), (2, 12, 11, 3)),
    "glcm_features": (
        lambda x: ops.glcm_features(x, levels=None, features=("contrast", "homogeneity"), dtype=torch.float64),
        (2, 3, 5, 5),
    ),
    "additive_mlp": (lambda x: ops.additive_mlp(x, (2, 1, 3), WEIGHTS), (5, 6)),
    "additive_lookup": (lambda x: ops.additive_lookup(x, TABLES), (5, 3)),
    "additive_cnn": (lambda x: ops.additive_cnn(x, NETWORKS), (3, 4, 16, 16)),
}


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    # of the default back end only the code that it generates is left out, which needs a compiler of C++
    return torch.compile(function, fullgraph=True, backend="aot_eager", **options)


def test_every_public_op_is_here() -> None:
    functions = {name for name in ops.__all__ if callable(getattr(ops, name)) and name.islower()}
    told_apart = {"additive_tables", "chosen_precision"}  # see below
    assert {name.partition(",")[0] for name in (*IMAGES, *NUMBERS)} | told_apart == functions


@pytest.mark.parametrize(("name", "dynamic"), [*((name, None) for name in IMAGES), ("glcm", True), ("resize", True)])
def test_images_compile_as_one_graph(name: str, dynamic: bool | None) -> None:
    function = compiled(IMAGES[name], dynamic=dynamic)
    for images in (pixels(2, 20, 24, 3), pixels(5, 22, 31, 3)):
        assert_same(function(images), IMAGES[name](images))


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_compile_with_their_gradient(name: str) -> None:
    function, shape = NUMBERS[name]
    whole = compiled(function)
    for rows in (shape[0], shape[0] + 2):
        x = numbers(rows, *shape[1:])
        assert_same(whole(x), function(x))
    gradients = []
    for run in (whole, function):
        leaf = x.clone().requires_grad_()
        sum((part.double() * numbers(*part.shape)).sum() for part in tensors(run(leaf))).backward()  # type: ignore[union-attr]
        assert leaf.grad is not None
        gradients.append(leaf.grad)
    assert gradients[0].abs().max() > 0.0
    assert torch.equal(*gradients)


def test_gradients_of_weights_compile() -> None:
    names = [field.name for field in fields(WEIGHTS)]

    def total(x: Tensor, *parts: Tensor) -> Tensor:
        return ops.additive_mlp(x, (2, 1, 3), ops.AdditiveWeights(*parts)).total

    gradients = []
    for run in (compiled(total), total):
        parts = [getattr(WEIGHTS, name).clone().requires_grad_() for name in names]
        gradients.append(torch.autograd.grad(run(numbers(5, 6), *parts).square().sum(), parts))
    for of_compiled, plain in zip(*gradients, strict=True):
        assert torch.equal(of_compiled, plain)


@pytest.mark.parametrize("name", ["texture_stats", "perceptual_maps", "resize", "image_views"])
def test_export_holds_one_operator(name: str) -> None:
    class Module(torch.nn.Module):
        def forward(self, x: Tensor) -> Any:
            return tuple(tensors(IMAGES[name](x)))

    images = pixels(2, 20, 24, 3)
    program = torch.export.export(Module(), (images,))
    assert f"iuscore.whole_{name}" in str(program.graph)
    assert_same(program.module()(images), IMAGES[name](images))


@pytest.mark.parametrize("name", IMAGES)
def test_vmap_of_images(name: str) -> None:
    images = pixels(4, 2, 20, 21, 3)
    found = torch.func.vmap(lambda x: tuple(tensors(IMAGES[name](x))))(images)
    for i, one in enumerate(images):
        assert_same([part[i] for part in found], IMAGES[name](one))
    found = torch.func.vmap(lambda x: tuple(tensors(IMAGES[name](x))), in_dims=2, out_dims=0)(images.movedim(0, 2))
    for i, one in enumerate(images):
        assert_same([part[i] for part in found], IMAGES[name](one))


@pytest.mark.parametrize("name", NUMBERS)
def test_vmap_of_numbers(name: str) -> None:
    function, shape = NUMBERS[name]
    x = numbers(3, *shape)
    found = torch.func.vmap(lambda one: tuple(tensors(function(one))))(x)
    for i, one in enumerate(x):
        for part, alone in zip(found, tensors(function(one)), strict=True):
            # what PyTorch itself computes may depend on the batch in the last bit
            torch.testing.assert_close(part[i], alone, rtol=0, atol=1e-5 if name == "perceptual_maps" else 0)


def test_vmap_of_a_mask_alone() -> None:
    images, masks = pixels(2, 20, 21, 3), pixels(4, 2, 20, 21) > 90
    found = torch.func.vmap(lambda mask: ops.texture_stats(images, mask=mask).counted)(masks)
    assert torch.equal(found, torch.stack([ops.texture_stats(images, mask=mask).counted for mask in masks]))


def test_vmap_in_vmap() -> None:
    images = pixels(2, 3, 2, 12, 13, 3)
    found = torch.func.vmap(torch.func.vmap(lambda x: ops.glcm(x, levels=4)))(images)
    for i in range(2):
        for j in range(3):
            assert torch.equal(found[i, j], ops.glcm(images[i, j], levels=4))


def test_vmap_over_weights_is_an_ensemble() -> None:
    drawn = [
        ops.AdditiveWeights.random((2, 1, 3), hidden=(4, 3), generator=torch.Generator().manual_seed(i))
        for i in range(3)
    ]
    stacked = [torch.stack([getattr(one, field.name) for one in drawn]) for field in fields(WEIGHTS)]
    x = numbers(5, 6)
    found = torch.func.vmap(lambda *parts: ops.additive_mlp(x, (2, 1, 3), ops.AdditiveWeights(*parts)).total)(*stacked)
    for i, one in enumerate(drawn):
        assert torch.equal(found[i], ops.additive_mlp(x, (2, 1, 3), one).total)


@pytest.mark.parametrize("name", NUMBERS)
def test_torch_func_knows_the_gradient(name: str) -> None:
    function, shape = NUMBERS[name]

    def loss(x: Tensor) -> Tensor:
        return sum(part.double().square().sum() for part in tensors(function(x)))  # type: ignore[return-value]

    x = numbers(*shape)
    leaf = x.clone().requires_grad_()
    loss(leaf).backward()
    assert leaf.grad is not None
    torch.testing.assert_close(torch.func.grad(loss)(x), leaf.grad, rtol=1e-4, atol=1e-6)
    alone = torch.func.vmap(torch.func.grad(lambda one: loss(one[None])))(x)  # of each row for itself
    torch.testing.assert_close(alone, leaf.grad, rtol=1e-4, atol=1e-6)


def test_mistakes_are_told_in_a_graph_too() -> None:
    images = pixels(2, 20, 24, 3)
    for wrong, text in (
        (lambda x: ops.glcm(x, levels=1), "levels: expected 2..256, got 1"),
        (lambda x: ops.perceptual_maps(x, kind="grey"), "kind: expected 'color' or 'gray', got 'grey'"),
        (lambda x: ops.resize(x.float(), (4, 4)), "images: expected dtype uint8, got float32"),
        (lambda x: ops.image_views(x.float(), *FILTERS), "images: expected dtype uint8, got float32"),
        (lambda x: ops.texture_stats(x, backend="gpu"), "backend: expected 'auto', 'native' or 'torch', got 'gpu'"),
        (lambda x: ops.color_histogram([]), "expected at least one image inside torch.compile or vmap, got an empty"),
    ):
        with pytest.raises(Exception) as raised:  # noqa: PT011 - PyTorch's own type, with the text inside
            compiled(wrong)(images)
        assert text in str(raised.value)


def test_what_reads_values_or_the_machine_is_refused_in_words() -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011
        compiled(lambda w: ops.additive_tables(w, low=0.0, high=1.0, points=17).values)(SINGLE)
    assert "additive_tables: reads the weights' values, which torch.compile and vmap hide" in str(raised.value)
    with pytest.raises(Exception) as raised:  # noqa: PT011
        compiled(lambda x: x + len(ops.chosen_precision("fast")))(numbers(2))
    assert "chosen_precision: asks the machine, which torch.compile does not trace" in str(raised.value)
    parts = [getattr(SINGLE, field.name)[None] for field in fields(SINGLE)]
    with pytest.raises(RuntimeError, match="additive_tables: reads the weights' values, which"):
        torch.func.vmap(lambda *w: ops.additive_tables(ops.AdditiveWeights(*w), low=0.0, high=1.0, points=17).values)(
            *parts
        )
