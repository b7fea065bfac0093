"""The numbers of a scoring run for ``summary.json``: every part is read once, in order."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from iuscore._environment import versions
from iuscore.engine.most_like import (
    jointly_outside_of_mixture,
    mixture_note,
    most_probable,
    outside_of_mixture,
)
from iuscore.engine.notes import (
    DEGENERATE,
    DEGENERATE_MAP,
    above_note,
    interrupted_training,
    known_note,
    separation_note,
    set_notes,
)
from iuscore.engine.parts import PartFeatures, PartInfo, content_of, part_path, read_part
from iuscore.engine.texts import TextCounts
from iuscore.errors import UserError
from iuscore.features import MAX_NEIGHBORS, joint_distance, looks_inverted, nearest_ratio
from iuscore.features.bytes import CONSTANT
from iuscore.features.change import MIN_NEIGHBORS
from iuscore.images import decoders
from iuscore.images.listing import NAMED
from iuscore.models.record import QUANTILES, HeldOut
from iuscore.scoring import Scorer, records
from iuscore.scoring.color import COLOR_UNSEEN, COLORLESS_IMAGE
from iuscore.scoring.intervals import MeanSums, mean_of_means
from iuscore.scoring.words import MAX_DISTANCE, MAX_JOINT_DISTANCE, Resolution

Array = npt.NDArray[np.floating[Any]]


KEPT_BYTES = 128 << 20
"""Most bytes of features kept for the diversity, over all classes: with many classes, fewer images of each."""


@dataclass
class _Target:
    """Sums over the images compared with one class; of each image only its IUS is kept, 4 bytes."""

    ius: list[Array] = field(default_factory=list)
    most_like: npt.NDArray[np.int64] | None = None  # number of images for which each class is the most probable
    sums: MeanSums = field(default_factory=MeanSums)  # of IUS, contributions, shares
    features: Array | None = None  # sum of the features
    n_features: int = 0  # number of images in that sum
    kept: list[Array] = field(default_factory=list)  # features of every ``step``-th image that the parts kept
    n_kept: int = 0
    step: int = 1
    seen: int = 0

    def add(self, values: npt.NDArray[np.float32], probabilities: Array, groups: Sequence[str] | None = None) -> None:
        """Add rows [N, 1 + 2 G] of IUS, contributions and shares, with probabilities [N, K]."""
        self.ius.append(values[:, 0].copy())
        counts = most_probable(probabilities)
        self.most_like = counts if self.most_like is None else self.most_like + counts
        self.sums.add(values.astype(np.float64), groups)

    @property
    def n(self) -> int:
        return self.sums.n

    def add_features(self, part: PartFeatures) -> None:
        """Add the features of a part's images of this class."""
        self.features = part.total if self.features is None else self.features + part.total
        self.n_features += part.n
        chosen = part.kept[-self.seen % self.step :: self.step].copy()
        self.seen += len(part.kept)
        if len(chosen):
            self.kept.append(chosen)
            self.n_kept += len(chosen)

    def thin(self, limit: int) -> None:
        """Drop every second kept image until at most ``limit`` are left."""
        while self.n_kept > limit:
            self.kept, self.step = [np.concatenate(self.kept)[::2].copy()], 2 * self.step
            self.n_kept = len(self.kept[0])

    @property
    def feature_mean(self) -> Array | None:
        return None if self.features is None else self.features / self.n_features

    @property
    def feature_sample(self) -> Array | None:
        if not self.kept:
            return None
        kept = np.concatenate(self.kept)
        chosen: Array = kept[np.linspace(0, len(kept) - 1, min(MAX_NEIGHBORS, len(kept))).astype(int)]
        return chosen


