"""How long training takes on this machine, measured on a few batches."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch

from iuscore.fit.training import loss_of
from iuscore.models import AdditiveModel


def seconds_per_image(model: AdditiveModel, batch: int, steps: int = 3) -> tuple[float, float]:
    """Seconds an image of one training step and of one forward pass, on random inputs.

    Args:
        model: on the device to measure; not changed.
        batch: images at once.
        steps: at most; fewer where three of them would take more than about 3 seconds. One more warms up.

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

        def seconds(work: Callable[[], object]) -> float:
            begin = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            return time.perf_counter() - begin

        def step() -> None:
            loss_of(trial, trial(inputs), labels).backward()  # type: ignore[no-untyped-call]

        times = [seconds(step)]
        while len(times) <= steps and sum(times) < 3:
            times.append(seconds(step))
        with torch.no_grad():
            trial.eval()
            forward = seconds(lambda: trial(inputs))
    return min(times) / batch, forward / batch


def format_seconds(seconds: float) -> str:
    """A duration as people say it.

    Example:
        >>> [format_seconds(s) for s in (0.2, 42, 600, 9000)]
        ['1 s', '42 s', '10 min', '2.5 h']
    """
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
