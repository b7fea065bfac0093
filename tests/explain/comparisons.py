"""A comparison of three sets as a command would make it, with what is awkward: missing numbers, names with markup."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from iuscore.explain.compare import Change, ComparedSet, Comparison, Coverage, Effect, Gain, Pair, ShownImage
from iuscore.explain.compare.records import Reason
from iuscore.explain.report import REAL, ScoreHistogram, ScoreReference
from iuscore.explain.value import GroupContrast, Measure, SetValue
from iuscore.features import FEATURES, GROUPS

CLASSES = ("benign", "malignant")
NAMES = ("diffusion", "gan_v2", "blurred <b>&amp;")
HOSTILE = '<script>alert("1")</script>'
RTL = "סרטן_07.png"
"""A file name in Hebrew, which is written from right to left."""
SPOOFED = "scan\u202egnp.exe"
"""A file name that looks like another one where the mark in it is obeyed."""
SURROGATE = "bad\udcff.png"
"""A file name whose bytes are no UTF-8, as Python reads it."""
REASONS: tuple[Reason, ...] = ("best", "typical", "worst", "contradicted", "copy", "copy of real")


def measure(value: float, real: float | None, none: float | None, spread: float = 0.08) -> Measure:
    """A measure with everything beside it, or without."""
    sd = None if real is None else spread / 2
    return Measure(value, value - spread, value + spread, real, sd, none, none)


def set_value(level: float, n: int, doubts: tuple[str, ...] = ()) -> SetValue:
    """The value of a set whose transfer is ``level``."""
    auroc = 0.5 + 0.45 * max(level, 0.0)
    contrast = tuple(
        GroupContrast(
            group, "malignant", "benign", measure(moved, 0.2, 0.5), moved > 1, f"{group} mean", -moved,
            "edges are softer, grain is weaker, or contrast is lower", ("malignant",) if moved > 1 else CLASSES,
        )
        for group, moved in (("fine-contrast", 2.4 * (1 - level)), ("lightness", 0.3), ("light-dark", 0.1))
    )  # fmt: skip
    learners = {
        "lda thumb": auroc,
        "lda patch": auroc - 0.02,
        "neighbors thumb": auroc - 0.05,
        "neighbors patch": auroc + 0.01,
    }
    return SetValue(
        CLASSES, (n // 2, n - n // 2), (120, 96), 84, measure(level, 0.81, 0.03),
        {view: measure(level + step, 0.8, 0.0) for view, step in (("thumb", 0.1), ("patch", 0.0), ("texture", -0.1))},
        measure(auroc, 0.88, 0.5, 0.03), measure(auroc, 0.88, 0.5, 0.03),
        {name: measure(value, 0.87, 0.5, 0.04) for name, value in learners.items()},
        measure(0.95 - 0.2 * (1 - level), 0.96, 0.5), measure(0.06, 0.01, None), Measure(0.004), contrast, doubts,
    )  # fmt: skip


def shown_image(place: int, n: int, reason: Reason, uid: str, with_score: bool) -> ShownImage:
    """One image of a gallery."""
    groups = GROUPS["gray"][:4]
    influence = {group: 0.001 * ((place * 7 + i * 3) % 11 - 5) for i, group in enumerate(groups)}
    target = CLASSES[place % 2]
    return ShownImage(
        uid, target, (reason, "worst") if reason == "contradicted" else (reason,), 1 - place / n,
        0.9 - place / n if with_score else None, 0.97 - place / (2 * n) if with_score else None,
        sum(influence.values()), influence, 3 if "copy" in reason else 1,
        2 / 14 if reason == "contradicted" else 11 / 14,
        f"real/{place:04d}.png" if with_score else None, CLASSES[1 - place % 2] if reason == "contradicted" else target,
        "Of its 14 nearest real images, 12 are benign." if reason == "contradicted" else "Its value is typical.",
    )  # fmt: skip


def compared(place: int, name: str, level: float, n: int, **changes: object) -> ComparedSet:
    """One set."""
    uids = [f"{CLASSES[i % 2]}/{name}_{i:05d}.png" for i in range(4 * len(REASONS))]
    if place == 1:
        uids[:4] = [f"{HOSTILE}.png", RTL, SPOOFED, SURROGATE]
    images = tuple(
        shown_image(i, len(uids), REASONS[i % len(REASONS)], uid, with_score=place != 3 or i % 3 == 0)
        for i, uid in enumerate(uids)
    )
    features = [feature for feature in FEATURES["gray"] if feature.role == "statistic"][:30]
    shift = 3 * (1 - level)
    found = ComparedSet(
        name, f"sets/{name}", n, 3 if place == 2 else 0, 84 if place == 1 else None, min(n, 50_000), place, (),
        set_value(level, n),
        {
            "ius": measure(0.4 + level / 3, 0.7, 0.2), "confidence": measure(0.8, 0.85, 0.5),
            "frechet distance": measure(3 - level, 1.1, 1.2, 0.3), "kernel distance": measure(0.04, 0.01, 0.01, 0.01),
            "precision": measure(0.7, 0.9, 0.9), "recall": measure(0.5, 0.9, 0.9), "density": Measure(0.8),
            "coverage": measure(0.6, 0.9, 0.9), "energy distance": measure(0.3, 0.1, 0.1),
            "discriminative span": measure(0.4, 0.2, 0.9), "a new measure": Measure(0.5),
        },
        tuple(
            Change(CLASSES[i % 2], feature.group, feature.name, shift * (1 if i % 3 else -1) / (1 + i / 4),
                   shift * (1 if i % 3 else -1) / (1 + i / 4) - 0.2, shift * (1 if i % 3 else -1) / (1 + i / 4) + 0.2,
                   min(1.0, 1e-6 * 4**i), feature.words(1 if i % 3 else -1))
            for i, feature in enumerate(features)
        ),
        tuple(
            Effect(CLASSES[i % 2], group, -0.5 * (1 - level) / (1 + i), -0.5 * (1 - level) / (1 + i) - 0.08,
                   -0.5 * (1 - level) / (1 + i) + 0.08, min(1.0, 1e-5 * 9**i))
            for i, group in enumerate(GROUPS["gray"])
        ),
        (
            Coverage("benign", measure(level, 0.9, None), tuple(f"real/{i:04d}.png" for i in range(12)),
                     "uncovered real images are darker at the rim"),
            Coverage("malignant", Measure(0.5), (), ""),
        ),
        (*(Gain(n_real, 0.7 + n_real / 5000, gain, gain - 0.02, gain + 0.02)
           for n_real, gain in ((50, 0.08 * level), (200, 0.04 * level - 0.01), (1000, -0.05 * (1 - level)))),
         Gain(1000, 0.9, -0.06 * (1 - level), -0.08, 0.01, 150)),
        {"malignant": 12, "benign": 0}, 30, 2, images,
        f"Useful: {name} keeps most of the real difference between benign and malignant." if level > 0.4 else
        f"Of little use: {name} is too smooth, in malignant images alone.",
        ("training beside up to 200 real images of each class",) if level > 0.4 else (),
        ("replacing real images",) if level > 0.4 else ("training", "judging a classifier"),
        () if level > 0.5 else ("Fine contrast of malignant images is too low: edges are softer than in real ones.",
                                "12 images of malignant look benign to their nearest real images."),
        (),
    )  # fmt: skip
    return replace(found, **changes)


def comparison() -> Comparison:
    """Three sets of two classes; the first two are tied, the third one has doubts and no scores."""
    first = compared(1, NAMES[0], 0.66, 10_000_000, ties=(NAMES[1],))
    second = compared(2, NAMES[1], 0.61, 500, ties=(NAMES[0],))
    third = compared(
        3, NAMES[2], 0.2, 40,
        doubts=("The set has 20 images of malignant; 25 are needed.",),
        controls={"frechet distance": Measure(float("nan"))}, gains=(), effects=(), n_groups=None,
    )  # fmt: skip
    third = replace(third, value=replace(third.value, pix5=None, cannot_be_said=("few images of a class: 20",)))
    return Comparison(
        CLASSES, "studies/real", (120, 96), 84, (first, second, third),
        (
            Pair(NAMES[0], NAMES[1], 0.05, -0.04, 0.13, True, False),
            Pair(NAMES[0], NAMES[2], 0.46, 0.3, 0.6, True, True),
            Pair(NAMES[1], NAMES[2], 0.41, 0.26, 0.55, True, True),
        ),
        "Use diffusion or gan_v2: which of them is better cannot be told. Do not use the third set for training.",
        ("diffusion and gan_v2 differ by less than chance.",),
        ("About 200 more real images of malignant would tell diffusion and gan_v2 apart.",),
        "texture", 0.91, 80, {"torch": "2.8.0", "iuscore": "0.1.0"},
        "iuscore compare studies/real sets/diffusion sets/gan_v2 'sets/blurred <b>&amp;' --html report.html",
    )  # fmt: skip


def picture(seed: int, side: int = 160, mode: str = "L", kind: str = "PNG") -> bytes:
    """A drawn picture as a file."""
    noise = np.random.default_rng(seed).random((side, side))
    y, x = np.mgrid[:side, :side] / side - 0.5
    gray = 40 + 150 * np.exp(-8 * (x**2 + y**2)) + 40 * noise
    image = Image.fromarray(gray.clip(0, 255).astype(np.uint8)).convert(mode)
    written = io.BytesIO()
    image.save(written, kind)
    return written.getvalue()


def thumbnails(given: Comparison) -> dict[tuple[str, str], bytes]:
    """Pictures of all shown images of the first two sets, and of some real ones."""
    found = {(each.name, image.uid): picture(i) for each in given.sets[:2] for i, image in enumerate(each.images)}
    return found | {(REAL, f"real/{i:04d}.png"): picture(100 + i) for i in range(20)}


def histograms(given: Comparison) -> list[ScoreHistogram]:
    """Distributions of IUS and value of all sets and classes."""
    rng = np.random.default_rng(0)
    found = []
    for place, each in enumerate(given.sets):
        for target in CLASSES:
            ius = np.clip(rng.normal(0.6 - 0.3 * place, 0.2, 400), -1, 1)
            value = rng.beta(4 - place, 2 + place, 400)
            ceiling, floor = ScoreReference(60, 0.7, 0.6, 0.82), ScoreReference(60, -0.1)
            for score, values in (("ius", ius), ("value", value)):
                both = (ceiling, floor) if score == "ius" else (None, None)
                found.append(ScoreHistogram.of(each.name, target, score, values, *both))
    return found
