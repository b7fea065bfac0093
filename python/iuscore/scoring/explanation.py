"""Why an image, or a set of images, scores as it does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from iuscore.features import GroupChange
from iuscore.models.record import Profile
from iuscore.scoring.words import change_lines

Array = npt.NDArray[np.floating[Any]]


MIN_SD = 0.05
"""Smallest standard deviation to divide by. A component that saturates the tanh has almost no spread, and its shift
would be thousands of standard deviations."""


@dataclass(frozen=True)
class ComponentReason:
    """One component of one explanation.

    Attributes:
        name: name of the component.
        baseline: mean contribution of the real class.
        contribution: contribution of the image, or its mean over the set.
        share: share of the IUS (mean of shares for a set); the shares sum to the IUS.
        shift: (contribution - baseline) / max(standard deviation of the real class, `MIN_SD`); None if the standard
            deviation is unknown.
    """

    name: str
    baseline: float
    contribution: float
    share: float
    shift: float | None

    @property
    def difference(self) -> float:
        """Contribution minus baseline, the difference from the real class in the output of the model."""
        return self.contribution - self.baseline


@dataclass(frozen=True, repr=False)
class Explanation:
    """Why images score as they do: what CHANGED in the images, what MATTERS to the model, and the shares of the IUS.

    ``print(explanation)`` prints a table; `to_dict` gives plain values.

    Attributes:
        target: the real class.
        ius: IUS of the image, or mean IUS of the set.
        components: in the model's order. `matters_most` has the largest difference between contribution and baseline.
        changes: how far each group of features moved, in the model's order; `most_changed` moved farthest. None for
            a model without named features, such as "epu".
        toward_other: position of the contributions between the real class (0) and the other class (1); None unless
            there are two classes and the other class has a profile.
        n: number of images that were explained together.
        out_of_distribution: whether the images lie so far from real images of every class that the IUS is a guess.

    Example:
        >>> reasons = (ComponentReason("color", 0.5, 0.8, 0.3, 3.0), ComponentReason("shape", -1.0, -1.0, 0.6, 0.0))
        >>> why = Explanation("benign", 0.9, reasons)
        >>> why
        Explanation(target='benign', ius=0.900, n=1, read_first='color')
        >>> print(why)
        1 image against real benign: IUS 0.900
        component  contribution  of real  difference  share  shift
        color             +0.80    +0.50       +0.30  +0.30   +3.0
        shape             -1.00    -1.00       +0.00  +0.60   +0.0
        >>> why.to_dict()["components"]["color"]["contribution"]
        0.8
    """

    target: str
    ius: float
    components: tuple[ComponentReason, ...]
    changes: tuple[GroupChange, ...] | None = None
    toward_other: float | None = None
    n: int = 1
    out_of_distribution: bool = False

    @property
    def read_first(self) -> str | None:
        """The component to look at first.

        The group that changed most, if it moved by more than 1 + 2 / sqrt(n) (the mean of n real images varies by
        1 / sqrt(n) by chance); else the component that matters most. If changes are unknown: the component whose
        contribution lies farthest from the real class, in standard deviations of that component.
        """
        changed, matters = self.most_changed, self.matters_most
        if changed is None:
            return self.most_shifted
        if changed.moved > 1 + 2 / math.sqrt(self.n):
            return changed.name
        return matters.name if matters else None

    @property
    def most_changed(self) -> GroupChange | None:
        """The group whose values moved farthest; None if unknown."""
        known = [change for change in self.changes or () if np.isfinite(change.moved)]
        return max(known, key=lambda change: change.moved) if known else None

    @property
    def matters_most(self) -> ComponentReason | None:
        """The component whose contribution differs most from the real class; None if no contribution is finite."""
        known = [c for c in self.components if np.isfinite(c.difference)]
        return max(known, key=lambda c: abs(c.difference)) if known else None

    @property
    def most_shifted(self) -> str | None:
        """Component with the largest absolute ``shift``; None if unknown."""
        known = [c for c in self.components if c.shift is not None and np.isfinite(c.shift)]
        return max(known, key=lambda c: abs(c.shift or 0.0)).name if known else None

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, ready for ``json.dumps``.

        Returns:
            target, ius, n, read_first, most_changed, matters_most and most_shifted (names, or None), toward_other and
            out_of_distribution;
            ``components``: name -> contribution, baseline, difference, share and shift; ``changes``: group -> moved,
            feature, shift, noise, words and beyond_chance, or None if unknown. A number that is not finite is None.
        """
        changes = self.changes and {c.name: {**asdict(c), "beyond_chance": c.beyond_chance} for c in self.changes}
        found: dict[str, Any] = plain_values(
            {
                "target": self.target,
                "ius": self.ius,
                "n": self.n,
                "read_first": self.read_first,
                "most_changed": self.most_changed.name if self.most_changed else None,
                "matters_most": self.matters_most.name if self.matters_most else None,
                "most_shifted": self.most_shifted,
                "toward_other": self.toward_other,
                "out_of_distribution": self.out_of_distribution,
                "components": {c.name: {**asdict(c), "difference": c.difference} for c in self.components},
                "changes": changes,
            }
        )
        return found

    def __repr__(self) -> str:
        return f"Explanation(target={self.target!r}, ius={self.ius:.3f}, n={self.n}, read_first={self.read_first!r})"

    def __str__(self) -> str:
        """A table of the components, and what changed, in words."""
        images = "1 image" if self.n == 1 else f"{self.n} images"
        rows = [["component", "contribution", "of real", "difference", "share", *([] if self.changes else ["shift"])]]
        for c in self.components:
            shift = [] if self.changes else ["unknown" if c.shift is None else f"{c.shift:+.1f}"]
            numbers = (c.contribution, c.baseline, c.difference, c.share)
            rows.append([c.name, *(f"{number:+.2f}" for number in numbers), *shift])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = [
            "  ".join([f"{row[0]:<{widths[0]}}", *(f"{x:>{w}}" for x, w in zip(row[1:], widths[1:], strict=True))])
            for row in rows
        ]
        words = change_lines(self.changes, self.target, self.n) if self.changes else []
        if self.toward_other is not None and self.toward_other >= 0.5:
            words.append(f"taken together: {100 * min(self.toward_other, 1.0):.0f} % of the way to the other class")
        doubt = ", a guess: far outside real images" if self.out_of_distribution else ""
        return "\n".join([f"{images} against real {self.target}: IUS {self.ius:.3f}{doubt}", *table, *words])


