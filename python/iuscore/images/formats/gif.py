"""How many frames a GIF file has, without decoding them."""

from __future__ import annotations

from typing import BinaryIO

_MAX_BLOCKS = 1 << 20
_IMAGE, _EXTENSION, _END = b",", b"!", b";"


def n_gif_frames(stream: BinaryIO) -> int:
    """Frames of a GIF file; 0 where that would take too long to count.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> frames, stream = [Image.new("L", (2, 2), value) for value in (0, 9)], io.BytesIO()
        >>> frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
        >>> n_gif_frames(stream)
        2
    """
    stream.seek(10)
    flags = stream.read(1)
    stream.seek(13 + _palette(flags))
    found = 0
    left = _MAX_BLOCKS
    while left > 0:
        left -= 1
        start = stream.read(1)
        if start in (b"", _END):
            return found
        if start == _IMAGE:
            place = stream.read(9)
            if len(place) < 9:
                return found
            found += 1
            stream.seek(_palette(place[8:]) + 1, 1)
        elif start == _EXTENSION:
            stream.read(1)
        else:  # padding, as Pillow takes it
            continue
        while left > 0 and (length := stream.read(1)) not in (b"", b"\0"):
            left -= 1
            stream.seek(length[0], 1)
    return 0


def _palette(flags: bytes) -> int:
    """Bytes of the palette that ``flags`` announces."""
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0
