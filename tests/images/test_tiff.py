"""TIFF files of every kind of samples: the values of tifffile, or a reason that is true."""

from __future__ import annotations

import io
import itertools
import struct
from contextlib import nullcontext

import numpy as np
import pytest
from PIL import Image

from iuscore.images import UnreadableImage, decode, from_pil
from iuscore.images.formats.tiff import pages, samples
from tests.images.image_files import tiff_of
from tests.project.tree import require_module

RNG = np.random.default_rng(0)
FLOATS = RNG.random((5, 7))
INTEGERS = np.array([[0, 1, 255], [256, 40_000, 65_535]])


def reason(data: bytes) -> str:
    with pytest.raises(UnreadableImage) as caught:
        decode(data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
def test_floats(order: str, kind: str) -> None:
    values = FLOATS.astype(kind)
    decoded = decode(tiff_of(values, order))
    assert decoded.pixels.dtype == np.float32
    np.testing.assert_array_equal(decoded.pixels[..., 0], values.astype(np.float32))
    assert decoded.warnings == ()
    white = decode(tiff_of(values, order, photometric=0))
    np.testing.assert_array_equal(white.pixels[..., 0], np.float32(1) - values.astype(np.float32))
    assert white.warnings == ("inverted: white was zero",)
    color = np.stack([values, values[::-1], values[:, ::-1]], axis=2)
    np.testing.assert_array_equal(decode(tiff_of(color, order)).pixels, color.astype(np.float32))
    values[0, 0] = np.nan
    assert decode(tiff_of(values, order)).warnings == ("non-finite values",)
    assert reason(tiff_of(values * 255, order)).startswith("float values from ")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["u2", "u4", "i4", "u8", "i8"])
def test_integers_within_16_bits(order: str, kind: str) -> None:
    values = INTEGERS.astype(kind)
    decoded = decode(tiff_of(values, order))
    assert decoded.pixels.dtype == np.uint16
    np.testing.assert_array_equal(decoded.pixels[..., 0], INTEGERS)
    assert decoded.warnings == ()
    white = decode(tiff_of(values, order, photometric=0))
    np.testing.assert_array_equal(white.pixels[..., 0], 65535 - INTEGERS)
    assert white.warnings == ("inverted: white was zero",)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        ("i2", -32768, 32767),
        ("i4", -1024, 3071),
        ("u4", 0, 2**32 - 1),
        ("i8", -(2**63), 2**63 - 1),
        ("u8", 7, 2**64 - 1),
    ],
)
def test_integers_beyond_16_bits_say_their_own_values(order: str, kind: str, low: int, high: int) -> None:
    text = f"{8 * int(kind[1])}-bit values from {low} to {high} lie outside 0..65535: "
    for photometric in (0, 1):
        data = tiff_of(np.array([[low, high]], kind), order, photometric=photometric)
        assert reason(data) == text + "shift or scale them into 16 bits and save the file again"


@pytest.mark.parametrize("order", ["<", ">"])
def test_signed_bytes_do_not_wrap_around(order: str) -> None:
    np.testing.assert_array_equal(decode(tiff_of(np.array([[0, 127]], "i1"), order)).pixels.ravel(), [0, 127])
    assert reason(tiff_of(np.array([[-1, 127]], "i1"), order)) == (
        "signed 8-bit values from -1 to 127: shift them into 0..255 and save the file again"
    )


def test_unsupported_tiff_files_say_what_they_are() -> None:
    two = np.zeros((2, 3, 2), np.uint8)
    assert reason(tiff_of(two)).startswith("a TIFF of uint8 with 2 channels is not read here, expected 1 or 3 channels")
    assert reason(tiff_of(np.zeros((2, 3, 5), np.float64))).startswith("a TIFF of float64 with 5 channels")
    odd = bytearray(tiff_of(FLOATS))
    entry = odd.index(struct.pack("<HHI", 339, 3, 1))
    odd[entry + 8] = 6
    assert reason(bytes(odd)).startswith("a TIFF of sample format 6, 64 with 1 channel is not read here")
    odd = bytearray(tiff_of(FLOATS))
    odd[odd.index(struct.pack("<HHI", 259, 3, 1)) + 8] = 7
    assert reason(bytes(odd)).startswith("a TIFF of float64 with 1 channel with compression 7 is not read here")


def test_alpha_beside_floats() -> None:
    values = RNG.random((4, 5, 4)).astype(np.float32)
    decoded = decode(tiff_of(values, extra=[2]))
    np.testing.assert_array_equal(decoded.pixels, values[..., :3])
    assert decoded.warnings == ("alpha dropped",)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_that_of_a_type_that_pillow_reads(orientation: int) -> None:
    tags = [(274, 3, [orientation])]
    expected = decode(tiff_of((FLOATS * 255).astype(np.uint8), tags=tags))
    found = decode(tiff_of(((FLOATS * 255).astype(np.uint8) / 255).astype(np.float64), tags=tags))
    np.testing.assert_array_equal(np.rint(found.pixels * 255), expected.pixels)
    assert found.warnings == expected.warnings


