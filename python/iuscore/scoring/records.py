"""Records of a scored set: the content of ``summary.json``, typed, and checked when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from iuscore._run import records
from iuscore.errors import UserError
from iuscore.features import GroupChange
from iuscore.models.record import HeldOut
from iuscore.models.text import with_present_mode

COPIES = 0.5
"""Distance to the nearest neighbor, compared with real images, below which a set is said to repeat itself."""


@dataclass(frozen=True)
class MeanIus:
    """Mean IUS of a set.

    Attributes:
        mean: mean IUS; NaN or None if an image is not finite.
        low, high: ends of the 95 % interval of the mean; None for fewer than 5 images (5 groups, if known).
        sd: standard deviation over images; None for one image.
        quantiles: "0.05" to "0.95" -> IUS.
    """

    mean: float | None
    low: float | None = None
    high: float | None = None
    sd: float | None = None
    quantiles: dict[str, float | None] | None = None


@dataclass(frozen=True)
class ComponentSummary:
    """One component of a set, compared with the real class.

    Attributes:
        name: name of the component.
        baseline: mean contribution of the real class.
        contribution: mean contribution of the set, with ``low`` and ``high``, the ends of its 95 % interval.
        share: mean share of the IUS; the shares sum to the mean IUS.
        shift: ``difference`` in standard deviations of the real class; None if unknown.
        difference: ``contribution`` minus ``baseline``.
    """

    name: str
    baseline: float
    contribution: float | None
    share: float | None
    shift: float | None
    difference: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class TargetSummary:
    """The images of a set that were compared with one class.

    Attributes:
        n: number of images; ``n_groups``: number of groups (patients), if known.
        ius: mean IUS of the images.
        components: in the model's order.
        ceiling, floor: held-out references: IUS of real images of the class, and of the other classes; None if no
            images were held out.
        above_ceiling_lower_quartile: share of the images above the lower quartile of ``ceiling``; 0.75 for real ones.
        most_like: class -> number of images for which it is the most probable class.
        read_first: the component to look at first; ``most_shifted`` has the largest shift, ``matters_most`` the
            largest difference.
        toward_other: position of the set between its class (0) and the other class (1); None unless there are two.
        changes: changes of the groups of features, if the model has features; ``most_changed`` names the largest.
        distance_from_real: distance in spreads from the nearest real class, in the farthest group of features.
        joint_distance_from_real: the same for all groups together, with their correlation; None if unknown.
        inverted: whether the gray levels look like those of inverted real images.
        out_of_distribution: ``distance_from_real`` above 1.5, ``joint_distance_from_real`` above 0.8, or inverted.
        classes_overlap: whether the model separates the class from the others so badly that the IUS means little.
        doubtful: whether a note limits the meaning of the IUS.
        n_compared, n_identical: number of images in the sample whose features were compared with each other, and of
            these the images whose features equal those of another one.
        diversity: median nearest-neighbor distance, relative to real images; near 0 for copies.

    Example:
        >>> TargetSummary(9, MeanIus(0.5), ()).doubtful
        False
    """

    n: int
    ius: MeanIus
    components: tuple[ComponentSummary, ...]
    n_groups: int | None = None
    most_like: dict[str, int] | None = None
    above_ceiling_lower_quartile: float | None = None
    ceiling: HeldOut | None = None
    floor: HeldOut | None = None
    read_first: str | None = None
    most_shifted: str | None = None
    matters_most: str | None = None
    toward_other: float | None = None
    changes: tuple[GroupChange, ...] | None = None
    most_changed: str | None = None
    distance_from_real: float | None = None
    joint_distance_from_real: float | None = None
    inverted: bool = False
    out_of_distribution: bool = False
    classes_overlap: bool = False
    doubtful: bool = False
    diversity: float | None = None
    n_compared: int = 0
    n_identical: int = 0

    @property
    def repeats_itself(self) -> bool:
        """Whether the images are nearly copies of each other, so that their interval is too short."""
        near = self.diversity is not None and self.diversity < COPIES
        return near or 2 * self.n_identical > self.n_compared


@dataclass(frozen=True)
class MeanOverClasses:
    """The unweighted mean of the classes' mean IUS.

    Attributes:
        classes: names of the classes, in order.
        mean, low, high: the mean and its 95 % interval.
        ceiling, floor: means of the classes' ceilings and floors; None if a class has none.
        out_of_distribution, classes_overlap: the classes for which this flag is set.
    """

    classes: tuple[str, ...]
    mean: float | None
    low: float | None = None
    high: float | None = None
    ceiling: float | None = None
    floor: float | None = None
    out_of_distribution: tuple[str, ...] = ()
    classes_overlap: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be read, and why."""

    uid: str
    error: str


