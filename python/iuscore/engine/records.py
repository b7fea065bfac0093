"""``run.json``, the record of a run in its folder, checked field by field when it is read."""

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
"""Format number of ``run.json``."""

ARITHMETIC = 2
"""Number of the arithmetic. A release that changes scores increases it, so that one run never mixes both."""

MAX_SHARD_SIZE = 100_000
"""Most images in a shard: all its rows are in memory until the shard is written."""

Sha256 = Annotated[str, msgspec.Meta(pattern=records.SHA256)]
Bits = Annotated[int, msgspec.Meta(ge=8, le=16)]


@dataclass(frozen=True)
class RunIdentity:
    """What the rows of a run depend on; batch size, workers and device are left out.

    Attributes:
        arithmetic: `ARITHMETIC` of the version that began the run.
        model: `ModelRecord.identity`.
        space, target, precision, shard_size: as given, or the default.
        group_by: pattern that finds groups; None where the images have no groups.
        map: label -> class, as given; None if not given.
        bits: the option ``--bits``.
        reference: SHA-256 of the reference that views are taken with; None without views.
        source: SHA-256 over the shards; empty before they are listed.
        format: format number of ``run.json``.
        unknown: fields of the file that this version does not know.
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
    reference: Sha256 | None = None
    format: Literal[1] = FORMAT
    arithmetic: Count = ARITHMETIC
    unknown: dict[str, Any] = field(default_factory=dict, metadata=records.NOT_IN_JSON)

    def to_json(self) -> dict[str, Any]:
        """The fields in ``run.json``. A field that is None is left out: runs of version 0.1 lack these fields."""
        return {**{key: value for key, value in records.to_json(self).items() if value is not None}, **self.unknown}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], where: str) -> RunIdentity:
        """Read what `to_json` returned."""
        known = {field.name for field in fields(cls)}
        found = records.from_json(cls, value, where)
        return replace(found, unknown={key: part for key, part in value.items() if key not in known})

    def sha256(self) -> str:
        """SHA-256 over all fields, in hex: the name of the run, which the footer of every part repeats."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class RunRecord:
    """``run.json``: the identity of a run, and the paths of its inputs.

    Attributes:
        run: `RunIdentity.sha256` of ``identity``.
        images: path of the images; ``split``, ``column``, ``masks``, ``by_content`` and ``labels_from`` as given.
        model: the model folder; None for a model that was not loaded from a folder.
        n_images, n_shards: number of images and of shards.
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
        """The content of the file."""
        found = records.to_json(self) | {"identity": self.identity.to_json()}
        return {key: value for key, value in found.items() if value is not None}

    @classmethod
    def read(cls, path: Path) -> RunRecord | None:
        """Read the file; None where there is none.

        Raises:
            UserError: the file cannot be read, or a field has another type or value than expected.
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
        UserError: there is no record, or it cannot be read.
    """
    record = RunRecord.read(out / RunRecord.NAME)
    if record is None:
        raise UserError(f"{out} holds no run: give the --out folder of 'iuscore score'")
    return record


def read_json(path: Path) -> Any:
    """The JSON in a file.

    Raises:
        OSError: the file cannot be read. ValueError: it is not JSON, or too large.
    """
    with open(path, "rb", opener=regular_only) as file:
        content = file.read(records.MAX_BYTES + 1)
    try:
        return records.parse_json(content)
    except ValueError as error:
        raise ValueError(f"expected JSON, got {' '.join(str(error).split())[:80]}") from None