LAYOUTS = list(itertools.product("<>", [False, True], [None, "zlib"], [False, True], [None, (16, 32)], [None, 5]))


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"])
def test_every_layout_gives_what_was_written(kind: str) -> None:
    """Both orders of bytes, both sizes of places, compression, differences, tiles and strips, planes."""
    require_module("tifffile")
    import tifffile

    checked = 0
    for order, big, compression, predictor, tile, rows in LAYOUTS:
        if (tile and rows) or (predictor and (compression is None or kind[0] == "f" or kind[1] == "8")):
            continue  # what tifffile does not write
        for shape, planes in (((37, 51), None), ((37, 51, 3), "contig"), ((3, 37, 51), "separate")):
            values = RNG.random(shape) if kind[0] == "f" else RNG.integers(0, 65536, shape)
            values = values.astype(kind)
            stream = io.BytesIO()
            tifffile.imwrite(
                stream, values, photometric="rgb" if planes else "minisblack", planarconfig=planes, tile=tile,
                byteorder=order, bigtiff=big, compression=compression, predictor=predictor, rowsperstrip=rows,
            )  # fmt: skip
            page = pages.first_page(stream)
            if (big and order == ">") or (planes == "separate" and rows):
                with pytest.raises(samples.UnsupportedTiff):
                    samples.samples(stream, page)
                continue
            expected = np.moveaxis(values, 0, -1) if planes == "separate" else values.reshape(37, 51, -1)
            found = samples.samples(stream, page)
            assert found.dtype == np.dtype(kind)
            np.testing.assert_array_equal(found, expected)
            checked += 1
    assert checked > 20


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_differences_of_floats(compression: str) -> None:
    """libtiff writes and reads this kind itself."""
    stream = io.BytesIO()
    values = FLOATS.astype(np.float32)
    Image.fromarray(values).save(stream, "TIFF", compression=compression, tiffinfo={317: 3})
    page = pages.first_page(stream)
    assert page.predictor == 3
    np.testing.assert_array_equal(samples.samples(stream, page)[..., 0], values)


def test_damage_gives_a_reason() -> None:
    data = tiff_of(FLOATS)
    for cut in range(1, len(data), 7):
        reason(data[:cut])
    rng = np.random.default_rng(2)
    for _ in range(200):
        changed = bytearray(data)
        for place in rng.integers(len(data) - 180, len(data), 2):
            changed[place] = rng.integers(256)
        try:
            assert decode(bytes(changed), max_pixels=10**6).pixels.ndim == 3
        except UnreadableImage as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_libtiff_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """Its lines name no file and come between those of a run; the reason of the image says what matters."""
    strips = {
        "tiff_lzw": b"\xff" * 40,
        "packbits": b"\x80" * 40,
        "group4": b"\x55" * 40,
        "tiff_adobe_deflate": b"xy" * 20,
    }
    image = Image.new("1", (800, 600)), Image.new("L", (800, 600))
    for compression, garbage in strips.items():
        stream = io.BytesIO()
        image[compression != "group4"].save(stream, "TIFF", compression=compression)
        with Image.open(stream) as opened:
            start, size = opened.tag_v2[273][0], opened.tag_v2[279][0]
        data = bytearray(stream.getvalue())
        data[start : start + size] = garbage[:size].ljust(size, b"\xaa")
        if compression != "group4":  # which has no damage, only other pixels
            assert reason(bytes(data)) == "damaged: its pixels cannot be decoded"
        with pytest.raises(UnreadableImage) if compression != "group4" else nullcontext():
            from_pil(Image.open(io.BytesIO(bytes(data))))
    assert capfd.readouterr().err == ""


def test_libtiff_prints_for_others_as_before(capfd: pytest.CaptureFixture[str]) -> None:
    stream = io.BytesIO()
    Image.new("L", (800, 600)).save(stream, "TIFF", compression="tiff_lzw")
    with Image.open(stream) as opened:
        start, size = opened.tag_v2[273][0], opened.tag_v2[279][0]
    data = bytearray(stream.getvalue())
    data[start : start + size] = b"\xff" * size
    for _ in range(2):
        with pytest.raises(OSError, match="decoder error"):
            Image.open(io.BytesIO(bytes(data))).load()
        assert capfd.readouterr().err != ""
        with pytest.raises(UnreadableImage):
            decode(bytes(data))
        assert capfd.readouterr().err == ""
