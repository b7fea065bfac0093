"""What decoding gives: pixels with short notes, or one line that says why not; and the range that integers fill."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from iuscore.errors import UserError
from iuscore.images.passing import is_passing
from iuscore.images.reasons import message_of, one_line

MAX_PIXELS = 178_956_970

ALPHA_DROPPED = "alpha dropped"
CONVERTED = "converted from {mode}"
DEPTH_REDUCED = "16-bit color read as 8-bit"
FIRST_FRAME = "first of {frames} frames"
INVERTED = "inverted: white was zero"
NON_FINITE = "non-finite values"
NO_MEMORY = "not enough memory to decode it"
ROTATED = "EXIF rotation applied"
SMALL_RANGE = "values use 1/{part} of {nominal} bits (--bits {used}?)"

_USUAL_DEPTHS = (8, 10, 12, 14)
MIN_BITS, MAX_BITS = 8, 16


class UnreadableImage(UserError):
    """An image file that cannot be used; the message is one line without the file's name.

    Attributes:
        width: columns the header claims, 0 if unknown.
        height: rows the header claims, 0 if unknown.
        passing: whether the reason lies in the machine (rights, disk, network, memory, a missing extra), so that the
            same file may be readable later.

    Example:
        >>> from iuscore.images import decode
        >>> try:
        ...     decode(b"hello")
        ... except UnreadableImage as error:
        ...     print(error)
        not an image: no PNG, JPEG, BMP, TIFF, GIF, WebP, PGM/PPM, JPEG 2000 or DICOM data found
    """

    def __init__(self, reason: str, width: int = 0, height: int = 0, *, passing: bool = False) -> None:
        super().__init__(one_line(reason))
        self.width = width
        self.height = height
        self._passing = passing

    @property
    def passing(self) -> bool:
        return self._passing or is_passing(self.__cause__)


class Decoded(NamedTuple):
    """Pixels of one image and what was done to them.

    Attributes:
        pixels: [height, width, C], C = 1 or 3; uint8, uint16 or float32 (in [0, 1]); own memory, writable.
        width: columns of ``pixels``.
        height: rows of ``pixels``.
        warnings: short fixed texts such as ``alpha dropped``, in the order in which things were done.
    """

    pixels: NDArray[Any]
    width: int
    height: int
    warnings: tuple[str, ...]


def one_line_reason(error: Exception) -> str:
    """What a decoder's own error says, as the reason of an unreadable image."""
    if isinstance(error, MemoryError):
        return NO_MEMORY
    if isinstance(error, OSError) and error.strerror and is_passing(error):
        return f"cannot be read: {error.strerror}"
    text = message_of(error)
    if text.startswith("truncated: "):
        return text
    cut_off = isinstance(error, EOFError) or "truncated" in text.lower() or "EOF" in text
    return f"truncated: {text}" if cut_off else f"damaged: {text}"


def checked_size(width: int, height: int, max_pixels: int) -> None:
    """Raises UnreadableImage where the header claims more than ``max_pixels``, or nothing."""
    if width * height > max_pixels:
        raise UnreadableImage(f"too large: {width} x {height}, more than {max_pixels} pixels", width, height)
    if width < 1 or height < 1:
        raise UnreadableImage(f"damaged: the header says {width} x {height} pixels", width, height)


def checked_bits(bits: int | None) -> None:
    """Raises UserError unless ``bits`` is None or 8 to 16."""
    if bits is None:
        return
    if isinstance(bits, bool) or not isinstance(bits, int) or not MIN_BITS <= bits <= MAX_BITS:
        raise UserError(
            f"bits: expected the depth of the values in 16-bit files, {MIN_BITS} to {MAX_BITS}, got {bits!r}"
        )


