"""What one image may cost: a small file is a row in bounded time and memory, whatever it claims or repeats."""

from __future__ import annotations

import functools
import io
import os
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from iuscore.images import UnreadableImage, decode
from iuscore.images.formats import gif, jpeg, png
from tests.images.image_files import png_chunk, png_of, tiff_of, tiff_pages
from tests.project.tree import require_module

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
COLOR = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
# Far above what is measured, far below what was: a busy machine passes, an unbounded decoder does not.
SECONDS = 10.0


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def outcome(data: bytes) -> str:
    """Warnings or the reason, of a decoding that ends in time."""
    before = time.process_time()
    try:
        text = "; ".join(decode(data).warnings)
    except UnreadableImage as error:
        text = str(error)
    assert time.process_time() - before < SECONDS
    assert "\n" not in text
    return text


def of_scans(n: int, mode: str = "L", side: int = 64, more: bytes = b"") -> bytes:
    """A progressive JPEG whose last scan comes ``n`` times."""
    data = saved(Image.new(mode, (side, side), 128 if mode == "L" else (9, 99, 200)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    start = data.index(b"\xff\xdb")
    return data[:start] + more + data[start:last] + data[last:-2] * n + b"\xff\xd9"


class TestScans:
    def test_thousands_of_scans_are_refused(self) -> None:
        for n in (101, 5000, 200_000):
            assert outcome(of_scans(n)) == ("a JPEG of more than 100 scans, which would take very long: save it again")
        for data in (of_scans(5000, side=4000), of_scans(5000, "RGB")):
            assert outcome(data).startswith("a JPEG of more than 100 scans")

    def test_very_many_segments_are_refused(self) -> None:
        """Pillow joins blocks of Exif one by one: 800,000 of them took minutes."""
        exif = b"Exif\0\0x"
        segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
        for n, reason in ((5001, "a JPEG of more than 5000 segments before the picture: save it again"), (900, "")):
            data = of_scans(1)
            began = time.process_time()
            assert outcome(data[:2] + n * segment + data[2:]) == reason
            assert time.process_time() - began < 2.0

    def test_a_refused_file_reports_its_size(self) -> None:
        with pytest.raises(UnreadableImage) as caught:
            decode(of_scans(101))
        assert (caught.value.width, caught.value.height) == (64, 64)

    def test_progressive_files_of_usual_scans_are_read(self) -> None:
        scans = jpeg.n_scans(io.BytesIO(of_scans(1)))
        assert 4 < scans < 20
        assert decode(of_scans(101 - scans)).pixels.shape == (64, 64, 1)
        assert outcome(of_scans(102 - scans)).startswith("a JPEG of more than 100 scans")

    def test_markers_outside_the_picture_are_no_scans(self) -> None:
        """In a comment, in a thumbnail, and behind the picture, as in photographs with a film."""
        comment = b"\xff\xda" * 300
        inside = of_scans(1, more=b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment)
        for data in (inside, of_scans(1) + b"\xff\xda\0\2" * 1000):
            assert outcome(data) == ""
            assert jpeg.n_scans(io.BytesIO(data)) == jpeg.n_scans(io.BytesIO(of_scans(1)))

    def test_restarts_and_filling(self) -> None:
        noise = Image.fromarray(RNG.integers(0, 256, (300, 300, 3), dtype=np.uint8))
        data = saved(noise, "JPEG", quality=100, restart_marker_blocks=1)
        filled = data[:2] + b"\xff" * 9 + data[2:]
        behind = b"\xff\xda\0\2" * 101
        for content in (data, filled):
            assert jpeg.n_scans(io.BytesIO(content + behind)) == 1

    @pytest.mark.parametrize("garbage", [b"\0", b"abc", b"\xff\0", b"\0\xff\xfe\0\4ab\0", b"\0\xff\xff", b"\xff\xd0\0"])
    def test_garbage_between_segments_hides_no_scan(self, garbage: bytes) -> None:
        """libjpeg passes over it with a warning, on to the next marker."""
        usual = of_scans(1)
        tables, first = usual.index(b"\xff\xdb"), usual.index(b"\xff\xda")
        scans = jpeg.n_scans(io.BytesIO(usual))
        behind = b"\xff\xda\0\2" * 101  # has every scan looked at closely
        for at in (tables, first):
            data = usual[:at] + garbage + usual[at:]
            assert (decode(data).pixels == decode(usual).pixels).all()
            assert jpeg.n_scans(io.BytesIO(data + behind)) == scans
        last = usual.rindex(b"\xff\xda")
        for at in (first, last):
            data = usual[:at] + garbage + usual[at:last] + (garbage + usual[last:-2]) * 2000 + b"\xff\xd9"
            assert outcome(data).startswith("a JPEG of more than 100 scans")

    def test_garbage_everywhere_takes_no_long_time(self) -> None:
        data = of_scans(1)
        comments = b"\0\xff\xfe\0\2" * 600_000
        before = time.process_time()
        assert jpeg.n_scans(io.BytesIO(data[:2] + comments + data[2:] + b"\xff\xda\0\2" * 101)) < 20
        assert time.process_time() - before < 0.5 * len(comments) / 1e6 + 2

    def test_every_cut_and_changed_bytes(self) -> None:
        data = of_scans(120)
        for cut in range(1, 3000, 13):
            jpeg.n_scans(io.BytesIO(data[:cut]))
        for _ in range(300):
            changed = bytearray(data)
            for place in RNG.integers(2, 400, 2):
                changed[place] = RNG.integers(256)
            jpeg.n_scans(io.BytesIO(bytes(changed)))


class TestPages:
    @pytest.mark.parametrize("n", [1, 2, 24_000])
    def test_pages_are_counted_without_reading_them(self, n: int) -> None:
        assert outcome(tiff_pages(n)) == ("" if n == 1 else f"first of {n} frames")
        assert decode(tiff_pages(n)).pixels.ravel().tolist() == [0x7F]

    def test_a_chain_without_an_end(self) -> None:
        data = bytearray(tiff_pages(3))
        data[-4:] = struct.pack("<I", 10)
        assert outcome(bytes(data)) == "first of several frames"
        data[-4:] = struct.pack("<I", 1 << 31)
        assert outcome(bytes(data)) == "first of several frames"
        assert outcome(tiff_pages(300_000)) == "first of 100000 frames"

    def test_tags_that_claim_more_than_the_file(self) -> None:
        entries = b"".join(struct.pack("<HHII", tag, 1, 1 << 20, 8) for tag in range(40_000, 44_000))
        data = tiff_of(GRAY)
        place = struct.unpack("<I", data[4:8])[0]
        n = struct.unpack("<H", data[place : place + 2])[0]
        table = data[place + 2 : place + 2 + 12 * n] + entries
        start = len(data)
        data = data[:4] + struct.pack("<I", start) + data[8:] + struct.pack("<H", n + 4000) + table + bytes(4)
        assert outcome(data) == f"damaged: tags of {4000 * 2**20 + 30} bytes in a TIFF file of {len(data)}"

    def test_many_tags(self) -> None:
        data = b"II*\0\x08\0\0\0" + struct.pack("<H", 60_000) + bytes(12 * 60_000 + 4)
        assert outcome(data) == "damaged: 60000 tags in a page of a TIFF file, more than 4096"

    def test_a_gif_of_very_many_frames(self) -> None:
        data = saved(Image.fromarray(GRAY), "GIF", save_all=True, append_images=[Image.fromarray(GRAY[::-1])])
        assert outcome(data) == "converted from palette; first of 2 frames" or outcome(data) == "first of 2 frames"
        block = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x4c\x01\0"
        many = data[:-1] + block * 200_000 + b";"
        assert outcome(many).endswith("first of 200002 frames")
        assert gif.n_gif_frames(io.BytesIO(data[:-1] + block * 2_000_000)) == 0


class TestMetadata:
    """What lies beside the pixels of a PNG costs neither them nor memory."""

    BLOB = bytes(RNG.integers(32, 127, 1_300_000, dtype=np.uint8))

    def chunks(self) -> dict[str, bytes]:
        wrong = png_chunk(b"tEXt", b"a\0b")
        bomb = zlib.compress(bytes(50_000_000))
        return {
            "profile": png_chunk(b"iCCP", b"icc\0\0" + zlib.compress(self.BLOB)),
            "damaged profile": png_chunk(b"iCCP", b"icc\0\0garbage"),
            "compressed text": png_chunk(b"zTXt", b"workflow\0\0" + zlib.compress(self.BLOB)),
            "international text": png_chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(self.BLOB)),
            "text": png_chunk(b"tEXt", b"workflow\0" + self.BLOB),
            "many texts": png_chunk(b"tEXt", b"workflow\0" + self.BLOB) * 60,
            "wrong checksum": wrong[:-1] + bytes([wrong[-1] ^ 1]),
            "a kind of its own": png_chunk(b"prVt", self.BLOB),
            "a large EXIF block": png_chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0" + bytes(2_000_000)),
            "a bomb that calls itself EXIF": png_chunk(b"zTXt", b"Raw profile type exif\0\0" + bomb),
            "a bomb that calls itself XMP": png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb),
            "damaged XMP": png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + b"garbage"),
        }

    def test_pixels_are_read(self) -> None:
        rows = b"".join(b"\0" + row.tobytes() for row in COLOR)
        plain = png_of(30, 20, 8, 2, rows)
        for name, chunk in self.chunks().items():
            for data in (png_of(30, 20, 8, 2, rows, chunk), plain[:-12] + chunk + plain[-12:]):
                assert outcome(data) == "", name
                np.testing.assert_array_equal(decode(data).pixels, COLOR)

    def test_the_orientation_stays_where_texts_are_dropped(self) -> None:
        exif = Image.Exif()
        exif[274] = 6
        notes = PngImagePlugin.PngInfo()
        notes.add_text("a", "b" * 2_000_000)
        compressed, plain = PngImagePlugin.PngInfo(), PngImagePlugin.PngInfo()
        compressed.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>' * 99, zip=True)
        plain.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
        compressed.add_text("a", "b" * 2_000_000, zip=True)
        plain.add_text("a", "b" * 2_000_000, zip=True)
        for options in ({"exif": exif, "pnginfo": notes}, {"pnginfo": compressed}, {"pnginfo": plain}):
            decoded = decode(saved(Image.fromarray(GRAY), "PNG", **options))
            np.testing.assert_array_equal(decoded.pixels[..., 0], np.rot90(GRAY, 3))
            assert decoded.warnings == ("EXIF rotation applied",)

    def test_transparency_palettes_and_frames_stay(self) -> None:
        notes = PngImagePlugin.PngInfo()
        notes.add_text("a", "b" * 2_000_000, zip=True)
        palette = Image.fromarray(COLOR).quantize(8)
        clear = decode(saved(palette, "PNG", transparency=b"\0" * 8, pnginfo=notes))
        assert clear.warnings == ("converted from palette", "alpha dropped")
        np.testing.assert_array_equal(clear.pixels, np.asarray(palette.convert("RGB")))
        several = saved(
            Image.fromarray(GRAY), "PNG", save_all=True, append_images=[Image.fromarray(GRAY[::-1])], pnginfo=notes
        )
        assert decode(several).warnings == ("first of 2 frames",)

    def test_a_file_without_metadata_is_not_copied(self) -> None:
        stream = io.BytesIO(saved(Image.fromarray(GRAY), "PNG"))
        assert png.without_metadata(stream) is stream

    def test_very_many_chunks(self) -> None:
        rows = b"".join(b"\0" + row.tobytes() for row in GRAY)
        data = png_of(30, 20, 8, 0, rows, png_chunk(b"prVt", b"") * 1_100_000)
        assert outcome(data) == "damaged: more than 1048576 chunks in a PNG file"


