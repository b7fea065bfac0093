"""Renders docs/features.md and docs/glcm_features.md from the registries of the features.

python docs/generate_features.py
"""

from __future__ import annotations

from pathlib import Path

from iuscore.features import FEATURES, GROUPS, Feature
from iuscore.ops import GLCM_FEATURES, GLCM_PRESETS

PAGE = Path(__file__).resolve().parent / "features.md"
GLCM_PAGE = PAGE.with_name("glcm_features.md")

_INTRODUCTION = """\
<!-- Made by docs/generate_features.py from the registry in iuscore.features; do not edit. -->

# The features of the texture model

The inputs of a model of kind `texture`: {color} numbers for a color image in {groups} groups, {gray} for a gray image.
Each group has one small network for all its features. The model adds the outputs of the groups, and scores and pictures
name the groups.

Images are first resized to one size (128x128, or as `--size` says), because texture depends on resolution. Each pixel
gets one 8-bit code per plane ([Texture statistics](texture_stats.md)); "of full range" below is in units of 256 such
codes. **Share** features are square roots of the share of pixels in one of 16 parts of a plane's range. The model uses
them, but explanations name **statistics** only. The last two columns are the sentences of explanations: how an image
with a higher or a lower value looks, compared with other images. "Perhaps" in brackets introduces common causes, not
findings: different causes can move a statistic in the same way.

Distances are in pixels of the resized image: `fine` is 1, `broad` is 4. Co-occurrence statistics use 32 levels of
lightness. They are means over four directions, so they do not change if the image is turned by 90 degrees; the group
`direction` measures how far the directions differ.

Hues form a circle, which is cut at cyan: the codes run from cyan over blue, magenta, red (in the middle), yellow and
green back to cyan.

Skewness and kurtosis stay in their ranges up to 170x170 pixels. In larger images a single outlying pixel can exceed
them. A correlation is clamped to -0.999..0.9999 before its inverse hyperbolic tangent is taken; no other feature is
clamped here. A model clamps every feature at three standard deviations of its training images ([The
measure](measure.md#the-texture-model)).

Undefined cases have fixed values: without a colored pixel all values of `hue` are 0; in an image of one color the
correlation is perfect and all spreads are 0.

```python
from iuscore import phantoms
from iuscore.features import FEATURES, texture_features

values = texture_features(phantoms.draw("endoscopy", "normal", 4))
for feature, value in list(zip(FEATURES["color"], values[0].tolist()))[16:20]:
    print(f"{{feature.name}}: {{value:.2f}} {{feature.unit}}")
```

Counting has no gradient: asking for one is an error.

## Masks

`texture_features(images, mask=...)` measures only the pixels that are not 0 in `mask`, bool or uint8 [B, H, W] (or a
list of [H, W]). With `mask="border"` it measures all pixels except the black border, which `border_masks` finds by the
rule in [Borders and masks](fit.md#borders-and-masks). Pixels outside the mask change no bit of any feature: they are
set to 0 before images are resized, and a resized pixel counts only if all pixels that it is computed from count. A pair
counts if both pixels do, an edge if the whole 3x3 neighborhood does. A block of `light-dark` without a counted pixel
has the mean of the image. If no pixel of an image counts, all its features are NaN.

```python
from iuscore.features import border_masks

images = phantoms.draw("endoscopy", "normal", 4)
images[:, :24] = 0
assert (texture_features(images, mask="border") == texture_features(images, mask=border_masks(images))).all()
```
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
    lines = ["| feature | unit | range | a higher value | a lower value |", "|---|---|---|---|---|"]
    shares = [feature for feature in features if feature.role == "share"]
    if shares:
        first, last = shares[0], shares[-1]
        names = f"{first.name}, ..., {last.name.removeprefix(first.group).strip()}"
        lines.append(f"| {names} | {first.unit} | 0 to 1 | {first.higher}, and so on | {first.lower}, and so on |")
    for feature in features:
        if feature.role == "statistic":
            low, high = feature.range
            span = f"{low:g} to {high:g}"
            lines.append(f"| {feature.name} | {feature.unit} | {span} | {feature.higher} | {feature.lower} |")
    return "\n".join(lines) + "\n"


def _sources(features: list[Feature]) -> str:
    return "Source: " + "; ".join(dict.fromkeys(feature.reference for feature in features)) + ".\n"


_GLCM = """\
<!-- Made by docs/generate_features.py from GLCM_FEATURES; do not edit. -->

# Co-occurrence features

