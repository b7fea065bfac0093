"""Training: figures against scikit-learn, the best epoch, seeds, resuming, the caller's random state."""

from __future__ import annotations

import re
import time
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from iuscore import UserError
from iuscore.fit import timing, training
from iuscore.fit.kinds import kind_of
from iuscore.fit.log import TrainingLog
from iuscore.fit.timing import format_seconds, seconds_per_image
from iuscore.fit.training import LabeledInputs, MemberProgress, TrainingOptions, auroc, evaluate, predict, train
from iuscore.models import EPUCNN, flops
from iuscore.progress import Progress

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIONS = TrainingOptions(epochs=4, learning_rate=1e-2, patience=9)


def model_of(classes: str = "ab", seed: int = 0, size: int = 16) -> EPUCNN:
    torch.manual_seed(seed)
    return EPUCNN(list(classes), size=(size, size), base_channels=2, hidden_units=4)


def data_of(n: int, classes: int = 2, *, seed: int = 0, size: int = 16, apart: float = 1.0) -> LabeledInputs:
    """Noise maps whose mean depends on the class: the means differ by ``apart`` standard deviations."""
    labels = np.arange(n) % classes
    noise = np.random.default_rng(seed).normal(0, 1, (n, 4, size, size))
    return LabeledInputs((noise + apart * labels[:, None, None, None]).astype(np.float32), labels.astype(np.int64))


def trained(
    folder: Path, *, seed: int = 0, options: TrainingOptions = OPTIONS, **more: Any
) -> tuple[EPUCNN, MemberProgress]:
    folder.mkdir(exist_ok=True)
    model = model_of(seed=seed)
    progress = train(
        model, data_of(24), data_of(10, seed=1), options=options, seed=seed, state=folder / "state", identity={}, **more
    )
    return model, progress


@pytest.mark.parametrize("classes", [2, 3])
def test_figures_equal_scikit_learn(classes: int) -> None:
    model, data = model_of("abc"[:classes]), data_of(31, classes)
    logits = predict(model, data.inputs, batch_size=7)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(logits, model(torch.from_numpy(data.inputs)), rtol=0, atol=1e-6)
    found = evaluate(model, data)
    scores = model.probabilities(logits.double()).numpy()
    probabilities = scores / scores.sum(1, keepdims=True)
    scores = scores[:, 1] if classes == 2 else probabilities
    assert found["val_auroc"] == pytest.approx(roc_auc_score(data.labels, scores, multi_class="ovr"))
    assert found["val_accuracy"] == pytest.approx(accuracy_score(data.labels, probabilities.argmax(1)))
    assert found["val_loss"] == pytest.approx(log_loss(data.labels, probabilities), abs=1e-5)


def test_auroc_of_what_is_absent() -> None:
    assert auroc(np.array([[0.4], [0.7]]), np.array([1, 1])) is None
    assert auroc(np.zeros((3, 3)), np.array([0, 1, 1])) is None
    assert auroc(np.empty((0, 1)), np.empty(0, np.int64)) is None
    assert auroc(np.array([[0.5]] * 4), np.array([0, 1, 0, 1])) == 0.5


def wins(scores: np.ndarray, positive: np.ndarray) -> float:
    """Mann and Whitney: the share of pairs in which the positive one is higher, ties as a half."""
    above = scores[positive][:, None] - scores[~positive][None]
    return float((above > 0).mean() + (above == 0).mean() / 2)


@pytest.mark.parametrize("shift", [0.0, 20.0, 500.0])
def test_auroc_does_not_tie_where_float32_probabilities_do(shift: float) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    logits = (rng.normal(0, 1, 60) + labels + shift).astype(np.float32)[:, None]
    assert auroc(logits, labels) == pytest.approx(wins(logits[:, 0].astype(np.float64), labels == 1), abs=1e-12)
    labels = np.arange(60) % 3
    logits = (rng.normal(0, 1, (60, 3)) + np.eye(3)[labels] + [shift, 0, 0]).astype(np.float32)
    expected = []
    for k in range(3):
        with localcontext() as context:
            context.prec = 30
            rows = [[Decimal(float(x)).exp() for x in row] for row in logits]
            odds = [(row[k] / sum(row[:k] + row[k + 1 :])).ln() for row in rows]
        order = {value: rank for rank, value in enumerate(sorted(set(odds)))}
        expected.append(wins(np.array([float(order[value]) for value in odds]), labels == k))
    assert auroc(logits, labels) == pytest.approx(np.mean(expected), abs=1e-12)


