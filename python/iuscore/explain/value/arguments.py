"""Labels, names of classes and sizes as they are given, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from iuscore.errors import UserError, bounded, class_named, closest_match
from iuscore.explain.value.linear import Labels
from iuscore.explain.value.views import PATCH_SIDE


def label_numbers(labels: Sequence[str] | Sequence[int] | npt.NDArray[Any], classes: Sequence[str], n: int) -> Labels:
    """Labels as places in ``classes``: int64 [n].

    Raises:
        UserError: another number of labels, or one that is no class.

    Example:
        >>> label_numbers(["b", "a", "B"], ["a", "b"], 3).tolist(), label_numbers([1, 0], ["a", "b"], 2).tolist()
        ([1, 0, 1], [1, 0])
    """
    given = labels.tolist() if isinstance(labels, np.ndarray | Tensor) else list(labels)
    if len(given) != n:
        raise UserError(f"labels: expected one per image, {n}, got {len(given)}")
    found = np.empty(n, np.int64)
    for i, label in enumerate(given):
        if isinstance(label, str) and (name := class_named(label, classes)) is not None:
            found[i] = list(classes).index(name)
        elif isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(classes):
            found[i] = label
        else:
            close = closest_match(label, classes) if isinstance(label, str) else None
            meant = f"; did you mean {close!r}?" if close else f"; or a place from 0 to {len(classes) - 1}"
            raise UserError(f"labels[{i}]: expected one of {', '.join(classes)}, got {bounded(label)}{meant}")
    return found


def checked_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Two different names or more."""
    names = tuple(classes) if not isinstance(classes, str) else ()
    if len(names) < 2 or len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
        raise UserError(f"classes: expected two different names or more, got {bounded(classes)}")
    return names


def checked_size(size: Any) -> tuple[int, int]:
    """Height and width of at least 32."""
    pair = tuple(size) if isinstance(size, Sequence) else ()
    if len(pair) != 2 or not all(isinstance(side, int) and side >= PATCH_SIDE for side in pair):
        raise UserError(f"size: expected (height, width) of at least {PATCH_SIDE} each, got {bounded(size)}")
    return pair[0], pair[1]
