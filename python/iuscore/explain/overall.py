"""What a model has learned: importance of its components, profiles of classes, and shape functions with density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from iuscore.errors import UserError
from iuscore.explain.conventions import Shown, frame_of
from iuscore.explain.learned import ClassProfile, Learned
from iuscore.explain.plot_overall import component_figure, overall_figure, shape_figure
from iuscore.explain.shapes import ShapeFunction, shape_functions
from iuscore.features import FeatureProfile
from iuscore.features.change import QUANTILES
from iuscore.models import TextureModel
from iuscore.models.record import Profile
from iuscore.scoring import Scorer
from iuscore.scoring.baseline import importance
from iuscore.scoring.explanation import plain_values

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

RESAMPLED = 2000
"""Bootstrap samples of images, and of members."""

MIN_UNITS = 5
"""Fewest images (groups, if known) for a bootstrap interval, as in `iuscore.scoring.intervals`."""

ENDS = (2.5, 97.5)
"""Percentiles of the bootstrap means that are the ends of an interval."""


@dataclass(frozen=True, eq=False)
class RealImages:
    """Real images as a model sees them.

    Attributes:
        contributions: float64 [N, G], towards the target's output.
        features: float64 [N, F]; None for a model without named features.
        labels: int64 [N], places in the model's classes.
        groups: int64 [N], number of the group (patient) of each image; None where these are not known.
    """

    contributions: Array
    features: Array | None
    labels: Labels
    groups: Labels | None = None


@dataclass(frozen=True, eq=False)
class GlobalExplanation(Learned, Shown):
    """What a model has learned, with InterpretML's conventions.

    ``data()``: "names" are the components and "scores" their importance. ``data(i)`` of a texture model: the shape
    function of feature i, as EBM's: "names" the ends of intervals, "scores" the contribution in the middle of each,
    "upper_bounds" and "lower_bounds" one standard deviation over members, "density" the share of real images in each.
    ``data(i)`` of an epu model: the mean contribution of component i in each class.
    """

    explanation_type: ClassVar[Literal["local", "global"]] = "global"

    @property
    def feature_names(self) -> list[str]:
        return [shape.feature.name for shape in self.shapes] or list(self.components)

    @property
    def feature_types(self) -> list[str]:
        return ["continuous" if self.shapes else "nominal"] * len(self.feature_names)

    def choices(self) -> list[dict[str, Any]]:
        if not self.shapes:
            return [{"Name": name} for name in self.components]
        return [{"Name": s.feature.name, "Group": s.feature.group, "Effect": round(s.effect, 4)} for s in self.shapes]

    def _overall(self) -> dict[str, Any]:
        found: dict[str, Any] = plain_values(
            {
                "type": "univariate",
                "names": list(self.components),
                "scores": list(self.importance or [None] * len(self.components)),
                "importance_by": self.importance_by,
                "target": self.target,
                "profiles": {name: vars(profile) for name, profile in self.profiles.items()},
            }
        )
        return found

    def _specific(self, key: int) -> dict[str, Any]:
        found = self._shape(key) if self.shapes else self._component(key)
        plain: dict[str, Any] = plain_values({"type": "univariate", **found})
        return plain

    def _shape(self, key: int) -> dict[str, Any]:
        shape = self.shapes[key]
        keep = np.flatnonzero(shape.possible)
        edges, at = shape.values[keep], shape.contributions[keep]
        if len(keep) == 1:
            edges, at = np.repeat(edges, 2), np.repeat(at, 2)
        middle = (at[1:] + at[:-1]) / 2
        sd = np.zeros(len(at)) if shape.member_sd is None else shape.member_sd[keep if len(keep) > 1 else keep[[0, 0]]]
        sd = (sd[1:] + sd[:-1]) / 2
        density = self.density(key)
        every = [s.contributions[s.possible] for s in self.shapes]
        return {
            "names": edges.tolist(),
            "scores": middle.tolist(),
            "scores_range": [min(float(c.min()) for c in every), max(float(c.max()) for c in every)],
            "upper_bounds": None if shape.member_sd is None else (middle + sd).tolist(),
            "lower_bounds": None if shape.member_sd is None else (middle - sd).tolist(),
            "density": None
            if density is None
            else {"names": edges.tolist(), "scores": density[keep[:-1]].tolist() if len(keep) > 1 else [1.0]},
            "feature": shape.feature.name,
            "group": shape.feature.group,
            "unit": shape.feature.unit,
            "effect": shape.effect,
        }

    def _component(self, key: int) -> dict[str, Any]:
        rows = self.profiles.values()
        return {
            "names": list(self.profiles),
            "scores": [row.mean[key] for row in rows],
            "upper_bounds": [None if row.high is None else row.high[key] for row in rows],
            "lower_bounds": [None if row.low is None else row.low[key] for row in rows],
            "density": {"names": list(self.profiles), "scores": [row.n for row in rows]},
            "component": self.components[key],
        }

    def to_frame(self) -> Any:
        """One row for each class and component.

        Raises:
            UserError: pandas is not installed.
        """
        rows = []
        for name, profile in self.profiles.items():
            for g, component in enumerate(self.components):
                row: dict[str, Any] = {"class": name, "component": component}
                for field in ("mean", "low", "high", "member_low", "member_high"):
                    values = getattr(profile, field)
                    row[field] = None if values is None else values[g]
                rows.append({**row, "importance": None if self.importance is None else self.importance[g]})
        return frame_of(rows)

    def plot(self, key: int | None = None) -> Any:
        """Importance and profiles (None), one shape function with density, or one component's profile."""
        if key is None:
            return overall_figure(self)
        return shape_figure(self, self._checked(key)) if self.shapes else component_figure(self, self._checked(key))


