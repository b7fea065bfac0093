"""Samples of TIFF files in types that Pillow does not know, such as float64, int64 or 32-bit color.

libtiff, through Pillow, undoes the compression: it is shown the same strips as those of a gray image of bytes. What
the bytes mean is NumPy's part.
"""

from __future__ import annotations

import io
import struct
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from iuscore.images.formats.own_pillow import image_module
from iuscore.images.formats.tiff import pages
from iuscore.images.formats.tiff.pages import Page

_BYTEWISE = {1: "none", 5: "LZW", 8: "Deflate", 32773: "PackBits", 32946: "Deflate", 34925: "LZMA", 50000: "Zstandard"}
_DIFFERENCES, _FLOAT_DIFFERENCES = 2, 3
_SHORT, _LONG = 3, 4


class UnsupportedTiff(ValueError):
    """A sound TIFF file that is not read here; the message says which."""


def samples(stream: BinaryIO, page: Page) -> NDArray[Any]:
    """[height, width, colors] of the first page as stored, in native byte order; colors: 1, or 3 of RGB.

    Raises:
        UnsupportedTiff: channels, numbers or compression that are not read here.
        Exception: whatever Pillow raises about damage.
    """
    colors = 3 if page.photometric == pages.RGB else 1
    advice = "save it as 8 or 16 bits, gray or RGB"
    if page.photometric not in (pages.WHITE_IS_ZERO, pages.BLACK_IS_ZERO, pages.RGB) or page.samples < colors:
        raise UnsupportedTiff(
            f"a TIFF of {page.described()}, photometric interpretation {page.photometric}, is not read here: {advice}"
        )
    if page.samples > colors and len(page.extra) != page.samples - colors:
        raise UnsupportedTiff(f"a TIFF of {page.described()} is not read here, expected 1 or 3 channels: {advice}")
    if page.bits not in (8, 16, 32, 64) or page.format not in (pages.UNSIGNED, pages.SIGNED, pages.FLOAT):
        raise UnsupportedTiff(f"a TIFF of {page.described()} is not read here: {advice}")
    if page.format == pages.FLOAT and page.bits == 8:
        raise UnsupportedTiff(f"a TIFF of {page.described()} is not read here: {advice}")
    if page.layout.big and page.layout.order == ">":
        raise UnsupportedTiff(f"a TIFF of {page.described()} as big-endian BigTIFF is not read here: {advice}")
    if page.compression not in _BYTEWISE:
        raise UnsupportedTiff(
            f"a TIFF of {page.described()} with compression {page.compression} is not read here: {advice}"
        )
    tall, wide = page.tile
    if page.planes > 1 and not wide and page.height % min(page.rows_per_strip, page.height):
        raise UnsupportedTiff(f"a TIFF of {page.described()} in separate planes is not read here: {advice}")
    # Tiles at the right and lower edge are whole, and wider than the image.
    width = -(-page.width // wide) * wide if wide else page.width
    height = -(-page.height // tall) * tall if tall else page.height
    together = page.samples // page.planes
    content = _bytes(stream, page, width * together * page.bits // 8, height * page.planes)
    blocks = content.reshape(page.planes, height, -1, (wide or width) * together * page.bits // 8)
    values = _undone(blocks, page, together)
    values = values.reshape(page.planes, height, width, together)[:, : page.height, : page.width]
    if page.planes > 1:
        return np.ascontiguousarray(np.moveaxis(values[..., 0], 0, -1)[..., :colors])
    return np.ascontiguousarray(values[0, ..., :colors])


def _undone(blocks: NDArray[np.uint8], page: Page, together: int) -> NDArray[Any]:
    """[planes, height, blocks a row, values of a block's row] in native order, from the bytes of the file."""
    n_bytes = page.bits // 8
    number = {pages.UNSIGNED: "u", pages.SIGNED: "i", pages.FLOAT: "f"}[page.format]
    if page.predictor == _FLOAT_DIFFERENCES:
        # Adobe Photoshop TIFF Technical Note 3: the first bytes of all values, then the second ones; differences.
        summed = np.cumsum(blocks.reshape(*blocks.shape[:3], -1, together), axis=3, dtype=np.uint8)
        planes = summed.reshape(*blocks.shape[:3], n_bytes, -1)
        together_again = np.ascontiguousarray(np.swapaxes(planes, 3, 4)).view(f">{number}{n_bytes}")[..., 0]
        return together_again.astype(f"{number}{n_bytes}")
    if page.predictor == _DIFFERENCES:
        stored = blocks.view(f"{page.layout.order}u{n_bytes}")
        summed = np.cumsum(stored.reshape(*stored.shape[:3], -1, together), axis=3, dtype=f"u{n_bytes}")
        return summed.view(f"{number}{n_bytes}")
    return blocks.view(f"{page.layout.order}{number}{n_bytes}").astype(f"{number}{n_bytes}")


def _bytes(stream: BinaryIO, page: Page, width: int, height: int) -> NDArray[np.uint8]:
    """[height, width]: the strips of ``page`` as those of a gray image of bytes."""
    layout = page.layout

    def entry(tag: int, value: int) -> bytes:
        counted = struct.pack(layout.order + ("HHQ" if layout.big else "HHI"), tag, _LONG, 1)
        return counted + struct.pack(layout.order + "I", value).ljust(layout.place_bytes, b"\0")

    entries = {tag: page.entries[tag] for tag in (*pages.STRIPS_AND_TILES, pages.FILL_ORDER) if tag in page.entries}
    changed = {
        pages.WIDTH: width,
        pages.HEIGHT: height,
        pages.BITS: 8,
        pages.COMPRESSION: page.compression,
        pages.PHOTOMETRIC: pages.BLACK_IS_ZERO,
        pages.SAMPLES: 1,
    }
    if page.tile[1]:
        bytes_a_pixel = page.samples // page.planes * page.bits // 8
        changed |= {pages.TILE_WIDTH: page.tile[1] * bytes_a_pixel, pages.TILE_HEIGHT: page.tile[0]}
    else:
        changed[pages.ROWS_PER_STRIP] = min(page.rows_per_strip, page.height)
    entries |= {tag: entry(tag, value) for tag, value in changed.items()}
    stream.seek(0)
    content = stream.read()
    content += b"\0" * (len(content) % 2)
    start = len(content)
    table = struct.pack(layout.order + ("Q" if layout.big else "H"), len(entries))
    table += b"".join(entries[tag] for tag in sorted(entries)) + bytes(layout.place_bytes)
    at = 8 if layout.big else 4
    head = content[:at] + struct.pack(layout.order + ("Q" if layout.big else "I"), start)
    whole = io.BytesIO(head + content[len(head) :] + table)
    factory, _ = image_module().OPEN["TIFF"]
    image = factory(whole, "")
    image.load()
    return np.array(image, dtype=np.uint8)
