"""What is known of a scored set, as it stands in ``summary.json``: typed, and checked when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from iuscore._run import records
from iuscore.errors import UserError
from iuscore.features import GroupChange
from iuscore.models.record import HeldOut


@dataclass(frozen=True)
class MeanIus:
    """Mean IUS of a set.

    Attributes:
        mean: NaN of images that are not finite.
        low, high: ends of its 95 % interval; None for fewer than 5 images, or groups where these are known.
        sd: standard deviation over images; None of one image.
        quantiles: "0.05" to "0.95" -> IUS.
    """

    mean: float | None
    low: float | None = None
    high: float | None = None
    sd: float | None = None
    quantiles: dict[str, float | None] | None = None


@dataclass(frozen=True)
class ComponentSummary:
    """One component of a set beside the real class.

    Attributes:
        name: of the component.
        baseline: mean contribution of the real class.
        contribution: mean contribution of the set, with ``low`` and ``high``, the ends of its 95 % interval.
        share: mean share of the IUS; the shares sum to the mean IUS.
        shift: ``difference`` in standard deviations of the real class; None where these are not known.
        difference: ``contribution`` less ``baseline``.
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
        n: number of images, and ``n_groups`` of groups (patients) where these are known.
        ius: their mean IUS.
        components: in the model's order.
        ceiling, floor: what real images reach; None where none were held out.
        above_ceiling_lower_quartile: share of the images above the lower quartile of ``ceiling``; 0.75 of real ones.
        most_like: class -> number of images of which it has the largest probability.
        read_first: the component to look at first; ``most_shifted`` and ``matters_most`` by shift and difference.
        toward_other: how far the set has gone from its class, 0, to the other of two, 1; None of more classes.
        changes: of each group of features, of a model that has some; ``most_changed`` names the farthest.
        distance_from_real: spreads between the set and the real class that is nearest, of the farthest group of
            features, and ``joint_distance_from_real`` of all groups together where they do not move as real images do.
        inverted: whether the gray levels look like those of real images turned round.
        out_of_distribution: ``distance_from_real`` above 1.5, ``joint_distance_from_real`` above 0.8, or inverted.
        classes_overlap: whether the model tells the class from the others so badly that the IUS means little.
        doubtful: whether a note takes back what the IUS seems to say.
        n_identical: of the images looked at, those that measure exactly as another one does.
        diversity: distance from an image to the one most like it, over that of real images; near 0 of copies.

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
    n_identical: int = 0


@dataclass(frozen=True)
class MeanOverClasses:
    """The mean of the classes' mean IUS, each class counting the same.

    Attributes:
        classes: in order.
        mean, low, high: the mean and its 95 % interval.
        ceiling, floor: means of those of the classes; None where one has none.
        out_of_distribution, classes_overlap: the classes of which this holds.
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
    """What a run knows of its images: ``summary.json``.

    Attributes:
        images: where they come from.
        n_listed, n_scored, n_unreadable: how many there are, have a score, could not be read.
        n_to_try_again: of the unreadable ones those whose reason may be gone.
        first_unreadable: the first few of them.
        complete: whether all images are done; ``interrupted``, whether this invocation was stopped.
        targets: class -> the images compared with it.
        mean_over_classes: None of one class.
        group_by: the pattern that found the groups.
        warnings, errors: text -> number of images.
        n_known: images that the model was made from.
        notes: what a reader of the numbers has to know.
        model, decoder, versions: what made the scores.
        seconds, images_per_second: of this invocation.
        format: of the file. Files of version 0.1 have none and are format 1.
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
        """Images with a score or a reason why there is none."""
        return self.n_scored + self.n_unreadable

    def with_notes(self, notes: tuple[str, ...]) -> SetSummary:
        """The same with more notes before the others."""
        return replace(self, notes=(*notes, *self.notes))

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and values; numbers that are not finite are None, as JSON has none."""
        return records.to_json(self)

    @classmethod
    def from_json(cls, value: Any) -> SetSummary:
        """Read what :meth:`to_json` returned, of this version or an earlier one.

        Raises:
            UserError: a field is missing or of another type, which the message names; or a newer format.

        Example:
            >>> SetSummary.from_json({"images": 3})
            Traceback (most recent call last):
            ...
            iuscore.errors.UserError: images: expected text, got 3
        """
        if isinstance(value, Mapping):
            records.require_format(value.get("format", 1), cls.FORMAT)
            if value.get("format", 1) < 3:
                value = _renamed(value)
        return records.from_json(cls, value)

    @classmethod
    def read(cls, path: str | Path) -> SetSummary:
        """Read ``summary.json``, or the one in a folder of a run.

        Raises:
            UserError: as `from_json`; or there is no such file, or no JSON in it.
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


def _renamed(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary of format 1 or 2 with the names of fields that format 3 has."""

    def of(fields: Any) -> Any:
        if not isinstance(fields, Mapping):
            return fields
        return {_NAMES_UNTIL_FORMAT_2.get(name, name): value for name, value in fields.items()}

    found = {**summary, "mean_over_classes": of(summary.get("mean_over_classes"))}
    if isinstance(targets := summary.get("targets"), Mapping):
        found["targets"] = {name: of(target) for name, target in targets.items()}
    return found
