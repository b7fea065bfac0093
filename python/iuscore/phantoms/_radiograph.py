"""The radiograph phantom: a chest seen from the front, with or without opacities in the lungs."""

from __future__ import annotations

import math

import numpy as np

from ._canvas import Canvas, Dice, Field, branches, bump, noise, offshoots, sigmoid, strokes, turned


def paint(dice: Dice, page: Canvas, *, lesion: bool, contrast: float) -> Field:
    """One scene as float32 [H, W, 1], nominally in [0, 1]; bright is dense.

    Args:
        dice: the scene's random numbers; those of the opacities are drawn even if none is painted.
        page: the canvas.
        lesion: paint the opacities.
        contrast: 1 normal, 0 no contrast, -1 inverted: a dark area instead of an opacity.
    """
    size = (page.height, page.width)
    x = (page.x - dice.uniform(-0.07, 0.07)) / dice.uniform(0.92, 1.08)
    y = (page.y - dice.uniform(-0.07, 0.07)) / dice.uniform(0.92, 1.08)
    x, y = turned(x, y, dice.uniform(-0.07, 0.07))
    x = x + 0.02 * noise(dice, size, 4)

    lungs = _lungs(dice, x, y)
    density = _trunk(dice, x, y) - lungs * dice.uniform(0.40, 0.52)
    density = density + _mediastinum(dice, x, y) + _bones(dice, x, y)
    density = density + lungs * _markings(dice, page, x, y)
    density = density + lungs * 0.03 * noise(dice, size, 5)
    opacity = lungs * _opacities(dice, size, x, y)
    if lesion:
        density = density + contrast * opacity
    density = density + 0.012 * noise(dice, size, 40)

    exposed = np.clip(density, 0, None) * dice.uniform(0.85, 1.12)
    exposed = np.clip(exposed + dice.uniform(-0.03, 0.06), 0, None)
    image: Field = exposed ** dice.uniform(0.85, 1.2)
    return image[..., None]


def _lungs(dice: Dice, x: Field, y: Field) -> Field:
    """The lung fields [H, W] in 0..1: pointed above, cut off below by the domes of the diaphragm."""
    beside = np.abs(x)
    right = sigmoid(-x * 30)
    reach = np.clip((y - 0.45) / dice.uniform(1.16, 1.26), -1, 1)
    half_width = dice.uniform(0.35, 0.40) * np.sqrt(1 - reach**2) - 0.05
    sideways = sigmoid((half_width - np.abs(beside - 0.45)) / 0.018)
    # The right dome of the diaphragm, left in the image, is a little higher because of the liver.
    dome = dice.uniform(0.40, 0.58) - dice.uniform(0.03, 0.09) * right
    floor = dome + 1.1 * np.square(beside - 0.38)
    return sideways * sigmoid((floor - y) / 0.018)


def _trunk(dice: Dice, x: Field, y: Field) -> Field:
    """Soft tissue [H, W]: shoulders, sides and belly, with air around them; breast shadows on some."""
    slope = np.clip(y + dice.uniform(0.72, 0.82), None, 0)
    half_width = dice.uniform(0.93, 1.02) + 3.2 * slope
    body = sigmoid((np.maximum(half_width, 0.22) - np.abs(x)) / 0.02)
    thickness = 0.56 + 0.14 * sigmoid((y - 0.55) * 8)
    soft = dice.uniform(0.0, 0.09)
    fold = np.hypot(np.abs(x) - dice.uniform(0.42, 0.55), y - 0.34)
    shadow = soft * sigmoid((dice.uniform(0.26, 0.34) - fold) * 16)
    return 0.02 + body * (thickness + shadow)


def _mediastinum(dice: Dice, x: Field, y: Field) -> Field:
    """Spine, great vessels and heart [H, W], the heart mostly to the right of the picture."""
    spine = bump(x / 0.10) * (1 + 0.12 * np.sin(y * 34))
    middle = 0.12 * bump(x / 0.17) + 0.07 * spine
    heart_x, heart_y = x - dice.uniform(0.08, 0.15), y - dice.uniform(0.22, 0.32)
    heart_x, heart_y = turned(heart_x, heart_y, dice.uniform(0.35, 0.65))
    broad = dice.uniform(0.27, 0.37)
    heart = sigmoid((1 - np.hypot(heart_x / broad, heart_y / 0.24)) * 12)
    heart = heart * sigmoid((0.47 - y) * 25)
    knob = sigmoid((0.11 - np.hypot(x - 0.10, y + 0.22)) * 40)
    trachea = 0.10 * bump(x / 0.045) * sigmoid((-0.3 - y) * 14)
    # Less than the sum of heart and spine: film is nearly saturated there.
    dense = dice.uniform(0.30, 0.38) * heart * (1 - 0.75 * bump(x / 0.16))
    density: Field = middle + dense + 0.10 * knob - trachea
    return density


