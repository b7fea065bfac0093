"""The same labeled images in every format that is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iuscore import phantoms
from iuscore.images import decode
from tests.images.sharded_sources import tar

CLASSES = ("abnormal", "normal")
PATIENTS, EACH = 8, 2


@dataclass(frozen=True)
class Phantom:
    """One image file: its path in a folder of classes, its class, its patient and its bytes."""

    path: str
    label: str
    patient: str
    content: bytes


def draw(root: Path) -> list[Phantom]:
    """Sixteen patients with two images each, in the order of their paths; drawn in ``root``."""
    phantoms.write(root, "radiograph", n_per_class=PATIENTS * EACH, size=24, seed=1, splits={"images": 1.0})
    found = []
    for label in CLASSES:
        for i, file in enumerate(sorted((root / "images" / label).iterdir())):
            patient = f"{label[0].upper()}{i // EACH:02d}"
            found.append(Phantom(f"{label}/{patient}_{i % EACH}.png", label, patient, file.read_bytes()))
    return sorted(found, key=lambda image: image.path)


def members(drawn: list[Phantom]) -> list[tuple[str, bytes]]:
    return [
        member
        for image in drawn
        for member in ((image.path, image.content), (image.path.replace(".png", ".cls"), image.label.encode()))
    ]


def pixels(drawn: list[Phantom]) -> np.ndarray:
    return np.stack([decode(image.content).pixels[..., 0] for image in drawn])


def numbers(drawn: list[Phantom]) -> np.ndarray:
    return np.array([CLASSES.index(image.label) for image in drawn])


def as_folder(root: Path, drawn: list[Phantom]) -> Path:
    for image in drawn:
        path = root / "real" / image.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image.content)
    return root / "real"


def as_prefixes(root: Path, drawn: list[Phantom]) -> Path:
    (root / "flat").mkdir()
    for image in drawn:
        (root / "flat" / image.path.replace("/", "_")).write_bytes(image.content)
    return root / "flat"


def as_tar(root: Path, drawn: list[Phantom]) -> Path:
    return tar(root / "x.tar", members(drawn))


def as_tars(root: Path, drawn: list[Phantom]) -> Path:
    half = len(drawn) // 2
    tar(root / "tars/0.tar", members(drawn[:half]))
    tar(root / "tars/1.tar", members(drawn[half:]))
    return root / "tars"


def as_parquet(root: Path, drawn: list[Phantom], name: str = "x.parquet") -> Path:
    table = pa.table({"image": [image.content for image in drawn], "label": [image.label for image in drawn]})
    (root / name).parent.mkdir(exist_ok=True)
    pq.write_table(table, root / name, row_group_size=7)
    return root / name


def as_npz(root: Path, drawn: list[Phantom]) -> Path:
    np.savez_compressed(root / "x.npz", train_images=pixels(drawn), train_labels=numbers(drawn)[:, None])
    return root / "x.npz"


def as_npy(root: Path, drawn: list[Phantom]) -> Path:
    np.save(root / "x.npy", pixels(drawn))
    np.save(root / "x_labels.npy", numbers(drawn))
    return root / "x.npy"


FORMATS: dict[str, Callable[[Path, list[Phantom]], Path]] = {
    "prefixes": as_prefixes,
    "tar": as_tar,
    "folder of tars": as_tars,
    "parquet": as_parquet,
    "npz": as_npz,
    "npy": as_npy,
}
