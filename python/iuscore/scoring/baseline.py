"""Baseline profiles: what the real images of each class contribute, and the scores that real images reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from iuscore.errors import UserError
from iuscore.models.base import SPACES, Space, output_column
from iuscore.models.text import LARGEST, bounded, is_numbers
from iuscore.scoring.intervals import exact_mean, mean_interval
from iuscore.scoring.similarity import ius, leave_one_out_ius

Array = npt.NDArray[np.float64]
Labels = Tensor | npt.NDArray[np.integer[Any]] | Sequence[int]
Vector = tuple[float, ...]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Profile:
    """What the real validation images of one class contribute, in one space.

    Attributes:
        mean: mean contribution per component, [G].
        sd: standard deviation over images (n - 1 in the denominator), [G]; None for one image
            or where it is not known.
        low: lower end of the 95 % interval of the mean (`iuscore.scoring.intervals`), [G]; None where it is not known,
            and for fewer than 5 images (groups, where these were known).
        high: its upper end.
        n: number of images; None where not known (imported baselines).
        member_means: the mean per member of the ensemble, [M][G].

    Example:
        >>> profile = Profile((0.5, -1.0), None, None, None, None, ((0.5, -1.0),))
        >>> Profile.from_json(profile.to_json()) == profile
        True
    """

    mean: Vector
    sd: Vector | None
    low: Vector | None
    high: Vector | None
    n: int | None
    member_means: tuple[Vector, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the profile as it stands in ``config.json``."""
        optional = {"sd": self.sd, "low": self.low, "high": self.high}
        return {
            "mean": list(self.mean),
            **{key: None if value is None else list(value) for key, value in optional.items()},
            "n": self.n,
            "member_means": [list(mean) for mean in self.member_means],
        }

    @classmethod
    def from_json(cls, value: Any, *, where: str = "profile") -> Profile:
        """Read what :meth:`to_json` returned.

        Args:
            value: parsed JSON.
            where: what to call it in messages.

        Raises:
            UserError: a key is missing, or a value is not what it should be.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(value, Mapping) or any(name not in value for name in names):
            raise UserError(f"{where}: expected {', '.join(names)}; fit the model again")
        mean = _vector(value["mean"], None, f"{where}.mean")
        sd, low, high = (
            None if value[key] is None else _vector(value[key], len(mean), f"{where}.{key}")
            for key in ("sd", "low", "high")
        )
        n, members = value["n"], value["member_means"]
        if sd is not None and min(sd) < 0:
            raise UserError(f"{where}.sd: expected numbers of at least 0, got {min(sd)}; fit the model again")
        if (low is None) != (high is None) or any(a > b for a, b in zip(low or (), high or (), strict=True)):
            raise UserError(f"{where}.low, {where}.high: expected both, low no higher than high; fit the model again")
        if n is not None and (type(n) is not int or not 1 <= n <= LARGEST):
            raise UserError(f"{where}.n: expected a number of images or null, got {bounded(n)}")
        if not isinstance(members, list) or not members:
            raise UserError(f"{where}.member_means: expected one list of numbers per member, got {bounded(members)}")
        means = tuple(_vector(m, len(mean), f"{where}.member_means[{i}]") for i, m in enumerate(members))
        return cls(mean, sd, low, high, n, means)


Profiles = dict[Space, dict[str, Profile]]
"""space -> class -> profile."""


def profiles_to_json(profiles: Mapping[Space, Mapping[str, Profile]]) -> dict[str, Any]:
    """Return the "profiles" of ``config.json``: space -> class -> profile."""
    return {space: {name: p.to_json() for name, p in group.items()} for space, group in profiles.items()}


def profiles_from_json(value: Any, *, classes: Sequence[str], components: Sequence[str]) -> Profiles:
    """Read the "profiles" of ``config.json``.

    Args:
        value: parsed JSON: space -> class -> profile. Spaces and classes may be absent.
        classes: the model's class names.
        components: the model's component names; every mean must have one value for each.

    Raises:
        UserError: unknown space or class, or a profile that does not fit.

    Example:
        >>> one = Profile((0.5, 0.25), None, None, None, None, ((0.5, 0.25),))
        >>> stored = profiles_to_json({"paper": {"a": one}})
        >>> profiles_from_json(stored, classes=["a", "b"], components=["x", "y"])["paper"]["a"] == one
        True
    """
    profiles: Profiles = {}
    if not isinstance(value, Mapping) or not set(value) <= set(SPACES):
        raise UserError(f"profiles: expected the spaces {', '.join(SPACES)}, got {bounded(value)}")
    for space in SPACES:
        group = value.get(space, {})
        if not isinstance(group, Mapping) or not set(group) <= set(classes):
            raise UserError(f"profiles.{space}: expected the classes {', '.join(classes)}, got {bounded(group)}")
        for name, stored in group.items():
            profile = Profile.from_json(stored, where=f"profiles.{space}.{name}")
            if len(profile.mean) != len(components):
                raise UserError(
                    f"profiles.{space}.{name}: expected {len(components)} components "
                    f"({', '.join(components)}), got {len(profile.mean)}"
                )
            profiles.setdefault(space, {})[name] = profile
    return profiles


def baseline_profiles(
    contributions: Tensor | Array,
    labels: Labels,
    *,
    classes: Sequence[str],
    groups: Sequence[str | None] | None = None,
) -> dict[str, Profile]:
    """Summarize the contributions of real validation images, class by class.

    Args:
        contributions: float [N, G, K], or [M, N, G, K] with one slice per member of an ensemble;
            mean, spread and interval are of the mean over members.
        labels: integers [N], positions in ``classes``.
        classes: class names in label order; fixes K (1 for two classes, else their number).
        groups: of each image, such as its patient, for the interval; None: images are independent, and so is an
            image whose group is None.

    Returns:
        class -> :class:`Profile`. With one image sd is None. Below 5 images or groups there is no interval; that of a
        component that is the same in all images is the mean itself.

    Raises:
        ValueError: shapes or labels that do not fit together.
        UserError: a class without images, or contributions that are not finite.

    Example:
        >>> c = torch.tensor([[[1.0]], [[3.0]], [[-2.0]]])  # three images, one component
        >>> profiles = baseline_profiles(c, [0, 0, 1], classes=["a", "b"])
        >>> profiles["a"].mean, round(profiles["a"].sd[0], 4), profiles["b"].sd
        ((2.0,), 1.4142, None)
    """
    values, marks = _checked(contributions, labels, classes)
    profiles = {}
    for k, name in enumerate(classes):
        members = values[:, marks == k][..., output_column(classes, name)]
        if members.shape[1] == 0:
            raise UserError(f"no validation image of class {name!r}: a baseline needs at least one")
        images = members.mean(axis=0)
        own = None if groups is None else _named([groups[i] for i in np.flatnonzero(marks == k).tolist()])
        interval = mean_interval(images, own)
        profiles[name] = Profile(
            mean=_floats(exact_mean(images)),
            sd=_floats(images.std(axis=0, ddof=1)) if len(images) > 1 else None,
            low=_floats(interval[0]) if interval else None,
            high=_floats(interval[1]) if interval else None,
            n=len(images),
            member_means=tuple(_floats(exact_mean(member)) for member in members),
        )
    return profiles


def _named(groups: Sequence[str | None]) -> list[str]:
    """A name for every image's group; one without a group is a group of its own."""
    return [f"alone {i}" if group is None else f"group {group}" for i, group in enumerate(groups)]


