"""`additive_cnn` against what the published implementation gave, in both precisions, and against PyTorch's layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from iuscore import ops
from iuscore.models import EPUCNN, import_reference
from iuscore.scoring.similarity import ius
from tests.conftest import BackendUnderTest

pytestmark = pytest.mark.usefixtures("one_thread")


KINDS = ["rgb", "gray"]


def published(shared: Path, kind: str) -> tuple[Any, Any, Tensor, dict[str, Any]]:
    """github innoisys/ius, commit 2561846: model, its record, maps, contributions and IUS; base 8, maps of 128x128."""
    model, record = import_reference(shared / "reference" / f"epu_{kind}")
    with np.load(shared / "reference" / f"epu_{kind}" / "expected.npz") as file:
        expected = dict(file)
    with np.load(shared / "reference" / "perceptual_maps.npz") as file:
        inputs = torch.from_numpy(np.stack([file[f"{name}/{kind}"] for name in expected["keys"]]))
    return model, record, inputs, expected


def assert_scores(
    model: Any, record: Any, found: Tensor, expected: dict[str, Any], largest: float, median: float
) -> None:
    """Check the IUS of contributions against both classes."""
    profiles = record.profiles
    for name in model.classes:
        scores = ius(torch.tensor(profiles["paper"][name].mean), found[..., 0])
        wrong = np.abs(scores.numpy() - expected[f"ius_{name}"])
        assert wrong.max() <= largest
        assert np.median(wrong) <= median


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("precision", "largest", "median"), [("exact", 1e-6, 1e-6), ("fast", 5e-4, 5e-5)])
def test_packed_networks_give_the_published_scores(
    shared: Path, kind: str, precision: ops.Precision, largest: float, median: float
) -> None:
    model, record, inputs, expected = published(shared, kind)
    with torch.no_grad():
        evidence = ops.additive_cnn(inputs, model.members[0].networks(), precision=precision)
        found = model.contributions_of(inputs, precision=precision)
    assert torch.equal(found, torch.tanh(evidence))
    off = np.abs(found.numpy() - expected["contributions"])
    assert off.max() <= (2e-6 if precision == "exact" else 1e-3)
    assert_scores(model, record, found, expected, largest, median)


def _rounded(values: Tensor) -> Tensor:
    return values.half().float()


def _as_on_a_gpu(x: Tensor, network: ops.CnnNetwork) -> Tensor:
    """One network with the roundings of "fast" on a GPU."""
    for b, block in enumerate(network.blocks):
        for i, (kernels, bias) in enumerate(zip(block.kernels, block.biases, strict=True)):
            if b == i == 0:
                x = _rounded(F.conv2d(x, kernels, bias, padding=1).relu())
                continue
            x = _rounded(F.conv2d(x, _rounded(kernels), padding=1)) + bias[:, None, None]
            x = x.relu() if i + 1 == len(block.kernels) else _rounded(x.relu())
        x = F.max_pool2d(x, 2)
        x = _rounded(F.batch_norm(x, block.mean, block.variance, block.weight, block.bias, eps=block.eps))
    (weight, bias), *others = network.linears
    x = F.linear(x.flatten(1), _rounded(weight), bias)
    for weight, bias in others:
        x = F.linear(x.relu(), weight, bias)
    return x


@pytest.mark.parametrize("kind", KINDS)
def test_published_scores_with_the_roundings_of_a_gpu(shared: Path, kind: str) -> None:
    model, record, inputs, expected = published(shared, kind)
    networks = model.members[0].networks()
    with torch.no_grad():
        found = torch.tanh(torch.stack([_as_on_a_gpu(inputs[:, g : g + 1], net) for g, net in enumerate(networks)], 1))
    assert_scores(model, record, found, expected, 2e-3, 2e-4)


@pytest.mark.cuda
@pytest.mark.parametrize("kind", KINDS)
def test_published_scores_on_a_gpu(shared: Path, cuda_native: BackendUnderTest, kind: str) -> None:
    model, record, inputs, expected = published(shared, kind)
    with torch.no_grad():
        found = model.to(cuda_native.device).contributions_of(inputs.to(cuda_native.device), precision="fast").cpu()
    assert_scores(model, record, found, expected, 2e-3, 2e-4)


@pytest.mark.parametrize(("base", "hidden", "size"), [(32, 64, (128, 128)), (16, 32, (50, 70))])
def test_modules_of_the_published_form(base: int, hidden: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = EPUCNN(["a", "b", "c"], size=size, base_channels=base, hidden_units=hidden, map_sd=[0.5] * 4)
    maps = torch.rand(1, 4, *size)
    with torch.no_grad():
        for _ in range(3):
            model.train()(maps.expand(2, -1, -1, -1))  # statistics
        model.eval()
        expected = torch.stack([net(maps[:, i : i + 1] / 0.5) for i, net in enumerate(model.subnets)], 1)
        exact = model.contributions_of(maps, "evidence")
        fast = model.contributions_of(maps, "evidence", precision="fast")
    size_of = float(expected.abs().max())
    assert float((exact - expected).abs().max()) <= 3e-6 * size_of
    assert float((fast - expected).abs().max()) <= 1e-3 * size_of