`iuscore.ops.glcm_features` computes features of co-occurrence matrices, from images or from given matrices. The
matrices of images are never written to memory: they stay in the cache, on a GPU in shared memory.

```python
import torch, iuscore

images = torch.randint(0, 256, (4, 128, 128, 1), dtype=torch.uint8)
values, names = iuscore.ops.glcm_features(images, levels=32, preset="skimage", symmetric=True)
values.shape                                        # [4, 1 distance, 4 angles, 10 features]
haralick = iuscore.ops.glcm_features(images, levels=256, preset="mahotas").values.mean(2)  # [4, 1, 13]
```

Gray levels, offsets and masks are those of {doc}`glcm`.

## Features

p[i, j] is the matrix divided by its sum, i the level of the first and j of the second pixel, from 0 to L - 1. P and Q
are its row and column sums, m and n their means; s[k] is the sum of p where i + j = k, d[k] where |i - j| = k. 0 log
0 is 0. N is IBSI's Ng, the number of gray levels: the largest level among the counted pixels of the image (the first
level is 1). N depends on the image and not on `levels`; for given matrices, N is the largest level with a count. The
column "levels from" is filled if the value depends on whether levels begin at 0 or 1. f1 ... f14 are the numbers of
Haralick 1973; codes like ACUI are those of the Image Biomarker Standardization Initiative (IBSI).

"""

_GLCM_REST = """\

## Presets

{presets}

mahotas, IBSI and Haralick's paper count every pair in both directions, and so do their presets unless `symmetric` says
otherwise; `skimage` counts each pair once, as `graycomatrix` does by default. Three more conventions: mahotas computes
f10 as the variance of the entries d[0] to d[g], where g is the largest level of the image. The exponential in f13 uses
entropies in bits, as in IBSI and mahotas; Haralick's paper does not name the base of its logarithm. In f7, the sum
variance, Haralick's paper prints f8, the sum entropy, instead of f6, the sum average, a well-known misprint. The
presets compute the variance around the sum average, as IBSI and mahotas do.

## How it is computed

Every feature but the maximal correlation coefficient follows from integers: sums of i, j, i^2, j^2, ij, and the
histograms of i + j and |i - j|. The entropies are sums of c log2 c, each rounded to a fixed-point integer, so the order
of summation does not matter: results are equal in every bit for any batch size, number of threads and CPU instruction
set, and between CPU and CUDA. PyTorch's results differ by float64 rounding. The fraction has 58 - b bits, where 2^b is
the first power of two above twice the number of pixels: entropies of 128x128 images are off by at most 2^-43. The
features are computed from the sums in float64, with a logarithm of this library (`core/haralick_values.h`).

On a CPU a matrix is counted in a workspace that stays in the cache. The workspace covers only the levels of the image,
and only one triangle if the matrix is symmetric. The matrix is read once, row by row, and cleared in the same pass. On
a GPU a block counts an image, or some of its offsets, in shared memory; a matrix that does not fit is counted in bands
of rows. The maximal correlation coefficient needs singular values, which PyTorch computes from `glcm`; it is far slower
than the others.

## Where there is nothing to measure

A matrix without a pair gives 0 for every feature. With a single level the correlation is 1, as in scikit-image and
mahotas, and both measures of information correlation are 0. There is no NaN.

## What it is checked against

| check | what it compares with |
|---|---|
| `tests/oracles` | `graycoprops` of scikit-image and `haralick` of mahotas to 1e-9; IBSI's values of its phantom |
| `tests/equivalence` | float64 loops from the formulas, within a derived bound; equal bits however it is called |
| `tests/invariants` | transposes, turns, masks |
| `tests/equivalence/test_host_cuda.py` | the CUDA kernel on the host against the C++ kernel |

## Speed

```{{include}} ratios/glcm.md
```
"""


def render_glcm() -> str:
    """The page of `glcm_features`."""
    lines = ["| feature | formula | a higher value | log | levels from | source |", "|---|---|---|---|---|---|"]
    for f in GLCM_FEATURES.values():
        start = "" if f.first_level is None else str(f.first_level)
        formula = f.formula.replace("|", "\\|").replace("_", "\\_")
        lines.append(
            f"| {f.name.replace('_', chr(92) + '_')} | {formula} | {f.higher} | {f.logarithm} | {start} | {f.source} |"
        )
    presets = "\n".join(f"- `{name}`: {', '.join(features)}" for name, features in GLCM_PRESETS.items())
    return _GLCM + "\n".join(lines) + "\n" + _GLCM_REST.format(presets=presets)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    GLCM_PAGE.write_text(render_glcm(), encoding="utf-8")