@dataclass(frozen=True)
class ModelUsed:
    """The model that scored a set."""

    kind: str
    weights_sha256: str
    members: int
    classes: tuple[str, ...]
    components: tuple[str, ...]
    space: str
    precision: str
    mode: str | None = None
    color: str | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class SetSummary:
    """The summary of a run: ``summary.json``.

    Attributes:
        images: path of the images.
        n_listed, n_scored, n_unreadable: number of images that were listed, have a score, could not be read.
        n_to_try_again: number of unreadable images with a transient error, which the next command tries again.
        first_unreadable: the first few unreadable images.
        complete: whether all images are scored or unreadable.
        interrupted: whether the command was stopped.
        targets: class -> summary of the images compared with it.
        mean_over_classes: mean over the classes; None for one class.
        group_by: pattern that found the groups.
        warnings, errors: text -> number of images.
        n_known: number of images that the model was made from.
        notes: sentences that limit the meaning of the numbers.
        model, decoder, versions: model, image decoder and software versions that made the scores.
        seconds, images_per_second: duration and rate of the last command.
        format: format number of the file. Files of version 0.1 have none, and are format 1.
    """

    FORMAT: ClassVar[int] = 3

    images: str
    n_listed: int
    n_scored: int
    n_unreadable: int
    complete: bool
    interrupted: bool
    targets: dict[str, TargetSummary]
    warnings: dict[str, int]
    errors: dict[str, int]
    notes: tuple[str, ...]
    model: ModelUsed
    decoder: str
    versions: dict[str, str]
    seconds: float
    images_per_second: float | None
    n_to_try_again: int = 0
    first_unreadable: tuple[Unreadable, ...] = ()
    mean_over_classes: MeanOverClasses | None = None
    group_by: str | None = None
    n_known: int = 0
    format: int = 1

    @property
    def n_done(self) -> int:
        """Number of images with a score or an error."""
        return self.n_scored + self.n_unreadable

    def with_notes(self, notes: tuple[str, ...]) -> SetSummary:
        """The same summary with more notes in front of its own."""
        return replace(self, notes=(*notes, *self.notes))

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and values; numbers that are not finite become None, as JSON cannot hold them."""
        return records.to_json(self)

    @classmethod
    def from_json(cls, value: Any) -> SetSummary:
        """Read the result of :meth:`to_json`, of this version or an earlier one.

        Raises:
            UserError: a field is missing or of another type (the message has its path), or the format is newer.

        Example:
            >>> SetSummary.from_json({"images": 3})
            Traceback (most recent call last):
            ...
            iuscore.errors.UserError: images: expected text, got 3
        """
        if isinstance(value, Mapping):
            records.require_format(value.get("format", 1), cls.FORMAT)
            value = with_present_names(value)
        return records.from_json(cls, value)

    @classmethod
    def read(cls, path: str | Path) -> SetSummary:
        """Read ``summary.json``; ``path`` is the file, or the folder of a run.

        Raises:
            UserError: as `from_json`; or the file does not exist, or is not JSON.
        """
        file = Path(path)
        file = file / "summary.json" if file.is_dir() else file
        try:
            value = records.parse_json(file.read_bytes())
        except OSError as error:
            raise UserError(f"{file}: cannot be read ({error.strerror}); give the --out folder of a run") from None
        except ValueError as error:
            raise UserError(f"{file}: no JSON ({error}); run 'iuscore score' again") from None
        try:
            return cls.from_json(value)
        except UserError as error:
            raise UserError(f"{file}: {error}; run 'iuscore score' again") from None


_NAMES_UNTIL_FORMAT_2 = {
    "first": "read_first",
    "outside": "distance_from_real",
    "far_outside": "out_of_distribution",
    "nearest": "diversity",
}


def with_present_names(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The content of ``summary.json`` with the present names of its fields (format 3) and of the model's mode."""
    found = _renamed(summary) if summary.get("format", 1) < 3 else summary
    return {name: with_present_mode(value) if name == "model" else value for name, value in found.items()}


def _renamed(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary of format 1 or 2 with the field names of format 3."""

    def of(fields: Any) -> Any:
        if not isinstance(fields, Mapping):
            return fields
        return {_NAMES_UNTIL_FORMAT_2.get(name, name): value for name, value in fields.items()}

    found = {**summary, "mean_over_classes": of(summary.get("mean_over_classes"))}
    if isinstance(targets := summary.get("targets"), Mapping):
        found["targets"] = {name: of(target) for name, target in targets.items()}
    return found