def most_memory(path: Path) -> int:
    """Bytes at most of a process that decodes the file, above those of one that decodes a file of two pixels."""
    if not os.path.exists("/proc/self/status"):
        pytest.skip("no /proc to tell the memory of a process")
    return _most_memory(path) - _of_a_small_file()


@functools.cache
def _of_a_small_file() -> int:
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder, "small")
        small.write_bytes(saved(Image.new("L", (2, 1)), "PNG"))
        return _most_memory(small)


def _most_memory(path: Path) -> int:
    # Not ru_maxrss: it keeps that of the process that started this one.
    script = f"{DECODE}\nprint([line for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-2]) * 1024


DECODE = """
import sys
from iuscore.images import decode, UnreadableImage
try: decode(sys.argv[1])
except UnreadableImage: pass
"""
SIDE = 3000
"""Of the images whose cost is measured: large enough that what Python itself needs does not count."""


def flat(mode: str, kind: str, **options: object) -> Callable[[], bytes]:
    return lambda: saved(Image.new(mode, (SIDE, SIDE)), kind, **options)


def deep(channels: int) -> bytes:
    rows = (b"\0" + bytes(2 * channels * SIDE)) * SIDE
    return png_of(SIDE, SIDE, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], rows)


LARGE: dict[str, Callable[[], bytes]] = {
    "PNG, gray": flat("L", "PNG"),
    "PNG, RGB": flat("RGB", "PNG"),
    "PNG, RGBA": flat("RGBA", "PNG"),
    "PNG, palette": flat("P", "PNG"),
    "PNG, 16 bits": lambda: deep(1),
    "PNG, RGBA of 16 bits": lambda: deep(4),
    "JPEG": flat("RGB", "JPEG"),
    "JPEG, progressive": flat("RGB", "JPEG", progressive=True),
    "JPEG, CMYK": flat("CMYK", "JPEG"),
    "GIF": flat("P", "GIF"),
    "WebP": flat("RGBA", "WEBP", lossless=True),
    "JPEG 2000": flat("RGB", "JPEG2000"),
    "TIFF, float32": flat("F", "TIFF", compression="tiff_adobe_deflate"),
    "TIFF, RGBA": flat("RGBA", "TIFF", compression="tiff_lzw"),
    "PGM of 10 bits": lambda: b"P5 %d %d 1023 " % (SIDE, SIDE) + bytes(2 * SIDE * SIDE),
    "turned JPEG": lambda: saved(Image.new("RGB", (SIDE, SIDE)), "JPEG", exif=turned_exif()),
}


