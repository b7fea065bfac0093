"""How long training takes on this machine, measured on a few batches."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import torch

from iuscore.fit.kinds import Config, ModelKind
from iuscore.fit.training import loss_of
from iuscore.models import AdditiveModel

MINUTES = 5.0
"""What a suggested training may take."""

FEW_EPOCHS, FEWEST_EPOCHS = 30, 5


def seconds_per_image(model: AdditiveModel, batch: int, steps: int = 3, seconds: float = 3.0) -> tuple[float, float]:
    """Seconds an image of one training step and of one forward pass, on random inputs.

    Args:
        model: on the device to measure; not changed.
        batch: images at once.
        steps: at most; fewer where they take more than ``seconds``. One more warms up.

    Example:
        >>> from iuscore.models import EPUCNN
        >>> step, forward = seconds_per_image(EPUCNN(["a", "b"], size=(8, 8), base_channels=1), 2)
        >>> step > 0 and forward > 0
        True
    """
    device = model.bias.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        trial = copy.deepcopy(model).train()
        inputs = torch.rand(batch, *model.input_shape, device=device)
        labels = torch.zeros(batch, dtype=torch.long, device=device)

        def timed(work: Callable[[], object]) -> float:
            begin = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            return time.perf_counter() - begin

        def step() -> None:
            loss_of(trial, trial(inputs), labels).backward()  # type: ignore[no-untyped-call]

        times = [timed(step)]
        while len(times) <= steps and sum(times) < seconds:
            times.append(timed(step))
        with torch.no_grad():
            trial.eval()
            forward = timed(lambda: trial(inputs))
    return min(times) / batch, forward / batch


def suggestion(
    kind: ModelKind[Any],
    config: Config,
    device: str | torch.device,
    *,
    images: tuple[int, int],
    batch: int,
    epochs: int,
    members: int,
    patience: float = 2.0,
) -> str | None:
    """One set of options for a training that ends in minutes on this machine, where the one asked for takes long.

    Smaller models are timed on ``device``, from the smallest up, as long as they end within `MINUTES`; the largest of
    these is suggested, with few epochs. What was asked for is not run, which can take long by itself: it is told by its
    arithmetic, which is counted.

    Args:
        kind, config: the model asked for.
        device: to train on.
        images: numbers of training and of validation images.
        batch, epochs, members: of the training asked for.
        patience: seconds that all of this may take.

    Returns:
        One line, or None where the training asked for ends in minutes too.
    """
    begin, limit = time.perf_counter(), MINUTES * 60
    few = min(epochs, FEW_EPOCHS)
    best: tuple[str, float, float] | None = None
    for options, smaller in kind.smaller(config):
        work = kind.work(smaller)
        if best is not None and best[1] * work / best[2] > limit:
            break
        step, forward = seconds_per_image(kind.model(**smaller).to(device), min(batch, images[0]), seconds=0.3)
        seconds = (step * images[0] + forward * images[1]) * few * members
        if best is not None and seconds > limit:
            break
        best = (options, seconds, work)
        if time.perf_counter() - begin > patience:
            break
    if best is None:
        return None
    options, seconds, work = best
    times = kind.work(config) / work * epochs / few
    if seconds * times < 2 * max(limit, seconds):
        return None
    if seconds > limit:
        fewer = min(few, max(FEWEST_EPOCHS, int(few * limit / seconds)))
        seconds, times, few = seconds * fewer / few, times * few / fewer, fewer
    return (
        f"{options}{f' --epochs {few}' if few < epochs else ''} takes about {format_seconds(seconds)} on this machine, "
        f"as measured; the training asked for does {times:,.0f} times as much arithmetic"
    )


def format_seconds(seconds: float) -> str:
    """A duration as people say it.

    Example:
        >>> [format_seconds(s) for s in (0.2, 42, 600, 9000)]
        ['1 s', '42 s', '10 min', '2.5 h']
    """
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
