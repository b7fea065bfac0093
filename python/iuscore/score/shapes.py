"""Shape functions: what one feature of a texture model contributes as it goes from low to high."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from iuscore.errors import UserError
from iuscore.features import Feature
from iuscore.models import Ensemble, TextureModel
from iuscore.score.plot import new_figure

Array = npt.NDArray[np.float64]

REACH = 3.0  # standard deviations to either side; the model itself looks no farther
POINTS = 61
_BETWEEN = 8


@dataclass(frozen=True)
class ShapeFunction:
    """What a feature contributes while all others are at their mean over the training images.

    Attributes:
        feature: which one.
        positions: standard deviations from the mean over the training images, ascending, [P].
        values: the same in the feature's own unit, [P].
        contributions: of the feature's group towards the class's output, less that at the mean, [P].
        error: largest error of straight lines between these points, measured at 8 places in every step.
    """

    feature: Feature
    positions: Array
    values: Array
    contributions: Array
    error: float

    @property
    def effect(self) -> float:
        """Largest less smallest contribution within two standard deviations."""
        near = self.contributions[np.abs(self.positions) <= 2.0 + 1e-9]
        return float(np.ptp(near))


@torch.no_grad()
def shape_functions(model: Ensemble, target: str) -> list[ShapeFunction]:
    """Shape functions of all features, in their order.

    Args:
        model: of kind "texture".
        target: class whose output is shown; of two classes, contributions are towards the second in any case.

    Raises:
        UserError: a model of another kind, or an unknown class.

    Example:
        >>> from iuscore.models import Ensemble, TextureModel
        >>> shapes = shape_functions(Ensemble([TextureModel(["a", "b"], color="gray")]).eval(), "b")
        >>> shapes[0].feature.name, len(shapes[0].positions)
        ('lightness 0 to 6 %', 61)
    """
    member = model.members[0]
    if not isinstance(member, TextureModel):
        raise UserError(f"shape functions: expected a model of kind 'texture', got {model.member_kind!r}")
    column = model.target_column(target)
    fine = np.linspace(-REACH, REACH, (POINTS - 1) * _BETWEEN + 1)
    mean, sd = member.feature_mean, member.feature_sd
    groups = {name: g for g, name in enumerate(model.components)}
    found = []
    for i, feature in enumerate(model.features):
        inputs = np.tile(mean, (len(fine), 1))
        inputs[:, i] += fine * sd[i]
        rows = torch.from_numpy(inputs).to(model.bias)
        curve = model.contributions_of(rows)[:, groups[feature.group], column].double().cpu().numpy()
        curve -= curve[len(fine) // 2]
        positions, contributions = fine[::_BETWEEN], curve[::_BETWEEN]
        error = float(np.abs(np.interp(fine, positions, contributions) - curve).max())
        found.append(ShapeFunction(feature, positions, mean[i] + positions * sd[i], contributions, error))
    return found


def write_shapes(shapes: Sequence[ShapeFunction], path: str | os.PathLike[str]) -> Path:
    """Write shape functions as a table in CSV: group, feature, unit, value, standardized, contribution, error."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["group", "feature", "unit", "value", "standardized", "contribution", "error"])
        for shape in shapes:
            f = shape.feature
            for row in zip(shape.values, shape.positions, shape.contributions, strict=True):
                writer.writerow([f.group, f.name, f.unit, *(f"{x:.6g}" for x in row), f"{shape.error:.2g}"])
    return Path(path)


_COLORS = ("#4477AA", "#EE7733", "#228833")  # told apart by color-blind readers too


def plot_shapes(model: Ensemble, target: str, shapes: Sequence[ShapeFunction], path: str | os.PathLike[str]) -> Path:
    """Draw, a panel per group, the three features of it with the largest effect.

    Args:
        model: of kind "texture".
        target: the class that was asked for.
        shapes: of `shape_functions`.
        path: ``.png`` (or whatever matplotlib writes).

    Raises:
        UserError: matplotlib is missing.
    """
    figure = new_figure(13.0, 3.1 * -(-len(model.components) // 4))
    axes = figure.subplots(-(-len(model.components) // 4), 4, squeeze=False, sharey=True)
    for axis, group in zip(axes.flat, model.components, strict=False):
        _panel(axis, group, [shape for shape in shapes if shape.feature.group == group])
    for axis in list(axes.flat)[len(model.components) :]:
        axis.set_visible(False)
    toward = model.classes[-1] if len(model.classes) == 2 else target
    figure.supylabel(f"change of the contribution (up: speaks for {toward})", fontsize=10)
    figure.supxlabel("standard deviations of the training images from their mean, all other features at theirs")
    figure.savefig(path)
    return Path(path)


def _panel(axis: Any, group: str, shapes: Sequence[ShapeFunction]) -> None:
    largest = sorted(shapes, key=lambda shape: -shape.effect)[: len(_COLORS)]
    for color, shape in zip(_COLORS, largest, strict=False):
        middle = len(shape.values) // 2
        mean, step = shape.values[middle], (shape.values[-1] - shape.values[middle]) / REACH
        name = shape.feature.name.removeprefix(f"{group} ")
        axis.plot(shape.positions, shape.contributions, color=color, label=f"{name} (mean {mean:.2g}, sd {step:.1g})")
    axis.axhline(0, color="black", linewidth=0.6)
    axis.set_title(group, fontsize=10)
    axis.tick_params(labelsize=8)
    axis.legend(fontsize=7, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
