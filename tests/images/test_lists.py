"""Every format as a list: names and classes are in memory, pixels are read when they are asked for."""

from __future__ import annotations

import sys
import tracemalloc
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iuscore.fit import open_splits
from iuscore.images import Stored, decode, fingerprint, open_shards, open_source, read_item
from iuscore.images.sample import StoredBytes
from iuscore.images.sources.archive import ArchiveShards
from iuscore.images.sources.base import READERS, Listed, Reader
from tests.images.same_images import CLASSES, FORMATS, Phantom, draw
from tests.images.sharded_sources import pgm, tar


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Phantom]:
    return draw(tmp_path_factory.mktemp("drawn"))


@pytest.mark.parametrize("name", FORMATS)
def test_images_in_any_order(drawn: list[Phantom], tmp_path: Path, name: str) -> None:
    source = open_source(FORMATS[name](tmp_path, drawn), labels_from="auto", classes=CLASSES)
    expected = [decode(image.content).pixels for image in drawn]
    order = np.random.default_rng(0).permutation(len(drawn))
    for i in (*order[:8], *order[:8]):
        np.testing.assert_array_equal(source.read(int(i)).pixels, expected[int(i)])
    assert [item.label for item in source.items] == [image.label for image in drawn]
    assert fingerprint(source) == fingerprint(source.subset(order))


@pytest.mark.parametrize("name", ["tar", "parquet", "npz", "npy"])
def test_pixels_are_not_in_memory(drawn: list[Phantom], tmp_path: Path, name: str) -> None:
    side = 400
    noise = np.random.default_rng(0).integers(0, 256, (60, side, side), dtype=np.uint8)
    large = [
        Phantom(f"a/{i:02d}.pgm", CLASSES[i % 2], "", b"P5 400 400 255 " + image.tobytes())
        for i, image in enumerate(noise)
    ]
    if name == "tar":
        pairs = [((f"{i:02d}.pgm", image.content), (f"{i:02d}.cls", image.label.encode()))
                 for i, image in enumerate(large)]  # fmt: skip
        real = tar(tmp_path / "x.tar", [member for pair in pairs for member in pair])
    else:
        real = FORMATS[name](tmp_path, large)
    tracemalloc.start()
    try:
        source = open_source(real, labels_from="auto")
        listed = tracemalloc.get_traced_memory()[1]
        assert sum(sample.pixels is not None for sample in source) == 60
        read = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert listed < noise.nbytes / 4
    assert read < noise.nbytes / 4


class HexShards(ArchiveShards):
    """A toy format: a line of text for each image, its class and the bytes of an image file in hexadecimal."""

    format = "hex"
    suffix = ".hex"

    def _parts(self, path: Path, name: str, size: int) -> Iterator[tuple[list[Listed], dict[str, Any]]]:
        lines = path.read_text().splitlines()
        for start in range(0, len(lines), size):
            rows = list(enumerate(lines))[start : start + size]
            images = [
                Listed(f"{name}/{i}", line.split()[0] if self.labeled else None, len(line), 0) for i, line in rows
            ]
            yield images, {"rows": [i for i, _ in rows]}

    def _uids(self, where: dict[str, Any]) -> Iterator[str]:
        return (f"{where['uid']}/{i}" for i in where["rows"])

    def _one(self, where: dict[str, Any], i: int) -> dict[str, Any]:
        return {"rows": [where["rows"][i]]}

    def _stored(self, path: Path, where: dict[str, Any]) -> Iterator[Stored]:
        lines = path.read_text().splitlines()
        return (StoredBytes(bytes.fromhex(lines[i].split()[1])) for i in where["rows"])


def test_a_format_of_ones_own_is_one_class_and_one_entry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = types.ModuleType("iuscore.images.sources.hexadecimal")
    module.HexShards = HexShards  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(READERS, ".hex", Reader("hexadecimal", "HexShards"))
    path = tmp_path / "x.hex"
    path.write_text("".join(f"{'ab'[i % 2]} {pgm(i).hex()}\n" for i in range(5)))
    listed = open_source(path, labels_from="auto")
    assert [(item.uid, item.label) for item in listed.items[:2]] == [("x.hex/0", "a"), ("x.hex/1", "b")]
    streamed = open_shards(path)
    pixels = [read_item(item).pixels for shard in streamed.shards(2) for item in streamed.items(shard)]
    for i, found in enumerate(pixels):
        np.testing.assert_array_equal(found, decode(pgm(i)).pixels)
        np.testing.assert_array_equal(found, listed.read(i).pixels)
    assert open_splits(path, fractions=(0.5, 0.5, 0.0)).train.classes == ("a", "b")
