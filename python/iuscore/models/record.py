"""`ModelRecord`, the content of ``config.json`` in a model folder: checked field by field, and protected by a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any, ClassVar

import msgspec

from iuscore._run import records
from iuscore.errors import UserError, bounded
from iuscore.features import VERSION, FeatureProfile
from iuscore.models.base import Space
from iuscore.models.text import LARGEST, with_present_mode

MAX_MEMBERS = 1000
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles of the IUS of held-out images that are kept."""

_HASH, _OLD_HASH, _HASHED_BY_OLD = "config_sha256", "profiles_sha256", ("profiles", "ceiling", "floor", "features")

Number = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=int(LARGEST))]
Vector = tuple[Number, ...]


@dataclass(frozen=True)
class Profile:
    """Contributions of the real validation images of one class, in one space.

    Attributes:
        mean: mean contribution per component, [G].
        sd: standard deviation over images (n - 1 in the denominator), [G]; None for one image, or if unknown.
        low: lower end of the 95 % interval of the mean (`iuscore.scoring.intervals`), [G]; None if unknown, or for
            fewer than 5 images (5 groups, if the images had groups).
        high: upper end of the interval.
        n: number of images; None if unknown (imported baselines).
        member_means: the mean per member of the ensemble, [M][G].
        importance: mean absolute contribution to the class's output over the validation images of all classes, each
            class counting the same, after the mean over classes is taken off, [G]; None if unknown.

    Raises:
        ValueError: vectors of different lengths, a negative sd, or only one end of the interval.

    Example:
        >>> Profile((0.5, -1.0), None, None, None, None, ((0.5,),))
        Traceback (most recent call last):
        ...
        ValueError: member_means[0]: expected 2 numbers, one per component, got (0.5,)
    """

    mean: Vector
    sd: Vector | None
    low: Vector | None
    high: Vector | None
    n: Annotated[int, msgspec.Meta(ge=1, le=int(LARGEST))] | None
    member_means: tuple[Vector, ...]
    importance: Vector | None = None

    def __post_init__(self) -> None:
        vectors = {"mean": self.mean, "sd": self.sd, "low": self.low, "high": self.high, "importance": self.importance}
        vectors |= {f"member_means[{i}]": mean for i, mean in enumerate(self.member_means)}
        for name, vector in vectors.items():
            if vector is not None and (not vector or len(vector) != len(self.mean)):
                expected = f"{len(self.mean)} numbers" if self.mean else "numbers"
                raise ValueError(f"{name}: expected {expected}, one per component, got {bounded(vector)}")
        if not self.member_means:
            raise ValueError("member_means: expected one list of numbers per member, got ()")
        if self.sd is not None and min(self.sd) < 0:
            raise ValueError(f"sd: expected numbers of at least 0, got {min(self.sd)}")
        if (self.low is None) != (self.high is None) or any(
            low > high for low, high in zip(self.low or (), self.high or (), strict=True)
        ):
            raise ValueError("low, high: expected both or none, low no higher than high")


@dataclass(frozen=True)
class HeldOut:
    """Held-out reference: IUS of held-out real images of the class ("ceiling") or of the other classes ("floor").

    Attributes:
        n: number of images; 0 if no images were held out.
        mean: mean IUS; NaN for n = 0.
        quantiles: "0.05" to "0.95" -> IUS; empty for n = 0.
        source: "test", or "leave-one-out" over the validation images.
    """

    n: Count
    mean: Number = float("nan")
    quantiles: dict[str, Number] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True)
class MemberRecord:
    """How one member of the ensemble was trained.

    Attributes:
        seed: random seed; None if unknown.
        epochs: number of finished epochs.
        best_epoch: the epoch whose weights were kept.
        train_loss, val_loss, val_auroc, val_accuracy: figures of the best epoch; None if unknown.
    """

    seed: int | None = None
    epochs: Count | None = None
    best_epoch: Count | None = None
    train_loss: float | None = None
    val_loss: float | None = None
    val_auroc: Share | None = None
    val_accuracy: Share | None = None


@dataclass(frozen=True)
class Figures:
    """How well the model classifies held-out real images.

    Attributes:
        n: number of images.
        auroc: area under the ROC curve; None for images of one class.
        accuracy: share of the images that the model classifies correctly; ``recall``: the same by class.
    """

    n: Count | None = None
    auroc: Share | None = None
    accuracy: Share | None = None
    recall: dict[str, Share] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingRecord:
    """How the model was trained; attributes as in `iuscore.fit.TrainingOptions`.

    Attributes:
        seeds: number of members that were trained.
        interrupted: whether the training was stopped before its end.
        source: for an imported model, its origin, with ``checkpoint_sha256`` and the ``published`` options.
    """

    epochs: Count | None = None
    batch_size: Count | None = None
    learning_rate: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    patience: Count | None = None
    optimizer: str | None = None
    least_gain: float | None = None
    seeds: Count | None = None
    interrupted: bool = False
    source: str | None = None
    checkpoint_sha256: str | None = None
    published: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class KnownImagesRecord:
    """Marks of the images that a model was fitted to, in the notation of `iuscore.images.KnownImages`."""

    n: Count
    marks: str


