"""DICOM files by pydicom, and gdcm where they are compressed.

A gray image comes as a viewer first shows it: stored values through the modality's slope and intercept or table,
then the first window or table for display, MONOCHROME1 inverted. The full range of that is the full range of uint8,
or of uint16 where more than 8 bits are stored. Without a window it is the range that the stored bits can hold.
"""

from __future__ import annotations

import importlib
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from iuscore.images import gdcm_process
from iuscore.images.decode import (
    CONVERTED,
    FIRST_FRAME,
    INVERTED,
    Decoded,
    UnreadableImage,
    checked_floats,
    one_line_reason,
)

_EXTRA = "pip install -c constraints.txt '.[dicom]'"
# Where enhanced multi-frame files keep what others have at their top.
_MACROS = {
    "WindowCenter": "FrameVOILUTSequence",
    "WindowWidth": "FrameVOILUTSequence",
    "VOILUTFunction": "FrameVOILUTSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
}
WINDOW_IGNORED = "window of no width ignored"


def decode_dicom(stream: BinaryIO, max_pixels: int) -> Decoded:
    """The first frame of a DICOM file; raises UnreadableImage."""
    pydicom = _library()
    width = height = 0
    notes: list[str] = []
    try:
        dataset = pydicom.dcmread(stream, stop_before_pixels=True)
        width, height = int(dataset.get("Columns") or 0), int(dataset.get("Rows") or 0)
        if width * height > max_pixels:
            raise UnreadableImage(f"too large: {width} x {height}, more than {max_pixels} pixels")
        if not width or not height:
            kind = getattr(dataset.get("SOPClassUID"), "name", "unknown kind")
            raise UnreadableImage(f"a DICOM file without an image ({kind})")
        stream.seek(0)
        if _is_for_gdcm(pydicom, dataset.file_meta.TransferSyntaxUID):
            stored = gdcm_process.first_frame(stream.read())
        else:
            stored = pydicom.pixels.pixel_array(stream, index=0)
        pixels = _pixels(pydicom, np.asarray(stored), dataset, notes)
        frames = int(dataset.get("NumberOfFrames") or 1)
    except UnreadableImage as error:
        raise UnreadableImage(str(error), width, height) from error
    except Exception as error:  # pydicom lets out whatever its parsing raises
        raise UnreadableImage(_reason(error), width, height) from error
    if frames != 1:
        notes.append(FIRST_FRAME.format(frames=frames))
    return Decoded(pixels, pixels.shape[1], pixels.shape[0], tuple(notes))


def _reason(error: Exception) -> str:
    # pydicom puts a traceback below its own words.
    first = (str(error).splitlines() or [""])[0]
    return one_line_reason(error if not first or isinstance(error, MemoryError) else ValueError(first))


def _library() -> Any:
    try:
        pydicom = importlib.import_module("pydicom")
        importlib.import_module("pydicom.pixels")
    except ImportError as error:
        raise UnreadableImage(f"DICOM needs the extra: {_EXTRA}") from error
    return pydicom


def _is_for_gdcm(pydicom: Any, syntax: Any) -> bool:
    """Whether gdcm decodes it: wherever it can, so that the pixels do not depend on what else is installed."""
    try:
        decoder = pydicom.pixels.get_decoder(syntax)
    except NotImplementedError as error:
        raise UnreadableImage(f"compressed as {syntax.name}, which is not supported") from error
    if not decoder.is_available:
        raise UnreadableImage(f"compressed as {syntax.name}: that needs the extra, if it is supported: {_EXTRA}")
    return "gdcm" in decoder.available_plugins


class _Values(NamedTuple):
    """Gray values and the range they can have; ``bits`` says how finely."""

    values: NDArray[Any]
    low: float
    high: float
    bits: int


def _pixels(pydicom: Any, stored: NDArray[Any], dataset: Any, notes: list[str]) -> NDArray[Any]:
    """[height, width, C] for what is stored: [height, width] or, already RGB, [height, width, 3]."""
    kind = str(dataset.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        notes.append(CONVERTED.format(mode="palette"))
        return np.ascontiguousarray(pydicom.pixels.apply_color_lut(stored, dataset)[..., :3])
    if stored.ndim == 3:
        bits = int(dataset.BitsStored)
        return _to_integers(stored / (2**bits - 1), bits)
    is_float = stored.dtype.kind == "f"
    if is_float and _first(dataset, "WindowWidth") is None:
        fractions, bits = checked_floats(stored.astype(np.float32), notes), 32
    else:
        fractions, bits = _displayed(pydicom, stored, dataset, notes)
    if kind == "MONOCHROME1":
        notes.append(INVERTED)
        fractions = 1 - fractions
    pixels = fractions.astype(np.float32) if is_float else _to_integers(fractions, bits)
    return pixels[..., None]


def _displayed(pydicom: Any, stored: NDArray[Any], dataset: Any, notes: list[str]) -> tuple[NDArray[Any], int]:
    """Fractions of full brightness, and the bits that stand for them."""
    values, low, high, bits = _modality(pydicom, stored, dataset)
    if dataset.get("VOILUTSequence"):
        table = dataset.VOILUTSequence[0]
        depth = int(table.LUTDescriptor[2])
        shown = pydicom.pixels.apply_voi(np.rint(values).astype(np.int64), dataset)
        return shown / (2**depth - 1), depth
    center, width = _first(dataset, "WindowCenter"), _first(dataset, "WindowWidth")
    if center is not None and width is not None:
        function = str(_first(dataset, "VOILUTFunction") or "LINEAR")
        if width >= 1 or (width > 0 and function != "LINEAR"):
            return windowed(values, float(center), float(width), function), bits
        notes.append(WINDOW_IGNORED)
    return (values - low) / (high - low), bits


def _modality(pydicom: Any, stored: NDArray[Any], dataset: Any) -> _Values:
    if dataset.get("ModalityLUTSequence"):
        bits = int(dataset.ModalityLUTSequence[0].LUTDescriptor[2])
        return _Values(pydicom.pixels.apply_modality_lut(stored, dataset), 0, 2**bits - 1, bits)
    slope, intercept = _first(dataset, "RescaleSlope"), _first(dataset, "RescaleIntercept")
    slope = 1.0 if slope is None else float(slope)
    intercept = 0.0 if intercept is None else float(intercept)
    if not slope or not np.isfinite([slope, intercept]).all():
        raise UnreadableImage(f"damaged: rescale slope {slope:g}, intercept {intercept:g}")
    bits = int(dataset.get("BitsStored") or 32)
    lowest = -(2 ** (bits - 1)) if dataset.get("PixelRepresentation") else 0
    ends = sorted((slope * lowest + intercept, slope * (lowest + 2**bits - 1) + intercept))
    return _Values(stored * slope + intercept, ends[0], ends[1], bits)


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
    kind = np.uint8 if bits <= 8 else np.uint16
    return np.asarray(np.rint(np.clip(fractions, 0, 1) * np.iinfo(kind).max), kind)


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
