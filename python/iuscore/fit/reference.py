"""Real images kept at the model's size while all images are read: the reference of `iuscore.explain.value`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from iuscore.explain.value import ReferenceViews
from iuscore.explain.value.reference import CONFIG_NAME, MIN_REAL, WEIGHTS_NAME
from iuscore.explain.value.views import PATCH_SIDE, prepared
from iuscore.images import Sample, Source
from iuscore.ops._range import range_is_known

PER_CLASS = 1000
"""Real images of a class, at most, in a reference."""

IN_ALL = 4000
"""Real images of all classes together, at most."""

BYTES = 512 << 20
"""Bytes of pixels that are held at once, at most."""


class ReferenceImages:
    """Training and validation images for the reference, drawn before they are read.

    Test images are left out: a classifier may be tested on them. Of a class with more images than fit, some are drawn
    by ``seed``.

    Args:
        parts: name -> source. classes: names in label order. size: (height, width) of the model. seed: of the draw.
    """

    def __init__(self, parts: Mapping[str, Source], classes: Sequence[str], size: Sequence[int], seed: int) -> None:
        self.classes, self.seed = tuple(classes), seed
        self.size = (max(int(size[0]), PATCH_SIDE), max(int(size[1]), PATCH_SIDE))
        self.parts = {name: part for name, part in parts.items() if name != "test"}
        self.chosen = self._drawn()
        self.images: dict[tuple[str, int], npt.NDArray[Any]] = {}

    def _drawn(self) -> set[tuple[str, int]]:
        n = len(self.classes)
        most = max(MIN_REAL, min(PER_CLASS, IN_ALL // n, BYTES // (3 * math.prod(self.size) * n)))
        places: dict[str, list[tuple[str, int]]] = {name: [] for name in self.classes}
        for name, part in self.parts.items():
            for position, item in enumerate(part.items):
                places[item.label or ""].append((name, position))
        rng = np.random.default_rng([self.seed, 4])
        found: set[tuple[str, int]] = set()
        for of_class in places.values():
            found |= {of_class[i] for i in rng.permutation(len(of_class))[:most]}
        return found

    def look(self, name: str, position: int, sample: Sample) -> None:
        """Keep a readable image, if it was drawn, as bytes at the model's size."""
        if (name, position) in self.chosen and sample.pixels is not None:
            with range_is_known():  # the reader of the files warns about ranges
                self.images[name, position] = next(prepared([sample.pixels], self.size))[0].numpy()

    def fitted(self) -> ReferenceViews | None:
        """The reference; None where a class has fewer than 10 readable images."""
        order = sorted(self.images)
        items = [self.parts[name].items[position] for name, position in order]
        labels = [item.label or "" for item in items]
        if min(labels.count(name) for name in self.classes) < MIN_REAL:
            return None
        groups = [item.group for item in items]
        known = all(group is not None for group in groups)
        return ReferenceViews.fit(
            [self.images[place] for place in order],
            labels,
            self.classes,
            groups=[str(group) for group in groups] if known else None,
            size=self.size,
            seed=self.seed,
            uids=[item.uid for item in items],
        )

    @contextmanager
    def replaced(self, folder: Path) -> Iterator[None]:
        """Remove the reference of an earlier model from a folder; write this one after the block wrote the model."""
        reference = self.fitted()
        for name in (CONFIG_NAME, WEIGHTS_NAME):
            (folder / name).unlink(missing_ok=True)
        yield
        if reference is not None:
            reference.save(folder)
