"""Candidate sets: real images and what was made of them, in families of one manipulation each."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from data import Labels, Part, Pixels, Task
from PIL import Image
from scipy.ndimage import gaussian_filter

Change = Callable[[Pixels, np.random.Generator], Pixels]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """A candidate set: its name, family, what makes it, and of one-sided defects the class and the groups to blame."""

    name: str
    family: str
    make: Callable[[Task, np.random.Generator], Part]
    side: int | None = None
    groups: tuple[str, ...] = ()

    def drawn(self, task: Task) -> Part:
        """Its images: the same ones for the same task, whatever else is drawn."""
        seed = zlib.crc32(f"{task.name}/{self.name}".encode())
        return self.make(task, np.random.default_rng(seed))


def candidates(task: Task) -> list[Candidate]:
    """All candidate sets of a task."""
    found = [
        Candidate("clean-a", "clean", real),
        Candidate("clean-b", "clean", real),
        Candidate("clean-third", "clean", third),
    ]
    for name, family, change, sides in _defects():
        if not sides:
            found.append(Candidate(name, family, partial(changed, change=change, side=None)))
        for side in sides:
            make = partial(changed, change=change, side=side)
            found.append(Candidate(f"{name}-only-{side}", family, make, side, GROUPS[family]))
    found += [
        Candidate(f"swap-{round(100 * share)}", "swap", partial(swapped, share=share)) for share in (0.25, 0.5, 1)
    ]
    found += [Candidate(f"collapse-{few}", "collapse", partial(collapsed, few=few)) for few in (3, 10, 30)]
    noisy, few = partial(changed, change=partial(noise, sd=60), side=None), partial(collapsed, few=3)
    found += [
        Candidate("half-noise", "mixture", partial(half_and_half, other=noisy)),
        Candidate("half-collapse", "mixture", partial(half_and_half, other=few)),
        Candidate("pca-8", "pca", partial(principal, components=8)),
        Candidate("pca-40", "pca", partial(principal, components=40)),
        Candidate("gmm", "gmm", mixture_model),
        Candidate("mixup-within", "mixup", mixup_within),
        Candidate("mixup-across", "mixup", mixup_across),
        Candidate("patch-mix", "patch-mix", patch_mix),
    ]
    if task.generated is not None:
        found += [
            Candidate("cdcgan", "cdcgan", generated),
            Candidate("half-cdcgan", "cdcgan", partial(half_and_half, other=generated)),
        ]
    return found


_FINE = ("coarse-fine", "fine-contrast", "fine-regularity")
_LIGHT = ("lightness", "light-dark")
GROUPS: dict[str, tuple[str, ...]] = {
    "blur": _FINE,
    "noise": (*_FINE, "saturation", "hue"),
    "jpeg": (*_FINE, "saturation", "hue"),
    "contrast": (*_LIGHT, "fine-contrast", "broad-contrast", "saturation"),
    "brightness": _LIGHT,
    "shuffle": ("coarse-fine", "broad-contrast", "broad-regularity", "direction"),
}
"""Family of defects -> groups of named features, one of which should move farthest if one class has the defect."""


def _defects() -> list[tuple[str, str, Change, tuple[int, ...]]]:
    """Name, family, change, and the classes that have it alone, each in its own set; () for all classes."""
    return [
        ("blur-weak", "blur", partial(blur, sigma=1.0), ()),
        ("blur-strong", "blur", partial(blur, sigma=2.0), ()),
        ("blur", "blur", partial(blur, sigma=1.0), (0, 1)),
        ("noise-weak", "noise", partial(noise, sd=25), ()),
        ("noise-strong", "noise", partial(noise, sd=60), ()),
        ("noise", "noise", partial(noise, sd=25), (0, 1)),
        ("jpeg", "jpeg", jpeg, ()),
        ("jpeg", "jpeg", jpeg, (1,)),
        ("contrast", "contrast", partial(contrast, factor=0.4), ()),
        ("contrast", "contrast", partial(contrast, factor=0.4), (0,)),
        ("darker", "brightness", partial(brightness, shift=-50), ()),
        ("brighter", "brightness", partial(brightness, shift=40), (1,)),
        ("shuffle", "shuffle", shuffle, ()),
        ("shuffle", "shuffle", shuffle, (0,)),
    ]


def real(task: Task, rng: np.random.Generator, share: float = 1.0) -> Part:
    """Other real images."""
    labels = task.pool.labels
    n = round(task.n * share)
    return task.pool.of(
        np.concatenate([rng.permutation(np.flatnonzero(labels == k))[:n] for k in range(len(task.classes))])
    )


def third(task: Task, rng: np.random.Generator) -> Part:
    """A third of the number of images."""
    return real(task, rng, 1 / 3)


def changed(task: Task, rng: np.random.Generator, *, change: Change, side: int | None) -> Part:
    """Real images with a defect: in all classes, or in class ``side`` alone."""
    part = real(task, rng)
    images = part.images.copy()
    mine = np.ones(len(part), bool) if side is None else part.labels == side
    images[mine] = change(images[mine], rng)
    return Part(images, part.labels)


def blur(images: Pixels, rng: np.random.Generator, *, sigma: float) -> Pixels:
    """Gaussian; ``sigma`` in pixels of an image of side 32."""
    scaled = sigma * images.shape[1] / 32
    return _bytes(gaussian_filter(images.astype(np.float64), (0, scaled, scaled, 0)))


def noise(images: Pixels, rng: np.random.Generator, *, sd: float) -> Pixels:
    """Gaussian noise in gray levels, its grain a pixel of an image of side 32 or the pixel."""
    side = images.shape[1]
    step = max(1, side // 32)
    grid = -(-side // step)
    grain = rng.normal(0, sd, (len(images), grid, grid, images.shape[3])).repeat(step, 1).repeat(step, 2)
    return _bytes(images + grain[:, :side, :side])


def jpeg(images: Pixels, rng: np.random.Generator) -> Pixels:
    """JPEG at quality 8."""
    found = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image.squeeze(-1) if image.shape[2] == 1 else image).save(file, "JPEG", quality=8)
        found.append(np.asarray(Image.open(file)).reshape(image.shape))
    return np.stack(found)


def contrast(images: Pixels, rng: np.random.Generator, *, factor: float) -> Pixels:
    """Distances from the mean of the image, times a factor."""
    mean = images.mean((1, 2, 3), keepdims=True)
    return _bytes(mean + factor * (images - mean))


def brightness(images: Pixels, rng: np.random.Generator, *, shift: float) -> Pixels:
    """Gray levels more or less."""
    return _bytes(images.astype(np.float64) + shift)


def shuffle(images: Pixels, rng: np.random.Generator) -> Pixels:
    """The 4x4 tiles of each image in an order of its own."""
    tiles = _tiles(images)
    return _whole(np.stack([image[rng.permutation(16)] for image in tiles]))


def swapped(task: Task, rng: np.random.Generator, *, share: float) -> Part:
    """A share of each class has the label of the next class."""
    part, classes = real(task, rng), len(task.classes)
    labels = part.labels.copy()
    for k in range(classes):
        mine = rng.permutation(np.flatnonzero(part.labels == k))
        labels[mine[: round(share * len(mine))]] = (k + 1) % classes
    return Part(part.images, labels)


def collapsed(task: Task, rng: np.random.Generator, *, few: int) -> Part:
    """A few images of each class, repeated with slight noise."""
    part = real(task, rng)
    places = np.concatenate([np.resize(rng.permutation(np.flatnonzero(part.labels == k))[:few], task.n)
                             for k in range(len(task.classes))])  # fmt: skip
    chosen = part.of(places)
    return Part(_bytes(chosen.images + rng.normal(0, 2, chosen.images.shape)), chosen.labels)


def half_and_half(task: Task, rng: np.random.Generator, *, other: Callable[[Task, np.random.Generator], Part]) -> Part:
    """Half of each class real, the other half made by ``other``."""
    parts = [made.of(_some(made, task.n // 2, rng)) for made in (real(task, rng), other(task, rng))]
    return Part(np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts]))


def principal(task: Task, rng: np.random.Generator, *, components: int) -> Part:
    """Normal draws of each class's first principal components of pixels."""

    def draw(scores: Floats) -> Floats:
        return rng.standard_normal((task.n, scores.shape[1])) * scores.std(0)

    return _generated(task, components, draw)


