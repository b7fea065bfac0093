"""The endoscopy phantom: mucosa in the light of an endoscope, with or without a lesion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._canvas import Canvas, Dice, Field, branches, bump, noise, offshoots, sigmoid, strokes, turned

Color = NDArray[Any]
"""float32 [3] or [H, W, 3], red, green, blue."""


def _rgb(red: float, green: float, blue: float) -> Color:
    return np.array([red, green, blue], dtype=np.float32)


@dataclass(frozen=True)
class Lesion:
    """Position of the lesion, and its changes of the mucosa.

    Attributes:
        inside: float32 [H, W] in 0..1, with a sharp edge: the area of the rough surface.
        tint: float32 [H, W, 3], with a soft edge: color that is added to the albedo.
        relief: float32 [H, W], gray that is added to the albedo: a lit side, and a furrow around the lesion.
        pits: float32 [H, W], texture of the rough surface.
    """

    inside: Field
    tint: Color
    relief: Field
    pits: Field


def paint(dice: Dice, page: Canvas, *, lesion: bool, contrast: float) -> Field:
    """One scene as float32 [H, W, 3], nominally in [0, 1].

    Args:
        dice: the scene's random numbers; those of the lesion are drawn even if no lesion is painted.
        page: the canvas.
        lesion: paint the lesion.
        contrast: 1 normal, 0 no contrast, -1 inverted: paler instead of redder, smoother instead of rougher.
    """
    size = (page.height, page.width)
    albedo = _mucosa(dice, size)
    vessels = _vessels(dice, page)
    grain = noise(dice, size, 44) * dice.uniform(0.012, 0.022)
    shade, light = _shade(dice, page)
    shine = noise(dice, size, 26) + 0.8 * noise(dice, size, 9)
    shine_level = dice.uniform(2.2, 3.4)
    found = _lesion(dice, page)

    relief: Any = 0.0
    if lesion:
        # Color and relief are inverted relative to the mucosa. Rough becomes smooth: less grain, and no pits.
        albedo = albedo + contrast * found.tint
        vessels = vessels * (1 - 0.85 * abs(contrast) * found.inside)
        rough, smooth = max(contrast, 0.0), max(-contrast, 0.0)
        grain = grain + found.inside * (rough * found.pits - smooth * grain)
        relief = contrast * found.relief
    albedo = albedo * (1 - vessels[..., None] * _rgb(0.30, 0.62, 0.52))
    # Grain and relief are gray: the surface scatters the white light of the lamp.
    image = (albedo + (grain + relief)[..., None]) * shade[..., None]
    glint = sigmoid((shine + 1.5 * (light - 1) - shine_level) * 7)
    lit: Field = image + glint[..., None] * (_rgb(1.0, 0.97, 0.93) - image) * 0.9
    return lit


def _mucosa(dice: Dice, size: tuple[int, int]) -> Field:
    """Albedo [H, W, 3]: a base color between pink and orange-red, with harmless red and yellow blotches."""
    t = dice.uniform(0, 1)
    base = (1 - t) * _rgb(0.88, 0.58, 0.52) + t * _rgb(0.84, 0.42, 0.30)
    base = base * (1 + 0.06 * dice.normal(1)) + 0.02 * dice.normal(3)
    redness = noise(dice, size, 3) * dice.uniform(0.0, 0.8)
    stain = np.maximum(noise(dice, size, 2) - 0.3, 0) * dice.uniform(0.0, 1.0)
    colored: Field = base + redness[..., None] * _rgb(0.015, -0.05, -0.04) + stain[..., None] * _rgb(0.0, -0.01, -0.11)
    return colored


def _vessels(dice: Dice, page: Canvas) -> Field:
    """Darkness [H, W] in 0..1 of a branching network: trunks across the frame, two orders of branches."""
    size = (page.height, page.width)
    trunks = 5
    start = dice.uniforms(-1.1, 1.1, trunks, 2)
    curves, heading = branches(dice, start, dice.uniforms(0, 2 * math.pi, trunks), length=1.7, wander=1.3)
    start, angle = offshoots(dice, curves, heading, 3, fork=0.8)
    second, heading = branches(dice, start, angle, length=0.8, wander=1.3, points=10)
    start, angle = offshoots(dice, second, heading, 2, fork=0.8)
    third, _ = branches(dice, start, angle, length=0.4, wander=1.3, points=10)
    strength = dice.uniforms(0.35, 1.0, trunks, 1)
    wide = page.side * dice.uniform(0.006, 0.011)
    taper = np.linspace(1.0, 0.5, 20, dtype=np.float32)
    ink = strokes(curves, strength * taper, size, wide)
    thin = np.concatenate([second, third])
    weight = np.concatenate([np.repeat(strength, 3), 0.7 * np.repeat(strength, 6)])[:, None]
    taper = np.linspace(0.9, 0.3, 10, dtype=np.float32)
    ink = ink + strokes(thin, weight * taper, size, 0.55 * wide)
    visible = sigmoid(2.5 * noise(dice, size, 3) + 1.5)
    return (1 - np.exp(-ink)) * visible * dice.uniform(0.35, 0.9)


def _shade(dice: Dice, page: Canvas) -> tuple[Field, Field]:
    """Brightness [H, W] from light, lumen and folds; and the light alone [H, W] in 0..1."""
    size = (page.height, page.width)
    light_x, light_y = dice.uniform(-0.35, 0.35), dice.uniform(-0.35, 0.35)
    reach = dice.uniform(0.8, 1.3)
    light = bump(np.hypot(page.x - light_x, page.y - light_y) / reach)

    distance, angle = dice.uniform(0.25, 1.6), dice.uniform(0, 2 * math.pi)
    dx = page.x - (distance * math.cos(angle))
    dy = page.y - (distance * math.sin(angle))
    dx, dy = turned(dx, dy, dice.uniform(0, math.pi))
    rho = np.hypot(dx, dy * dice.uniform(0.75, 1.3)) * (1 + 0.10 * noise(dice, size, 4))
    lumen = 1 - dice.uniform(0.5, 0.9) * bump(rho / dice.uniform(0.18, 0.4))

    phase = dice.uniform(5.0, 8.0) * np.sqrt(rho + 0.02)
    phase = phase * 1.4 + dice.uniform(0, 2 * math.pi)
    # A sine with a modulated phase is asymmetric: a wide lit slope, then a narrow shadow.
    crest = np.sin(phase + 0.9 * np.sin(phase))
    present = sigmoid(2 * noise(dice, size, 3) + dice.uniform(-1, 1.5))
    folds = 1 + dice.uniform(0.12, 0.34) * crest * present

    exposure = dice.uniform(0.85, 1.15)
    vignette = 1 - 0.22 * np.square(page.x**2 + page.y**2)
    return exposure * (0.38 + 0.72 * light) * lumen * folds * vignette, light


def _lesion(dice: Dice, page: Canvas) -> Lesion:
    """An irregular, slightly raised blob: redder, or pale with a yellowish rim, and rougher inside."""
    size = (page.height, page.width)
    distance, angle = dice.uniform(0.0, 0.55), dice.uniform(0, 2 * math.pi)
    radius = dice.uniform(0.24, 0.44)
    u, v = turned(
        page.x - (distance * math.cos(angle)),
        page.y - (distance * math.sin(angle)),
        dice.uniform(0, math.pi),
    )
    stretch = dice.uniform(0.75, 1.33)
    u, v = u / (radius * stretch), v * (stretch / radius)
    s = np.hypot(u, v) + 0.17 * noise(dice, size, 7)
    edge = s + 0.07 * noise(dice, size, 17)
    inside = sigmoid((1 - edge) / dice.uniform(0.03, 0.06))

    # The color extends softly beyond the rough part, so that blur removes the texture but not the color.
    pale = float(sigmoid(6 * (dice.uniform(0, 1) - 0.5)))
    red = sigmoid((1.05 - s) / 0.2)[..., None] * _rgb(0.05, -0.20, -0.13)
    core, rim = bump(s / 0.75), bump((s - 0.95) / 0.42)
    yellowish = core[..., None] * _rgb(0.08, 0.11, 0.02) + rim[..., None] * _rgb(0.03, 0.03, -0.11)
    # Some lesions have almost the color of the mucosa, but all are rough.
    tint = dice.uniform(0.35, 1.0) * ((1 - pale) * red + pale * yellowish)

    wall = bump((edge - 0.97) / 0.10) * dice.uniform(0.02, 0.10)
    relief = inside * (dice.uniform(-0.08, 0.08) * u + dice.uniform(-0.08, 0.08) * v) - wall
    pits = noise(dice, size, 24) * dice.uniform(0.055, 0.105)
    return Lesion(inside, tint, relief, pits)
