"""MedMNIST archives: ``{train,val,test}_images`` and ``{train,val,test}_labels`` in one .npz file."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iuscore._run.regular_files import regular_only
from iuscore.errors import UserError
from iuscore.images.decoded import MAX_PIXELS
from iuscore.images.npz import read_header, require_images, unpacked_bytes
from iuscore.images.reasons import said_by
from iuscore.images.sample import Item, Source, StoredArray

SPLITS = ("train", "val", "test")

_PIXEL_TYPES = {
    "uint8": "uint8",
    "uint16": "uint16",
    "float16": "float32",
    "float32": "float32",
    "float64": "float32",
}


class NpzSource(Source):
    """Images of one MedMNIST archive, held in memory; uids are ``train/000012``.

    Args:
        path: .npz with ``{split}_images`` [N, H, W], [N, H, W, 1] or [N, H, W, 3] (uint8, uint16, or
            floats in [0, 1]) and ``{split}_labels`` [N, 1] or [N], integers.
        split: ``"train"``, ``"val"`` or ``"test"``; None takes all that are there.
        labeled: False: labels are not read, and need not be there.
        class_names: name of label 0, 1, ...; without it the labels are ``"0"``, ``"1"``, ...
        max_pixels: larger images are refused.

    Raises:
        UserError: damaged or foreign file, no such split, several labels per image, 3-D volumes, a label
            without a name.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     path = Path(root, "m.npz")
        ...     images = np.zeros((2, 28, 28), np.uint8)
        ...     np.savez(path, train_images=images, train_labels=np.array([[0], [1]]))
        ...     source = NpzSource(path, "train", class_names=["normal", "pneumonia"])
        >>> source.items[1].uid, source.items[1].label, source.read(1).pixels.shape
        ('train/000001', 'pneumonia', (28, 28, 1))
    """

    def __init__(
        self,
        path: str | Path,
        split: str | None = None,
        *,
        labeled: bool = True,
        class_names: Sequence[str] | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        path = Path(path)
        items: list[Item] = []
        for name, arrays in _load(path, split, labeled).items():
            images = _checked_images(path, f"{name}_images", arrays[f"{name}_images"])
            labels: list[str] | list[None] = [None] * len(images)
            if labeled:
                key = f"{name}_labels"
                labels = _named(path, key, checked_labels(path, key, arrays[key], len(images)), class_names)
            items.extend(Item(f"{name}/{i:06d}", label, None, StoredArray(images, i)) for i, label in enumerate(labels))
        if not items:
            raise UserError(f"no images in {path}: its arrays are empty")
        super().__init__(path, items, max_pixels=max_pixels)


def _load(path: Path, split: str | None, labeled: bool) -> dict[str, dict[str, NDArray[Any]]]:
    if split is not None and split not in SPLITS:
        raise UserError(f"split: expected train, val or test, got {split!r}")
    try:
        # Not np.load(path): where the archive is damaged it leaves the file open.
        with open(path, "rb", opener=regular_only) as stream:
            if not zipfile.is_zipfile(stream):
                raise UserError(f"{path} is damaged or no .npz archive")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as archive:
                return _read(path, archive, split, labeled)
    except FileNotFoundError as error:
        raise UserError(f"no such file or folder: {path}") from error
    except UserError:
        raise
    except Exception as error:  # np.load lets out whatever zip, zlib and header parsing raise
        raise UserError(f"{path} is damaged: {said_by(error)}") from error


def _read(path: Path, archive: Any, split: str | None, labeled: bool) -> dict[str, dict[str, NDArray[Any]]]:
    present = sorted(archive.files)
    splits = (split,) if split else tuple(s for s in sorted(SPLITS) if f"{s}_images" in present)
    kinds = ("images", "labels") if labeled else ("images",)
    for key in (f"{s}_{kind}" for s in splits or SPLITS for kind in kinds):
        if key not in present:
            raise UserError(f"{path} has no {key}: it has {', '.join(present) or 'no arrays'}")
    for key in (f"{s}_{kind}" for s in splits for kind in kinds):
        _require_there(path, archive.zip, key)
    return {s: {f"{s}_{kind}": archive[f"{s}_{kind}"] for kind in kinds} for s in splits}


def _require_there(path: Path, archive: zipfile.ZipFile, key: str) -> None:
    """A UserError before memory is taken for an array that cannot be there."""
    member = archive.getinfo(f"{key}.npy")
    there = unpacked_bytes(path, member)
    with archive.open(member) as stream:
        header = read_header(stream)
    claimed = math.prod(header.shape) * header.dtype.itemsize
    if header.start + claimed > there:
        raise UserError(f"{path} is cut off: {key} claims {claimed} bytes, {max(0, there - header.start)} can be there")
    if key.endswith("_images") and header.shape:
        require_images(path, member, header.shape[0])


def _checked_images(path: Path, key: str, images: NDArray[Any]) -> NDArray[Any]:
    return images.astype(pixel_type(path, key, images.shape, images.dtype), copy=False)


def pixel_type(path: Path, key: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    """Type the pixels of an array of images are given as; a UserError where it is none."""
    described = f"{key} of {path}: expected [N, H, W] or [N, H, W, 3], got {list(shape)}"
    if len(shape) == 4 and shape[3] not in (1, 3):
        raise UserError(f"{described}; 3-D volumes are not supported")
    if len(shape) not in (3, 4) or 0 in shape[1:]:
        raise UserError(described)
    if dtype.name not in _PIXEL_TYPES:
        raise UserError(f"{key} of {path}: expected uint8, uint16 or floats in [0, 1], got {dtype}")
    return _PIXEL_TYPES[dtype.name]


def require_one_label(path: Path, key: str, shape: tuple[int, ...], count: int) -> None:
    """A UserError where an array of this shape has not one label for each of ``count`` images."""
    if len(shape) == 2 and shape[1] > 1:
        raise UserError(f"{key} of {path} has {shape[1]} labels per image: only one per image is supported")
    if len(shape) not in (1, 2) or math.prod(shape) != count:
        raise UserError(f"{key} of {path}: expected [{count}, 1], one label per image, got {list(shape)}")


def checked_labels(path: Path, key: str, labels: NDArray[Any], count: int) -> NDArray[Any]:
    """Labels [count]; a UserError where ``labels`` are something else than integers from 0, one an image."""
    require_one_label(path, key, labels.shape, count)
    if labels.dtype.kind not in "iu" or (count and labels.min() < 0):
        raise UserError(f"{key} of {path}: expected integers from 0, got {labels.dtype} {labels.reshape(-1)[:3]}")
    return labels.reshape(-1)


def _named(path: Path, key: str, labels: NDArray[Any], class_names: Sequence[str] | None) -> list[str]:
    numbers = [int(label) for label in labels]
    if class_names is None:
        return [str(number) for number in numbers]
    if numbers and max(numbers) >= len(class_names):
        raise UserError(
            f"classes: {key} of {path} has labels up to {max(numbers)}, but {len(class_names)} names were given"
        )
    return [class_names[number] for number in numbers]
