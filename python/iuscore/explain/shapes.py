"""Shape functions: the contribution of one feature of a texture model as a function of its value."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from iuscore.errors import UserError
from iuscore.explain.plot import fonts_for, new_figure, plain
from iuscore.features import Feature
from iuscore.models import Ensemble, TextureModel
from iuscore.ops import AdditiveWeights, additive_tables

Array = npt.NDArray[np.float64]

REACH = 3.0  # range of a curve, in standard deviations on both sides; the model clamps features to the same range
POINTS = 61


@dataclass(frozen=True)
class ShapeFunction:
    """Contribution of a feature while all others are at their mean over the training images.

    Attributes:
        feature: the feature.
        positions: standardized values, in standard deviations from the mean of the training images, ascending, [P].
        values: the same values in the feature's own unit, [P].
        contributions: contribution of the feature's group to the output of the class, minus that at the mean, [P].
        error: bound on the error of linear interpolation between the points, from all kinks of the ReLU networks.
        varies: False if all training images had the same value, so that the networks learned nothing about others.
        member_sd: standard deviation of the contributions over the members of the ensemble, [P]; None of one member.
    """

    feature: Feature
    positions: Array
    values: Array
    contributions: Array
    error: float
    varies: bool = True
    member_sd: Array | None = None

    @property
    def possible(self) -> npt.NDArray[np.bool_]:
        """Whether each value is in the range of the feature, [P]; if ``varies`` is False, only the mean is possible."""
        low, high = self.feature.range
        in_range: npt.NDArray[np.bool_] = (self.values >= low) & (self.values <= high)
        return in_range if self.varies else np.arange(len(in_range)) == len(in_range) // 2

    @property
    def effect(self) -> float:
        """Largest minus smallest contribution over possible values within two standard deviations."""
        near = self.contributions[self.possible & (np.abs(self.positions) <= 2.0 + 1e-9)]
        return float(np.ptp(near)) if len(near) else 0.0


def shape_functions(model: Ensemble, target: str) -> list[ShapeFunction]:
    """Shape functions of all features, in their order.

    Args:
        model: a model of kind "texture"; with ``heads="tanh"``, contributions are taken before the tanh.
        target: class whose output is shown; with two classes, contributions are always towards the second class.

    Raises:
        UserError: a model of another kind, or an unknown class.

    Example:
        >>> from iuscore.models import Ensemble, TextureModel
        >>> shapes = shape_functions(Ensemble([TextureModel(["a", "b"], color="gray")]).eval(), "b")
        >>> shapes[0].feature.name, len(shapes[0].positions)
        ('lightness 0 to 6 %', 61)
    """
    members = [member for member in model.members if isinstance(member, TextureModel)]
    if len(members) < len(model.members):
        raise UserError(f"shape functions: expected a model of kind 'texture', got {model.member_kind!r}")
    column = model.target_column(target)
    tables = [additive_tables(_one_by_one(member), low=-REACH, high=REACH, points=POINTS) for member in members]
    each = np.stack([table.values[..., column].double().cpu().numpy() for table in tables])
    values = each.mean(axis=0)
    moved = each - each[..., POINTS // 2, None]
    sds = moved.std(axis=0, ddof=1) if len(members) > 1 else None
    errors = np.mean([table.error[:, column].cpu().numpy() for table in tables], axis=0)
    # Twice the error: one for the curve, and one for the subtracted value at the mean.
    values, errors = values - values[:, POINTS // 2, None], 2.0 * errors
    positions = np.linspace(-REACH, REACH, POINTS)
    mean, sd = members[0].feature_mean, members[0].feature_sd  # sd is exactly 1 if the feature did not vary in training
    return [
        ShapeFunction(
            feature,
            positions,
            mean[i] + positions * sd[i],
            values[i],
            float(errors[i]),
            bool(sd[i] != 1.0),
            None if sds is None else sds[i],
        )
        for i, feature in enumerate(model.features)
    ]


def _one_by_one(member: TextureModel) -> AdditiveWeights:
    """One network with one input per feature: the network of its group, with all other inputs at their mean (0)."""
    weights = member.weights()
    group = torch.tensor([g for g, size in enumerate(member.groups) for _ in range(size)], device=weights.w1.device)
    others = {field.name: getattr(weights, field.name)[group] for field in fields(weights) if field.name != "w1"}
    return AdditiveWeights(w1=weights.w1, **others)


def write_shapes(shapes: Sequence[ShapeFunction], path: str | os.PathLike[str]) -> Path:
    """Write shape functions as a CSV table, for possible values only.

    Columns: group, feature, unit, value, standardized, contribution, error.
    """
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["group", "feature", "unit", "value", "standardized", "contribution", "error"])
        for shape in shapes:
            f = shape.feature
            keep = shape.possible
            for row in zip(shape.values[keep], shape.positions[keep], shape.contributions[keep], strict=True):
                writer.writerow([f.group, f.name, f.unit, *(f"{x:.6g}" for x in row), f"{shape.error:.2g}"])
    return Path(path)


_COLORS = ("#4477AA", "#EE7733", "#228833")  # color-blind readers can distinguish these colors


def plot_shapes(model: Ensemble, target: str, shapes: Sequence[ShapeFunction], path: str | os.PathLike[str]) -> Path:
    """Draw one panel per group, with the three features of the largest effect.

    Args:
        model: a model of kind "texture".
        target: the class whose output is shown.
        shapes: result of `shape_functions`.
        path: file to write, ``.png`` or another format of matplotlib.

    Raises:
        UserError: matplotlib is missing.
    """
    with fonts_for(model.classes):
        return _drawn(model, target, shapes, Path(path))


def _drawn(model: Ensemble, target: str, shapes: Sequence[ShapeFunction], path: Path) -> Path:
    figure = new_figure(13.0, 3.1 * -(-len(model.components) // 4))
    axes = figure.subplots(-(-len(model.components) // 4), 4, squeeze=False, sharey=True)
    for axis, group in zip(axes.flat, model.components, strict=False):
        _panel(axis, group, [shape for shape in shapes if shape.feature.group == group])
    for axis in list(axes.flat)[len(model.components) :]:
        axis.set_visible(False)
    toward = model.classes[-1] if len(model.classes) == 2 else target
    figure.supylabel(f"change of the contribution (up: speaks for {plain(toward)})", fontsize=10)
    figure.supxlabel(
        "standard deviations of the training images from their mean, all other features at theirs\n"
        "effect: largest less smallest change of the contribution within 2 standard deviations",
        fontsize=10,
    )
    figure.savefig(path)
    return path


def named(shape: ShapeFunction) -> str:
    """Name of a feature, with mean and standard deviation over the training images in a unit that readers know."""
    middle = len(shape.values) // 2
    mean, sd = float(shape.values[middle]), float(shape.values[-1] - shape.values[middle]) / REACH
    name = shape.feature.name.removeprefix(f"{shape.feature.group} ")
    if (undone := shape.feature.undone) is None:
        return f"{name} (mean {mean:.2g}, sd {sd:.1g})"
    # In that unit, one standard deviation has different lengths above and below the mean.
    return f"{name} (mean {undone(mean):.2g}, 1 sd: {undone(mean - sd):.2g} to {undone(mean + sd):.2g})"


def _panel(axis: Any, group: str, shapes: Sequence[ShapeFunction]) -> None:
    largest = sorted(shapes, key=lambda shape: -shape.effect)[: len(_COLORS)]
    for color, shape in zip(_COLORS, largest, strict=False):
        keep = shape.possible
        axis.plot(shape.positions[keep], shape.contributions[keep], color=color,
                  label=f"{named(shape)}, effect {shape.effect:.2f}")  # fmt: skip
    axis.set_xlim(-1.05 * REACH, 1.05 * REACH)  # the same axis for curves of a smaller range
    axis.axhline(0, color="black", linewidth=0.6)
    axis.set_title(group, fontsize=10)
    axis.tick_params(labelsize=8)
    axis.legend(fontsize=7, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
