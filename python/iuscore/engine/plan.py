"""The plan of a run: its shards, one line of JSON each, in a file beside the results."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

from iuscore._run.files import atomic_write
from iuscore._run.records import parse_json
from iuscore._run.regular_files import regular_only
from iuscore.errors import UserError
from iuscore.images import Shard, ShardedSource

LONGEST_LINE = 1 << 30
"""Most bytes of one shard's line; a shard of 100,000 images with long names takes about 30 MB."""


@dataclass(frozen=True)
class Plan:
    """The shards of a run, read from ``plan.jsonl`` one at a time.

    Attributes:
        path: path of the file.
        offsets: byte offset of each shard's line.
        checks: CRC-32 of each line, which detects a change by another program.
        images: number of images.
        signature: SHA-256 in hex over the signatures of all shards.
    """

    path: Path
    offsets: array[int] = field(repr=False)
    checks: array[int] = field(repr=False)
    images: int
    signature: str

    def __len__(self) -> int:
        return len(self.offsets)

    def shard(self, index: int) -> Shard:
        """One shard.

        Raises:
            UserError: the file was changed or removed.
        """
        try:
            with open(self.path, "rb", opener=regular_only) as file:
                file.seek(self.offsets[index])
                end = self.offsets[index + 1] if index + 1 < len(self) else self.path.stat().st_size
                line = file.read(max(0, min(end - self.offsets[index], LONGEST_LINE)))
        except OSError:
            line = b""
        if crc32(line) != self.checks[index] or not line:
            raise UserError(f"{self.path} is gone or was changed by another command: run this one again")
        return Shard.from_json(json.loads(line))


def first_shard(path: Path) -> Shard | None:
    """The shard in the first line of a file; None if the file cannot be read or holds something else."""
    try:
        with open(path, "rb", opener=regular_only) as file:
            return Shard.from_json(parse_json(file.readline(LONGEST_LINE)))
    except (OSError, AttributeError, ValueError):
        return None


def make_plan(
    source: ShardedSource,
    size: int,
    path: Path,
    *,
    check: Callable[[Shard], None] = lambda shard: None,
    accept: Callable[[Plan], None] = lambda plan: None,
) -> Plan:
    """List the images of a source, and write the shards to a file.

    Memory grows by 12 bytes per shard only. Several processes may list one source at the same time: each writes the
    same content, in one atomic write.

    Args:
        source: the images.
        size: most images per shard.
        path: file to write; an existing one is replaced.
        check: called with every shard; may raise.
        accept: called with the whole plan before the file is renamed to ``path``; may raise.

    Raises:
        UserError: raised by the source, ``check`` or ``accept``.
    """
    total, offsets, checks, images = hashlib.sha256(), array("q"), array("I"), 0
    with atomic_write(path) as file:
        for shard in source.shards(size):
            check(shard)
            offsets.append(file.tell())
            images += shard.n
            total.update(f"{shard.index} {shard.n} {shard.signature}\n".encode())
            line = json.dumps(shard.to_json()).encode() + b"\n"
            checks.append(crc32(line))
            file.write(line)
        plan = Plan(path, offsets, checks, images, total.hexdigest())
        accept(plan)
    return plan