def _bones(dice: Dice, x: Field, y: Field) -> Field:
    """Ribs [H, W]: narrow bright bands, steep at the sides, the fainter front ends crossing; collar bones."""
    beside = np.abs(x)
    thorax = sigmoid((0.80 - beside) * 30) * sigmoid((y + 0.86) * 30)
    thorax = thorax * sigmoid((0.75 - y) * 12)
    spacing = 2 * math.pi / dice.uniform(0.165, 0.195)
    phase = dice.uniform(0, 2 * math.pi)
    strength = dice.uniform(0.07, 0.13)
    arch = dice.uniform(0.55, 0.9) * np.square(beside - 0.28)
    back = sigmoid(5 * (np.cos(spacing * (y - arch) + phase) - 0.45))
    front_line = y + 0.55 * beside - 0.5 * beside**2
    front = sigmoid(5 * (np.cos(spacing * 0.9 * front_line + 2 * phase) - 0.5))
    front = front * sigmoid((beside - 0.42) * 14)
    ribs = thorax * strength * (back + 0.45 * front)
    tilt = dice.uniform(0.10, 0.30)
    line = (y + dice.uniform(0.62, 0.70)) + tilt * (beside - 0.35)
    collar = bump(line / 0.032) * sigmoid((beside - 0.09) * 40)
    return ribs + 0.13 * collar * sigmoid((0.72 - beside) * 30)


def _markings(dice: Dice, page: Canvas, x: Field, y: Field) -> Field:
    """The vessels of the lungs [H, W]: a bright tree fanning out from each hilum."""
    per_side = 6
    side = np.repeat(np.array([-1.0, 1.0], dtype=np.float32), per_side)
    fan = np.tile(np.linspace(-1.2, 1.2, per_side, dtype=np.float32), 2)
    start = np.stack([side * 0.16, np.full_like(side, -0.02)], axis=-1)
    start = start + 0.03 * dice.normal(2 * per_side, 2)
    angle = np.where(side > 0, fan, math.pi - fan) + 0.15 * dice.normal(2 * per_side)
    curves, heading = branches(dice, start, angle.astype(np.float32), length=0.62, wander=0.6, points=12)
    twig_start, twig_angle = offshoots(dice, curves, heading, 4, fork=0.6)
    twigs, _ = branches(dice, twig_start, twig_angle, length=0.28, wander=0.6, points=12)
    taper = np.linspace(1.0, 0.25, 12, dtype=np.float32)
    lines = np.concatenate([curves, twigs])
    share = np.concatenate([np.ones(len(curves)), np.full(len(twigs), 0.55)]).astype(np.float32)
    size = (page.height, page.width)
    tree = strokes(lines, share[:, None] * taper, size, page.side * 0.008)
    hila = bump(np.hypot((np.abs(x) - 0.19) / 0.09, y / 0.15))
    depth = dice.uniform(0.07, 0.15)
    return depth * (1 - np.exp(-tree)) + dice.uniform(0.06, 0.12) * hila


def _opacities(dice: Dice, size: tuple[int, int], x: Field, y: Field) -> Field:
    """One to three opacities [H, W]: firm round nodules or larger hazy patches, net-like inside."""
    total: Field = np.zeros(size, dtype=np.float32)
    mottle, crackle = noise(dice, size, 9), noise(dice, size, 26)
    for number in range(3):
        # The first opacity is always visible; a random weight of the others, so that every scene draws as many numbers.
        weight = 1.0 if number == 0 else float(sigmoid(12 * (dice.uniform(0, 1) - 0.6)))
        side = -1.0 if dice.uniform(0, 1) < 0.5 else 1.0
        at_x = x - (side * dice.uniform(0.30, 0.62))
        at_y = y - dice.uniform(-0.42, 0.38)
        hazy = float(sigmoid(10 * (dice.uniform(0, 1) - 0.45)))
        radius = dice.uniform(0.075, 0.125) + hazy * dice.uniform(0.08, 0.18)
        at_x, at_y = turned(at_x, at_y, dice.uniform(0, math.pi))
        stretch = dice.uniform(0.85, 1.2)
        s = np.hypot(at_x * stretch, at_y / stretch) / radius + (0.06 + 0.2 * hazy) * mottle
        blob = sigmoid((1 - s) / (0.06 + 0.12 * hazy))
        blob = blob * (1 + 0.20 * hazy * mottle + (0.12 + 0.22 * hazy) * crackle)
        total = total + (weight * dice.uniform(0.10, 0.29)) * blob
    return total
