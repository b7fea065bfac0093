"""How `additive_mlp` takes its arguments, what it says when it cannot, and what it leaves alone."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch

from iuscore import ops
from iuscore.ops import _backend
from iuscore.ops._native import additive_mlp as _native
from tests.conftest import BackendUnderTest

pytestmark = pytest.mark.usefixtures("one_thread")

GROUPS = (1, 3)
NAMES = ("w1", "b1", "w2", "b2", "w3", "b3")
WEIGHTS = ops.AdditiveWeights.random(GROUPS, hidden=(5, 4), outputs=2)
X = torch.zeros(3, 4)
SIZES = "for 2 groups of 4 inputs and hidden layers of 5 and 4 units"

BAD: list[tuple[Any, Any, Any, type[Exception], str]] = [
    (X.double(), GROUPS, WEIGHTS, TypeError, "x: expected dtype float32, got float64; convert it with .float()"),
    (X.numpy(), GROUPS, WEIGHTS, TypeError, "x: expected a torch.Tensor, got ndarray"),
    (X[0], GROUPS, WEIGHTS, ValueError, "x: expected [B, 4] for groups that add up to it, got [4]"),
    (X[:, :3], GROUPS, WEIGHTS, ValueError, "x: expected [B, 4] for groups that add up to it, got [3, 3]"),
    (X, (4, 0), WEIGHTS, ValueError, "groups: expected sizes of at least 1, got (4, 0)"),
    (X[:, :0], (), WEIGHTS, ValueError, "groups: expected sizes of at least 1, got ()"),
    (X, GROUPS, None, TypeError, "weights: expected AdditiveWeights, got NoneType"),
    (
        X, GROUPS, replace(WEIGHTS, b1=[0.0]), TypeError,
        "weights.b1: expected a torch.Tensor, got list",
    ),
    (
        X, GROUPS, replace(WEIGHTS, w3=WEIGHTS.w3.half()), TypeError,
        "weights.w3: expected dtype float32, got float16; convert it with .float()",
    ),
    (
        X, GROUPS, replace(WEIGHTS, b3=WEIGHTS.b3.to("meta")), ValueError,
        "weights.b3: expected on the device of x, cpu, got meta",
    ),
    (
        X, GROUPS, replace(WEIGHTS, w2=WEIGHTS.w2[0]), ValueError,
        "weights.w2: expected [G, H1, H2] with H1, H2 >= 1, got [5, 4]",
    ),
    (
        X, GROUPS, replace(WEIGHTS, w3=WEIGHTS.w3[..., :0]), ValueError,
        "weights.w3: expected [G, H2, C] with C >= 1, got [2, 4, 0]",
    ),
    (X, (1, 3.7), WEIGHTS, TypeError, "groups: expected integers, got (1, 3.7)"),
    (X, 4, WEIGHTS, TypeError, "groups: expected integers, got 4"),
    (X, (2, 1, 1), WEIGHTS, ValueError, "weights.b1: expected [3, 5] for 3 groups of 4 inputs and hidden layers of 5 "
     "and 4 units, got [2, 5]"),
    (X, GROUPS, replace(WEIGHTS, w1=WEIGHTS.w1.T), ValueError, f"weights.w1: expected [4, 5] {SIZES}, got [5, 4]"),
    (X, GROUPS, replace(WEIGHTS, b2=X[:2, :3]), ValueError, f"weights.b2: expected [2, 4] {SIZES}, got [2, 3]"),
    (X, GROUPS, replace(WEIGHTS, b3=X[:1, :2]), ValueError, f"weights.b3: expected [2, 2] {SIZES}, got [1, 2]"),
]  # fmt: skip


def leaves(backend: BackendUnderTest) -> list[torch.Tensor]:
    """Copies of the weights that want a gradient."""
    return [getattr(WEIGHTS, name).clone().to(backend.device).requires_grad_() for name in NAMES]


@pytest.mark.parametrize(("x", "groups", "weights", "error", "text"), BAD, ids=[case[-1][:60] for case in BAD])
def test_bad_arguments(x: Any, groups: Any, weights: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        ops.additive_mlp(x, groups, weights)


def test_bad_backend() -> None:
    with pytest.raises(ValueError, match=r"^backend: expected 'auto', 'native' or 'torch', got 'cuda'$"):
        ops.additive_mlp(X, GROUPS, WEIGHTS, backend="cuda")  # type: ignore[arg-type]


def test_nothing_in_nothing_out(backend: BackendUnderTest) -> None:
    weights = ops.AdditiveWeights(*leaves(backend))
    out = ops.additive_mlp(X[:0].to(backend.device), GROUPS, weights, backend=backend.backend)
    assert out.contributions.shape == (0, 2, 2)
    assert out.total.shape == (0, 2)
    for gradient in torch.autograd.grad(out.total.sum(), [getattr(weights, name) for name in NAMES]):
        assert not gradient.any()


def test_results_have_names(backend: BackendUnderTest) -> None:
    weights = ops.AdditiveWeights(*(getattr(WEIGHTS, name).to(backend.device) for name in NAMES))
    out = ops.additive_mlp(X.to(backend.device), GROUPS, weights, backend=backend.backend)
    assert isinstance(out, ops.AdditiveOutput)
    assert out._fields == ("contributions", "total")
    assert not out.total.requires_grad


def test_inputs_are_not_modified(backend: BackendUnderTest) -> None:
    tensors = [torch.randn(40, 4), *(torch.randn(getattr(WEIGHTS, name).shape) for name in NAMES)]
    there = [t.clone().to(backend.device).requires_grad_() for t in tensors]
    out = ops.additive_mlp(there[0], GROUPS, ops.AdditiveWeights(*there[1:]), backend=backend.backend)
    out.total.square().sum().backward()
    for before, after in zip(tensors, there, strict=True):
        assert torch.equal(after.detach().cpu(), before)


@pytest.mark.parametrize("needed", ["x", *NAMES])
def test_gradients_go_where_they_are_asked_for(backend: BackendUnderTest, needed: str) -> None:
    tensors = {"x": torch.randn(7, 4), **{name: torch.randn(getattr(WEIGHTS, name).shape) for name in NAMES}}
    there = {name: t.to(backend.device) for name, t in tensors.items()}
    there[needed] = there[needed].clone().requires_grad_()
    x, *weights = there.values()
    out = ops.additive_mlp(x, GROUPS, ops.AdditiveWeights(*weights), backend=backend.backend)
    for result in out:  # through one of the two only
        (gradient,) = torch.autograd.grad(result.sum(), there[needed], retain_graph=True)
        assert gradient.shape == there[needed].shape
        assert gradient.any()


def test_second_derivatives_are_torch_only() -> None:
    x = torch.randn(5, 4, requires_grad=True)
    for backend in ("torch", "native"):
        total = ops.additive_mlp(x, GROUPS, WEIGHTS, backend=backend).total  # type: ignore[arg-type]
        (gradient,) = torch.autograd.grad(total.square().sum(), x, create_graph=True)
        if backend == "torch":
            assert torch.autograd.grad(gradient.sum(), x)[0].any()
            continue
        text = "additive_mlp_backward: the compiled kernels have no derivative; use backend='torch'"
        with pytest.raises(RuntimeError, match=f"^{re.escape(text)}$"):
            torch.autograd.grad(gradient.sum(), x)


def test_choose_explains(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _backend.choose("additive_mlp", torch.device("cpu")) == _backend.Choice("cpu", "")
    monkeypatch.setattr(_backend, "extension", lambda name: (None, "not built"))
    text = "additive_mlp: backend='native' cannot run on cpu: not built; use backend='auto' or 'torch'"
    with pytest.raises(RuntimeError, match=f"^{re.escape(text)}$"):
        ops.additive_mlp(X, GROUPS, WEIGHTS, backend="native")
    assert ops.additive_mlp(X, GROUPS, WEIGHTS).total.shape == (3, 2)


def test_custom_op_passes_opcheck(native: BackendUnderTest) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(9, 4, generator=generator).to(native.device).requires_grad_()
    weights = leaves(native)
    torch.library.opcheck(_native.additive_mlp, (x, GROUPS, *weights))
    torch.library.opcheck(_native.additive_mlp, (x.detach().T.contiguous().T, GROUPS, *weights))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"first_input": [0, 1, 3]}, "first_input: expected to begin at 0 and to end at the number of inputs"),
        ({"first_input": [0, 4, 4]}, "first_input: expected ascending numbers"),
        ({"first_input": [4]}, r"first_input: expected int32 \[G \+ 1\]"),
        ({"sizes": (0, 4, 2)}, "sizes: expected H1, H2 and C of 1..16777216"),
        ({"x": (0, 3, 4, 4, 1)}, "x: null address"),
        ({"x": (64, -1, 4, 4, 1)}, "x: expected at least 0 rows"),
        ({"weights": (64, 64, 66, 64, 64, 64)}, "w2: misaligned address"),
        ({"total": 0}, "total: null address"),
    ],
)
def test_bindings_refuse_what_they_could_not_survive(arguments: dict[str, Any], text: str) -> None:
    core, why = _backend.extension("_core")
    assert core, why
    good: dict[str, Any] = {
        "x": (64, 3, 4, 4, 1), "first_input": [0, 1, 4], "sizes": (5, 4, 2), "weights": (64,) * 6,
        "contributions": 64, "total": 64, "threads": 1,
    }  # fmt: skip
    with pytest.raises(ValueError, match=f"^{text}$"):
        core.additive_mlp(**{**good, **arguments})
