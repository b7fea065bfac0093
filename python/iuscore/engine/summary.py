"""The numbers of one scoring run, as they stand in ``summary.json``: one look at every part, in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from iuscore.engine.parts import PartFeatures, PartInfo, part_path, read_part
from iuscore.features import MOST, nearest_ratio
from iuscore.images import decoders
from iuscore.profile import QUANTILES, mean_interval
from iuscore.score import Scorer
from iuscore.score.words import Resolution, label_notes
from iuscore.versions import versions

Array = npt.NDArray[np.floating[Any]]


OUTSIDE = 1.5
"""Spreads of real images beyond which a model's opinion of a set is a guess."""

COPIES = 0.5
"""Distance to the nearest neighbor, compared with real images, below which a set is said to repeat itself."""

BOOTSTRAPPED = 10_000
"""Images up to which intervals are drawn by bootstrap; beyond, the normal interval they converge to is taken."""


@dataclass
class _Target:
    """What is known of the images compared with one class; of each image only its IUS is kept, 4 bytes."""

    ius: list[Array] = field(default_factory=list)
    first: list[Array] = field(default_factory=list)  # IUS and contributions, as long as there are few
    n: int = 0
    total: Array = field(default_factory=lambda: np.zeros(()))  # of IUS, contributions, shares
    squares: Array = field(default_factory=lambda: np.zeros(()))
    features: list[PartFeatures] = field(default_factory=list)

    def add(self, values: npt.NDArray[np.float32], components: int) -> None:
        """Take rows [N, 1 + 2 G] of IUS, contributions and shares."""
        self.ius.append(values[:, 0].copy())
        wide = values.astype(np.float64)
        self.n += len(values)
        if self.n <= BOOTSTRAPPED:
            self.first.append(wide[:, : 1 + components])
        self.total = self.total + wide.sum(axis=0)
        self.squares = self.squares + np.square(wide).sum(axis=0)

    def interval(self, components: int) -> tuple[list[float], list[float]]:
        """95 % interval of the means of IUS and contributions."""
        if self.n <= BOOTSTRAPPED:
            low, high = mean_interval(np.concatenate(self.first))
            return low.tolist(), high.tolist()
        mean = (self.total / self.n)[: 1 + components]
        variance = self.squares[: 1 + components] / self.n - np.square(mean)
        half = 1.959964 * np.sqrt(np.maximum(variance, 0.0) / (self.n - 1))
        return (mean - half).tolist(), (mean + half).tolist()

    @property
    def feature_mean(self) -> Array | None:
        n = sum(part.n for part in self.features)
        if n == 0:
            return None
        mean: Array = np.stack([part.total / n for part in self.features]).sum(axis=0)
        return mean

    @property
    def feature_sample(self) -> Array | None:
        if not self.features:
            return None
        kept = np.concatenate([part.kept for part in self.features])
        chosen: Array = kept[np.linspace(0, len(kept) - 1, min(MOST, len(kept))).astype(int)]
        return chosen


