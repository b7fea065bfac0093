"""The numbers of one scoring run, as they stand in ``summary.json``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from iuscore.explain import explain_contributions
from iuscore.profile import CONFIDENCE, QUANTILES, RESAMPLES
from iuscore.score import Scorer
from iuscore.versions import versions

Array = npt.NDArray[np.float64]


def mean_interval(values: Array, *, seed: int = 0) -> tuple[float, float, float]:
    """Mean and its 95 % percentile bootstrap interval over the rows of ``values`` [N].

    Returns:
        (mean, low, high); all the same for one value or equal values, NaN for none.

    Example:
        >>> mean, low, high = mean_interval(np.arange(100.0))
        >>> mean, low < mean < high
        (49.5, True)
    """
    if len(values) == 0:
        return (float("nan"),) * 3
    mean = float(values.mean())
    if np.ptp(values) == 0:
        return (float(values[0]),) * 3
    from scipy.stats import bootstrap

    found = bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, 10_000_000 // len(values)),
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return mean, float(found.confidence_interval.low), float(found.confidence_interval.high)


def describe_target(scorer: Scorer, target: str, ius: Array, contributions: Array, shares: Array) -> dict[str, Any]:
    """Everything about the images scored against one class.

    Args:
        ius: [N] without NaN. contributions, shares: [N, G].

    Returns:
        JSON-able: n, IUS mean with interval, spread and quantiles, ceiling and floor of real images, the fraction of
        images above the ceiling's lower quartile, the mean contribution per component with interval beside the
        baseline, and the most shifted component.
    """
    ceiling = (scorer.record.get("ceiling") or {}).get(scorer.space, {}).get(target)
    floor = (scorer.record.get("floor") or {}).get(scorer.space, {}).get(target)
    quartile = ceiling["quantiles"]["0.25"] if ceiling and ceiling.get("n") else None
    mean, low, high = mean_interval(ius)
    why = explain_contributions(
        scorer.profiles[target], contributions, shares, target=target, components=scorer.components
    )
    components = []
    for g, reason in enumerate(why.components):
        _, c_low, c_high = mean_interval(contributions[:, g])
        components.append({**asdict(reason), "low": c_low, "high": c_high})
    return {
        "n": len(ius),
        "ius": {
            "mean": mean,
            "low": low,
            "high": high,
            "sd": float(ius.std(ddof=1)) if len(ius) > 1 else None,
            "quantiles": {str(q): float(np.quantile(ius, q)) for q in QUANTILES} if len(ius) else None,
        },
        "above_ceiling_lower_quartile": float((ius >= quartile).mean()) if quartile is not None and len(ius) else None,
        "ceiling": ceiling,
        "floor": floor,
        "components": components,
        "most_shifted": why.most_shifted,
    }


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
        targets: class -> `describe_target`. images: where the images came from. listed: how many there were.
        warnings: one entry per image and warning. errors: one entry per image that could not be scored.
    """
    from PIL import __version__ as pillow

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
        "notes": _notes(scorer, warnings, scored),
        "model": {
            "kind": record["kind"],
            "weights_sha256": record["weights_sha256"],
            "members": len(record["members"]),
            "classes": list(scorer.classes),
            "components": list(scorer.components),
            "space": scorer.space,
            **{key: record["model"][key] for key in ("mode", "color", "size") if key in record["model"]},
        },
        "decoder": f"pillow {pillow}",
        "versions": versions(),
        "seconds": round(seconds, 3),
        "images_per_second": round(scored / seconds, 1) if seconds > 0 else None,
    }


def _notes(scorer: Scorer, warnings: Sequence[str], scored: int) -> list[str]:
    """What a reader of the numbers has to know."""
    notes = []
    degenerate = Counter(w for w in warnings if w.startswith("degenerate map"))
    for text, n in degenerate.most_common():
        name = text.removeprefix("degenerate map ")
        notes.append(
            f"{n} of {scored} images have a degenerate {name} map: the published min-max stretched rounding noise to "
            f"full range, so its contribution means nothing; fit with --mode clean (or --color gray) to avoid it"
        )
    if scorer.profiles and all(profile.sd is None for profile in scorer.profiles.values()):
        notes.append("the baseline has no spread (imported, or of one image), so shifts are unknown")
    return notes
