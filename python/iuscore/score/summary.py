"""The numbers of one scoring run, as they stand in ``summary.json``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from iuscore.features import RunningFeatures, nearest_ratio
from iuscore.images import decoders
from iuscore.profile import QUANTILES, mean_interval
from iuscore.score.scorer import Scorer
from iuscore.versions import versions

Array = npt.NDArray[np.float64]


OUTSIDE = 3.0
"""Spreads of real images beyond which a model's opinion of a set is a guess."""

COPIES = 0.5
"""Distance to the nearest neighbor, compared with real images, below which a set is said to repeat itself."""


def describe_target(
    scorer: Scorer,
    target: str,
    ius: Array,
    contributions: Array,
    shares: Array,
    measured: RunningFeatures | None = None,
) -> dict[str, Any]:
    """Everything about the images scored against one class.

    Args:
        ius: [N], N >= 1, without NaN. contributions, shares: [N, G].
        measured: the images' features, of a model that has named ones.

    Returns:
        JSON-able: n, IUS mean with interval, spread and quantiles, ceiling and floor of real images, the fraction of
        images above the ceiling's lower quartile, the mean contribution per component with interval beside the
        baseline, what changed and what of it matters.
    """
    ceiling, floor = (_entry(scorer, key, target) for key in ("ceiling", "floor"))
    why = scorer.explained(target, contributions, shares, None if measured is None else measured.mean)
    low, high = (end.tolist() for end in mean_interval(np.column_stack([ius, contributions])))
    return {
        "n": len(ius),
        "ius": {
            "mean": float(ius.mean()),
            "low": low[0],
            "high": high[0],
            "sd": float(ius.std(ddof=1)) if len(ius) > 1 else None,
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
        "outside": scorer.outside(None if measured is None else measured.mean),
        "nearest": _nearest(scorer, target, measured),
    }


def _nearest(scorer: Scorer, target: str, measured: RunningFeatures | None) -> float | None:
    profile = scorer.feature_profiles.get(target)
    return (
        None if profile is None or measured is None else nearest_ratio(profile, measured.sample, scorer.model.features)
    )


def _entry(scorer: Scorer, key: str, target: str) -> dict[str, Any] | None:
    """Ceiling or floor of a class in the scorer's space; None where no image was held out."""
    found: dict[str, Any] | None = (scorer.record.get(key) or {}).get(scorer.space, {}).get(target)
    return found if found and found.get("n") else None


def describe_run(
    scorer: Scorer,
    targets: Mapping[str, dict[str, Any]],
    *,
    images: str,
    listed: int,
    warnings: Sequence[str],
    errors: Sequence[str],
    seconds: float,
    interrupted: bool,
) -> dict[str, Any]:
    """The whole of ``summary.json``.

    Args:
        targets: class -> `describe_target`.
        images: where the images came from.
        listed: how many there were.
        warnings: one entry per image and warning.
        errors: one entry per image that could not be scored.
    """
    scored = sum(entry["n"] for entry in targets.values())
    record = scorer.record
    return {
        "images": images,
        "n_listed": listed,
        "n_scored": scored,
        "n_unreadable": len(errors),
        "interrupted": interrupted,
        "targets": dict(targets),
        "warnings": dict(Counter(warnings).most_common()),
        "errors": dict(Counter(errors).most_common()),
        "notes": _notes(scorer, targets, warnings, scored),
        "model": {
            "kind": record["kind"],
            "weights_sha256": record["weights_sha256"],
            "members": len(record["members"]),
            "classes": list(scorer.classes),
            "components": list(scorer.components),
            "space": scorer.space,
            **{key: record["model"][key] for key in ("mode", "color", "size") if key in record["model"]},
        },
        "decoder": decoders(),
        "versions": versions(),
        "seconds": round(seconds, 3),
        "images_per_second": round(scored / seconds, 1) if seconds > 0 else None,
    }


def _notes(scorer: Scorer, targets: Mapping[str, dict[str, Any]], warnings: Sequence[str], scored: int) -> list[str]:
    """What a reader of the numbers has to know."""
    notes = [
        note for name, entry in targets.items() if (note := separation_note(name, entry["ceiling"], entry["floor"]))
    ]
    notes += [
        f"the images against {name} lie far outside real ones of any class ({min(entry['outside'], 100):.0f} times "
        "their spread): the model was trained on nothing like them, so trust what changed before the IUS"
        for name, entry in targets.items()
        if entry["outside"] is not None and entry["outside"] > OUTSIDE
    ]
    notes += [
        f"the images against {name} are nearly copies of each other: the nearest neighbor of each is at "
        f"{entry['nearest']:.2f} of the distance among real images, which no mean shows"
        for name, entry in targets.items()
        if entry["nearest"] is not None and entry["nearest"] < COPIES
    ]
    degenerate = Counter(w for w in warnings if w.startswith("degenerate map"))
    for text, n in degenerate.most_common():
        name = text.removeprefix("degenerate map ")
        notes.append(f"{n} of {scored} images have a degenerate {name} map: {_DEGENERATE[name]}")
    if constant := Counter(warnings)["constant image"]:
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
