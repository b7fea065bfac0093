"""JPEG 2000 files: decoded in a process of its own, because a small file can take memory and time without end."""

from __future__ import annotations

from typing import Any

from iuscore.images.formats.gdcm_process import jpeg_2000
from iuscore.images.formats.own_pillow import image_module

_CODESTREAM = b"\xff\x4f\xff\x51"
_DEPTH = 42


def shifted_depth(head: bytes) -> int | None:
    """Bits of the first component where Pillow shifts its values up to 16 bits, that is 9 to 16; None else.

    Example:
        >>> shifted_depth(_CODESTREAM + bytes(38) + bytes([11]))
        12
    """
    at = head.find(_CODESTREAM)
    depth = head[at + _DEPTH : at + _DEPTH + 1]
    if at < 0 or not depth:
        return None
    bits = (depth[0] & 0x7F) + 1
    return bits if 8 < bits <= 16 else None


def loaded(opened: Any, content: bytes) -> Any:
    """The image that Pillow ``opened`` from ``content``, with its pixels."""
    values = jpeg_2000(content)
    if (values.shape[1], values.shape[0]) != opened.size:
        raise ValueError(f"{values.shape[1]} x {values.shape[0]} pixels where the header says {opened.size}")
    return image_module().frombytes(opened.mode, opened.size, values.tobytes())