class Summary:
    """Gathers what ``summary.json`` says from the parts of a run, in the order in which they are added.

    Args:
        scorer: the model.
        out: folder of the run.
    """

    def __init__(self, scorer: Scorer, out: Path) -> None:
        self.scorer, self.out = scorer, out
        self.targets: dict[str, _Target] = {}
        self.warnings: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.parts: dict[int, str] = {}  # hash of the rows of each
        self.passing = 0
        height, width = scorer.record["model"].get("size", (0, 0))
        self.resolution = Resolution((height, width)) if height else None

    def add_all(self, infos: Iterable[PartInfo]) -> Summary:
        """Take parts; one that was taken before is passed over."""
        for info in infos:
            self.add(info)
        return self

    def add(self, info: PartInfo) -> None:
        """Take one part."""
        if info.index in self.parts:
            return
        self.parts[info.index] = info.content
        self.passing += len(info.passing)
        names = self.scorer.components
        columns = ["ius", *(f"contribution_{n}" for n in names), *(f"share_{n}" for n in names)]
        table = read_part(part_path(self.out, info.index), ["target", *columns, "width", "height", "warnings", "error"])
        errors, warnings = table.column("error").to_pylist(), table.column("warnings").to_pylist()
        self.errors.update(error for error in errors if error is not None)
        for texts in warnings:
            if texts:
                self.warnings.update(texts.split("; "))
        values = np.stack([table.column(name).to_numpy() for name in columns], axis=1).astype(np.float32)
        readable = np.array([error is None for error in errors], dtype=bool)
        if self.resolution is not None:
            widths, heights = (table.column(name).to_numpy()[readable] for name in ("width", "height"))
            self.resolution.add(widths, heights)
        targets = np.array(table.column("target").to_pylist(), dtype=object)
        for name in dict.fromkeys(targets[readable]):
            found = self.targets.setdefault(name, _Target())
            found.add(values[readable & (targets == name)], len(names))
            if name in info.features:
                found.features.append(info.features[name])

    @property
    def scored(self) -> int:
        return sum(target.n for target in self.targets.values())

    def describe(
        self, *, images: str, listed: int, device: str, seconds: float, new: int, interrupted: bool
    ) -> dict[str, Any]:
        """The whole of ``summary.json``.

        Args:
            images: where the images came from.
            listed: how many there are.
            device: where the model runs.
            seconds: what this invocation took, and ``new``: the images it did.
            interrupted: whether it was stopped.
        """
        scorer, record = self.scorer, self.scorer.record
        targets = {name: _describe_target(scorer, name, self.targets[name]) for name in sorted(self.targets)}
        unreadable = sum(self.errors.values())
        return {
            "images": images,
            "n_listed": listed,
            "n_scored": self.scored,
            "n_unreadable": unreadable,
            "n_to_try_again": self.passing,
            "complete": self.scored + unreadable == listed,
            "interrupted": interrupted,
            "targets": targets,
            "warnings": dict(self.warnings.most_common()),
            "errors": dict(self.errors.most_common()),
            "notes": [
                *_notes(scorer, targets, self.warnings, self.scored),
                *([note] if self.resolution and (note := self.resolution.note()) else []),
            ],
            "model": {
                "kind": record["kind"],
                "weights_sha256": record["weights_sha256"],
                "members": len(record["members"]),
                "classes": list(scorer.classes),
                "components": list(scorer.components),
                "space": scorer.space,
                "precision": scorer.precision_on(device),
                **{key: record["model"][key] for key in ("mode", "color", "size") if key in record["model"]},
            },
            "decoder": decoders(),
            "versions": versions(),
            "seconds": round(seconds, 3),
            "images_per_second": round(new / seconds, 1) if seconds > 0 else None,
        }


def _describe_target(scorer: Scorer, target: str, found: _Target) -> dict[str, Any]:
    """Everything about the images scored against one class.

    n, IUS mean with interval, spread and quantiles, ceiling and floor of real images, the fraction of images above the
    ceiling's lower quartile, the mean contribution per component with interval beside the baseline, what changed and
    what of it matters.
    """
    components = len(scorer.components)
    ceiling, floor = (_entry(scorer, key, target) for key in ("ceiling", "floor"))
    ius = np.concatenate(found.ius)
    mean = found.total / found.n
    contributions, shares = mean[1 : 1 + components], mean[1 + components :]
    why = scorer.explained(target, contributions, shares, found.feature_mean, n=found.n)
    low, high = found.interval(components)
    return {
        "n": found.n,
        "ius": {
            "mean": float(mean[0]),
            "low": low[0],
            "high": high[0],
            "sd": float(ius.std(ddof=1, dtype=np.float64)) if len(ius) > 1 else None,
            "quantiles": {str(q): float(np.quantile(ius, q)) for q in QUANTILES},
        },
        "above_ceiling_lower_quartile": float((ius >= ceiling["quantiles"]["0.25"]).mean()) if ceiling else None,
        "ceiling": ceiling,
        "floor": floor,
        "components": [
            {**asdict(reason), "difference": reason.difference, "low": low[g + 1], "high": high[g + 1]}
            for g, reason in enumerate(why.components)
        ],
        "first": why.first,
        "most_shifted": why.most_shifted,
        "matters_most": why.matters_most.name if why.matters_most else None,
        "toward_other": why.toward_other,
        "changes": None if why.changes is None else [asdict(change) for change in why.changes],
        "most_changed": why.most_changed.name if why.most_changed else None,
        "outside": scorer.outside(found.feature_mean),
        "nearest": _nearest(scorer, target, found.feature_sample),
    }


def _nearest(scorer: Scorer, target: str, sample: Array | None) -> float | None:
    profile = scorer.feature_profiles.get(target)
    return None if profile is None or sample is None else nearest_ratio(profile, sample, scorer.model.features)


