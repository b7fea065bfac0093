"""Decode one image file to an array of pixels, or say in one line why that is impossible.

What Pillow 13 does with deep files, found by trying, and what happens here:

- 16-bit gray (PNG, TIFF): kept, uint16. 12-bit TIFF: kept, uint16 with values up to 4095.
- 16-bit gray PGM: Pillow opens it as 32-bit integers, already stretched to 0..65535; uint16 here.
- 16-bit color (PNG, TIFF, PPM) and 16-bit gray with alpha: Pillow keeps the high byte only;
  uint8 with the warning ``16-bit color read as 8-bit``.
- 16-bit gray TIFF where white is zero: Pillow leaves it negative (it inverts 8-bit ones);
  inverted here, with a warning.
"""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from iuscore.errors import UserError
from iuscore.images import jpeg

if TYPE_CHECKING:
    from PIL import Image, ImageFile

MAX_PIXELS = 178_956_970
# Enough for the header of any common file, and for most small files.
_HEAD = 1 << 16

ALPHA_DROPPED = "alpha dropped"
CONVERTED = "converted from {mode}"
DEPTH_REDUCED = "16-bit color read as 8-bit"
FIRST_FRAME = "first of {frames} frames"
INVERTED = "inverted: white was zero"
NON_FINITE = "non-finite values"
ROTATED = "EXIF rotation applied"

# Only these decoders are tried: some others of Pillow's start programs (EPS) or read remote names.
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP", "PPM")
_NOT_AN_IMAGE = "not an image: no PNG, JPEG, BMP, TIFF, GIF, WebP, PGM/PPM or DICOM data found"
_ORIENTATION_TAG = 274
_WHITE_IS_ZERO_TAG = 262


class UnreadableImage(UserError):
    """An image file that cannot be used; the message is one line without the file's name.

    Attributes:
        width: columns the header claims, 0 if unknown.
        height: rows the header claims, 0 if unknown.

    Example:
        >>> try:
        ...     decode(b"hello")
        ... except UnreadableImage as error:
        ...     print(error)
        not an image: no PNG, JPEG, BMP, TIFF, GIF, WebP, PGM/PPM or DICOM data found
    """

    def __init__(self, reason: str, width: int = 0, height: int = 0) -> None:
        super().__init__(reason)
        self.width = width
        self.height = height


class Decoded(NamedTuple):
    """Pixels of one image and what was done to them.

    Attributes:
        pixels: [height, width, C], C = 1 or 3; uint8, uint16 or float32 (in [0, 1]); own memory, writable.
        width: columns of ``pixels``.
        height: rows of ``pixels``.
        warnings: short fixed texts such as ``alpha dropped``, in the order in which things were done.
    """

    pixels: NDArray[Any]
    width: int
    height: int
    warnings: tuple[str, ...]


