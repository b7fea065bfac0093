"""One plain sentence for every term of a report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Entry:
    """A term: its anchor in the page, how it is written, and what it means."""

    anchor: str
    term: str
    meaning: str


_TERMS: Mapping[str, tuple[str, str]] = MappingProxyType({
    "set": ("set", "All synthetic images that came from one place, such as one generator."),
    "class": ("class", "What an image shows, such as benign or malignant."),
    "real": ("real images", "The images of patients that every set is compared with; they stay the same for all sets."),
    "group": ("patient or group", "Images that belong together, such as all images of one patient."),
    "transfer": (
        "transfer",
        "The share of the difference between the real classes that a simple classifier learns from the set: 1 is as "
        "good as real images, 0 is useless, and below 0 the set teaches the wrong thing.",
    ),
    "auroc": (
        "AUROC",
        "How well a classifier tells the classes apart: the chance that it gives the right order to one image of each "
        "class, where 0.5 is guessing and 1 is perfect.",
    ),
    "expected-auroc": (
        "expected AUROC",
        "The mean AUROC on real images of a few small classifiers that were fitted to the set alone.",
    ),
    "interval": (
        "95 % interval",
        "How far chance can move the number: of 100 intervals made in this way, about 95 hold the true one.",
    ),
    "real-against-real": (
        "real against real",
        "The same number for one half of the real images in the place of the set: what a perfect set of that size has.",
    ),
    "swapped": (
        "half of the labels swapped",
        "The number for a set that teaches nothing, because half of its labels are exchanged.",
    ),
    "shuffled": ("shuffled labels", "The number for a set whose labels stand in random order: what a useless set has."),
    "view": (
        "view",
        "One of three simple ways to look at an image: named features of color and texture, small patterns, and light "
        "and shade in a tiny copy of the image.",
    ),
    "learner": ("small learner", "A simple classifier that is fitted in seconds, in place of a large network."),
    "tie": ("order cannot be told", "Chance alone can explain the difference between the two sets."),
    "doubt": ("cannot be said", "A reason why the numbers here cannot answer the question, or not for sure."),
    "feature": ("feature", "A number that is measured in an image and has a name, such as its mean lightness."),
    "component": ("component", "A group of features, or a map of the image, that the model judges separately."),
    "contribution": ("contribution", "How far one component moves the judgement of the model towards a class."),
    "spread": ("spread", "One standard deviation among real images of the class: how far they usually differ."),
    "p-value": (
        "p-value",
        "How often chance alone would show so large a difference, corrected for the number of questions; below 0.05 a "
        "difference counts as beyond chance.",
    ),
    "contrast": (
        "contrast difference",
        "How far the difference between two classes in the set departs from the difference between the real classes.",
    ),
    "label-agreement": (
        "label agreement",
        "The share of images whose nearest real images do not belong mostly to another class.",
    ),
    "contradicted": ("contradicted label", "An image whose nearest real images mostly belong to another class."),
    "near-copy": ("near copy", "An image that is nearly the same as another image of its class."),
    "copy-of-real": (
        "copy of a real image",
        "A synthetic image that is nearly the same as one real image: it adds nothing, and it may reveal a patient.",
    ),
    "coverage": (
        "coverage",
        "The share of real images that have a synthetic image about as near as their nearest real neighbors.",
    ),
    "gain": ("gain", "The AUROC with the set added to some real images, less the AUROC with these real images alone."),
    "control": ("control", "Another measure from the literature, shown so that you can see whether it agrees."),
    "value": (
        "value of an image",
        "The place of the image among the images of its set by what it adds to a nearest-neighbor classifier: 0 is the "
        "least useful, 1 the most.",
    ),
    "influence": (
        "influence of an image",
        "How much the transfer of the set rises (above 0) or falls (below 0) if this image counts a little more.",
    ),
    "ius": (
        "IUS",
        "Interpretable Utility Similarity, a published score from \N{MINUS SIGN}1 to 1: how much the contributions for "
        "an image resemble those of real images of its class.",
    ),
    "ceiling": ("ceiling", "The IUS that real images of the class reach."),
    "floor": ("floor", "The IUS that real images of the other classes reach."),
    "confidence": ("confidence", "The probability that the model gives to the class that an image claims."),
    "frechet": ("Fréchet distance", "How far features of the set lie from real ones, if both were bell-shaped."),
    "kernel": ("kernel distance", "How far features of the set lie from real ones, without assuming a shape."),
    "energy": ("energy distance", "How much farther set and real images lie from each other than among themselves."),
    "precision": ("precision", "The share of synthetic images that lie where real images lie."),
    "recall": ("recall", "The share of real images that lie where synthetic images lie."),
    "density": ("density", "How many real neighborhoods hold a synthetic image: about 1 for real images."),
    "span": (
        "discriminative span",
        "Whether differences between images of the set can build the direction in which real classes differ.",
    ),
    "model": ("model", "The classifier, fitted to real images, that gives IUS, contributions and confidence."),
})  # fmt: skip

_COMPONENTS: Mapping[str, str] = MappingProxyType({
    "lightness": "How light or dark pixels are.",
    "red-green": "The tint between green and red.",
    "blue-yellow": "The tint between blue and yellow.",
    "saturation": "How pale or strong colors are.",
    "hue": "Which color a pixel has.",
    "coarse-fine": "How strong edges and grain are, compared with smooth parts.",
    "fine-contrast": "How much neighboring pixels differ: sharp edges, grain and noise raise it, blur lowers it.",
    "broad-contrast": "How much pixels a few steps apart differ: coarse texture raises it.",
    "fine-regularity": "How alike and how orderly neighboring pixels are.",
    "broad-regularity": "How alike and how orderly pixels a few steps apart are.",
    "direction": "Whether structure runs in one direction, such as stripes and lines.",
    "light-dark": "Where large light and dark areas lie.",
    "band-i": "The darkest gray levels, such as air, background and shadow.",
    "band-ii": "The middle gray levels, such as soft tissue.",
})  # fmt: skip

CONTROLS: Mapping[str, tuple[str, str, str]] = MappingProxyType({
    "ius": ("IUS, mean over classes", "ius", "higher"),
    "confidence": ("confidence", "confidence", "higher"),
    "frechet distance": ("Fréchet distance", "frechet", "lower"),
    "kernel distance": ("kernel distance", "kernel", "lower"),
    "energy distance": ("energy distance", "energy", "lower"),
    "precision": ("precision", "precision", "higher"),
    "recall": ("recall", "recall", "higher"),
    "density": ("density", "density", "higher"),
    "coverage": ("coverage", "coverage", "higher"),
    "discriminative span": ("discriminative span", "span", ""),
})  # fmt: skip
"""Key of `ComparedSet.controls` -> its name, its term, and which side is better."""


def entry(key: str) -> Entry:
    """A term of the page.

    Raises:
        KeyError: no such term; a page must not link what it does not explain.
    """
    term, meaning = _TERMS[key]
    return Entry(f"term-{key}", term, meaning)


def component_anchor(name: str, names: tuple[str, ...]) -> str:
    """Anchor of a component: readable, and unique among all ``names``."""
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    return f"component-{names.index(name) + 1}-{readable}".rstrip("-")


def component(name: str, names: tuple[str, ...]) -> Entry:
    """A component of the model, or a group of features."""
    known = _COMPONENTS.get(name.lower())
    return Entry(component_anchor(name, names), name, known or "A component with a name of its own model.")
