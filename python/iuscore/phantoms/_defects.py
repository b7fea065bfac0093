"""The dials of known defects, and what each does to a finished drawing."""

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
    """How far a generator went wrong: one dial per known defect, each from 0 (none) to 1 (severe).

    Attributes:
        blur: Gaussian blur of the whole picture; its deviation at 1 is 3 % of the picture's side.
        texture_loss: grain, fine vessels and weak edges are smoothed away while shapes stay, as an
            over-regularised generator does; at 1 only what stands out strongly is left.
        color_cast: blue is replaced by a mix of red and green, so yellow goes and all turns violet;
            endoscopy only.
        lesion_contrast: the lesion's contrast is multiplied by 1 - 2 * dial: gone at 0.5, inverted at 1.
            Normal pictures have no lesion and stay as they are.
        mode_collapse: every choice of a scene is pulled towards one of three prototypes; at 1 the
            pictures are near copies of these.
        swapped_labels: this share of the pictures is drawn as the other class, in the same scene.

    Raises:
        UserError: a dial is not a number in [0, 1].

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
    """The picture [H, W, C] with the dials that act on finished pictures; `side` in pixels scales them."""
    if defects.texture_loss > 0:
        picture = _lose_texture(picture, defects.texture_loss, side)
    if defects.blur > 0:
        picture = _each_plane(picture, lambda plane: gaussian(plane, defects.blur * 0.03 * side))
    if defects.color_cast > 0:
        picture = _cast(picture, defects.color_cast)
    return picture


def swapped(index: int, stream: int, share: float) -> bool:
    """Whether image `index` is drawn as the other class.

    Multiples of the golden ratio fill [0, 1) evenly, so any first n images hold the share to within a
    few images, and those swapped at a lower dial stay swapped at a higher one.
    """
    golden = (math.sqrt(5) - 1) / 2
    return (index * golden + stream * 0.37 + 0.5) % 1.0 < share


def _each_plane(picture: Picture, change: Any) -> Picture:
    return np.stack([change(picture[..., c]) for c in range(picture.shape[-1])], axis=-1)


def _lose_texture(picture: Picture, dial: float, side: float) -> Picture:
    """A guided filter by the picture itself: local contrast well below `weak` goes, well above it stays."""
    from scipy.ndimage import uniform_filter

    window = 2 * max(1, round(0.03 * side)) + 1
    weak = 0.10

    def smoothed(plane: Any) -> Any:
        mean = uniform_filter(plane, window)
        variance = np.maximum(uniform_filter(plane * plane, window) - mean * mean, 0)
        keep = variance / (variance + weak**2)
        kept = uniform_filter(keep, window)
        level = uniform_filter((1 - keep) * mean, window)
        return plane + dial * (kept * plane + level - plane)

    return _each_plane(picture, smoothed)


def _cast(picture: Picture, dial: float) -> Picture:
    """Towards violet: blue is replaced by a little more than the blue of a gray of the same luminance.

    A mere gain per channel would vanish where every channel is stretched to full range, as the published
    measure does; here what only blue knew, the yellow of a lesion, is lost.
    """
    red, green, blue = (picture[..., c] for c in range(3))
    share = 0.9 * dial
    blue = (1 - share) * blue + share * (0.24 * red + 0.83 * green)
    return np.stack([red, green, blue], axis=-1)


@dataclass(frozen=True)
class Target:
    """What a defect is expected to hit.

    Attributes:
        components: names of the perceptual components, the one hit hardest first; empty where no single
            component is to blame.
        reason: why, in one line.
        groups: names of the groups of texture features, any of which may change most; empty likewise.
    """

    components: tuple[str, ...]
    reason: str
    groups: tuple[str, ...] = ()


_FINE = ("coarse-fine", "fine-contrast", "fine-regularity")
_TINT = ("blue-yellow", "hue", "saturation")
_SPREAD = Target((), "single pictures stay good; what shrinks is their spread, which no mean of contributions shows")
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
"""What each defect is expected to hit, by kind and dial.

Expected, not promised. In seven trainings of small additive models on `clean` maps of 64 x 64 phantoms (four
of endoscopy, three of radiograph) the component named first lost the largest share of the score: at dial 0.5
in all of them for blur, texture_loss and color_cast; at dial 1 in 5, 6 and (of four) 4. For lesion_contrast
at 0.5 and 1 it did in 7 of 8 in endoscopy (else blue-yellow) and in 3 of 6 in radiograph (else coarse-fine or
Band-II).

Groups, in 16 trainings of texture models on 150 pictures a class (eight of each kind), dials at 1: one of them was
named first (`iuscore.scoring.Explanation.read_first`) in all 16 for blur and texture_loss, in all 8 for color_cast, and
for lesion_contrast in 8 of 8 in endoscopy and 6 of 8 in radiograph (else direction, of two models that could hardly
tell the classes apart); with 400 pictures a class in 4 of 4.
"""
