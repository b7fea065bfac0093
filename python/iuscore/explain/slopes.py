"""How a component's contribution changes from one point in feature space to another, feature by feature, exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from iuscore.errors import UserError
from iuscore.models import Ensemble, Space, TextureModel
from iuscore.models.texture import FARTHEST

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Slopes:
    """Mean slopes of all components along the straight line between two points.

    Attributes:
        slopes: float64 [F]: change of the contribution of a feature's group per unit of the feature, averaged over the
            line; summed with the differences of the features it is the change of the contribution.
        start, end: float64 [G]: contributions at the two points.
    """

    slopes: Array
    start: Array
    end: Array


def mean_slopes(model: Ensemble, start: Array, end: Array, target: str, space: Space = "paper") -> Slopes:
    """Integrated gradients of every component between two points, without numerical integration.

    The networks are piecewise linear, and features are clamped: along a line the slope changes at finitely many
    places, which are computed. So the parts of the features sum to the change of the contribution up to rounding.

    Args:
        model: of kind "texture".
        start, end: [F], finite.
        target: class whose output is taken.
        space: of the contributions.

    Raises:
        UserError: a model of another kind.

    Source: Sundararajan, Taly, Yan, "Axiomatic attribution for deep networks", ICML 2017.

    Example:
        >>> model = Ensemble([TextureModel(["a", "b"], color="gray")]).eval()
        >>> end = np.full(len(model.features), 0.5)
        >>> found = mean_slopes(model, np.zeros_like(end), end, "b")
        >>> sizes = np.cumsum([0, *model.members[0].groups])
        >>> parts = [(found.slopes * end)[a:b].sum() for a, b in zip(sizes, sizes[1:])]
        >>> bool(np.allclose(parts, found.end - found.start))
        True
    """
    members = [member for member in model.members if isinstance(member, TextureModel)]
    if len(members) < len(model.members):
        raise UserError(f"slopes of features: expected a model of kind 'texture', got {model.member_kind!r}")
    column = model.target_column(target)
    found = [_of_member(member, np.asarray(start, float), np.asarray(end, float), column, space) for member in members]
    slopes, starts, ends = (np.mean([getattr(each, name) for each in found], axis=0) for name in _FIELDS)
    return Slopes(slopes, starts, ends)


_FIELDS = ("slopes", "start", "end")


def _of_member(member: TextureModel, start: Array, end: Array, column: int, space: Space) -> Slopes:
    weights = member.weights()
    w1, b1, w2, b2, w3, b3 = (
        part.detach().cpu().double().numpy()
        for part in (weights.w1, weights.b1, weights.w2, weights.b2, weights.w3, weights.b3)
    )
    z0 = (start - member.feature_mean) / member.feature_sd
    dz = (end - start) / member.feature_sd
    slopes, ends = np.zeros(len(z0)), np.zeros((2, len(member.groups)))
    first = 0
    for g, size in enumerate(member.groups):
        part = slice(first, first + size)
        first += size
        network = (w1[part], b1[g], w2[g], b2[g], w3[g, :, column], b3[g, column])
        slopes[part], ends[:, g] = _along(network, z0[part], dz[part])
        if space == "paper" and member.heads == "tanh":
            slopes[part] *= _secant(*ends[:, g])
            ends[:, g] = np.tanh(ends[:, g])
    return Slopes(slopes / member.feature_sd, ends[0], ends[1])


def _secant(start: float, end: float) -> float:
    """Mean slope of the tanh between two values."""
    if abs(end - start) < 1e-9:
        return 1.0 - float(np.tanh(start)) ** 2
    return float((np.tanh(end) - np.tanh(start)) / (end - start))


def _along(network: tuple[Any, ...], z0: Array, dz: Array) -> tuple[Array, Array]:
    """Mean slopes [F] of one network along z0 + t dz for t from 0 to 1, and its outputs at both ends [2]."""
    w1, b1, w2, b2, w3, b3 = network

    def hidden(t: Array) -> Array:
        found: Array = np.clip(z0 + t[:, None] * dz, -FARTHEST, FARTHEST) @ w1 + b1
        return found

    def second(t: Array) -> Array:
        found: Array = np.maximum(hidden(t), 0.0) @ w2 + b2
        return found

    moving = dz != 0.0
    clamps = np.concatenate([(limit - z0[moving]) / dz[moving] for limit in (-FARTHEST, FARTHEST)])
    knots = np.unique(np.concatenate([[0.0, 1.0], clamps[(clamps > 0.0) & (clamps < 1.0)]]))
    knots = _with_zeros(_with_zeros(knots, hidden), second)
    middle, length = (knots[1:] + knots[:-1]) / 2, np.diff(knots)
    inside = np.abs(z0 + middle[:, None] * dz) <= FARTHEST
    backward = ((second(middle) > 0.0) * w3) @ w2.T * (hidden(middle) > 0.0)
    slopes: Array = length @ (backward @ w1.T * inside)
    outputs: Array = np.maximum(second(np.array([0.0, 1.0])), 0.0) @ w3 + b3
    return slopes, outputs


def _with_zeros(knots: Array, values: Callable[[Array], Array]) -> Array:
    """Knots [T], and between two of them the zeros of ``values`` [T, H], which are linear there."""
    found = values(knots)
    left, right = found[:-1], found[1:]
    crossing = left * right < 0.0
    share = left / np.where(crossing, left - right, 1.0)
    zeros = knots[:-1, None] + share * np.diff(knots)[:, None]
    return np.unique(np.concatenate([knots, zeros[crossing]]))
