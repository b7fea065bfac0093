"""PNG files without their texts and color profiles, which may be of any size, whole or damaged."""

from __future__ import annotations

import io
import os
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

START = b"\x89PNG\r\n\x1a\n"

# Of the chunks that a reader may skip (in small letters), those that decide about pixels and frames.
_KEPT = {b"tRNS", b"acTL", b"fcTL", b"fdAT"}
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}
_MAX_CHUNKS = 1 << 20
_MAX_METADATA = 1 << 20
_KEYWORD = 80
# Texts that say how the image is turned; a file has one.
_MAX_TEXTS = 4


def without_metadata(stream: BinaryIO) -> BinaryIO:
    """A PNG file as a stream with those chunks only that decide about pixels, turning and frames.

    Pillow inflates every text and profile, and refuses the file where one is larger than 1 MiB or damaged.

    Raises:
        ValueError: more than 1,048,576 chunks.

    Example:
        >>> chunk = b"\\0\\0\\0\\1tEXt" + b"x" + b"\\0\\0\\0\\0"
        >>> without_metadata(io.BytesIO(START + chunk + b"\\0\\0\\0\\0IEND\\xaeB`\\x82")).read()[8:]
        b'\\x00\\x00\\x00\\x00IEND\\xaeB`\\x82'
    """
    end = stream.seek(0, os.SEEK_END)
    kept = [(0, len(START))]
    texts = 0
    for at, length, name in _chunks(stream, end):
        keep = name in _KEPT or not name[:1].islower()
        if name in _TEXTS and texts < _MAX_TEXTS:
            keep = _says_orientation(stream, at + 8, length, name)
            texts += keep
        elif name == b"eXIf":
            keep = length <= _MAX_METADATA
        if keep:
            start, stop = kept[-1]
            following = min(at + 12 + length, end)
            if stop == at:
                kept[-1] = (start, following)
            else:
                kept.append((at, following))
    stream.seek(0)
    if kept == [(0, end)]:
        return stream
    return io.BufferedReader(_Ranges(stream, kept))


def _chunks(stream: BinaryIO, end: int) -> Iterator[tuple[int, int, bytes]]:
    """Place, length of the content and name of each chunk."""
    at = len(START)
    for _ in range(_MAX_CHUNKS):
        stream.seek(at)
        head = stream.read(8)
        if not head:
            return
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        yield at, length, name
        at += 12 + length
        if name == b"IEND" or at >= end:
            return
    raise ValueError(f"more than {_MAX_CHUNKS} chunks in a PNG file")


def _says_orientation(stream: BinaryIO, at: int, length: int, name: bytes) -> bool:
    """Whether Pillow would find an orientation there, in a text that it would take."""
    stream.seek(at)
    keyword, nothing, _ = stream.read(min(length, _KEYWORD)).partition(b"\0")
    if not nothing or (b"exif" not in keyword and b"xmp" not in keyword) or length > _MAX_METADATA:
        return False
    if name == b"tEXt":
        return True
    stream.seek(at)
    content = stream.read(length)[len(keyword) + 1 :]
    if name == b"iTXt":
        if content[:1] == b"\0":
            return True
        content = content[2:].partition(b"\0")[2].partition(b"\0")[2]
    else:
        content = content[1:]
    return _inflates(content)


def _inflates(content: bytes) -> bool:
    inflater = zlib.decompressobj()
    try:
        inflater.decompress(content, _MAX_METADATA)
    except zlib.error:
        return False
    return not inflater.unconsumed_tail


class _Ranges(io.RawIOBase):
    """Parts of a stream, one after the other."""

    def __init__(self, stream: BinaryIO, ranges: list[tuple[int, int]]) -> None:
        self._stream = stream
        self._ranges = ranges
        self._starts = [0]
        for start, stop in ranges:
            self._starts.append(self._starts[-1] + stop - start)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        before = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._starts[-1]}[whence]
        self._at = max(0, before + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        part = bisect_right(self._starts, self._at) - 1
        if part >= len(self._ranges):
            return 0
        start, stop = self._ranges[part]
        place = start + self._at - self._starts[part]
        self._stream.seek(place)
        content = self._stream.read(min(len(buffer), stop - place))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


def deep_samples(factory: Any, stream: BinaryIO) -> NDArray[np.uint16]:
    """[height, width, C] of a PNG of 16-bit color or of gray with alpha, all bits of all samples; C = 1 to 4.

    Pillow keeps the high bytes. Told that the file is in the other order of bytes, it keeps the low ones.
    """
    low = np.array(_reopened(factory, stream, {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L", "LA;16B": "RGBA"}))
    if low.shape[2:] == (4,) and _raw_mode(factory, stream) == "LA;16B":
        high_gray, low_gray, high_alpha, low_alpha = np.moveaxis(low.astype(np.uint16), 2, 0)
        return np.stack([high_gray << 8 | low_gray, high_alpha << 8 | low_alpha], axis=2)
    high = np.array(_reopened(factory, stream, {}))
    return np.asarray(high.astype(np.uint16) << 8 | low)


def is_deep_color(image: Any) -> bool:
    """Whether an opened PNG has 16 bits, and more samples a pixel than one."""
    return bool(image.tile) and image.tile[0].args in ("RGB;16B", "RGBA;16B", "LA;16B")


def _raw_mode(factory: Any, stream: BinaryIO) -> str:
    stream.seek(0)
    return str(factory(stream, "").tile[0].args)


def _reopened(factory: Any, stream: BinaryIO, names: dict[str, str]) -> Any:
    stream.seek(0)
    image = factory(stream, "")
    tile = image.tile[0]
    image.tile = [tile._replace(args=names.get(tile.args, tile.args))]
    if tile.args == "LA;16B":
        image._mode = "RGBA"
    image.load()
    return image
