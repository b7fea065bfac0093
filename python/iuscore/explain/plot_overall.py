"""Pictures of what a model has learned (extra ``plot``)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from iuscore.explain.learned import ClassProfile, Learned
from iuscore.explain.plot import fonts_for, new_figure, plain
from iuscore.explain.shapes import REACH, ShapeFunction, named

COLORS = ("#4477AA", "#EE7733", "#228833", "#AA3377", "#66CCEE", "#BBBBBB")
"""Colors that color-blind readers can distinguish: of classes, and of curves."""

IMPORTANCE = "#777777"
CURVES = 3
PANELS = 4  # in a row
_BELOW = 0.22  # height of the densities, as a share of a panel


def write_pictures(found: Learned, folder: str | os.PathLike[str]) -> list[Path]:
    """Write ``profiles.png``, and ``shapes.png`` of a texture model, into a folder that exists.

    Raises:
        UserError: matplotlib is missing.
    """
    pictures = {"profiles.png": overall_figure(found)}
    if found.shapes:
        pictures["shapes.png"] = groups_figure(found)
    for name, figure in pictures.items():
        figure.savefig(Path(folder) / name, metadata={"Software": "iuscore"})
    return [Path(folder) / name for name in pictures]


def toward(found: Learned) -> str:
    """The class that a positive contribution speaks for."""
    return plain(found.classes[-1] if len(found.classes) == 2 else found.target)


def overall_figure(found: Learned) -> Any:
    """Importance of components, and profiles of classes with their intervals."""
    with fonts_for(found.classes):
        n = len(found.components)
        figure = new_figure(12.0, 1.6 + 0.32 * n * max(len(found.profiles) / 2, 1))
        left, right = figure.subplots(1, 2, width_ratios=[2, 3])
        places = np.arange(n)[::-1].astype(float)
        if found.importance is None:
            left.text(0.5, 0.5, "unknown: give real images", ha="center", transform=left.transAxes, fontsize=9)
        else:
            left.barh(places, found.importance, 0.7, color=IMPORTANCE)
        left.set_yticks(places, found.components, fontsize=8)
        where = {"images": "the real images given", "model": "validation images", "unknown": "real images"}
        left.set_xlabel(f"importance: mean absolute contribution over {where[found.importance_by]},\n"
                        "less the mean, each class counting the same", fontsize=8)  # fmt: skip
        _profiles(right, found, places)
        for axis in (left, right):
            axis.tick_params(labelsize=8)
            axis.spines[["top", "right"]].set_visible(False)
    return figure


def _profiles(axis: Any, found: Learned, places: Any) -> None:
    height = 0.8 / len(found.profiles)
    for k, (name, profile) in enumerate(found.profiles.items()):
        at = places + 0.4 - height * (k + 0.5)
        count = f" ({profile.n} images)" if profile.n else ""
        axis.barh(at, profile.mean, 0.9 * height, color=COLORS[k % len(COLORS)], alpha=0.55,
                  label=f"real {plain(name)}{count}")  # fmt: skip
        _whiskers(axis, at + 0.15 * height, profile.mean, profile.low, profile.high, "black", 1.6)
        _whiskers(axis, at - 0.2 * height, profile.mean, profile.member_low, profile.member_high, "#AA3377", 1.0)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(places, found.components, fontsize=8)
    if len(found.classes) == 2:
        text = f"mean contribution (right: for {toward(found)}, left: for {plain(found.classes[0])})"
    else:
        text = "mean contribution to the class's own output (right: for it, left: against it)"
    lines = ["black: 95 % interval over images"] if any(p.low for p in found.profiles.values()) else []
    lines += ["purple: over members"] if any(p.member_low for p in found.profiles.values()) else []
    axis.set_xlabel("\n".join([text, *([", ".join(lines)] if lines else [])]), fontsize=8)
    axis.legend(fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3)


def _whiskers(axis: Any, at: Any, mean: Any, low: Any, high: Any, color: str, width: float) -> None:
    if low is not None:
        axis.hlines(at, low, high, color=color, linewidth=width)


def groups_figure(found: Learned) -> Any:
    """One panel for each group, with the three features of the largest effect, and where real images lie."""
    with fonts_for(found.classes):
        rows = -(-len(found.components) // PANELS)
        figure = new_figure(14.0, 3.5 * rows)
        axes = figure.subplots(rows, PANELS, squeeze=False)
        chosen = {group: _largest(found, group) for group in found.components}
        limit = 1.05 * (max((_height(found.shapes[i]) for some in chosen.values() for i in some), default=0.0) or 1.0)
        for axis, (group, some) in zip(axes.flat, chosen.items(), strict=False):
            _panel(axis, found, some, limit, group)
        for axis in list(axes.flat)[len(found.components) :]:
            axis.set_visible(False)
        figure.supylabel(f"change of the contribution (up: for {toward(found)})", fontsize=10)
        below = "bottom: how real images are distributed, in the color of the curve; " if found.densities else ""
        band = "bands: 1 sd over members; " if found.shapes[0].member_sd is not None else ""
        figure.supxlabel(
            "standard deviations of the training images from their mean, all other features at theirs\n"
            f"{below}{band}effect: largest less smallest change within 2 standard deviations",
            fontsize=9,
        )
    return figure


def _largest(found: Learned, group: str) -> list[int]:
    own = [i for i, shape in enumerate(found.shapes) if shape.feature.group == group]
    return sorted(own, key=lambda i: -found.shapes[i].effect)[:CURVES]


def _height(shape: ShapeFunction) -> float:
    """How far a curve with its band is from 0."""
    band = np.zeros(1) if shape.member_sd is None else shape.member_sd[shape.possible]
    return float((np.abs(shape.contributions[shape.possible]) + band).max(initial=0.0))


def _panel(axis: Any, found: Learned, chosen: list[int], limit: float, title: str) -> None:
    floor = -limit - 2 * limit * _BELOW / (1 - _BELOW)
    for color, i in zip(COLORS, chosen, strict=False):
        shape = found.shapes[i]
        keep = shape.possible
        x, y = shape.positions[keep], shape.contributions[keep]
        axis.plot(x, y, color=color, label=f"{named(shape)}: effect {shape.effect:.2f}")
        if shape.member_sd is not None:
            sd = shape.member_sd[keep]
            axis.fill_between(x, y - sd, y + sd, color=color, alpha=0.15, linewidth=0)
        density = found.density(i)
        if density is not None and density.max() > 0:
            top = (-limit - floor) * 0.92
            axis.stairs(floor + top * density / density.max(), shape.positions, baseline=floor, color=color, alpha=0.35,
                        fill=True)  # fmt: skip
    axis.set_xlim(-1.05 * REACH, 1.05 * REACH)
    axis.set_ylim(floor if found.densities else -limit, limit)
    axis.axhline(0, color="black", linewidth=0.6)
    axis.set_title(title, fontsize=10, pad=34)
    axis.tick_params(labelsize=8)
    axis.legend(fontsize=6.5, frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 0.99), borderaxespad=0.0)
    axis.spines[["top", "right"]].set_visible(False)


def shape_figure(found: Learned, key: int) -> Any:
    """The shape function of one feature, with the density of each class."""
    shape = found.shapes[key]
    with fonts_for(found.classes):
        figure = new_figure(6.5, 4.8)
        figure.set_layout_engine(None)  # a dashboard asks for all features, and the engine takes half of the time
        upper, lower = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
        figure.subplots_adjust(left=0.14, right=0.97, top=0.93, bottom=0.11, hspace=0.08)
        keep = shape.possible
        x, y = shape.values[keep], shape.contributions[keep]
        upper.plot(x, y, color="black")
        if shape.member_sd is not None:
            upper.fill_between(x, y - shape.member_sd[keep], y + shape.member_sd[keep], color="black", alpha=0.15,
                               linewidth=0, label="1 sd over members")  # fmt: skip
            upper.legend(fontsize=8, frameon=False)
        upper.axhline(0, color="black", linewidth=0.6)
        upper.set_ylabel(f"change of the contribution\n(up: for {toward(found)})", fontsize=8)
        upper.set_title(f"{shape.feature.name}: effect {shape.effect:.2f}", fontsize=10)
        for k, (name, rows) in enumerate(found.densities.items()):
            lower.stairs(100 * rows[key], shape.values, color=COLORS[k % len(COLORS)], label=f"real {plain(name)}")
        if found.densities:
            lower.legend(fontsize=8, frameon=False)
        lower.set_ylabel("% of images", fontsize=8)
        lower.set_xlabel(f"{shape.feature.name} ({shape.feature.unit})", fontsize=8)
        for axis in (upper, lower):
            axis.tick_params(labelsize=8)
            axis.spines[["top", "right"]].set_visible(False)
    return figure


def component_figure(found: Learned, key: int) -> Any:
    """Mean contribution of one component in each class."""
    with fonts_for(found.classes):
        figure = new_figure(5.5, 1.5 + 0.4 * len(found.profiles))
        axis = figure.subplots()
        places = np.arange(len(found.profiles))[::-1].astype(float)
        for k, profile in enumerate(found.profiles.values()):
            _one(axis, profile, key, places[k : k + 1], COLORS[k % len(COLORS)])
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_yticks(places, [f"real {plain(name)}" for name in found.profiles], fontsize=8)
        axis.set_title(f"{found.components[key]}: mean contribution and 95 % interval over images", fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _one(axis: Any, profile: ClassProfile, key: int, at: Any, color: str) -> None:
    axis.barh(at, profile.mean[key], 0.6, color=color, alpha=0.55)
    if profile.low is not None and profile.high is not None:
        _whiskers(axis, at, None, profile.low[key], profile.high[key], "black", 1.6)