def ceiling_and_floor(
    contributions: Tensor | Array,
    labels: Labels,
    profiles: Mapping[str, Profile],
    *,
    classes: Sequence[str],
    source: Literal["test", "leave-one-out"],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Describe the IUS that real images reach: those of the class, and those of all others.

    Args:
        contributions, labels, classes: of real images, as in :func:`baseline_profiles`.
        profiles: class -> baseline, of the same space.
        source: "test" where the images are held out from the profiles; "leave-one-out" where
            they are the validation images the profiles were made of, so that each image of the
            class is compared with the mean of the others (images of other classes are not part
            of the profile and are compared with it as they are).

    Returns:
        Ceiling and floor: class -> {"n", "mean", "quantiles": {"0.05", ...}, "source"}. Without
        images (or with a single one left out of itself) n is 0 and the numbers are None.

    Raises:
        ValueError: shapes or labels that do not fit, or an unknown source.
        UserError: contributions that are not finite.

    Example:
        >>> c = torch.tensor([[[1.0], [0.0]], [[1.0], [0.0]], [[0.0], [1.0]]])  # two components
        >>> profiles = baseline_profiles(c, [0, 0, 1], classes=["a", "b"])
        >>> ceiling, floor = ceiling_and_floor(c, [0, 0, 1], profiles, classes=["a", "b"], source="test")
        >>> ceiling["a"]["mean"], floor["a"]["mean"], floor["a"]["n"]
        (1.0, 0.0, 1)
    """
    if source not in ("test", "leave-one-out"):
        raise ValueError(f"source: expected 'test' or 'leave-one-out', got {source!r}")
    values, marks = _checked(contributions, labels, classes)
    images = torch.from_numpy(values.mean(axis=0))
    ceiling, floor = {}, {}
    for name, profile in profiles.items():
        column = images[:, :, output_column(classes, name)]
        own = torch.from_numpy(marks == list(classes).index(name))
        baseline = torch.tensor(profile.mean, dtype=column.dtype)
        if source == "leave-one-out":
            reached = leave_one_out_ius(column[own]) if int(own.sum()) > 1 else column.new_empty(0)
        else:
            reached = ius(baseline, column[own])
        ceiling[name] = _distribution(reached, source)
        floor[name] = _distribution(ius(baseline, column[~own]), source)
    return ceiling, floor


def _checked(contributions: Any, labels: Any, classes: Sequence[str]) -> tuple[Array, npt.NDArray[np.int64]]:
    """Return float64 [M, N, G, K] and int64 [N]."""
    if isinstance(contributions, Tensor):
        contributions = contributions.detach().cpu().double().numpy()
    values = np.asarray(contributions, dtype=np.float64)
    if isinstance(labels, Tensor):
        labels = labels.cpu().numpy()
    marks = np.asarray(labels)
    if values.ndim == 3:
        values = values[None]
    outputs = 1 if len(classes) == 2 else len(classes)
    if values.ndim != 4 or values.shape[3] != outputs:
        raise ValueError(f"contributions: expected [N, G, {outputs}] or [M, N, G, {outputs}], got {list(values.shape)}")
    if marks.shape != (values.shape[1],):
        raise ValueError(f"labels: expected [{values.shape[1]}], got {list(marks.shape)}")
    if marks.size and (marks.dtype.kind not in "iu" or marks.min() < 0 or marks.max() >= len(classes)):
        raise ValueError(f"labels: expected integers from 0 to {len(classes) - 1}, got {np.unique(marks)}")
    if broken := int((~np.isfinite(values).all(axis=(0, 2, 3))).sum()):
        raise UserError(f"contributions of {broken} of {marks.size} images are not finite: leave them out")
    return values, marks.astype(np.int64)


def _distribution(values: Tensor, source: str) -> dict[str, Any]:
    found = values.double().numpy()
    numbers = _floats(np.quantile(found, QUANTILES)) if found.size else (None,) * len(QUANTILES)
    return {
        "n": int(found.size),
        "mean": float(found.mean()) if found.size else None,
        "quantiles": {str(q): number for q, number in zip(QUANTILES, numbers, strict=True)},
        "source": source,
    }


def _floats(values: Array) -> Vector:
    return tuple(float(value) for value in values)


def _vector(value: Any, length: int | None, where: str) -> Vector:
    if not isinstance(value, list) or not is_numbers(value) or not value or len(value) != (length or len(value)):
        size = "" if length is None else f"{length} "
        raise UserError(f"{where}: expected {size}finite numbers, got {bounded(value)}; fit the model again")
    return tuple(float(x) for x in value)