@dataclass(frozen=True)
class DataRecord:
    """The images that a model was fitted to.

    Attributes:
        origin: how the images were divided into parts.
        warnings, notes: lines that fitting printed about the images.
        bits, group_by: the options ``--bits`` and ``--group-by``.
        counts: part ("train", "val", "test") -> class -> number of images.
        fingerprints: part -> hash over its images; ``fingerprint`` over all.
        numbers: integer label -> class, if the images had integer labels that the user gave names.
        known_images: marks of the training and validation images.
    """

    origin: str = ""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    bits: Annotated[int, msgspec.Meta(ge=8, le=16)] | None = None
    group_by: str | None = None
    counts: dict[str, dict[str, Count]] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    fingerprint: str | None = None
    numbers: dict[str, str] = field(default_factory=dict)
    known_images: KnownImagesRecord | None = None

    def __post_init__(self) -> None:
        for label in self.numbers:
            if not label.isdecimal() or len(label) > 9:
                raise ValueError(f"numbers: expected whole numbers with classes, got {bounded(label)}")


@dataclass(frozen=True)
class ModelRecord:
    """A fitted model without its weights: ``config.json``.

    Attributes:
        kind: "epu" or "texture".
        model: arguments of the constructor of that kind.
        weights_sha256: hash of ``model.safetensors``.
        config_sha256: hash of everything else in the file; None for a model of an older version.
        members: one entry per member of the ensemble.
        profiles: space -> class -> baseline profile.
        ceiling, floor: space -> class -> IUS of held-out real images of the class, and of the other classes.
        features: class -> profile of its named features; empty for a model without named features.
        validation, test: how well the model classifies these images.
        training: how the model was trained.
        data: the images it was fitted to.
        versions: versions of the software that fitted it.
        feature_version: version of the features that the model measures.
        format: format number of the file. Formats of all released versions are read; newer ones are an error.
        read_sha256: hash of the JSON that the record was read from; None if it was not read.

    Example:
        >>> record = ModelRecord(members=(MemberRecord(seed=0),))
        >>> ModelRecord.from_json(record.to_json()).members[0].seed
        0
        >>> ModelRecord.from_json({"format": 1, "members": [3]})
        Traceback (most recent call last):
        ...
        iuscore.errors.UserError: members[0]: expected names with values, got 3
    """

    FORMAT: ClassVar[int] = 2

    format: int = FORMAT
    kind: str = ""
    model: dict[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""
    config_sha256: str | None = None
    members: tuple[MemberRecord, ...] = ()
    profiles: dict[Space, dict[str, Profile]] = field(default_factory=dict)
    ceiling: dict[Space, dict[str, HeldOut]] = field(default_factory=dict)
    floor: dict[Space, dict[str, HeldOut]] = field(default_factory=dict)
    features: dict[str, FeatureProfile] = field(default_factory=dict)
    validation: Figures | None = None
    test: Figures | None = None
    training: TrainingRecord = TrainingRecord()
    data: DataRecord = DataRecord()
    versions: dict[str, str] = field(default_factory=dict)
    feature_version: Annotated[int, msgspec.Meta(ge=1)] = 1
    read_sha256: str | None = field(default=None, compare=False, metadata=records.NOT_IN_JSON)

    def __post_init__(self) -> None:
        if len(self.members) > MAX_MEMBERS:
            raise ValueError(f"members: expected at most {MAX_MEMBERS}, got {len(self.members)}")
        if self.feature_version > VERSION:
            raise ValueError(
                f"feature_version: {self.feature_version} is newer than {VERSION}, which this version measures; "
                "upgrade iuscore"
            )
        for key, spaces in (("ceiling", self.ceiling), ("floor", self.floor)):
            for space, classes in spaces.items():
                for name, found in classes.items():
                    _check_held_out(found, f"{key}.{space}.{name}")
        known = self.model.get("classes")
        for label, name in self.data.numbers.items():
            if isinstance(known, list) and name not in known:
                raise ValueError(f"data.numbers.{label}: expected a class of the model, got {bounded(name)}")

    @property
    def mode(self) -> str | None:
        """Mode of the perceptual maps of an EPU model, "clean" or "published"; None for other models."""
        mode: str | None = self.model.get("mode")
        return mode

    @property
    def color(self) -> str | None:
        """Whether the model uses color: "color" or "gray"."""
        color: str | None = self.model.get("color")
        return color

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) that the model resizes images to."""
        size = self.model.get("size")
        return None if size is None else (int(size[0]), int(size[1]))

    @property
    def accuracy(self) -> float | None:
        """Accuracy on held-out real images: on the test images, or else on the validation images."""
        known = [part.accuracy for part in (self.test, self.validation) if part and part.accuracy is not None]
        return known[0] if known else None

    @property
    def recall(self) -> Mapping[str, float]:
        """Class -> recall on the same images; empty if unknown."""
        known = [part.recall for part in (self.test, self.validation) if part and part.recall]
        return known[0] if known else {}

    def ceiling_of(self, space: Space, name: str) -> HeldOut | None:
        """IUS of held-out real images of a class; None if no images were held out."""
        return _some(self.ceiling, space, name)

    def floor_of(self, space: Space, name: str) -> HeldOut | None:
        """IUS of held-out real images of the other classes; None if no images were held out."""
        return _some(self.floor, space, name)

    def identity(self) -> str:
        """SHA-256 in hex over the configuration, which holds the profiles and the hash of the weights."""
        return self.read_sha256 or _sha256(self.to_json(), None)

    def to_json(self) -> dict[str, Any]:
        """The content of ``config.json``."""
        return records.to_json(self)

    @classmethod
    def from_json(cls, value: object) -> ModelRecord:
        """Read the content of ``config.json``, of this version or an earlier one, and check its hash.

        Raises:
            UserError: a field has a wrong value (the message has its path), or the hash does not match.
        """
        if not isinstance(value, Mapping):
            raise UserError(f"expected names with values, got {bounded(value)}")
        config = dict(value)
        for key in ("ceiling", "floor"):
            config[key] = _without_empty(config.get(key))
        if value.get(_HASH) is not None:
            if value[_HASH] != config_sha256(value):
                raise UserError("changed since it was written (its SHA-256 differs)")
        elif _OLD_HASH in value and value[_OLD_HASH] != _sha256({k: value[k] for k in _HASHED_BY_OLD if k in value}):
            raise UserError(f"{', '.join(_HASHED_BY_OLD)}: changed since they were written (their SHA-256 differs)")
        if config.get("format", 1) == 1:
            config["model"] = with_present_mode(config.get("model"))
        return replace(records.from_json(cls, config), read_sha256=_sha256(value, None))


def config_sha256(config: Mapping[str, Any]) -> str:
    """SHA-256 in hex over the content of ``config.json`` without this hash itself.

    The content includes the hash of the weights, so this hash covers everything that a score depends on. It is taken
    over a canonical JSON text (sorted names, no spaces), so the layout of the file does not matter.

    Example:
        >>> one, other = config_sha256({"kind": "epu", "data": {"bits": 12}}), config_sha256({"kind": "epu"})
        >>> one == other, one == config_sha256({"data": {"bits": 12}, "kind": "epu", "config_sha256": one})
        (False, True)
    """
    return _sha256({key: value for key, value in config.items() if key != _HASH})


def _sha256(part: Mapping[str, Any], separators: tuple[str, str] | None = (",", ":")) -> str:
    return hashlib.sha256(json.dumps(part, sort_keys=True, separators=separators).encode()).hexdigest()


def no_hash_note(record: ModelRecord) -> str | None:
    """A note on a model without a hash over ``config.json``; None if it has one.

    Example:
        >>> no_hash_note(ModelRecord())[:50]
        'the model was made by an older version, which put '
    """
    if record.config_sha256 is not None:
        return None
    return (
        "the model was made by an older version, which put no hash over config.json: a change to its classes or "
        "settings would not be noticed; fit it again to have one"
    )


def _some(levels: Mapping[Space, Mapping[str, HeldOut]], space: Space, name: str) -> HeldOut | None:
    found = levels.get(space, {}).get(name)
    return found if found is not None and found.n else None


def _without_empty(levels: Any) -> Any:
    """Remove fields that are null: older versions wrote mean and quantiles as null for 0 images."""

    def shortened(found: Any) -> Any:
        return {"n": 0} if isinstance(found, Mapping) and found.get("n") == 0 and found["n"] is not False else found

    return _each(partial(_each, shortened), levels)


def _each(function: Any, found: Any) -> Any:
    return {key: function(part) for key, part in found.items()} if isinstance(found, Mapping) else found


def _check_held_out(found: HeldOut, where: str) -> None:
    if not found.n:
        return
    if found.mean != found.mean:
        raise ValueError(f"{where}.mean: is missing")
    names = [str(quantile) for quantile in QUANTILES]
    if sorted(found.quantiles) != names:
        raise ValueError(f"{where}.quantiles: expected {', '.join(names)}, got {bounded(list(found.quantiles))}")
    numbers = [found.quantiles[name] for name in names]
    if numbers != sorted(numbers):
        raise ValueError(f"{where}.quantiles: expected numbers that do not fall, got {bounded(numbers)}")