class SummaryBuilder:
    """Builds ``summary.json`` from the parts of a run, in the order in which they are added.

    Args:
        scorer: the model.
        out: folder of the run.
        group_by: the pattern that found the groups of the images; None where they have no groups.
        compared: indices of the parts whose rows are compared with the hash in their footer; of several ranks, each
            compares its own parts.
    """

    def __init__(self, scorer: Scorer, out: Path, group_by: str | None = None, compared: Container[int] = ()) -> None:
        self.scorer, self.out, self.group_by, self.compared = scorer, out, group_by, compared
        self.targets: dict[str, _Target] = {}
        self.warnings = TextCounts(
            always=(CONSTANT, COLOR_UNSEEN, COLORLESS_IMAGE, *(DEGENERATE_MAP + name for name in DEGENERATE))
        )
        self.errors = TextCounts()
        self.parts: dict[int, str] = {}  # index of an added part -> hash of its rows
        self.transient = 0
        self.first_unreadable: list[records.Unreadable] = []
        self.resolution = None if scorer.record.size is None else Resolution(scorer.record.size)
        self.known = (0, 0)

    def add_all(self, infos: Iterable[PartInfo]) -> SummaryBuilder:
        """Add parts; a part that was added before is ignored."""
        for info in infos:
            self.add(info)
        return self

    def add(self, info: PartInfo) -> None:
        """Add one part.

        Raises:
            UserError: the part is damaged, or its rows have changed since it was written.
        """
        if info.index in self.parts:
            return
        self.parts[info.index] = info.content
        self.transient += len(info.transient)
        self.known = (self.known[0] + info.known[0], self.known[1] + info.known[1])
        names = self.scorer.components
        columns = ["ius", *(f"contribution_{n}" for n in names), *(f"share_{n}" for n in names)]
        path = part_path(self.out, info.index)
        grouped = ["group"] if self.group_by else []
        classes = [f"probability_{name}" for name in self.scorer.classes]
        if info.index in self.compared:
            table = read_part(path).replace_schema_metadata(None)
            if content_of(table) != info.content:
                raise UserError(
                    f"{path} has changed since it was written: remove it and run the same 'iuscore score' again"
                )
        else:
            table = read_part(path, ["target", *grouped, *columns, *classes, "width", "height", "warnings", "error"])
        errors, warnings = table.column("error").to_pylist(), table.column("warnings").to_pylist()
        self.errors.add(error for error in errors if error is not None)
        if len(self.first_unreadable) < NAMED and any(errors):
            uids = read_part(path, ["uid"]).column("uid").to_pylist()
            unreadable = [records.Unreadable(uid, error) for uid, error in zip(uids, errors, strict=True) if error]
            self.first_unreadable += unreadable[: NAMED - len(self.first_unreadable)]
        for texts in warnings:
            if texts:
                self.warnings.add(texts.split("; "))
        values = np.stack([table.column(name).to_numpy() for name in columns], axis=1).astype(np.float32)
        probabilities = np.stack([table.column(name).to_numpy() for name in classes], axis=1)
        readable = np.array([error is None for error in errors], dtype=bool)
        if self.resolution is not None:
            widths, heights = (table.column(name).to_numpy()[readable] for name in ("width", "height"))
            self.resolution.add(widths, heights)
        targets = np.array(table.column("target").to_pylist(), dtype=object)
        groups = np.array(table.column("group").to_pylist(), dtype=object) if grouped else None
        n_targets, n_features = len(self.targets), len(self.scorer.model.features)
        for name in dict.fromkeys(targets[readable]):
            target = self.targets.setdefault(name, _Target())
            rows = readable & (targets == name)
            target.add(values[rows], probabilities[rows], None if groups is None else groups[rows].tolist())
            if name in info.features:
                if info.features[name].kept.shape[1] != n_features:
                    raise UserError(f"{path} is damaged (features): remove it and run the same 'iuscore score' again")
                target.add_features(info.features[name])
        if n_features:
            limit = max(
                2 * MIN_NEIGHBORS, min(4 * MAX_NEIGHBORS, KEPT_BYTES // (4 * n_features * max(1, len(self.targets))))
            )
            new = len(self.targets) > n_targets
            for target in self.targets.values() if new else (self.targets[name] for name in info.features):
                target.thin(limit)

    @property
    def scored(self) -> int:
        return sum(target.n for target in self.targets.values())

    def describe(
        self, *, images: str, listed: int, device: str, seconds: float, new: int, interrupted: bool
    ) -> records.SetSummary:
        """The content of ``summary.json``.

        Args:
            images: path of the images.
            listed: number of images that were listed.
            device: torch device of the model.
            seconds: duration of this command; ``new``: number of images that it scored.
            interrupted: whether this command was stopped.
        """
        scorer, record = self.scorer, self.scorer.record
        targets = {name: _describe_target(scorer, name, self.targets[name]) for name in sorted(self.targets)}
        if 2 * self.known[0] > self.known[1] or interrupted_training(scorer):
            targets = {name: replace(target, doubtful=True) for name, target in targets.items()}
        return records.SetSummary(
            images=images,
            n_listed=listed,
            n_scored=self.scored,
            n_unreadable=self.errors.total,
            n_to_try_again=self.transient,
            first_unreadable=tuple(self.first_unreadable),
            complete=self.scored + self.errors.total == listed,
            interrupted=interrupted,
            targets=targets,
            mean_over_classes=_mean_over_classes(targets, self.targets),
            group_by=self.group_by,
            warnings=self.warnings.to_json(),
            errors=self.errors.to_json(),
            n_known=self.known[0],
            notes=(
                *set_notes(scorer, targets, self.warnings, self.scored),
                *known_note(*self.known, self.scored),
                *([note] if self.resolution and (note := self.resolution.note()) else []),
            ),
            model=records.ModelUsed(
                kind=record.kind,
                weights_sha256=record.weights_sha256,
                members=len(record.members),
                classes=tuple(scorer.classes),
                components=tuple(scorer.components),
                space=scorer.space,
                precision=scorer.precision_on(device),
                mode=record.mode,
                color=record.color,
                size=record.size,
            ),
            decoder=decoders(),
            versions=versions(),
            seconds=round(seconds, 3),
            images_per_second=round(new / seconds, 1) if seconds > 0 else None,
            format=records.SetSummary.FORMAT,
        )


def _describe_target(scorer: Scorer, target: str, found: _Target) -> records.TargetSummary:
    """The entry of ``summary.json`` for the images scored against one class."""
    components = len(scorer.components)
    ceiling, floor = (of(scorer.space, target) for of in (scorer.record.ceiling_of, scorer.record.floor_of))
    ius = np.concatenate(found.ius)
    mean = found.sums.mean
    contributions, shares = mean[1 : 1 + components], mean[1 + components :]
    why = scorer.explained(target, contributions, shares, found.feature_mean, n=found.n)
    nothing: list[float | None] = [None] * len(mean)
    interval = found.sums.interval()
    low, high = (end.tolist() for end in interval) if interval else (nothing, nothing)
    distance, jointly = _distance(scorer, found), _joint_distance(scorer, found)
    inverted = found.feature_mean is not None and looks_inverted(
        scorer.feature_profiles, found.feature_mean, scorer.model.features, found.n_features
    )
    out_of_distribution = _above(distance, MAX_DISTANCE) or _above(jointly, MAX_JOINT_DISTANCE) or inverted
    overlap = separation_note(target, ceiling, floor) is not None
    above = above_note(target, float(mean[0]), ceiling, low[0]) is not None
    most_like = dict(zip(scorer.classes, () if found.most_like is None else found.most_like.tolist(), strict=True))
    mixed = mixture_note(target, most_like, scorer.record.recall.get(target)) is not None
    diversity = _diversity(scorer, target, found.feature_sample)
    compared, identical = _identical(found.feature_sample)
    entry = records.TargetSummary(
        n=found.n,
        n_groups=found.sums.n_groups,
        ius=records.MeanIus(
            mean=float(mean[0]),
            low=_within_ius(low[0]),
            high=_within_ius(high[0]),
            sd=float(ius.std(ddof=1, dtype=np.float64)) if len(ius) > 1 else None,
            quantiles={str(q): float(np.quantile(ius, q)) for q in QUANTILES},
        ),
        most_like=most_like,
        above_ceiling_lower_quartile=float((ius >= ceiling.quantiles["0.25"]).mean()) if ceiling else None,
        ceiling=ceiling,
        floor=floor,
        components=tuple(
            records.ComponentSummary(**asdict(reason), difference=reason.difference, low=low[g + 1], high=high[g + 1])
            for g, reason in enumerate(why.components)
        ),
        read_first=why.read_first,
        most_shifted=why.most_shifted,
        matters_most=why.matters_most.name if why.matters_most else None,
        toward_other=why.toward_other,
        changes=None if why.changes is None else tuple(why.changes),
        most_changed=why.most_changed.name if why.most_changed else None,
        distance_from_real=distance,
        joint_distance_from_real=jointly,
        inverted=inverted,
        out_of_distribution=out_of_distribution,
        classes_overlap=overlap,
        doubtful=out_of_distribution or overlap or above or mixed,
        diversity=diversity,
        n_compared=compared,
        n_identical=identical,
    )
    return replace(entry, doubtful=entry.doubtful or entry.repeats_itself)


def _above(distance: float | None, bound: float) -> bool:
    return distance is not None and distance > bound


def _distance(scorer: Scorer, found: _Target) -> float | None:
    """Distance of the images from the nearest class of real images; for a mixed set, each part from its own class."""
    of_set, sample = scorer.distance_from_real(found.feature_mean), found.feature_sample
    if of_set is None or of_set <= MAX_DISTANCE or sample is None:
        return of_set
    of_parts = outside_of_mixture(scorer.feature_profiles, sample, scorer.model.features)
    return of_set if of_parts is None else min(of_set, of_parts)


def _joint_distance(scorer: Scorer, found: _Target) -> float | None:
    """`_distance` with all groups of features taken together."""
    profiles, features, mean = scorer.feature_profiles, scorer.model.features, found.feature_mean
    if mean is None or not any(profile.correlation for profile in profiles.values()):
        return None
    of_set = min(joint_distance(profile, mean, features, found.n_features) for profile in profiles.values())
    if of_set <= MAX_JOINT_DISTANCE or (sample := found.feature_sample) is None:
        return of_set
    of_parts = jointly_outside_of_mixture(profiles, sample, features)
    return of_set if of_parts is None else min(of_set, of_parts)


def _identical(sample: Array | None) -> tuple[int, int]:
    """Number of images in the sample, and of those whose features all equal the features of another one."""
    if sample is None:
        return 0, 0
    _, counts = np.unique(sample, axis=0, return_counts=True)
    return len(sample), int(counts[counts > 1].sum())


def _within_ius(end: float | None) -> float | None:
    """An end of an interval in [-1, 1], where every IUS lies; of few images the interval can be wider."""
    return None if end is None else min(max(end, -1.0), 1.0)


def _diversity(scorer: Scorer, target: str, sample: Array | None) -> float | None:
    profile = scorer.feature_profiles.get(target)
    return None if profile is None or sample is None else nearest_ratio(profile, sample, scorer.model.features)


def _mean_over_classes(
    targets: Mapping[str, records.TargetSummary], found: Mapping[str, _Target]
) -> records.MeanOverClasses | None:
    """The unweighted mean of the classes' mean IUS; None for fewer than two classes.

    For its interval the classes are fixed, and the images (or groups) of each class are a random sample.
    """
    if len(targets) < 2:
        return None
    mean, interval = mean_of_means([found[name].sums for name in targets])
    return records.MeanOverClasses(
        classes=tuple(targets),
        mean=float(mean[0]),
        low=_within_ius(float(interval[0][0])) if interval else None,
        high=_within_ius(float(interval[1][0])) if interval else None,
        ceiling=_mean_of([target.ceiling for target in targets.values()]),
        floor=_mean_of([target.floor for target in targets.values()]),
        out_of_distribution=tuple(name for name, target in targets.items() if target.out_of_distribution),
        classes_overlap=tuple(name for name, target in targets.items() if target.classes_overlap),
    )


def _mean_of(references: Sequence[HeldOut | None]) -> float | None:
    means = [reference.mean for reference in references if reference is not None]
    return float(np.mean(means)) if len(means) == len(references) else None
