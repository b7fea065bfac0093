"""Small pictures for a page: bounded in pixels and bytes, without the metadata of their files."""

from __future__ import annotations

import base64
import io
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from iuscore.errors import bounded

if TYPE_CHECKING:
    from PIL.Image import Image

Key = TypeVar("Key", bound=Hashable)

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_SIDE = 8192
"""Pixels of a given picture on its longer side: more than any thumbnail has, and memory stays bounded."""

_QUALITY = 85


@dataclass(frozen=True)
class Picture:
    """A picture as an address that needs no network; width and height in pixels."""

    address: str
    width: int
    height: int


def prepare(
    given: Mapping[Key, bytes], order: Sequence[Key], *, side: int, most_bytes: int, name: str
) -> dict[Key, Picture]:
    """Pictures of at most ``side`` pixels, ``most_bytes`` together.

    Pictures are written again, as PNG without loss if all of them fit, else as JPEG; so no metadata of a file, such as
    the name of a patient, gets into the page. If JPEG does not fit either, the last ones in ``order`` are left out.

    Args:
        given: key -> PNG, JPEG or WebP.
        order: keys, the most important first; those without a picture are passed over.
        side: largest width and height.
        most_bytes: of all addresses together.
        name: of the argument, for errors.

    Raises:
        ValueError: a picture that cannot be read, or with more than `MAX_SIDE` pixels on a side.
    """
    keys = [key for key in dict.fromkeys(order) if key in given] if side > 0 else []
    small = {key: _small(given[key], side, f"{name}[{bounded(key)}]") for key in keys}
    for kind in ("PNG", "JPEG"):
        found = {key: _encoded(image, kind) for key, image in small.items()}
        if sum(len(each.address) for each in found.values()) <= most_bytes:
            return found
    kept: dict[Key, Picture] = {}
    room = most_bytes
    for key, picture in found.items():
        room -= len(picture.address)
        if room < 0:
            break
        kept[key] = picture
    return kept


def _small(content: bytes, side: int, where: str) -> Image:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if max(image.size) > MAX_SIDE:
                raise ValueError(f"{where}: expected at most {MAX_SIDE} pixels on a side, got {max(image.size)}")
            image.load()
            plain = _eight_bits(image)
    except (UnidentifiedImageError, OSError, SyntaxError, EOFError) as error:
        kinds = "PNG, JPEG or WebP"
        raise ValueError(
            f"{where}: expected a picture as {kinds}, got {bounded(bytes(content[:8]))} ({error})"
        ) from None
    if max(plain.size) > side:
        plain.thumbnail((side, side), Image.Resampling.LANCZOS)
    return plain


def _eight_bits(image: Image) -> Image:
    """Gray or red, green, blue with 8 bits; what is transparent becomes black."""
    if image.mode.startswith("I;16") or image.mode == "I":
        return image.convert("I").point(lambda value: value / 257).convert("L")
    if image.mode in ("1", "L"):
        return image.convert("L")
    if "A" in image.mode or "transparency" in image.info:
        from PIL import Image as module

        solid = image.convert("RGBA")
        return module.alpha_composite(module.new("RGBA", solid.size, (0, 0, 0, 255)), solid).convert("RGB")
    return image.convert("RGB")


def _encoded(image: Image, kind: str) -> Picture:
    from PIL import Image as module

    # A new image: none of what the file said about itself comes along.
    bare = module.frombytes(image.mode, image.size, image.tobytes())
    written = io.BytesIO()
    bare.save(written, kind, **({"optimize": True} if kind == "PNG" else {"quality": _QUALITY}))
    text = base64.b64encode(written.getvalue()).decode("ascii")
    return Picture(f"data:image/{kind.lower()};base64,{text}", *image.size)
