"""iuscore.images.formats.dicom.decode: files made with pydicom, as a viewer would first show them."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iuscore.images import UnreadableImage, decode, open_shards, read_item
from iuscore.images.formats import gdcm_process
from tests.images.dicom_files import dataset, saved, sequence
from tests.images.image_files import reason
from tests.images.sharded_sources import tar
from tests.project.tree import require_module

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True, scope="module")
def pydicom_installed() -> None:
    require_module("pydicom")
    require_module("gdcm")


def shown(pixels: np.ndarray, bits: int, **attributes: Any) -> list[int]:
    decoded = decode(saved(dataset(pixels, bits, **attributes)))
    assert decoded.pixels.dtype == (np.uint8 if bits <= 8 else np.uint16)
    assert decoded.pixels.flags.writeable
    return [int(value) for value in decoded.pixels.ravel()]


def test_all_bits_are_the_full_range() -> None:
    gray = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
    decoded = decode(saved(dataset(gray)))
    assert (decoded.width, decoded.height, decoded.warnings) == (7, 5, ())
    np.testing.assert_array_equal(decoded.pixels[..., 0], gray)
    deep = RNG.integers(0, 65536, (5, 7), dtype=np.uint16)
    np.testing.assert_array_equal(decode(saved(dataset(deep, 16))).pixels[..., 0], deep)
    assert shown(np.array([[0, 2048, 4095]], np.uint16), 12) == [0, 32776, 65535]
    assert shown(np.array([[0, 31, 63]], np.uint8), 6) == [0, 125, 255]
    assert shown(np.array([[-2048, 0, 2047]], np.int16), 12) == [0, 32776, 65535]
    # A slope without a window changes what values mean, not how bright they are; but for its sign.
    values = np.array([[0, 2048, 4095]], np.uint16)
    assert shown(values, 12, RescaleSlope=2, RescaleIntercept=-1024) == [0, 32776, 65535]
    assert shown(values, 12, RescaleSlope=-1, RescaleIntercept=0) == [65535, 32759, 0]


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("signed", [False, True])
def test_windows_are_those_of_pydicom(function: str, signed: bool) -> None:
    from pydicom.pixels import apply_rescale, apply_windowing

    values = RNG.integers(-2048 if signed else 0, 2048 if signed else 4096, (20, 30)).astype("i2" if signed else "u2")
    made = dataset(
        values,
        12,
        RescaleSlope=1.5,
        RescaleIntercept=-1024,
        WindowCenter=[40, 9999],
        WindowWidth=[400, 1],
        VOILUTFunction=function,
    )
    theirs = apply_windowing(apply_rescale(values, made), made)
    low, high = (1.5 * v - 1024 for v in ((-2048, 2047) if signed else (0, 4095)))
    expected = (theirs - low) / (high - low) * 65535
    decoded = decode(saved(made))
    assert decoded.warnings == ()
    assert len(np.unique(decoded.pixels)) > 10
    np.testing.assert_allclose(decoded.pixels[..., 0], expected, atol=0.501)


def test_edges_of_a_window() -> None:
    values = np.arange(6, dtype=np.uint8)[None]
    assert shown(values, 8, WindowCenter=3, WindowWidth=1) == [0, 0, 0, 255, 255, 255]
    assert shown(values, 8, WindowCenter=3, WindowWidth=3) == [0, 0, 64, 191, 255, 255]
    assert shown(values, 8, WindowCenter=128, WindowWidth=256) == [0, 1, 2, 3, 4, 5]
    for width, function in ((0, "LINEAR"), (0.5, "LINEAR"), (-1, "SIGMOID"), (0, "LINEAR_EXACT")):
        made = dataset(values, WindowCenter=3, WindowWidth=width, VOILUTFunction=function)
        decoded = decode(saved(made))
        assert decoded.warnings == ("window of no width ignored",)
        np.testing.assert_array_equal(decoded.pixels[..., 0], values)
    assert reason(saved(dataset(values, WindowCenter=3, WindowWidth=3, VOILUTFunction="CUBIC"))) == (
        "window of the unknown function CUBIC"
    )


def test_tables() -> None:
    values = np.arange(4, dtype=np.uint8)[None]
    table = np.array([0, 4000, 1000, 4095], np.uint16)
    content = table.tobytes()
    for name, bits in (("VOILUTSequence", 12), ("ModalityLUTSequence", 16)):
        made = dataset(values)
        setattr(made, name, sequence(LUTDescriptor=[4, 0, bits], LUTData=content, ModalityLUTType="US"))
        decoded = decode(saved(made))
        assert decoded.pixels.dtype == np.uint16
        np.testing.assert_array_equal(decoded.pixels.ravel(), np.rint(table / (2**bits - 1) * 65535))


def test_monochrome1_is_inverted() -> None:
    values = np.array([[0, 1, 4095]], np.uint16)
    decoded = decode(saved(dataset(values, 12, "MONOCHROME1")))
    assert decoded.pixels.ravel().tolist() == [65535, 65519, 0]
    assert decoded.warnings == ("inverted: white was zero",)
    assert shown(np.arange(3, dtype=np.uint8)[None], 8, kind="MONOCHROME1", WindowCenter=1, WindowWidth=1) == [
        255,
        0,
        0,
    ]


def test_many_frames_give_the_first() -> None:
    frames = RNG.integers(0, 256, (4, 6, 5), dtype=np.uint8)
    decoded = decode(saved(dataset(frames)))
    np.testing.assert_array_equal(decoded.pixels[..., 0], frames[0])
    assert decoded.warnings == ("first of 4 frames",)


def test_enhanced_files_keep_the_window_elsewhere() -> None:
    frames = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    shared = sequence(
        PixelValueTransformationSequence=sequence(RescaleSlope=1, RescaleIntercept=10),
        FrameVOILUTSequence=sequence(WindowCenter=99, WindowWidth=1),
    )
    own = sequence(FrameVOILUTSequence=sequence(WindowCenter=[13, 5], WindowWidth=[1, 5]))
    made = dataset(frames, SharedFunctionalGroupsSequence=shared, PerFrameFunctionalGroupsSequence=own)
    assert decode(saved(made)).pixels.ravel().tolist() == [0, 0, 0, 255, 255, 255]


def test_color() -> None:
    color = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    decoded = decode(saved(dataset(color, 8, "RGB")))
    assert decoded.warnings == ()
    np.testing.assert_array_equal(decoded.pixels, color)
    planes = dataset(np.ascontiguousarray(color.transpose(2, 0, 1)), 8, "RGB", PlanarConfiguration=1)
    planes.Rows, planes.Columns = color.shape[:2]
    np.testing.assert_array_equal(decode(saved(planes)).pixels, color)
    ycbcr = np.asarray(Image.fromarray(color).convert("YCbCr"))
    decoded = decode(saved(dataset(ycbcr, 8, "YBR_FULL")))
    assert np.abs(decoded.pixels.astype(int) - color).max() <= 3
    deep = RNG.integers(0, 65536, (6, 5, 3), dtype=np.uint16)
    np.testing.assert_array_equal(decode(saved(dataset(deep, 16, "RGB"))).pixels, deep)


def test_palette() -> None:
    palette = RNG.integers(0, 256, (3, 4), dtype=np.uint8)
    made = dataset(np.arange(4, dtype=np.uint8)[None], 8, "PALETTE COLOR")
    for name, values in zip(("Red", "Green", "Blue"), palette, strict=True):
        setattr(made, f"{name}PaletteColorLookupTableDescriptor", [4, 0, 8])
        setattr(made, f"{name}PaletteColorLookupTableData", values.tobytes())
    decoded = decode(saved(made))
    np.testing.assert_array_equal(decoded.pixels[0], palette.T)
    assert decoded.warnings == ("converted from palette",)


def test_floats() -> None:
    made = dataset(np.zeros((1, 2), np.uint8))
    for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(made, name)
    made.BitsAllocated = 32
    made.FloatPixelData = np.array([0.25, 1], np.float32).tobytes()
    decoded = decode(saved(made))
    assert decoded.pixels.dtype == np.float32
    assert decoded.pixels.ravel().tolist() == [0.25, 1]
    made.FloatPixelData = np.array([-1000, 400], np.float32).tobytes()
    assert reason(saved(made)).startswith("float values from -1000 to 400 lie outside [0, 1]")
    made.WindowCenter, made.WindowWidth, made.VOILUTFunction = -500, 1000, "LINEAR_EXACT"
    assert decode(saved(made)).pixels.ravel().tolist() == [0, 1]


def compressed(pixels: np.ndarray, syntax: str, codestream: bytes, **attributes: Any) -> bytes:
    from pydicom.encaps import encapsulate

    made = dataset(pixels, **attributes)
    made.file_meta.TransferSyntaxUID = syntax
    made.PixelData = encapsulate([codestream])
    made["PixelData"].VR = "OB"
    return saved(made)


def test_compressed() -> None:
    from pydicom.uid import HTJ2KLossless, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

    gray = np.add.outer(np.arange(40), np.arange(48)).astype(np.uint8) * 2
    image = Image.fromarray(gray)
    streams = {}
    for kind, options in (("JPEG", {"quality": 90}), ("JPEG2000", {"no_jp2": True, "irreversible": False})):
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        streams[kind] = stream.getvalue()
    lossy = decode(compressed(gray, JPEGBaseline8Bit, streams["JPEG"])).pixels[..., 0]
    assert np.abs(lossy.astype(int) - gray).max() < 20
    lossless = decode(compressed(gray, JPEG2000Lossless, streams["JPEG2000"])).pixels[..., 0]
    np.testing.assert_array_equal(lossless, gray)
    made = dataset(gray)
    made.compress(RLELossless, generate_instance_uid=False)
    np.testing.assert_array_equal(decode(saved(made)).pixels[..., 0], gray)
    assert reason(compressed(gray, HTJ2KLossless, b"xx")).startswith(
        "compressed as High-Throughput JPEG 2000 Image Compression (Lossless Only): that needs the extra"
    )
    assert reason(compressed(gray, "1.2.840.10008.1.2.4.100", b"xx")).endswith(", which is not supported")


def test_lossless_jpeg_by_gdcm(tmp_path: Path) -> None:
    import gdcm

    deep = RNG.integers(0, 4096, (30, 40), dtype=np.uint16)
    (tmp_path / "plain.dcm").write_bytes(saved(dataset(deep, 12)))
    reader = gdcm.ImageReader()
    reader.SetFileName(str(tmp_path / "plain.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(tmp_path / "small.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    plain, small = (decode(tmp_path / name).pixels for name in ("plain.dcm", "small.dcm"))
    assert (tmp_path / "small.dcm").read_bytes() != (tmp_path / "plain.dcm").read_bytes()
    np.testing.assert_array_equal(small, plain)


def test_gdcm_may_die(capfd: pytest.CaptureFixture[str]) -> None:
    from pydicom.uid import JPEGBaseline8Bit

    gray = np.add.outer(np.arange(40), np.arange(48)).astype(np.uint8) * 2
    stream = io.BytesIO()
    Image.fromarray(gray).save(stream, "JPEG")
    data = compressed(gray, JPEGBaseline8Bit, stream.getvalue())
    whole = decode(data).pixels
    start = data.index(stream.getvalue()[:20])
    reasons = set()
    for _ in range(100):
        changed = bytearray(data)
        for place in RNG.integers(start, len(data) - 8, 6):
            changed[place] = RNG.integers(256)
        try:
            decode(bytes(changed))
        except UnreadableImage as error:
            reasons.add(str(error))
        if "damaged: gdcm gave up on it" in reasons:
            break
    assert "damaged: gdcm gave up on it" in reasons
    np.testing.assert_array_equal(decode(data).pixels, whole)
    assert capfd.readouterr() == ("", "")


def test_an_answer_that_nobody_waited_for_is_not_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.uid import JPEGBaseline8Bit

    files = []
    for value in (9, 200):
        stream = io.BytesIO()
        Image.new("L", (8, 8), value).save(stream, "JPEG")
        files.append(compressed(np.zeros((8, 8), np.uint8), JPEGBaseline8Bit, stream.getvalue()))

    def interrupted(stream: object) -> tuple[bool, bytes]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(gdcm_process, "_receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            decode(files[0])
    assert decode(files[1]).pixels.max() == 200


def test_gdcm_is_not_shared_with_a_forked_process() -> None:
    from pydicom.uid import JPEGBaseline8Bit

    stream = io.BytesIO()
    Image.new("L", (8, 8), 9).save(stream, "JPEG")
    data = compressed(np.zeros((8, 8), np.uint8), JPEGBaseline8Bit, stream.getvalue())
    decode(data)
    running = gdcm_process._running
    child = os.fork()
    if child == 0:
        same = decode(data).pixels.max() == 9 and gdcm_process._running is not running
        gdcm_process._stop()
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert decode(data).pixels.max() == 9
    assert gdcm_process._running is running
    gdcm_process._stop()
    assert running is not None
    assert running.child.returncode == 0


def test_damage(capfd: pytest.CaptureFixture[str]) -> None:
    data = saved(dataset(RNG.integers(0, 256, (20, 20), dtype=np.uint8)))
    assert reason(data[:140]).startswith(("truncated: ", "damaged: ", "a DICOM file without an image"))
    for cut in range(133, len(data), 11):
        assert reason(data[:cut])
    for attempt in range(150):
        changed = bytearray(data)
        for place in RNG.integers(132, len(data) - 380 if attempt % 2 else len(data), 2):
            changed[place] = RNG.integers(256)
        with suppress(UnreadableImage):
            assert decode(bytes(changed), max_pixels=10**6).pixels.ndim == 3
    assert capfd.readouterr() == ("", "")
    made = dataset(np.zeros((2, 2), np.uint8), RescaleSlope=0, RescaleIntercept=0)
    assert reason(saved(made)) == "damaged: rescale slope 0, intercept 0"


def test_limits_and_files_without_an_image() -> None:
    made = dataset(np.zeros((200, 300), np.uint8))
    with pytest.raises(UnreadableImage, match=r"^too large: 300 x 200, more than 59999 pixels$") as caught:
        decode(saved(made), max_pixels=59_999)
    assert (caught.value.width, caught.value.height) == (300, 200)
    for name in ("PixelData", "Rows", "Columns"):
        delattr(made, name)
    assert reason(saved(made)) == "a DICOM file without an image (CT Image Storage)"


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(dataset(np.zeros((2, 2), np.uint8)))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pydicom", None)
        assert reason(data) == "DICOM needs the extra: pip install -c constraints.txt '.[dicom]'"
    assert decode(data).pixels.shape == (2, 2, 1)


def test_in_folders_and_archives(tmp_path: Path) -> None:
    data = saved(dataset(np.full((3, 3), 7, np.uint8)))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a.DCM").write_bytes(data)
    (tmp_path / "folder/b.dcm").write_text("no DICOM file")
    tar(tmp_path / "x.tar", {"a.dcm": data})
    for path, n in ((tmp_path / "folder", 2), (tmp_path / "x.tar", 1)):
        source = open_shards(path)
        (shard,) = source.shards(9)
        samples = [read_item(item) for item in source.items(shard)]
        assert [s.pixels is not None and int(s.pixels.max()) for s in samples] == [7, False][:n]
