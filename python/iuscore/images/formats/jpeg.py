"""JPEG files by simplejpeg, where it is installed and gives what Pillow would give, bit for bit.

Both decode with libjpeg-turbo. Left to Pillow is whatever it treats in a way of its own: files that are turned by
EXIF or XMP, several pictures in one file, CMYK, RGB stored as it is, uncommon codings, and damage of any kind.
"""

from __future__ import annotations

import functools
import importlib
import re
from typing import Any, BinaryIO

from numpy.typing import NDArray

START = b"\xff\xd8\xff"
MAX_SCANS = 100
"""Progressive files have about ten scans, and each is a pass over all of the image."""

MAX_SEGMENTS = 5000
"""Before the first scan; Pillow takes time that grows with their square. A large XMP packet has up to a thousand."""

# Baseline, extended and progressive Huffman coding.
_FRAMES = (0xC0, 0xC1, 0xC2)
_SCAN = 0xDA
SCAN_MARKER = b"\xff\xda"
# Markers other than restarts, stuffed bytes and fill bytes.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))
_BLOCK = 1 << 20
# Tables, restart interval, comment.
_HARMLESS = (0xDB, 0xC4, 0xDD, 0xFE)
_EXIF, _XMP, _SEVERAL_PICTURES, _ADOBE = b"Exif\0\0", b"http://ns.adobe.com/x", b"MPF\0", b"Adobe"
_ORIENTATION = 0x0112


def decoded(data: bytes, channels: int) -> NDArray[Any] | None:
    """Pixels [height, width, channels] of a file that `plain_header` knows; None where anything is odd."""
    decode = _decoder()
    if decode is None:
        return None
    try:
        pixels: NDArray[Any] = decode(data, "GRAY" if channels == 1 else "RGB")
    except Exception:  # Pillow tries next, and names the damage better
        return None
    return pixels


@functools.cache
def _decoder() -> Any:
    try:
        return importlib.import_module("simplejpeg").decode_jpeg
    except ImportError:
        return None


def is_installed() -> bool:
    return _decoder() is not None


def plain_header(head: bytes) -> tuple[int, int, int] | None:
    """(width, height, channels) of a plain JPEG file from its first bytes; None for all else.

    Example:
        >>> plain_header(START + b"\\xe0") is None
        True
    """
    try:
        return _header(head)
    except (IndexError, ValueError):  # it ends before the first scan
        return None


def n_scans(stream: BinaryIO) -> int:
    """Scans of the first picture in a JPEG file; the count ends where it passes ``MAX_SCANS``.

    Example:
        >>> import io
        >>> n_scans(io.BytesIO(START + b"\\xda\\0\\2" + b"\\xff\\xda\\0\\2" + b"\\xff\\xd9"))
        2
    """
    stream.seek(0)
    # A thumbnail or data behind the picture may hold the same bytes, so only a high count is looked at closely.
    found, last = 0, b""
    while found <= MAX_SCANS and (block := stream.read(_BLOCK)):
        found += (last + block).count(SCAN_MARKER)
        last = block[-1:]
    return found if found <= MAX_SCANS else _walked(stream)


def has_many_segments(stream: BinaryIO) -> bool:
    """Whether more than ``MAX_SEGMENTS`` come before the first scan.

    Example:
        >>> import io
        >>> has_many_segments(io.BytesIO(START[:2] + b"\\xff\\xfe\\0\\2" * 5001 + b"\\xff\\xda\\0\\2"))
        True
    """
    at, found = 2, 0
    while found <= MAX_SEGMENTS:
        stream.seek(at)
        head = stream.read(4)
        if len(head) < 4 or head[:2] in (SCAN_MARKER, b"\xff\xd9"):
            return False
        if head[0] != 0xFF or head[1] == 0:
            at = _next_marker(stream, at + 1)
        elif head[1] == 0xFF or head[1] in _WITHOUT_LENGTH:
            at += 1 if head[1] == 0xFF else 2
        else:
            at += 2 + (head[2] << 8 | head[3])
            found += 1
    return True


