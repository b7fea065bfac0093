"""Baseline profiles (mean contributions of the real images of each class), and the scores that real images reach."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from iuscore.errors import UserError
from iuscore.features import FeatureProfile
from iuscore.models import Ensemble, Space
from iuscore.models.base import output_column
from iuscore.models.record import QUANTILES, HeldOut, ModelRecord, Profile
from iuscore.scoring.intervals import exact_mean, mean_interval
from iuscore.scoring.similarity import ius, leave_one_out_ius

Array = npt.NDArray[np.float64]
Labels = Tensor | npt.NDArray[np.integer[Any]] | Sequence[int]


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
            mean, standard deviation and interval are those of the mean over members.
        labels: integers [N], indices in ``classes``.
        classes: class names in label order; they determine K (1 for two classes, else their number).
        groups: group of each image, such as its patient, for the interval; None: all images are independent. An image
            whose group is None is independent of all others.

    Returns:
        class -> `Profile`. With one image, sd is None. Below 5 images or groups there is no interval. If a component
        is the same in all images, both ends of its interval equal the mean.

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
            importance=_floats(importance(values[..., output_column(classes, name)].mean(axis=0), marks)),
        )
    return profiles


def importance(contributions: Array, labels: npt.NDArray[np.integer[Any]]) -> Array:
    """Mean absolute contribution over real images, each class counting the same, after the mean is taken off.

    Args:
        contributions: float64 [N, G], to one output. labels: [N]; classes without an image are left out.

    Returns:
        [G]: the mean over classes of the mean over images of |c - m|, with m the mean over classes of class means.

    Example:
        >>> importance(np.array([[1.0, 5.0], [3.0, 5.0], [-2.0, 5.0]]), np.array([0, 0, 1]))
        array([2., 0.])
    """
    classes = [contributions[labels == k] for k in np.unique(labels)]
    middle = np.mean([exact_mean(rows) for rows in classes], axis=0)
    found: Array = np.mean([np.abs(rows - middle).mean(axis=0) for rows in classes], axis=0)
    return found


def _named(groups: Sequence[str | None]) -> list[str]:
    """A name for every image's group; an image without a group gets a group of its own."""
    return [f"alone {i}" if group is None else f"group {group}" for i, group in enumerate(groups)]


def ceiling_and_floor(
    contributions: Tensor | Array,
    labels: Labels,
    profiles: Mapping[str, Profile],
    *,
    classes: Sequence[str],
    source: Literal["test", "leave-one-out"],
) -> tuple[dict[str, HeldOut], dict[str, HeldOut]]:
    """The held-out references: IUS of real images of the class (ceiling), and of all other classes (floor).

    Args:
        contributions, labels, classes: of real images, as in :func:`baseline_profiles`.
        profiles: class -> baseline, in the same space.
        source: "test" if the images were not used for the profiles. "leave-one-out" if they are the validation images
            of the profiles: each image of the class is then compared with the mean of the other images of its class.
            (Images of other classes are not part of the profile, and are compared with the profile itself.)

    Returns:
        Ceiling and floor: class -> `HeldOut`, with n = 0 without images, or for leave-one-out of a single image.

    Raises:
        ValueError: shapes or labels that do not fit, or an unknown source.
        UserError: contributions that are not finite.

    Example:
        >>> c = torch.tensor([[[1.0], [0.0]], [[1.0], [0.0]], [[0.0], [1.0]]])  # two components
        >>> profiles = baseline_profiles(c, [0, 0, 1], classes=["a", "b"])
        >>> ceiling, floor = ceiling_and_floor(c, [0, 0, 1], profiles, classes=["a", "b"], source="test")
        >>> ceiling["a"].mean, floor["a"].mean, floor["a"].n
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
        ceiling[name] = _held_out(reached, source)
        floor[name] = _held_out(ius(baseline, column[~own]), source)
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
    if nonfinite := int((~np.isfinite(values).all(axis=(0, 2, 3))).sum()):
        raise UserError(f"contributions of {nonfinite} of {marks.size} images are not finite: leave them out")
    return values, marks.astype(np.int64)


def _held_out(values: Tensor, source: str) -> HeldOut:
    found = values.double().numpy()
    if not found.size:
        return HeldOut(0, source=source)
    quantiles = {str(q): number for q, number in zip(QUANTILES, _floats(np.quantile(found, QUANTILES)), strict=True)}
    return HeldOut(int(found.size), float(found.mean()), quantiles, source)


def _floats(values: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def profiles_of(record: ModelRecord, model: Ensemble, space: Space) -> dict[str, Profile]:
    """The baseline profiles of a record in one space, checked against the model.

    Returns:
        class -> `Profile`.

    Raises:
        UserError: no profile in ``space``, or a profile of another model; the message begins with the field's path.
    """
    if not record.profiles.get(space):
        known = ", ".join(name for name, profiles in record.profiles.items() if profiles) or "none"
        raise UserError(f"space: the model has no {space!r} profiles (it has: {known})")
    for name, profile in record.profiles[space].items():
        where = f"profiles.{space}.{name}"
        if name not in model.classes:
            raise UserError(f"{where}: expected one of the classes {', '.join(model.classes)}; fit the model again")
        for got, expected, field, what in (
            (len(profile.mean), len(model.components), "mean", f"components ({', '.join(model.components)})"),
            (len(profile.member_means), len(model.members), "member_means", "members"),
        ):
            if got != expected:
                raise UserError(f"{where}.{field}: expected {expected} {what}, got {got}; fit the model again")
    return dict(record.profiles[space])


def feature_profiles_of(record: ModelRecord, model: Ensemble) -> dict[str, FeatureProfile]:
    """class -> `FeatureProfile` of a record; empty for a model without named features.

    Raises:
        UserError: a profile of another model.
    """
    for name, profile in record.features.items() if model.features else ():
        if name not in model.classes:
            raise UserError(f"features.{name}: expected one of the classes {', '.join(model.classes)}")
        if not len(profile.mean) == len(profile.sd) == len(model.features):
            raise UserError(f"features.{name}: expected {len(model.features)} means and spreads; fit the model again")
        pairs = math.comb(sum(feature.role == "statistic" for feature in model.features), 2)
        if profile.correlation is not None and len(profile.correlation) != pairs:
            raise UserError(f"features.{name}.correlation: expected {pairs} numbers; fit the model again")
        if profile.quantiles is not None and len(profile.quantiles) != len(model.features):
            raise UserError(f"features.{name}.quantiles: expected {len(model.features)} lists; fit the model again")
    return dict(record.features) if model.features else {}