def test_learns_what_can_be_told_apart(tmp_path: Path) -> None:
    options = TrainingOptions(epochs=15, learning_rate=5e-2, patience=99)
    model, progress = trained(tmp_path, options=options)
    losses = [entry["train_loss"] for entry in progress.history]
    assert losses[0] is not None
    assert losses[-1] is not None
    assert losses[-1] < 0.8 * losses[0]
    assert evaluate(model, data_of(40, seed=5))["val_auroc"] > 0.95  # type: ignore[operator]


def losses_of(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    """Make validation return these losses, one per epoch."""
    given = iter(values)
    monkeypatch.setattr(training, "evaluate", lambda *_: {"val_loss": next(given), "val_auroc": None})


def test_keeps_the_best_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses_of(monkeypatch, [0.5, 0.3, 0.3, 0.4])
    weights: list[dict[str, torch.Tensor]] = []
    model = model_of()

    def note(progress: MemberProgress) -> None:
        weights.append({name: value.clone() for name, value in model.state_dict().items()})

    options = TrainingOptions(epochs=4)
    progress = train(
        model, data_of(24), data_of(4), options=options, seed=0, state=tmp_path / "s", identity={}, on_epoch=note
    )
    assert (progress.best_epoch, progress.best_loss, progress.epoch, progress.finished) == (2, 0.3, 4, True)
    assert all(torch.equal(value, weights[1][name]) for name, value in model.state_dict().items())
    assert not torch.equal(weights[1]["bias"], weights[3]["bias"])
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("losses", "epochs", "best"), [([3, 2, 1, 1, 1], 5, 3), ([1, 2, 3], 3, 1), ([5, 4, 3, 2, 1, 0], 6, 6)]
)
def test_training_stops_after_epochs_without_improvement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, losses: list[float], epochs: int, best: int
) -> None:
    losses_of(monkeypatch, losses)
    _, progress = trained(tmp_path, options=TrainingOptions(epochs=6, patience=2))
    assert (progress.epoch, progress.best_epoch, progress.finished) == (epochs, best, True)


def test_a_seed_decides_every_bit_of_the_training(tmp_path: Path) -> None:
    first, again, other = (trained(tmp_path / name, seed=seed) for name, seed in (("1", 3), ("2", 3), ("3", 4)))
    assert first[1] == again[1]
    assert all(torch.equal(v, again[0].state_dict()[k]) for k, v in first[0].state_dict().items())
    assert not torch.equal(first[0].bias, other[0].bias)


def test_the_random_state_of_the_caller_is_left_alone(tmp_path: Path) -> None:
    model = model_of()
    torch.manual_seed(77)
    before = torch.random.get_rng_state()
    train(model, data_of(24), data_of(4), options=OPTIONS, seed=1, state=tmp_path / "s", identity={})
    seconds_per_image(model, 4)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("stop_after", [1, 4, 8, 11])
def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path: Path, stop_after: int) -> None:
    """Three batches per epoch; training stops after a batch and resumes with a model of other weights."""
    whole, expected = trained(tmp_path / "1")
    seen: list[int] = []

    def stop(images: int, loss: float) -> None:
        seen.append(images)
        if len(seen) == stop_after:
            raise KeyboardInterrupt

    if stop_after < 3:
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "2", on_batch=stop)
        assert not (tmp_path / "2/state").exists()
        return
    _, stopped = trained(tmp_path / "2", on_batch=stop)
    assert (stopped.epoch, stopped.finished) == ((stop_after - 1) // 3, False)
    model, state = model_of(seed=5), tmp_path / "2/state"
    data, validation = data_of(24), data_of(10, seed=1)
    progress = train(model, data, validation, options=OPTIONS, seed=0, state=state, identity={}, resume=True)
    assert progress == expected
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in whole.state_dict().items())