def _walked(stream: BinaryIO) -> int:
    at, found = 2, 0
    while found <= MAX_SCANS:
        stream.seek(at)
        head = stream.read(4)
        if len(head) < 4 or head[:2] == b"\xff\xd9":
            break
        if head[0] != 0xFF or head[1] == 0:  # no marker: decoders go on to the next one
            at = _next_marker(stream, at + 1)
            continue
        if head[1] == 0xFF or head[1] in _WITHOUT_LENGTH:
            at += 1 if head[1] == 0xFF else 2
            continue
        at += 2 + (head[2] << 8 | head[3])
        if head[1] == _SCAN:
            found += 1
            at = _next_marker(stream, at)
    return found


def _next_marker(stream: BinaryIO, at: int) -> int:
    """Where coded pixels, or garbage, end that begin at ``at``."""
    size = 1 << 8
    while True:
        stream.seek(at)
        block = stream.read(size)
        size = min(2 * size, _BLOCK)
        marker = _MARKER.search(block)
        if marker is not None:
            return at + marker.start()
        if len(block) < 2:
            return at + len(block)
        at += len(block) - 1


def _header(head: bytes) -> tuple[int, int, int] | None:
    at = 2
    found = None
    exif = False
    while head[at] == 0xFF:
        marker = head[at + 1]
        length = head[at + 2] << 8 | head[at + 3]
        if length < 2:
            return None
        if marker == _SCAN:
            return found
        if marker in _FRAMES and found is None:
            found = _frame(head[at + 4 : at + 2 + length])
            if found is None:
                return None
        elif 0xE0 <= marker <= 0xEF:
            content = head[at + 4 : at + 2 + length]
            if not _is_harmless(content) or (exif and content.startswith(_EXIF)):
                return None
            exif = exif or content.startswith(_EXIF)
        elif marker not in _HARMLESS:
            return None
        at += 2 + length
    return None


def _frame(content: bytes) -> tuple[int, int, int] | None:
    bits, channels = content[0], content[5]
    height, width = content[1] << 8 | content[2], content[3] << 8 | content[4]
    # Without a marker that says what they are, three components numbered otherwise can be RGB.
    usual = channels == 1 or (channels == 3 and content[6:15:3] == b"\1\2\3")
    return (width, height, channels) if bits == 8 and usual and width and height else None


def _is_harmless(content: bytes) -> bool:
    """Whether an application's segment changes nothing about the pixels."""
    if content.startswith(_EXIF):
        return _is_upright(content[len(_EXIF) :])
    if content.startswith(_ADOBE):
        return len(content) >= 12 and content[11] == 1  # YCbCr
    if content.startswith(_XMP):
        return b"rientation" not in content
    # Pillow refuses a truncated file, and so does this.
    shortest = {b"JFIF": 7, b"ICC_": 14}.get(content[:4], 0)
    return len(content) >= shortest and not content.startswith((_SEVERAL_PICTURES, b"Photoshop"))


def _is_upright(exif: bytes) -> bool:
    """Whether the orientation is 1 or missing; False where the block is not as it should be."""
    if exif[:4] not in (b"II*\0", b"MM\0*"):
        return False
    order: Any = "little" if exif[:1] == b"I" else "big"
    start = int.from_bytes(exif[4:8], order)
    n = int.from_bytes(exif[start : start + 2], order)
    entries = exif[start + 2 : start + 2 + 12 * n]
    if start < 8 or len(entries) != 12 * n or not n:
        return False
    for at in range(0, 12 * n, 12):
        if int.from_bytes(entries[at : at + 2], order) == _ORIENTATION:
            short = entries[at + 2 : at + 8] in (b"\3\0\1\0\0\0", b"\0\3\0\0\0\1")
            return short and int.from_bytes(entries[at + 8 : at + 10], order) == 1
    return True