def decode(source: str | Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Read one image file.

    Args:
        source: a path, or the bytes of a file.
        max_pixels: larger images are refused from their header, before any pixel is decoded.
            Pillow's own limit (twice ``PIL.Image.MAX_IMAGE_PIXELS``, 178,956,970) holds as well.

    Returns:
        ``(pixels, width, height, warnings)``. Gray and 1-bit files give C = 1, all others C = 3. Alpha is
        dropped, not blended (as the published implementation's ``convert("RGB")`` does), with a warning
        unless it is opaque everywhere. EXIF orientation is applied; width and height are those after it.
        Files with many frames give the first. Color profiles are ignored.

    Raises:
        UnreadableImage: missing, empty, truncated, no image, too large, 32-bit integers outside 0..65535,
            or floats outside [0, 1] (not-a-number and infinity pass, with a warning).

    Example:
        >>> decode(b"P5 2 1 255 " + bytes([0, 200])).pixels.tolist()
        [[[0], [200]]]
    """
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as stream:
            return _decode_stream(stream, max_pixels)
    except UnreadableImage:
        raise
    except OSError as error:
        # strerror alone: str() of such an error repeats the path, which the caller already has.
        raise UnreadableImage(f"cannot be opened: {error.strerror or error}") from error


def decoders() -> str:
    """Names and versions of the libraries that decode here.

    Example:
        >>> decoders().startswith("pillow ")
        True
    """
    names = ["pillow", *(["simplejpeg"] if jpeg.is_installed() else [])]
    return ", ".join(f"{name} {version(name)}" for name in names)


def from_pil(image: Image.Image) -> Decoded:
    """Pixels of a PIL image by the rules of `decode`.

    Args:
        image: any PIL image, opened from a file or made in memory; it is not changed.

    Raises:
        UnreadableImage: as in `decode`.

    Example:
        >>> from PIL import Image
        >>> from_pil(Image.new("RGBA", (4, 2), (10, 20, 30, 0)))[1:]
        (4, 2, ('alpha dropped',))
    """
    with _quiet():
        return _decode_image(image)


def _decode_stream(stream: BinaryIO, max_pixels: int) -> Decoded:
    head = stream.read(_HEAD)
    if not head:
        raise UnreadableImage("empty file (0 bytes)")
    if head.startswith(jpeg.START):
        decoded = _plain_jpeg(head, stream, max_pixels)
        if decoded is not None:
            return decoded
    stream.seek(0)
    with _quiet():
        if head[128:132] == b"DICM":
            from iuscore.images.dicom import decode_dicom

            return decode_dicom(stream, max_pixels)
        return _decode_image(_open_image(stream, max_pixels))


def _plain_jpeg(head: bytes, stream: BinaryIO, max_pixels: int) -> Decoded | None:
    """A JPEG that needs nothing of what Pillow knows; None for all others."""
    header = jpeg.plain_header(head) if jpeg.is_installed() else None
    if header is None or header[0] * header[1] > min(max_pixels, MAX_PIXELS):
        return None
    width, height, channels = header
    most = 16 * width * height + _HEAD
    pixels = jpeg.decoded(head + stream.read(most), channels)
    return None if pixels is None else Decoded(pixels, width, height, ())


def _decode_image(image: Image.Image) -> Decoded:
    width, height = image.size
    notes: list[str] = []
    try:
        layout = _layout(image)
        # TIFF is turned by Pillow while loading. For others wait: asked for EXIF, a PNG loads itself, and a second
        # load of damaged pixels passes in silence.
        turned_by_pillow = getattr(image, "format", None) == "TIFF" and _orientation(image) != 1
        image.load()
        turned = _transposed(image, _orientation(image))
        if turned is not image or turned_by_pillow:
            notes.append(ROTATED)
        pixels = _to_array(turned, image, layout, notes)
    except UnreadableImage as error:
        raise UnreadableImage(str(error), width, height) from error
    except Exception as error:  # Pillow's decoders raise anything from SyntaxError to zlib.error
        raise UnreadableImage(one_line_reason(error), width, height) from error
    frames = _frames(image)
    if frames != 1:
        notes.append(FIRST_FRAME.format(frames=frames or "several"))
    return Decoded(pixels, pixels.shape[1], pixels.shape[0], tuple(notes))


def _open_image(stream: BinaryIO, max_pixels: int) -> ImageFile.ImageFile:
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(stream, formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise UnreadableImage(_NOT_AN_IMAGE) from error
    except Image.DecompressionBombError as error:
        limit = min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels))
        raise UnreadableImage(f"too large: more than {limit} pixels") from error
    except Exception as error:
        raise UnreadableImage(one_line_reason(error)) from error
    width, height = image.size
    if width * height > max_pixels:
        raise UnreadableImage(f"too large: {width} x {height}, more than {max_pixels} pixels", width, height)
    return image


def one_line_reason(error: Exception) -> str:
    """What a decoder's own error says, as the reason of an unreadable image."""
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    text = " ".join(str(error).split()) or type(error).__name__
    return f"truncated: {text}" if "truncated" in text.lower() or "EOF" in text else f"damaged: {text}"


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
    # Pillow looks there too, but takes its time.
    if "tag_v2" not in image.__dict__ and not any("exif" in key or "xmp" in key for key in map(str, image.info)):
        return 1
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return 1
    return value if value in range(2, 9) else 1


def _transposed(image: Image.Image, orientation: int) -> Image.Image:
    from PIL.Image import Transpose

    # Not ImageOps.exif_transpose: it also rewrites the EXIF block and fails where that is damaged.
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


def _frames(image: Image.Image) -> int:
    """Frames in the file; 0 if a later one is damaged, so that nobody knows."""
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:
        return 0


def _to_array(image: Image.Image, opened: Image.Image, layout: str, notes: list[str]) -> NDArray[Any]:
    """``image`` is ``opened``, turned; ``layout`` comes from ``_layout``."""
    if image.mode == "F":
        return checked_floats(np.array(image, dtype=np.float32)[..., None], notes)
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _to_uint16(image, opened, notes)
    if ";16" in layout:
        notes.append(DEPTH_REDUCED)
    if image.has_transparency_data:
        if image.mode in ("P", "PA"):
            notes.append(CONVERTED.format(mode="palette"))
        pixels = np.array(image.convert("RGBA"))
        if (pixels[..., 3] != 255).any():
            notes.append(ALPHA_DROPPED)
        gray = image.mode in ("1", "L", "LA", "La") or "LA;16" in layout
        return np.ascontiguousarray(pixels[..., : 1 if gray else 3])
    if image.mode == "L":
        return np.array(image)[..., None]
    if image.mode == "1":
        return np.array(image.convert("L"))[..., None]
    if image.mode == "RGB":
        return np.array(image)
    if image.mode != "RGBX":
        notes.append(CONVERTED.format(mode="palette" if image.mode == "P" else image.mode))
    return np.array(image.convert("RGB"))


def _to_uint16(image: Image.Image, opened: Image.Image, notes: list[str]) -> NDArray[np.uint16]:
    values = np.array(image)
    if image.mode == "I" and not 0 <= values.min() <= values.max() <= 65535:
        raise UnreadableImage(
            f"32-bit values from {values.min()} to {values.max()} lie outside 0..65535: "
            "shift or scale them into 16 bits and save the file again"
        )
    pixels = values.astype(np.uint16)[..., None]
    transparent = opened.info.get("transparency")
    if isinstance(transparent, int) and (pixels == transparent).any():
        notes.append(ALPHA_DROPPED)
    tags: Any = getattr(opened, "tag_v2", {})
    if opened.mode.startswith("I;16") and tags.get(_WHITE_IS_ZERO_TAG) == 0:
        notes.append(INVERTED)
        pixels = np.uint16(65535) - pixels
    return pixels


def checked_floats(pixels: NDArray[np.float32], notes: list[str]) -> NDArray[np.float32]:
    """``pixels`` as they are if the finite ones lie in [0, 1]; appends ``non-finite values`` to ``notes``.

    Raises:
        UnreadableImage: a finite value lies outside [0, 1].

    Example:
        >>> notes = []
        >>> checked_floats(np.array([0.5, np.nan], dtype=np.float32), notes), notes
        (array([0.5, nan], dtype=float32), ['non-finite values'])
    """
    finite = np.isfinite(pixels)
    if not finite.all():
        notes.append(NON_FINITE)
    low = pixels.min(initial=1, where=finite)
    high = pixels.max(initial=0, where=finite)
    if low < 0 or high > 1:
        raise UnreadableImage(
            f"float values from {low:g} to {high:g} lie outside [0, 1]: "
            "divide them by the largest value the scanner can give and save the file again"
        )
    return pixels


_quiet_lock = threading.Lock()
_quiet_users = 0
_quiet_filters: Any = None
_QUIET_FILTER = ("ignore", None, Warning, re.compile(r"(PIL|pydicom|gdcm|iuscore\.images)\b"), 0)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what decoders warn about (odd metadata, images of more than half Pillow's limit) while inside.

    ``warnings.catch_warnings`` swaps a list that all threads share, and threads that leave it in
    another order than they entered can leave it swapped for good. So the first thread in puts one entry
    for their own modules into the present list and the last one out takes it from that same list.
    """
    global _quiet_users, _quiet_filters
    with _quiet_lock:
        if _quiet_users == 0:
            _quiet_filters = warnings.filters
            _quiet_filters.insert(0, _QUIET_FILTER)
        _quiet_users += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_users -= 1
            if _quiet_users == 0:
                if _QUIET_FILTER in _quiet_filters:
                    _quiet_filters.remove(_QUIET_FILTER)
                _quiet_filters = None
