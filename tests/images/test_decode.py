"""iuscore.images.decode: one file in, pixels or one line out."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from iuscore.errors import UserError
from iuscore.images import UnreadableImage, decode

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
COLOR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
NOT_AN_IMAGE = "not an image: no PNG, JPEG, BMP, TIFF, GIF, WebP, PGM/PPM, JPEG 2000 or DICOM data found"


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png(width: int, height: int, bits: int, color_type: int, rows: bytes) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def reason(data: bytes | Path, **options: int) -> str:
    with pytest.raises(UnreadableImage) as caught:
        decode(data, **options)
    assert isinstance(caught.value, UserError)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM"])
def test_lossless_formats_give_the_pixels_back(kind: str) -> None:
    gray = decode(saved(Image.fromarray(GRAY), kind))
    assert gray.pixels.shape == (5, 7, 1)
    assert (gray.width, gray.height, gray.warnings) == (7, 5, ())
    np.testing.assert_array_equal(gray.pixels[..., 0], GRAY)
    color = decode(saved(Image.fromarray(COLOR), kind))
    assert color.pixels.dtype == np.uint8
    assert color.warnings == ()
    np.testing.assert_array_equal(color.pixels, COLOR)


def test_pixels_are_own_writable_memory() -> None:
    for data in (GRAY, COLOR):
        pixels = decode(saved(Image.fromarray(data), "PNG")).pixels
        assert pixels.flags.writeable
        assert pixels.flags.c_contiguous


def test_one_bit_becomes_gray() -> None:
    decoded = decode(saved(Image.fromarray(GRAY > 127), "PNG"))
    np.testing.assert_array_equal(decoded.pixels[..., 0], np.where(GRAY > 127, 255, 0))
    assert decoded.warnings == ()


def test_palette_becomes_rgb() -> None:
    image = Image.fromarray(COLOR).quantize(8)
    decoded = decode(saved(image, "PNG"))
    np.testing.assert_array_equal(decoded.pixels, np.asarray(image.convert("RGB")))
    assert decoded.warnings == ("converted from palette",)


def test_palette_with_transparency_keeps_the_colors_under_it() -> None:
    image = Image.fromarray(COLOR).quantize(8)
    clear = saved(image, "PNG", transparency=bytes([0, 255, 255, 255, 255, 255, 255, 255]))
    decoded = decode(clear)
    np.testing.assert_array_equal(decoded.pixels, np.asarray(image.convert("RGB")))
    assert decoded.warnings == ("converted from palette", "alpha dropped")
    assert decode(saved(image, "PNG", transparency=b"\xff" * 8)).warnings == ("converted from palette",)


@pytest.mark.parametrize(("alpha", "expected"), [(255, ()), (254, ("alpha dropped",)), (0, ("alpha dropped",))])
def test_alpha_is_dropped_not_blended(alpha: int, expected: tuple[str, ...]) -> None:
    veil = np.full((5, 7, 1), 255, np.uint8)
    veil[2, 3] = alpha
    decoded = decode(saved(Image.fromarray(np.concatenate([COLOR, veil], axis=2)), "PNG"))
    np.testing.assert_array_equal(decoded.pixels, COLOR)
    assert decoded.warnings == expected
    decoded = decode(saved(Image.fromarray(np.concatenate([GRAY[..., None], veil], axis=2)), "PNG"))
    np.testing.assert_array_equal(decoded.pixels, GRAY[..., None])
    assert decoded.warnings == expected


def test_transparent_gray_value() -> None:
    decoded = decode(saved(Image.fromarray(GRAY), "PNG", transparency=int(GRAY[0, 0])))
    np.testing.assert_array_equal(decoded.pixels[..., 0], GRAY)
    assert decoded.warnings == ("alpha dropped",)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind: str) -> None:
    data = saved(Image.fromarray(COLOR).convert("CMYK"), kind)
    decoded = decode(data)
    np.testing.assert_array_equal(decoded.pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert decoded.warnings == ("converted from CMYK",)


def test_lab_and_ycbcr_tiff() -> None:
    lab = Image.merge("LAB", [Image.new("L", (2, 1), 128)] * 3)
    decoded = decode(saved(lab, "TIFF"))
    assert decoded.warnings == ("converted from LAB",)
    assert decoded.pixels.shape == (1, 2, 3)
    assert np.ptp(decoded.pixels.astype(int)) <= 1
    decoded = decode(saved(Image.fromarray(COLOR).convert("YCbCr"), "TIFF"))
    assert decoded.warnings == ("converted from YCbCr",)
    assert np.abs(decoded.pixels.astype(int) - COLOR).max() <= 3


@pytest.mark.parametrize(("mode", "kind"), [("I;16", "PNG"), ("I;16", "TIFF"), ("I;16B", "TIFF"), ("I;16", "PPM")])
def test_16_bit_gray_keeps_its_depth(mode: str, kind: str) -> None:
    ramp = np.linspace(0, 65535, 20).astype(np.uint16).reshape(4, 5)
    stored = ramp.astype(">u2" if mode == "I;16B" else "<u2")
    decoded = decode(saved(Image.frombytes(mode, (5, 4), stored.tobytes()), kind))
    assert decoded.pixels.dtype == np.dtype("=u2")
    np.testing.assert_array_equal(decoded.pixels[..., 0], ramp)
    assert decoded.warnings == ()


def test_16_bit_color_is_read_as_8_bit_and_says_so() -> None:
    samples = np.array([0, 300, 65535], ">u2").tobytes()
    for data in (png(1, 1, 16, 2, b"\0" + samples), b"P6 1 1 65535 " + samples):
        decoded = decode(data)
        np.testing.assert_array_equal(decoded.pixels, [[[0, 1, 255]]])
        assert decoded.warnings == ("16-bit color read as 8-bit",)
    assert decode(b"P6 1 1 100 " + bytes([0, 50, 100])).warnings == ()


@pytest.mark.parametrize("most", [1, 15, 100, 254, 256, 1023, 4095, 65534, 65535])
@pytest.mark.parametrize("channels", [1, 3])
def test_pgm_and_ppm_of_any_largest_value_are_those_of_pillow(most: int, channels: int) -> None:
    values = RNG.integers(0, min(most + 3, 65536), (9, 11, channels)).astype("u1" if most < 256 else ">u2")
    data = b"P%d 11 9 %d\n" % (5 if channels == 1 else 6, most) + values.tobytes()
    expected = np.asarray(Image.open(io.BytesIO(data))).reshape(9, 11, channels)
    decoded = decode(data)
    np.testing.assert_array_equal(decoded.pixels, expected)
    assert decoded.pixels.dtype == (np.uint16 if most > 255 and channels == 1 else np.uint8)
    assert reason(data[:-1]).startswith("truncated: image file is truncated")


def test_16_bit_gray_with_alpha_stays_gray() -> None:
    decoded = decode(png(1, 1, 16, 4, b"\0" + np.array([0x4000, 0x8000], ">u2").tobytes()))
    np.testing.assert_array_equal(decoded.pixels, [[[0x40]]])
    assert decoded.warnings == ("16-bit color read as 8-bit", "alpha dropped")


def test_16_bit_tiff_where_white_is_zero_is_inverted() -> None:
    data = bytearray(saved(Image.frombytes("I;16", (2, 1), np.array([0, 60000], "<u2").tobytes()), "TIFF"))
    entry = data.index(struct.pack("<HHI", 262, 3, 1))
    data[entry + 8] = 0
    decoded = decode(bytes(data))
    np.testing.assert_array_equal(decoded.pixels[..., 0], [[65535, 5535]])
    assert decoded.warnings == ("inverted: white was zero",)


def test_32_bit_integers() -> None:
    fits = np.array([[0, 65535]], np.int32)
    decoded = decode(saved(Image.fromarray(fits), "TIFF"))
    assert decoded.pixels.dtype == np.uint16
    np.testing.assert_array_equal(decoded.pixels[..., 0], fits)
    hounsfield = saved(Image.fromarray(np.array([[-1024, 3071]], np.int32)), "TIFF")
    assert reason(hounsfield) == (
        "32-bit values from -1024 to 3071 lie outside 0..65535: "
        "shift or scale them into 16 bits and save the file again"
    )


def test_floats() -> None:
    values = np.array([[0, 0.25, 1]], np.float32)
    decoded = decode(saved(Image.fromarray(values), "TIFF"))
    assert decoded.pixels.dtype == np.float32
    assert decoded.warnings == ()
    np.testing.assert_array_equal(decoded.pixels[..., 0], values)
    for hole in (np.nan, np.inf):
        values[0, 1] = hole
        decoded = decode(saved(Image.fromarray(values), "TIFF"))
        np.testing.assert_array_equal(decoded.pixels[..., 0], values)
        assert decoded.warnings == ("non-finite values",)
    assert reason(saved(Image.fromarray(values * 255), "TIFF")) == (
        "float values from 0 to 255 lie outside [0, 1]: "
        "divide them by the largest value the scanner can give; save the file again"
    )
    values[0] = -1, 0.25, 1
    assert reason(saved(Image.fromarray(values), "TIFF")) == (
        "float values from -1 to 1 lie outside [0, 1]: "
        "values from -1 to 1 become (x + 1) / 2, those of all images of the set alike; save the file again"
    )


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_many_frames_give_the_first(kind: str) -> None:
    frames = [Image.new("RGB", (4, 3), color) for color in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    options = {"lossless": True} if kind == "WEBP" else {}
    decoded = decode(saved(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    np.testing.assert_array_equal(decoded.pixels, np.full((3, 4, 3), [250, 0, 0]))
    assert decoded.warnings[-1] == "first of 3 frames"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind: str, orientation: int) -> None:
    stored = np.zeros((16, 32), np.uint8)
    stored[:8, :16] = 255
    upright = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}[orientation]
    expected = np.rot90(stored, upright)
    if orientation in (2, 4, 5, 7):
        expected = expected[::-1] if orientation in (5, 7) else expected[:, ::-1]
    exif = Image.Exif()
    exif[274] = orientation
    decoded = decode(saved(Image.fromarray(stored), kind, exif=exif))
    assert decoded.warnings == (() if orientation == 1 else ("EXIF rotation applied",))
    assert (decoded.height, decoded.width) == expected.shape
    assert np.abs(decoded.pixels[..., 0].astype(int) - expected).max() < 64


def test_damaged_exif_does_not_cost_the_image() -> None:
    decoded = decode(saved(Image.fromarray(GRAY), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09\x01"))
    assert (decoded.width, decoded.height, decoded.warnings) == (7, 5, ())


def test_zero_bytes(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    assert reason(tmp_path / "empty.png") == "empty file (0 bytes)"
    assert reason(b"") == "empty file (0 bytes)"


def test_text_named_png(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("these are not the pixels you are looking for")
    assert reason(tmp_path / "notes.png") == NOT_AN_IMAGE


def test_formats_that_start_programs_are_not_tried() -> None:
    assert reason(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n") == NOT_AN_IMAGE


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "PPM"])
def test_truncated(kind: str) -> None:
    noise = Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = saved(noise, kind)
    with pytest.raises(UnreadableImage, match=r"^truncated: image file is truncated") as caught:
        decode(data[: len(data) // 2])
    assert (caught.value.width, caught.value.height) == (64, 64)
    for cut in range(1, min(len(data), 400), 7):
        reason(data[:cut])
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_damaged_second_frame_leaves_the_first() -> None:
    noise = [Image.fromarray(RNG.integers(0, 256, (16, 16), dtype=np.uint8)) for _ in range(2)]
    data = bytearray(saved(noise[0], "TIFF", save_all=True, append_images=noise[1:]))
    second_strip = bytes(np.asarray(noise[1]))
    entry = data.rindex(struct.pack("<HHI", 262, 3, 1), 0, data.index(second_strip))
    data[entry + 8] = 77
    decoded = decode(bytes(data))
    np.testing.assert_array_equal(decoded.pixels[..., 0], np.asarray(noise[0]))
    assert decoded.warnings == ("first of 2 frames",)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM"])
def test_changed_bytes_never_raise_anything_else(kind: str) -> None:
    rng = np.random.default_rng(1)
    original = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
    data = saved(Image.fromarray(original), kind)
    reasons = []
    for attempt in range(150):
        changed = bytearray(data)
        reach = min(len(data), 200) if attempt % 2 else len(data)
        for place in rng.integers(0, reach, 2):
            changed[place] = rng.integers(256)
        try:
            pixels = decode(bytes(changed), max_pixels=10**6).pixels
        except UnreadableImage as error:
            reasons.append(str(error))
        else:
            assert pixels.ndim == 3
            assert pixels.shape[2] in (1, 3)
            # Everything in a PNG has a checksum.
            assert kind != "PNG" or np.array_equal(pixels, original)
    assert 0 < len(reasons) <= 150 - (kind != "PNG")
    assert not any("\n" in text for text in reasons)


def test_damaged_pixels_of_a_png_are_not_passed_on() -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_itxt("XML:com.adobe.xmp", "<x tiff:Orientation='3'/>")
    for options in ({}, {"pnginfo": notes}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}):
        data = bytearray(saved(Image.fromarray(RNG.integers(0, 256, (24, 24), dtype=np.uint8)), "PNG", **options))
        data[data.index(b"IDAT") + 40] ^= 1
        assert reason(bytes(data)).startswith("damaged: ")


def test_missing_and_folder(tmp_path: Path) -> None:
    assert reason(tmp_path / "none.png") == "cannot be opened: No such file or directory"
    assert reason(tmp_path) == "cannot be opened: expected a file, got a folder"


def test_bomb_is_refused_from_its_header() -> None:
    before = Image.MAX_IMAGE_PIXELS
    assert reason(png(100_000, 100_000, 8, 2, b"")) == "too large: 100000 x 100000, more than 178956970 pixels"
    assert before == Image.MAX_IMAGE_PIXELS


def test_own_limit_is_checked_before_decoding() -> None:
    with pytest.raises(UnreadableImage, match=r"^too large: 300 x 200, more than 59999 pixels$") as caught:
        decode(png(300, 200, 8, 0, b"no rows at all"), max_pixels=59_999)
    assert (caught.value.width, caught.value.height) == (300, 200)
    decode(saved(Image.new("L", (300, 200)), "PNG"), max_pixels=60_000)


def test_large_image_below_the_limit_makes_no_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    data = saved(Image.fromarray(GRAY), "PNG")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        assert decode(data).warnings == ()
        assert warnings.filters == before
    assert seen == []


def test_warning_filters_survive_threads_and_nesting() -> None:
    data = saved(Image.fromarray(COLOR), "PNG")
    before = list(warnings.filters)

    def work() -> None:
        for _ in range(50):
            decode(data)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def test_importing_images_does_not_import_pillow_or_sklearn() -> None:
    code = "import sys, iuscore.images; print(sorted({'PIL', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
