"""Checks of the real images before training, such as masks among them, and duplicates; no image is left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from iuscore.features import FAINT
from iuscore.images import Sample, Source

ALIKE = 0.93
"""Correlation of brightness steps, at 16x16, above which two images count as nearly the same.

Measured: copies that were saved again (JPEG of quality 50, another size, brightness or noise) reach 0.95 and more, a
crop to 96 % about 0.95, an image shifted by 2 % of its width 0.8 to 0.9. Of 5 million pairs of different mammography
patches, chest X-rays and blood cells, one pair is above the bound."""

MAX_COMPARED = 20_000
"""Most images that are compared with each other; of a larger set, every k-th image."""

FEW_COLORED = 0.25
"""Share of colored images up to which a warning says that few images decide for color."""

_SIDE = 16
_BLOCK = 2048
_MASK_WORDS = "mask|masks|segmentation|segmented|seg|groundtruth|gt|annotation|annotations|contour|overlay"
_MASK_NAME = re.compile(rf"(?P<sep>[_\-. ]?)(?<![a-z])(?P<word>{_MASK_WORDS})(?![a-z])", re.IGNORECASE)


@dataclass
class _Part:
    """What is kept of the images of one part (training, validation or test), in the order of reading."""

    uids: list[str] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    constant: list[str] = field(default_factory=list)
    two_valued: list[str] = field(default_factory=list)
    colored: list[str] = field(default_factory=list)
    faint: list[str] = field(default_factory=list)
    steps: list[npt.NDArray[np.float32]] = field(default_factory=list)
    compared: list[int] = field(default_factory=list)


class Findings:
    """Collects warnings about the images that are read for fitting.

    Example:
        >>> from pathlib import Path
        >>> found = Findings({"train": Source(Path("."), [])})
        >>> black = np.zeros((4, 4, 1), np.uint8)
        >>> found.look("train", Sample("a/1.png", black, "a", None, 4, 4, (), None), "digest")
        >>> found.lines("gray")
        ['1 of 1 images is of one color throughout, such as a/1.png: --exclude leaves images out by their names']
    """

    def __init__(self, parts: Mapping[str, Source]) -> None:
        self.parts = {name: _Part() for name in parts}
        total = sum(map(len, parts.values()))
        self.every = max(1, -(-total // MAX_COMPARED))
        self.total = total

    def look(self, part: str, sample: Sample, digest: str) -> None:
        """Add one readable image, with the SHA-256 of its content."""
        pixels, kept = sample.pixels, self.parts[part]
        assert pixels is not None
        if len(kept.uids) % self.every == 0:
            kept.steps.append(_steps(pixels))
            kept.compared.append(len(kept.uids))
        kept.uids.append(sample.uid)
        kept.labels.append(sample.label)
        kept.digests.append(digest)
        low, high = pixels.min(axis=(0, 1)), pixels.max(axis=(0, 1))
        if (low == high).all():
            kept.constant.append(sample.uid)
        elif _two_valued(pixels):
            kept.two_valued.append(sample.uid)
        if (spread := _color(pixels)) > 0:
            (kept.faint if spread <= FAINT else kept.colored).append(sample.uid)

    def lines(self, color: str) -> list[str]:
        """One line per warning; ``color`` is the model's option, "color" or "gray"."""
        return [*self._masks(), *self._colors(color), *self._same(), *self._alike()]

    def _all(self, name: str) -> list[str]:
        return [uid for part in self.parts.values() for uid in getattr(part, name)]

    def _masks(self) -> list[str]:
        uids, two_valued, constant = self._all("uids"), set(self._all("two_valued")), set(self._all("constant"))
        stems = {uid.rpartition(".")[0].casefold() for uid in uids}
        by_name: dict[str, str] = {}
        for uid in uids:
            folder, _, name = uid.rpartition("/")
            match = _MASK_NAME.search(name)
            if match is None:
                continue
            has_image = f"{folder}/{name[: match.start()]}".lstrip("/").casefold() in stems and match.start() > 0
            if has_image or uid in two_valued or uid in constant:
                by_name[uid] = f"*{match[0]}*"
        lines = []
        if by_name:
            pattern = Counter(by_name.values()).most_common(1)[0][0]
            flat = sum(uid in two_valued or uid in constant for uid in by_name)
            lines.append(
                f"{_of(by_name, uids)} named as masks{f' ({flat} of at most two values)' if flat else ''}, "
                f"{_such(list(by_name))}: --exclude '{pattern}' leaves them out"
            )
        if rest := [uid for uid in self._all("two_valued") if uid not in by_name]:
            lines.append(f"{_of(rest, uids)} of two values, as masks are, {_such(rest)}: {_EXCLUDE}")
        if rest := [uid for uid in self._all("constant") if uid not in by_name]:
            lines.append(f"{_of(rest, uids)} of one color throughout, {_such(rest)}: {_EXCLUDE}")
        return lines

    def _colors(self, color: str) -> list[str]:
        uids, colored, faint = self._all("uids"), self._all("colored"), self._all("faint")
        if color == "gray" and colored:
            share = f"{_of(colored, uids)} colored, {_such(colored)}"
            return [f"{share}; this gray model does not see it: --color color does"]
        if color == "color" and faint and not colored:
            most = f"more than {FAINT * 255:.0f} of 255 levels"
            return [f"no image has a color of {most}, as JPEG leaves it in gray ones: --color gray looks at gray only"]
        if color == "color" and 0 < len(colored) <= FEW_COLORED * len(uids):
            return [
                f"only {_of(colored, uids)} colored, {_such(colored)}, and so the model looks at color: --color gray "
                "looks at gray only, --exclude leaves images out"
            ]
        return []

    def _same(self) -> list[str]:
        lines = []
        for one, other in combinations(self.parts, 2):
            by_digest = _first_of(self.parts[one].digests, self.parts[one].uids)
            second = self.parts[other]
            pairs = [(by_digest[d], uid) for d, uid in zip(second.digests, second.uids, strict=True) if d in by_digest]
            if pairs:
                noun = "identical image" if len(pairs) == 1 else "identical images"
                lines.append(
                    f"{one} and {other} share {len(pairs)} {noun}, such as {pairs[0][0]} and {pairs[0][1]}: {_EXCLUDE}"
                )
        seen: dict[str, tuple[str, str | None]] = {}
        twice = []
        for part in self.parts.values():
            for digest, uid, label in zip(part.digests, part.uids, part.labels, strict=True):
                before = seen.setdefault(digest, (uid, label))
                if before[1] != label:
                    twice.append((before[0], uid))
        if twice:
            noun = "image lies" if len(twice) == 1 else "images lie"
            lines.append(
                f"{len(twice)} identical {noun} in two classes, such as {twice[0][0]} and {twice[0][1]}: {_EXCLUDE}"
            )
        return lines

    def _alike(self) -> list[str]:
        lines = []
        for one, other in combinations(self.parts, 2):
            pairs = _pairs(self.parts[one], self.parts[other])
            if pairs:
                noun = "image looks" if len(pairs) == 1 else "images look"
                of = "" if self.every == 1 else f" (of every {self.every}th image, which were compared)"
                example = f"such as {pairs[0][1]} and {pairs[0][0]}"
                lines.append(
                    f"{len(pairs)} {other} {noun} nearly like {one} images{of}, {example}: frames of one video or "
                    "copies make figures too good; --group-by, --groups folder or --groups groups.csv keeps them in "
                    "one part"
                )
        return lines


