"""All images of a source as a list: names, classes and groups are in memory, pixels are read when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from iuscore.errors import UserError, class_named
from iuscore.images.decoded import MAX_PIXELS
from iuscore.images.sample import Item, Source, StoredNothing
from iuscore.images.sources.archive import ArchiveShards
from iuscore.images.sources.arrays import NpzShards
from iuscore.images.sources.base import ShardedSource

_LISTED_AT_ONCE = 4096


def entries_of(reader: ShardedSource) -> list[Item]:
    """All images of ``reader`` in the order of their uids, none of them read."""
    items = [item for shard in reader.shards(_LISTED_AT_ONCE) for item in reader.entries(shard)]
    return sorted(items, key=lambda item: item.uid)


def listed_archives(reader: ArchiveShards, classes: Sequence[str] | None = None) -> Source:
    """The images of archives, tables or arrays as a list.

    Args:
        reader: opened with ``labeled`` where the images have classes.
        classes: names of the labels 0, 1, ... where all labels are integers; else the classes to take, in any case.

    Raises:
        UserError: nothing to read; where there are classes, also an archive that is damaged, an image whose class is
            missing or not certain, a class without images.

    Example:
        >>> import tempfile, numpy as np
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name, array in (("x", np.zeros((2, 8, 8), np.uint8)), ("x_labels", np.array([0, 1]))):
        ...         np.save(Path(root, name), array)
        ...     from iuscore.images.sources.arrays import NpyShards
        ...     [item.label for item in listed_archives(NpyShards(f"{root}/x.npy", labeled=True), ["a", "b"]).items]
        ['a', 'b']
    """
    items = entries_of(reader)
    if reader.labeled:
        for item in items:
            if item.label is None:
                raise UserError(_without_class(reader, item))
    source = Source(
        reader.path,
        items,
        max_pixels=reader.max_pixels,
        ignored=reader.ignored,
        ignored_names=tuple(reader.ignored_names),
        bits=reader.bits,
    )
    wanted = checked_classes(classes)
    return source if wanted is None else _of_classes(source, wanted)


def _without_class(reader: ArchiveShards, item: Item) -> str:
    stored = item.stored.fetched()
    reason = stored.reason if isinstance(stored, StoredNothing) else "no class"
    if item.uid.endswith("/#damaged"):
        archive = reader.path / item.uid.removesuffix("/#damaged") if reader.path.is_dir() else reader.path
        return f"{archive}: {reason}: make the archive again, or take it out"
    return f"{item.uid} in {reader.path}: {reason}"


def _of_classes(source: Source, wanted: tuple[str, ...]) -> Source:
    present = source.classes
    if all(label.isdecimal() for label in present):
        if (largest := max(map(int, present))) >= len(wanted):
            raise UserError(
                f"classes: {source.path} has labels up to {largest}, but {len(wanted)} names were given: name the "
                "classes of labels 0, 1, ... in this order"
            )
        return source.with_labels([wanted[int(item.label or 0)] for item in source.items])
    names = labels_of(source.path, present, wanted)
    chosen = [i for i, item in enumerate(source.items) if item.label in names]
    kept = source.subset(chosen).with_labels([names[source.items[i].label or ""] for i in chosen])
    kept.left_out = tuple(label for label in present if label not in names)
    return kept


def labels_of(path: Path, present: Sequence[str], wanted: Sequence[str]) -> dict[str, str]:
    """Label -> class as the user wrote it, for each class in ``wanted``.

    Raises:
        UserError: a class that none of the labels in ``present`` is, or several in different cases.
    """
    names = {}
    for name in wanted:
        label = class_named(name, present)
        if label is None:
            fits = [each for each in present if each.casefold() == name.casefold()]
            if fits:
                raise UserError(f"class {name!r} fits several classes in {path}: {', '.join(fits)}")
            raise UserError(f"no images of class {name!r} in {path}: it has {', '.join(present)}")
        names[label] = name
    return names


def checked_classes(classes: Sequence[str] | None) -> tuple[str, ...] | None:
    if classes is None:
        return None
    if isinstance(classes, str) or not classes or not all(classes):
        raise UserError(f"classes: expected a list of class names, got {classes!r}")
    if len({name.casefold() for name in classes}) != len(classes):
        raise UserError(f"classes: a name comes twice in {', '.join(classes)}")
    return tuple(classes)


class NpzSource(Source):
    """Images of one MedMNIST archive; uids are ``train/000012``.

    Args:
        path: .npz with ``{split}_images`` [N, H, W], [N, H, W, 1] or [N, H, W, 3] (uint8, uint16, or
            floats in [0, 1]) and ``{split}_labels`` [N, 1] or [N], integers.
        split: ``"train"``, ``"val"`` or ``"test"``; None takes all that are there.
        labeled: False: labels are not read, and need not be there.
        class_names: name of label 0, 1, ...; without it the labels are ``"0"``, ``"1"``, ...
        max_pixels: an archive of larger images is refused.

    Raises:
        UserError: damaged or foreign file, no such split, several labels per image, 3-D volumes, a label
            without a name.

    Example:
        >>> import tempfile, numpy as np
        >>> with tempfile.TemporaryDirectory() as root:
        ...     path = Path(root, "m.npz")
        ...     images = np.zeros((2, 28, 28), np.uint8)
        ...     np.savez(path, train_images=images, train_labels=np.array([[0], [1]]))
        ...     source = NpzSource(path, "train", class_names=["normal", "pneumonia"])
        ...     source.items[1].uid, source.items[1].label, source.read(1).pixels.shape
        ('train/000001', 'pneumonia', (28, 28, 1))
    """

    def __init__(
        self,
        path: str | Path,
        split: str | None = None,
        *,
        labeled: bool = True,
        class_names: Sequence[str] | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        reader = NpzShards(path, labeled=labeled, split=split, max_pixels=max_pixels)
        found = listed_archives(reader, class_names if labeled else None)
        super().__init__(found.path, found.items, max_pixels=max_pixels)
