"""Images of folders, tables and archives for explanations: a bounded number, evenly spread over the source."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from iuscore.errors import UserError, class_named
from iuscore.explain.local import LocalExplanation, explain_local
from iuscore.explain.nearest import Gallery
from iuscore.explain.overall import RealImages
from iuscore.explain.value import ReferenceViews
from iuscore.explain.value.views import PATCH_SIDE
from iuscore.features.bytes import as_bytes
from iuscore.images import Sample, Source
from iuscore.images.listing import uid_of
from iuscore.models import EPUCNN, TextureModel
from iuscore.ops import resize
from iuscore.progress import Progress
from iuscore.scoring import Scorer
from iuscore.scoring.contributions import contributions_of_inputs, prepare_source, unusable

MOST_REAL = 400
"""Real images of a class that are read, at most."""


def chosen(source: Source, most: int) -> Source:
    """At most ``most`` items of a source, evenly spread over it."""
    if len(source) <= most:
        return source
    return source.subset(np.linspace(0, len(source) - 1, most).astype(int))


def chosen_by_class(source: Source, most: int = MOST_REAL) -> Source:
    """At most ``most`` items of each class, evenly spread over the class."""
    labels = np.array([item.label or "" for item in source.items])
    kept = []
    for name in np.unique(labels):
        own = np.flatnonzero(labels == name)
        kept += own[np.linspace(0, len(own) - 1, min(most, len(own))).astype(int)].tolist()
    return source.subset(sorted(kept))


def explain_source(
    scorer: Scorer,
    source: Source,
    *,
    target: str,
    prefix: str = "",
    real: Gallery | None = None,
    generated: Gallery | None = None,
    maps: bool | Sequence[str] = True,
) -> Iterator[LocalExplanation | Sample]:
    """Explain the images of a source one after the other; an image that cannot be explained comes as its `Sample`.

    Args:
        scorer, target, real, generated, maps: see `explain_local`.
        source: the images; with masks for a model that needs them.
        prefix: what names of images begin with.
    """
    size = scorer.model.mask_size
    for sample in source:
        reason = unusable(sample, size)
        if reason is not None or sample.pixels is None:
            yield Sample(f"{prefix}{sample.uid}", None, None, None, 0, 0, (), reason)
            continue
        mask = [torch.from_numpy(sample.mask)] if sample.mask is not None else None
        yield explain_local(
            scorer, [torch.from_numpy(sample.pixels)], target=target, layout="NHWC", mask=mask,
            names=[uid_of(f"{prefix}{sample.uid}")], real=real, generated=generated, maps=maps,
        )  # fmt: skip


def size_of(scorer: Scorer) -> tuple[int, int]:
    """Size at which images are compared: the model's, each side at least 32."""
    member = scorer.model.members[0]
    assert isinstance(member, EPUCNN | TextureModel)
    return max(member.size[0], PATCH_SIDE), max(member.size[1], PATCH_SIDE)


def real_gallery(scorer: Scorer, source: Source, progress: Progress | None = None) -> Gallery:
    """Real images with classes as a collection to find the nearest ones in.

    Raises:
        UserError: fewer than 10 readable images of a class of the model.
    """
    size, (images, kept) = size_of(scorer), _small(source, size_of(scorer), progress)
    labels = [class_named(source.items[i].label or "", scorer.classes) or "" for i in kept]
    names = [source.items[i].uid for i in kept]
    return Gallery(ReferenceViews.fit(images, labels, scorer.classes, size=size, layout="NHWC"), names)


def other_gallery(real: Gallery, source: Source, progress: Progress | None = None) -> Gallery:
    """Other images, such as generated ones, beside the same real images.

    Raises:
        UserError: no readable image.
    """
    height, width = real.reference.record.size
    images, kept = _small(source, (height, width), progress)
    if not kept:
        raise UserError(f"{source.path}: expected at least one readable image, got none")
    rows = real.reference.embed(images, layout="NHWC")
    return Gallery(real.reference, [source.items[i].uid for i in kept], rows=rows)


def _small(source: Source, size: tuple[int, int], progress: Progress | None) -> tuple[list[torch.Tensor], list[int]]:
    """Readable images as bytes [h, w, C] at one size, and their places: what is held does not grow with their size."""
    images, kept = [], []
    progress = progress or Progress()
    progress.start(f"reading {source.path}", len(source), "images")
    try:
        for i, sample in enumerate(source):
            if unusable(sample) is None and sample.pixels is not None:
                rounded, _ = as_bytes([torch.from_numpy(sample.pixels)], "NHWC")
                images.append(resize(rounded[0][None], size, layout="NHWC")[0])
                kept.append(i)
            progress.advance(1)
    finally:
        progress.stop()
    return images, kept


def real_images(scorer: Scorer, source: Source, target: str, progress: Progress | None = None) -> RealImages:
    """Real images with classes as the model sees them, for `explain_global`.

    Raises:
        UserError: no readable image of a class of the model.
    """
    progress = progress or Progress()
    progress.start(f"reading {source.path}", len(source), "images")
    try:
        with tempfile.TemporaryDirectory() as scratch:
            inputs, kept, _ = prepare_source(
                scorer.model, source, Path(scratch) / "inputs", on_batch=lambda n: progress.advance(n)
            )
            contributions = contributions_of_inputs(scorer.model, inputs, scorer.space).mean(0)
            features = np.array(inputs, dtype=np.float64) if scorer.model.features else None
    finally:
        progress.stop()
    values = contributions[:, :, scorer.model.target_column(target)].double().numpy()
    items = [source.items[i] for i in kept]
    names = [class_named(item.label or "", scorer.classes) for item in items]
    labels = np.array([scorer.classes.index(name) if name else -1 for name in names], dtype=np.int64)
    if missing := [name for k, name in enumerate(scorer.classes) if not (labels == k).any()]:
        raise UserError(f"{source.path}: expected readable images of every class, got none of {', '.join(missing)}")
    groups = None
    if any(item.group is not None for item in items):
        keys = [item.group or f"\0{i}" for i, item in enumerate(items)]
        groups = np.unique(keys, return_inverse=True)[1].astype(np.int64)
    return RealImages(values, features, labels, groups)
