"""What the tags of a TIFF file's first page say, and how many pages there are.

Only the first page is read. Later pages are counted by following their places, without looking into them.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

MAX_PAGES = 100_000

UNSIGNED, SIGNED, FLOAT = 1, 2, 3
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
ORIENTATION = 274
SAMPLES, ROWS_PER_STRIP, PLANES, PREDICTOR = 277, 278, 284, 317
TILE_WIDTH, TILE_HEIGHT, EXTRA_SAMPLES, FORMAT = 322, 323, 338, 339
STRIPS_AND_TILES = (273, 279, 324, 325)

_ASKED = {WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, ROWS_PER_STRIP, PLANES, PREDICTOR}
_ASKED |= {ORIENTATION, TILE_WIDTH, TILE_HEIGHT, EXTRA_SAMPLES, FORMAT}
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_MAX_TAGS = 4096
_SEPARATE = 2


@dataclass(frozen=True)
class Page:
    """What the tags of the first page say.

    Attributes:
        width, height: pixels.
        bits: of each sample; of the widest where they differ.
        format: 1 unsigned, 2 signed, 3 floating.
        samples: values a pixel.
        photometric: 0 white is zero, 1 black is zero, 2 RGB, others as in TIFF 6.0.
        extra: what each sample beyond the color is: 0 unknown, 1 and 2 alpha.
        compression: 1 none, others as in TIFF 6.0.
        predictor: 1 none, 2 differences of values, 3 differences of the bytes of floats.
        planes: 1 where the samples of a pixel lie together, else ``samples``.
        tile: height and width of a tile; (0, 0) where there are strips.
        rows_per_strip: rows of a strip.
        orientation: 1 to 8, 1 is upright.
        layout: how numbers are written in this file.
        entries: the entry of each tag as it is in the file.
    """

    width: int
    height: int
    bits: int
    format: int
    samples: int
    photometric: int
    extra: tuple[int, ...]
    compression: int
    predictor: int
    planes: int
    tile: tuple[int, int]
    rows_per_strip: int
    orientation: int
    layout: Layout
    entries: dict[int, bytes] = field(repr=False)

    def described(self) -> str:
        """Such as ``float64 with 3 channels``."""
        name = {UNSIGNED: "uint", SIGNED: "int", FLOAT: "float"}.get(self.format, f"sample format {self.format}, ")
        return f"{name}{self.bits} with {self.samples} channel{'' if self.samples == 1 else 's'}"


class Layout(NamedTuple):
    """How numbers are written: ``order`` of bytes (``<`` or ``>``); ``big``: places have 64 bits (BigTIFF)."""

    order: str
    big: bool

    def number(self, content: bytes, code: str) -> int:
        return int(struct.unpack(self.order + code, content)[0])

    def place(self, content: bytes) -> int:
        return self.number(content, "Q" if self.big else "I")

    @property
    def place_bytes(self) -> int:
        return 8 if self.big else 4


def _start(stream: BinaryIO) -> tuple[Layout, int]:
    """Layout, and the place of the first page."""
    stream.seek(0)
    head = stream.read(16)
    layout = Layout({b"II": "<", b"MM": ">"}[head[:2]], 43 in head[2:4])
    return layout, layout.place(head[8:16] if layout.big else head[4:8])


def _n_tags(stream: BinaryIO, layout: Layout, at: int) -> int:
    stream.seek(at)
    return layout.number(stream.read(8), "Q") if layout.big else layout.number(stream.read(2), "H")


def first_page(stream: BinaryIO) -> Page:
    """Read the tags of the first page.

    Raises:
        ValueError: damaged, or tags whose values need more room than the file has.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> stream = io.BytesIO()
        >>> Image.new("F", (4, 2)).save(stream, "TIFF")
        >>> first_page(stream).described()
        'float32 with 1 channel'
    """
    try:
        return _first_page(stream)
    except (struct.error, KeyError, IndexError, OverflowError) as error:
        raise ValueError("the first page of the TIFF file cannot be read") from error


def _first_page(stream: BinaryIO) -> Page:
    size = stream.seek(0, os.SEEK_END)
    layout, at = _start(stream)
    n = _n_tags(stream, layout, at)
    if n > _MAX_TAGS:
        raise ValueError(f"{n} tags in a page of a TIFF file, more than {_MAX_TAGS}")
    length = 20 if layout.big else 12
    content = stream.read(n * length)
    if len(content) < n * length:
        raise ValueError("truncated: the first page of the TIFF file ends beyond the file")
    tags: dict[int, tuple[int, ...]] = {}
    entries: dict[int, bytes] = {}
    room = 0
    for place in range(0, len(content), length):
        entry = content[place : place + length]
        tag, field_type = struct.unpack(layout.order + "HH", entry[:4])
        count = layout.place(entry[4 : 4 + layout.place_bytes])
        room += count * _BYTES.get(field_type, 0)
        entries.setdefault(tag, entry)
        if tag in _ASKED and field_type in _INTEGERS and tag not in tags:
            tags[tag] = _values(stream, layout, field_type, min(count, 16), entry[4 + layout.place_bytes :])
    if room > size:
        raise ValueError(f"tags of {room} bytes in a TIFF file of {size}")

    def one(tag: int, default: int) -> int:
        return (tags.get(tag) or (default,))[0]

    return Page(
        width=tags[WIDTH][0],
        height=tags[HEIGHT][0],
        bits=max(tags.get(BITS) or (1,)),
        format=one(FORMAT, UNSIGNED) if one(FORMAT, UNSIGNED) != 4 else UNSIGNED,  # 4: undefined
        samples=one(SAMPLES, 1),
        photometric=one(PHOTOMETRIC, WHITE_IS_ZERO),
        extra=tags.get(EXTRA_SAMPLES, ()),
        compression=one(COMPRESSION, 1),
        predictor=one(PREDICTOR, 1),
        planes=one(SAMPLES, 1) if one(PLANES, 1) == _SEPARATE else 1,
        tile=(one(TILE_HEIGHT, 0), one(TILE_WIDTH, 0)),
        rows_per_strip=one(ROWS_PER_STRIP, 2**32 - 1),
        orientation=one(ORIENTATION, 1) if one(ORIENTATION, 1) in range(2, 9) else 1,
        layout=layout,
        entries=entries,
    )


def _values(stream: BinaryIO, layout: Layout, field_type: int, count: int, inline: bytes) -> tuple[int, ...]:
    length = count * _BYTES[field_type]
    if length > len(inline):
        stream.seek(layout.place(inline))
        inline = stream.read(length)
    return struct.unpack(f"{layout.order}{count}{_INTEGERS[field_type]}", inline[:length])


def n_pages(stream: BinaryIO) -> int:
    """Pages of a TIFF file; 0 where the way to one of them is damaged. The count ends at ``MAX_PAGES``."""
    try:
        layout, at = _start(stream)
        seen: set[int] = set()
        while at and len(seen) < MAX_PAGES:
            if at in seen:
                return 0
            seen.add(at)
            n = _n_tags(stream, layout, at)
            stream.seek(at + (8 + 20 * n if layout.big else 2 + 12 * n))
            at = layout.place(stream.read(layout.place_bytes))
    except (struct.error, KeyError, OverflowError, OSError, ValueError):
        return 0
    return len(seen)
