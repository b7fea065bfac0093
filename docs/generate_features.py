"""Renders docs/features.md from the registry in iuscore.features.

python docs/generate_features.py
"""

from __future__ import annotations

from pathlib import Path

from iuscore.features import FEATURES, GROUPS, Feature

PAGE = Path(__file__).resolve().parent / "features.md"

_INTRODUCTION = """\
<!-- Made by docs/generate_features.py from the registry in iuscore.features; do not edit. -->

# The features of the texture model

What a model of kind `texture` looks at: {color} numbers of a color image in {groups} groups, {gray} of a gray one.
A group is what the model adds up, and what scores and pictures name; the features inside it go through one small
network together.

Images are brought to one size first (128x128 unless `--size` says otherwise), because texture depends on resolution.
Each pixel gets one 8-bit code per plane ([Texture statistics](texture_stats.md)); "of full range" below is in units of
256 such codes. **Share** features are square roots of the share of pixels in one of 16 parts of a plane's range. The
model uses them, but explanations name **statistics** only.

Distances are in pixels of the size measured at: `fine` is 1, `broad` is 4. Co-occurrence statistics are means over
four directions, so an image turned by 90 degrees has the same ones; how far the directions differ is the group
`direction`. Lightness there is in 32 steps.

What an image cannot have is defined too: without a colored pixel all values of `hue` are 0, and in an image of one
color correlation counts as perfect and all spreads are 0.

```python
from iuscore import phantoms
from iuscore.features import FEATURES, texture_features

values = texture_features(phantoms.draw("endoscopy", "normal", 4))
for feature, value in list(zip(FEATURES["color"], values[0].tolist()))[16:20]:
    print(f"{{feature.name}}: {{value:.2f}} {{feature.unit}}")
```

Counting has no gradient: asking for one is an error.
"""


def render() -> str:
    """The page."""
    counts = {kind: len(features) for kind, features in FEATURES.items()}
    sections = [_INTRODUCTION.format(color=counts["color"], gray=counts["gray"], groups=len(GROUPS["color"]))]
    for group in GROUPS["color"]:
        features = [feature for feature in FEATURES["color"] if feature.group == group]
        kinds = "" if group in GROUPS["gray"] else " (color only)"
        sections += [f"## {group}{kinds}\n", _table(features), _sources(features)]
    return "\n".join(sections)


def _table(features: list[Feature]) -> str:
    lines = ["| feature | unit | range | a higher value: |", "|---|---|---|---|"]
    shares = [feature for feature in features if feature.role == "share"]
    if shares:
        first, last = shares[0], shares[-1]
        names = f"{first.name}, ..., {last.name.removeprefix(first.group).strip()}"
        lines.append(f"| {names} | {first.unit} | 0 to 1 | {first.higher}, and so on |")
    for feature in features:
        if feature.role == "statistic":
            low, high = feature.range
            lines.append(f"| {feature.name} | {feature.unit} | {low:g} to {high:g} | {feature.higher} |")
    return "\n".join(lines) + "\n"


def _sources(features: list[Feature]) -> str:
    return "Source: " + "; ".join(dict.fromkeys(feature.reference for feature in features)) + ".\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
