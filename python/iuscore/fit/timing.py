"""Estimate the time of a training on this machine from a few timed steps, and suggest a faster model."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import torch

from iuscore.fit.kinds import MIN_SIDE, Config, ModelKind
from iuscore.fit.training import loss_of
from iuscore.models import AdditiveModel

MINUTES = 5.0
"""Longest suggested training, in minutes."""

FEW_EPOCHS, MIN_EPOCHS = 30, 5


def seconds_per_image(model: AdditiveModel, batch: int, steps: int = 3, seconds: float = 3.0) -> tuple[float, float]:
    """Seconds per image of one training step and of one forward pass, on random inputs.

    Args:
        model: the model, on the device to measure; not changed.
        batch: images per step.
        steps: most steps after a warm-up step; fewer if all take more than ``seconds``.

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
    patience: float = 0.6,
) -> str | None:
    """Options for a training that takes minutes on this machine, if the requested training takes long.

    The requested model and smaller models are timed on ``device``, from the smallest model up, while a training with
    few epochs stays within `MINUTES`. The largest such model is suggested if its steps are at least `FASTER` times
    faster.

    Args:
        kind, config: the requested model.
        device: torch device to train on.
        images: numbers of training and of validation images.
        batch, epochs, members: options of the requested training.
        patience: seconds after which no further model is timed.

    Returns:
        One line, or None if the requested training takes minutes too, or no smaller model is that much faster.
    """
    limit, few = MINUTES * 60, min(epochs, FEW_EPOCHS)
    at_once = min(batch, images[0])

    def total_seconds(times: tuple[float, float], epochs: int) -> float:
        return (times[0] * images[0] + times[1] * images[1]) * epochs * members

    asked: tuple[float, float] | None = None
    best: tuple[str, tuple[float, float], float] | None = None
    begin = time.perf_counter()
    for options, smaller in kind.smaller(config):
        work = kind.work(smaller)
        if best is not None and total_seconds(best[1], few) * work / best[2] > limit:
            break
        found = seconds_per_image(kind.model(**smaller).to(device), at_once, seconds=0.1)
        if asked is None:
            asked = _asked(kind, config, device, found, work)
            if total_seconds(asked, epochs) < 2 * limit:
                return None
        if asked[0] < FASTER * found[0] or (best is not None and total_seconds(found, few) > limit):
            break
        best = (options, found, work)
        if time.perf_counter() - begin > patience:
            break
    if best is None or asked is None:
        return None
    options, found, _ = best
    if total_seconds(found, few) > limit:
        few = min(few, max(MIN_EPOCHS, int(limit / total_seconds(found, 1))))
    if total_seconds(asked, epochs) < 2 * total_seconds(found, few):
        return None
    options += f" --epochs {few}" if few < epochs else ""
    short, long = format_seconds(total_seconds(found, few)), format_seconds(total_seconds(asked, epochs))
    return (
        f"{options} takes about {short} on this machine, the training asked for up to {long}: steps of both were timed "
        "just now"
    )


FASTER = 3.0
"""Smallest ratio of step times, requested to suggested model."""

_LONGEST_STEP = 0.25


def _asked(
    kind: ModelKind[Any], config: Config, device: str | torch.device, small: tuple[float, float], work: float
) -> tuple[float, float]:
    """Seconds per image of a step and of a forward pass of the requested model.

    One image is timed. If its step would take long, a smaller image is timed, and the time is extrapolated linearly in
    the number of operations, with the slope between the small model and this one.

    Args:
        small: times of a small model; ``work``: its number of operations.
    """
    timed, (height, width) = config, config["size"]
    while kind.work(timed) * small[0] / work > _LONGEST_STEP and min(height, width) >= 2 * MIN_SIDE:
        height, width = height // 2, width // 2
        timed = config | {"size": [height, width]}
    timed_work, full_work = kind.work(timed), kind.work(config)
    found = []
    for seconds, before in zip(seconds_per_image(kind.model(**timed).to(device), 1, seconds=0.1), small, strict=True):
        slope = (seconds - before) / (timed_work - work) if timed_work > work else 0.0
        found.append(seconds + max(slope, 0.0) * (full_work - timed_work))
    return found[0], found[1]


def format_seconds(seconds: float) -> str:
    """A duration in words.

    Example:
        >>> [format_seconds(s) for s in (0.2, 42, 600, 9000, 3e5, 3e7)]
        ['1 s', '42 s', '10 min', '2.5 h', '3 days', '347 days']
    """
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"
