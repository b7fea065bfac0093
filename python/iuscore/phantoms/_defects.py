"""Known defects of generators with their strength, and the effect of each on a drawn image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iuscore.errors import UserError

from ._canvas import Kind, gaussian

Picture = NDArray[Any]
"""float32 [H, W, C], nominally in [0, 1]."""


@dataclass(frozen=True)
class Defects:
    """Defects of a generator: the strength of each, from 0 (none) to 1 (severe).

    Attributes:
        blur: Gaussian blur of the whole image; at 1 its standard deviation is 3 % of the image's side.
        texture_loss: grain, fine vessels and weak edges are smoothed while shapes stay, as by an over-regularized
            generator; at 1 only structures of high contrast are left.
        color_cast: blue is replaced by a mix of red and green, so yellow disappears and the image turns violet;
            endoscopy only.
        lesion_contrast: the lesion's contrast is multiplied by 1 - 2 * strength: 0 at 0.5, inverted at 1. Normal
            images have no lesion and do not change.
        mode_collapse: every random number of a scene is moved towards that of one of three prototypes; at 1 the images
            are near copies of the prototypes.
        swapped_labels: share of the images that are drawn as the other class, in the same scene.

    Raises:
        UserError: a strength is not a number in [0, 1].

    Example:
        >>> Defects(blur=0.5) == Defects(blur=0.5, texture_loss=0)
        True
        >>> Defects(blur=2)
        Traceback (most recent call last):
        ...
        iuscore.errors.UserError: blur: expected a number from 0 (none) to 1 (severe), got 2
    """

    blur: float = 0.0
    texture_loss: float = 0.0
    color_cast: float = 0.0
    lesion_contrast: float = 0.0
    mode_collapse: float = 0.0
    swapped_labels: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value: Any = getattr(self, field.name)
            number = isinstance(value, int | float | np.floating | np.integer) and not isinstance(value, bool)
            if not (number and 0 <= value <= 1):
                raise UserError(f"{field.name}: expected a number from 0 (none) to 1 (severe), got {value!r}")


def degrade(picture: Picture, defects: Defects, side: float) -> Picture:
    """Apply texture loss, blur and color cast to a drawn image [H, W, C]; their scale is `side`, in pixels."""
    if defects.texture_loss > 0:
        picture = _lose_texture(picture, defects.texture_loss, side)
    if defects.blur > 0:
        picture = _each_plane(picture, lambda plane: gaussian(plane, defects.blur * 0.03 * side))
    if defects.color_cast > 0:
        picture = _cast(picture, defects.color_cast)
    return picture


def swapped(index: int, stream: int, share: float) -> bool:
    """Whether image `index` is drawn as the other class.

    Multiples of the golden ratio fill [0, 1) evenly, so among the first n images, for any n, the share is right to
    within a few images. An image that is swapped at a low share is also swapped at any higher share.
    """
    golden = (math.sqrt(5) - 1) / 2
    return (index * golden + stream * 0.37 + 0.5) % 1.0 < share


def _each_plane(picture: Picture, change: Any) -> Picture:
    return np.stack([change(picture[..., c]) for c in range(picture.shape[-1])], axis=-1)


def _lose_texture(picture: Picture, strength: float, side: float) -> Picture:
    """A self-guided filter: it removes local contrast well below `weak`, and keeps contrast well above."""
    from scipy.ndimage import uniform_filter

    window = 2 * max(1, round(0.03 * side)) + 1
    weak = 0.10

    def smoothed(plane: Any) -> Any:
        mean = uniform_filter(plane, window)
        variance = np.maximum(uniform_filter(plane * plane, window) - mean * mean, 0)
        keep = variance / (variance + weak**2)
        kept = uniform_filter(keep, window)
        level = uniform_filter((1 - keep) * mean, window)
        return plane + strength * (kept * plane + level - plane)

    return _each_plane(picture, smoothed)


def _cast(picture: Picture, strength: float) -> Picture:
    """A violet cast: blue is replaced by slightly more than the blue of a gray of the same luminance.

    A gain per channel would have no effect on the published measure, which stretches each channel to full range. This
    cast removes the information that only blue has: the yellow of a lesion.
    """
    red, green, blue = (picture[..., c] for c in range(3))
    share = 0.9 * strength
    blue = (1 - share) * blue + share * (0.24 * red + 0.83 * green)
    return np.stack([red, green, blue], axis=-1)


@dataclass(frozen=True)
class Target:
    """The components and features that a defect is expected to change.

    Attributes:
        components: names of the perceptual components, the one that changes most first; empty if no single component
            changes.
        reason: the reason, in one line.
        groups: names of groups of texture features, one of which should change most; empty if no single group does.
    """

    components: tuple[str, ...]
    reason: str
    groups: tuple[str, ...] = ()


_FINE = ("coarse-fine", "fine-contrast", "fine-regularity")
_TINT = ("blue-yellow", "hue", "saturation")
_SPREAD = Target((), "single images stay good; only their diversity is lost, which no mean of contributions shows")
_SWAPPED = Target((), "pictures of the other class: every component that tells the classes apart changes sides")

DEFECT_TARGETS: Mapping[Kind, Mapping[str, Target]] = MappingProxyType(
    {
        "endoscopy": MappingProxyType(
            {
                "blur": Target(("coarse-fine",), "the lesion's pits and edge are fine, its color is soft", _FINE),
                "texture_loss": Target(("coarse-fine",), "grain, pits and weak edges go, shapes and color stay", _FINE),
                "color_cast": Target(
                    ("blue-yellow",), "blue no longer differs from the rest, so yellow is lost", _TINT
                ),
                "lesion_contrast": Target(
                    ("blue-yellow", "coarse-fine"),
                    "the rough surface goes and the tint fades, then turns to its opposite",
                    (*_TINT, *_FINE),
                ),
                "mode_collapse": _SPREAD,
                "swapped_labels": _SWAPPED,
            }
        ),
        "radiograph": MappingProxyType(
            {
                "blur": Target(("coarse-fine",), "the rims of nodules and the net in hazy patches are fine", _FINE),
                "texture_loss": Target(
                    ("coarse-fine",), "the net in hazy patches and weak rims go, shade stays", _FINE
                ),
                "lesion_contrast": Target(
                    ("light-dark", "coarse-fine"),
                    "an opacity is a bright patch with a rim: both fade, then darken",
                    ("lightness", "light-dark", "coarse-fine"),
                ),
                "mode_collapse": _SPREAD,
                "swapped_labels": _SWAPPED,
            }
        ),
    }
)
"""Kind -> defect -> components and features that it is expected to change. This is an expectation, not a guarantee.

Components: in seven trainings of small additive models on `clean` maps of 64 x 64 phantoms (four of endoscopy, three of
radiograph), the first component lost the largest share of the score for blur, texture_loss and color_cast: at strength
0.5 in all trainings; at strength 1 in 5 of 7, 6 of 7 and 4 of 4. For lesion_contrast at 0.5 and 1 it did so in 7 of 8
cases of endoscopy (else blue-yellow) and in 3 of 6 of radiograph (else coarse-fine or Band-II).

Groups: in 16 trainings of texture models on 150 images per class (eight of each kind) with strength 1, one of the
groups was named by `iuscore.scoring.Explanation.read_first` in all 16 for blur and texture_loss, and in all 8 for
color_cast. For lesion_contrast it was in 8 of 8 for endoscopy, and in 6 of 8 for radiograph (else direction, with two
models of low AUROC); with 400 images per class in 4 of 4.
"""
