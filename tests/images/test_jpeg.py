"""iuscore.images.formats.jpeg: simplejpeg gives the pixels that Pillow gives, bit for bit; all else goes to Pillow."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iuscore.images import UnreadableImage, decode
from iuscore.images.formats import jpeg
from tests.project.tree import require_module

RNG = np.random.default_rng(0)
NOISE = Image.fromarray(RNG.integers(0, 256, (70, 90, 3), dtype=np.uint8))
SMOOTH = Image.fromarray(np.add.outer(np.arange(70) * 3, np.arange(90) * 2)[..., None].repeat(3, 2).astype(np.uint8))
UPRIGHT = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x01\0\0\0\0\0\0\0"


@pytest.fixture(autouse=True, scope="module")
def simplejpeg() -> None:
    require_module("simplejpeg")


class Taken(list[bool]):
    """Which files simplejpeg was asked for: True where it gave pixels."""


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[Taken]:
    found = Taken()
    before = jpeg.decoded

    def spy(data: bytes, channels: int) -> object:
        pixels = before(data, channels)
        found.append(pixels is not None)
        return pixels

    monkeypatch.setattr(jpeg, "decoded", spy)
    return found


def saved(image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


def outcome(data: bytes) -> tuple[object, ...]:
    try:
        pixels, width, height, warnings = decode(data, max_pixels=10**6)
    except UnreadableImage as error:
        return str(error), error.width, error.height
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous
    return pixels.shape, pixels.dtype, pixels.tobytes(), width, height, warnings


def assert_same(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(jpeg, "_decoder", lambda: None)
        expected = outcome(data)
    assert outcome(data) == expected


@pytest.mark.parametrize("quality", [1, 30, 75, 90, 100])
@pytest.mark.parametrize("progressive", [False, True])
def test_simplejpeg_gives_the_pixels_of_pillow(
    quality: int, progressive: bool, monkeypatch: pytest.MonkeyPatch, taken: Taken
) -> None:
    n = 0
    for image in (NOISE, SMOOTH):
        for size in ((1, 1), (2, 1), (1, 3), (7, 9), (8, 8), (15, 17), (16, 16), (33, 31), (90, 70)):
            cropped = image.crop((0, 0, *size))
            options = {"quality": quality, "progressive": progressive}
            files = [saved(cropped, **options, subsampling=s) for s in ("4:4:4", "4:2:2", "4:2:0", "4:1:1")]
            for data in (*files, saved(cropped.convert("L"), **options)):
                assert_same(data, monkeypatch)
                n += 1
    assert taken == [True] * n


def test_harmless_segments(monkeypatch: pytest.MonkeyPatch, taken: Taken) -> None:
    files = [
        saved(NOISE, exif=UPRIGHT),
        saved(NOISE, exif=UPRIGHT.replace(b"\x12\x01", b"\x13\x01")),
        saved(NOISE, comment=b"a comment", dpi=(72, 72)),
        saved(NOISE, xmp=b"<x:xmpmeta/>"),
        saved(NOISE, icc_profile=b"p" * 500),
        saved(NOISE, restart_marker_rows=1),
        saved(NOISE) + b"what follows the image",
    ]
    for data in files:
        assert_same(data, monkeypatch)
    assert taken == [True] * len(files)


def adobe(transform: int) -> bytes:
    return b"\xff\xee" + struct.pack(">H5sHHHB", 14, b"Adobe", 100, 0, 0, transform)


def odd_files() -> dict[str, bytes]:
    plain = saved(NOISE)
    several = io.BytesIO()
    NOISE.save(several, "MPO", save_all=True, append_images=[SMOOTH])
    first_table = plain.index(b"\xff\xdb")
    frame = plain.index(b"\xff\xc0")
    return {
        "turned": saved(NOISE, exif=UPRIGHT.replace(b"\x01\0\0\0\x01\0\0\0", b"\x01\0\0\0\x06\0\0\0")),
        "turned by XMP": saved(NOISE, xmp=b'<x tiff:Orientation="6"/>'),
        "damaged EXIF": saved(NOISE, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09\x01"),
        "foreign EXIF": saved(NOISE, exif=b"Exif\0\0what is this"),
        "several pictures": several.getvalue(),
        "CMYK": saved(NOISE.convert("CMYK")),
        "RGB by Adobe": plain[:first_table] + adobe(0) + plain[first_table:],
        "RGB by names": plain.replace(plain[frame + 10 : frame + 19], b"R\x22\0G\x11\1B\x11\1"),
        "fill bytes": plain[:first_table] + b"\xff" + plain[first_table:],
        "lossless": plain[:frame] + b"\xff\xc3" + plain[frame + 2 :],
        "12 bit": plain[: frame + 4] + b"\x0c" + plain[frame + 5 :],
        "no height": plain[: frame + 5] + b"\0\0" + plain[frame + 7 :],
        "two frames": plain[:frame] + plain[frame : frame + 19] + plain[frame:],
        "short segment": plain[:first_table] + b"\xff\xe1\0\1" + plain[first_table:],
        "not a marker": plain[:first_table] + b"x" + plain[first_table:],
        "short profile": plain[:first_table] + b"\xff\xe2\0\x0aICC_PROF" + plain[first_table:],
    }


@pytest.mark.parametrize("name", sorted(odd_files()))
def test_odd_files_go_to_pillow(name: str, monkeypatch: pytest.MonkeyPatch, taken: Taken) -> None:
    assert_same(odd_files()[name], monkeypatch)
    assert taken == []


def test_large_images_are_refused_by_pillow(taken: Taken) -> None:
    with pytest.raises(UnreadableImage, match=r"^too large: 90 x 70, more than 6299 pixels$"):
        decode(saved(NOISE), max_pixels=6299)
    assert taken == []
    decode(saved(NOISE), max_pixels=6300)
    assert taken == [True]


def test_a_file_longer_than_any_image_of_its_size(tmp_path: Path, taken: Taken) -> None:
    (tmp_path / "a.jpg").write_bytes(saved(SMOOTH) + bytes(10**6))
    assert decode(tmp_path / "a.jpg").pixels.shape == (70, 90, 3)
    (tmp_path / "b.jpg").write_bytes(saved(SMOOTH, comment=b"c" * 65_000, icc_profile=b"p" * 60_000))
    assert decode(tmp_path / "b.jpg").pixels.shape == (70, 90, 3)
    assert taken == [True]  # of b the header alone is longer than what is looked at first


def test_every_cut(monkeypatch: pytest.MonkeyPatch, taken: Taken) -> None:
    image = NOISE.crop((0, 0, 20, 20))
    for data in (saved(image, quality=30), saved(image, quality=30, progressive=True)):
        for cut in range(1, len(data), 3):
            assert_same(data[:cut], monkeypatch)
    assert True not in taken


def test_changed_bytes(monkeypatch: pytest.MonkeyPatch, taken: Taken) -> None:
    rng = np.random.default_rng(1)
    files = [saved(i, quality=40, progressive=p) for i in (SMOOTH, NOISE.convert("L")) for p in (False, True)]
    for attempt in range(400):
        data = bytearray(files[attempt % len(files)])
        for place in rng.integers(0, 650 if attempt % 3 else len(data), 2):
            data[place] = rng.integers(256)
        assert_same(bytes(data), monkeypatch)
    assert 40 < taken.count(True) < 360


def test_without_simplejpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    with monkeypatch.context() as patch:
        patch.setattr(jpeg.importlib, "import_module", missing)
        jpeg._decoder.cache_clear()
        assert not jpeg.is_installed()
        assert decode(saved(NOISE)).pixels.shape == (70, 90, 3)
    jpeg._decoder.cache_clear()
    assert jpeg.is_installed()
