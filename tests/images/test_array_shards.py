"""NpzShards and NpyShards: stacks of images in one file."""

from __future__ import annotations

import io
import os
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iuscore.errors import UserError
from iuscore.images import open_shards, open_source, read_item
from iuscore.images.sources import forward
from iuscore.images.sources.arrays import _Images
from tests.images.sharded_sources import npz, uids
from tests.images.test_shards import fails
from tests.images.test_tar_shards import errors, labels

IMAGES = np.arange(40, dtype=np.uint8).reshape(5, 2, 4)


def savez(path: Path, compressed: bool = True, **arrays: Any) -> Path:
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


@pytest.mark.parametrize("compressed", [True, False])
def test_npz_is_what_the_source_for_fitting_reads(tmp_path: Path, compressed: bool) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "train_images": rng.random((5, 3, 4)),
        "train_labels": np.array([[1], [0], [2], [1], [0]]),
        "val_images": rng.integers(0, 65536, (3, 6, 5)).astype(">u2"),
        "val_labels": np.array([1, 2, 0]),
        "test_images": rng.integers(0, 256, (4, 5, 5, 3), dtype=np.uint8),
        "test_labels": np.zeros((4, 1), int),
    }
    arrays["train_images"][2, 0, 0] = 7
    path = savez(tmp_path / "m.npz", compressed, **arrays)
    sharded, listed = open_shards(path, labeled=True), open_source(path, labels_from="auto")
    found = [read_item(item) for shard in sharded.shards(2) for item in sharded.items(shard)]
    for mine, theirs in zip(found, listed, strict=True):
        assert (mine.uid, mine.label, mine.error, mine.warnings) == (
            theirs.uid,
            theirs.label,
            theirs.error,
            theirs.warnings,
        )
        if theirs.pixels is not None:
            assert mine.pixels is not None
            assert mine.pixels.dtype == theirs.pixels.dtype
            np.testing.assert_array_equal(mine.pixels, theirs.pixels)
            assert mine.pixels.flags.writeable
    assert [label for _, label in labels(open_shards(path, labeled=True, split="val"))] == ["1", "2", "0"]


def test_one_pass_for_ascending_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    before = _Images.__init__

    def counted(self: _Images, path: Path, key: str) -> None:
        opened.append(key)
        before(self, path, key)

    monkeypatch.setattr(_Images, "__init__", counted)
    monkeypatch.setattr(forward, "_kept", None)
    source = open_shards(npz(tmp_path), split="train")
    shards = list(source.shards(2))
    for i in (0, 1, 3, 5):
        assert len(list(source.items(shards[i]))) == shards[i].n
    assert opened == ["train_images"]
    list(source.items(shards[2]))
    assert opened == ["train_images"] * 2
    # Two at a time do not disturb each other.
    both = zip(source.items(shards[3]), source.items(shards[4]), strict=True)
    assert [(a.uid[-2:], b.uid[-2:]) for a, b in both] == [("06", "08"), ("07", "09")]
    # A changed file is opened anew.
    os.utime(source.path, (5, 5))
    n = len(opened)
    list(source.items(shards[5]))
    assert len(opened) == n + 1


def test_a_forked_process_opens_its_own(tmp_path: Path) -> None:
    source = open_shards(npz(tmp_path), split="train")
    shards = list(source.shards(4))
    expected = [[item.uid for item in source.items(shard)] for shard in shards]
    list(source.items(shards[0]))
    kept = forward._kept
    assert kept is not None
    assert forward._take(0 if kept[2].position == 0 else 99, ("another",)) is None
    child = os.fork()
    if child == 0:
        fresh = forward._take(99, kept[1]) is None
        same = [[item.uid for item in source.items(shard)] for shard in shards] == expected
        os._exit(0 if fresh and same else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"x": IMAGES}, "ROOT has no train_images: it has x"),
        ({"train_images": IMAGES}, "ROOT has no train_labels: it has train_images"),
        (
            {"train_images": IMAGES, "train_labels": np.zeros((5, 14), int)},
            "train_labels of ROOT has 14 labels per image: only one per image is supported",
        ),
        (
            {"train_images": np.zeros((2, 4, 4, 4), np.uint8), "train_labels": np.zeros(2, int)},
            "train_images of ROOT: expected [N, H, W] or [N, H, W, 3], got [2, 4, 4, 4]; 3-D volumes are not supported",
        ),
        (
            {"train_images": np.asfortranarray(IMAGES), "train_labels": np.zeros(5, int)},
            "train_images of ROOT is stored by columns: save np.ascontiguousarray of it",
        ),
    ],
)
def test_npz_of_other_shapes_and_types_are_refused(tmp_path: Path, arrays: dict[str, Any], expected: str) -> None:
    assert fails(savez(tmp_path / "m.npz", **arrays), labeled=True) == expected


