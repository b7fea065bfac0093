"""Where pixels come from: the only reader of image files."""

from iuscore.images.batches import BATCH_BYTES, batched, iter_batches, map_ahead
from iuscore.images.decode import decode, decoders, from_pil
from iuscore.images.decoded import MAX_PIXELS, Decoded, UnreadableImage
from iuscore.images.labels import ClassNames
from iuscore.images.marks import KnownImages, fingerprint, mark_of
from iuscore.images.masks import MaskedShards, MaskFolder, with_masks
from iuscore.images.sample import Item, Sample, Source, Stored, StoredArray, StoredFile, read_item
from iuscore.images.sources.base import LabelsFrom, Shard, ShardedSource
from iuscore.images.sources.class_folders import FolderSource
from iuscore.images.sources.listed import NpzSource
from iuscore.images.sources.open import open_shards, open_source
from iuscore.images.split import Leak, Split, find_explicit_splits, leakage, split_source, with_groups

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