def checked_floats(pixels: NDArray[np.float32], notes: list[str]) -> NDArray[np.float32]:
    """``pixels`` as they are if the finite ones lie in [0, 1]; appends ``non-finite values`` to ``notes``.

    Raises:
        UnreadableImage: a finite value lies outside [0, 1].

    Example:
        >>> notes = []
        >>> checked_floats(np.array([0.5, np.nan], dtype=np.float32), notes), notes
        (array([0.5, nan], dtype=float32), ['non-finite values'])
    """
    finite = np.isfinite(pixels)
    if not finite.all():
        notes.append(NON_FINITE)
    low = pixels.min(initial=1, where=finite)
    high = pixels.max(initial=0, where=finite)
    if low < 0 or high > 1:
        mend = "divide them by the largest value the scanner can give"
        if low < 0 and high <= 1:
            mend = "values from -1 to 1 become (x + 1) / 2, those of all images of the set alike"
        raise UnreadableImage(f"float values from {low:g} to {high:g} lie outside [0, 1]: {mend}; save the file again")
    return pixels


def full_range(
    values: NDArray[Any], notes: list[str], *, bits: int | None = None, nominal: int = 16
) -> NDArray[np.uint16]:
    """Integers of ``nominal`` bits, or of ``bits`` where that is less, stretched over 0..65535.

    Where nothing says that fewer bits are in use but the largest value does, that is a note.

    Args:
        values: integers in 0..65535, any shape.
        notes: gets the note.
        bits: depth of the values, as the user says; None: what the file says.
        nominal: depth of the values, as the file says.

    Raises:
        UnreadableImage: a value has more than ``bits`` bits.

    Example:
        >>> notes = []
        >>> full_range(np.array([0, 4095]), notes).tolist(), notes
        ([0, 4095], ['values use 1/16 of 16 bits (--bits 12?)'])
        >>> full_range(np.array([0, 4095]), [], bits=12).tolist()
        [0, 65535]
    """
    most = int(values.max(initial=0))
    if bits is not None and bits < nominal:
        if most >= 1 << bits:
            raise UnreadableImage(too_deep(most, bits))
        nominal = bits
    elif bits is None:
        note_small_range(most.bit_length(), nominal, notes)
    if nominal == 16:
        return values.astype(np.uint16)
    top = (1 << nominal) - 1
    table = (np.arange(top + 1, dtype=np.uint32) * np.uint32(65535) + np.uint32(top // 2)) // np.uint32(top)
    stretched: NDArray[np.uint16] = table.astype(np.uint16)[np.minimum(values, top)]
    return stretched


def too_deep(value: int, bits: int) -> str:
    return f"a value of {value} in an image that --bits {bits} says has at most {(1 << bits) - 1}: give more bits"


def note_small_range(used: int, nominal: int, notes: list[str]) -> None:
    """Append `SMALL_RANGE` where a usual depth below ``nominal`` bits holds values of ``used`` bits."""
    if not used:
        return
    for usual in _USUAL_DEPTHS:
        if used <= usual < nominal:
            notes.append(SMALL_RANGE.format(part=1 << (nominal - usual), nominal=nominal, used=usual))
            return


def decoded_array(image: NDArray[Any], max_pixels: int, bits: int | None) -> Decoded:
    """An image [H, W] or [H, W, C] of uint8, uint16 or float32 by the rules of files of that type.

    Raises:
        UnreadableImage: too large, floats outside [0, 1], or more bits than ``bits``.

    Example:
        >>> decoded_array(np.array([[7, 9]], np.uint8), MAX_PIXELS, None).pixels.tolist()
        [[[7], [9]]]
    """
    height, width = image.shape[:2]
    checked_size(width, height, max_pixels)
    pixels = np.array(image).reshape(height, width, -1)
    notes: list[str] = []
    try:
        if pixels.dtype == np.uint16:
            pixels = full_range(pixels, notes, bits=bits)
        elif pixels.dtype == np.float32:
            checked_floats(pixels, notes)
    except UnreadableImage as error:
        raise UnreadableImage(str(error), width, height) from error
    return Decoded(pixels, width, height, tuple(notes))
