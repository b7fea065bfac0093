"""DICOM files by pydicom, and gdcm where they are compressed.

A gray image comes as a viewer first shows it: stored values through the modality's slope and intercept or table,
then the first window or table for display, MONOCHROME1 inverted. The full range of that is the full range of uint8,
or of uint16 where more than 8 bits are stored. Without a window it is the range that the stored bits can hold.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from iuscore.images.decoded import (
    CONVERTED,
    FIRST_FRAME,
    INVERTED,
    Decoded,
    UnreadableImage,
    checked_floats,
    checked_size,
    note_small_range,
    one_line_reason,
    too_deep,
)
from iuscore.images.formats import gdcm_process, jpeg
from iuscore.images.formats.dicom.files import inflated
from iuscore.images.formats.dicom.tables import Table, table
from iuscore.images.passing import is_passing

_EXTRA = "pip install -c constraints.txt '.[dicom]'"
# Sequences in which enhanced multi-frame files keep the attributes that other files have at the top level.
_MACROS = {
    "WindowCenter": "FrameVOILUTSequence",
    "WindowWidth": "FrameVOILUTSequence",
    "VOILUTFunction": "FrameVOILUTSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
}
# The attributes that are read, besides the pixels: a file may have very many others, of any length.
_ATTRIBUTES = (
    *_MACROS,
    "SOPClassUID",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "PerFrameFunctionalGroupsSequence",
    "SharedFunctionalGroupsSequence",
    *(f"{color}PaletteColorLookupTable{part}" for color in ("Red", "Green", "Blue") for part in ("Descriptor", "Data")),
    *(f"Segmented{color}PaletteColorLookupTableData" for color in ("Red", "Green", "Blue")),
)
WINDOW_IGNORED = "window of no width ignored"
WINDOW_NOT_FINITE = "window that is not finite ignored"
# Rows are done a few at a time, so that intermediate results do not cost more than the image.
_PIXELS_AT_A_TIME = 1 << 20

_Change = Callable[[NDArray[Any]], NDArray[Any]]


def decode_dicom(stream: BinaryIO, max_pixels: int, bits: int | None = None) -> Decoded:
    """The first frame of a DICOM file; raises UnreadableImage.

    Args:
        stream: of the file.
        max_pixels: larger images are refused.
        bits: depth of the values, where the file says more and has neither window nor table.
    """
    pydicom = _library()
    width = height = 0
    notes: list[str] = []
    try:
        stream = inflated(stream)
        dataset = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(_ATTRIBUTES))
        width, height = int(dataset.get("Columns") or 0), int(dataset.get("Rows") or 0)
        if not width or not height:
            sop_class = getattr(dataset.get("SOPClassUID"), "name", "unknown SOP class")
            raise UnreadableImage(f"a DICOM file without an image ({sop_class})")
        checked_size(width, height, max_pixels)
        frames = int(dataset.get("NumberOfFrames") or 1)
        pixels = _pixels(pydicom, _stored(pydicom, stream, dataset, frames), dataset, notes, bits)
    except UnreadableImage as error:
        raise UnreadableImage(str(error), width, height) from error
    except Exception as error:  # pydicom lets out whatever its parsing raises
        raise UnreadableImage(_reason(error), width, height) from error
    if frames != 1:
        notes.append(FIRST_FRAME.format(frames=frames))
    return Decoded(pixels, pixels.shape[1], pixels.shape[0], tuple(notes))


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "damaged: sequences are nested too deeply"
    # pydicom puts a traceback below its message.
    line = (str(error).splitlines() or [""])[0]
    if "no pixel data to decode" in line:
        return "a DICOM file without pixels"
    return one_line_reason(error if not line or is_passing(error) else ValueError(line))


def _library() -> Any:
    try:
        pydicom = importlib.import_module("pydicom")
        importlib.import_module("pydicom.pixels")
    except ImportError as error:
        raise UnreadableImage(f"DICOM needs the extra: {_EXTRA}") from error
    return pydicom


def _stored(pydicom: Any, stream: BinaryIO, dataset: Any, frames: int) -> NDArray[Any]:
    """[height, width] as stored, or [height, width, 3] as RGB: the first frame."""
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        decoder = pydicom.pixels.get_decoder(syntax)
    except NotImplementedError as error:
        raise UnreadableImage(f"compressed as {syntax.name}, which is not supported") from error
    if not decoder.is_available:
        raise UnreadableImage(
            f"compressed as {syntax.name}: that needs the extra, if it is supported: {_EXTRA}", passing=True
        )
    stream.seek(0)
    if decoder.is_encapsulated:
        content = stream.read()
        if content.count(jpeg.SCAN_MARKER) > jpeg.MAX_SCANS * max(frames, 1):
            raise UnreadableImage(f"a JPEG of more than {jpeg.MAX_SCANS} scans, which would take very long")
        # gdcm wherever it can, so that the pixels do not depend on what else is installed.
        return np.asarray(gdcm_process.first_frame(content, by_gdcm="gdcm" in decoder.available_plugins))
    shift = _unused_low_bits(dataset)
    if not shift:
        return np.asarray(pydicom.pixels.pixel_array(stream, index=0))
    # All bits of the word, so that no bit in use is cut off.
    allocated = int(dataset.BitsAllocated)
    words = pydicom.pixels.pixel_array(stream, index=0, bits_stored=allocated, high_bit=allocated - 1)
    return _used_bits(np.asarray(words), shift, int(dataset.BitsStored))


def _unused_low_bits(dataset: Any) -> int:
    """Bits below the stored ones: none where HighBit is BitsStored - 1, as it is but for old files."""
    stored, highest = dataset.get("BitsStored"), dataset.get("HighBit")
    if stored is None or highest is None:
        return 0
    shift = int(highest) + 1 - int(stored)
    # A highest bit below the stored ones is a mistake that readers pass over.
    return shift if 0 < shift <= int(dataset.BitsAllocated) - int(stored) else 0


def _used_bits(words: NDArray[Any], shift: int, stored: int) -> NDArray[Any]:
    """The ``stored`` bits above the lowest ``shift`` ones, with the sign of ``words``."""
    above = 8 * words.itemsize - shift - stored
    return np.asarray((words << above) >> (above + shift))


class _Values(NamedTuple):
    """How stored gray values become those of the modality, the range these can have, and how finely, in bits.

    ``slope`` and ``intercept`` are those of a change without ``table``.
    """

    change: _Change
    low: float
    high: float
    bits: int
    slope: float = 1.0
    intercept: float = 0.0
    table: Table | None = None


def _pixels(pydicom: Any, stored: NDArray[Any], dataset: Any, notes: list[str], bits: int | None) -> NDArray[Any]:
    """[height, width, C] for what is stored: [height, width] or, already RGB, [height, width, 3]."""
    photometric = str(dataset.PhotometricInterpretation)
    if photometric == "PALETTE COLOR":
        notes.append(CONVERTED.format(mode="palette"))
        return np.ascontiguousarray(pydicom.pixels.apply_color_lut(stored, dataset)[..., :3])
    if stored.ndim == 3:
        depth = int(dataset.BitsStored)
        return _by_rows(stored, lambda part: _to_integers(part / (2**depth - 1), depth))
    is_float = stored.dtype.kind == "f"
    if is_float and _first(dataset, "WindowWidth") is None:
        checked_floats(stored, notes)
        change: _Change = _unchanged
        depth = 32
    else:
        change, depth = _displayed(stored, dataset, notes, bits)
    inverted = photometric == "MONOCHROME1"
    if inverted:
        notes.append(INVERTED)

    def finished(part: NDArray[Any]) -> NDArray[Any]:
        fractions = 1 - change(part) if inverted else change(part)
        return fractions.astype(np.float32) if is_float else _to_integers(fractions, depth)

    return _by_rows(stored, finished)[..., None]


def _unchanged(values: NDArray[Any]) -> NDArray[Any]:
    return values


def _by_rows(values: NDArray[Any], change: _Change) -> NDArray[Any]:
    """``change`` of all values, which keeps their shape, a few rows at a time."""
    rows = max(1, _PIXELS_AT_A_TIME // values.shape[1])
    top = change(values[:rows])
    result = np.empty(values.shape, top.dtype)
    result[:rows] = top
    for start in range(rows, len(values), rows):
        result[start : start + rows] = change(values[start : start + rows])
    return result


def _displayed(stored: NDArray[Any], dataset: Any, notes: list[str], bits: int | None) -> tuple[_Change, int]:
    """What turns stored values into fractions of full brightness, and the bits that stand for them."""
    little_endian = bool(dataset.file_meta.TransferSyntaxUID.is_little_endian)
    modality = _modality(dataset, little_endian, notes)
    before = modality.change
    shown = table(dataset.get("VOILUTSequence"), modality.low, modality.high, little_endian, notes)
    if shown is not None:
        return lambda part: shown.apply(before(part)) / (2**shown.depth - 1), shown.depth
    window = _window(dataset, notes)
    if window is not None:
        center, width, function = window
        return lambda part: windowed(before(part), center, width, function), modality.bits
    if stored.dtype.kind in "iu":
        modality = _of_used_bits(stored, modality, dataset, notes, bits)
    low, high = modality.low, modality.high
    return lambda part: (before(part) - low) / (high - low), modality.bits


def _window(dataset: Any, notes: list[str]) -> tuple[float, float, str] | None:
    """Center, width and function of the first window that the file has; None without a usable one."""
    center, width = _number(dataset, "WindowCenter"), _number(dataset, "WindowWidth")
    if center is None or width is None:
        return None
    function = str(_first(dataset, "VOILUTFunction") or "LINEAR")
    if not np.isfinite([center, width]).all():
        notes.append(WINDOW_NOT_FINITE)
        return None
    if width >= 1 or (width > 0 and function != "LINEAR"):
        return center, width, function
    notes.append(WINDOW_IGNORED)
    return None


def _number(dataset: Any, keyword: str) -> float | None:
    try:
        value = _first(dataset, keyword)
        return None if value is None else float(value)
    except (TypeError, ValueError) as error:
        said = str(error).partition(": ")[2] or "unreadable"
        raise UnreadableImage(f"damaged: {keyword} is no number: {said}") from error


def _modality(dataset: Any, little_endian: bool, notes: list[str]) -> _Values:
    depth = int(dataset.get("BitsStored") or 32)
    lowest, highest = _ends(depth, dataset)
    found = table(dataset.get("ModalityLUTSequence"), lowest, highest, little_endian, notes, shows=False)
    if found is not None:
        return _Values(found.apply, 0, 2**found.depth - 1, found.depth, table=found)
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    slope = 1.0 if slope is None else slope
    intercept = 0.0 if intercept is None else intercept
    if not slope or not np.isfinite([slope, intercept]).all():
        raise UnreadableImage(f"damaged: rescale slope {slope:g}, intercept {intercept:g}")
    return _rescaled(slope, intercept, lowest, highest, depth)


def _rescaled(slope: float, intercept: float, lowest: int, highest: int, depth: int) -> _Values:
    ends = sorted((slope * lowest + intercept, slope * highest + intercept))
    return _Values(lambda stored: stored * slope + intercept, ends[0], ends[1], depth, slope, intercept)


def _ends(depth: int, dataset: Any) -> tuple[int, int]:
    """Least and largest integer of ``depth`` bits."""
    lowest = -(2 ** (depth - 1)) if dataset.get("PixelRepresentation") else 0
    return lowest, lowest + 2**depth - 1


def _of_used_bits(stored: NDArray[Any], modality: _Values, dataset: Any, notes: list[str], bits: int | None) -> _Values:
    """``modality`` with the range of ``bits`` in the place of that of all stored bits; a note where none is given."""
    if modality.table is None:
        least, most = int(stored.min()), int(stored.max())
        lowest, highest = _ends(bits or modality.bits, dataset)
    else:
        least, most = 0, int(modality.table.entries.max())
        lowest, highest = 0, 2 ** (bits or modality.bits) - 1
    if bits is None and least != most:
        used = max(most.bit_length(), (~least).bit_length() if least < 0 else 0) + (lowest < 0)
        note_small_range(used, modality.bits, notes)
    if bits is None or bits >= modality.bits:
        return modality
    if least < lowest or most > highest:
        raise UnreadableImage(too_deep(most if most > highest else least, bits))
    if modality.table is not None:
        return modality._replace(high=highest, bits=bits)
    return _rescaled(modality.slope, modality.intercept, lowest, highest, bits)


def windowed(values: NDArray[Any], center: float, width: float, function: str) -> NDArray[np.float64]:
    """Values of a window as fractions of full brightness: DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3.

    Args:
        values: any shape, after rescaling.
        center: of the window.
        width: of the window; at least 1 for ``LINEAR``, above 0 for the others.
        function: ``LINEAR``, ``LINEAR_EXACT`` or ``SIGMOID``.

    Raises:
        UnreadableImage: another function.

    Example:
        >>> windowed(np.array([0, 128, 255]), 128, 256, "LINEAR").round(3).tolist()
        [0.0, 0.502, 1.0]
    """
    values = values.astype(np.float64)
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-4 * (values - center) / width)))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    elif function != "LINEAR_EXACT":
        raise UnreadableImage(f"window of the unknown function {function}")
    if width == 0:
        return np.where(values > center, 1.0, 0.0)
    return np.clip((values - center) / width + 0.5, 0, 1)


def _to_integers(fractions: NDArray[Any], bits: int) -> NDArray[Any]:
    dtype = np.uint8 if bits <= 8 else np.uint16
    return np.asarray(np.rint(np.clip(fractions, 0, 1) * np.iinfo(dtype).max), dtype)


def _first(dataset: Any, keyword: str) -> Any:
    """Value of an attribute, the first of several; of an enhanced file that of the first frame. None without."""
    value = dataset.get(keyword)
    if value is None and keyword in _MACROS:
        for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
            for group in (dataset.get(groups) or ())[:1]:
                for macro in (group.get(_MACROS[keyword]) or ())[:1]:
                    value = macro.get(keyword) if value is None else value
    if isinstance(value, (str, bytes)) or not hasattr(value, "__getitem__"):
        return None if value == "" else value
    return value[0] if len(value) else None
