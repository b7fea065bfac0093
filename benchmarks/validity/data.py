"""Real images of three tasks, divided into the reference, what candidate sets are made from, and the test."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from iuscore.explain.value import ReferenceViews
from iuscore.explain.value.judge import Judge, halves
from iuscore.features import FEATURES

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

NAMES = ("pneumonia", "mammography", "blood")
SEED = 11
NOISES = (20, 40, 60, 80, 100)
"""Gray levels of noise that blood cells are tried with, the least first."""

TOO_EASY = 0.95
"""Expected AUROC of real images against real ones from which on blood cells are still too easy."""


@dataclass(frozen=True)
class Part:
    """Images uint8 [n, side, side, C] with labels [n]; ``groups`` [n] where known."""

    images: Pixels
    labels: Labels
    groups: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def of(self, places: Labels) -> Part:
        groups = None if self.groups is None else tuple(self.groups[i] for i in places)
        return Part(self.images[places], self.labels[places], groups)


@dataclass(frozen=True)
class Task:
    """Real images of one task.

    Attributes:
        classes: names. n: images of each class in a candidate set. size: that texture features are taken at.
        reference: R. pool: what candidate sets are made from. test: what usefulness is measured on.
        shifted: a second test, from elsewhere; None without one. generated: images of a published generator, or None.
    """

    name: str
    classes: tuple[str, ...]
    n: int
    size: tuple[int, int]
    reference: Part
    pool: Part
    test: Part
    shifted: Part | None = None
    generated: Part | None = None

    def fitted(self) -> ReferenceViews:
        part = self.reference
        return ReferenceViews.fit(part.images, part.labels, self.classes, part.groups, self.size, seed=0)


def load(name: str, data: Path) -> Task:
    """One of `NAMES` from a folder with pneumoniamnist/, mammography/ and blood_cells/."""
    return {"pneumonia": pneumonia, "mammography": mammography, "blood": blood}[name](data)


def pneumonia(data: Path) -> Task:
    """PneumoniaMNIST: all parts are training and validation images, the official test images the shifted test."""
    with np.load(data / "pneumoniamnist" / "pneumoniamnist_rebuilt.npz") as found:
        images = np.concatenate([found["train_images"], found["val_images"]])[..., None]
        labels = np.concatenate([found["train_labels"], found["val_labels"]])[:, 0].astype(np.int64)
        official = Part(found["test_images"][..., None], found["test_labels"][:, 0].astype(np.int64))
    rng = np.random.default_rng([SEED, 0])
    whole, ends = Part(images, labels), (200, 600, 1200)
    orders = [rng.permutation(np.flatnonzero(labels == k)) for k in (0, 1)]
    parts = [
        whole.of(np.concatenate([order[begin:end] for order in orders]))
        for begin, end in zip((0, *ends), ends, strict=False)
    ]
    return Task("pneumonia", ("normal", "pneumonia"), 300, (64, 64), *parts, shifted=official)


def mammography(data: Path) -> Task:
    """Masses: R and pool are patients of real_train, the test is real_val and real_test; and a cDCGAN's images."""
    root, classes = data / "mammography", ("benign", "malignant")
    train = _folder([root / "real_train"], classes, r"^P_\d+")
    test = _folder([root / "real_val", root / "real_test"], classes, r"^P_\d+")
    reference, pool = _by_group(train, (0.4, 0.6), 1)
    generated = _folder([root / "synthetic_cdcgan"], classes, None)
    return Task("mammography", classes, 300, (128, 128), reference, pool, test, generated=generated)


def blood(data: Path) -> Task:
    """Blood cells, made hard: see `degraded`; the noise is the least of `NOISES` that is not `TOO_EASY`."""
    classes = ("platelets", "rbc", "wbc")
    clean = _folder([data / "blood_cells"], classes, r"^BloodImage_\d+")
    parts = _by_group(clean, (0.3, 0.4, 0.3), 2)
    for noise in NOISES:
        task = Task("blood", classes, 80, (64, 64), *(degraded(part, noise, i) for i, part in enumerate(parts)))
        if real_on_real(task) < TOO_EASY:
            break
    return task


def degraded(part: Part, noise: int, stream: int) -> Part:
    """At 32x32, with less color, a color cast of its own in each image, and noise."""
    rng = np.random.default_rng([SEED, 3, stream])
    small = np.stack(
        [np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BOX)) for image in part.images]
    )
    pixels = small.astype(np.float64)
    gray = pixels.mean(-1, keepdims=True)
    pixels = (gray + 0.3 * (pixels - gray)) * rng.uniform(0.7, 1.3, (len(pixels), 1, 1, 3))
    return Part(_bytes(pixels + rng.normal(0, noise, pixels.shape)), part.labels, part.groups)


def real_on_real(task: Task, count: int = 4) -> float:
    """PIX4 of halves of R against the other halves: no candidate set, no test image."""
    views = task.fitted()
    found = []
    for first, second in halves(views.labels, views.groups, len(task.classes), count, 0):
        judge = Judge(
            {view: rows[first] for view, rows in views.rows.items()}, views.labels[first],
            {view: rows[second] for view, rows in views.rows.items()}, views.labels[second],
            classes=len(task.classes), features=FEATURES[views.record.kind], seed=0, trees=False,
        )  # fmt: skip
        found.append(judge.numbers().named["pix4"])
    return float(np.mean(found))


def _folder(roots: list[Path], classes: tuple[str, ...], group: str | None) -> Part:
    images: list[Any] = []
    labels: list[int] = []
    groups: list[str] = []
    for root in roots:
        for k, name in enumerate(classes):
            for path in sorted((root / name).glob("*.png")):
                pixels = np.asarray(Image.open(path))
                images.append(pixels[..., None] if pixels.ndim == 2 else pixels)
                labels.append(k)
                if group is not None:
                    match = re.search(group, path.name)
                    groups.append(path.name if match is None else match[0])
    if not images:
        raise SystemExit(f"--data: expected images in {roots[0]}, found none")
    return Part(np.stack(images), np.array(labels, np.int64), tuple(groups) if group is not None else None)


def _by_group(part: Part, shares: tuple[float, ...], stream: int) -> list[Part]:
    """Parts with about these shares of the groups."""
    assert part.groups is not None
    names = np.random.default_rng([SEED, stream]).permutation(sorted(set(part.groups)))
    ends = np.rint(np.cumsum(shares) * len(names)).astype(int)
    found = []
    for begin, end in zip((0, *ends), ends, strict=False):
        chosen = set(names[begin:end].tolist())
        found.append(part.of(np.array([i for i, group in enumerate(part.groups) if group in chosen], np.int64)))
    return found


def _bytes(pixels: npt.NDArray[np.float64]) -> Pixels:
    found: Pixels = np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)
    return found
