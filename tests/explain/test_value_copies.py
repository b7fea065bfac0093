"""Planted copies of real images: which are found stands in docs/value.md, and is measured here again."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iuscore import phantoms
from iuscore.explain.value import ReferenceViews
from iuscore.explain.value.duplicates import nearest_real
from tests.project.tree import ROOT

N = 100
"""Real images of each class in the reference, as many others, and copies."""

pytestmark = pytest.mark.usefixtures("one_thread")


def jpeg(image: Any, quality: int) -> Any:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def noisy(image: Any, sd: float, seed: int) -> Any:
    noise = np.random.default_rng(seed).normal(0, sd, image.shape)
    return np.clip(image + noise.round(), 0, 255).astype(np.uint8)


def moved(image: Any, pixels: int) -> Any:
    """To the right; the left border is repeated."""
    return np.concatenate([np.repeat(image[:, :1], pixels, axis=1), image[:, :-pixels]], axis=1)


PLANTS: dict[str, Callable[[Any, int], Any]] = {
    "the same pixels": lambda image, _: image,
    "noise, sd 1 gray level": lambda image, seed: noisy(image, 1, seed),
    "JPEG, quality 90": lambda image, _: jpeg(image, 90),
    "shifted by 1 pixel": lambda image, _: moved(image, 1),
    "10 gray levels lighter": lambda image, _: np.clip(image.astype(int) + 10, 0, 255).astype(np.uint8),
    "JPEG, quality 50": lambda image, _: jpeg(image, 50),
    "shifted by 4 pixels": lambda image, _: moved(image, 4),
    "noise, sd 4 gray levels": lambda image, seed: noisy(image, 4, seed),
    "mirrored": lambda image, _: image[:, ::-1],
}
OTHERS = "other real images"


def _of_phantoms(kind: Any) -> Any:
    drawn = [phantoms.draw(kind, label, 2 * N, size=64, seed=0) for label in ("normal", "abnormal")]
    return [each[..., 0] if each.shape[-1] == 1 else each for each in drawn], 64


def _of_files(size: int, *folders: Path) -> Any:
    """The first images of each folder in a drawn order."""
    if not all(folder.is_dir() for folder in folders):
        pytest.skip(f"no {folders[0]}")
    found = []
    for folder in folders:
        files = sorted(folder.glob("*.png"))
        chosen = np.random.default_rng(0).permutation(len(files))[: 2 * N]
        found.append(np.stack([np.asarray(Image.open(files[i])) for i in chosen]))
    return found, size


def _of_pneumonia(path: Path) -> Any:
    if not path.is_file():
        pytest.skip(f"no {path}")
    with np.load(path) as found:
        images, labels = found["train_images"], found["train_labels"][:, 0]
    rng = np.random.default_rng(0)
    return [images[rng.permutation(np.flatnonzero(labels == k))[: 2 * N]] for k in (0, 1)], 64


SETS = ("drawn radiographs", "drawn endoscopy", "PneumoniaMNIST", "mammograms", "blood cells")


def _images(name: str, shared: Path | None) -> tuple[list[Any], int]:
    """2 N images of each class, and the size they are compared at."""
    if name == "drawn radiographs":
        return _of_phantoms("radiograph")
    if name == "drawn endoscopy":
        return _of_phantoms("endoscopy")
    if shared is None:
        pytest.skip("no folder shared/ in the repository or beside it")
    data = shared / "data"
    if name == "PneumoniaMNIST":
        return _of_pneumonia(data / "pneumoniamnist" / "pneumoniamnist_rebuilt.npz")
    if name == "mammograms":
        return _of_files(128, *(data / "mammography" / "real_train" / label for label in ("benign", "malignant")))
    return _of_files(96, *(data / "blood_cells" / label for label in ("wbc", "rbc")))


@cache
def found_shares(name: str, shared: Path | None) -> dict[str, float]:
    """Share of planted copies, and of other real images, that count as copies of a real image."""
    images, side = _images(name, shared)
    real, others = (np.concatenate([each[part] for each in images]) for part in (slice(N), slice(N, None)))
    deep = (lambda batch: batch[..., None]) if real.ndim == 3 else (lambda batch: batch)
    labels = np.repeat([0, 1], N)
    reference = ReferenceViews.fit(deep(real), labels, ["a", "b"], size=(side, side), layout="NHWC")
    sources = real[np.random.default_rng(1).permutation(2 * N)[:N]]
    sets = {plant: np.stack([make(image, i) for i, image in enumerate(sources)]) for plant, make in PLANTS.items()}
    found = {}
    for plant, given in (sets | {OTHERS: others}).items():
        rows = reference.embed(deep(np.ascontiguousarray(given)), layout="NHWC")
        found[plant] = float((nearest_real(rows, reference.rows, reference.median_distance)[1] < 1).mean())
    return found


@pytest.fixture
def shares(request: pytest.FixtureRequest) -> dict[str, float]:
    from tests.conftest import shared_folder

    return found_shares(request.param, shared_folder())


@pytest.mark.parametrize("shares", SETS, indirect=True)
class TestPlantedCopies:
    def test_those_that_hardly_change_pixels_are_found(self, shares: dict[str, float]) -> None:
        assert shares["the same pixels"] == 1
        assert shares["noise, sd 1 gray level"] > 0.75
        assert shares["JPEG, quality 90"] > 0.75

    def test_a_mirrored_one_is_not(self, shares: dict[str, float]) -> None:
        """A limit that docs/value.md names: the views know left from right."""
        assert shares["mirrored"] < 0.05

    def test_other_real_images_are_no_copies(self, shares: dict[str, float]) -> None:
        """Three pairs of blood cells are the same cell, photographed twice: all were looked at."""
        assert shares[OTHERS] <= 3 / (2 * N)


def printed() -> dict[str, dict[str, int]]:
    """Set -> plant -> percent, of the table on docs/value.md."""
    text = (ROOT / "docs" / "value.md").read_text()
    head = next(line for line in text.splitlines() if line.startswith("| copy |"))
    columns = [cell.strip() for cell in head.strip("|").split("|")][1:]
    rows = re.findall(r"^\| (.+?) \|((?: *\d+ \|)+)$", text, re.MULTILINE)
    return {
        name: {plant: int(cells.strip(" |").split("|")[i]) for plant, cells in rows} for i, name in enumerate(columns)
    }


@pytest.mark.parametrize("name", SETS)
def test_the_page_has_these_shares(name: str) -> None:
    from tests.conftest import shared_folder

    found = {plant: round(100 * share) for plant, share in found_shares(name, shared_folder()).items()}
    assert list(printed()[name]) == list(found)
    assert printed()[name] == pytest.approx(found, abs=3)  # a few images at the bound
