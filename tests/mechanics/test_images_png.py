"""iuscore.images.png: what is read chunk by chunk is what Pillow gives, bit for bit, and all else goes to Pillow."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from iuscore.images import UnreadableImage, decode, decoders, png
from tests.mechanics.tree import require_module

RNG = np.random.default_rng(0)
COLOR = np.cumsum(RNG.integers(-3, 4, (31, 37, 3)), axis=1).astype(np.uint8)
GRAY = COLOR[..., 0].copy()
Chunks = list[tuple[bytes, bytes]]


@pytest.fixture(params=["isal", "zlib"])
def inflater(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "isal":
        require_module("isal")
        assert png.inflater() is not zlib
    else:
        monkeypatch.setattr(png, "inflater", lambda: zlib)
    return str(request.param)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One entry a file that was read chunk by chunk: whether that gave pixels."""
    found: list[bool] = []
    before = png.decoded

    def spy(*arguments: Any) -> object:
        pixels = before(*arguments)
        found.append(pixels is not None)
        return pixels

    monkeypatch.setattr(png, "decoded", spy)
    return found


def saved(image: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", **options)
    return stream.getvalue()


def chunks(data: bytes) -> Chunks:
    found, at = [], 8
    while at < len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : end]))
        at = end + 4
    return found


def joined(parts: Chunks) -> bytes:
    packed = (struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in parts)
    return png.START + b"".join(packed)


def outcome(data: bytes) -> tuple[object, ...]:
    try:
        pixels, width, height, warnings = decode(data, max_pixels=10**6)
    except UnreadableImage as error:
        return str(error), error.width, error.height
    assert pixels.flags.writeable
    return pixels.shape, pixels.dtype, pixels.tobytes(), width, height, warnings


