"""What a user of Python learns of scores that are guesses, and of images without a score."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

import iuscore
from iuscore import phantoms
from iuscore.errors import UserError
from iuscore.fit import TextureOptions, fit, open_splits

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> iuscore.Scorer:
    root = tmp_path_factory.mktemp("guesses")
    phantoms.write(root / "real", "radiograph", n_per_class=60, size=32, seed=3)
    options = TextureOptions(size=(32, 32))
    return iuscore.load(fit(open_splits(root / "real"), root / "model", model_options=options, members=1).folder)


NOISE = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 1), dtype=np.uint8)
REAL = phantoms.draw("radiograph", "normal", 30, size=32, seed=9)


def test_noise_is_a_guess_and_real_images_are_none(scorer: iuscore.Scorer) -> None:
    far, near = scorer(NOISE, target="normal"), scorer(REAL, target="normal")
    assert (far.out_of_distribution, near.out_of_distribution) == (("normal",), ())
    assert repr(far).endswith(", a guess: those against normal lie far outside real images)")
    assert "guess" not in repr(near)
    mixed = scorer(np.concatenate([NOISE, REAL]), target=["normal"] * 30 + ["abnormal"] * 30)
    assert "normal" in mixed.out_of_distribution
    assert pickle.loads(pickle.dumps(far)).out_of_distribution == ()  # without the scorer


def test_a_set_is_explained_together(scorer: iuscore.Scorer) -> None:
    why = scorer.explain_set(NOISE, target="normal")
    scores = scorer(NOISE, target="normal")
    assert (why.n, why.out_of_distribution) == (30, True)
    assert why.ius == pytest.approx(float(scores.ius.mean()), abs=1e-6)
    assert not scorer.explain_set(REAL, target=0 if scorer.classes[0] == "normal" else 1).out_of_distribution
    with pytest.raises(UserError, match="images: expected at least one that has a score, got 2 without"):
        scorer.explain_set(np.full((2, 32, 32, 1), np.nan, np.float32), target="normal")


def test_the_metric_says_so(scorer: iuscore.Scorer) -> None:
    metrics = pytest.importorskip("iuscore.metrics")
    for images, expected in ((NOISE, 1), (REAL, 0)):
        metric = metrics.UtilitySimilarity(scorer, target="normal")
        for part in np.array_split(images, 3):
            metric.update(torch.from_numpy(part))
        assert int(metric.compute()["out_of_distribution"]) == expected


def test_an_image_without_a_score_says_why(scorer: iuscore.Scorer) -> None:
    pixels = REAL[:3].astype(np.float32) / 255
    pixels[1, 4, 5] = np.nan
    scores = scorer(pixels, target="normal")
    assert [len(texts) for texts in scores.warnings] == [0, 1, 0]
    assert scores.warnings[1] == ("no score: pixels that are not finite, or a mask that leaves no pixel",)
