"""DICOM files that are deflated, endless or nested: pixels where there are some, a reason in bounded time otherwise."""

from __future__ import annotations

import io
import re
import signal
import struct
import time

import numpy as np
import pytest
from PIL import Image

from iuscore.images import UnreadableImage, decode
from iuscore.images.formats import gdcm_process
from tests.images import image_files
from tests.images.dicom_files import dataset, deflated_bomb, saved
from tests.project.tree import require_module

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (9, 11), dtype=np.uint8)
SECONDS = 10.0


@pytest.fixture(autouse=True, scope="module")
def pydicom_installed() -> None:
    require_module("pydicom")
    require_module("gdcm")


def reason(data: bytes) -> str:
    before = time.process_time()
    said = image_files.reason(data)
    assert time.process_time() - before < SECONDS
    return said


def deflated(made: object) -> bytes:
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian  # type: ignore[attr-defined]
    return saved(made)


class TestDeflated:
    def test_the_pixels_are_those_of_the_plain_file(self) -> None:
        deep = RNG.integers(0, 4096, (9, 11), dtype=np.uint16)
        for pixels, bits, more in ((GRAY, 8, {}), (deep, 12, {"WindowCenter": 900, "WindowWidth": 700})):
            plain = decode(saved(dataset(pixels, bits, **more)))
            small = decode(deflated(dataset(pixels, bits, **more)))
            np.testing.assert_array_equal(small.pixels, plain.pixels)
            assert small[1:] == plain[1:]

    def test_many_frames(self) -> None:
        frames = RNG.integers(0, 256, (5, 6, 7), dtype=np.uint8)
        decoded = decode(deflated(dataset(frames)))
        np.testing.assert_array_equal(decoded.pixels[..., 0], frames[0])
        assert decoded.warnings == ("first of 5 frames",)

    def test_a_bomb_is_refused(self) -> None:
        data = deflated_bomb(3)
        assert len(data) < 4_000_000
        assert reason(data) == "a deflated DICOM file of more than 256 MiB: save it without deflate"

    def test_damage(self) -> None:
        data = deflated(dataset(RNG.integers(0, 256, (40, 40), dtype=np.uint8)))
        for cut in range(133, len(data), 17):
            assert reason(data[:cut])
        for _ in range(100):
            changed = bytearray(data)
            for place in RNG.integers(132, len(data), 2):
                changed[place] = RNG.integers(256)
            try:
                assert decode(bytes(changed), max_pixels=10**6).pixels.ndim == 3
            except UnreadableImage as error:
                assert "\n" not in str(error)  # noqa: PT017


def sequences(depth: int) -> bytes:
    """``depth`` sequences of undefined length, each in the one before."""
    begin = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    end = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return begin * depth + end * depth


def with_elements(elements: bytes) -> bytes:
    """A sound file with ``elements`` before those of its image."""
    data = saved(dataset(GRAY))
    at = data.index(struct.pack("<HH2s", 0x0028, 0x0002, b"US"))
    return data[:at] + elements + data[at:]


class TestElements:
    def test_nested_sequences(self) -> None:
        np.testing.assert_array_equal(decode(with_elements(sequences(50))).pixels[..., 0], GRAY)
        for depth in (5000, 100_000):
            assert reason(with_elements(sequences(depth))) == "damaged: sequences are nested too deeply"

    def test_what_is_not_asked_for_is_passed_over(self) -> None:
        long = struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 20_000_000) + bytes(20_000_000)
        many = b"".join(struct.pack("<HH2sH", 0x0009, number, b"US", 2) + b"\1\0" for number in range(0x1002, 0xFFFF))
        for elements in (long, many):
            np.testing.assert_array_equal(decode(with_elements(elements)).pixels[..., 0], GRAY)

    def test_sizes_that_are_not_there(self) -> None:
        made = dataset(GRAY, NumberOfFrames=10**9)
        decoded = decode(saved(made))
        np.testing.assert_array_equal(decoded.pixels[..., 0], GRAY)
        assert decoded.warnings == ("first of 1000000000 frames",)
        made = dataset(GRAY)
        made.Rows, made.Columns = 2700, 65535
        assert reason(saved(made)).startswith(("damaged", "truncated"))

    def test_a_file_without_pixels(self) -> None:
        made = dataset(GRAY)
        del made.PixelData
        assert reason(saved(made)) == "a DICOM file without pixels"


def jpeg_file(scans: int) -> bytes:
    from pydicom.encaps import encapsulate

    stream = io.BytesIO()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(stream, "JPEG", progressive=scans > 1)
    content = stream.getvalue()
    last = content.rindex(b"\xff\xda")
    made = dataset(np.zeros((64, 64), np.uint8))
    made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50"
    made.PixelData = encapsulate([content[:last] + content[last:-2] * scans + b"\xff\xd9"])
    made["PixelData"].VR = "OB"
    return saved(made)


class TestCompressed:
    def test_thousands_of_scans(self) -> None:
        assert reason(jpeg_file(5000)) == "a JPEG of more than 100 scans, which would take very long"
        assert decode(jpeg_file(1)).pixels.shape == (64, 64, 1)

    def test_a_file_that_takes_too_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        data = jpeg_file(1)
        decode(data)
        running = gdcm_process._running
        assert running is not None
        with monkeypatch.context() as patch:
            patch.setattr(gdcm_process, "MAX_SECONDS", 0.2)
            running.child.send_signal(signal.SIGSTOP)
            assert reason(data) == "damaged: decoding took more than 0.2 s"
        assert running.child.returncode is not None
        assert decode(data).pixels.shape == (64, 64, 1)

    def test_the_process_has_a_limit_of_memory(self) -> None:
        decode(jpeg_file(1))
        running = gdcm_process._running
        assert running is not None
        try:
            with open(f"/proc/{running.child.pid}/limits") as file:
                limits = file.read()
        except OSError:
            pytest.skip("no /proc to tell the limits of a process")
        assert re.search(rf"Max address space\s+{8 << 30}\s", limits)
