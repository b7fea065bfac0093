"""Why one image scores as it does, as a record."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from iuscore.explain.nearest import Neighbor
from iuscore.explain.ranges import FeatureReason
from iuscore.features import COLORLESS
from iuscore.scoring import Explanation
from iuscore.scoring.explanation import plain_values

COMPONENTS_IN_WORDS, FEATURES_IN_WORDS = 4, 2
"""Components, and features of each, that are described in words."""

MapKind = Literal["parts", "relevance"]


@dataclass(frozen=True, eq=False)
class ImageExplanation:
    """Why one image scores as it does.

    Attributes:
        uid: its path, or its place.
        why: shares, contributions and what changed; the shares sum to ``why.ius``.
        features: every feature with the range of the real class, in the model's order; empty for an "epu" model.
        nearest_real, nearest_generated: the images most like it; empty where there is nothing to look among.
        picture: uint8 [h, w, C], the image as the model measures it, 0 where no pixel counts.
        maps: component, or feature that was asked for -> float32 [h, w]. "parts": parts of pixels in the contribution,
            which sum to ``reached``. "relevance": in [0, 1]. Empty if none were asked for, or the image has no score.
        map_kind: what the maps are.
        reached: component -> its contribution, less that of an image whose features are the means of the real class;
            feature that was asked for -> its part in that difference. Empty for an "epu" model.
        mask: bool [h, w], pixels that count.
        ranges: component -> mean contribution of the real class -+ 2 standard deviations; empty if unknown.
        warnings: texts that limit the meaning of the score.
    """

    uid: str
    why: Explanation
    features: tuple[FeatureReason, ...]
    nearest_real: tuple[Neighbor, ...]
    nearest_generated: tuple[Neighbor, ...]
    picture: npt.NDArray[np.uint8]
    maps: dict[str, npt.NDArray[np.float32]]
    map_kind: MapKind
    reached: dict[str, float]
    mask: npt.NDArray[np.bool_]
    ranges: dict[str, tuple[float, float]]
    warnings: tuple[str, ...] = ()

    @property
    def counted(self) -> int:
        """Number of pixels that count."""
        return int(self.mask.sum())

    def behind(self, component: str) -> list[FeatureReason]:
        """Features of a component, the one with the largest part in its contribution first."""
        own = [feature for feature in self.features if feature.group == component and math.isfinite(feature.part)]
        return sorted(own, key=lambda feature: -abs(feature.part))

    def leading(self) -> list[str]:
        """Components, the one whose contribution differs most from real images first; without those unknown."""
        known = [c for c in self.why.components if math.isfinite(c.difference)]
        return [c.name for c in sorted(known, key=lambda c: -abs(c.difference))]

    def feature_lines(self, components: int) -> list[str]:
        """Features of the leading components in words; one line for all groups of color of an image without color."""
        colorless = {change.name for change in self.why.changes or () if change.words == COLORLESS}
        found = []
        for name in [name for name in self.leading() if name not in colorless][:components]:
            found += [feature.line(self.why.target) for feature in self.behind(name)[:FEATURES_IN_WORDS]]
        if colorless and self.features:
            found.insert(0, f"the image has no color, and real {self.why.target} have: {', '.join(sorted(colorless))}")
        return found

    @property
    def lines(self) -> list[str]:
        """The explanation in words."""
        why = self.why
        if not math.isfinite(why.ius):
            return [f"{self.uid}: no score; {'; '.join(self.warnings)}"]
        doubt = ", a guess: far outside real images" if why.out_of_distribution else ""
        found = [f"{self.uid} against real {why.target}: IUS {why.ius:.3f}{doubt}"]
        rows = [["component", "share", "contribution", f"real {why.target}"]]
        for c in why.components:
            real = f"{c.baseline:+.2f}"
            if c.name in self.ranges:
                real += " ({:+.2f} to {:+.2f})".format(*self.ranges[c.name])
            rows.append([c.name, f"{c.share:+.3f}", f"{c.contribution:+.2f}", real])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        found += [
            "  ".join([f"{row[0]:<{widths[0]}}", f"{row[1]:>{widths[1]}}", f"{row[2]:>{widths[2]}}", row[3]])
            for row in rows
        ]
        found += [f"  {line}" for line in self.feature_lines(COMPONENTS_IN_WORDS)]
        for what, near in (("real", self.nearest_real), ("generated", self.nearest_generated)):
            if near:
                found.append(f"nearest {what} images: {', '.join(each.line for each in near)}")
        return found + [f"warning: {text}" for text in self.warnings]

    def to_json(self) -> dict[str, Any]:
        """As plain dicts, lists and values, without picture and maps; what is not finite is None."""
        found: dict[str, Any] = plain_values(
            {
                "uid": self.uid,
                **self.why.to_dict(),
                "components": {
                    c.name: {
                        **asdict(c),
                        "difference": c.difference,
                        "range": list(self.ranges[c.name]) if c.name in self.ranges else None,
                        "from_mean_features": self.reached.get(c.name),
                    }
                    for c in self.why.components
                },
                "features": [feature.to_json() for feature in self.features],
                "nearest_real": [asdict(each) for each in self.nearest_real],
                "nearest_generated": [asdict(each) for each in self.nearest_generated],
                "counted_pixels": self.counted,
                "warnings": list(self.warnings),
            }
        )
        return found
