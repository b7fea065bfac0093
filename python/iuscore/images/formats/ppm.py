"""PGM, PPM and PBM files in digits, and binary ones whose largest value is not 255, by NumPy.

Pillow takes a second for a million pixels, and minutes where there are comments between digits. The values are those of
Pillow, bit for bit, but for a comment that follows a number at once: it ends that number, as in netpbm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from iuscore.images.decoded import DEPTH_REDUCED, UnreadableImage, full_range, note_small_range

LONGEST_HEADER = 1 << 21
_BLOCK = 1 << 20
_MAX_DIGITS = 1000
_COMMENT = re.compile(rb"#[^\r\n]*")
# A bitmap has two numbers (width, height), the others three (largest value).
_HEADER = re.compile(rb"P(?:[14](?:_[^\s#]+){2}|.(?:_[^\s#]+){3})[\s#]".replace(b"_", rb"(?:\s|#[^\r\n]*[\r\n])+"))
_END_OF_LINE = re.compile(rb"[\r\n]")
_SPACE = b" \t\n\v\f\r"


def is_for_numpy(tile: Any) -> bool:
    """Whether Pillow would take one of its slow decoders."""
    return tile.codec_name in ("ppm", "ppm_plain")


def require_header(stream: BinaryIO) -> None:
    """Refuse a header with comments of megabytes before its numbers: Pillow reads comments byte by byte.

    Raises:
        UnreadableImage: it does not end within ``LONGEST_HEADER`` bytes.

    Example:
        >>> import io
        >>> require_header(io.BytesIO(b"P5 #" + b"x" * 3_000_000))
        Traceback (most recent call last):
        ...
        iuscore.images.decoded.UnreadableImage: damaged: a header of more than 2097152 bytes
    """
    stream.seek(0)
    head = stream.read(LONGEST_HEADER + 1)
    stream.seek(0)
    if len(head) > LONGEST_HEADER and _HEADER.match(head) is None:
        raise UnreadableImage(f"damaged: a header of more than {LONGEST_HEADER} bytes")


def pixels_of(stream: BinaryIO, tile: Any, size: tuple[int, int], notes: list[str], bits: int | None) -> NDArray[Any]:
    """[height, width, C] of values stretched from 0..maximum: uint16 gray where the maximum is above 255, else uint8.

    Raises:
        UnreadableImage: truncated, damaged, or more bits than ``bits`` in files of 16 bits.
    """
    width, height = size
    stream.seek(tile.offset)
    if tile.args == "1;I":
        return np.where(_digits(stream, width * height), np.uint8(0), np.uint8(255)).reshape(height, width, 1)
    channels = 3 if tile.args[0] == "RGB" else 1
    most = int(tile.args[1])
    n = width * height * channels
    values = _binary(stream, n, most) if tile.codec_name == "ppm" else _numbers(stream, n, most)
    return _stretched(values.reshape(height, width, channels), most, notes, bits)


def _stretched(values: NDArray[Any], most: int, notes: list[str], bits: int | None) -> NDArray[Any]:
    deep = values.shape[2] == 1 and most > 255
    if most == 65535 and (deep or (bits is not None and bits < 16)):
        return full_range(values, notes, bits=bits)
    top = 65535 if deep else 255
    table = np.minimum(np.rint(np.arange(1 << 8 * values.dtype.itemsize) / most * top), top)
    pixels: NDArray[Any] = table.astype(np.uint16 if deep else np.uint8)[values]
    if not deep and most > 255:
        notes.append(DEPTH_REDUCED)
        if most == 65535:
            note_small_range(int(values.max()).bit_length(), 16, notes)
    return pixels


def _binary(stream: BinaryIO, n: int, most: int) -> NDArray[Any]:
    dtype = np.dtype(np.uint8 if most < 256 else ">u2")
    content = stream.read(n * dtype.itemsize)
    if len(content) < n * dtype.itemsize:
        raise UnreadableImage(_TRUNCATED)
    return np.frombuffer(content, dtype)


_TRUNCATED = "truncated: image file is truncated"


def _numbers(stream: BinaryIO, n: int, most: int) -> NDArray[Any]:
    """``n`` decimal numbers with space between them."""
    found: list[NDArray[Any]] = []
    rest = b""
    for block in chain(_without_comments(stream), [b" "]):
        text = rest + block
        rest = b"" if text[-1:].isspace() else text.split()[-1]
        if len(rest) > _MAX_DIGITS:
            raise UnreadableImage(f"damaged: a number of more than {_MAX_DIGITS} digits")
        words = text[: len(text) - len(rest)].split(None, n)[:n]
        if words:
            found.append(_parsed(words, most))
            n -= len(words)
        if not n:
            return np.concatenate(found)
    raise UnreadableImage(_TRUNCATED)


def _parsed(words: list[bytes], most: int) -> NDArray[Any]:
    text = b" ".join(words)
    if text.translate(None, b"0123456789 -") or b"- " in text or text.endswith(b"-"):
        raise UnreadableImage("damaged: something else than a number among the values")
    try:
        values = np.fromstring(text, np.int64, sep=" ")
    except ValueError as error:
        raise UnreadableImage("damaged: something else than a number among the values") from error
    for value in (int(values.min()), int(values.max())):
        if not 0 <= value <= most:
            raise UnreadableImage(f"damaged: a value of {value}, where the header says 0 to {most}")
    return values.astype(np.uint8 if most < 256 else np.uint16)


def _digits(stream: BinaryIO, n: int) -> NDArray[np.bool_]:
    """``n`` digits 0 or 1, with or without space between them."""
    found: list[NDArray[np.bool_]] = []
    for block in _without_comments(stream):
        digits = np.frombuffer(block.translate(None, _SPACE)[:n], np.uint8) - ord("0")
        if digits.max(initial=0) > 1:
            raise UnreadableImage("damaged: something else than 0 and 1 among the values")
        found.append(digits.astype(bool))
        n -= len(digits)
        if not n:
            return np.concatenate(found)
    raise UnreadableImage(_TRUNCATED)


def _without_comments(stream: BinaryIO) -> Iterator[bytes]:
    """What is left of a file; comments reach from a ``#`` to the end of the line."""
    inside = False
    while block := stream.read(_BLOCK):
        if inside:
            end = _END_OF_LINE.search(block)
            if end is None:
                continue
            block = block[end.start() :]
        inside = block.rfind(b"#") > max(block.rfind(b"\n"), block.rfind(b"\r"))
        yield _COMMENT.sub(b" ", block)
