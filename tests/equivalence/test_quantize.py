"""Gray levels on and beside the edges of bins: IBSI's fixed bin size and number, exactly, on every back end.

Right values are Python's integers and fractions (of integers), or the float64 formula as NumPy computes it.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iuscore import ops
from iuscore.ops._quantize import quantization
from iuscore.ops._torch._quantize import levels_of as torch_levels
from tests.conftest import BackendUnderTest
from tests.isas import available, using

pytestmark = pytest.mark.usefixtures("one_thread")

Ints = npt.NDArray[np.int64]
BYTES = np.arange(256)


def differing(rows: Tensor, expected: Ints, levels: int, **options: Any) -> int:
    """Rows [B, W] whose levels are not the expected ones, by their matrices of neighbors.

    The values of a row ascend and so do its levels, so another level anywhere moves a pair to another cell. The number
    of pairs is known: it is enough to look at the cells that are to hold them.
    """
    wrong = 0
    for i in range(0, len(rows), 32):
        some, level = rows[i : i + 32, None, :, None], expected[i : i + 32]
        counts = ops.glcm(some, levels=levels, offsets=[(0, 1)], layout="NHWC", **options)
        image = np.arange(len(level))[:, None] * levels
        cells, pairs = np.unique((image + level[:, :-1]) * levels + level[:, 1:], return_counts=True)
        bad = counts.flatten()[torch.from_numpy(cells)].numpy() != pairs
        wrong += len(np.unique(cells[bad] // levels**2))
    return wrong


def torch_differing(rows: Tensor, expected: Ints, levels: int, **options: Any) -> int:
    by = quantization(options["quantize"], levels, options.get("range"), options.get("width"), rows.dtype)
    got, _ = torch_levels(rows[:, None, :, None], by, None)
    return int((got[:, 0].numpy() != expected).any(1).sum())


def differing_on_every_back_end(rows: Tensor, expected: Ints, levels: int, **options: Any) -> int:
    return differing(rows, expected, levels, backend="native", **options) + torch_differing(
        rows, expected, levels, **options
    )


@pytest.mark.parametrize("low", [0, 7])
def test_every_width_of_bytes(low: int) -> None:
    rows = torch.from_numpy(BYTES.astype(np.uint8))[None]
    wrong = []
    for width in range(1, 256):
        expected = np.maximum((BYTES - low) // width, 0)[None]
        options: dict[str, Any] = {"quantize": "width", "width": float(width), "range": (low, None)}
        if differing_on_every_back_end(rows, expected, 256, **options):
            wrong.append(width)
    assert wrong == []


def test_widths_of_16_bits() -> None:
    """Every width up to 2,743 and some above, each at the integers on and beside all edges."""
    wrong = []
    for width in (*range(1, 2744), *range(2744, 65536, 97)):
        edges = np.arange(0, 65536, width)[:257, None]
        x = np.unique((edges + np.array([-1, 0, 1])).clip(0, 65535))
        rows, expected = torch.from_numpy(x.astype(np.uint16))[None], np.minimum(x // width, 255)[None]
        options: dict[str, Any] = {"quantize": "width", "width": float(width), "range": (0, None)}
        if differing_on_every_back_end(rows, expected, 256, **options):
            wrong.append(width)
    assert wrong == []


def test_every_number_of_levels_of_every_range_of_bytes() -> None:
    """0 .. r in L levels by smallest and largest value, all; by the range given, which ends in the same formula, every
    eighth r."""
    high = np.arange(1, 256)
    rows = np.minimum(BYTES, high[:, None])  # row r - 1 has the values 0 .. r
    tensor = torch.from_numpy(rows.astype(np.uint8))
    table = tensor[-1:]
    wrong = []
    for levels in range(2, 257):
        expected = np.minimum(levels * rows // high[:, None], levels - 1)
        if differing_on_every_back_end(tensor, expected, levels, quantize="minmax"):
            wrong.append((levels, 0))
        for r in range(1 + levels % 8, 256, 8):
            given: dict[str, Any] = {"quantize": "range", "range": (0, r)}
            level = np.minimum(levels * BYTES // r, levels - 1)[None]
            if differing_on_every_back_end(table, level, levels, **given):
                wrong.append((levels, r))
    assert wrong == []


@pytest.mark.parametrize("levels", [8, 32, 100, 255, 256])
@pytest.mark.parametrize(("low", "high"), [(0, 65535), (0, 4095), (-1024, 3071), (1, 50_000), (12_345, 54_321)])
def test_ranges_of_16_bits(levels: int, low: int, high: int) -> None:
    x = np.arange(65536)
    expected = np.clip(levels * (x - low) // (high - low), 0, levels - 1)[None]
    rows = torch.from_numpy(x.astype(np.uint16))[None]
    assert not differing_on_every_back_end(rows, expected, levels, quantize="range", range=(low, high))
    inside = slice(max(low, 0), high + 1)
    if low >= 0:
        assert not differing_on_every_back_end(rows[:, inside], expected[:, inside], levels, quantize="minmax")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_whole_numbers_in_floating_types(dtype: torch.dtype) -> None:
    """As the same numbers in integers: Hounsfield units by IBSI's bin sizes, bytes by all of them."""
    units = torch.arange(-1024, 3072).to(dtype).unique()
    x = units.double().numpy().astype(int)
    for width in (1, 5, 10, 20, 25, 32, 41):
        expected = ((x + 1024) // width).clip(0, 255)[None]
        options: dict[str, Any] = {"quantize": "width", "width": float(width)}
        assert not differing_on_every_back_end(units[None], expected, 256, **options), width
    if dtype == torch.float32:
        bytes_ = torch.from_numpy(BYTES)[None].float()
        for width in range(1, 256):
            options = {"quantize": "width", "width": float(width)}
            assert not differing_on_every_back_end(bytes_, BYTES[None] // width, 256, **options), width


ODD = st.one_of(
    st.sampled_from((0.1, 1 / 3, 0.7, 1e-3, 2.0**-7, 1e-30, 1e30, 255.0, 1.0)),
    st.floats(1e-6, 1e6, allow_subnormal=False),
)


@given(low=st.one_of(st.sampled_from((0.0, -0.1, 1 / 3, 1000.1, -1000.0, 1e-3)), st.floats(-1e4, 1e4)), step=ODD,
       levels=st.sampled_from((2, 7, 32, 256)), seed=st.integers(0, 2**16),
       dtype=st.sampled_from((torch.float32, torch.float16, torch.bfloat16, torch.uint8, torch.uint16)))  # fmt: skip
def test_any_low_and_step(low: float, step: float, levels: int, seed: int, dtype: torch.dtype) -> None:
    """The float64 formula of the stored values, at the values nearest to the edges and their neighbors."""
    rng = np.random.default_rng(seed)
    edges = low + step * np.concatenate([np.arange(0, levels + 1), rng.uniform(-1, levels + 1, 200)])
    if dtype.is_floating_point:
        near = np.abs(edges) < torch.finfo(dtype).max / 2
        values = torch.from_numpy(edges[near]).to(dtype)
        up, down = torch.nextafter(values, values + 1e6), torch.nextafter(values, values - 1e6)
        rows = torch.cat([values, up, down, torch.zeros(70, dtype=dtype)]).sort().values[None]
        rows = rows[rows.isfinite()][None]
    else:
        most = 255 if dtype == torch.uint8 else 65535
        rows = torch.from_numpy(np.unique(edges.clip(0, most).round()).astype(np.int32)).to(dtype)[None]
    x = rows.double().numpy()
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        fixed_size = np.floor(((x - low) / step).clip(0, levels - 1)).astype(int)
        high = low + step * levels
        fixed_number = np.floor((levels * (x - low) / (high - low)).clip(0, levels - 1)).astype(int)
    cases: list[tuple[Ints, dict[str, Any]]] = []
    cases.append((fixed_size, {"quantize": "width", "width": step, "range": (low, None)}))
    if high > low:
        cases.append((fixed_number, {"quantize": "range", "range": (low, high)}))
    for expected, options in cases:
        assert not torch_differing(rows, expected, levels, **options)
        for isa in available():
            with using(isa):
                assert not differing(rows, expected, levels, backend="native", **options), isa


@pytest.mark.parametrize(("width", "low"), [("41", "0"), ("0.5", "3"), ("2.75", "-1.5"), ("1023", "4")])
def test_rational_numbers_that_float64_holds(width: str, low: str) -> None:
    x = np.arange(65536)
    exact = [min(max((int(v) - Fraction(low)) // Fraction(width), 0), 255) for v in x]
    rows, options = torch.from_numpy(x.astype(np.uint16))[None], {"width": float(width), "range": (float(low), None)}
    assert not differing_on_every_back_end(rows, np.array(exact)[None], 256, quantize="width", **options)


def test_the_edges_of_the_reported_cases(backend: BackendUnderTest) -> None:
    """Width 41: 41, 82, ... begin a level; (0, 100) in 10 levels: 10, 20, ...; of 0 .. 82 in 8 levels 41 is level 4."""

    def levels_of(values: list[int], **options: Any) -> list[int]:
        images = torch.tensor(values, dtype=torch.uint8).reshape(-1, 1, 1, 1).to(backend.device)
        counts = ops.glcm(images, offsets=[(0, 0)], layout="NHWC", backend=backend.backend, **options)
        return counts[:, 0].diagonal(dim1=1, dim2=2).argmax(1).tolist()

    assert levels_of([40, 41, 81, 82, 123], levels=8, quantize="width", width=41.0, range=(0, None)) == [0, 1, 1, 2, 3]
    assert levels_of([9, 10, 70, 90, 100], levels=10, range=(0, 100)) == [0, 1, 7, 9, 9]
    pair = torch.tensor([[0, 41, 82]], dtype=torch.uint8).reshape(1, 1, 3, 1).to(backend.device)
    counts = ops.glcm(pair, levels=8, quantize="minmax", offsets=[(0, 1)], layout="NHWC", backend=backend.backend)
    assert counts[0, 0].nonzero().tolist() == [[0, 4], [4, 7]]
