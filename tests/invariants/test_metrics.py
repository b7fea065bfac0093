"""The metric is the scorer's mean, however the images are batched, ordered, divided among metrics and copied."""

from __future__ import annotations

import copy
import io
import math
import pickle
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics import MetricCollection

import iuscore
from iuscore import metrics, phantoms
from iuscore.metrics import UtilitySimilarity
from iuscore.models import SPACES, Ensemble, TextureModel
from iuscore.models.base import Space
from iuscore.models.record import QUANTILES, HeldOut, ModelRecord
from iuscore.scoring import Scorer
from iuscore.scoring.baseline import baseline_profiles
from tests.invariants.test_scorer import IMAGES, make_scorer

pytestmark = pytest.mark.usefixtures("one_thread")

PIXELS = torch.from_numpy(IMAGES)
CEILINGS = {"a": 0.75, "b": 0.5}
TOLERANCE = 1e-5
"""Of an image's score in another batch; the sums themselves are in double."""


def with_ceilings(scorer: Scorer, ceilings: dict[str, float] = CEILINGS) -> Scorer:
    quantiles = [str(quantile) for quantile in QUANTILES]
    found = {name: HeldOut(3, mean, dict.fromkeys(quantiles, mean)) for name, mean in ceilings.items()}
    return Scorer(scorer.model, replace(scorer.record, ceiling=dict.fromkeys(SPACES, found)), space=scorer.space)


SCORER = with_ceilings(make_scorer())
SCORES = {name: SCORER(IMAGES, target=name) for name in SCORER.classes}


def texture_scorer() -> Scorer:
    torch.manual_seed(1)
    model = Ensemble([TextureModel(["a", "b"], size=(16, 16))]).eval()
    with torch.no_grad():
        found = model.member_contributions(model.prepare(phantoms.draw("endoscopy", "normal", 6, size=16, seed=9)))
    profiles = baseline_profiles(found, np.arange(6) % 2, classes=("a", "b"))
    return Scorer(model, ModelRecord(profiles={"paper": profiles}))


def metric_of(images: Tensor = PIXELS, target: str = "a", **options: Any) -> UtilitySimilarity:
    metric = UtilitySimilarity(SCORER, target, **options)
    metric.update(images)
    return metric


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = TOLERANCE) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=tolerance, equal_nan=True, msg=name)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("target", ["a", "b", list("abbabab"), torch.tensor([0, 1, 1, 0, 1, 0, 1])])
def test_is_the_mean_of_the_scores(space: Space, members: int, target: Any) -> None:
    scorer = with_ceilings(make_scorer(members=members, space=space))
    metric = UtilitySimilarity(scorer, batch_size=3)
    metric.update(PIXELS, target=target)
    values = {name: float(value) for name, value in metric.compute().items()}
    names = ["ab"[i] for i in target.tolist()] if isinstance(target, Tensor) else target
    scores = scorer(IMAGES, target=names)
    ius = scores.ius.double().numpy()
    assert values["ius"] == pytest.approx(ius.mean(), abs=TOLERANCE)
    assert values["ius_se"] == pytest.approx(ius.std(ddof=1) / math.sqrt(len(ius)), abs=TOLERANCE)
    ceiling = np.mean([CEILINGS[name] for name in scores.target])
    assert values["below_ceiling"] == pytest.approx(ceiling - ius.mean(), abs=TOLERANCE)
    assert (values["scored"], values["left_out"]) == (7, 0)
    for g, name in enumerate(scorer.components):
        assert values[f"share/{name}"] == pytest.approx(float(scores.shares[:, g].mean()), abs=TOLERANCE)
        assert values[f"contribution/{name}"] == pytest.approx(float(scores.contributions[:, g].mean()), abs=TOLERANCE)
    assert sum(v for name, v in values.items() if name.startswith("share/")) == pytest.approx(values["ius"], abs=1e-6)


@given(st.permutations(range(len(IMAGES))), st.lists(st.integers(0, len(IMAGES)), max_size=5), st.integers(1, 9))
def test_order_batches_and_merging_change_nothing(order: list[int], cuts: list[int], batch_size: int) -> None:
    """Batches may be empty, and each may be in a metric of its own."""
    ends = [0, *sorted(cuts), len(IMAGES)]
    batches = [PIXELS[order[start:end]] for start, end in pairwise(ends)]
    together = UtilitySimilarity(SCORER, "a", batch_size=batch_size)
    merged = UtilitySimilarity(SCORER, "a")
    for batch in batches:
        together.update(batch)
        merged.merge_state(metric_of(batch))
    merged.update(PIXELS[:0])
    assert_same(together.compute(), metric_of().compute())
    assert_same(merged.compute(), metric_of().compute())


def test_merging_into_what_was_computed_and_into_a_fresh_metric() -> None:
    parts = metric_of(PIXELS[:4]), metric_of(PIXELS[4:])
    fresh = UtilitySimilarity(SCORER, "a")
    assert float(parts[0].compute()["scored"]) == 4
    parts[0].merge_state(parts[1])
    assert_same(parts[0].compute(), metric_of().compute())
    fresh.merge_state(parts[0].metric_state)
    assert_same(fresh.compute(), parts[0].compute(), 0)


