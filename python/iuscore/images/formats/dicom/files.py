"""Deflated DICOM files: their content, with a bound."""

from __future__ import annotations

import io
import struct
import zlib
from typing import BinaryIO

from iuscore.images.decoded import UnreadableImage

DEFLATED = b"1.2.840.10008.1.2.1.99"
_EXPLICIT_LITTLE_ENDIAN = b"1.2.840.10008.1.2.1"
MAX_INFLATED = 1 << 28
_PREAMBLE = 132
_MAX_META = 1 << 16
_LONG_VRS = (b"OB", b"OW", b"OF", b"SQ", b"UN", b"UT")
_TRANSFER_SYNTAX = (0x0002, 0x0010)
_BLOCK = 1 << 20


def inflated(stream: BinaryIO) -> BinaryIO:
    """The same file without deflate, or ``stream`` itself where it is not deflated: PS3.5, A.5.

    Raises:
        UnreadableImage: damaged, or of more than ``MAX_INFLATED`` bytes.
    """
    stream.seek(0)
    head = stream.read(_PREAMBLE + _MAX_META)
    place, end = _syntax(head)
    stream.seek(0)
    if place is None or head[place].rstrip(b"\0 ") != DEFLATED:
        return stream
    changed = head[: place.start] + _EXPLICIT_LITTLE_ENDIAN.ljust(place.stop - place.start, b"\0")
    content = bytearray(changed + head[place.stop : end])
    stream.seek(end)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        while not inflater.eof and (block := inflater.unconsumed_tail or stream.read(_BLOCK)):
            content += inflater.decompress(block, _BLOCK)
            if len(content) > end + MAX_INFLATED:
                raise UnreadableImage(
                    f"a deflated DICOM file of more than {MAX_INFLATED >> 20} MiB: save it without deflate"
                )
    except zlib.error as error:
        raise UnreadableImage(f"damaged: {error}") from error
    return io.BytesIO(content)


def _syntax(head: bytes) -> tuple[slice | None, int]:
    """Where the transfer syntax stands, None if nowhere, and where the data set begins."""
    at, place = _PREAMBLE, None
    while len(head) >= at + 12:
        group, element, vr, length = struct.unpack("<HH2sH", head[at : at + 8])
        if group != 2:
            break
        start = at + 8
        if vr in _LONG_VRS:
            length = struct.unpack("<I", head[at + 8 : at + 12])[0]
            start += 4
        if (group, element) == _TRANSFER_SYNTAX:
            place = slice(start, start + length)
        at = start + length
    return place, at
