"""What holds for every additive model, whatever its weights are."""

from __future__ import annotations

import copy
import gc
import math
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import iuscore.ops
from iuscore.errors import UserError
from iuscore.models import EPUCNN, SPACES, AdditiveModel, Ensemble, flops
from iuscore.models.epu import PUBLISHED_SIZES
from iuscore.scoring.similarity import ius

TWO = ("benign", "malignant")
THREE = ("a", "b", "c")


def small(classes: tuple[str, ...] = TWO, *, seed: int = 0, size: tuple[int, int] = (16, 16), **options: Any) -> EPUCNN:
    torch.manual_seed(seed)
    model = EPUCNN(classes, size=size, base_channels=2, hidden_units=4, **options)
    for module in model.modules():
        # batch statistics as after training: at their initial 0 and 1 a swapped order would not show
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 2.0)
    return model.eval()


def maps(model: AdditiveModel, count: int = 5, *, seed: int = 1) -> Tensor:
    size = model.size if isinstance(model, EPUCNN) else model.members[0].size
    return torch.rand(count, 4, *size, generator=torch.Generator().manual_seed(seed))


MODELS = {
    "two classes": lambda: small(),
    "three classes": lambda: small(THREE),
    "gray, not square, odd": lambda: small(size=(9, 23), color="gray", mode="published"),
    "least size": lambda: small(size=(8, 8)),
    "ensemble": lambda: Ensemble([small(seed=seed) for seed in range(3)]),
    "ensemble of three classes": lambda: Ensemble([small(THREE, seed=seed) for seed in range(2)]),
}


@pytest.fixture(params=MODELS.values(), ids=MODELS.keys())
def model(request: pytest.FixtureRequest) -> AdditiveModel:
    return request.param()


class TestAdditiveModel:
    def test_logits_are_bias_plus_contributions(self, model: AdditiveModel) -> None:
        inputs = maps(model)
        parts = model.contributions_of(inputs)
        assert parts.shape == (5, len(model.components), model.n_outputs)
        torch.testing.assert_close(model(inputs), model.bias + parts.sum(dim=1), rtol=0, atol=1e-6)

    def test_paper_contributions_lie_in_the_range_of_tanh(self, model: AdditiveModel) -> None:
        assert model.contributions_of(maps(model)).abs().max() <= 1

    def test_batch_size_does_not_matter(self, model: AdditiveModel) -> None:
        inputs = maps(model, 7)
        whole = model.contributions_of(inputs, "evidence")
        for batch in (1, 3):
            parts = [model.contributions_of(chunk, "evidence") for chunk in inputs.split(batch)]
            torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-6)

    def test_an_empty_batch_has_empty_logits(self, model: AdditiveModel) -> None:
        assert model(maps(model, 0)).shape == (0, model.n_outputs)

    def test_nan_image_is_nan_and_leaves_the_others_alone(self, model: AdditiveModel) -> None:
        inputs = maps(model)
        broken = inputs.clone()
        broken[2] = math.nan
        parts = model.contributions_of(broken)
        assert parts[2].isnan().all()
        keep = [0, 1, 3, 4]
        torch.testing.assert_close(parts[keep], model.contributions_of(inputs)[keep], rtol=0, atol=0)

    def test_probabilities_are_sigmoid_or_softmax_of_the_logits(self, model: AdditiveModel) -> None:
        logits = model(maps(model))
        found = model.probabilities(logits)
        assert found.shape == (5, len(model.classes))
        torch.testing.assert_close(found.sum(dim=1), torch.ones(5))
        if model.n_outputs == 1:
            torch.testing.assert_close(found[:, 1], torch.sigmoid(logits[:, 0]))
        else:
            torch.testing.assert_close(found, torch.softmax(logits, dim=1))

    def test_column_of_a_class(self, model: AdditiveModel) -> None:
        columns = [model.target_column(name) for name in model.classes]
        assert columns == ([0, 0] if model.n_outputs == 1 else [0, 1, 2])
        with pytest.raises(UserError, match=f"no class 'x': the model knows {', '.join(model.classes)}"):
            model.target_column("x")

    def test_config_rebuilds_the_module(self, model: AdditiveModel) -> None:
        other = type(model).from_config(model.config()).eval()
        other.load_state_dict(model.state_dict())
        torch.testing.assert_close(other(maps(model)), model(maps(model)), rtol=0, atol=0)
        assert (other.classes, other.components) == (model.classes, model.components)

    def test_nothing_is_left_over_from_a_forward(self, model: AdditiveModel) -> None:
        before = {name: set(vars(module)) for name, module in model.named_modules()}
        inputs = maps(model).requires_grad_()
        logits = model(inputs)
        watched = weakref.ref(logits)
        twin = copy.deepcopy(model)
        torch.testing.assert_close(twin(inputs), logits, rtol=0, atol=0)
        del logits
        gc.collect()
        assert watched() is None
        assert {name: set(vars(module)) for name, module in model.named_modules()} == before
        buffers = {id(t) for t in [*model.parameters(), *model.buffers()]}
        held = [v for m in model.modules() for v in vars(m).values() if isinstance(v, Tensor)]
        assert all(id(tensor) in buffers for tensor in held)

    def test_gradient_reaches_inputs_and_all_parameters(self, model: AdditiveModel) -> None:
        inputs = maps(model).requires_grad_()
        column = model.contributions_of(inputs, "evidence")[..., -1]
        ius(torch.tensor([0.5, -0.25, 1.0, 0.125]), column).sum().backward()
        assert inputs.grad is not None
        assert inputs.grad.isfinite().all()
        assert inputs.grad.abs().sum() > 0
        model(inputs).sum().backward()
        assert all(p.grad is not None for p in model.parameters())

    def test_an_unknown_space_is_refused(self, model: AdditiveModel) -> None:
        with pytest.raises(UserError, match="space: expected one of paper, evidence, got 'tanh'"):
            model.contributions_of(maps(model), "tanh")  # type: ignore[arg-type]

    def test_logits_of_another_shape_are_refused(self, model: AdditiveModel) -> None:
        with pytest.raises(ValueError, match=r"logits: expected \[B, "):
            model.probabilities(torch.zeros(5, 7))