def explain_global(
    scorer: Scorer, *, target: str | int | None = None, real: RealImages | None = None, seed: int = 0
) -> GlobalExplanation:
    """Explain a model: from its folder alone, or measured on real images.

    Args:
        scorer: the model.
        target: class whose output is shown; None: the last. With two classes there is one output, towards the second.
        real: real images of all classes; None: what the model folder keeps of its training and validation images.
        seed: of the bootstrap.

    Raises:
        UserError: an unknown class; images of another shape, or not of every class.

    Example:
        >>> import tempfile, iuscore
        >>> from iuscore import demo
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     scorer = iuscore.load(demo.tiny_model(folder))
        >>> found = explain_global(scorer)
        >>> len(found.importance), found.importance_by, found.data(0)["names"]
        (4, 'model', ['normal', 'abnormal'])
    """
    (name,) = scorer.targets(scorer.classes[-1] if target is None else target, 1)
    if real is not None:
        _check(scorer, real)
    is_texture = all(isinstance(member, TextureModel) for member in scorer.model.members)
    shapes = tuple(shape_functions(scorer.model, name)) if is_texture else ()
    rng = np.random.default_rng(seed)
    profiles = {
        each: _profile(profile, real, scorer.classes.index(each), rng, len(scorer.classes) == 2 or each == name)
        for each, profile in scorer.profiles.items()
    }
    if real is not None:
        found: Sequence[float] | None = importance(real.contributions, real.labels).tolist()
    else:
        found = scorer.profiles[name].importance
    by: Literal["images", "model", "unknown"] = "images" if real else "model" if found is not None else "unknown"
    return GlobalExplanation(
        name, scorer.classes, scorer.components, None if found is None else tuple(found), by, profiles, shapes,
        _densities(scorer, shapes, real), f"model against {name}",
    )  # fmt: skip


def _check(scorer: Scorer, real: RealImages) -> None:
    n, g = len(real.labels), len(scorer.components)
    if real.contributions.shape != (n, g) or not np.isfinite(real.contributions).all():
        raise UserError(f"contributions: expected [{n}, {g}], finite, got {list(real.contributions.shape)}")
    missing = [name for k, name in enumerate(scorer.classes) if not (real.labels == k).any()]
    if missing:
        raise UserError(f"labels: expected real images of every class, got none of {', '.join(missing)}")


def _profile(
    profile: Profile, real: RealImages | None, k: int, rng: np.random.Generator, here: bool
) -> ClassProfile:  # fmt: skip
    """``here``: whether the contributions of ``real`` are to the output of this class."""
    members = _member_interval(np.array(profile.member_means), rng)
    if real is None or not here:
        return ClassProfile(profile.mean, profile.low, profile.high, *members, profile.n, "model")
    rows = real.contributions[real.labels == k]
    groups = None if real.groups is None else real.groups[real.labels == k]
    low, high = mean_interval(rows, groups, rng)
    return ClassProfile(tuple(rows.mean(axis=0).tolist()), low, high, *members, len(rows), "bootstrap")