def test_npz_parts_and_limits(tmp_path: Path) -> None:
    path = npz(tmp_path)
    assert fails(path, split="dev") == "split: expected train, val or test, got 'dev'"
    assert fails(path, max_pixels=5) == "ROOT: images of 3 x 2, more than 5 pixels"
    assert fails(savez(tmp_path / "e.npz", val_images=IMAGES[:0])) == "no images in ROOT"


def test_damaged_npz(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = savez(tmp_path / "m.npz", train_images=rng.integers(0, 256, (50, 30, 30), dtype=np.uint8))
    whole = path.read_bytes()
    for content in (b"", b"PK\x03\x04", b"text", whole[: len(whole) // 2]):
        path.write_bytes(content)
        assert fails(path).startswith("ROOT: damaged")
    damaged = bytearray(whole)
    damaged[20_000:20_050] = bytes(50)
    path.write_bytes(damaged)
    found = list(errors(open_shards(path), 10).values())
    assert len(found) == 50
    assert any(error is not None and error.startswith("damaged: ") for error in found)
    assert found == list(errors(open_shards(path), 7).values())
    source = open_shards(path)
    shards = list(source.shards(10))
    path.unlink()
    assert {read_item(item).error for item in source.items(shards[1])} == {
        "cannot be opened: No such file or directory"
    }


def test_npz_objects_are_not_unpickled(tmp_path: Path) -> None:
    path = savez(tmp_path / "m.npz", train_images=np.array([{}], dtype=object))
    assert fails(path).startswith("train_images of ROOT: expected [N, H, W]")
    path = savez(path, train_images=IMAGES, train_labels=np.array([{}] * 5, dtype=object))
    assert fails(path, labeled=True).startswith("ROOT: damaged: train_labels: ")


@pytest.mark.parametrize("shape", [(5, 2, 4), (5, 2, 4, 1), (5, 2, 4, 3)])
@pytest.mark.parametrize("kind", ["uint8", "uint16", ">u2", "float16", "float64"])
def test_npy(tmp_path: Path, shape: tuple[int, ...], kind: str) -> None:
    images = (np.arange(np.prod(shape)) / (1 if "u" in kind else 200)).reshape(shape).astype(kind)
    np.save(tmp_path / "x.npy", images)
    source = open_shards(tmp_path / "x.npy")
    samples = [read_item(item) for shard in source.shards(2) for item in source.items(shard)]
    assert [s.uid for s in samples] == [f"x.npy/{i:09d}" for i in range(5)]
    for sample, image in zip(samples, images, strict=True):
        assert sample.pixels is not None
        assert sample.pixels.dtype == np.dtype("float32" if "f" in kind else kind.replace(">u2", "uint16"))
        np.testing.assert_array_equal(sample.pixels, image.reshape(2, 4, -1).astype(sample.pixels.dtype))


def test_npy_of_other_shapes_and_types_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"

    def refused(array: np.ndarray, **options: Any) -> str:
        np.save(path, array)
        return fails(path, **options)

    assert refused(np.zeros((8, 9, 3), np.uint8)) == (
        "ROOT: [8, 9, 3] looks like one image: save a stack of them, [N, H, W] or [N, H, W, 3]"
    )
    assert refused(np.zeros((8, 9))).startswith("x.npy of ROOT: expected [N, H, W] or [N, H, W, 3], got [8, 9]")
    assert refused(np.zeros((2, 8, 9), int)).startswith("x.npy of ROOT: expected uint8, uint16 or floats in [0, 1]")
    assert refused(np.asfortranarray(IMAGES)) == "x.npy of ROOT is stored by columns: save np.ascontiguousarray of it"
    assert refused(IMAGES, labeled=True) == (
        "ROOT has no classes: save an integer for each image as x_labels.npy beside it, or use an .npz with labels"
    )
    assert refused(IMAGES[:0]) == "no images in ROOT"
    path.write_bytes(b"no array")
    assert fails(path).startswith("ROOT: damaged: x.npy: ")


def test_npy_that_is_cut_short(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGES)
    np.save(tmp_path / "y.npy", IMAGES[:1])
    source = open_shards(tmp_path)
    shards = list(source.shards(9))
    data = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(data[:-13])
    assert [read_item(item).error for item in source.items(shards[0])] == [
        *[None] * 3,
        *["damaged: the array ends before its last image"] * 2,
    ]
    assert errors(open_shards(tmp_path), 2) == {
        **{f"x.npy/{i:09d}": None for i in range(3)},
        "x.npy/#damaged": "cut off: 3 of 5 images of x.npy are there",
        "y.npy/000000000": None,
    }


def test_signatures(tmp_path: Path) -> None:
    def signature(path: Path) -> str:
        (shard,) = open_shards(path).shards(9)
        return shard.signature

    first = signature(savez(tmp_path / "m.npz", train_images=IMAGES))
    os.utime(tmp_path / "m.npz", (5, 5))
    assert signature(tmp_path / "m.npz") == first  # the checksum in the archive counts, not its date
    assert signature(savez(tmp_path / "m.npz", train_images=IMAGES + 1)) != first
    np.save(tmp_path / "x.npy", IMAGES)
    os.utime(tmp_path / "x.npy", (5, 5))
    first = signature(tmp_path / "x.npy")
    os.utime(tmp_path / "x.npy", (5, 6))
    assert signature(tmp_path / "x.npy") != first


def test_patterns(tmp_path: Path) -> None:
    for i in range(3):
        np.save(tmp_path / f"x-{i}.npy", IMAGES[:1])
    assert uids(open_shards(tmp_path / "x-{1..2}.npy")) == ["x-1.npy/000000000", "x-2.npy/000000000"]
    assert zipfile.is_zipfile(npz(tmp_path))


def array_file(shape: tuple[int, ...], kind: str = "|u1", content: bytes = b"") -> bytes:
    """A .npy file whose header claims ``shape``, with ``content`` after it."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": kind, "fortran_order": False, "shape": shape})
    return stream.getvalue() + content


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize("claimed", [2 * 10**9, 10**15])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_header_that_claims_more_images_than_there_are(tmp_path: Path, claimed: int, method: int) -> None:
    image = bytes(range(28)) * 28
    labels_ = array_file((claimed, 1), "<i8", bytes(8))
    path = archive(
        tmp_path / "m.npz",
        {"train_images": array_file((claimed, 28, 28), content=image), "train_labels": labels_},
        method,
    )
    tracemalloc.start()
    try:
        for labeled in (False, True):
            source = open_shards(path, labeled=labeled)
            found = errors(source, 512)
            assert found["train/000000"] is None
            assert found["m.npz/#damaged"] == f"cut off: 1 of {claimed} images of train_images are there"
            assert len(found) == 2
        with pytest.raises(UserError, match=f"m.npz: cut off: 1 of {claimed} images of train_images are there: "):
            open_source(path, labels_from="auto")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5e6


def test_a_directory_that_claims_more_than_the_archive_can_hold(tmp_path: Path) -> None:
    image = np.random.default_rng(0).bytes(784)
    path = archive(tmp_path / "m.npz", {"train_images": array_file((2 * 10**6, 28, 28), content=image)})
    data = path.read_bytes()
    at = data.index(b"PK\x01\x02") + 24
    size = struct.pack("<I", 128 + 784)
    assert data[at : at + 4] == size
    path.write_bytes(data[:at] + struct.pack("<I", 128 + 784 * 2 * 10**6) + data[at + 4 :])
    found = errors(open_shards(path))
    assert 2 <= len(found) <= 4
    assert found["train/000000"] is None


@pytest.mark.parametrize(("method", "name"), [(zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "lzma")])
@pytest.mark.parametrize("member", ["train_images", "train_labels"])
def test_members_that_unpack_without_a_bound_are_refused(tmp_path: Path, method: int, name: str, member: str) -> None:
    members = {
        "train_images": array_file((5, 2, 4), content=bytes(40)),
        "train_labels": array_file((5,), content=bytes(5)),
    }
    path = archive(tmp_path / "m.npz", {key: content for key, content in members.items() if key != member})
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(f"{member}.npy", members[member], method)
    said = f"ROOT: {member}.npy is compressed by {name}: save it with np.savez_compressed, which uses deflate"
    assert fails(path, labeled=True) == said
    with pytest.raises(UserError) as caught:
        open_source(path, labels_from="auto")
    assert str(caught.value).replace(str(path), "ROOT") == said
    if member == "train_labels":
        assert list(errors(open_shards(path)).values()) == [None] * 5


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (array_file((-28, -28, -28)), "an array of shape [-28, -28, -28]"),
        (b"\x93NUMPY\x02\0" + struct.pack("<I", 4 * 10**9) + b" " * 10**6, "EOF: reading array header, expected "),
        (b"\x93NUMPY\x03\0" + struct.pack("<I", 10), "an array of version 3.0"),
        (b"\x93NUMPY\x01\0" + struct.pack("<H", 9000) + b"(" * 9000, ""),
    ],
)
def test_damaged_headers_of_arrays_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = archive(tmp_path / "m.npz", {"train_images": content}, zipfile.ZIP_DEFLATED)
    assert fails(path).startswith(f"ROOT: damaged: train_images: {reason}")
    (tmp_path / "x.npy").write_bytes(content)
    assert fails(tmp_path / "x.npy").startswith(f"ROOT: damaged: x.npy: {reason}")
    with pytest.raises(UserError, match=r"m\.npz: damaged: "):
        open_source(path)


def test_labels_that_are_no_integers_are_refused(tmp_path: Path) -> None:
    for kind, said in (("<f8", "expected integers from 0, got float64"), ("|S0", ""), ("<i8", "expected [5, 1], one")):
        count = 4 if kind == "<i8" else 5
        members = {"train_images": array_file((5, 2, 4), content=bytes(40))}
        members["train_labels"] = array_file((count,), kind, bytes(40))
        assert said in fails(archive(tmp_path / "m.npz", members), labeled=True)


def test_very_many_images_in_very_few_bytes(tmp_path: Path) -> None:
    """A hundred million rows came from 97 kB."""
    n = 10**8
    path = tmp_path / "a.npz"
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (n, 1, 1)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("train_images.npy", "w", force_zip64=True) as member:
            member.write(head.getvalue())
            for _ in range(100):
                member.write(bytes(n // 100))
        labels = io.BytesIO()
        np.save(labels, np.zeros(3, np.uint8))
        archive.writestr("train_labels.npy", labels.getvalue())
    size = path.stat().st_size
    assert size < 100_000
    before = time.process_time()
    refusals: list[Callable[[], object]] = [
        lambda: next(open_shards(path).shards(100)),
        lambda: next(open_shards(path, labeled=True).shards(100)),
        lambda: open_source(path),
        lambda: open_source(path, split="train"),
    ]
    for refused in refusals:
        with pytest.raises(UserError, match=r"train_images.npy has 100000000 images in \d+ bytes, expected at most"):
            refused()
    assert time.process_time() - before < 2


def test_many_images_of_a_few_pixels_are_read(tmp_path: Path) -> None:
    images = np.zeros((60_000, 2, 2), np.uint8)
    np.savez_compressed(tmp_path / "a.npz", train_images=images)
    assert sum(shard.n for shard in open_shards(tmp_path / "a.npz").shards(1000)) == 60_000
