"""The texture model: additive whatever its weights, centered without changing a logit, and kept like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from iuscore import Scorer, UserError, phantoms
from iuscore.features import FEATURES, GROUPS, texture_features
from iuscore.models import AdditiveModel, Ensemble, ModelRecord, TextureModel, load_model, save_model
from iuscore.models.record import Profile
from iuscore.ops import Kind
from tests.fixtures import write_record

N = len(FEATURES["gray"])


def model_of(classes: str = "ab", seed: int = 0, **options: Any) -> TextureModel:
    torch.manual_seed(seed)
    options = {"color": "gray", "size": (32, 32), "feature_mean": [0.25] * N, "feature_sd": [0.5] * N, **options}
    return TextureModel(list(classes), **options).eval()


def inputs(n: int = 6, seed: int = 0) -> Tensor:
    return torch.rand(n, N, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("heads", ["linear", "tanh"])
@pytest.mark.parametrize("classes", ["ab", "abc"])
def test_logits_are_the_bias_and_the_contributions(heads: str, classes: str) -> None:
    model = model_of(classes, heads=heads)
    c = model.contributions_of(inputs())
    assert c.shape == (6, len(GROUPS["gray"]), 1 if classes == "ab" else 3)
    torch.testing.assert_close(model(inputs()), model.bias + c.sum(1))
    evidence = model.contributions_of(inputs(), "evidence")
    assert torch.equal(c, evidence.tanh() if heads == "tanh" else evidence)


def test_a_group_sees_its_own_features_only() -> None:
    model, x = model_of(), inputs(1)
    for i, feature in enumerate(FEATURES["gray"]):
        moved = x.clone()
        moved[0, i] += 0.3
        changed = (model.contributions_of(moved) != model.contributions_of(x))[0, :, 0].nonzero()[:, 0].tolist()
        assert changed in ([], [GROUPS["gray"].index(feature.group)]), feature.name


def test_far_values_count_as_three_standard_deviations() -> None:
    model = model_of()
    near, far = torch.full((1, N), 0.25 + 3 * 0.5), torch.full((1, N), 1e6)
    assert torch.equal(model.contributions_of(near), model.contributions_of(far))
    assert not torch.equal(model.contributions_of(near - 0.1), model.contributions_of(far))
    assert model.contributions_of(torch.full((1, N), torch.nan)).isnan().all()


def test_linear_heads_are_unbounded() -> None:
    model = model_of()
    with torch.no_grad():
        model.get_parameter("w3").mul_(100)
    assert model.contributions_of(inputs()).abs().max() > 2
    tanh = model_of(heads="tanh")
    with torch.no_grad():
        tanh.get_parameter("w3").mul_(100)
    assert tanh.contributions_of(inputs()).abs().max() <= 1


@pytest.mark.parametrize("classes", ["ab", "abc"])
def test_centering_makes_the_means_over_classes_zero(classes: str) -> None:
    """Means over classes become 0, whatever the number of images of each, and no logit changes."""
    model, x = model_of(classes), inputs(40)
    labels = torch.arange(40) % 7 % len(classes)
    before = model(x)
    model.center(x, labels)
    torch.testing.assert_close(model(x), before, rtol=1e-5, atol=1e-5)
    c = model.contributions_of(x)
    means = torch.stack([c[labels == k].mean(0) for k in range(len(classes))])
    assert means.mean(0).abs().max() < 1e-5
    assert c.mean(0).abs().max() > 1e-3  # the classes are not of one size
    tanh = model_of(classes, heads="tanh")
    state = {name: value.clone() for name, value in tanh.state_dict().items()}
    tanh.center(x, labels)
    assert all(torch.equal(value, state[name]) for name, value in tanh.state_dict().items())


def test_dropout_is_for_training_only() -> None:
    model = model_of(dropout=0.5)
    assert torch.equal(model(inputs()), model(inputs()))
    model.train()
    assert not torch.equal(model(inputs()), model(inputs()))
    model.center(inputs(), torch.tensor([0, 1] * 3))
    assert model.training
    assert model.eval().contributions_of(inputs()).mean(0).abs().max() < 1e-5


def test_every_weight_learns() -> None:
    model = model_of(dropout=0.0).train()
    model(inputs(64)).pow(2).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.filterwarnings("ignore:images. expected:UserWarning")
def test_values_that_were_clamped_are_no_constant_image() -> None:
    """Clamping makes floats of 20 to 250 all 1, and bytes in 16 bits all 0; still the images are not of one color."""
    model = model_of()
    ramp = np.linspace(20, 250, 48, dtype=np.float32).repeat(48).reshape(1, 48, 48, 1)
    clamped = "values from 20 to 250 clamped to 0..1: expected floats in [0, 1]"
    for images, said in (
        (ramp, clamped),
        (-ramp, "values from -250 to -20 clamped to 0..1: expected floats in [0, 1]"),
        (np.full_like(ramp, 7), "values from 7 to 7 clamped to 0..1: expected floats in [0, 1]"),
        (np.full_like(ramp, 0.5), "constant image"),
        (np.full(ramp.shape, 7, np.uint8), "constant image"),
    ):
        assert model.prepare_with_warnings(images, "NHWC")[1] == [(said,)]
        assert model.prepare_with_warnings([images[0]], "NHWC")[1] == [(said,)]
    assert model.prepare_with_warnings(ramp / 255, "NHWC")[1] == [()]
    few = np.linspace(0, 120, 48).astype(np.uint16).repeat(48).reshape(1, 48, 48, 1)
    assert model.prepare_with_warnings(few, "NHWC")[1] == [("expected uint16 in 0..65535, got 0 to 120",)]


def test_the_model_measures_as_the_features_say() -> None:
    images = phantoms.draw("radiograph", "abnormal", 3, size=48)
    model = model_of()
    assert torch.equal(model.prepare(images), texture_features(images, kind="gray", size=(32, 32)))
    images[1] = 7
    prepared, warnings = model.prepare_with_warnings(images)
    assert warnings == [(), ("constant image",), ()]
    assert prepared.shape == (3, *model.input_shape)


@pytest.mark.parametrize("color", ["color", "gray"])
def test_the_configuration_rebuilds_the_model(color: Kind) -> None:
    n = len(FEATURES[color])
    model = TextureModel(["a", "b"], color=color, size=(40, 24), heads="tanh", hidden_units=6, dropout=0.1,
                         feature_mean=np.linspace(0, 1, n).tolist(), feature_sd=[2.0] * n)  # fmt: skip
    again = TextureModel.from_config(model.config())
    assert again.config() == model.config()
    assert set(again.state_dict()) == set(model.state_dict())
    assert TextureModel(["a", "b"], color=color).config()["feature_sd"] == [1.0] * n


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"color": "blue"}, "color: expected one of color, gray, got 'blue'"),
        ({"heads": "relu"}, "heads: expected one of linear, tanh, got 'relu'"),
        ({"size": (7, 32)}, r"size: expected \(height, width\), each at least 8, got \(7, 32\)"),
        ({"hidden_units": 1}, "hidden_units: expected an integer of at least 2, got 1"),
        ({"dropout": 1}, r"dropout: expected a number in \[0, 1\), got 1"),
        ({"feature_mean": [0.0]}, f"feature_mean: expected {N} numbers, got 1 values"),
        ({"feature_sd": [0.0] * N}, f"feature_sd: expected {N} positive numbers, got {N} values"),
        ({"feature_sd": 1.0}, f"feature_sd: expected {N} positive numbers, got 1.0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=f"^{text}$"):
        model_of(**options)


def test_inputs_of_another_shape_are_refused() -> None:
    model = model_of()
    with pytest.raises(ValueError, match=rf"inputs: expected features \[B, {N}\], got \[2, 4, 8, 8\]"):
        model.contributions_of(torch.rand(2, 4, 8, 8))
    with pytest.raises(UserError, match="space: expected one of paper, evidence, got 'logit'"):
        model.contributions_of(inputs(), "logit")  # type: ignore[arg-type]


def test_a_saved_model_loads_with_the_same_bits(tmp_path: Path) -> None:
    members: list[AdditiveModel] = [model_of(seed=0), model_of(seed=1)]
    save_model(tmp_path, Ensemble(members), record=ModelRecord())
    loaded, record = load_model(tmp_path)
    assert record.kind == "texture"
    assert record.model == members[0].config()
    assert torch.equal(loaded(inputs()), Ensemble(members)(inputs()))
    record.model["feature_sd"][0] = -1
    write_record(tmp_path, record.to_json())
    with pytest.raises(
        UserError, match=f'"model": feature_sd: expected {N} positive numbers, .* copy the model folder'
    ):
        load_model(tmp_path)


def test_scores_have_no_gradient_to_pixels_and_say_so(tmp_path: Path) -> None:
    ones = (1.0,) * 8
    profile = Profile(ones, sd=None, low=None, high=None, n=None, member_means=(ones,))
    scorer = Scorer(Ensemble([model_of()]), ModelRecord(profiles={"paper": {"a": profile}}))
    pixels = torch.rand(2, 1, 40, 40, requires_grad=True)
    with pytest.raises(UserError, match="a gradient is asked for, but texture features count pixels"):
        scorer(pixels, target="a")
    assert scorer(pixels.detach(), target="a").ius.isfinite().all()
    features = inputs().requires_grad_()
    (gradient,) = torch.autograd.grad(scorer.score_inputs(features, [()] * 6, ["a"] * 6).ius.sum(), features)
    assert gradient.abs().sum() > 0