Ends = tuple[tuple[float, ...] | None, tuple[float, ...] | None]


def mean_interval(rows: Array, groups: Labels | None, rng: np.random.Generator) -> Ends:
    """95 % percentile bootstrap interval of the mean of rows [N, G]: over groups where these are given.

    Returns:
        Lower and upper end, [G] each; None for fewer than 5 images (groups).

    Source: Efron, Tibshirani, "An introduction to the bootstrap", Chapman and Hall 1993, chapter 13.

    Example:
        >>> low, high = mean_interval(np.array([[0.0], [1.0]] * 50), None, np.random.default_rng(0))
        >>> low[0] < 0.5 < high[0]
        True
    """
    numbers = np.arange(len(rows)) if groups is None else np.unique(groups, return_inverse=True)[1]
    n = int(numbers.max()) + 1 if len(numbers) else 0
    if n < MIN_UNITS:
        return None, None
    sums, counts = np.zeros((n, rows.shape[1])), np.bincount(numbers, minlength=n).astype(np.float64)
    np.add.at(sums, numbers, rows)
    drawn = rng.multinomial(n, np.full(n, 1.0 / n), RESAMPLED).astype(np.float64)
    return _ends(drawn @ sums / (drawn @ counts)[:, None])


def _member_interval(means: Array, rng: np.random.Generator) -> Ends:
    """The same over members, of their means [M, G]."""
    if len(means) < 2:
        return None, None
    drawn = rng.integers(0, len(means), (RESAMPLED, len(means)))
    return _ends(means[drawn].mean(axis=1))


def _ends(means: Array) -> Ends:
    low, high = np.percentile(means, ENDS, axis=0)
    return tuple(low.tolist()), tuple(high.tolist())


def _densities(scorer: Scorer, shapes: Sequence[ShapeFunction], real: RealImages | None) -> dict[str, Array]:
    found = {}
    for k, name in enumerate(scorer.classes if shapes else ()):
        profile = scorer.feature_profiles.get(name)
        if real is not None and real.features is not None:
            rows = real.features[real.labels == k]
            found[name] = np.stack([of_values(rows[:, i], shape.values) for i, shape in enumerate(shapes)])
        elif profile is not None and profile.quantiles is not None:
            found[name] = np.stack([of_quantiles(profile, i, shape.values) for i, shape in enumerate(shapes)])
    return found


def of_values(values: Array, edges: Array) -> Array:
    """Share of values in each interval between edges [P]: (edge, next edge], the first with its lower end.

    Example:
        >>> of_values(np.array([0.0, 0.5, 1.0, 9.0]), np.array([0.0, 0.5, 1.0])).tolist()
        [0.5, 0.25]
    """
    place = np.searchsorted(edges, values, side="left") - 1
    place = np.where(values == edges[0], 0, place)
    inside = (place >= 0) & (place < len(edges) - 1)
    found: Array = np.bincount(place[inside], minlength=len(edges) - 1)[: len(edges) - 1] / max(len(values), 1)
    return found


def of_quantiles(profile: FeatureProfile, column: int, edges: Array) -> Array:
    """The same share from the quantiles of a profile, with the values between two quantiles spread evenly.

    Example:
        >>> row = tuple(np.linspace(0.0, 1.0, len(QUANTILES)))
        >>> profile = FeatureProfile(9, (0.5,), (0.3,), {}, None, (row,))
        >>> round(float(of_quantiles(profile, 0, np.array([-1.0, 0.5, 2.0])).sum()), 9)
        1.0
    """
    assert profile.quantiles is not None
    values, shares = np.array(profile.quantiles[column]), np.array(QUANTILES)
    last = np.append(np.diff(values) > 0, True)  # where several quantiles have one value, all up to the last lie there
    below = np.interp(edges, values[last], shares[last], left=0.0, right=1.0)
    if values[0] == edges[0]:
        below[0] = 0.0
    found: Array = np.diff(below)
    return found
