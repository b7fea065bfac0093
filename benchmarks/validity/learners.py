"""Learners that measure usefulness: they see the pixels of a candidate set alone, and are tested on real images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from data import Labels, Part, Pixels
from torch import Tensor, nn
from torch.nn import functional

from iuscore.explain.value.learners import macro_auroc

SIDE = 32
TREES_SIDE = 16
STEPS = 120
BATCH = 64
LEARNING_RATE = 3e-3
TREES = 50
SEEDS = (0, 1, 2)
KINDS = ("small", "resnet")
"""Kinds of convolutional networks; boosted trees are the third kind of learner."""

Floats = npt.NDArray[np.float64]


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(out), nn.BatchNorm2d(out)])
        self.shortcut = (
            nn.Conv2d(channels, out, 1, stride, bias=False) if (channels, stride) != (out, 1) else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norms[0](self.first(x)))
        return functional.relu(self.norms[1](self.second(y)) + self.shortcut(x))


def network(kind: str, channels: int, classes: int) -> nn.Module:
    """ "small": three convolutions, one max pooling; "resnet": a stem of stride 2 and three residual blocks."""
    if kind == "resnet":
        stem = [nn.Conv2d(channels, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
        body: list[nn.Module] = [*stem, Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)]
    else:
        first = [nn.Conv2d(channels, 16, 5, 2, 2, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
        second = [nn.Conv2d(16, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)]
        body = [*first, *second, nn.Conv2d(32, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def small_images(images: Pixels, side: int) -> Tensor:
    """float32 [n, C, side, side] in 0..1: area averages of larger images, bilinear from smaller ones."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    if images.shape[1] >= side:
        return functional.interpolate(pixels, (side, side), mode="area")
    return functional.interpolate(pixels, (side, side), mode="bilinear", align_corners=False)


def _quick(batch: Tensor) -> Tensor:
    """In the layout that convolutions on the CPU are faster with."""
    return batch.contiguous(memory_format=torch.channels_last)


class Trained:
    """A network fitted to a set.

    Args:
        part: the set. classes: their number. kind: one of `KINDS`. seed: of weights and order. steps: batches of 64.
    """

    def __init__(self, part: Part, classes: int, kind: str, seed: int, steps: int = STEPS) -> None:
        inputs = small_images(part.images, SIDE)
        self.mean = inputs.mean((0, 2, 3), keepdim=True)
        self.sd = inputs.std((0, 2, 3), keepdim=True) + 1e-3
        inputs, labels = (inputs - self.mean) / self.sd, torch.from_numpy(part.labels)
        generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = network(kind, inputs.shape[1], classes).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(self.net.parameters(), LEARNING_RATE, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
        order = torch.empty(0, dtype=torch.int64)
        for _ in range(steps):
            while len(order) < BATCH:
                order = torch.cat([order, torch.randperm(len(labels), generator=generator)])
            batch, order = order[:BATCH], order[BATCH:]
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = functional.cross_entropy(self.net(_quick(inputs[batch])), labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        self.net.eval()

    def probabilities(self, images: Pixels) -> Floats:
        """[n, K]."""
        inputs = (small_images(images, SIDE) - self.mean) / self.sd
        with torch.no_grad():
            found = [self.net(_quick(part)).double().softmax(1) for part in inputs.split(256)]
        return np.asarray(torch.cat(found).numpy(), np.float64)

    def auroc(self, part: Part) -> float:
        """On real images, mean over classes."""
        return auroc_of(self.probabilities(part.images), part.labels)


def trees(part: Part, tests: list[Part], seed: int) -> list[float]:
    """AUROC of boosted trees on 16x16 pixels on each test."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    def flat(images: Pixels) -> Floats:
        return np.asarray(small_images(images, TREES_SIDE).flatten(1).numpy(), np.float64)

    learner = HistGradientBoostingClassifier(max_iter=TREES, early_stopping=False, random_state=seed)
    learner.fit(flat(part.images), part.labels)
    return [auroc_of(learner.predict_proba(flat(test.images)), test.labels) for test in tests]


def auroc_of(probabilities: Floats, labels: Labels) -> float:
    """Of class 1 of two, else mean over classes of each against the rest; probabilities [n, K]."""
    classes = probabilities.shape[1]
    return macro_auroc(probabilities[:, 1:] if classes == 2 else probabilities, labels, classes)
