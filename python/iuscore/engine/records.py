"""What a run keeps in its folder beside the scores: ``run.json``, read back and checked field by field."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from iuscore._run import records
from iuscore._run.regular_files import regular_only
from iuscore.errors import UserError
from iuscore.models import Space
from iuscore.models.record import Count

FORMAT: Literal[1] = 1
"""Of ``run.json``."""

ARITHMETIC = 2
"""Raised by a release whose numbers differ from those of the one before, so that no run holds both."""

MAX_SHARD_SIZE = 100_000
"""Images in a shard: its rows are in memory until it is done."""

Sha256 = Annotated[str, msgspec.Meta(pattern=records.SHA256)]
Bits = Annotated[int, msgspec.Meta(ge=8, le=16)]


@dataclass(frozen=True)
class RunIdentity:
    """What the rows of a run depend on. Batch size, workers and device are not among it.

    Attributes:
        arithmetic: `ARITHMETIC` of the version that began the run.
        model: `ModelRecord.identity`.
        space, target, precision, shard_size: as given, or chosen.
        group_by: pattern that finds groups; None: the images have none.
        map: label -> class, as given; None where nothing was.
        bits: the option ``--bits``.
        source: SHA-256 over the shards; empty before they are listed.
        format: of ``run.json``.
        unknown: what another version wrote besides.
    """

    model: Sha256
    space: Space
    target: str
    precision: Literal["exact", "fast"]
    shard_size: Annotated[int, msgspec.Meta(ge=1, le=MAX_SHARD_SIZE)]
    source: Sha256
    group_by: str | None = None
    map: dict[str, str] | None = None
    bits: Bits | None = None
    format: Literal[1] = FORMAT
    arithmetic: Count = ARITHMETIC
    unknown: dict[str, Any] = field(default_factory=dict, metadata=records.NOT_IN_JSON)

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``run.json``; runs of version 0.1 know nothing of optional fields that were not given."""
        return {**{key: value for key, value in records.to_json(self).items() if value is not None}, **self.unknown}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], where: str) -> RunIdentity:
        """Read what `to_json` returned."""
        known = {field.name for field in fields(cls)}
        found = records.from_json(cls, value, where)
        return replace(found, unknown={key: part for key, part in value.items() if key not in known})

    def sha256(self) -> str:
        """In hex, over all of it: the name of the run, which every part bears."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class RunRecord:
    """``run.json``: what a run is made of, and where from.

    Attributes:
        run: `RunIdentity.sha256` of ``identity``.
        images: where the images are; ``split``, ``column``, ``masks``, ``by_content`` and ``labels_from`` as given.
        model: the model folder; None of a model in memory.
        n_images, n_shards: how many there are.
    """

    NAME: ClassVar[str] = "run.json"

    run: Sha256
    identity: RunIdentity
    images: str
    n_images: Count
    n_shards: Count
    split: Literal["train", "val", "test"] | None = None
    column: str | None = None
    masks: str | None = None
    by_content: bool | None = None
    labels_from: Literal["folder", "prefix"] | None = None
    model: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As it stands in the file."""
        found = records.to_json(self) | {"identity": self.identity.to_json()}
        return {key: value for key, value in found.items() if value is not None}

    @classmethod
    def read(cls, path: Path) -> RunRecord | None:
        """Read the file; None where there is none.

        Raises:
            UserError: it cannot be read, or a field is not what it should be.
        """
        try:
            value = read_json(path)
            record = records.from_json(cls, value)
            return replace(record, identity=RunIdentity.from_json(value["identity"], "identity"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
        except ValueError as error:  # no JSON, or another record
            raise UserError(
                f"{path} is damaged, or of another version ({error}): give a new folder, or --overwrite"
            ) from None


def require_run(out: Path) -> RunRecord:
    """The record of the run in a folder.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    record = RunRecord.read(out / RunRecord.NAME)
    if record is None:
        raise UserError(f"{out} holds no run: give the --out folder of 'iuscore score'")
    return record


def read_json(path: Path) -> Any:
    """The JSON in a file.

    Raises:
        OSError: it cannot be read. ValueError: it holds something else, or far too much.
    """
    with open(path, "rb", opener=regular_only) as file:
        content = file.read(records.MAX_BYTES + 1)
    try:
        return records.parse_json(content)
    except ValueError as error:
        raise ValueError(f"expected JSON, got {' '.join(str(error).split())[:80]}") from None