def plain_values(value: Any) -> Any:
    """``value`` with None in place of numbers that are not finite, which JSON cannot hold."""
    if isinstance(value, dict):
        return {key: plain_values(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def explain_contributions(
    profile: Profile,
    contributions: Array,
    shares: Array,
    *,
    target: str,
    components: Sequence[str],
    other: Profile | None = None,
    changes: tuple[GroupChange, ...] | None = None,
    n: int | None = None,
) -> Explanation:
    """Compare contributions with a baseline profile, component by component.

    Args:
        profile: baseline profile of the real class.
        contributions: [G] of an image, or [N, G] of a set (its mean is explained).
        shares: the same shape.
        target: name of the class.
        components: G names.
        other: profile of the other of two classes, for ``toward_other``.
        changes: result of `iuscore.features.changes`.
        n: number of images; None: number of rows.

    Returns:
        `Explanation`; images with NaN are left out of the mean of a set.

    Example:
        >>> import numpy as np
        >>> profile = Profile((0.5, -1.0), (0.1, 0.5), None, None, 9, ((0.5, -1.0),))
        >>> why = explain_contributions(profile, np.array([0.8, -1.0]), np.array([0.3, 0.6]), target="a",
        ...                             components=["x", "y"])
        >>> why.most_shifted, [round(c.shift, 1) for c in why.components]
        ('x', [3.0, 0.0])
    """
    mean = _set_mean(contributions)
    part = _set_mean(shares)
    reasons = []
    for g, name in enumerate(components):
        sd = max(profile.sd[g], MIN_SD) if profile.sd is not None else None
        shift = (float(mean[g]) - profile.mean[g]) / sd if sd is not None else None
        reasons.append(ComponentReason(name, profile.mean[g], float(mean[g]), float(part[g]), shift))
    baseline = np.array(profile.mean)
    toward = None if other is None else _projection(mean - baseline, np.subtract(other.mean, profile.mean))
    return Explanation(target, float(part.sum()), tuple(reasons), changes, toward, n or n_images(contributions))


def n_images(contributions: Array) -> int:
    """Number of images of contributions [G] or [N, G], at least 1."""
    return 1 if np.ndim(contributions) == 1 else max(len(contributions), 1)


def _projection(vector: Array, axis: Array) -> float | None:
    """Coordinate of ``vector`` along ``axis``, in lengths of ``axis``; None for an axis of length 0."""
    square = float(axis @ axis)
    return float(vector @ axis) / square if square > 0 else None


def _set_mean(values: Array) -> Array:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 1:
        return values
    usable = values[np.isfinite(values).all(axis=1)]
    return usable.mean(axis=0) if len(usable) else np.full(values.shape[1], np.nan)
