"""PBM, PGM and PPM files written in digits, with comments between them."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from PIL import Image

from iuscore.images import UnreadableImage, decode
from tests.images.test_bounds import outcome

RNG = np.random.default_rng(0)
GRAY_BITS = RNG.integers(0, 2, 300 * 300)


@pytest.mark.parametrize(
    "data",
    [
        b"P3 100 100 255\n" + b"#\n" * 500_000 + b"1 " * 30_000,
        b"P2 100 100 255\n" + b"1 #\n" * 300_000,
        b"P1 100 100\n" + b"#\n" * 500_000 + b"1 " * 10_000,
        b"P2 100 100 255\n" + b"#" * (1 << 20) + b"\n" + b"1 " * 10_000,
        b"P2 #" + b"c" * (1 << 20) + b"\n100 100 255\n" + b"1 " * 10_000,
        b"P2 1000 700 65535\n" + b"9 " * 700_000,
    ],
)
def test_a_megabyte_takes_less_than_a_second(data: bytes) -> None:
    before = time.process_time()
    pixels = decode(data).pixels
    assert time.process_time() - before < 1.0
    assert len(np.unique(pixels)) == 1


@pytest.mark.parametrize("magic", [b"P4", b"P5", b"P6"])
def test_a_header_that_does_not_end_is_refused_at_once(magic: bytes) -> None:
    data = magic + b" #" + b"x" * 30_000_000 + b"\n8 8 255 " + bytes(192)
    before = time.process_time()
    with pytest.raises(UnreadableImage, match=r"^damaged: a header of more than 2097152 bytes$"):
        decode(data)
    assert time.process_time() - before < 1.0


def test_a_binary_file_that_looks_like_a_comment_is_read() -> None:
    side = 1600
    pixels = np.full((side, side), ord("#"), np.uint8)
    assert (decode(b"P5 %d %d 255 " % (side, side) + pixels.tobytes()).pixels[..., 0] == pixels).all()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"P2 2 1 255\n- 3", "damaged: something else than a number among the values"),
        (b"P2 2 1 255\n3 -", "damaged: something else than a number among the values"),
        (b"P2 2 1 255\n3 5- ", "damaged: something else than a number among the values"),
        (b"P2 100 100 255\n" + b"1" * 4_000_000, "damaged: a number of more than 1000 digits"),
        (b"P2 100 100 255\n" + b"#" * 4_000_000, "truncated: image file is truncated"),
        (b"P1 100 100\n" + b"#\n" * 500_000, "truncated: image file is truncated"),
        (b"P2 2 1 255\n1 256", "damaged: a value of 256, where the header says 0 to 255"),
        (b"P2 2 1 255\n1 " + b"9" * 30, "damaged: a value of 9223372036854775807, where the header says 0 to 255"),
        (b"P2 2 1 255\n1 -1", "damaged: a value of -1, where the header says 0 to 255"),
        (b"P2 2 1 255\n1 x", "damaged: something else than a number among the values"),
        (b"P1 2 1\n1 2", "damaged: something else than 0 and 1 among the values"),
        (b"P2 2 1 255\n1", "truncated: image file is truncated"),
        (b"P1 2 1\n1", "truncated: image file is truncated"),
        (b"P3 13000 13000 255\n1", "truncated: image file is truncated"),
    ],
)
def test_damaged_digits_say_what_is_wrong(data: bytes, reason: str) -> None:
    assert outcome(data) == reason


@pytest.mark.parametrize("most", [1, 15, 255, 256, 1023, 4095, 65535])
@pytest.mark.parametrize("kind", [1, 2, 3])
def test_values_are_those_of_pillow(most: int, kind: int) -> None:
    side = 300
    values = RNG.integers(0, most + 1, side * side * (3 if kind == 3 else 1)) if kind > 1 else GRAY_BITS
    lines = [b"%d" % value + b" \t\n\r\v\f"[i % 6 : i % 6 + 1] for i, value in enumerate(values.tolist())]
    lines[5:5] = [b"# a comment of 7 words, or 8\n"]
    data = b"P%d\n# 1 2 3\n%d %d%s\n" % (kind, side, side, b"" if kind == 1 else b" %d" % most) + b"".join(lines)
    theirs = np.array(Image.open(io.BytesIO(data)).convert("RGB" if kind == 3 else "L" if kind == 1 else None))
    decoded = decode(data + b" and what follows")
    np.testing.assert_array_equal(decoded.pixels, theirs.reshape(side, side, -1))
    assert decoded.pixels.dtype == (np.uint16 if kind == 2 and most > 255 else np.uint8)


def test_digits_without_space_and_a_comment_that_ends_a_number() -> None:
    assert decode(b"P1 4 2 0110#\n1001").pixels[..., 0].tolist() == [[255, 0, 0, 255], [0, 255, 255, 0]]
    assert decode(b"P2 2 1 255 12#c\n34").pixels.ravel().tolist() == [12, 34]


def test_numbers_and_comments_across_two_blocks() -> None:
    """A number or a comment that lies in two blocks."""
    for length in range((1 << 20) - 12, (1 << 20) + 3):
        comment = b"#" + b"c" * length + b"\n"
        assert decode(b"P2 3 1 255 " + comment + b"123 45 #\n6").pixels.ravel().tolist() == [123, 45, 6]


def test_depth_of_digits() -> None:
    data = b"P2 2 1 65535 0 4095"
    assert decode(data).warnings == ("values use 1/16 of 16 bits (--bits 12?)",)
    assert decode(data, bits=12).pixels.ravel().tolist() == [0, 65535]
