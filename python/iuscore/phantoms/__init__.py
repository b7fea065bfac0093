"""Procedurally drawn phantoms of medical images, normal and abnormal, with known defects of adjustable strength.

Phantoms are drawings for tests and demos, not evidence about any clinical image.

Two kinds: ``endoscopy`` (color: mucosa with light, folds, vessels and highlights; abnormal has a lesion)
and ``radiograph`` (gray: a chest; abnormal has one to three opacities in the lungs). They need no data
and no network, and are drawn with NumPy from a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from iuscore.errors import UserError

from . import _endoscopy, _radiograph
from ._canvas import Canvas, Dice, Kind, Label, canvas
from ._defects import DEFECT_TARGETS, Defects, Target, degrade, swapped

__all__ = ["DEFECT_TARGETS", "Defects", "Kind", "Label", "Target", "draw", "write"]

KINDS: tuple[Kind, ...] = get_args(Kind)
LABELS: tuple[Label, ...] = get_args(Label)

_PROTOTYPES = 3
_SMALLEST_SIDE = 16
_NO_DEFECTS = Defects()
_Painter = Callable[..., NDArray[Any]]
_PAINTERS: dict[Kind, _Painter] = {"endoscopy": _endoscopy.paint, "radiograph": _radiograph.paint}
_CHANNELS: dict[Kind, int] = {"endoscopy": 3, "radiograph": 1}
# Uses of random streams. A stream belongs to an image; the stream of a prototype belongs to the prototype's number.
_SCENE, _SENSOR, _PROTOTYPE = range(3)


def draw(
    kind: Kind,
    label: Label,
    n: int,
    *,
    size: int | tuple[int, int] = 128,
    seed: int = 0,
    defects: Defects = _NO_DEFECTS,
) -> NDArray[np.uint8]:
    """Draw `n` phantoms of one class.

    Image i depends on kind, label, seed, i, size and defects only: the first 5 of 10 images equal those of n = 5. A
    defect of strength 0 changes no bit; a stronger defect degrades the same scenes. At another size a scene has the
    same geometry; only the sensor noise differs.

    Args:
        kind: "endoscopy" or "radiograph".
        label: "normal" or "abnormal".
        n: number of images, >= 0.
        size: side, or (height, width), in pixels, >= 16; a rectangular image shows the square scene stretched.
        seed: >= 0; other seeds give other images.
        defects: strength of each defect.

    Returns:
        uint8 [n, height, width, C] in 0..255, C = 3 (red, green, blue) for endoscopy, 1 for radiograph.

    Raises:
        UserError: an unknown kind or label, a negative n or seed, a size below 16, or a color cast on a
            radiograph.
        TypeError: n, size or seed is not an integer.

    Example:
        >>> draw("endoscopy", "abnormal", 2, size=32, seed=1).shape
        (2, 32, 32, 3)
        >>> normal = draw("radiograph", "normal", 3, size=(24, 32))
        >>> normal.shape, str(normal.dtype)
        ((3, 24, 32, 1), 'uint8')
        >>> bool((draw("radiograph", "normal", 1, size=(24, 32)) == normal[:1]).all())
        True
    """
    _check_choice("kind", kind, KINDS)
    _check_choice("label", label, LABELS)
    n, seed = _at_least("n", n, 0), _at_least("seed", seed, 0)
    page = canvas(*_height_width(size))
    _check_defects(kind, defects)
    images = np.empty((n, page.height, page.width, _CHANNELS[kind]), dtype=np.uint8)
    for index in range(n):
        images[index] = _draw_one(kind, label, index, page, seed, defects)
    return images


def write(
    folder: str | Path,
    kind: Kind,
    *,
    n_per_class: int,
    size: int | tuple[int, int] = 128,
    seed: int = 0,
    splits: Mapping[str, float] = MappingProxyType({"train": 0.6, "val": 0.2, "test": 0.2}),
    defects: Defects = _NO_DEFECTS,
) -> dict[str, dict[str, int]]:
    """Write a data set of PNG files: ``folder/<split>/<label>/<label>_00000.png``.

    The images of a class are those of ``draw(kind, label, n_per_class, ...)``, divided in order among the splits, so
    no image is in two splits.

    Args:
        folder: created if missing; must be empty.
        kind: "endoscopy" (RGB files) or "radiograph" (8-bit gray files).
        n_per_class: images of each class over all splits, >= 0.
        size: side, or (height, width), in pixels, >= 16.
        seed: >= 0.
        splits: name to share of the images; the shares must be positive and sum to 1.
        defects: strength of each defect.

    Returns:
        Number of images by split and label.

    Raises:
        UserError: as `draw`; or the folder is not empty, or the shares of the splits do not sum to 1.
        TypeError: as `draw`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     counts = write(folder, "radiograph", n_per_class=5, size=16)
        >>> counts["train"], counts["test"]
        ({'normal': 3, 'abnormal': 3}, {'normal': 1, 'abnormal': 1})
    """
    from PIL import Image

    _check_choice("kind", kind, KINDS)
    n_per_class, seed = _at_least("n_per_class", n_per_class, 0), _at_least("seed", seed, 0)
    page = canvas(*_height_width(size))
    _check_defects(kind, defects)
    ends = _split_ends(splits, n_per_class)
    root = _empty_folder(folder)

    counts: dict[str, dict[str, int]] = {}
    start = 0
    for split, end in ends.items():
        counts[split] = dict.fromkeys(LABELS, end - start)
        for label in LABELS:
            target = root / split / label
            target.mkdir(parents=True, exist_ok=True)
            for index in range(start, end):
                pixels = _draw_one(kind, label, index, page, seed, defects)
                picture = Image.fromarray(pixels if kind == "endoscopy" else pixels[..., 0])
                picture.save(target / f"{label}_{index:05d}.png")
        start = end
    return counts


def _draw_one(kind: Kind, label: Label, index: int, page: Canvas, seed: int, defects: Defects) -> NDArray[np.uint8]:
    """Image `index` as uint8 [H, W, C]."""

    def stream(use: int, number: int) -> np.random.Generator:
        key = (KINDS.index(kind), LABELS.index(label), use, number)
        return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=key)))

    prototype = stream(_PROTOTYPE, index % _PROTOTYPES) if defects.mode_collapse > 0 else None
    # 0.94, not 1: copies of a collapsed generator still differ a little.
    dice = Dice(stream(_SCENE, index), prototype, 0.94 * defects.mode_collapse)
    lesion = (label == "abnormal") != swapped(index, LABELS.index(label), defects.swapped_labels)
    picture = _PAINTERS[kind](dice, page, lesion=lesion, contrast=1 - 2 * defects.lesion_contrast)
    # The same noise in all channels: cameras remove color noise, but keep brightness noise.
    sensor = stream(_SENSOR, index).standard_normal((page.height, page.width, 1), dtype=np.float32)
    picture = degrade(picture + 0.012 * sensor, defects, page.side)
    pixels: NDArray[np.uint8] = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return pixels


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(f"{name}: expected {' or '.join(map(repr, choices))}, got {value!r}")


def _at_least(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}: expected an integer, got {type(value).__name__}")
    if value < least:
        raise UserError(f"{name}: expected at least {least}, got {value}")
    return int(value)


def _height_width(size: Any) -> tuple[int, int]:
    pair = size if isinstance(size, tuple | list) else (size, size)
    if len(pair) != 2:
        raise UserError(f"size: expected a side or (height, width), got {size!r}")
    return _at_least("size", pair[0], _SMALLEST_SIDE), _at_least("size", pair[1], _SMALLEST_SIDE)


def _check_defects(kind: Kind, defects: Any) -> None:
    if not isinstance(defects, Defects):
        raise TypeError(f"defects: expected phantoms.Defects, got {type(defects).__name__}")
    if defects.color_cast > 0 and _CHANNELS[kind] == 1:
        raise UserError("color_cast: a radiograph has no color; leave it at 0 or draw 'endoscopy'")


def _split_ends(splits: Mapping[str, float], n: int) -> dict[str, int]:
    """Index after the last image of each split; rounding the cumulative sum uses every image exactly once."""
    if not splits or min(splits.values()) <= 0 or abs(sum(splits.values()) - 1) > 1e-6:
        raise UserError(f"splits: expected positive shares that sum to 1, got {dict(splits)}")
    running = np.cumsum(list(splits.values()))
    return {name: round(float(share) * n) for name, share in zip(splits, running, strict=True)}


def _empty_folder(folder: str | Path) -> Path:
    root = Path(folder)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(f"folder: expected a new or empty folder, got {root}; choose another or empty it")
    return root
