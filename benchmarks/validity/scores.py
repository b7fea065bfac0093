"""Every score of a candidate set, all of them higher for a set that should be more useful."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from data import Labels, Part, Pixels, Task
from learners import SEEDS, Floats, Trained, auroc_of
from PIL import Image

import iuscore
from iuscore.explain.compare import controls
from iuscore.explain.value import ReferenceViews, SetValue, set_value
from iuscore.explain.value.judge import moments_of
from iuscore.explain.value.learners import lda_scores, macro_auroc, neighbor_scores
from iuscore.explain.value.linear import discriminants, macro_transfer
from iuscore.fit import fit, open_splits
from iuscore.scoring import Scorer

Rows = npt.NDArray[Any]

PROXY_STEPS = 50
PROXY_SEED = 100
"""Of the learner that stands for the user's own one; those of measured usefulness are 0, 1, 2."""


@dataclass(frozen=True)
class Judges:
    """What is fitted to the reference of a task, once."""

    task: Task
    views: ReferenceViews
    scorer: Scorer
    networks: tuple[Trained, ...]
    waves: Waves

    @staticmethod
    def fitted(task: Task) -> Judges:
        part = task.reference
        networks = tuple(Trained(part, len(task.classes), "small", 10 + seed) for seed in SEEDS)
        return Judges(task, task.fitted(), texture_model(task), networks, Waves(part.images))


def texture_model(task: Task) -> Scorer:
    """The product's texture model of the reference: an ensemble of three, fitted to a folder of its images."""
    with tempfile.TemporaryDirectory() as folder:
        real = Path(folder) / "real"
        for k, name in enumerate(task.classes):
            (real / name).mkdir(parents=True)
            for i in np.flatnonzero(task.reference.labels == k):
                image = task.reference.images[i]
                group = i if task.reference.groups is None else task.reference.groups[i]
                path = real / name / f"{group}_{i}.png"
                Image.fromarray(image.squeeze(-1) if image.shape[2] == 1 else image).save(path)
        splits = open_splits(real, group_by=r"^(.+)_\d+\.png", fractions=(0.7, 0.15, 0.15))
        fit(splits, Path(folder) / "model", model="texture", classes=task.classes)
        return iuscore.load(Path(folder) / "model")


def scores_of(judges: Judges, part: Part) -> tuple[dict[str, float], SetValue]:
    """Name -> score of a set, and the product's own numbers."""
    task, classes = judges.task, len(judges.task.classes)
    found = set_value(judges.views, part.images, part.labels, resampled=0, splits=0)
    assert found.pix5 is not None
    scores = {
        "transfer": found.transfer.value,
        "pix4": found.pix4.value,
        "pix5": found.pix5.value,
        "label agreement": found.label_agreement.value,
        "contrast error": -float(np.sqrt(np.mean([each.moved.value**2 for each in found.contrast]))),
    }
    scores |= {f"transfer {view}": each.value for view, each in found.transfer_by_view.items()}
    scores |= of_classifiers(judges, part)
    rows = judges.views.embed(part.images)["texture"]
    scores |= distances(judges.views.rows["texture"], judges.views.labels, rows, part.labels)
    waves = judges.waves
    scores |= waves.scores(task.reference, part, classes)
    scores["transfer of 4 views"] = (3 * scores["transfer"] + scores["transfer waves"]) / 4
    scores["pix with waves"] = (5 * scores["pix5"] + scores["lda waves"] + scores["neighbors waves"]) / 7
    proxy = Trained(part, classes, "small", PROXY_SEED, PROXY_STEPS)
    scores["proxy learner"] = auroc_of(proxy.probabilities(task.reference.images), task.reference.labels)
    return scores, found


def of_classifiers(judges: Judges, part: Part) -> dict[str, float]:
    """Means over classes of the published IUS and of the probability of the claimed class."""
    names = [judges.task.classes[k] for k in part.labels]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of images unlike real ones: some sets are made so
        scored = judges.scorer(part.images, target=names, layout="NHWC")
    places = np.arange(len(part))
    order = [scored.classes.index(name) for name in judges.task.classes]
    probabilities = np.asarray(scored.probabilities.detach().numpy(), np.float64)[:, order]
    by_network = np.mean([network.probabilities(part.images) for network in judges.networks], axis=0)
    return {
        "ius": _over_classes(np.asarray(scored.ius.detach().numpy(), np.float64), part),
        "confidence": _over_classes(probabilities[places, part.labels], part),
        "confidence of networks": _over_classes(by_network[places, part.labels], part),
    }


