"""The predicted gain of a selection: equal to the judge's own numbers, and right where the answer is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from iuscore import UserError, phantoms
from iuscore.explain.select import (
    Budget,
    JudgedSet,
    Pool,
    Prediction,
    choose,
    name_digests,
    predict,
    predict_crossed,
    random_choice,
    rank_sum,
)
from iuscore.explain.select.crossed import part_of_pool
from iuscore.explain.select.gain import DRAWS, expected_aurocs, gain_of, weighted_aurocs
from iuscore.explain.value import ReferenceViews
from iuscore.explain.value.judge import Judge, resamples
from iuscore.explain.value.learners import auroc
from iuscore.explain.value.shapley import neighbor_shapley
from iuscore.features import FEATURES

N, SIDE = 60, 48
CLASSES = ("normal", "abnormal")
LABELS = np.repeat([0, 1], N)

pytestmark = pytest.mark.usefixtures("one_thread")


def drawn(seed: int, brighter: int = 60) -> np.ndarray[Any, Any]:
    """Phantoms whose classes are told by their brightness."""
    images = np.concatenate([phantoms.draw("radiograph", c, N, size=SIDE, seed=seed) for c in CLASSES])
    images[LABELS == 1] = np.clip(images[LABELS == 1].astype(int) + brighter, 0, 255)
    return images


@pytest.fixture(scope="module")
def real() -> ReferenceViews:
    return ReferenceViews.fit(drawn(0), LABELS, CLASSES, size=(SIDE, SIDE))


@pytest.fixture(scope="module")
def rows(real: ReferenceViews) -> Any:
    return real.embed(drawn(1))


def test_weighted_aurocs_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 6, 40) / 5.0, rng.random(40) < 0.4
    weights = rng.integers(0, 3, (20, 40)).astype(float)
    expected = [auroc(scores, positive, each) for each in weights]
    assert weighted_aurocs(scores, positive, weights).tolist() == pytest.approx(expected, abs=1e-12)
    assert np.isnan(weighted_aurocs(scores, positive, np.where(positive, 1.0, 0.0)[None])).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_expected_auroc_is_the_judges(real: ReferenceViews, rows: Any, classes: int) -> None:
    labels = np.arange(2 * N) % 3 if classes == 3 else LABELS
    judge = Judge(
        rows, labels, real.rows, labels[::-1].copy(), classes=classes, features=FEATURES["gray"], seed=0, trees=False
    )
    drawn_weights = list(resamples(labels[::-1].copy(), np.arange(2 * N), classes, 5, 0))
    weights = np.stack([np.ones(2 * N), *drawn_weights])
    expected = [judge.numbers(each).named["pix4"] for each in weights]
    found = expected_aurocs(JudgedSet(rows, labels), real.rows, labels[::-1].copy(), classes, weights)
    assert found.tolist() == pytest.approx(expected, abs=1e-12)


def predicted(real: ReferenceViews, rows: Any, labels: Any, *, policy: Any = "stratified", **given: Any) -> Prediction:
    rng = np.random.default_rng(0)
    good, swapped = JudgedSet(rows, LABELS), JudgedSet(rows, 1 - LABELS)
    half = [JudgedSet(rows, np.where(rng.random(2 * N) < 0.5, LABELS, 1 - LABELS)) for _ in range(DRAWS)]
    chosen = {"good": good, "swapped": swapped}[labels]
    return predict(real, policy, chosen, half, good, resampled=60, splits=2, **given)


def test_good_labels_gain_over_random_ones_and_nothing_over_themselves(real: ReferenceViews, rows: Any) -> None:
    found = predicted(real, rows, "good")
    over_random, over_confidence = found.gains
    assert (over_random.over, over_random.draws, over_confidence.over) == ("random", DRAWS, "confidence")
    assert found.auroc > 0.95
    assert over_random.low < over_random.gain < over_random.high
    assert over_random.gain == pytest.approx(found.auroc - over_random.auroc)
    assert over_random.low > 0.1
    assert (over_confidence.gain, over_confidence.low, over_confidence.high) == pytest.approx((0, 0, 0))
    assert found.real is not None
    assert found.real > 0.95
    assert found.doubts == ()


def test_swapped_labels_lose_as_much_as_can_be_lost(real: ReferenceViews, rows: Any) -> None:
    good, bad = predicted(real, rows, "good"), predicted(real, rows, "swapped")
    assert bad.auroc == pytest.approx(1 - good.auroc, abs=1e-9)
    assert bad.gains[0].high < 0


def test_a_policy_is_not_compared_with_itself(real: ReferenceViews, rows: Any) -> None:
    assert [gain.over for gain in predicted(real, rows, "good", policy="random").gains] == ["confidence"]
    assert [gain.over for gain in predicted(real, rows, "good", policy="confidence").gains] == ["random"]


@pytest.mark.parametrize("policy", ["ius", "confidence"])
def test_a_judge_that_the_model_may_know_is_told(real: ReferenceViews, rows: Any, policy: Any) -> None:
    known = "the model that scored the images may know the real images that judge them: the gain is too high"
    assert predicted(real, rows, "good", policy=policy).doubts == (known,)
    assert predicted(real, rows, "good", policy="stratified").doubts == ()


class TestCrossed:
    """Policies that choose by the real images are judged by others."""

    @staticmethod
    def pool_of(rows: Any, labels: Any, real: ReferenceViews) -> Pool:
        n = len(labels)
        places = real.balanced
        shapley = [neighbor_shapley(rows[view], labels, real.rows[view][places], real.labels[places])
                   for view in ("texture", "patch")]  # fmt: skip
        flat = np.random.default_rng(5).random(n)
        return Pool(CLASSES, labels, name_digests((f"{i}".encode() for i in range(n)), n), np.ones(n, bool), flat, flat,
                    rank_sum(*shapley), np.ones(n, np.int64), np.zeros(n, bool))  # fmt: skip

    def test_nothing_is_gained_where_labels_say_nothing(self, real: ReferenceViews) -> None:
        """Labels of real and other images are drawn: what pleases one half says nothing of the other."""
        rng = np.random.default_rng(0)
        noise = replace(
            real, labels=rng.permutation(real.labels),
            rows={view: rng.normal(size=each.shape).astype(np.float32) for view, each in real.rows.items()},
        )  # fmt: skip
        rows = {view: rng.normal(size=(300, each.shape[1])) for view, each in real.rows.items()}
        labels = np.arange(300) % 2
        pool = self.pool_of(rows, labels, noise)
        choice = choose(pool, Budget(fraction=0.3), "value")
        draws = [random_choice(pool, choice.classes, 0, draw) for draw in range(5)]
        judged = [
            JudgedSet({view: each[places] for view, each in rows.items()}, labels[places])
            for places in (choice.places, *draws)
        ]
        same = predict(noise, "value", judged[0], judged[1:], judged[1], resampled=50).gains[0]
        assert same.low > 0.05  # by the same real images, a gain that is not there
        places, numbers = part_of_pool(pool, choice.classes, 0)
        assert (sorted(places.tolist()), numbers) == (list(range(300)), {"normal": 45, "abnormal": 45})
        found = predict_crossed(noise, "value", pool, numbers, rows, drop_copies=True, drop_contradicted=False,
                                resampled=50)  # fmt: skip
        assert found.crossed
        assert found.gains[0].low < 0 < found.gains[0].high

    @pytest.mark.parametrize("policy", ["value", "covariance"])
    def test_a_gain_that_is_there_is_found(self, real: ReferenceViews, rows: Any, policy: Any) -> None:
        """Half of the labels are wrong: choosing by real images keeps the right ones."""
        labels = LABELS.copy()
        labels[::2] = 1 - labels[::2]
        pool = self.pool_of(rows, labels, real)
        found = predict_crossed(real, policy, pool, {"normal": 20, "abnormal": 20}, rows, drop_copies=False,
                                drop_contradicted=policy == "covariance", resampled=50)  # fmt: skip
        assert found.auroc > 0.9
        assert found.gains[0].low > 0.2
        assert found.n_images == 20

    def test_one_group_of_a_class_cannot_be_halved(self, real: ReferenceViews, rows: Any) -> None:
        single = replace(real, groups=real.labels)
        pool = self.pool_of(rows, LABELS, real)
        with pytest.raises(UserError, match=r"^the model's reference has one group of a class: it cannot be halved"):
            predict_crossed(single, "value", pool, {"normal": 5, "abnormal": 5}, rows, drop_copies=True,
                            drop_contradicted=False)  # fmt: skip


def test_few_images_and_hard_tasks_are_told(rows: Any) -> None:
    few = np.r_[0:20, N : N + 20]
    hard = ReferenceViews.fit(drawn(0, brighter=0)[few], LABELS[few], CLASSES, size=(SIDE, SIDE))
    some = JudgedSet({view: each[:30] for view, each in hard.rows.items()}, hard.labels[:30])
    found = predict(hard, "stratified", some, [some], some, resampled=5, splits=2)
    assert found.doubts[:4] == (
        "the model's reference has 20 images of normal, fewer than 50",
        "20 images of normal are chosen, fewer than 25",
        "the model's reference has 20 images of abnormal, fewer than 50",
        "10 images of abnormal are chosen, fewer than 25",
    )
    assert found.doubts[4].startswith("small learners fitted to real images reach an AUROC of ")


def test_intervals_cover_the_gain_that_other_real_images_show() -> None:
    """One hundred references from one population: most intervals hold the gain over a population a hundred times as
    large."""
    rng = np.random.default_rng(0)
    d, shift = 6, 0.5

    def population(n: int, noise: float = 0.0) -> tuple[dict[Any, Any], Any]:
        labels = np.arange(n) % 2
        x = rng.normal(size=(n, d)) + shift * labels[:, None]
        return {"thumb": x, "patch": x}, np.where(rng.random(n) < noise, 1 - labels, labels)

    chosen, other = JudgedSet(*population(60)), JudgedSet(*population(60, noise=0.45))
    large, labels = population(8000)
    ones = np.ones((1, 8000))
    truth = float((expected_aurocs(chosen, large, labels, 2, ones) - expected_aurocs(other, large, labels, 2, ones))[0])
    inside = 0
    for trial in range(100):
        rows, real_labels = population(120)
        weights = np.stack([np.ones(120), *resamples(real_labels, np.arange(120), 2, 100, trial)])
        here, there = (expected_aurocs(some, rows, real_labels, 2, weights) for some in (chosen, other))
        found = gain_of("random", here, there, 1)
        inside += found.low <= truth <= found.high
    assert 88 <= inside <= 100  # of 95 expected: three standard deviations of a binomial count