class TestEPUCNN:
    @pytest.mark.parametrize("classes", [TWO, THREE])
    def test_paper_is_tanh_of_evidence(self, classes: tuple[str, ...]) -> None:
        model = small(classes)
        evidence = model.contributions_of(maps(model), "evidence")
        assert torch.equal(torch.tanh(evidence), model.contributions_of(maps(model), "paper"))

    def test_component_sees_its_own_map_only(self) -> None:
        model = small()
        inputs = maps(model)
        changed = inputs.clone()
        changed[:, 2] = 0
        same = (model.contributions_of(inputs) == model.contributions_of(changed)).all(dim=0)[:, 0]
        assert same.tolist() == [True, True, False, True]

    @pytest.mark.parametrize("color", ["color", "gray"])
    def test_images_become_the_maps_of_the_model(self, color: Any) -> None:
        model = small(size=(9, 23), color=color, mode="published")
        assert model.components == iuscore.ops.COMPONENTS[color]
        images = torch.randint(0, 256, (3, 20, 30, 3), dtype=torch.uint8)
        inputs = iuscore.ops.perceptual_maps(images, kind=color, mode="published", size=(9, 23))
        assert torch.equal(model.prepare(images), inputs)
        expected = model.contributions_of(inputs, "evidence")
        assert torch.equal(model.contributions(images, "evidence"), expected)
        assert torch.equal(Ensemble([model]).contributions(images, "evidence"), expected)
        planes = images.permute(0, 3, 1, 2)
        assert torch.equal(model.contributions(planes, "evidence", layout="NCHW"), expected)
        assert model.double().contributions(images).dtype == torch.float64

    def test_operations_at_the_published_size(self) -> None:
        base, hidden = PUBLISHED_SIZES[0]
        with torch.device("meta"):
            model = EPUCNN(TWO, size=(128, 128), base_channels=base, hidden_units=hidden)
        assert round(flops(model) / 1e9, 2) == 24.25

    @pytest.mark.parametrize("size", [(16, 16), (9, 23)])
    def test_operations_are_what_torch_counts(self, size: tuple[int, int]) -> None:
        from torch.utils.flop_counter import FlopCounterMode

        model = small(THREE, size=size)
        with FlopCounterMode(display=False) as counter:
            model(maps(model, 1))
        assert flops(model) == counter.get_total_flops()

    def test_dropout_acts_in_training_only(self) -> None:
        model = small()
        inputs = maps(model)
        assert torch.equal(model(inputs), model(inputs))
        model.train()
        assert not torch.equal(model(inputs), model(inputs))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"classes": ["a"]}, "classes: expected at least two class names, got"),
            ({"classes": "ab"}, "classes: expected at least two class names, got 'ab'"),
            ({"classes": ["a", ""]}, "classes: expected at least two class names"),
            ({"classes": ["a", "a"]}, "classes: expected different names, got a, a"),
            ({"color": "rgb"}, "color: expected one of color, gray, got 'rgb'"),
            ({"mode": "raw"}, "mode: expected one of clean, published, got 'raw'"),
            ({"mode": "paper"}, r"published, got 'paper'; did you mean 'published'\?"),
            ({"size": (7, 128)}, r"size: expected \(height, width\), each at least 8, got \(7, 128\)"),
            ({"size": 128}, r"size: expected \(height, width\), each at least 8, got 128"),
            ({"size": (8.0, 8.0)}, r"size: expected \(height, width\)"),
            ({"base_channels": 0}, "base_channels: expected an integer of at least 1, got 0"),
            ({"hidden_units": True}, "hidden_units: expected an integer of at least 1, got True"),
        ],
    )
    def test_options_out_of_range_are_refused(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(UserError, match=message):
            EPUCNN(**{"classes": TWO, **options})

    def test_inputs_of_another_size_are_refused(self) -> None:
        expected = r"inputs: expected maps \[B, 4, 16, 16\], got \[2, 4, 16, 24\]"
        with pytest.raises(ValueError, match=expected):
            small().contributions_of(torch.zeros(2, 4, 16, 24))

    def test_a_configuration_with_an_unknown_key_is_refused(self) -> None:
        config = small().config()
        with pytest.raises(UserError, match="kind 'epu' has no depth"):
            EPUCNN.from_config({**config, "depth": 3})
        del config["size"]
        with pytest.raises(UserError, match="kind 'epu' needs size"):
            EPUCNN.from_config(config)


class TestEnsemble:
    @pytest.mark.parametrize("space", SPACES)
    def test_contributions_are_the_mean_over_the_members(self, space: Any) -> None:
        parts = [small(THREE, seed=seed) for seed in range(3)]
        model = Ensemble(parts)
        inputs = maps(model)
        each = torch.stack([part.contributions_of(inputs, space) for part in parts])
        assert torch.equal(model.member_contributions(inputs, space), each)
        torch.testing.assert_close(model.contributions_of(inputs, space), each.mean(dim=0), rtol=0, atol=0)
        torch.testing.assert_close(model.bias, sum(part.bias for part in parts) / 3)
        torch.testing.assert_close(model(inputs), torch.stack([part(inputs) for part in parts]).mean(dim=0))

    def test_an_ensemble_of_one_equals_its_member(self) -> None:
        part = small()
        model = Ensemble([part])
        assert torch.equal(model(maps(part)), part(maps(part)))
        assert torch.equal(model.bias, part.bias)

    def test_members_of_another_configuration_are_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one model, none of them an ensemble"):
            Ensemble([])
        with pytest.raises(ValueError, match="at least one model, none of them an ensemble"):
            Ensemble([Ensemble([small()])])
        with pytest.raises(ValueError, match="one kind and configuration, but member 1 is epu"):
            Ensemble([small(), small(size=(8, 8))])
