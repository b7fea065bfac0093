"""Pixels of a TIFF file: by Pillow where Pillow reads its type of samples correctly, else from the samples."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from iuscore.images.decoded import (
    ALPHA_DROPPED,
    FIRST_FRAME,
    INVERTED,
    ROTATED,
    Decoded,
    UnreadableImage,
    checked_floats,
    checked_size,
    full_range,
    one_line_reason,
)
from iuscore.images.formats.pillow_pixels import checked_integers, loaded_pixels, upright
from iuscore.images.formats.tiff import pages
from iuscore.images.formats.tiff.libtiff import silent
from iuscore.images.formats.tiff.pages import Page
from iuscore.images.formats.tiff.samples import UnsupportedTiff, samples

_ASSOCIATED_ALPHA, _ALPHA = 1, 2


def decode_tiff(stream: BinaryIO, factory: Any, max_pixels: int, bits: int | None) -> Decoded:
    """The first page; ``factory`` opens a TIFF file with Pillow. Raises UnreadableImage."""
    width = height = 0
    notes: list[str] = []
    try:
        page = pages.first_page(stream)
        width, height = page.width, page.height
        checked_size(width, height, max_pixels)
        with silent():
            pixels = _pixels(stream, page, factory, notes, bits)
    except UnreadableImage as error:
        raise UnreadableImage(str(error), width, height) from error
    except UnsupportedTiff as error:
        raise UnreadableImage(str(error), width, height) from error
    except Exception as error:  # Pillow's decoders raise anything from SyntaxError to zlib.error
        raise UnreadableImage(one_line_reason(error), width, height) from error
    n_frames = pages.n_pages(stream)
    if n_frames != 1:
        notes.append(FIRST_FRAME.format(frames=n_frames or "several"))
    return Decoded(pixels, pixels.shape[1], pixels.shape[0], tuple(notes))


def _pixels(stream: BinaryIO, page: Page, factory: Any, notes: list[str], bits: int | None) -> NDArray[Any]:
    if not _is_for_samples(page, bits):
        stream.seek(0)
        try:
            image = factory(stream, "")
        except SyntaxError:  # a type that Pillow does not know, or damage: reading the samples says which
            pass
        else:
            if image.size not in ((page.width, page.height), (page.height, page.width)):
                raise ValueError(f"{page.width} x {page.height} or {image.width} x {image.height} pixels")
            return loaded_pixels(image, notes, bits=bits)
    stored = samples(stream, page)
    if page.orientation != 1:
        stored = upright(stored, page.orientation)
        notes.append(ROTATED)
    if page.format == pages.FLOAT:
        with np.errstate(over="ignore"):
            pixels: NDArray[Any] = checked_floats(stored.astype(np.float32), notes)
        largest: Any = np.float32(1)
    elif page.bits == 8:
        _no_negative(stored, page)
        pixels, largest = stored.astype(np.uint8), np.uint8(255)
    else:
        checked_integers(stored, page.bits)
        pixels, largest = full_range(stored, notes, bits=bits), np.uint16(65535)
    if any(channel in (_ASSOCIATED_ALPHA, _ALPHA) for channel in page.extra):
        notes.append(ALPHA_DROPPED)
    if page.photometric == pages.WHITE_IS_ZERO:
        notes.append(INVERTED)
        pixels = largest - pixels
    return pixels


def _no_negative(stored: NDArray[Any], page: Page) -> None:
    if stored.min() < 0:
        raise UnreadableImage(
            f"signed {page.bits}-bit values from {stored.min()} to {stored.max()}: "
            "shift them into 0..255 and save the file again"
        )


def _is_for_samples(page: Page, bits: int | None) -> bool:
    """Where Pillow would wrap values around, leave white as it is, or drop low bits that are asked for."""
    if page.format == pages.SIGNED:
        return True
    if page.format == pages.FLOAT:
        return page.photometric == pages.WHITE_IS_ZERO or page.bits != 32
    deep_color = page.bits == 16 and page.photometric == pages.RGB and bits is not None and bits < 16
    return deep_color or (page.bits == 32 and page.samples == 1)
