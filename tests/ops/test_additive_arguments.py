"""Arguments of the additive ops of another kind: one line that begins with the argument's name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from iuscore import ops
from iuscore.models import EPUCNN
from iuscore.ops import AdditiveTables, AdditiveWeights, CnnBlock, CnnNetwork

pytestmark = pytest.mark.usefixtures("one_thread")

WEIGHTS = AdditiveWeights.random((2, 1), hidden=(4, 3), generator=torch.Generator().manual_seed(0))
SINGLE = AdditiveWeights.random((1, 1), hidden=(4, 3), generator=torch.Generator().manual_seed(0))
TABLES = ops.additive_tables(SINGLE, low=0.0, high=1.0, points=9)
X, PAIRS = torch.rand(2, 3), torch.rand(2, 2)
NETWORKS = EPUCNN(["a", "b"], size=(8, 8), base_channels=1, hidden_units=2).eval().requires_grad_(False).networks()
MAPS = torch.rand(2, 4, 8, 8)
STRANGE = [None, 0, -1, 2**63, 2**70, 0.5, float("nan"), "", "x", b"a", True, [], [1], [[1, 0]], {}, object(), 1j,
           np.zeros(3), np.ones((2, 3), np.float32), torch.zeros(2, 3, dtype=torch.int64), torch.zeros(()),
           torch.rand(2, 3).to_sparse(), torch.rand(2, 3).double(), torch.device("cpu"), lambda: 0]  # fmt: skip


def with_block(**parts: Any) -> tuple[CnnNetwork, ...]:
    first = NETWORKS[0]._replace(blocks=(NETWORKS[0].blocks[0]._replace(**parts), *NETWORKS[0].blocks[1:]))
    return (first, *NETWORKS[1:])


CALLS: dict[str, Callable[[Any], Any]] = {
    "mlp x": lambda v: ops.additive_mlp(v, (2, 1), WEIGHTS),
    "mlp groups": lambda v: ops.additive_mlp(X, v, WEIGHTS),
    "mlp weights": lambda v: ops.additive_mlp(X, (2, 1), v),
    "mlp backend": lambda v: ops.additive_mlp(X, (2, 1), WEIGHTS, backend=v),
    **{f"mlp {n}": lambda v, n=n: ops.additive_mlp(X, (2, 1), replace(WEIGHTS, **{n: v})) for n in ("w1", "b2", "w3")},
    "random groups": lambda v: AdditiveWeights.random(v, hidden=(2, 2)),
    "random hidden": lambda v: AdditiveWeights.random((1,), hidden=v),
    "random outputs": lambda v: AdditiveWeights.random((1,), hidden=(2, 2), outputs=v),
    "tables weights": lambda v: ops.additive_tables(v, low=0.0, high=1.0, points=9),
    "tables low": lambda v: ops.additive_tables(SINGLE, low=v, high=1.0, points=9),
    "tables high": lambda v: ops.additive_tables(SINGLE, low=0.0, high=v, points=9),
    "tables points": lambda v: ops.additive_tables(SINGLE, low=0.0, high=1.0, points=v),
    "tables tolerance": lambda v: ops.additive_tables(SINGLE, low=0.0, high=1.0, tolerance=v),
    "lookup x": lambda v: ops.additive_lookup(v, TABLES),
    "lookup tables": lambda v: ops.additive_lookup(PAIRS, v),
    "lookup values": lambda v: ops.additive_lookup(PAIRS, replace(TABLES, values=v)),
    "lookup low": lambda v: ops.additive_lookup(PAIRS, replace(TABLES, low=v)),
    "cnn maps": lambda v: ops.additive_cnn(v, NETWORKS),
    "cnn networks": lambda v: ops.additive_cnn(MAPS, v),
    "cnn network": lambda v: ops.additive_cnn(MAPS, (v, *NETWORKS[1:])),
    "cnn blocks": lambda v: ops.additive_cnn(MAPS, (NETWORKS[0]._replace(blocks=v), *NETWORKS[1:])),
    "cnn block": lambda v: ops.additive_cnn(MAPS, (NETWORKS[0]._replace(blocks=(v,)), *NETWORKS[1:])),
    "cnn linears": lambda v: ops.additive_cnn(MAPS, (NETWORKS[0]._replace(linears=v), *NETWORKS[1:])),
    "cnn linear": lambda v: ops.additive_cnn(MAPS, (NETWORKS[0]._replace(linears=(v,)), *NETWORKS[1:])),
    **{f"cnn {name}": lambda v, n=name: ops.additive_cnn(MAPS, with_block(**{n: v})) for name in CnnBlock._fields},
    "cnn precision": lambda v: ops.additive_cnn(MAPS, NETWORKS, precision=v),
    "cnn backend": lambda v: ops.additive_cnn(MAPS, NETWORKS, backend=v),
    "precision": ops.chosen_precision,
}


def said(call: Callable[[Any], Any], value: Any) -> str:
    try:
        call(value)
    except (TypeError, ValueError) as error:
        return str(error)
    return "taken: "


@pytest.mark.parametrize("name", CALLS)
def test_any_value_works_or_is_named(name: str) -> None:
    for value in STRANGE:
        text = said(CALLS[name], value)
        assert re.match(r"[\w.\[\], ]+: ", text), (value, text)
        assert len(text) < 300, (value, text)


def test_what_is_named() -> None:
    for call, error, text in (
        (lambda: ops.additive_mlp(X, "ab", WEIGHTS), TypeError, "groups: expected integers, got 'ab'"),
        (lambda: ops.additive_mlp(X, 3, WEIGHTS), TypeError, "groups: expected integers, got 3"),
        (lambda: ops.additive_mlp(X.to_sparse(), (2, 1), WEIGHTS), TypeError,
         "x: expected a dense tensor, got layout sparse_coo; convert it with .to_dense()"),
        (lambda: AdditiveWeights.random((1,), hidden=4), ValueError,
         "hidden: expected (H1, H2), two integers of at least 1, got 4"),
        (lambda: AdditiveWeights.random((1,), hidden=(2, 2), outputs=0), ValueError,
         "outputs: expected an integer of at least 1, got 0"),
        (lambda: ops.additive_tables(SINGLE, low="a", high=1.0, points=9), TypeError,
         "low: expected a number or [2], got 'a'"),
        (lambda: ops.additive_tables(SINGLE, low=0.0, high=1.0, points=9.5), ValueError,
         "points: expected an integer, 2 to 16777216, got 9.5"),
        (lambda: ops.additive_lookup(PAIRS, AdditiveTables(3, 4, 5, 6)), TypeError,
         "tables.values: expected a torch.Tensor, got int"),
        (lambda: ops.additive_cnn(MAPS, 4), TypeError, "networks: expected a sequence of CnnNetwork, got 4"),
        (lambda: ops.additive_cnn(MAPS, [1, 2, 3, 4]), TypeError, "networks[0]: expected a CnnNetwork, got 1"),
        (lambda: ops.additive_cnn(MAPS, with_block(eps="x")), ValueError,
         "networks[0].blocks[0].eps: expected a number of at least 0, got 'x'"),
    ):  # fmt: skip
        with pytest.raises(error, match=f"^{re.escape(text)}$"):
            call()  # type: ignore[no-untyped-call]
