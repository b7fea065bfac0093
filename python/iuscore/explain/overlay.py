"""Pictures of local explanations: maps over the image, and shares as bars (extra ``plot``)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from iuscore.explain.image import ImageExplanation
from iuscore.explain.plot import fonts_for, new_figure, plain

UP, DOWN, RELEVANT = "#EE7733", "#0077BB", "#FFDD33"
"""Colors that color-blind readers can distinguish: above 0, below 0, and relevance."""

LIKE, UNLIKE = "#555555", "#BBBBBB"
"""Colors of shares above and below 0; other colors than those of the maps, whose sign means something else."""

SHOWN_MAPS = 3
MOST_MAPS = 6
"""Maps in a picture, of those that are asked for."""

STRONGEST = 0.85
"""Largest opacity of a color over the image."""

SMOOTHED = 16
"""Maps of parts are drawn as means over squares of 1/16 of the longer side."""

_LONGEST = 60  # characters of a name in a title
_LEAST_WIDTH = 12.4  # inches
_GROUND = 0.55  # gray of the legend's ground

Floats = npt.NDArray[np.float64]


def picture_name(i: int, uid: str) -> str:
    """Name of the picture of image i, without its ending.

    Example:
        >>> picture_name(3, "a folder/scan?.png")
        '003_scan_'
    """
    stem = "".join(c if c.isalnum() or c in "-_." else "_" for c in Path(uid).stem)
    return f"{i:03d}_{stem[:80]}"


def smoothed(parts: npt.NDArray[np.floating[Any]], counted: npt.NDArray[np.bool_]) -> Floats:
    """Means of a map over squares around every counted pixel, of the counted pixels in it; 0 elsewhere.

    Example:
        >>> smoothed(np.full((32, 32), 2.0), np.ones((32, 32), bool))[0, 0]
        np.float64(2.0)
    """
    from scipy.ndimage import uniform_filter

    side = max(max(parts.shape) // SMOOTHED, 1)
    weight = uniform_filter(counted.astype(np.float64), side, mode="constant")
    total = uniform_filter(np.where(counted, parts, 0.0).astype(np.float64), side, mode="constant")
    result: Floats = np.where(counted, total / np.maximum(weight, 1e-12), 0.0)
    return result


def beside_map(each: ImageExplanation, name: str) -> bytes:
    """An image and, to its right, the same with one of its maps over it, as PNG.

    Args:
        each: with the map. name: of the component or feature.
    """
    from iuscore.images.thumbnail import png

    ground = _gray(each.picture)
    if each.map_kind == "parts":
        scaled = smoothed(each.maps[name], each.mask)
        limit = float(np.quantile(np.abs(scaled), 0.98)) or 1.0
        over = colored(ground, scaled / limit)
    else:
        over = _over(ground, RELEVANT, each.maps[name].astype(np.float64))
    plain_image = np.repeat(ground[..., None], 3, axis=2)
    both = np.concatenate([plain_image, np.ones((len(ground), 4, 3)), over], axis=1)
    return png(np.round(255 * np.clip(both, 0, 1)).astype(np.uint8), 2 * max(ground.shape) + 4)


def image_figure(each: ImageExplanation, positive: Sequence[str], negative: Sequence[str]) -> Any:
    """One image: as it is measured, its maps of the leading components, and the shares of all.

    Args:
        each: the image.
        positive, negative: classes that a contribution above and below 0 speaks for.

    Raises:
        UserError: matplotlib is missing.
    """
    with fonts_for([*positive, *negative, each.why.target, each.uid]):
        return _drawn(each, positive, negative)


def _drawn(each: ImageExplanation, positive: Sequence[str], negative: Sequence[str]) -> Any:
    names = _shown(each)
    below = 0.27 * max(len(each.why.components), 6) + 0.6
    figure = new_figure(max(3.1 * (len(names) + 1), _LEAST_WIDTH), 4.0 + below)
    top, bottom = figure.subfigures(2, 1, height_ratios=[3.6, below])
    first, *axes = top.subplots(1, len(names) + 1, squeeze=False)[0]
    ground = _gray(each.picture)
    picture = each.picture if each.picture.shape[2] == 3 else each.picture[..., 0]
    if each.picture.size:
        first.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    height, width = each.picture.shape[:2]
    first.set_title(f"the image at {width}x{height}, as it is measured", fontsize=9)
    for axis in (first, *axes):
        axis.set_xticks([])
        axis.set_yticks([])
    if names and each.map_kind == "parts":
        label = f"orange: for {' or '.join(map(plain, positive))}, blue: for {' or '.join(map(plain, negative))}"
        _parts(top, axes, each, names, ground, label)
    elif names:
        _relevance(top, axes, each, names, ground)
    left, right = bottom.subplots(1, 2)
    _bars(left, each)
    _words(right, each)
    ius = f"IUS {each.why.ius:.3f}" if np.isfinite(each.why.ius) else "no score"
    doubt = ", a guess: far outside real images" if each.why.out_of_distribution else ""
    uid = each.uid if len(each.uid) <= _LONGEST else f"...{each.uid[-_LONGEST:]}"
    figure.suptitle(f"{plain(uid)} against real {plain(each.why.target)}: {ius}{doubt}", fontsize=11)
    return figure


def _shown(each: ImageExplanation) -> list[str]:
    """Names of the maps to draw: those that were asked for; else of leading components, of an epu model of all."""
    if set(each.maps) != {c.name for c in each.why.components}:
        return list(each.maps)[:MOST_MAPS]
    names = [name for name in each.leading() if name in each.maps]
    return names[:SHOWN_MAPS] if each.map_kind == "parts" else names


def _parts(figure: Any, axes: Any, each: ImageExplanation, names: Any, ground: Floats, label: str) -> None:
    scaled = {name: each.counted * smoothed(each.maps[name], each.mask) for name in names}
    limit = max(float(np.quantile(np.abs(part), 0.98)) for part in scaled.values()) or 1.0
    for axis, name in zip(axes, names, strict=True):
        axis.imshow(colored(ground, scaled[name] / limit), interpolation="nearest")
        axis.set_title(f"{name}: {each.reached[name]:+.2f}\nbeside mean real features", fontsize=9)
    bar = figure.colorbar(_legend(limit), ax=axes, fraction=0.025, pad=0.01)
    bar.ax.tick_params(labelsize=8)
    bar.set_label(f"part in the contribution (the mean over\nthe image is the number above it)\n{label}", fontsize=7.5)


def _relevance(figure: Any, axes: Any, each: ImageExplanation, names: Any, ground: Floats) -> None:
    for axis, name in zip(axes, names, strict=True):
        axis.imshow(_over(ground, RELEVANT, each.maps[name].astype(np.float64)), interpolation="nearest")
        contribution = next(c.contribution for c in each.why.components if c.name == name)
        axis.set_title(f"{name}: contribution {contribution:+.2f}", fontsize=9)
    bar = figure.colorbar(_response_legend(), ax=axes, fraction=0.025, pad=0.01)
    bar.ax.tick_params(labelsize=8)
    bar.set_label("response of the component's network,\nof the strongest (0 below Yen's threshold)", fontsize=7.5)


def colored(ground: Floats, values: Floats) -> Floats:
    """RGB [h, w, 3] of values [h, w] in [-1, 1] over a gray image in [0, 1]; a value of 0 leaves it as it is."""
    up = _over(ground, UP, np.clip(values, 0.0, 1.0))
    down = _over(ground, DOWN, np.clip(-values, 0.0, 1.0))
    found: Floats = np.where(values[..., None] >= 0, up, down)
    return found


def _over(ground: Floats, color: str, strength: Floats) -> Floats:
    opacity = STRONGEST * np.clip(strength, 0.0, 1.0)[..., None]
    found: Floats = (1.0 - opacity) * ground[..., None] + opacity * np.array(
        [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    )
    return found


def _legend(limit: float) -> Any:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    values = np.linspace(-1.0, 1.0, 255)
    return ScalarMappable(
        Normalize(-limit, limit), ListedColormap(colored(np.full((1, 255), _GROUND), values[None])[0])
    )


def _response_legend() -> Any:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    colors = _over(np.full((1, 255), _GROUND), RELEVANT, np.linspace(0.0, 1.0, 255)[None])[0]
    return ScalarMappable(Normalize(0.0, 1.0), ListedColormap(colors))


def _gray(picture: npt.NDArray[np.uint8]) -> Floats:
    """[h, w] in [0, 1], with less contrast, so that colors can be seen over black and white."""
    weights = np.array([0.299, 0.587, 0.114]) if picture.shape[2] == 3 else np.ones(1)
    found: Floats = 0.15 + 0.7 * (picture @ weights) / 255.0
    return found


def _bars(axis: Any, each: ImageExplanation) -> None:
    shares = [c.share for c in each.why.components]
    places = np.arange(len(shares))[::-1]
    axis.barh(places, np.nan_to_num(shares), 0.7, color=[LIKE if x >= 0 else UNLIKE for x in np.nan_to_num(shares)])
    axis.set_yticks(places, [c.name for c in each.why.components], fontsize=8)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_xlabel(
        f"share of the IUS (the shares sum to it); below 0: unlike real {plain(each.why.target)}", fontsize=8
    )
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)


def _words(axis: Any, each: ImageExplanation) -> None:
    """What is behind the leading components, as text."""
    lines = [plain(line) for line in each.feature_lines(SHOWN_MAPS)]
    for what, near in (("real", each.nearest_real), ("generated", each.nearest_generated)):
        if near:
            lines.append(plain(f"nearest {what}: {near[0].line}"))
    lines += [plain(f"warning: {text}") for text in each.warnings]
    text = "\n".join("\n  ".join(textwrap.wrap(line, 84)) for line in lines)
    axis.text(0.0, 1.0, text, fontsize=7.5, va="top", transform=axis.transAxes)
    axis.set_axis_off()


def shares_figure(images: Sequence[ImageExplanation]) -> Any:
    """Shares of every image as dots, and their mean as bars."""
    names = [c.name for c in images[0].why.components]
    shares = np.array([[c.share for c in each.why.components] for each in images], dtype=np.float64)
    shares = shares[np.isfinite(shares).all(1)]
    with fonts_for([images[0].why.target]):
        figure = new_figure(7.0, 1.2 + 0.3 * len(names))
        axis = figure.subplots()
        places = np.arange(len(names))[::-1]
        mean = shares.mean(0) if len(shares) else np.zeros(len(names))
        axis.barh(places, mean, 0.7, color=[LIKE if x >= 0 else UNLIKE for x in mean])
        for row in shares:
            axis.plot(row, places, "o", color="black", markersize=2.5, alpha=0.5)
        axis.set_yticks(places, names, fontsize=8)
        axis.axvline(0, color="black", linewidth=0.8)
        target = plain(images[0].why.target)
        axis.set_xlabel(f"share of the IUS against real {target} (dots: images, bars: means)", fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    return figure