def turned_exif() -> bytes:
    exif = Image.Exif()
    exif[274] = 6
    return exif.tobytes()


SLOW: dict[str, Callable[[int], bytes]] = {
    "JPEG of many scans": lambda side: of_scans(94, side=side),
    "progressive JPEG of noise": lambda side: saved(noise(side), "JPEG", quality=100, progressive=True),
    "PNG of noise": lambda side: saved(noise(side), "PNG", compress_level=1),
    "WebP of noise": lambda side: saved(noise(side), "WEBP", lossless=True, method=0),
    "TIFF of noise in rows": lambda side: saved(noise(side), "TIFF", compression="tiff_lzw", tiffinfo={278: 1}),
    "PPM in digits": lambda side: b"P3 %d %d 65535 " % (side, side) + b"0 " * (3 * side * side),
    "PGM of 10 bits": lambda side: b"P5 %d %d 1023 " % (side, side) + bytes(2 * side * side),
}


def noise(side: int) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (side, side, 3), dtype=np.uint8))


class TestBudget:
    """The figures of docs/errors.md: memory and processor time, by pixels and by the size of the file."""

    @pytest.mark.parametrize("name", sorted(SLOW))
    def test_time(self, name: str) -> None:
        side = 1000
        data = SLOW[name](side)
        before = time.process_time()
        assert decode(data).pixels.shape[:2] == (side, side)
        used = time.process_time() - before
        assert used < 1.0 + 0.5 * len(data) / 1e6

    @pytest.mark.parametrize("name", sorted(LARGE))
    def test_memory(self, name: str, tmp_path: Path) -> None:
        data = LARGE[name]()
        (tmp_path / "image").write_bytes(data)
        used = most_memory(tmp_path / "image")
        assert used < budget(SIDE * SIDE, len(data)), f"{used / SIDE / SIDE:.1f} bytes a pixel"

    @pytest.mark.parametrize("allocated", [8, 16, 32, 64])
    def test_memory_of_dicom(self, allocated: int, tmp_path: Path) -> None:
        require_module("pydicom")
        from tests.images.dicom_files import dataset, saved

        if allocated == 64:
            made = dataset(np.zeros((SIDE, SIDE), np.uint8), WindowCenter=9, WindowWidth=50)
            for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
                delattr(made, name)
            made.BitsAllocated, made.DoubleFloatPixelData = 64, bytes(8 * SIDE * SIDE)
        else:
            values = np.zeros((SIDE, SIDE), f"u{allocated // 8}")
            made = dataset(values, allocated, RescaleSlope=2, RescaleIntercept=-9, WindowCenter=9, WindowWidth=50)
        (tmp_path / "image").write_bytes(saved(made))
        used = most_memory(tmp_path / "image")
        size = (tmp_path / "image").stat().st_size
        assert used < budget(SIDE * SIDE, size), f"{used / SIDE / SIDE:.1f} bytes a pixel"

    def test_memory_of_small_files_that_claim_much(self, tmp_path: Path) -> None:
        """Nothing is taken for what a header says before there are pixels for it."""
        require_module("pydicom")
        from tests.images.dicom_files import deflated_bomb

        (tmp_path / "image").write_bytes(deflated_bomb(3))
        assert most_memory(tmp_path / "image") < budget(0, 0) + 3 * (256 << 20)

    def test_memory_and_time_of_the_largest_image(self, tmp_path: Path) -> None:
        """13,000 x 13,000 in 21 kB, which is allowed: what it costs at most."""
        side = 13_000
        (tmp_path / "image").write_bytes(png_of(side, side, 1, 0, (b"\0" + bytes(-(-side // 8))) * side))
        before = time.monotonic()
        used = most_memory(tmp_path / "image")
        assert used < budget(side * side, 0)
        assert time.monotonic() - before < 60


def budget(pixels: int, file_bytes: int) -> int:
    return 32 * pixels + 4 * file_bytes + (64 << 20)


def test_an_address_space_that_is_too_small_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_of(13_000, 13_000, 1, 0, (b"\0" + bytes(1625)) * 13_000))
    code = (
        "import resource, sys; from iuscore.images import decode, UnreadableImage; decode(b'P5 2 1 255 ab')\n"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (size + (100 << 20),) * 2)\n"
        "try: decode(sys.argv[1])\n"
        "except UnreadableImage as error: print(error)\n"
    )
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("no /proc")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.png")], capture_output=True, text=True)
    assert done.stdout.strip() == "not enough memory to decode it", done.stderr