def assert_same(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(png, "plain_header", lambda head: None)
        expected = outcome(data)
    assert outcome(data) == expected


@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_the_same_bytes(level: int, inflater: str, monkeypatch: pytest.MonkeyPatch, taken: list[bool]) -> None:
    n = 0
    for image in (COLOR, GRAY, RNG.integers(0, 256, (20, 20, 3), dtype=np.uint8)):
        for height, width in ((1, 1), (1, 7), (9, 1), (20, 20)):
            data = saved(np.ascontiguousarray(image[:height, :width]), compress_level=level)
            assert_same(data, monkeypatch)
            np.testing.assert_array_equal(decode(data).pixels, image[:height, :width].reshape(height, width, -1))
            n += 2
    assert taken == [True] * n


def test_harmless_chunks(inflater: str, monkeypatch: pytest.MonkeyPatch, taken: list[bool]) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Software", "a program")
    header, data, end = chunks(saved(COLOR))
    files = [
        saved(COLOR, pnginfo=text, dpi=(72, 72), icc_profile=b"p" * 3000),
        joined([header, (b"gAMA", bytes(4)), (b"cHRM", bytes(32)), (b"sRGB", b"\0"), data, (b"tIME", bytes(7)), end]),
        joined([header, (b"IDAT", data[1][:9]), (b"IDAT", data[1][9:]), (b"IDAT", b""), end]),
        saved(GRAY) + b"what follows the image",
    ]
    for file in files:
        assert_same(file, monkeypatch)
    assert taken == [True] * len(files)


def odd_files() -> dict[str, bytes]:
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    told = PngImagePlugin.PngInfo()
    told.add_text("transparency", "0")
    header, data, end = chunks(saved(COLOR))
    half = len(data[1]) // 2
    rows = zlib.decompress(data[1])
    several = io.BytesIO()
    frames = [Image.fromarray(COLOR), Image.fromarray(COLOR[::-1].copy())]
    frames[0].save(several, "PNG", save_all=True, append_images=frames[1:])
    exif = Image.Exif()
    exif[274] = 6
    return {
        "EXIF": saved(COLOR, exif=exif),
        "XMP": saved(COLOR, pnginfo=text),
        "a text that Pillow takes for more": saved(COLOR, pnginfo=told),
        "several frames": several.getvalue(),
        "transparent color": joined([header, (b"tRNS", bytes(6)), data, end]),
        "palette for display": joined([header, (b"PLTE", bytes(6)), data, end]),
        "alpha": saved(np.concatenate([COLOR, COLOR[..., :1]], axis=2)),
        "palette": saved(GRAY[:4] % 4, bits=2),
        "16 bits": saved(GRAY.astype(np.uint16)),
        "one bit": saved(GRAY > 99),
        "interlaced": joined([(header[0], header[1][:12] + b"\1"), data, end]),
        "unknown critical chunk": joined([header, (b"ABCD", b"x"), data, end]),
        "short gamma": joined([header, (b"gAMA", b"\0"), data, end]),
        "damaged profile": joined([header, (b"iCCP", b"name\0\0no zlib data"), data, end]),
        "profile of another compression": joined([header, (b"iCCP", b"name\0\7" + zlib.compress(b"p")), data, end]),
        "data in two places": joined([header, (b"IDAT", data[1][:half]), (b"tIME", bytes(7)), data, end]),
        "two headers": joined([header, header, data, end]),
        "no end": joined([header, data]),
        "end with content": joined([header, data, (b"IEND", b"x")]),
        "too few rows": joined([header, (b"IDAT", zlib.compress(rows[:-1])), end]),
        "too many rows": joined([header, (b"IDAT", zlib.compress(rows + rows)), end]),
        "more after the rows": joined([header, (b"IDAT", data[1] + b"more"), end]),
        "unknown filter": joined([header, (b"IDAT", zlib.compress(b"\5" + rows[1:])), end]),
        "wrong checksum of the rows": joined([header, (b"IDAT", data[1][:-1] + bytes([data[1][-1] ^ 1])), end]),
        "wrong checksum of a chunk": saved(COLOR).replace(b"IEND\xae", b"IEND\xaf"),
        "no width": joined([(header[0], bytes(4) + header[1][4:]), data, end]),
    }


@pytest.mark.parametrize("name", sorted(odd_files()))
def test_odd_files_go_to_pillow(name: str, inflater: str, monkeypatch: pytest.MonkeyPatch, taken: list[bool]) -> None:
    assert_same(odd_files()[name], monkeypatch)
    assert True not in taken


def test_a_bomb_does_not_go_off(inflater: str, taken: list[bool]) -> None:
    header, _, end = chunks(saved(COLOR))
    bomb = joined([header, (b"IDAT", zlib.compress(bytes(200_000_000))), end])
    decode(bomb)  # Pillow stops when the image is full
    assert taken == [False]


def test_large_images_are_refused_by_pillow(taken: list[bool]) -> None:
    with pytest.raises(UnreadableImage, match=r"^too large: 37 x 31, more than 1146 pixels$"):
        decode(saved(COLOR), max_pixels=1146)
    assert taken == []


def test_every_cut(inflater: str, monkeypatch: pytest.MonkeyPatch, taken: list[bool]) -> None:
    data = saved(COLOR[:5, :5].copy())
    for cut in range(1, len(data)):
        assert_same(data[:cut], monkeypatch)
    assert True not in taken


def test_changed_contents(inflater: str, monkeypatch: pytest.MonkeyPatch, taken: list[bool]) -> None:
    """Checksums are those of the changed contents, or nothing else would be tried."""
    rng = np.random.default_rng(1)
    files = [chunks(saved(i, icc_profile=b"p" * 50)) for i in (COLOR, GRAY)]
    for attempt in range(400):
        parts = list(files[attempt % 2])
        if attempt % 4 < 2:
            place = int(rng.integers(len(parts)))
            content = bytearray(parts[place][1])
            if content:
                content[rng.integers(len(content))] = rng.integers(256)
            parts[place] = (parts[place][0], bytes(content))
        else:
            rows = bytearray(zlib.decompress(parts[-2][1]))
            for place in rng.integers(0, len(rows), 5):
                rows[place] = rng.integers(8)
            parts[-2] = (b"IDAT", zlib.compress(bytes(rows)))
        assert_same(joined(parts), monkeypatch)
    assert 100 < taken.count(True) < 390


def test_decoders_are_named() -> None:
    require_module("isal")
    assert [name.split()[0] for name in decoders().split(", ")] == ["pillow", "simplejpeg", "isal"]
