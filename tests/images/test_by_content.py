"""Files without an extension, and kinds that are not looked for by name, where the user asks for them."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iuscore.errors import UserError
from iuscore.images import UnreadableImage, decode, open_shards, open_source, read_item
from iuscore.images.formats import gdcm_process
from iuscore.images.listing import begins_as_image
from tests.project.tree import require_module

GRAY = np.add.outer(np.arange(12) * 9, np.arange(16) * 5).astype(np.uint8)


def saved(kind: str, array: np.ndarray = GRAY, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


def contents() -> dict[str, bytes]:
    return {
        "a/IM0001": saved("PNG"),
        "a/scan.jp2": saved("JPEG2000"),
        "b/2.j2k": saved("JPEG2000", no_jp2=True),
        "b/3.dat": saved("TIFF"),
        "b/4": saved("GIF"),
        "b/5": saved("WEBP"),
        "b/6": saved("BMP"),
        "b/7": saved("JPEG"),
        "b/8": saved("PPM"),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    others = {"a/notes.txt": b"BMW P5 not an image", "b/table.csv": b"P50,1\n", "b/empty": b"", "b/zip": b"PK\3\4" * 40}
    for name, content in {**contents(), **others, "a/.hidden": saved("PNG"), "b/9.png": b"damaged"}.items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(content)
    os.mkfifo(tmp_path / "set/b/pipe")
    return tmp_path / "set"


def listed(path: Path, **options: bool) -> list[str]:
    source = open_shards(path, **options)
    streamed = [item.uid for shard in source.shards(100) for item in source.items(shard)]
    assert streamed == [item.uid for item in open_source(path, **options).items]
    return streamed


def test_content_is_looked_at_only_where_asked(folder: Path) -> None:
    assert listed(folder) == ["b/9.png"]
    assert listed(folder, by_content=True) == sorted([*contents(), "b/9.png"])
    source = open_source(folder, by_content=True, labels_from="folder")
    assert source.classes == ("a", "b")
    assert source.ignored == 5
    errors = {sample.uid for sample in source if sample.error}
    assert errors == {"b/9.png"}


def test_one_file(folder: Path) -> None:
    for opened in (open_source, open_shards):
        with pytest.raises(UserError, match="IM0001 is no image file"):
            opened(folder / "a/IM0001")
        with pytest.raises(UserError, match=r"notes\.txt is no image file"):
            opened(folder / "a/notes.txt", by_content=True)
    assert listed(folder / "a/IM0001", by_content=True) == ["IM0001"]


def test_nothing_found(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    text = r"looked for files that begin as images; found 1 other file such as notes\.txt"
    with pytest.raises(UserError, match=text):
        open_source(tmp_path, by_content=True)
    with pytest.raises(UserError, match=text):
        list(open_shards(tmp_path, by_content=True).shards(9))


def test_archives_are_told_by_their_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", test_images=GRAY[None])
    for opened in (open_source, open_shards):
        with pytest.raises(UserError, match="by_content: expected a folder"):
            opened(tmp_path / "a.npz", by_content=True)


def test_dicom_without_an_extension(tmp_path: Path) -> None:
    require_module("pydicom")
    from tests.images.dicom_files import dataset
    from tests.images.dicom_files import saved as saved_dicom

    (tmp_path / "IM0001").write_bytes(saved_dicom(dataset(GRAY)))
    source = open_shards(tmp_path, by_content=True)
    (item,) = (item for shard in source.shards(9) for item in source.items(shard))
    np.testing.assert_array_equal(read_item(item).pixels[..., 0], GRAY)  # type: ignore[index]


def test_all_that_is_decoded_is_found() -> None:
    for kind in ("PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP", "PPM", "JPEG2000"):
        assert begins_as_image(saved(kind)[:132])
    for text in (b"", b"P", b"P5", b"Pa", b"BM", b"BMW is a car, not a picture", b"RIFF1234WAVE", b"II", b"\0" * 132):
        assert not begins_as_image(text)


class TestJPEG2000:
    @pytest.mark.parametrize("no_jp2", [False, True])
    def test_lossless_files_give_the_pixels_back(self, no_jp2: bool) -> None:
        color = np.stack([GRAY, GRAY[::-1], GRAY[:, ::-1]], axis=2)
        for array in (GRAY, color):
            decoded = decode(saved("JPEG2000", array, irreversible=False, no_jp2=no_jp2))
            np.testing.assert_array_equal(decoded.pixels, array.reshape(12, 16, -1))
            assert decoded.warnings == ()

    def test_sixteen_bits(self) -> None:
        deep = np.linspace(0, 65535, 192).round().astype(np.uint16).reshape(12, 16)
        decoded = decode(saved("JPEG2000", deep, irreversible=False))
        np.testing.assert_array_equal(decoded.pixels[..., 0], deep)
        decoded = decode(saved("JPEG2000", deep >> 4, irreversible=False))
        assert decoded.warnings == ("values use 1/16 of 16 bits (--bits 12?)",)
        said = decode(saved("JPEG2000", deep >> 4, irreversible=False), bits=12)
        np.testing.assert_array_equal(said.pixels[..., 0], np.rint((deep >> 4) / 4095 * 65535))

    def test_twelve_bits(self) -> None:
        """A lossless file of 16 bits differs from one of 12 in the depth that it says and in its middle value."""
        values = np.linspace(0, 4095, 192).round().astype(np.uint16).reshape(12, 16)
        data = bytearray(saved("JPEG2000", values + np.uint16(2**15 - 2**11), irreversible=False, no_jp2=True))
        data[42] = 12 - 1
        for bits in (None, 12, 14, 16):
            decoded = decode(bytes(data), bits=bits)
            np.testing.assert_array_equal(decoded.pixels[..., 0], np.rint(values / 4095 * 65535))
            assert decoded.warnings == ()

    def test_a_file_that_takes_too_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        data = saved("JPEG2000")
        decode(data)
        running = gdcm_process._running
        assert running is not None
        with monkeypatch.context() as patch:
            patch.setattr(gdcm_process, "MAX_SECONDS", 0.2)
            running.child.send_signal(signal.SIGSTOP)
            with pytest.raises(UnreadableImage, match=r"^damaged: decoding took more than 0\.2 s$") as caught:
                decode(data)
        assert (caught.value.width, caught.value.height) == (16, 12)
        assert decode(data).pixels.shape == (12, 16, 1)

    def test_alpha(self) -> None:
        veiled = np.dstack([GRAY, GRAY, GRAY, GRAY])
        decoded = decode(saved("JPEG2000", veiled, irreversible=False))
        np.testing.assert_array_equal(decoded.pixels, veiled[..., :3])
        assert decoded.warnings == ("alpha dropped",)

    def test_damage_gives_a_reason(self) -> None:
        data = saved("JPEG2000")
        for cut in range(1, 80):
            with pytest.raises(UnreadableImage):
                decode(data[:cut])
