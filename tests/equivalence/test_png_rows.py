"""png_rows against the formulas, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from iuscore.ops import _backend
from iuscore.ops.png_rows import png_rows
from tests.reference import png_rows as reference


@given(
    height=st.integers(1, 6),
    width=st.integers(1, 9),
    channels=st.sampled_from([1, 3]),
    data=st.data(),
)
def test_equals_the_reference(height: int, width: int, channels: int, data: st.DataObject) -> None:
    filtered = data.draw(arrays(np.uint8, (height, 1 + width * channels)))
    filtered[:, 0] %= 5
    found = png_rows(filtered.tobytes(), height, width, channels)
    np.testing.assert_array_equal(found, reference.png_rows(filtered, channels))


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize("channels", [1, 3])
def test_every_filter_on_a_large_image(kind: int, channels: int) -> None:
    filtered = np.random.default_rng(kind).integers(0, 256, (40, 1 + 33 * channels), dtype=np.uint8)
    filtered[:, 0] = kind
    found = png_rows(filtered.tobytes(), 40, 33, channels)
    assert found is not None
    assert found.flags.writeable
    np.testing.assert_array_equal(found, reference.png_rows(filtered, channels))


def test_an_unknown_filter() -> None:
    assert png_rows(bytes([0, 1, 2, 5, 1, 2]), 2, 2, 1) is None
    assert png_rows(bytes([255, 1, 2]), 1, 2, 1) is None


def test_sizes_that_would_read_or_write_beyond() -> None:
    with pytest.raises(ValueError, match=r"^filtered: expected 6 bytes, got 5$"):
        png_rows(bytes(5), 2, 2, 1)
    for height, width in ((0, 2), (2, 0), (-1, 2)):
        with pytest.raises(ValueError, match=r"^height, width: expected 1 to 2\^30$"):
            png_rows(b"", height, width, 1)
    with pytest.raises(ValueError, match=r"^channels: expected 1 or 3$"):
        png_rows(bytes(10), 2, 2, 2)
    core = _backend.extension("_core")[0]
    assert core is not None
    for pixels, expected in (((1, 3), "pixels: expected 4 bytes, got 3"), ((0, 4), "pixels: null address")):
        with pytest.raises(ValueError, match=expected):
            core.png_rows(filtered=(1, 6), pixels=pixels, height=2, width=2, channels=1)


def test_without_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iuscore.ops.png_rows.extension", lambda name: (None, "not built"))
    assert png_rows(bytes([0, 1]), 1, 1, 1) is None
