"""Pixels of an image that Pillow opened.

What Pillow 13 does with deep files, found by trying, and what happens here:

- 16-bit gray (PNG, TIFF): kept, uint16. 12-bit TIFF: values up to 4095; stretched to 0..65535 here.
- 16-bit gray PGM: Pillow opens it as 32-bit integers, already stretched to 0..65535; uint16 here.
- 16-bit color (PNG, TIFF, PPM) and 16-bit gray with alpha: Pillow keeps the high byte only; uint8 with a note.
- 16-bit gray TIFF where white is zero: Pillow leaves it negative (it inverts 8-bit ones); inverted here, with a note.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from iuscore.images.decoded import (
    ALPHA_DROPPED,
    CONVERTED,
    DEPTH_REDUCED,
    INVERTED,
    ROTATED,
    UnreadableImage,
    checked_floats,
    full_range,
    note_small_range,
)
from iuscore.images.formats.own_pillow import image_module

if TYPE_CHECKING:
    from PIL import Image

ORIENTATION_TAG = 274
_WHITE_IS_ZERO_TAG = 262


def loaded_pixels(
    image: Image.Image, notes: list[str], *, bits: int | None = None, nominal: int | None = None
) -> NDArray[Any]:
    """[height, width, C] of an opened image, upright.

    Args:
        image: is loaded.
        notes: gets what was done.
        bits: depth of the values in 16-bit files, as the user says.
        nominal: depth of values that Pillow shifted to 16 bits (JPEG 2000); None: nothing was shifted.
    """
    layout = _layout(image)
    # Pillow turns a TIFF while loading. The others are asked for EXIF after loading: a PNG that is asked before loads
    # itself, and a second load of damaged pixels raises nothing.
    turned_by_pillow = getattr(image, "format", None) == "TIFF" and _orientation(image) != 1
    image.load()
    turned = _transposed(image, _orientation(image))
    if turned is not image or turned_by_pillow:
        notes.append(ROTATED)
    return _to_array(turned, image, layout, notes, bits, nominal)


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """[H, W, C] turned as the EXIF orientation 1 to 8 says.

    Example:
        >>> upright(np.array([[[1], [2]]]), 6)[..., 0].tolist()
        [[1], [2]]
    """
    turned = np.swapaxes(pixels, 0, 1) if orientation >= 5 else pixels
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)


def _layout(image: Image.Image) -> str:
    """Pillow's names for the pixels in the file, such as ``RGB;16B``; gone once the image is loaded."""
    names = []
    for tile in getattr(image, "tile", ()):
        name, *rest = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        # A PPM tile is named by its largest value instead.
        deep = tile.codec_name.startswith("ppm") and name == "RGB" and rest[0] > 255
        names.append(f"{name};16" if deep else str(name))
    return " ".join(names)


def _orientation(image: Image.Image) -> int:
    # Pillow would look there too, but slowly.
    if "tag_v2" not in image.__dict__ and not any("exif" in key or "xmp" in key for key in map(str, image.info)):
        return 1
    try:
        value = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return 1
    return value if value in range(2, 9) else 1


def _transposed(image: Image.Image, orientation: int) -> Image.Image:
    if orientation == 1:
        return image
    transpose = image_module().Transpose
    # Not ImageOps.exif_transpose: it also rewrites the EXIF block and fails where that is damaged.
    turns = {
        2: transpose.FLIP_LEFT_RIGHT,
        3: transpose.ROTATE_180,
        4: transpose.FLIP_TOP_BOTTOM,
        5: transpose.TRANSPOSE,
        6: transpose.ROTATE_270,
        7: transpose.TRANSVERSE,
        8: transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation])


_STRIP_BYTES = 2 << 20


def as_array(image: Image.Image) -> NDArray[np.uint8]:
    """[H, W] or [H, W, C] of an image of 8 bits a channel.

    Of a large one strip by strip: Pillow hands out its pixels as one text of bytes, which is a copy of the whole image.
    Strips stay in the processor's cache.

    Example:
        >>> from PIL import Image
        >>> as_array(Image.new("RGB", (5, 3), (1, 2, 3)))[2, 4].tolist()
        [1, 2, 3]
    """
    width, height = image.size
    bands = len(image.getbands())
    rows = max(1, _STRIP_BYTES // max(1, width * bands))
    if rows >= height:
        return np.array(image, dtype=np.uint8)
    pixels = np.empty((height, width) if bands == 1 else (height, width, bands), dtype=np.uint8)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, width, bottom)))
    return pixels


def _to_array(
    image: Image.Image, opened: Image.Image, layout: str, notes: list[str], bits: int | None, nominal: int | None
) -> NDArray[Any]:
    """``image`` is ``opened``, turned; ``layout`` comes from ``_layout``."""
    if image.mode == "F":
        return checked_floats(np.array(image, dtype=np.float32)[..., None], notes)
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _to_uint16(image, opened, layout, notes, bits, nominal)
    if ";16" in layout:
        notes.append(DEPTH_REDUCED)
    if image.has_transparency_data:
        if image.mode in ("P", "PA"):
            notes.append(CONVERTED.format(mode="palette"))
        pixels = as_array(image.convert("RGBA"))
        if (pixels[..., 3] != 255).any():
            notes.append(ALPHA_DROPPED)
        gray = image.mode in ("1", "L", "LA", "La") or "LA;16" in layout
        pixels = np.ascontiguousarray(pixels[..., : 1 if gray else 3])
    elif image.mode == "L":
        pixels = as_array(image)[..., None]
    elif image.mode == "1":
        pixels = as_array(image.convert("L"))[..., None]
    elif image.mode == "RGB":
        pixels = as_array(image)
    else:
        if image.mode != "RGBX":
            notes.append(CONVERTED.format(mode="palette" if image.mode == "P" else image.mode))
        pixels = as_array(image.convert("RGB"))
    if ";16" in layout:
        high = int(pixels.max(initial=0))
        note_small_range(8 + high.bit_length() if high else 0, 16, notes)
    return pixels


def _to_uint16(
    image: Image.Image, opened: Image.Image, layout: str, notes: list[str], bits: int | None, nominal: int | None
) -> NDArray[np.uint16]:
    values = np.array(image)
    if image.mode == "I":
        checked_integers(values, 32)
    transparent = opened.info.get("transparency")
    see_through = isinstance(transparent, int) and bool((values == transparent).any())
    if nominal is not None:
        pixels = full_range(values >> (16 - nominal), notes, bits=bits, nominal=nominal)
    elif layout == "L":  # a PGM, stretched by Pillow
        pixels = values.astype(np.uint16)
    else:
        pixels = full_range(values, notes, bits=bits, nominal=12 if "I;12" in layout else 16)
    if see_through:
        notes.append(ALPHA_DROPPED)
    tags: Any = getattr(opened, "tag_v2", {})
    if opened.mode.startswith("I;16") and tags.get(_WHITE_IS_ZERO_TAG) == 0:
        notes.append(INVERTED)
        pixels = np.uint16(65535) - pixels
    return pixels[..., None]


def checked_integers(values: NDArray[Any], depth: int) -> None:
    """Raises UnreadableImage where a value lies outside 0..65535."""
    low, high = values.min(), values.max()
    if low < 0 or high > 65535:
        raise UnreadableImage(
            f"{depth}-bit values from {low} to {high} lie outside 0..65535: "
            "shift or scale them into 16 bits and save the file again"
        )