@pytest.mark.parametrize(("n", "batch_size", "batches"), [(9, 8, [8]), (9, 4, [4, 4]), (10, 4, [4, 4, 2]), (2, 8, [2])])
def test_a_last_batch_of_one_is_left_out(tmp_path: Path, n: int, batch_size: int, batches: list[int]) -> None:
    """Maps of 8x8 are pooled to 1x1, where batch normalization of a single image is undefined."""
    seen: list[tuple[int, float]] = []
    model, options = model_of(size=8), TrainingOptions(epochs=1, batch_size=batch_size)
    data = data_of(n, size=8)
    progress = train(
        model,
        data,
        data,
        options=options,
        seed=0,
        state=tmp_path / "s",
        identity={},
        on_batch=lambda *b: seen.append(b),
    )
    assert [images for images, _ in seen] == batches
    mean = sum(images * loss for images, loss in seen) / sum(batches)
    assert progress.history[0]["train_loss"] == pytest.approx(mean)


@pytest.mark.parametrize(
    ("option", "value"),
    [("epochs", 0), ("batch_size", 1), ("patience", 0), ("learning_rate", 0.0), ("learning_rate", np.inf),
     ("momentum", 1.0), ("momentum", np.nan), ("weight_decay", -1e-9), ("weight_decay", np.inf)],
)  # fmt: skip
def test_options_out_of_range_are_refused(option: str, value: float) -> None:
    with pytest.raises(UserError, match=f"^{option}: expected "):
        TrainingOptions(**{option: value})  # type: ignore[arg-type]


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path: Path) -> None:
    for batch_size, of in ((8, "training"), (24, "validation")):
        with pytest.raises(UserError, match=f"the {of} loss is not finite: lower the learning rate"):
            trained(tmp_path, options=TrainingOptions(epochs=1, learning_rate=1e30, batch_size=batch_size))


def test_the_line_that_says_how_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """30 training images at two seconds each, and 8 validation images at half a second."""
    said: list[str] = []
    monkeypatch.setattr("iuscore.fit.log.seconds_per_image", lambda model, batch: (2.0, 0.5))
    progress, data = Progress(), {"train": data_of(30), "val": data_of(8)}
    monkeypatch.setattr(progress, "line", said.append)
    config = EPUCNN(["a", "b"], size=(32, 48), base_channels=4, hidden_units=4).config()
    TrainingLog(progress, tmp_path, False, TrainingOptions(epochs=7), 30, False).estimate(
        kind_of("epu"), config, "cpu", data
    )
    assert said == ["about 64 s an epoch and member on this machine, at most 7 epochs"]


LINE = (
    r"--size (\d+)(?:x\d+)? --base-channels (\d+) --epochs (\d+) takes about (.*) on this machine, the training asked "
    r"for up to (.*): steps of both were timed just now"
)
PUBLISHED: dict[str, Any] = {"classes": ["a", "b"], "size": [128, 128], "base_channels": 64, "hidden_units": 32}


def suggested(
    monkeypatch: pytest.MonkeyPatch, rate: float, images: int = 1000, overhead: float = 0.0, **change: Any
) -> str | None:
    """What is suggested on a machine of ``rate`` operations a second that needs ``overhead`` seconds for any image."""

    def measured(model: EPUCNN, batch: int, seconds: float) -> tuple[float, float]:
        return overhead + 3 * flops(model) / rate, overhead + flops(model) / rate

    monkeypatch.setattr(timing, "seconds_per_image", measured)
    config = PUBLISHED | change
    return timing.suggestion(kind_of("epu"), config, "cpu", images=(images, 200), batch=8, epochs=200, members=1)


