"""Decode one image file to an array of pixels, or say in one line why that is impossible."""

from __future__ import annotations

import io
import re
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from iuscore._run.regular_files import regular_only
from iuscore.images.decoded import (
    ALPHA_DROPPED,
    FIRST_FRAME,
    MAX_PIXELS,
    Decoded,
    UnreadableImage,
    checked_bits,
    checked_size,
    full_range,
    one_line_reason,
)
from iuscore.images.formats import jpeg, jpeg2000, png, ppm
from iuscore.images.formats.gif import n_gif_frames
from iuscore.images.formats.own_pillow import image_module
from iuscore.images.formats.pillow_pixels import loaded_pixels
from iuscore.images.formats.tiff.libtiff import silent

if TYPE_CHECKING:
    from PIL import Image

# Enough for the header of any common file, and for most small files.
_HEAD = 1 << 16

# Only these decoders are tried: some others of Pillow's start programs (EPS) or read remote names.
_FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "WEBP", "JPEG2000", "BMP", "PPM")
# These formats begin with two letters, with which a text may begin as well.
_WEAKLY_SIGNED = ("BMP", "PPM")
_NOT_AN_IMAGE = "not an image: no PNG, JPEG, BMP, TIFF, GIF, WebP, PGM/PPM, JPEG 2000 or DICOM data found"
_DICOM_MARK = slice(128, 132)


def decode(source: str | Path | bytes, *, max_pixels: int = MAX_PIXELS, bits: int | None = None) -> Decoded:
    """Read one image file.

    Args:
        source: a path, or the bytes of a file.
        max_pixels: larger images are refused from their header, before any pixel is decoded.
        bits: 8 to 16, the depth of the values in files that have room for more, such as 12 where a scanner's 12 bits
            were saved as 16-bit PNG: 0..4095 are then stretched to 0..65535. Files of 8 bits or less, floats, PGM and
            PPM files that name another largest value than 65535, and DICOM files with a window or a table for display
            are read as without it. None: the depth that the file says; where the values need much less, a warning
            names it.

    Returns:
        ``(pixels, width, height, warnings)``. Gray and 1-bit files give C = 1, all others C = 3. Alpha is
        dropped, not blended (as the published implementation's ``convert("RGB")`` does), with a warning
        unless it is opaque everywhere. EXIF orientation is applied; width and height are those after it.
        Files with many frames give the first. Color profiles are ignored.

    Raises:
        UnreadableImage: missing, empty, truncated, no image, too large, integers outside 0..65535, more bits than
            ``bits``, or floats outside [0, 1] (not-a-number and infinity pass, with a warning).
        UserError: ``bits`` is not 8 to 16.

    Settings of Pillow in this process (``LOAD_TRUNCATED_IMAGES``, ``MAX_IMAGE_PIXELS``, registered formats) change
    nothing.

    Example:
        >>> decode(b"P5 2 1 255 " + bytes([0, 200])).pixels.tolist()
        [[[0], [200]]]
    """
    checked_bits(bits)
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb", opener=regular_only) as stream:
            return _decode_stream(stream, max_pixels, bits)
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
    notes: list[str] = []
    with _quiet(), silent(), _whole_only() if getattr(image, "tile", None) else nullcontext():
        pixels = _pixels_or_reason(image.size, lambda: loaded_pixels(image, notes))
        try:
            n = int(getattr(image, "n_frames", 1))
        except Exception:  # a later frame is damaged
            n = 0
    return _with_frames(pixels, n, notes)


def _decode_stream(stream: BinaryIO, max_pixels: int, bits: int | None) -> Decoded:
    head = stream.read(_HEAD)
    if not head:
        raise UnreadableImage("empty file (0 bytes)")
    if head.startswith(jpeg.START):
        decoded = _plain_jpeg(head, stream, max_pixels)
        if decoded is not None:
            return decoded
    stream.seek(0)
    with _quiet():
        if head[_DICOM_MARK] == b"DICM":
            from iuscore.images.formats.dicom.decode import decode_dicom

            return decode_dicom(stream, max_pixels, bits)
        return _by_format(stream, head, max_pixels, bits)


