"""The score of an image does not depend on container or batch, and its shares sum to it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import iuscore
from iuscore import UserError, ops, phantoms
from iuscore.models import EPUCNN, SPACES, Ensemble, ModelRecord
from iuscore.models.base import Space
from iuscore.ops import Kind, Mode, Precision
from iuscore.scoring import Scorer, Scores
from iuscore.scoring.baseline import baseline_profiles
from iuscore.scoring.color import COLOR_UNSEEN
from iuscore.scoring.similarity import ius

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = phantoms.draw("endoscopy", "abnormal", 7, size=(20, 24), seed=3)
IMAGES[1] = IMAGES[1, ..., ::-1]
IMAGES[3] = np.random.default_rng(3).integers(0, 256, IMAGES[3].shape)
IMAGES[5] = 255 - IMAGES[5]

TOLERANCE = 1e-5
"""Another batch size, another order of sums; the weights below amplify its rounding."""


@cache
def make_scorer(
    classes: tuple[str, ...] = ("a", "b"),
    *,
    members: int = 1,
    color: Kind = "color",
    mode: Mode = "clean",
    space: Space = "paper",
) -> Scorer:
    """A scorer with fresh weights, whose profiles are those of phantoms."""
    torch.manual_seed(0)
    parts = [EPUCNN(classes, color=color, mode=mode, size=(16, 16), base_channels=2, hidden_units=4) for _ in "mmm"]
    with torch.no_grad():
        for weight in (weight for part in parts for weight in part.parameters() if weight.ndim > 1):
            weight *= 2.6  # with torch's initial scale the signal fades, and all images have the same outputs
        maps = parts[0].prepare(phantoms.draw("endoscopy", "abnormal", 6, size=16, seed=8))
        for part in parts:
            for _ in range(40):
                part.train()(maps)  # batch normalization takes over the statistics
    model = Ensemble(parts[:members]).eval()
    real = phantoms.draw("endoscopy", "normal", 4 * len(classes), size=16, seed=9)
    labels = np.arange(len(real)) % len(classes)
    with torch.no_grad():
        found = {s: model.member_contributions(model.prepare(real), s) for s in SPACES}
    profiles = {s: baseline_profiles(c, labels, classes=classes) for s, c in found.items()}
    return Scorer(model, ModelRecord(profiles=profiles), space=space)


def assert_same(found: Scores, expected: Scores, tolerance: float = TOLERANCE) -> None:
    assert (found.target, found.warnings, found.classes) == (expected.target, expected.warnings, expected.classes)
    for name in ("ius", "contributions", "shares", "probabilities", "ius_sd"):
        one, other = getattr(found, name), getattr(expected, name)
        if other is None:
            assert one is None
        else:
            torch.testing.assert_close(one, other, rtol=0, atol=tolerance, check_dtype=False)


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return make_scorer()


@pytest.fixture(scope="module")
def expected(scorer: Scorer) -> Scores:
    return scorer(IMAGES, target="a")


KINDS: dict[str, Any] = {
    "torch NHWC": torch.from_numpy(IMAGES),
    "torch NCHW": torch.from_numpy(IMAGES).permute(0, 3, 1, 2),
    "torch NCHW contiguous": torch.from_numpy(IMAGES).permute(0, 3, 1, 2).contiguous(),
    "floats in [0, 1]": IMAGES.astype(np.float32) / 255,
    "uint16": IMAGES.astype(np.uint16) * 257,
    "list of arrays": list(IMAGES),
    "list of tensors": list(torch.from_numpy(IMAGES)),
    "tuple of arrays": tuple(IMAGES),
    "list of PIL images": [Image.fromarray(image) for image in IMAGES],
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_container_has_the_same_scores(scorer: Scorer, expected: Scores, kind: str) -> None:
    assert_same(scorer(KINDS[kind], target="a"), expected)


def test_one_pil_image_is_a_batch_of_one(scorer: Scorer, expected: Scores) -> None:
    torch.testing.assert_close(scorer(Image.fromarray(IMAGES[2]), target="a").ius, expected.ius[2:3])


@pytest.mark.parametrize("shape", [(1, 1), (3, 9), (1, 3), (9, 3), (3, 3)])
def test_pil_images_of_any_shape(scorer: Scorer, shape: tuple[int, int]) -> None:
    """An array of such a shape does not show which axis holds the channels; a PIL image does."""
    pixels = IMAGES[:2, : shape[0], : shape[1]]
    found = scorer([Image.fromarray(image) for image in pixels], target="a")
    assert_same(found, scorer(pixels, target="a", layout="NHWC"))


def test_sizes_and_channels_may_differ_in_a_list(scorer: Scorer) -> None:
    images = [IMAGES[0], IMAGES[1, :9, :17], IMAGES[2, ..., :1], IMAGES[3, :1, :1]]
    together = scorer(images, target=["a", "b", "a", "b"], layout="NHWC")
    for i, image in enumerate(images):
        alone = scorer(image[None], target=together.target[i], layout="NHWC")
        torch.testing.assert_close(alone.ius, together.ius[i : i + 1], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("members", [1, 3])
def test_batch_size_changes_nothing(batch_size: int, members: int) -> None:
    scorer = make_scorer(members=members)
    targets = list("abbabab")
    assert_same(scorer(IMAGES, target=targets, batch_size=batch_size), scorer(IMAGES, target=targets))


@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize("space", SPACES)
def test_scores_have_the_same_bits_in_any_batch_place_and_number_of_threads(space: Space, precision: Precision) -> None:
    made = make_scorer(members=3, space=space)
    scorer = Scorer(made.model, made.record, space=space, precision=precision)
    images, targets = np.concatenate([IMAGES] * 5), list("abbabab") * 5
    expected = scorer(images, target=targets, batch_size=64)
    order = np.random.default_rng(0).permutation(len(images))
    for batch_size, threads in ((1, 1), (7, 2), (33, 3), (64, 4)):
        torch.set_num_threads(threads)
        found = scorer(images[order], target=[targets[i] for i in order], batch_size=batch_size)
        torch.set_num_threads(1)
        for name in ("ius", "contributions", "shares", "probabilities", "ius_sd"):
            assert torch.equal(getattr(found, name), getattr(expected, name)[order]), (name, batch_size)


def test_evidence_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = make_scorer(members=2, space="evidence")
    calls = []
    compute = EPUCNN._evidence

    def counted(self: EPUCNN, *arguments: Any) -> torch.Tensor:
        calls.append(self)
        return compute(self, *arguments)

    monkeypatch.setattr(EPUCNN, "_evidence", counted)
    scorer(IMAGES, target="a")
    assert len(calls) == 2


def test_precision_is_what_it_came_to() -> None:
    made = make_scorer()
    for precision in ("exact", "fast", "auto"):
        scorer = Scorer(made.model, made.record, precision=precision)  # type: ignore[arg-type]
        assert scorer.precision == ops.chosen_precision(precision)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"^precision: expected one of exact, fast, auto, got 'half'$"):
        Scorer(made.model, made.record, precision="half")  # type: ignore[arg-type]


def test_each_image_may_have_its_own_target(scorer: Scorer) -> None:
    mixed = scorer(IMAGES, target=list("abababa"))
    for i, name in enumerate(mixed.target):
        alone = scorer(IMAGES[i : i + 1], target=name)
        torch.testing.assert_close(alone.shares[0], mixed.shares[i], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c")])
@pytest.mark.parametrize("members", [1, 3])
def test_shares_sum_to_the_ius(space: Space, classes: tuple[str, ...], members: int) -> None:
    scorer = make_scorer(classes, members=members, space=space)
    for name in classes:
        scores = scorer(IMAGES, target=name)
        torch.testing.assert_close(scores.shares.sum(1), scores.ius)
        assert bool((scores.ius.abs() <= 1 + 1e-6).all())
        torch.testing.assert_close(scores.probabilities.sum(1), torch.ones(len(IMAGES)))
        # The contributions are those of the output of the class, averaged over the members.
        inputs = scorer.model.prepare(IMAGES)
        column = 0 if len(classes) == 2 else classes.index(name)
        with torch.no_grad():
            each = scorer.model.member_contributions(inputs, space)[..., column]
            logits = scorer.model(inputs)
        torch.testing.assert_close(scores.contributions, each.mean(0))
        baseline = torch.tensor(scorer.profiles[name].mean, dtype=torch.float32)
        cosine = torch.nn.functional.cosine_similarity(baseline[None], each.mean(0), dim=1)
        torch.testing.assert_close(scores.ius, cosine)
        torch.testing.assert_close(scores.probabilities, scorer.model.probabilities(logits))
        if members == 1:
            assert scores.ius_sd is None
        else:
            means = torch.tensor(scorer.profiles[name].member_means, dtype=torch.float32)
            own = torch.stack([ius(mean, one) for mean, one in zip(means, each, strict=True)])
            assert scores.ius_sd is not None
            torch.testing.assert_close(scores.ius_sd, own.std(0))


@pytest.mark.parametrize("mode", ["clean", "published"])
@pytest.mark.parametrize("space", SPACES)
def test_gradients_reach_the_pixels(mode: Mode, space: Space) -> None:
    scorer = make_scorer(mode=mode, space=space)
    pixels = torch.from_numpy(IMAGES.astype(np.float32) / 255).requires_grad_()
    scores = scorer(pixels, target="a", batch_size=3)
    assert_same(scores, scorer(pixels.detach(), target="a"), 1e-4)
    (gradient,) = torch.autograd.grad(scores.ius.sum(), pixels)
    assert bool(torch.isfinite(gradient).all())
    assert bool((gradient.flatten(1).abs().amax(1) > 0).all())
    assert all(parameter.grad is None for parameter in scorer.model.parameters())
    with torch.no_grad():
        assert not scorer(pixels, target="a").ius.requires_grad


def test_images_differ_enough_to_be_told_apart(expected: Scores) -> None:
    """Otherwise the comparisons in this file would prove nothing."""
    assert bool((expected.contributions.std(0) > 0.005).all())
    assert float(expected.ius.std()) > 0.01


def test_an_explanation_equals_one_by_hand() -> None:
    scorer = make_scorer()
    spread = {name: replace(profile, sd=(0.1, 0.2, 0.3, 0.4)) for name, profile in scorer.profiles.items()}
    scorer = Scorer(scorer.model, ModelRecord(profiles={"paper": spread}))
    scores = scorer(IMAGES, target=list("abababa"))
    for i, why in enumerate(scorer.explain(IMAGES, target=list("abababa"))):
        profile = scorer.profiles[scores.target[i]]
        assert profile.sd is not None
        found = scores.contributions[i].tolist()
        shifts = [(c - m) / s for c, m, s in zip(found, profile.mean, profile.sd, strict=True)]
        assert why.target == scores.target[i]
        assert why.ius == pytest.approx(float(scores.ius[i]), abs=1e-6)
        assert [c.name for c in why.components] == list(scorer.components)
        assert [c.baseline for c in why.components] == list(profile.mean)
        assert [c.contribution for c in why.components] == pytest.approx(found)
        assert [c.share for c in why.components] == pytest.approx(scores.shares[i].tolist())
        assert [c.shift for c in why.components] == pytest.approx(shifts)
        assert why.most_shifted == scorer.components[int(np.argmax(np.abs(shifts)))]


def test_not_finite_pixels_touch_only_their_image(scorer: Scorer) -> None:
    pixels = IMAGES.astype(np.float32) / 255
    pixels[2, 3, 4, 0] = np.nan
    scores = scorer(pixels, target="a")
    assert scores.ius.isnan().tolist() == [i == 2 for i in range(len(IMAGES))]
    why = scorer.explain(pixels, target="a")[2]
    assert why.most_shifted is None


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("empty", [[], np.empty((0, 5, 5, 3), np.uint8), torch.empty(0, 3, 5, 5)])
def test_no_images_give_empty_scores(members: int, empty: Any) -> None:
    scorer = make_scorer(members=members)
    scores = scorer(empty, target="a")
    assert len(scores) == 0
    assert scores.ius.shape == (0,)
    assert scores.contributions.shape == scores.shares.shape == (0, 4)
    assert scores.probabilities.shape == (0, 2)
    assert scorer.explain(empty, target="a") == []
    with pytest.raises(UserError, match="no class 'z'"):
        scorer(empty, target="z")


def test_unusable_targets_and_spaces_are_refused(scorer: Scorer) -> None:
    for target, said in (("z", "target: no class 'z': the model has profiles of a, b"), (["a"], "or 7 classes, got 1")):
        with pytest.raises(UserError, match=said):
            scorer(IMAGES, target=target)
    for batch_size in (0, -3):
        with pytest.raises(UserError, match="batch_size: expected at least 1"):
            scorer(IMAGES, target="a", batch_size=batch_size)
    for images in (b"a", 3, None, {"a": 1}):
        with pytest.raises(TypeError, match="images: expected a tensor, an array, a PIL image, a path, or a list of"):
            scorer(images, target="a")  # type: ignore[arg-type]
    for images in (IMAGES[0], IMAGES[..., :2], IMAGES.astype(np.int64)):
        with pytest.raises((TypeError, ValueError)):
            scorer(images, target="a")
    with pytest.raises(UserError, match="space: the model has no 'other' profiles"):
        Scorer(scorer.model, scorer.record, space="other")  # type: ignore[arg-type]


def test_profiles_of_another_ensemble_are_refused() -> None:
    with pytest.raises(UserError, match="member_means: expected 2 members, got 1"):
        Scorer(make_scorer(members=2).model, make_scorer().record)


def test_weights_and_random_state_are_left_alone(scorer: Scorer) -> None:
    before, state = torch.random.get_rng_state(), {k: v.clone() for k, v in scorer.model.state_dict().items()}
    scorer(IMAGES, target="a")
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(value, state[name]) for name, value in scorer.model.state_dict().items())


def test_constant_images_are_marked(scorer: Scorer) -> None:
    images = np.zeros((2, 20, 20, 1), np.uint8)
    images[1] = np.arange(20, dtype=np.uint8)[:, None] * 9
    marked = scorer(images, target=scorer.classes[0]).warnings
    assert ["constant image" in texts for texts in marked] == [True, False]


def test_color_that_a_gray_model_does_not_see_is_named(fitted: Path) -> None:
    scorer = iuscore.load(fitted)
    gray = torch.randint(0, 256, (2, 16, 16, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    alike, red = gray.repeat(1, 1, 1, 3), gray.repeat(1, 1, 1, 3)
    red[1, 3, 4, 0] = red[1, 3, 4, 1].long().add(100).remainder(256).to(torch.uint8)
    for images in (red, red.numpy(), red.float() / 255, red.to(torch.uint16) * 257, red.permute(0, 3, 1, 2), list(red)):
        assert scorer(images, target="a").warnings == ((), (COLOR_UNSEEN,))
    assert scorer(alike, target="a").warnings == ((), ())
    assert scorer(gray, target="a").warnings == ((), ())
