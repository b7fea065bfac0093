"""Perceptual relevance maps against their definition with scikit-image's threshold and entropy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.filters import threshold_yen
from skimage.measure import shannon_entropy

from iuscore import phantoms
from iuscore.explain.relevance import relevance_maps, yen_threshold
from iuscore.models import EPUCNN, AdditiveModel, Ensemble, TextureModel

SIZE = (24, 32)


def model(members: int = 1) -> Ensemble:
    found: list[AdditiveModel] = []
    for seed in range(members):
        torch.manual_seed(seed)
        member = EPUCNN(["a", "b"], size=SIZE, base_channels=4, hidden_units=4, map_mean=(0.4, 0.5, 0.1, 0.5))
        for module in member.modules():  # statistics as after training, not 0 and 1
            if isinstance(module, torch.nn.BatchNorm2d):
                module.get_buffer("running_mean").uniform_(0, 0.2)
                module.get_buffer("running_var").uniform_(0.5, 2)
        found.append(member)
    return Ensemble(found).eval()


def inputs(ensemble: Ensemble, n: int = 3) -> torch.Tensor:
    return ensemble.prepare(phantoms.draw("endoscopy", "abnormal", n, size=40, seed=1), "NHWC")


@pytest.mark.parametrize("seed", range(20))
def test_the_threshold_is_that_of_scikit_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = np.clip(rng.normal(rng.uniform(20, 200), rng.uniform(1, 60), (30, 40)), 0, 255).astype(np.uint8)
    codes[: rng.integers(1, 20)] = rng.integers(0, 255)
    assert yen_threshold(codes) == threshold_yen(codes)
    assert yen_threshold(np.full((3, 3), 9, np.uint8)) == 9


@torch.no_grad()
def by_hand(
    ensemble: Ensemble, image: torch.Tensor, component: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The definition, with the outputs of the second block taken by a hook of PyTorch's."""
    raw = []
    for member in ensemble.members:
        subnet = member.subnets[component]  # type: ignore[index]
        kept: list[torch.Tensor] = []
        hook = subnet.blocks[1].convs[1].register_forward_hook(lambda m, i, out, kept=kept: kept.append(out))
        subnet((image[None, component : component + 1] - member.map_mean[component]) / member.map_sd[component])
        hook.remove()
        channels = torch.relu(kept[0])[0].double().numpy()
        scaled = [(c - c.min()) / (c.max() - c.min()) if c.max() > c.min() else 0 * c for c in channels]
        entropies = [shannon_entropy(c) for c in scaled]
        order = sorted(range(len(scaled)), key=lambda i: (-entropies[i], i))[: len(scaled) // 2]
        raw.append(np.floor(np.mean([255 * scaled[i] for i in order], axis=0)))
    large = F.interpolate(torch.from_numpy(np.mean(raw, axis=0))[None, None], SIZE, mode="bicubic")[0, 0].numpy()
    codes = np.floor(255 * (large - large.min()) / (large.max() - large.min())).astype(np.uint8)
    found: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = (codes > threshold_yen(codes)) * codes / 255.0
    return found


@pytest.mark.parametrize("members", [1, 2])
def test_maps_follow_the_published_definition(members: int) -> None:
    ensemble = model(members)
    given = inputs(ensemble, 1)
    found = relevance_maps(ensemble, given)
    assert found.shape == (1, 4, *SIZE)
    for i in range(4):
        np.testing.assert_allclose(found[0, i], by_hand(ensemble, given[0], i), atol=1.5 / 255)
        assert 0 < (found[0, i] > 0).mean() < 1


def test_maps_do_not_depend_on_the_batch() -> None:
    ensemble = model(2)
    given = inputs(ensemble)
    together = relevance_maps(ensemble, given)
    for i in range(len(given)):
        assert np.array_equal(together[i], relevance_maps(ensemble, given[i : i + 1])[0])


def test_an_image_without_finite_maps_has_no_relevance() -> None:
    given = torch.full((1, 4, *SIZE), torch.nan)
    assert (relevance_maps(model(), given) == 0).all()


def test_another_kind_of_model_is_refused() -> None:
    texture = Ensemble([TextureModel(["a", "b"], color="gray", size=(16, 16))])
    with pytest.raises(ValueError, match="expected a model of kind 'epu', got 'texture'"):
        relevance_maps(texture, torch.zeros(1, 4, 16, 16))
