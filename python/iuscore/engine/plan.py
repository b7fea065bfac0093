"""Which images a run is made of: shards, one line each, in a file beside the results."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from iuscore.errors import UserError
from iuscore.images import Shard, ShardedSource
from iuscore.runs import replacing


@dataclass(frozen=True)
class Plan:
    """The shards of a run, read from ``plan.jsonl`` one at a time.

    Attributes:
        path: of the file.
        offsets: where the line of each shard begins; its length is the number of shards.
        images: number of images.
        signature: SHA-256 in hex over the signatures of all shards.
    """

    path: Path
    offsets: array[int] = field(repr=False)
    images: int
    signature: str

    def __len__(self) -> int:
        return len(self.offsets)

    def shard(self, index: int) -> Shard:
        """One shard.

        Raises:
            UserError: the file is not what it was.
        """
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offsets[index])
                return Shard.from_json(json.loads(file.readline()))
        except (OSError, ValueError, AttributeError) as error:
            raise UserError(f"{self.path} is gone or was changed by another command: run this one again") from error


def make_plan(
    source: ShardedSource,
    size: int,
    path: Path,
    *,
    check: Callable[[Shard], None] = lambda shard: None,
    accept: Callable[[Plan], None] = lambda plan: None,
) -> Plan:
    """List a source into a file.

    Memory grows by 8 bytes a shard only. Processes that list the same source at the same time write the same file.

    Args:
        source: what to list.
        size: images a shard, at most.
        path: file to write; one that is there is replaced as a whole.
        check: called with every shard; may raise.
        accept: called with the whole plan before the file takes its place; may raise.

    Raises:
        UserError: what the source, ``check`` or ``accept`` says.
    """
    total, offsets, images = hashlib.sha256(), array("q"), 0
    with replacing(path) as file:
        for shard in source.shards(size):
            check(shard)
            offsets.append(file.tell())
            images += shard.n
            total.update(f"{shard.index} {shard.n} {shard.signature}\n".encode())
            file.write(json.dumps(shard.to_json()).encode() + b"\n")
        plan = Plan(path, offsets, images, total.hexdigest())
        accept(plan)
    return plan