def test_sums_are_exact_where_the_scores_are_the_same() -> None:
    """The mean of a thousand equal images is their score, and the standard error is 0."""
    metric = metric_of(PIXELS[:1])
    other = metric.clone()
    for _ in range(999):
        metric.merge_state(other)
    values = metric.compute()
    assert float(values["scored"]) == 1000
    assert float(values["ius"]) == float(other.compute()["ius"])
    assert float(values["ius_se"]) < 1e-9


def test_memory_does_not_grow() -> None:
    metric = metric_of()
    sizes = {name: (state.shape, state.dtype) for name, state in metric.metric_state.items()}
    assert sum(state.numel() for state in metric.metric_state.values()) < 30
    stored = len(pickle.dumps(metric))
    for _ in range(30):
        metric.update(PIXELS[:2])
    assert {name: (state.shape, state.dtype) for name, state in metric.metric_state.items()} == sizes
    assert abs(len(pickle.dumps(metric)) - stored) < 100
    assert sizes["sums"][1] == torch.float64


def test_one_image_has_no_standard_error_and_none_has_no_mean() -> None:
    one = metric_of(PIXELS[2:3]).compute()
    assert float(one["ius"]) == pytest.approx(float(SCORES["a"].ius[2]), abs=TOLERANCE)
    assert math.isnan(one["ius_se"])
    none = metric_of(PIXELS[:0]).compute()
    assert (float(none["scored"]), float(none["left_out"])) == (0, 0)
    assert all(math.isnan(value) for name, value in none.items() if name not in ("scored", "left_out"))


def test_not_finite_images_are_left_out_and_counted() -> None:
    pixels = PIXELS.float() / 255
    pixels[2, 3, 4, 0] = math.nan
    pixels[5, 0, 0, 2] = -math.inf
    for scorer in (SCORER, texture_scorer()):
        metric, expected = UtilitySimilarity(scorer, "a"), UtilitySimilarity(scorer, "a")
        metric.update(pixels)
        expected.update(pixels[[0, 1, 3, 4, 6]])
        found = metric.compute()
        assert (float(found["scored"]), float(found["left_out"])) == (5, 2)
        assert_same({**found, "left_out": torch.tensor(0.0)}, expected.compute())


def test_an_unknown_ceiling_gives_nan() -> None:
    unknown = UtilitySimilarity(make_scorer(), "a")
    unknown.update(PIXELS)
    assert "below_ceiling" not in unknown.compute()
    partly = UtilitySimilarity(with_ceilings(make_scorer(), {"a": 0.75}))
    partly.update(PIXELS, target="a")
    assert math.isfinite(partly.compute()["below_ceiling"])
    partly.update(PIXELS, target="b")
    assert math.isnan(partly.compute()["below_ceiling"])
    assert math.isfinite(partly.compute()["ius"])


def test_reset_begins_anew_and_components_can_be_left_out() -> None:
    metric = metric_of(components=False)
    assert list(metric.compute()) == ["ius", "ius_se", "below_ceiling", "scored", "left_out"]
    metric.reset()
    metric.update(PIXELS[:3])
    assert_same(metric.compute(), metric_of(PIXELS[:3], components=False).compute(), 0)


def test_calling_gives_the_value_of_the_batch_and_adds_it() -> None:
    metric = UtilitySimilarity(SCORER, "a")
    for start in (0, 3):
        batch = PIXELS[start : start + 4]
        assert_same(metric(batch), metric_of(batch).compute(), 0)
    assert float(metric.compute()["scored"]) == 8


def test_copies_share_the_model_and_nothing_else() -> None:
    metric = metric_of()
    before = metric.compute()
    for other in (metric.clone(), copy.deepcopy(metric), MetricCollection([metric]).clone()["UtilitySimilarity"]):
        assert other.scorer is SCORER
        assert_same(other.compute(), before, 0)
        other.update(PIXELS[:1])
    assert_same(metric.compute(), before, 0)
    assert list(metric.parameters()) == list(metric.buffers()) == list(metric.children()) == []
    assert metric.state_dict() == {}


def test_pickle_brings_the_model_along() -> None:
    other = pickle.loads(pickle.dumps(metric_of(PIXELS[:4])))
    other.update(PIXELS[4:])
    assert_same(other.compute(), metric_of().compute())


def test_sums_go_through_a_checkpoint() -> None:
    metric = metric_of(PIXELS[:4])
    metric.persistent(True)
    file = io.BytesIO()
    torch.save(metric.state_dict(), file)
    file.seek(0)
    other = UtilitySimilarity(SCORER, "a")
    other.load_state_dict(torch.load(file))
    other.update(PIXELS[4:])
    assert_same(other.compute(), metric_of().compute())