_EXCLUDE = "--exclude leaves images out by their names"


def _of(found: Sequence[str] | Mapping[str, str], uids: Sequence[str]) -> str:
    return f"{len(found)} of {len(uids)} images {'is' if len(found) == 1 else 'are'}"


def _such(found: Sequence[str]) -> str:
    return f"such as {' and '.join(found[:2])}"


def _first_of(digests: Sequence[str], uids: Sequence[str]) -> dict[str, str]:
    return dict(zip(reversed(digests), reversed(uids), strict=True))


def _two_valued(pixels: npt.NDArray[Any]) -> bool:
    """Whether nearly all pixels are near the smallest or the largest value of a wide range, as in a mask.

    Near, not equal: JPEG compression changes the values of a mask a little.
    """
    low, high = float(pixels.min()), float(pixels.max())
    width = high - low
    if width < _unit(pixels) / 4:
        return False
    near = np.count_nonzero(pixels <= low + width / 32) + np.count_nonzero(pixels >= high - width / 32)
    return bool(near >= 0.995 * pixels.size)


def _color(pixels: npt.NDArray[Any]) -> float:
    """Largest difference between the channels of a pixel, as a share of full scale."""
    if pixels.shape[2] == 1:
        return 0.0
    return float((pixels.max(axis=2) - pixels.min(axis=2)).max()) / _unit(pixels)


def _unit(pixels: npt.NDArray[Any]) -> float:
    return float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind == "u" else 1.0


def _steps(pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Differences between neighboring block means of a 16x16 grid, as a vector of length 1 (0 for a flat image).

    Differences, not the means: images of one organ are bright in the same places, so the means of different images
    correlate by up to 0.98.
    """
    rows, columns = (np.linspace(0, size, _SIDE + 1).astype(int) for size in pixels.shape[:2])
    if pixels.shape[0] < _SIDE or pixels.shape[1] < _SIDE:
        return np.zeros(2 * (_SIDE - 1) ** 2, np.float32)
    # Subsample large images: 16 x 16 pixels per block are enough.
    stride = max(1, min(pixels.shape[:2]) // (16 * _SIDE))
    if stride > 1:
        return _steps(pixels[::stride, ::stride])
    gray = pixels.mean(axis=2, dtype=np.float32)
    sums = np.add.reduceat(np.add.reduceat(gray, rows[:-1], axis=0), columns[:-1], axis=1)
    means = sums / (np.diff(rows)[:, None] * np.diff(columns)[None])
    found = np.concatenate([np.diff(means, axis=1)[:-1].ravel(), np.diff(means, axis=0)[:, :-1].ravel()])
    length = float(np.linalg.norm(found))
    # Where neighboring blocks differ by less than one gray level on average, only noise or rounding is compared.
    least = _unit(pixels) / 255 * np.sqrt(found.size)
    return (found / length if length > least else np.zeros_like(found)).astype(np.float32)


def _pairs(one: _Part, other: _Part) -> list[tuple[str, str]]:
    """(uid in ``one``, uid in ``other``) of images that look nearly the same and are not identical."""
    if not one.steps or not other.steps:
        return []
    steps, found = np.stack(one.steps), []
    for start in range(0, len(other.steps), _BLOCK):
        alike = np.stack(other.steps[start : start + _BLOCK]) @ steps.T
        best = alike.argmax(axis=1)
        for row in np.flatnonzero(alike[np.arange(len(best)), best] > ALIKE):
            i, j = one.compared[int(best[row])], other.compared[start + int(row)]
            if one.digests[i] != other.digests[j]:
                found.append((one.uids[i], other.uids[j]))
    return found