def _plain_jpeg(head: bytes, stream: BinaryIO, max_pixels: int) -> Decoded | None:
    """A JPEG by simplejpeg; None where only Pillow reads it correctly, such as one with EXIF or CMYK."""
    header = jpeg.plain_header(head)
    width, height, channels = header or (0, 0, 0)
    if header is not None:
        checked_size(width, height, max_pixels)
    if header is None and jpeg.has_many_segments(stream):
        raise UnreadableImage(f"a JPEG of more than {jpeg.MAX_SEGMENTS} segments before the picture: save it again")
    if jpeg.n_scans(stream) > jpeg.MAX_SCANS:
        raise UnreadableImage(
            f"a JPEG of more than {jpeg.MAX_SCANS} scans, which would take very long: save it again", width, height
        )
    if header is None or not jpeg.is_installed():
        return None
    most = 16 * width * height + _HEAD
    stream.seek(len(head))
    pixels = jpeg.decoded(head + stream.read(most), channels)
    return None if pixels is None else Decoded(pixels, width, height, ())


def _by_format(stream: BinaryIO, head: bytes, max_pixels: int, bits: int | None) -> Decoded:
    registered = image_module().OPEN
    for name in _FORMATS:
        factory, accepts = registered.get(name, (None, lambda prefix: False))
        if accepts(head[:16]) is True:
            break
    else:
        raise UnreadableImage(_NOT_AN_IMAGE)
    if name == "TIFF":
        from iuscore.images.formats.tiff.decode import decode_tiff

        return decode_tiff(stream, factory, max_pixels, bits)
    try:
        if name == "PNG":
            stream = png.without_metadata(stream)
        elif name == "PPM":
            ppm.require_header(stream)
        image = factory(stream, "")
    except UnreadableImage:
        raise
    except Exception as error:
        if name in _WEAKLY_SIGNED and isinstance(error, (SyntaxError, IndexError, TypeError, struct.error)):
            raise UnreadableImage(_NOT_AN_IMAGE) from error
        raise UnreadableImage(one_line_reason(error)) from error
    width, height = image.size
    checked_size(width, height, max_pixels)
    notes: list[str] = []

    def pixels() -> NDArray[Any]:
        if name == "PPM" and ppm.is_for_numpy(image.tile[0]):
            return ppm.pixels_of(stream, image.tile[0], image.size, notes, bits)
        if name == "PNG" and bits is not None and bits < 16 and png.is_deep_color(image):
            return _deep_color(png.deep_samples(factory, stream), notes, bits)
        if name == "JPEG2000":
            stream.seek(0)
            loaded = jpeg2000.loaded(image, stream.read())
            return loaded_pixels(loaded, notes, bits=bits, nominal=jpeg2000.shifted_depth(head))
        return loaded_pixels(image, notes, bits=bits)

    found = _pixels_or_reason(image.size, pixels)
    return _with_frames(found, n_gif_frames(stream) if name == "GIF" else getattr(image, "n_frames", 1), notes)


def _deep_color(samples: NDArray[np.uint16], notes: list[str], bits: int) -> NDArray[np.uint16]:
    """All bits of 16-bit color; a channel of alpha is dropped."""
    colors = 3 if samples.shape[2] > 2 else 1
    pixels = full_range(np.ascontiguousarray(samples[..., :colors]), notes, bits=bits)
    if samples.shape[2] > colors and (samples[..., colors] != 65535).any():
        notes.append(ALPHA_DROPPED)
    return pixels


def _pixels_or_reason(size: tuple[int, int], pixels: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """The result of ``pixels``; any error becomes an UnreadableImage with the image's size."""
    try:
        return pixels()
    except UnreadableImage as error:
        raise UnreadableImage(str(error), *size) from error
    except Exception as error:  # Pillow's decoders raise anything from SyntaxError to zlib.error
        raise UnreadableImage(one_line_reason(error), *size) from error


def _with_frames(pixels: NDArray[Any], n: int, notes: list[str]) -> Decoded:
    """``n`` is the number of frames, 0 where nobody knows."""
    if n != 1:
        notes.append(FIRST_FRAME.format(frames=n or "several"))
    return Decoded(pixels, pixels.shape[1], pixels.shape[0], tuple(notes))


_whole_lock = threading.Lock()


@contextmanager
def _whole_only() -> Iterator[None]:
    """Truncated files that the caller opened with Pillow are errors inside, whatever Pillow is set to."""
    from PIL import ImageFile

    with _whole_lock:
        before = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before


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