def mixture_model(task: Task, rng: np.random.Generator) -> Part:
    """A Gaussian mixture of 4 for each class in 20 principal components of pixels."""
    from sklearn.mixture import GaussianMixture

    def draw(scores: Floats) -> Floats:
        model = GaussianMixture(4, covariance_type="diag", random_state=int(rng.integers(1 << 31))).fit(scores)
        found: Floats = model.sample(task.n)[0]
        return found

    return _generated(task, 20, draw)


def mixup_within(task: Task, rng: np.random.Generator) -> Part:
    """Weighted means of two images of a class."""
    first, second = real(task, rng), real(task, rng)  # both ordered by class
    weight = rng.uniform(0.3, 0.7, (len(first), 1, 1, 1))
    return Part(_bytes(weight * first.images + (1 - weight) * second.images), first.labels)


def mixup_across(task: Task, rng: np.random.Generator) -> Part:
    """Weighted means of two images of any classes, with the label of the heavier one."""
    first = real(task, rng)
    second = first.images[rng.permutation(len(first))]
    weight = rng.uniform(0.5, 1, (len(first), 1, 1, 1))
    return Part(_bytes(weight * first.images + (1 - weight) * second), first.labels)


def patch_mix(task: Task, rng: np.random.Generator) -> Part:
    """Each of the 4x4 tiles from another image of the class."""
    part = real(task, rng)
    tiles = _tiles(part.images)
    made = tiles.copy()
    for k in range(len(task.classes)):
        mine = np.flatnonzero(part.labels == k)
        for tile in range(16):
            made[mine, tile] = tiles[rng.choice(mine, len(mine)), tile]
    return Part(_whole(made), part.labels)


