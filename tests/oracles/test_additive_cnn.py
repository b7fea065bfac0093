"""`additive_cnn` against what the published implementation gave, in both precisions, and against PyTorch's layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from iuscore import ops
from iuscore.measure import ius
from iuscore.models import EPUCNN, import_reference
from iuscore.profile import profiles_from_json

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("kind", ["rgb", "gray"])
@pytest.mark.parametrize(("precision", "largest", "median"), [("exact", 1e-6, 1e-6), ("fast", 5e-4, 5e-5)])
def test_published_scores(shared: Path, kind: str, precision: ops.Precision, largest: float, median: float) -> None:
    """github innoisys/ius, commit 2561846: contributions and IUS of both classes; base 8, maps of 128x128."""
    model, record = import_reference(shared / "reference" / f"epu_{kind}")
    with np.load(shared / "reference" / f"epu_{kind}" / "expected.npz") as file:
        expected = dict(file)
    with np.load(shared / "reference" / "perceptual_maps.npz") as file:
        inputs = torch.from_numpy(np.stack([file[f"{name}/{kind}"] for name in expected["keys"]]))
    with torch.no_grad():
        evidence = ops.additive_cnn(inputs, model.members[0].networks(), precision=precision)  # type: ignore[operator]
        found = model.contributions_of(inputs, precision=precision)
    assert torch.equal(found, torch.tanh(evidence))
    off = np.abs(found.numpy() - expected["contributions"])
    assert off.max() <= (2e-6 if precision == "exact" else 1e-3)
    profiles = profiles_from_json(record["profiles"], classes=model.classes, components=model.components)
    for name in model.classes:
        scores = ius(torch.tensor(profiles["paper"][name].mean), found[..., 0])
        wrong = np.abs(scores.numpy() - expected[f"ius_{name}"])
        assert wrong.max() <= largest
        assert np.median(wrong) <= median


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
