"""JPEG files by simplejpeg, where it is installed and gives what Pillow would give, bit for bit.

Both decode with libjpeg-turbo. Left to Pillow is whatever it treats in a way of its own: files that are turned by
EXIF or XMP, several pictures in one file, CMYK, RGB stored as it is, uncommon codings, and damage of any kind.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

from numpy.typing import NDArray

START = b"\xff\xd8\xff"

# Baseline, extended and progressive Huffman coding.
_FRAMES = (0xC0, 0xC1, 0xC2)
_SCAN = 0xDA
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
    except Exception:  # it says less than Pillow, which tries next, about what is wrong
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
    # What is shorter than it should be Pillow refuses.
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
