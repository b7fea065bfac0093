"""Settings that other libraries make in Pillow, pydicom and warnings change nothing that is decoded here."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from PIL import GifImagePlugin, Image, ImageFile, PngImagePlugin, TiffImagePlugin

from iuscore.images import UnreadableImage, decode, from_pil

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "PPM", "WEBP", "JPEG2000")


def saved(kind: str, array: np.ndarray = NOISE, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)


@pytest.mark.parametrize("kind", FORMATS)
def test_half_a_file_is_no_image_whatever_pillow_is_set_to(kind: str, lenient: None) -> None:
    data = saved(kind)
    whole = Image.open(io.BytesIO(data)).convert("RGB")
    np.testing.assert_array_equal(decode(data).pixels, np.asarray(whole))
    for part in (0.3, 0.5, 0.8):
        with pytest.raises(UnreadableImage):
            decode(data[: int(part * len(data))])
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_a_wrong_checksum_is_no_image_whatever_pillow_is_set_to(lenient: None) -> None:
    data = bytearray(saved("PNG"))
    data[data.index(b"IDAT") + 40] ^= 1
    with pytest.raises(UnreadableImage, match="damaged"):
        decode(bytes(data))


def test_an_image_that_the_caller_opened(lenient: None) -> None:
    data = saved("JPEG")
    with pytest.raises(UnreadableImage, match="truncated"):
        from_pil(Image.open(io.BytesIO(data[: len(data) // 2])))
    assert ImageFile.LOAD_TRUNCATED_IMAGES
    assert from_pil(Image.open(io.BytesIO(data))).pixels.shape == (64, 64, 3)


def test_settings_changed_in_the_middle_by_another_thread() -> None:
    data = saved("PNG")
    half = data[: len(data) // 2]
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            ImageFile.LOAD_TRUNCATED_IMAGES = not ImageFile.LOAD_TRUNCATED_IMAGES

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(200):
            with pytest.raises(UnreadableImage):
                decode(half)
    finally:
        stop.set()
        thread.join()
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def test_other_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {kind: saved(kind) for kind in FORMATS}
    files["large text"] = saved("PNG", icc_profile=bytes(5000))
    files["palette"] = saved("GIF", NOISE[..., 0])
    expected = {name: decode(data) for name, data in files.items()}

    def refuse(*arguments: object) -> None:
        raise SyntaxError("not here")

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    monkeypatch.setattr(ImageFile, "MAXBLOCK", 7)
    monkeypatch.setattr(ImageFile, "SAFEBLOCK", 7)
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 10)
    monkeypatch.setattr(TiffImagePlugin, "READ_LIBTIFF", True)
    monkeypatch.setattr(GifImagePlugin, "LOADING_STRATEGY", GifImagePlugin.LoadingStrategy.RGB_ALWAYS)
    monkeypatch.setattr(Image, "OPEN", dict.fromkeys((*FORMATS, "MPO"), (refuse, None)))
    monkeypatch.setattr(Image, "DECODERS", dict.fromkeys(("zip", "jpeg", "raw", "gif", "ppm"), refuse))
    for name, data in files.items():
        found = decode(data)
        np.testing.assert_array_equal(found.pixels, expected[name].pixels)
        assert found[1:] == expected[name][1:]


def test_warnings_that_are_errors() -> None:
    exif = Image.Exif()
    exif[274] = 6
    exif[270] = "a description"
    stream = io.BytesIO()
    Image.fromarray(NOISE).quantize(8).save(stream, "PNG", transparency=b"\0\xff")
    files = [saved("JPEG", exif=exif.tobytes()[:-2]), stream.getvalue()]
    expected = [decode(data) for data in files]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        Image.open(io.BytesIO(files[0])).getexif().get(270)
    assert seen, "this file no longer makes Pillow warn"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for data, before in zip(files, expected, strict=True):
            found = decode(data)
            np.testing.assert_array_equal(found.pixels, before.pixels)
            assert found.warnings == before.warnings


def test_the_pillow_of_other_libraries_is_left_alone() -> None:
    code = (
        "import io, sys, numpy as np; from iuscore.images import decode\n"
        "decode(b'P5 2 1 255 ' + bytes([0, 200]))\n"
        "assert 'PIL.Image' not in sys.modules, 'imported for all'\n"
        "from PIL import Image, ImageFile\n"
        "assert Image.MAX_IMAGE_PIXELS == 89478485 and not ImageFile.LOAD_TRUNCATED_IMAGES\n"
        "stream = io.BytesIO(); Image.new('L', (3, 2)).save(stream, 'PNG')\n"
        "assert type(Image.open(stream)).__module__ == 'PIL.PngImagePlugin'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