def test_gradient_reaches_the_pixels_of_the_batch() -> None:
    pixels = (PIXELS.float() / 255).permute(0, 3, 1, 2)
    metric, direct, through = UtilitySimilarity(SCORER, "a"), pixels.clone(), pixels.clone()
    assert metric.is_differentiable
    value = metric(through.requires_grad_())["ius"]
    (found,) = torch.autograd.grad(value, through)
    (expected,) = torch.autograd.grad(SCORER(direct.requires_grad_(), target="a").ius.mean(), direct)
    assert float(expected.abs().max()) > 0
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-7)
    assert not any(state.requires_grad for state in metric.metric_state.values())
    metric.update(through)
    assert not metric.compute()["ius"].requires_grad


def test_a_model_that_counts_says_so() -> None:
    metric = UtilitySimilarity(texture_scorer(), "a")
    assert not metric.is_differentiable
    assert not metric((PIXELS.float() / 255).requires_grad_())["ius"].requires_grad


def test_precision_of_the_trainer_changes_nothing() -> None:
    metric = UtilitySimilarity(SCORER, "a")
    with torch.autocast("cpu", torch.bfloat16):
        metric.update(PIXELS[:4])
    metric.to(torch.bfloat16).half()
    assert metric.sums.dtype == torch.float64
    metric.update(PIXELS[4:])
    assert_same(metric.compute(), metric_of().compute())
    assert metric.set_dtype(torch.float64).compute()["ius"].dtype == torch.float64


def test_a_gradient_passes_after_validation_in_inference_mode() -> None:
    """Tensors that were made in inference mode cannot take part in a gradient."""
    metric = UtilitySimilarity(SCORER, "a")
    pixels = PIXELS.float() / 255
    with torch.inference_mode():
        metric.update(PIXELS)
    value = metric(pixels.requires_grad_())["ius"]
    assert torch.autograd.grad(value, pixels)[0].isfinite().all()
    assert float(metric.compute()["scored"]) == 14

    moved = Scorer(copy.deepcopy(SCORER.model), SCORER.record)
    with torch.inference_mode():
        moved.score_inputs(torch.zeros(1, *moved.model.input_shape, device="meta"), [()], ["a"])
    assert all(weight.is_meta and not weight.is_inference() for weight in moved.model.parameters())


def test_on_a_device_without_float64_sums_stay_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums stay on the CPU, in float64, and results go to the device; one that is here stands for it."""
    metric, expected = UtilitySimilarity(SCORER, "a"), metric_of()
    monkeypatch.setattr(metrics, "WITHOUT_FLOAT64", ("meta",))
    metric.to("meta")
    assert metric.device.type == "meta"
    for _ in range(2):
        assert metric.sums.device.type == metric.counts.device.type == "cpu"
        metric.update(PIXELS)
        assert torch.equal(metric.sums, expected.sums)
        assert metric.compute()["ius"].is_meta
        assert metric.compute()["ius"].dtype == torch.float32
        metric.reset()
    monkeypatch.undo()
    assert metric.to("meta").sums.is_meta


@pytest.mark.parametrize("first", [PIXELS[:0], torch.full((1, 8, 8, 3), math.nan)])
def test_collection_tells_targets_apart(first: Tensor) -> None:
    """torchmetrics shares the states of metrics that are equal after the first batch, for example empty ones."""
    each = {"a": UtilitySimilarity(SCORER, "a"), "b": UtilitySimilarity(SCORER, "b")}
    collection = MetricCollection({**each, "again": UtilitySimilarity(SCORER, "a")}, prefix="val/")
    collection.update(first)
    assert sorted(map(sorted, collection.compute_groups.values())) == [["a", "again"], ["b"]]
    collection.update(PIXELS)
    values = collection.compute()
    for name in ("a", "b", "again"):
        expected = metric_of(target=name[0]).compute()
        for key in ("ius", "ius_se", "share/coarse-fine"):
            torch.testing.assert_close(values[f"val/{name}_{key}"], expected[key])


def test_masks_of_a_metric_are_those_of_the_scorer() -> None:
    """A model fitted with masks: the mean of the masked scores; pixels outside the masks change nothing."""
    torch.manual_seed(1)
    model = Ensemble([TextureModel(["a", "b"], size=(16, 16), mask="given")]).eval()
    images = torch.from_numpy(phantoms.draw("endoscopy", "normal", 6, size=16, seed=9))
    mask = torch.ones(6, 16, 16, dtype=torch.bool)
    mask[:, :5] = False
    with torch.no_grad():
        found = model.member_contributions(model.prepare(images, mask=mask))
    profiles = baseline_profiles(found, np.arange(6) % 2, classes=("a", "b"))
    scorer = Scorer(model, ModelRecord(profiles={"paper": profiles}))
    metric = UtilitySimilarity(scorer, target="a")
    metric.update(images, mask=mask)
    first = metric.compute()["ius"]
    assert torch.isclose(first, scorer(images, target="a", mask=mask).ius.mean(), atol=TOLERANCE)
    metric.reset()
    metric.update(images * mask[..., None], mask=mask)
    assert torch.equal(metric.compute()["ius"], first)
    with pytest.raises(iuscore.UserError, match="mask: the model was fitted with masks: give one per image"):
        metric.update(images)
