"""Where pixels come from: the only reader of image files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from iuscore.errors import UserError
from iuscore.images.batches import BATCH_BYTES, batched, iter_batches, map_ahead
from iuscore.images.decode import decode, decoders, from_pil
from iuscore.images.decoded import MAX_PIXELS, Decoded, UnreadableImage, checked_bits
from iuscore.images.folder import FolderSource, LabelsFrom
from iuscore.images.labels import ClassNames, renamed
from iuscore.images.marks import KnownImages, mark_of
from iuscore.images.masks import MaskedShards, MaskFolder, with_masks
from iuscore.images.medmnist import NpzSource
from iuscore.images.sample import Item, Sample, Source, Stored, StoredArray, StoredFile, read_item
from iuscore.images.shards import Shard, ShardedSource, open_shards
from iuscore.images.split import Leak, Split, find_explicit_splits, leakage, split_folder, split_source, with_groups

__all__ = [
    "BATCH_BYTES",
    "MAX_PIXELS",
    "ClassNames",
    "Decoded",
    "FolderSource",
    "Item",
    "KnownImages",
    "LabelsFrom",
    "Leak",
    "MaskFolder",
    "MaskedShards",
    "NpzSource",
    "Sample",
    "Shard",
    "ShardedSource",
    "Source",
    "Split",
    "Stored",
    "StoredArray",
    "StoredFile",
    "UnreadableImage",
    "batched",
    "decode",
    "decoders",
    "find_explicit_splits",
    "fingerprint",
    "from_pil",
    "iter_batches",
    "leakage",
    "map_ahead",
    "mark_of",
    "open_shards",
    "open_source",
    "read_item",
    "split_source",
    "with_groups",
    "with_masks",
]


def open_source(
    path: str | Path,
    *,
    labels_from: LabelsFrom | None = None,
    classes: Sequence[str] | None = None,
    split: str | None = None,
    group_by: str | None = None,
    class_map: Mapping[str, str] | None = None,
    max_pixels: int = MAX_PIXELS,
    bits: int | None = None,
    by_content: bool = False,
) -> Source:
    """List the images of a folder, one image file or a MedMNIST archive; nothing is decoded yet.

    Args:
        path: folder, image file or .npz file.
        labels_from: see ``FolderSource``; None for images without classes, such as a generated set that is
            scored as a whole. An .npz brings its own labels: None ignores them, all else takes them.
        classes: folders and prefixes: classes to take. An .npz: name of label 0, 1, ...
        split: ``"train"``, ``"val"`` or ``"test"``: that part only, of an .npz or of a folder with folders
            of these names.
        group_by: regular expression that finds the group (a patient, a video) in the file name.
        class_map: label -> class, such as {"0": "benign"}, or several labels to one class; labels that are not in it
            are classes themselves. ``classes`` are then those to take.
        max_pixels: larger images are refused when read, from their header.
        bits: depth of the values in 16-bit files and arrays, see `decode`.
        by_content: files of any name in folders are images if they begin as one.

    Returns:
        A source sorted by uid.

    Raises:
        UserError: one line that says what is wrong with the path, its files, its classes or its groups.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     _ = Path(root, "a.pgm").write_bytes(b"P5 2 1 255 " + bytes([0, 200]))
        ...     [(sample.uid, sample.pixels.shape) for sample in open_source(root)]
        [('a.pgm', (1, 2, 1))]
    """
    path = Path(path)
    if labels_from is None and classes is not None:
        raise UserError("classes: they need labels_from='auto', 'folder' or 'prefix'")
    checked_bits(bits)
    if class_map:
        if labels_from is None:
            raise UserError("class_map: it needs labels_from='auto', 'folder' or 'prefix'")
        plain = open_source(
            path, labels_from=labels_from, split=split, group_by=group_by, max_pixels=max_pixels, bits=bits,
            by_content=by_content,
        )  # fmt: skip
        return renamed(plain, class_map, classes)
    source: Source
    if path.suffix.lower() == ".npz" and not path.is_dir():
        if by_content:
            raise UserError(f"by_content: expected a folder or an image file, got {path}: leave it out")
        source = NpzSource(path, split, labeled=labels_from is not None, class_names=classes, max_pixels=max_pixels)
    else:
        if split is not None:
            path = split_folder(path, split)
        source = FolderSource(
            path, labels_from=labels_from, classes=classes, max_pixels=max_pixels, by_content=by_content
        )
    source.bits = bits
    return source if group_by is None else with_groups(source, group_by)


def fingerprint(source: Source) -> str:
    """SHA-256 in hex over uid, label and content of every image and mask, in uid order: the same data, the same text.

    The folder's own name and place, file dates and the order of the items do not enter.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     _ = Path(root, "a.pgm").write_bytes(b"P5 1 1 255 0")
        ...     fingerprint(open_source(root))[:8]
        'a54a2c6b'
    """
    total = hashlib.sha256()
    for item in sorted(source.items, key=lambda item: item.uid):
        # JSON keeps the three texts apart whatever characters they hold.
        mask = [] if item.mask is None else [item.mask.digest()]
        total.update(json.dumps([item.uid, item.label, item.stored.digest(), *mask]).encode() + b"\n")
    return total.hexdigest()