def _entry(scorer: Scorer, key: str, target: str) -> dict[str, Any] | None:
    """Ceiling or floor of a class in the scorer's space; None where no image was held out."""
    found: dict[str, Any] | None = (scorer.record.get(key) or {}).get(scorer.space, {}).get(target)
    return found if found and found.get("n") else None


def _notes(scorer: Scorer, targets: Mapping[str, Any], warnings: Counter[str], scored: int) -> list[str]:
    """What a reader of the numbers has to know."""
    separation = {name: separation_note(name, entry["ceiling"], entry["floor"]) for name, entry in targets.items()}
    notes = [note for note in separation.values() if note]
    doubtful = [name for name, entry in targets.items() if separation[name] or (entry["outside"] or 0) > OUTSIDE]
    notes += label_notes(targets, scorer.classes, doubtful)
    notes += [
        f"the images against {name} lie far outside real ones of any class: the model was trained on nothing like "
        "them, so trust what changed before the IUS"
        for name, entry in targets.items()
        if entry["outside"] is not None and entry["outside"] > OUTSIDE
    ]
    notes += [
        note for name, entry in targets.items() if (note := above_note(name, entry["ius"]["mean"], entry["ceiling"]))
    ]
    notes += [
        f"the images against {name} are nearly copies of each other: the nearest neighbor of each is at "
        f"{entry['nearest']:.2f} of the distance among real images, which no mean shows"
        for name, entry in targets.items()
        if entry["nearest"] is not None and entry["nearest"] < COPIES
    ]
    for text, n in warnings.most_common():
        if not text.startswith("degenerate map"):
            continue
        name = text.removeprefix("degenerate map ")
        notes.append(f"{n} of {scored} images have a degenerate {name} map: {_DEGENERATE[name]}")
    if constant := warnings["constant image"]:
        notes.append(f"{constant} of {scored} images are of one color throughout; their scores mean nothing")
    if scorer.profiles and all(profile.sd is None for profile in scorer.profiles.values()):
        notes.append("the baseline has no spread (imported, or of one image), so shifts are unknown")
    return notes


_FLAT = "the image is flat there, and the min-max stretches its rounding to full range"
_NO_COLOR = (
    "the image has no color, and the min-max stretches a faint copy of its lightness to full range; "
    "fit with --mode clean or --color gray"
)
_NO_PIXEL = "no pixel lies in this band of gray levels"
_DEGENERATE = {
    "red-green": _NO_COLOR,
    "blue-yellow": _NO_COLOR,
    "coarse-fine": _FLAT,
    "light-dark": _FLAT,
    "band-i": _NO_PIXEL,
    "band-ii": _NO_PIXEL,
}


def separation_note(name: str, ceiling: Mapping[str, Any] | None, floor: Mapping[str, Any] | None) -> str | None:
    """Real images of the class and of the others must reach different scores, or a score says nothing.

    Example:
        >>> ceiling = {"n": 9, "mean": 0.7, "quantiles": {"0.25": 0.6}}
        >>> floor = {"n": 9, "mean": 0.1, "quantiles": {"0.5": 0.1}}
        >>> separation_note("benign", ceiling, floor) is None
        True
    """
    if not (ceiling and floor and ceiling["n"] and floor["n"]):
        return None
    overlap = floor["quantiles"]["0.5"] >= ceiling["quantiles"]["0.25"]
    if not overlap and ceiling["mean"] - floor["mean"] >= 0.01:
        return None
    return (
        f"real images of other classes reach {floor['mean']:.2f} against {name}, its own {ceiling['mean']:.2f}, and "
        f"they overlap: with this model an IUS against {name} does not tell the class"
    )


def above_note(name: str, mean: float, ceiling: Mapping[str, Any] | None) -> str | None:
    """A set whose mean is above nearly all real images is no better for it.

    Example:
        >>> above_note("benign", 0.6, {"quantiles": {"0.95": 0.7}}) is None
        True
        >>> above_note("benign", 0.8, {"quantiles": {"0.95": 0.7}}).split(":")[0]
        'the images against benign score 0.80 on average, above 95 % of real ones'
    """
    if ceiling is None or mean <= ceiling["quantiles"]["0.95"]:
        return None
    return (
        f"the images against {name} score {mean:.2f} on average, above 95 % of real ones: they have more of what tells "
        "the class from others than real images have, which is a difference too"
    )
