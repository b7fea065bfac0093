"""How long training takes on this machine, measured on a few batches."""

from __future__ import annotations

import copy
import time

import numpy as np
import torch

from iuscore.models import AdditiveModel
from iuscore.training import LabeledInputs, TrainingOptions, loss_of


def seconds_per_image(
    model: AdditiveModel, data: LabeledInputs, options: TrainingOptions, *, budget: float = 3.0
) -> tuple[float, float]:
    """Seconds an image of one training step and of one forward pass.

    Measured on a copy of ``model``, after one step of warm-up, for at most about ``budget`` seconds or three steps.
    """
    device = model.bias.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        trial = copy.deepcopy(model).train()
        n = min(options.batch_size, len(data))
        inputs, labels = data.batch(np.arange(n), device)
        steps: list[float] = []
        started = time.perf_counter()
        while len(steps) < 4 and (not steps or time.perf_counter() - started < budget):
            begin = time.perf_counter()
            loss_of(trial, trial(inputs), labels).backward()  # type: ignore[no-untyped-call]
            steps.append(time.perf_counter() - begin)
        trial.eval()
        begin = time.perf_counter()
        with torch.no_grad():
            trial(inputs)
        forward = time.perf_counter() - begin
    return min(steps) / n, forward / n


def format_seconds(seconds: float) -> str:
    """A duration as people say it.

    Example:
        >>> [format_seconds(s) for s in (0.2, 42, 600, 9000)]
        ['1 s', '42 s', '10 min', '2.5 h']
    """
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
