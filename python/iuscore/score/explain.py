"""Why an image, or a set of images, scores as it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from iuscore.profile import Profile

Array = npt.NDArray[np.floating[Any]]


SMALLEST_SD = 0.05
"""A component that saturates the tanh has next to no spread; smaller standard deviations count as this one, or its
shift would be thousands of them."""


@dataclass(frozen=True)
class ComponentReason:
    """One component of one explanation.

    Attributes:
        name: of the component.
        baseline: mean contribution of the real class.
        contribution: of the image, or the mean of the set.
        share: of the IUS (mean of shares for a set); the shares sum to the IUS.
        shift: (contribution - baseline) / max(standard deviation of the real class, `SMALLEST_SD`); None where the
            spread is unknown.
    """

    name: str
    baseline: float
    contribution: float
    share: float
    shift: float | None


@dataclass(frozen=True)
class Explanation:
    """IUS taken apart. ``components`` are in the model's order; `most_shifted` names the one to look at first."""

    target: str
    ius: float
    components: tuple[ComponentReason, ...]

    @property
    def most_shifted(self) -> str | None:
        """Component whose contribution lies farthest from the real class, in its own spread; None if unknown."""
        known = [c for c in self.components if c.shift is not None and np.isfinite(c.shift)]
        return max(known, key=lambda c: abs(c.shift or 0.0)).name if known else None


def explain_contributions(
    profile: Profile, contributions: Array, shares: Array, *, target: str, components: Sequence[str]
) -> Explanation:
    """Compare contributions with a baseline profile, component by component.

    Args:
        profile: of the real class.
        contributions: [G] of an image, or [N, G] of a set (its mean is explained).
        shares: the same shape.
        target: name of the class.
        components: G names.

    Returns:
        `Explanation`; images with NaN are left out of a set's mean.

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
        sd = max(profile.sd[g], SMALLEST_SD) if profile.sd is not None else None
        shift = (float(mean[g]) - profile.mean[g]) / sd if sd is not None else None
        reasons.append(ComponentReason(name, profile.mean[g], float(mean[g]), float(part[g]), shift))
    return Explanation(target, float(part.sum()), tuple(reasons))


def _set_mean(values: Array) -> Array:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 1:
        return values
    usable = values[np.isfinite(values).all(axis=1)]
    return usable.mean(axis=0) if len(usable) else np.full(values.shape[1], np.nan)