def _over_classes(values: Floats, part: Part) -> float:
    return float(np.mean([values[part.labels == k].mean() for k in np.unique(part.labels)]))


class Waves:
    """A further view: scattering of the 32x32 image, which no data but the mean and spread of R enters.

    Moduli of Gabor filters (wavelengths 4 and 8, 8 directions), and of the coarse ones of the fine moduli; means over
    2x2 quadrants, square root; each column in standard deviations of R, with .3 of the median one added.

    Source: Bruna, Mallat, "Invariant scattering convolution networks", IEEE TPAMI 35 (2013); own filters.
    """

    def __init__(self, reference: Pixels) -> None:
        raw = self.raw(reference)
        self.mean, sd = raw.mean(0), raw.std(0)
        self.scale = sd + 0.3 * np.median(sd)

    @staticmethod
    def _filters(wavelength: float) -> torch.Tensor:
        """Complex [8, 1, w, w] without answer to a flat image."""
        reach = round(wavelength)
        y, x = torch.meshgrid(*[torch.arange(-reach, reach + 1.0)] * 2, indexing="ij")
        window = torch.exp(-(x**2 + y**2) / (2 * (wavelength / 2) ** 2))
        found = []
        for angle in torch.arange(8) * torch.pi / 8:
            wave = torch.exp(2j * torch.pi / wavelength * (x * angle.cos() + y * angle.sin()))
            found.append(window * (wave - (window * wave).sum() / window.sum()) / window.sum())
        return torch.stack(found)[:, None]

    def raw(self, images: Pixels) -> Floats:
        """[n, 4 * 80]: gray levels, moduli at two scales, moduli of moduli."""
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float().mean(1, keepdim=True)
        side = images.shape[1]
        mode: dict[str, Any] = {"mode": "area"} if side >= 32 else {"mode": "bilinear", "align_corners": False}
        pixels = torch.nn.functional.interpolate(pixels, (32, 32), **mode)
        fine, coarse = self._filters(4.0), self._filters(8.0)

        def modulus(maps: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
            n, c = maps.shape[:2]
            padded = torch.nn.functional.pad(
                maps.reshape(n * c, 1, *maps.shape[2:]), [filters.shape[-1] // 2] * 4, "reflect"
            )
            parts = [torch.nn.functional.conv2d(padded, part.contiguous()) for part in (filters.real, filters.imag)]
            return torch.hypot(*parts).reshape(n, -1, *maps.shape[2:])

        rows = []
        for part in pixels.split(64):
            first = modulus(part, fine)
            maps = torch.cat([first, modulus(part, coarse), modulus(first, coarse)], 1)
            rows.append(torch.nn.functional.adaptive_avg_pool2d(maps, 2).flatten(1).sqrt())
        return np.asarray(torch.cat(rows).double().numpy(), np.float64)

    def rows(self, images: Pixels) -> Floats:
        """In standard deviations of R, clipped at 8."""
        found: Floats = np.clip((self.raw(images) - self.mean) / self.scale, -8, 8)
        return found

    def scores(self, reference: Part, part: Part, classes: int) -> dict[str, float]:
        real, rows = self.rows(reference.images), self.rows(part.images)
        of_set, of_real = moments_of(rows, part.labels, classes), moments_of(real, reference.labels, classes)
        neighbors = neighbor_scores(rows, part.labels, classes, real)
        return {
            "transfer waves": macro_transfer(discriminants(of_set), discriminants(of_real)),
            "lda waves": macro_auroc(lda_scores(of_set, real), reference.labels, classes),
            "neighbors waves": macro_auroc(neighbors, reference.labels, classes),
        }


def distances(real: Rows, real_labels: Labels, rows: Rows, labels: Labels) -> dict[str, float]:
    """Measures of likeness to real images in the view ``texture``, with the sign that makes likeness a higher score.

    Each over all images, whatever their class, and ("by class") as the mean over classes.
    """
    found = _likeness(real, rows)
    classes = np.unique(real_labels)
    each = [_likeness(real[real_labels == k], rows[labels == k]) for k in classes]
    found |= {f"{name} by class": float(np.mean([one[name] for one in each])) for name in dict(found)}
    span = controls.discriminative_span(rows, labels, real, real_labels, len(classes))
    return found | {"discriminative span": span}


def _likeness(real: Rows, rows: Rows) -> dict[str, float]:
    return {
        "frechet": -controls.frechet_distance(rows, real),
        "kernel": -controls.kernel_distance(rows, real),
        "energy": -controls.energy_distance(rows, real),
        "two-sample": -controls.classifier_two_sample(rows, real, 0),
        **controls.precision_recall_density_coverage(rows, real),
    }
