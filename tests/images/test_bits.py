"""How deep values are: 16-bit files that hold fewer bits, and the option that says how many."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iuscore.errors import UserError
from iuscore.images import UnreadableImage, decode, open_shards, open_source, read_item
from tests.images.image_files import deep_png, tiff_of

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
COLOR = np.stack([RAMP, RAMP[::-1], RAMP.T], axis=2)
# Of N bits the largest value is full brightness: v / (2^N - 1), in 65535ths.
FULL = np.rint(RAMP.astype(np.float64) / 4095 * 65535)


def small(part: int, bits: int, nominal: int = 16) -> str:
    return f"values use 1/{part} of {nominal} bits (--bits {bits}?)"


def png(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


def pgm(values: np.ndarray, most: int) -> bytes:
    return b"P5 %d %d %d\n" % (values.shape[1], values.shape[0], most) + values.astype(">u2").tobytes()


def gray_files() -> dict[str, bytes]:
    return {
        "PNG": png(RAMP),
        "PGM": pgm(RAMP, 65535),
        "TIFF": tiff_of(RAMP),
        "big-endian TIFF": tiff_of(RAMP, ">"),
        "32-bit TIFF": tiff_of(RAMP.astype(np.uint32)),
    }


@pytest.mark.parametrize("name", sorted(gray_files()))
def test_twelve_bits_in_sixteen(name: str) -> None:
    data = gray_files()[name]
    as_it_is = decode(data)
    np.testing.assert_array_equal(as_it_is.pixels[..., 0], RAMP)
    assert as_it_is.warnings == (small(16, 12),)
    said = decode(data, bits=12)
    np.testing.assert_array_equal(said.pixels[..., 0], FULL)
    assert said.warnings == ()
    sixteen = decode(data, bits=16)
    np.testing.assert_array_equal(sixteen.pixels[..., 0], RAMP)
    assert sixteen.warnings == ()
    with pytest.raises(UnreadableImage, match=r"^a value of 4095 in an image that --bits 10 says has at most 1023: "):
        decode(data, bits=10)


@pytest.mark.parametrize(
    ("most", "expected"),
    [(0, ()), (1, (small(256, 8),)), (255, (small(256, 8),)), (256, (small(64, 10),)), (1023, (small(64, 10),)),
     (1024, (small(16, 12),)), (4095, (small(16, 12),)), (16383, (small(4, 14),)), (16384, ()), (65535, ())],
)  # fmt: skip
def test_which_depth_is_named(most: int, expected: tuple[str, ...]) -> None:
    assert decode(png(np.array([[0, most]], np.uint16))).warnings == expected


@pytest.mark.parametrize("bits", range(8, 16))
def test_every_depth_fills_the_range(bits: int) -> None:
    top = 2**bits - 1
    values = np.array([[0, 1, top // 2, top - 1, top]], np.uint16)
    expected = np.floor(values.astype(np.float64) * 65535 / top + 0.5)
    np.testing.assert_array_equal(decode(png(values), bits=bits).pixels[..., 0], expected)


def test_color() -> None:
    # Pillow rounds the values of a PPM and takes the high bytes of the others.
    files = {deep_png(COLOR): COLOR >> 8, tiff_of(COLOR): COLOR >> 8, tiff_of(COLOR, ">"): COLOR >> 8}
    files[b"P6 64 64 65535 " + COLOR.astype(">u2").tobytes()] = np.rint(COLOR / 257)
    for data, eight in files.items():
        low = decode(data)
        np.testing.assert_array_equal(low.pixels, eight)
        assert low.warnings == ("16-bit color read as 8-bit", small(16, 12))
        full = decode(data, bits=12)
        np.testing.assert_array_equal(full.pixels, np.rint(COLOR / 4095 * 65535))
        assert full.warnings == ()
    opaque, clear = np.full((64, 64, 1), 65535, np.uint16), np.full((64, 64, 1), 256, np.uint16)
    for alpha, expected in ((opaque, ()), (clear, ("alpha dropped",))):
        for values in (COLOR, RAMP[..., None]):
            found = decode(deep_png(np.concatenate([values, alpha], axis=2)), bits=12)
            np.testing.assert_array_equal(found.pixels, np.rint(values / 4095 * 65535))
            assert found.warnings == expected


def test_files_that_say_how_deep_they_are() -> None:
    """The range of such a file is known, whatever is asked for."""
    for bits in (None, 8, 12):
        for most in (1023, 4095):
            values = np.array([[0, 7, most // 2, most]], np.uint16)
            found = decode(pgm(values, most), bits=bits)
            np.testing.assert_array_equal(found.pixels[..., 0], np.rint(values / most * 65535))
            assert found.warnings == ()
    gray = np.array([[0, 3, 200]], np.uint8)
    for bits in (None, 12):
        assert decode(png(gray), bits=bits).pixels.ravel().tolist() == [0, 3, 200]
        twelve = decode(packed_twelve_bit_tiff(np.array([[0, 1, 2048, 4095]])), bits=bits)
        np.testing.assert_array_equal(twelve.pixels[..., 0], np.rint(np.array([[0, 1, 2048, 4095]]) / 4095 * 65535))
        assert twelve.warnings == ()


def packed_twelve_bit_tiff(values: np.ndarray) -> bytes:
    packed = bytearray()
    for one, other in values.reshape(-1, 2).tolist():
        packed += bytes([one >> 4, (one & 15) << 4 | other >> 8, other & 255])
    return tiff_of(np.frombuffer(bytes(packed), np.uint8).reshape(1, -1), width=values.shape[1], bits=12)


@pytest.mark.parametrize("bits", [7, 17, 0, -12, True, 12.0, "12"])
def test_depths_below_8_or_above_16_are_refused(bits: object, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(RAMP))
    text = r"^bits: expected the depth of the values in 16-bit files, 8 to 16, got "
    for call in (decode, open_source, open_shards):
        with pytest.raises(UserError, match=text):
            call(tmp_path / "a.png", bits=bits)  # type: ignore[operator]


def test_sources_pass_bits_on_to_decode(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_bytes(png(RAMP))
    np.savez(tmp_path / "a.npz", test_images=RAMP[None])
    np.save(tmp_path / "a.npy", RAMP[None])
    for name in ("images", "a.npz"):
        source = open_source(tmp_path / name, bits=12)
        for found in (source.read(0), source.subset([0]).read(0), source.with_groups([None]).read(0)):
            np.testing.assert_array_equal(found.pixels[..., 0], FULL)  # type: ignore[index]
        assert open_source(tmp_path / name).read(0).warnings == (small(16, 12),)
        assert "--bits 9" in str(open_source(tmp_path / name, bits=9).read(0).error)
    for name in ("images", "a.npz", "a.npy"):
        shards = open_shards(tmp_path / name, bits=12)
        items = [item for shard in shards.shards(9) for item in shards.items(shard)]
        np.testing.assert_array_equal(read_item(items[0], bits=shards.bits).pixels[..., 0], FULL)  # type: ignore[index]
