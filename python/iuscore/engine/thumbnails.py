"""Small pictures of some images of a run, read again from its source."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from iuscore.engine.records import require_run
from iuscore.engine.settings import FROM_FOLDER
from iuscore.errors import UserError
from iuscore.features.bytes import as_bytes
from iuscore.images import Item, Source, open_shards, read_item
from iuscore.images.thumbnail import png
from iuscore.ops._range import range_is_known

SIDE = 128
"""Longer side of a small picture, in pixels."""


def thumbnails(out: Path, uids: Collection[str], side: int = SIDE) -> dict[str, bytes]:
    """PNG of some images of a run.

    Args:
        out: folder of the run. uids: of its images. side: longer side of a picture.

    Returns:
        uid -> PNG; without those that cannot be read any more, and empty where the source is gone.
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
    wanted = set(uids)
    items = (item for shard in source.shards(identity.shard_size) for item in source.items(shard))
    return _pictures(items, wanted, side, source.max_pixels, source.bits)


def thumbnails_of(sources: Iterable[Source], uids: Collection[str], side: int = SIDE) -> dict[str, bytes]:
    """`thumbnails` of images of listed sources, such as the real ones."""
    found: dict[str, bytes] = {}
    for source in sources:
        found |= _pictures(iter(source.items), set(uids) - found.keys(), side, source.max_pixels, source.bits)
    return found


def _pictures(
    items: Iterable[Item], wanted: set[str], side: int, max_pixels: int, bits: int | None
) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for item in items:
        if len(found) == len(wanted):
            break
        if item.uid in wanted:
            pixels = read_item(item, max_pixels, bits).pixels
            if pixels is not None:
                with range_is_known():  # the range of the values does not matter for a small picture
                    found[item.uid] = png(as_bytes([pixels], "NHWC")[0][0].numpy(), side)
    return found
