"""Image files written by hand, byte by byte, of kinds that no library here writes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from iuscore.images import UnreadableImage, decode

PNG_START = b"\x89PNG\r\n\x1a\n"


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of(width: int, height: int, bits: int, color_type: int, rows: bytes, *extra: bytes) -> bytes:
    """``rows`` with a filter byte each; ``extra`` chunks stand before the pixels."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0))
    return PNG_START + header + b"".join(extra) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


def deep_png(values: np.ndarray) -> bytes:
    """[H, W, C] of uint16; C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png_of(width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], rows)


_FORMATS = {"u": 1, "i": 2, "f": 3}


def tiff_of(
    values: np.ndarray,
    order: str = "<",
    *,
    photometric: int | None = None,
    extra: Sequence[int] = (),
    width: int | None = None,
    bits: int | None = None,
    tags: Sequence[tuple[int, int, Sequence[int]]] = (),
) -> bytes:
    """One strip of [H, W] or [H, W, samples] without compression, by TIFF 6.0; ``tags``: (tag, kind, values)."""
    samples = values.shape[2] if values.ndim == 3 else 1
    bits = bits or values.itemsize * 8
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()  # type: ignore[arg-type]
    data += b"\0" * (len(data) % 2)
    photometric = photometric if photometric is not None else 2 if samples >= 3 else 1
    entries = [
        (256, 4, [width or values.shape[1]]),
        (257, 4, [values.shape[0]]),
        (258, 3, [bits] * samples),
        (259, 3, [1]),
        (262, 3, [photometric]),
        (273, 4, [8]),
        (277, 3, [samples]),
        (278, 4, [values.shape[0]]),
        (279, 4, [values.nbytes]),
        (339, 3, [_FORMATS[values.dtype.kind]] * samples),
        *([(338, 3, list(extra))] if extra else []),
        *tags,
    ]
    return (
        (b"II*\0" if order == "<" else b"MM\0*")
        + struct.pack(order + "I", 8 + len(data))
        + data
        + _page(sorted(entries), order, 8 + len(data))
    )


def _page(entries: Sequence[tuple[int, int, Sequence[int]]], order: str, place: int) -> bytes:
    table, behind = struct.pack(order + "H", len(entries)), b""
    start = place + 2 + 12 * len(entries) + 4
    for tag, kind, values in entries:
        content = struct.pack(f"{order}{len(values)}{'H' if kind == 3 else 'I'}", *values)
        table += struct.pack(order + "HHI", tag, kind, len(values))
        if len(content) > 4:
            table += struct.pack(order + "I", start + len(behind))
            behind += content + b"\0" * (len(content) % 2)
        else:
            table += content.ljust(4, b"\0")
    return table + bytes(4) + behind


def tiff_pages(n: int) -> bytes:
    """``n`` pages of one and the same pixel, each with tags of its own."""
    first = 10
    size = 2 + 12 * 9 + 4
    tags = [(256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 1)]
    table = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    pages = b"".join(table + struct.pack("<I", first + (i + 1) * size if i + 1 < n else 0) for i in range(n))
    return b"II*\0" + struct.pack("<I", first) + b"\x7f\0" + pages


def reason(data: bytes, **options: Any) -> str:
    """Why a file cannot be read, in one line."""
    with pytest.raises(UnreadableImage) as caught:
        decode(data, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
