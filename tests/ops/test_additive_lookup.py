"""How tables of the additive model take their arguments and what they say when they cannot."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch

from iuscore import ops
from iuscore.ops import _backend
from iuscore.ops._native import additive_lookup as _native
from tests.conftest import BackendUnderTest

pytestmark = pytest.mark.usefixtures("one_thread")

WEIGHTS = ops.AdditiveWeights.random((1, 1), hidden=(5, 4), outputs=2, generator=torch.Generator().manual_seed(0))
TABLES = ops.additive_tables(WEIGHTS, low=-1.0, high=(1.0, 2.0), points=9)
X = torch.zeros(3, 2)
WIDE = ops.AdditiveWeights.random((1, 2), hidden=(5, 4))
TOO_LARGE = r"outputs: expected at least 1, and tables of fewer than 2\^31 values"

BAD_TABLES: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (None, {}, TypeError, "weights: expected AdditiveWeights, got NoneType"),
    (WIDE, {}, ValueError, "weights: expected groups of one input, got 2 groups of 3 inputs"),
    (replace(WEIGHTS, b3=WEIGHTS.b3 / 0.0), {}, ValueError, "weights: expected finite numbers"),
    (WEIGHTS, {"low": 1.0}, ValueError,
     "low, high: expected finite numbers, low below high, got 1 and 1 for group 0"),
    (WEIGHTS, {"high": (1.0, float("inf"))}, ValueError,
     "low, high: expected finite numbers, low below high, got -1 and inf for group 1"),
    (WEIGHTS, {"low": (1.0,)}, ValueError, "low: expected a number or [2], got [1]"),
    (WEIGHTS, {"points": None}, ValueError, "points, tolerance: expected one of the two"),
    (WEIGHTS, {"tolerance": 0.1}, ValueError, "points, tolerance: expected one of the two"),
    (WEIGHTS, {"points": 1}, ValueError, "points: expected an integer, 2 to 16777216, got 1"),
    (WEIGHTS, {"points": None, "tolerance": 0.0}, ValueError, "tolerance: expected a positive number, got 0.0"),
]  # fmt: skip

BAD_X: list[tuple[Any, Any, type[Exception], str]] = [
    (X, WEIGHTS, TypeError, "tables: expected AdditiveTables, got AdditiveWeights"),
    (X.numpy(), TABLES, TypeError, "x: expected a torch.Tensor, got ndarray"),
    (X.double(), TABLES, TypeError, "x: expected dtype float32, got float64; convert it with .float()"),
    (X[:, :1], TABLES, ValueError, "x: expected [B, 2] for 2 tables, got [3, 1]"),
    (X.to("meta"), TABLES, ValueError, "x: expected on the tables' device, cpu, got meta"),
    (X, replace(TABLES, values=TABLES.values.double()), TypeError,
     "tables.values: expected dtype float32, got float64; convert it with .float()"),
    (X, replace(TABLES, high=TABLES.high.half()), TypeError,
     "tables.high: expected dtype float32, got float16; convert it with .float()"),
    (X, replace(TABLES, low=TABLES.low[:1]), ValueError, "tables.low: expected [2], got [1]"),
    (X, replace(TABLES, high=TABLES.high.to("meta")), ValueError,
     "tables.high: expected on the device of the values, cpu, got meta"),
    (X, replace(TABLES, values=TABLES.values[:, :1]), ValueError,
     "tables.values: expected [G, P, C] of at least 2 knots, got [2, 1, 2]"),
    (X, replace(TABLES, values=TABLES.values[0]), ValueError,
     "tables.values: expected [G, P, C] of at least 2 knots, got [9, 2]"),
]  # fmt: skip


@pytest.mark.parametrize(("weights", "options", "error", "text"), BAD_TABLES, ids=[case[-1] for case in BAD_TABLES])
def test_bad_tables(weights: Any, options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        ops.additive_tables(weights, **{"low": -1.0, "high": 1.0, "points": 9, **options})


def test_a_tolerance_that_cannot_be_met() -> None:
    text = (
        r"^tolerance: 65537 knots have an error of up to [\d.e-]+, more than 1e-12; allow more, or choose low and high "
        "closer to each other$"
    )
    with pytest.raises(ValueError, match=text):
        ops.additive_tables(WEIGHTS, low=-1.0, high=1.0, tolerance=1e-12)


@pytest.mark.parametrize(("x", "tables", "error", "text"), BAD_X, ids=[case[-1] for case in BAD_X])
def test_bad_x(x: Any, tables: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        ops.additive_lookup(x, tables)


def test_tables_say_what_they_are() -> None:
    assert TABLES.values.shape == (2, 9, 2)
    assert TABLES.low.tolist() == [-1.0, -1.0]
    assert TABLES.high.tolist() == [1.0, 2.0]
    assert TABLES.error.shape == (2, 2)
    assert (TABLES.values.dtype, TABLES.error.dtype) == (torch.float32, torch.float64)
    assert not TABLES.values.requires_grad


def test_nothing_in_nothing_out(backend: BackendUnderTest) -> None:
    out = ops.additive_lookup(X[:0].to(backend.device), TABLES.to(backend.device), backend=backend.backend)
    assert out.contributions.shape == (0, 2, 2)
    assert out.total.shape == (0, 2)


def test_gradients_take_the_torch_path() -> None:
    x = X.clone().requires_grad_()
    assert ops.additive_lookup(x, TABLES).total.requires_grad
    text = (
        "additive_lookup: backend='native' cannot run on cpu: the kernels have no gradient; "
        "use backend='auto' or 'torch'"
    )
    with pytest.raises(RuntimeError, match=f"^{re.escape(text)}$"):
        ops.additive_lookup(x, TABLES, backend="native")


def test_custom_op_passes_opcheck(native: BackendUnderTest) -> None:
    tables = TABLES.to(native.device)
    scale = 8.0 / (tables.high - tables.low)
    torch.library.opcheck(_native.additive_lookup, (X.to(native.device), tables.values, tables.low, scale))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"knots": 1}, "knots: expected 2..16777216"),
        ({"outputs": 0}, TOO_LARGE),
        ({"x": (64, 3, 200, 2, 1), "knots": 1 << 24}, TOO_LARGE),
        ({"x": (64, 3, 0, 2, 1)}, "x: expected at least 1 column"),
        ({"x": (0, 3, 2, 2, 1)}, "x: null address"),
        ({"tables": (64, 0, 64)}, "low: null address"),
    ],
)  # fmt: skip
def test_bindings_refuse_what_they_could_not_survive(arguments: dict[str, Any], text: str) -> None:
    core, why = _backend.extension("_core")
    assert core, why
    good: dict[str, Any] = {
        "x": (64, 3, 2, 2, 1), "knots": 9, "outputs": 2, "tables": (64, 64, 64), "contributions": 64, "total": 64,
        "threads": 1,
    }  # fmt: skip
    with pytest.raises(ValueError, match=f"^{text}$"):
        core.additive_lookup(**{**good, **arguments})
