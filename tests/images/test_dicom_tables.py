"""Windows, tables and bits of DICOM files as they are found, by the formulas of DICOM PS3.3 and PS3.5."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from iuscore.images import decode
from tests.images.dicom_files import dataset, item, items, saved
from tests.images.image_files import reason
from tests.project.tree import require_module

RNG = np.random.default_rng(0)
RAMP = np.arange(0, 4096, 65).astype(np.uint16).reshape(8, 8)
BYTES = np.arange(0, 256, 4).astype(np.uint8).reshape(8, 8)
CURVE = np.round(np.sqrt(np.arange(4096) / 4095) * 4095).astype(np.uint16)
FULL = 65535


@pytest.fixture(autouse=True, scope="module")
def pydicom_installed() -> None:
    require_module("pydicom")


def shown(made: Any, **options: Any) -> tuple[np.ndarray, tuple[str, ...]]:
    decoded = decode(saved(made), **options)
    return decoded.pixels[..., 0].astype(np.float64), decoded.warnings


def assert_shown(made: Any, expected: np.ndarray, warnings: tuple[str, ...] = (), **options: Any) -> None:
    found, said = shown(made, **options)
    np.testing.assert_allclose(found, expected, atol=0.501)
    assert said == warnings


def words(entries: np.ndarray, big: bool = False) -> bytes:
    return entries.astype(">u2" if big else "<u2").tobytes()


def lut(first: int, entries: np.ndarray, bits: int, kind: str = "US", data: Any = None, data_kind: str = "OW") -> Any:
    """A sequence of one table; ``kind`` is that of the descriptor."""
    n = len(entries) % 65536
    content = words(entries) if data is None else data
    return items(item((0x0028, 0x3002, kind, [n, first, bits]), (0x0028, 0x3006, data_kind, content)))


ENCODINGS = [{}, {"implicit": True}]


@pytest.mark.parametrize("encoding", ENCODINGS, ids=["explicit", "implicit"])
class TestTables:
    def test_a_first_value_below_zero(self, encoding: dict[str, bool]) -> None:
        """PS3.3, C.11.2.1.1: the sign of the first value is that of the values that go in."""
        expected = CURVE[RAMP] / 4095 * FULL
        for first, kind in ((-1024, "SS"), (65536 - 1024, "US")):
            table = lut(first, CURVE, 12, kind)
            made = dataset(RAMP, 12, VOILUTSequence=table, RescaleSlope=1, RescaleIntercept=-1024, **encoding)
            assert_shown(made, expected)
        signed = (RAMP.astype(int) - 2048).astype(np.int16)
        assert_shown(dataset(signed, 12, VOILUTSequence=lut(-2048, CURVE, 12, "SS"), **encoding), expected)
        table = lut(-2048, np.arange(4096) * 16, 16, "SS")
        assert_shown(dataset(signed, 12, ModalityLUTSequence=table, **encoding), RAMP * 16.0)

    def test_a_first_value_above_32767(self, encoding: dict[str, bool]) -> None:
        deep = RAMP * np.uint16(16)
        table = lut(40_000, np.arange(25_536) + 40_000, 16)
        expected = np.maximum(deep, np.uint16(40_000)).astype(float)
        assert_shown(dataset(deep, 16, VOILUTSequence=table, **encoding), expected)

    def test_every_number_of_entries(self, encoding: dict[str, bool]) -> None:
        falling = np.arange(65536)[::-1]
        deep = RAMP * np.uint16(16)
        assert_shown(dataset(deep, 16, VOILUTSequence=lut(0, falling, 16), **encoding), 65535.0 - deep)
        short = np.array([100, 65535, 7])
        values = np.array([[0, 9, 10, 11, 12, 13, 99]], np.uint16)
        expected = np.array([[100, 100, 100, 65535, 7, 7, 7]], float)
        assert_shown(dataset(values, 12, VOILUTSequence=lut(10, short, 16), **encoding), expected)

    def test_entries_of_eight_bits_in_every_form(self, encoding: dict[str, bool]) -> None:
        falling = 255 - np.arange(256)
        forms = [
            (falling.astype(np.uint8).tobytes(), "OW"),
            (words(falling), "OW"),
            (falling.tolist(), "US"),
            (np.frombuffer(falling.astype(np.uint8).tobytes(), "<u2").tolist(), "US"),
        ]
        for data, kind in forms:
            table = lut(0, falling, 8, data=data, data_kind=kind)
            assert_shown(dataset(BYTES, VOILUTSequence=table, **encoding), 255.0 - BYTES)
            assert_shown(dataset(BYTES, ModalityLUTSequence=table, **encoding), 255.0 - BYTES)
        odd = falling[1:]
        table = lut(0, odd, 8, data=odd.astype(np.uint8).tobytes() + b"\0")
        assert_shown(dataset(BYTES, VOILUTSequence=table, **encoding), np.maximum(254.0 - BYTES, 0))

    @pytest.mark.parametrize("bits", [10, 12, 14, 15, 16])
    def test_modality_tables_of_any_depth(self, encoding: dict[str, bool], bits: int) -> None:
        entries = np.round(np.linspace(0, 2**bits - 1, 4096)).astype(int)
        made = dataset(RAMP, 12, ModalityLUTSequence=lut(0, entries, bits), **encoding)
        assert_shown(made, entries[RAMP] / (2**bits - 1) * FULL)
        windowed = dataset(RAMP, 12, ModalityLUTSequence=lut(0, entries, bits), WindowCenter=300, WindowWidth=200,
                           VOILUTFunction="LINEAR_EXACT", **encoding)  # fmt: skip
        assert_shown(windowed, np.clip((entries[RAMP] - 300) / 200 + 0.5, 0, 1) * FULL)

    def test_entries_of_fewer_bits_than_said(self, encoding: dict[str, bool]) -> None:
        made = dataset(RAMP, 12, VOILUTSequence=lut(0, CURVE, 16), **encoding)
        assert_shown(made, CURVE[RAMP] / 4095 * FULL, ("table entries of 12 bits, not 16",))
        # A modality's entries are values, not brightness: what the range is can be said.
        made = dataset(RAMP, 12, ModalityLUTSequence=lut(0, CURVE, 16), **encoding)
        assert_shown(made, CURVE[RAMP].astype(float), ("values use 1/16 of 16 bits (--bits 12?)",))
        assert_shown(made, CURVE[RAMP] / 4095 * FULL, bits=12)

    def test_entries_of_more_bits_than_said(self, encoding: dict[str, bool]) -> None:
        entries = np.arange(4096) * 16
        for name in ("VOILUTSequence", "ModalityLUTSequence"):
            made = dataset(RAMP, 12, **{name: lut(0, entries, 12)}, **encoding)
            assert_shown(made, entries[RAMP].astype(float), ("table entries of 16 bits, not 12",))

    def test_empty_tables_leave_the_window(self, encoding: dict[str, bool]) -> None:
        window = {"WindowCenter": 1000, "WindowWidth": 500, "VOILUTFunction": "LINEAR_EXACT"}
        expected = np.clip((RAMP - 1000.0) / 500 + 0.5, 0, 1) * FULL
        empty = [
            items(item((0x0028, 0x3002, "US", [4096, 0, 12]))),
            items(item((0x0028, 0x3002, "US", [4096, 0, 12]), (0x0028, 0x3006, "OW", b""))),
            items(item((0x0028, 0x3006, "OW", b"\0\1"))),
            items(item()),
        ]
        for table in empty:
            for name in ("VOILUTSequence", "ModalityLUTSequence"):
                assert_shown(
                    dataset(RAMP, 12, **{name: table}, **window, **encoding), expected, ("empty table ignored",)
                )
        assert_shown(dataset(RAMP, 12, VOILUTSequence=items(), **window, **encoding), expected)

    def test_damaged_tables_say_so(self, encoding: dict[str, bool]) -> None:
        table = items(item((0x0028, 0x3002, "US", [4096, 0, 12]), (0x0028, 0x3006, "OW", bytes(200))))
        made = dataset(RAMP, 12, VOILUTSequence=table, **encoding)
        assert reason(saved(made)) == "damaged: a table of 100 entries that says 4096"
        for bits in (0, 17):
            made = dataset(RAMP, 12, VOILUTSequence=lut(0, CURVE, bits), **encoding)
            assert reason(saved(made)) == f"damaged: a table whose entries have {bits} bits"


def test_tables_are_those_of_pydicom_where_it_reads_them() -> None:
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    for first in (0, 100, 3000):
        for bits in (10, 12, 16):
            entries = RNG.integers(0, 2**bits, 500)
            entries[0] = 2**bits - 1
            made = dataset(RAMP, 12, VOILUTSequence=lut(first, entries, bits))
            assert_shown(made, apply_voi_lut(RAMP, made) / (2**bits - 1) * FULL)
        made = dataset(RAMP, 12, ModalityLUTSequence=lut(first, entries, 16))
        assert_shown(made, apply_modality_lut(RAMP, made).astype(float))


def test_big_endian_tables() -> None:
    expected = CURVE[RAMP] / 4095 * FULL
    table = lut(0, CURVE, 12, data=words(CURVE, big=True))
    assert_shown(dataset(RAMP, 12, VOILUTSequence=table, big=True), expected)
    falling = (255 - np.arange(256)).astype(np.uint8)
    # Two entries a word, the first one in its low byte.
    table = lut(0, falling, 8, data=falling.reshape(-1, 2)[:, ::-1].tobytes())
    assert_shown(dataset(BYTES, VOILUTSequence=table, big=True), 255.0 - BYTES)


class TestWindows:
    @pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
    @pytest.mark.parametrize(
        ("center", "width"),
        [("nan", "500"), ("inf", "500"), ("-inf", "500"), ("1000", "nan"), ("1000", "inf"), ("1e999", "5")],
    )
    def test_a_window_that_is_not_finite_is_ignored(self, function: str, center: str, width: str) -> None:
        data = saved(dataset(RAMP, 12, WindowCenter="100000", WindowWidth="200000", VOILUTFunction=function))
        data = data.replace(b"100000", center.encode().ljust(6)).replace(b"200000", width.encode().ljust(6))
        decoded = decode(data)
        np.testing.assert_allclose(decoded.pixels[..., 0], RAMP / 4095 * FULL, atol=0.501)
        assert decoded.warnings == ("window that is not finite ignored",)

    def test_a_window_that_is_no_number_says_so(self) -> None:
        data = saved(dataset(RAMP, 12, WindowCenter="100000", WindowWidth="500"))
        assert reason(data.replace(b"100000", b"1,0000")) == "damaged: WindowCenter is no number: '1,0000'"


class TestBits:
    @pytest.mark.parametrize(("stored", "highest"), [(12, 15), (12, 13), (10, 15), (8, 15), (1, 15), (15, 15)])
    def test_stored_bits_above_the_lowest(self, stored: int, highest: int) -> None:
        """PS3.5, 8.1.1: the most significant bit of a sample is the high bit."""
        values = RNG.integers(0, 2**stored, (6, 7))
        shift = highest + 1 - stored
        other = RNG.integers(0, 2**16, values.shape) & ~((2**stored - 1) << shift)
        made = dataset((values << shift | other).astype(np.uint16), stored)
        made.HighBit = highest
        expected = values / (2**stored - 1) * (255 if stored <= 8 else FULL)
        found, _ = shown(made)
        np.testing.assert_allclose(found, expected, atol=0.501)
        signed = RNG.integers(-(2 ** (stored - 1)), 2 ** (stored - 1), (6, 7))
        made = dataset(((signed & 2**stored - 1) << shift | other).astype(np.uint16).astype(np.int16), stored)
        made.HighBit = highest
        expected = (signed + 2 ** (stored - 1)) / (2**stored - 1) * (255 if stored <= 8 else FULL)
        np.testing.assert_allclose(shown(made)[0], expected, atol=0.501)

    def test_an_impossible_high_bit_is_ignored(self) -> None:
        for highest in (3, 16, 40):
            made = dataset(RAMP, 12)
            made.HighBit = highest
            assert_shown(made, RAMP / 4095 * FULL)

    def test_fewer_bits_than_the_file_says(self) -> None:
        note = "values use 1/16 of 16 bits (--bits 12?)"
        assert_shown(dataset(RAMP, 16), RAMP.astype(float), (note,))
        assert_shown(dataset(RAMP, 16), RAMP / 4095 * FULL, bits=12)
        assert_shown(dataset(RAMP, 16), RAMP.astype(float), bits=16)
        assert_shown(dataset(RAMP, 12), RAMP / 4095 * FULL, bits=14)
        assert_shown(
            dataset(RAMP, 16, "MONOCHROME1"), FULL - RAMP / 4095 * FULL, ("inverted: white was zero",), bits=12
        )
        rescaled = dataset(RAMP, 16, RescaleSlope=-2, RescaleIntercept=30)
        assert_shown(rescaled, FULL - RAMP / 4095 * FULL, bits=12)
        assert reason(saved(dataset(RAMP, 16)), bits=10).startswith("a value of 4095 in an image that --bits 10 says")

    def test_hounsfield_units_in_sixteen_bits(self) -> None:
        values = np.array([[-1024, 0, 3071]], np.int16)
        expected = (values + 32768.0) / 65535 * FULL
        assert_shown(dataset(values, 16), expected, ("values use 1/4 of 16 bits (--bits 14?)",))
        assert_shown(dataset(values, 16), (values + 8192.0) / 16383 * FULL, bits=14)
        assert reason(saved(dataset(values, 16)), bits=12).startswith("a value of 3071 in an image that --bits 12 says")

    def test_windows_and_tables_say_their_own_range(self) -> None:
        window = dataset(RAMP, 16, WindowCenter=1000, WindowWidth=500, VOILUTFunction="LINEAR_EXACT")
        table = dataset(RAMP, 16, VOILUTSequence=lut(0, CURVE, 12))
        for bits in (None, 8, 12):
            assert_shown(window, np.clip((RAMP - 1000.0) / 500 + 0.5, 0, 1) * FULL, bits=bits)
            assert_shown(table, CURVE[RAMP] / 4095 * FULL, bits=bits)