def generated(task: Task, rng: np.random.Generator) -> Part:
    """Images of the published generator."""
    assert task.generated is not None
    return task.generated.of(_some(task.generated, task.n, rng))


def _generated(task: Task, components: int, draw: Callable[[Floats], Floats]) -> Part:
    """Images of each class from draws of principal components of all its images in the pool."""
    images, labels = [], []
    for k in range(len(task.classes)):
        mine = task.pool.images[task.pool.labels == k]
        rows = mine.reshape(len(mine), -1).astype(np.float64)
        mean = rows.mean(0)
        left, singular, right = np.linalg.svd(rows - mean, full_matrices=False)
        scores = (left * singular)[:, :components]
        images.append(_bytes(mean + draw(scores) @ right[:components]).reshape(-1, *mine.shape[1:]))
        labels.append(np.full(len(images[-1]), k))
    return Part(np.concatenate(images), np.concatenate(labels))


def _some(part: Part, n: int, rng: np.random.Generator) -> Labels:
    return np.concatenate([rng.permutation(np.flatnonzero(part.labels == k))[:n] for k in np.unique(part.labels)])


def _tiles(images: Pixels) -> Pixels:
    """[n, 16, side / 4, side / 4, C]."""
    n, side, _, channels = images.shape
    cut = images.reshape(n, 4, side // 4, 4, side // 4, channels)
    return cut.transpose(0, 1, 3, 2, 4, 5).reshape(n, 16, side // 4, side // 4, channels)


def _whole(tiles: Pixels) -> Pixels:
    n, _, side, _, channels = tiles.shape
    return (
        tiles.reshape(n, 4, 4, side, side, channels)
        .transpose(0, 1, 3, 2, 4, 5)
        .reshape(n, 4 * side, 4 * side, channels)
    )


def _bytes(pixels: Floats) -> Pixels:
    found: Pixels = np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)
    return found
