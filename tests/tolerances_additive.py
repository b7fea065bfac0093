"""How far a float32 `additive_mlp` may be from its float64 reference, derived as in tests/tolerances.py (u = 2^-24).

- A sum of n products and a start value, in any order, with or without fused multiplication and addition: at most
  (n + 3) u times the sum of the magnitudes (n additions, a product, and the bound's own second-order terms).
- The error of the inputs goes through a layer by the magnitudes of its weights; ReLU lengthens no error.
- The sum of G contributions: (G + 1) u times the sum of their magnitudes.
- Gradients: a hidden unit whose z is farther from 0 than its error passes or blocks as the reference does; any other
  may do either, so its whole unblocked gradient is error. The incoming gradient is the sum of two: u of it.
- Gradients of weights: sums over B rows and over the chunks the rows are cut into, at most (2 B + 4) u.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.reference import additive_mlp as reference
from tests.reference.additive_mlp import Array, Gradients, Group, Weights
from tests.tolerances import U


@dataclass
class Errors:
    """Of one group's values: at most this far from the reference."""

    h1: Array
    h2: Array
    contribution: Array


def _layer(x: Array, e: Array, w: Array, b: Array) -> Array:
    w, n = np.abs(w), len(w) + 3
    return e @ w + n * U * ((np.abs(x) + e) @ w + np.abs(b))


def forward(t: Group, place: slice, g: int, w: Weights) -> Errors:
    e1 = _layer(t.x, np.zeros_like(t.x), w["w1"][place], w["b1"][g])
    e2 = _layer(t.h1, e1, w["w2"][g], w["b2"][g])
    return Errors(e1, e2, _layer(t.h2, e2, w["w3"][g], w["b3"][g]))


def total(traces: Sequence[Group], errors: Sequence[Errors]) -> Array:
    e = np.sum([e.contribution for e in errors], axis=0)
    size = np.sum([np.abs(t.contribution) for t in traces], axis=0)
    return e + (len(traces) + 1) * U * (size + e)


def _blocked(z: Array, e_z: Array, d: Array, unblocked: Array, e: Array) -> Array:
    """Error of the gradient d behind a ReLU at z; `unblocked` is what it would let pass."""
    sure = np.abs(z) > e_z
    return np.where(sure, np.where(z > 0.0, e, 0.0), np.where(e_z == 0.0, 0.0, np.abs(unblocked) + e))


def _product(x: Array, e_x: Array, y: Array, e_y: Array) -> Array:
    """Of the sum over rows of x y."""
    x, y, n = np.abs(x), np.abs(y), 2 * len(x) + 4
    return e_x.T @ (y + e_y) + x.T @ e_y + n * U * (x + e_x).T @ (y + e_y)


def gradients(t: Group, e: Errors, gradient: Gradients, place: slice, g: int, w: Weights) -> Gradients:
    """Errors of the gradients, in their own places."""
    zero = np.zeros(w["w1"].shape[1])
    d = gradient
    eg = U * np.abs(d.g)
    w3, w2, w1 = w["w3"][g].T, w["w2"][g].T, w["w1"][place].T
    e2 = _blocked(t.z2, e.h2, d.d2, d.g @ w3, _layer(d.g, eg, w3, np.zeros(w3.shape[1])))
    # What the reference's d2 would be with every uncertain unit open is within e2 of it, and e2 goes through w2.
    e1 = _blocked(t.z1, e.h1, d.d1, d.d2 @ w2, _layer(d.d2, e2, w2, zero))
    ones, none = np.ones((len(t.x), 1)), np.zeros((len(t.x), 1))
    return Gradients(
        eg, e2, e1, _layer(d.d1, e1, w1, np.zeros(w1.shape[1])),
        _product(t.x, np.zeros_like(t.x), d.d1, e1), _product(ones, none, d.d1, e1)[0],
        _product(t.h1, e.h1, d.d2, e2), _product(ones, none, d.d2, e2)[0],
        _product(t.h2, e.h2, d.g, eg), _product(ones, none, d.g, eg)[0],
    )  # fmt: skip


def assert_within(got: Array, expected: Array, error: Array, name: str) -> None:
    """Every value of `got` is as close as `error` allows."""
    assert got.shape == expected.shape, name
    wrong = ~(np.abs(got - expected) <= error)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AssertionError(
            f"{name} at {at}: {got[at]!r}, expected {expected[at]!r} within {error[at]:.2g}; {int(wrong.sum())} such"
        )


def assert_forward(contributions: Array, sums: Array, x: Array, groups: Sequence[int], w: Weights) -> None:
    """float32 results are those of the reference."""
    traces = reference.forward(x, groups, w)
    errors = []
    for g, (t, place) in enumerate(zip(traces, reference.columns(groups), strict=True)):
        errors.append(forward(t, place, g, w))
        assert_within(contributions[:, g], t.contribution, errors[-1].contribution, f"contribution of group {g}")
    assert_within(sums, reference.total(traces), total(traces, errors), "total")


def assert_gradients(got: dict[str, Array], x: Array, groups: Sequence[int], w: Weights, gradient: Array) -> None:
    """float32 gradients (x and the weights' names) of sum(contributions * gradient) are those of the reference."""
    traces = reference.forward(x, groups, w)
    exact = reference.backward(traces, groups, w, gradient)
    for g, (t, place, d) in enumerate(zip(traces, reference.columns(groups), exact, strict=True)):
        allowed = gradients(t, forward(t, place, g, w), d, place, g, w)
        for name, values in got.items():
            part = values[:, place] if name == "x" else values[place] if name == "w1" else values[g]
            assert_within(part, getattr(d, name), getattr(allowed, name), f"gradient of {name}, group {g}")
