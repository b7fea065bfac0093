"""Some images of a run, read again from its source: their pixels, or small pictures."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy.typing as npt

from iuscore.engine.records import require_run
from iuscore.engine.settings import FROM_FOLDER
from iuscore.errors import UserError
from iuscore.features.bytes import as_bytes
from iuscore.images import Item, Source, open_shards, read_item
from iuscore.images.thumbnail import png
from iuscore.ops._range import range_is_known

SIDE = 128
"""Longer side of a small picture, in pixels."""

Pixels = npt.NDArray[Any]


def read_again(out: Path, uids: Collection[str]) -> dict[str, Pixels]:
    """Pixels of some images of a run.

    Args:
        out: folder of the run. uids: of its images.

    Returns:
        uid -> [H, W, C]; without those that cannot be read any more, and empty where the source is gone.
    """
    record = require_run(out)
    identity = record.identity
    try:
        source = open_shards(
            Path(record.images), labeled=identity.target == FROM_FOLDER, split=record.split, column=record.column,
            bits=identity.bits, by_content=bool(record.by_content), labels_from=record.labels_from or "folder",
        )  # fmt: skip
    except UserError:
        return {}
    items = (item for shard in source.shards(identity.shard_size) for item in source.items(shard))
    return _read(items, set(uids), source.max_pixels, source.bits)


def thumbnails(out: Path, uids: Collection[str], side: int = SIDE) -> dict[str, bytes]:
    """PNG of some images of a run, with a longer side of at most ``side``; as `read_again` finds them."""
    return {uid: _small(pixels, side) for uid, pixels in read_again(out, uids).items()}


def thumbnails_of(sources: Iterable[Source], uids: Collection[str], side: int = SIDE) -> dict[str, bytes]:
    """`thumbnails` of images of listed sources, such as the real ones."""
    found: dict[str, bytes] = {}
    for source in sources:
        read = _read(iter(source.items), set(uids) - found.keys(), source.max_pixels, source.bits)
        found |= {uid: _small(pixels, side) for uid, pixels in read.items()}
    return found


def _read(items: Iterable[Item], wanted: set[str], max_pixels: int, bits: int | None) -> dict[str, Pixels]:
    found: dict[str, Pixels] = {}
    for item in items:
        if len(found) == len(wanted):
            break
        if item.uid in wanted and (pixels := read_item(item, max_pixels, bits).pixels) is not None:
            found[item.uid] = pixels
    return found


def _small(pixels: Pixels, side: int) -> bytes:
    with range_is_known():  # the range of the values does not matter for a small picture
        return png(as_bytes([pixels], "NHWC")[0][0].numpy(), side)
