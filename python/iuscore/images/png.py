"""PNG files of 8-bit gray or RGB, read chunk by chunk, where that gives what Pillow would give, bit for bit.

Inflated by isal where it is installed, else by zlib; `iuscore.ops.png_rows` does the rest. Left to Pillow is all else:
palettes, transparency, 16 bits, interlacing, animation, EXIF and XMP, and damage of any kind.
"""

from __future__ import annotations

import functools
import importlib
import zlib
from typing import Any

from numpy.typing import NDArray

from iuscore.ops.png_rows import png_rows

START = b"\x89PNG\r\n\x1a\n"

_CHANNELS = {0: 1, 2: 3}  # color type: gray, RGB
# Chunks that change no pixel, and their length; Pillow refuses some that are shorter.
_HARMLESS = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"tIME": 7, b"sBIT": None, b"bKGD": None}
_LONGEST_TEXT = 1 << 16
# Texts under such keywords are more than texts to Pillow.
_TELLING = (b"exif", b"xmp", b"transparency", b"adobe")
_LARGEST_PROFILE = 1 << 20


@functools.cache
def inflater() -> Any:
    """The module that inflates: isal's, or zlib."""
    try:
        return importlib.import_module("isal.isal_zlib")
    except ImportError:
        return zlib


def plain_header(head: bytes) -> tuple[int, int, int] | None:
    """(width, height, channels) of a file that `decoded` may know; None for all else.

    Example:
        >>> plain_header(START) is None
        True
    """
    # Length 13, IHDR; then sizes, 8 bits, color type; compression, filter, interlace 0.
    if len(head) < 33 or head[8:16] != b"\0\0\0\x0dIHDR" or head[24] != 8 or head[26:29] != b"\0\0\0":
        return None
    channels = _CHANNELS.get(head[25])
    width, height = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    return (width, height, channels) if channels and width and height else None


def decoded(data: bytes, width: int, height: int, channels: int) -> NDArray[Any] | None:
    """Pixels [height, width, channels] of a file that `plain_header` knows; None where anything is odd."""
    parts = _compressed(data)
    if parts is None:
        return None
    size = height * (1 + width * channels)
    stream = inflater().decompressobj()
    try:
        # One byte more than is needed, so that what is too long shows, and no bomb goes off.
        inflated = stream.decompress(b"".join(parts), size + 1)
    except Exception:  # zlib.error, isal's own error
        return None
    if len(inflated) != size or not stream.eof or stream.unused_data:
        return None
    return png_rows(inflated, height, width, channels)


def _compressed(data: bytes) -> list[memoryview] | None:
    """Contents of the IDAT chunks; None where a checksum is wrong or a chunk is none of the harmless ones."""
    view = memoryview(data)
    crc = getattr(inflater(), "crc32", zlib.crc32)
    parts: list[memoryview] = []
    at, previous = 8, b""
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(view[at : at + 4], "big")
        if end + 4 > len(data) or crc(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            return None
        kind, content = data[at + 4 : at + 8], view[at + 8 : end]
        if kind == b"IDAT":
            if parts and previous != b"IDAT":
                return None
            parts.append(content)
        elif kind == b"IEND":
            return parts if parts and not content else None
        elif not _is_harmless(kind, content, at == 8):
            return None
        at, previous = end + 4, kind
    return None


def _is_harmless(kind: bytes, content: memoryview, first: bool) -> bool:
    if kind == b"IHDR":
        return first
    if kind == b"tEXt":
        text = bytes(content).lower()
        return len(text) <= _LONGEST_TEXT and not any(word in text for word in _TELLING)
    if kind == b"iCCP":
        return _is_whole_profile(bytes(content))
    return kind in _HARMLESS and _HARMLESS[kind] in (None, len(content))


def _is_whole_profile(content: bytes) -> bool:
    name, _, rest = content.partition(b"\0")
    if not name or rest[:1] != b"\0":
        return False
    stream = zlib.decompressobj()
    try:
        stream.decompress(rest[1:], _LARGEST_PROFILE)
    except zlib.error:
        return False
    return stream.eof
