"""Every format as a list: names and classes are in memory, pixels are read when they are asked for."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from iuscore.images import decode, fingerprint, open_source
from tests.images.same_images import CLASSES, FORMATS, Phantom, draw
from tests.images.sharded_sources import tar


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