class TestSuggestion:
    """If training would take long, one line suggests size, channels and epochs together."""

    def test_the_largest_model_that_ends_in_minutes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An epoch costs three times 1,000 images (forward and backward) plus 200 (validation)."""
        said = suggested(monkeypatch, 20e9)
        match = re.fullmatch(LINE, said or "")
        assert match
        size, channels = int(match[1]), int(match[2])
        model = EPUCNN(["a", "b"], size=(size, size), base_channels=channels, hidden_units=32)
        seconds = 30 * flops(model) * 3200 / 20e9
        assert match[3] == "30"
        assert match[4] == format_seconds(seconds)
        assert seconds <= 60 * timing.MINUTES
        asked = 200 * flops(EPUCNN(**PUBLISHED)) * 3200 / 20e9
        assert match[5] == format_seconds(asked)  # extrapolated from a smaller map by the number of operations

    @pytest.mark.parametrize("rate", [1e8, 1e10, 1e12, 1e14])
    @pytest.mark.parametrize("overhead", [0.0, 1e-3, 1e-1, 10.0])
    @pytest.mark.parametrize("size", [[128, 128], [40, 40], [32, 32], [24, 24], [512, 64]])
    def test_three_times_faster_and_never_below_32(
        self, monkeypatch: pytest.MonkeyPatch, rate: float, overhead: float, size: list[int]
    ) -> None:
        """If overhead dominates the time, no smaller model is much faster, and none is suggested."""
        for images in (20, 1000, 100_000):
            said = suggested(monkeypatch, rate, images, overhead, size=size)
            if said is None:
                continue
            match = re.fullmatch(LINE, said)
            assert match, said
            height, _, width = match[0].split()[1].partition("x")
            sides = (int(height), int(width or height))
            assert all(side >= min(32, given) for side, given in zip(sides, size, strict=True))
            model = EPUCNN(["a", "b"], size=sides, base_channels=int(match[2]), hidden_units=32)
            asked = overhead + 3 * flops(EPUCNN(**(PUBLISHED | {"size": size}))) / rate
            assert asked >= (3 - 1e-9) * (overhead + 3 * flops(model) / rate)

    def test_nothing_where_no_model_is_faster(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every model takes ten seconds per image."""
        monkeypatch.setattr(timing, "seconds_per_image", lambda model, batch, seconds: (10.0, 3.0))
        config = PUBLISHED | {"size": [32, 32]}
        assert timing.suggestion(
            kind_of("epu"), config, "cpu", images=(1000, 200), batch=8, epochs=200, members=1
        ) is None  # fmt: skip

    @pytest.mark.parametrize(("factor", "said"), [(2.9, False), (3.1, True)])
    def test_a_model_less_than_three_times_faster_is_not_suggested(
        self, monkeypatch: pytest.MonkeyPatch, factor: float, said: bool
    ) -> None:
        def measured(model: EPUCNN, batch: int, seconds: float) -> tuple[float, float]:
            return (factor if model.config()["base_channels"] == 64 else 1.0), 0.1

        monkeypatch.setattr(timing, "seconds_per_image", measured)
        config = PUBLISHED | {"size": [32, 32]}
        line = timing.suggestion(kind_of("epu"), config, "cpu", images=(100, 9), batch=8, epochs=200, members=1)
        assert (line is not None) == said

    def test_fewer_epochs_where_images_are_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        match = re.fullmatch(LINE, suggested(monkeypatch, 20e9, 30_000) or "")
        assert match
        assert (match[1], match[2]) == ("32", "4")
        model = EPUCNN(["a", "b"], size=(32, 32), base_channels=4, hidden_units=32)
        epoch = flops(model) * 90_200 / 20e9
        assert int(match[3]) == max(5, min(30, int(300 / epoch)))
        assert match[4] == format_seconds(int(match[3]) * epoch)

    def test_nothing_where_training_is_short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert suggested(monkeypatch, 1e15) is None
        assert suggested(monkeypatch, 20e9, images=10, size=[8, 8], base_channels=1) is None
        assert timing.suggestion(
            kind_of("texture"), {}, "cpu", images=(10**6, 10), batch=8, epochs=200, members=3
        ) is None  # fmt: skip

    def test_a_suggestion_takes_less_than_five_seconds(self) -> None:
        """Processor time instead of wall time, because other programs may run on this machine."""
        begin = time.process_time()
        timing.suggestion(kind_of("epu"), PUBLISHED, "cpu", images=(1000, 200), batch=8, epochs=200, members=1)
        assert time.process_time() - begin < 5


def test_timing_a_step_changes_no_weight() -> None:
    model = model_of()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    step, forward = seconds_per_image(model, 3)
    assert 0 < forward < 1
    assert 0 < step < 1
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1e-9, "1 s"),
        (0.4, "1 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (5399, "90 min"),
        (5400, "1.5 h"),
        (172_799, "48.0 h"),
        (172_800, "2 days"),
        (1e6, "12 days"),
    ],
)
def test_durations_are_written_with_a_fitting_unit(seconds: float, words: str) -> None:
    assert format_seconds(seconds) == words
