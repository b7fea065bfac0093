"""Both models of the published implementation, imported, against the values it gave itself.

Source: github innoisys/ius, commit 2561846, torch 2.13.0 on a CPU; see reference/README.md beside
the files. Most tests read the maps too, so that they test the model and the measure only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from iuscore.models import Ensemble, import_reference, load_model, save_model
from iuscore.ops import degenerate_maps, perceptual_maps
from iuscore.scoring.similarity import ius, shares

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = next(
    (place for place in (ROOT / "shared/reference", ROOT.parent / "shared/reference") if place.is_dir()), None
)
TOLERANCE = 1e-5

pytestmark = pytest.mark.skipif(REFERENCE is None, reason="no shared/reference beside or in the repository")


class Case:
    """One imported model, the maps it was run on and what came out."""

    def __init__(self, kind: str) -> None:
        assert REFERENCE is not None
        self.folder = REFERENCE / f"epu_{kind}"
        self.model, self.record = import_reference(self.folder)
        with np.load(self.folder / "expected.npz") as file:
            self.expected: dict[str, Any] = dict(file)
        with np.load(REFERENCE / "perceptual_maps.npz") as file:
            maps = [file[f"{name}/{kind}"] for name in self.expected["keys"]]
            self.images = [file[f"{name}/image"] for name in self.expected["keys"]]
        self.inputs = torch.from_numpy(np.stack(maps))


@pytest.fixture(scope="module", params=["rgb", "gray"])
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def close(found: torch.Tensor, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=0, atol=TOLERANCE)


def test_contributions_logits_and_bias_are_the_published_ones(case: Case) -> None:
    close(case.model.contributions_of(case.inputs), case.expected["contributions"])
    close(case.model(case.inputs), case.expected["logits"])
    close(case.model.bias, case.expected["bias"])


def test_single_images_have_the_published_contributions(case: Case) -> None:
    found = torch.cat([case.model.contributions_of(image[None]) for image in case.inputs])
    close(found, case.expected["contributions"])


def test_images_become_the_published_contributions(case: Case) -> None:
    kind = "gray" if case.folder.name == "epu_gray" else "color"
    inputs, ranges = perceptual_maps(case.images, kind=kind, mode="published", return_ranges=True)
    # a degenerate map is rounding noise stretched to full range, and the noise differs between implementations
    sound = ~degenerate_maps(ranges, kind=kind).any(dim=1)
    assert sound.sum() >= 10
    assert torch.equal(case.model.prepare(case.images), inputs)
    found = case.model.contributions(case.images)[sound]
    close(found, case.expected["contributions"][sound.numpy()])
    close(case.model(inputs)[sound], case.expected["logits"][sound.numpy()])


def test_ius_of_both_classes_is_the_published_one(case: Case) -> None:
    profiles = case.record.profiles
    column = case.model.contributions_of(case.inputs)[..., 0]
    for name in case.model.classes:
        baseline = torch.tensor(profiles["paper"][name].mean)
        close(baseline, case.expected[f"baseline_{name}"][:, 0])
        close(ius(baseline, column), case.expected[f"ius_{name}"])
        close(shares(baseline, column).sum(dim=1), case.expected[f"ius_{name}"])
        held_out = torch.from_numpy(case.expected["test_contributions"])[..., 0]
        close(ius(baseline, held_out), case.expected[f"test_ius_{name}"])


def test_the_published_configuration_is_imported(case: Case) -> None:
    gray = case.folder.name == "epu_gray"
    member = case.model.config()["model"]
    assert member == {
        "classes": ["benign", "malignant"] if gray else ["rbc", "wbc"],
        "color": "gray" if gray else "color",
        "mode": "published",
        "size": [128, 128],
        "base_channels": 8,
        "hidden_units": 16,
        "map_mean": [0.0] * 4,
        "map_sd": [1.0] * 4,
    }
    assert isinstance(case.model, Ensemble)
    assert not case.model.training
    for profile in case.record.profiles["paper"].values():
        assert (profile.n, profile.sd, profile.low, profile.high) == (None, None, None, None)
    assert case.record.ceiling == case.record.floor == {}


def test_an_imported_model_loads_with_the_same_bits(case: Case, tmp_path: Path) -> None:
    save_model(tmp_path, case.model, record=case.record)
    model, record = load_model(tmp_path)
    assert torch.equal(model(case.inputs), case.model(case.inputs))
    assert record.profiles == case.record.profiles
