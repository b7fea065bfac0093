"""The rows of a shard: gathered batch by batch, written as one Parquet file that is there as a whole or not at all."""

from __future__ import annotations

import base64
import hashlib
import heapq
import json
import os
import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from iuscore._run import records
from iuscore._run.files import atomic_write
from iuscore._run.regular_files import regular_only
from iuscore.errors import UserError
from iuscore.features import MAX_NEIGHBORS
from iuscore.images import Sample
from iuscore.images.groups import GroupBy
from iuscore.models.record import Count
from iuscore.scoring import Scorer, Scores

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "scores.parquet"
"""A folder of this name with ``part-000000.parquet``, ... inside: what readers of Parquet open as one table."""

NAME = re.compile(r"part-\d{6,}\.parquet")
_KEY = b"iuscore"
Array = npt.NDArray[np.floating[Any]]


def part_path(out: Path, index: int) -> Path:
    """File of a shard's rows."""
    return out / FOLDER / f"part-{index:06d}.parquet"


def number_columns(scorer: Scorer) -> list[str]:
    """Names of the float32 columns."""
    names = ["ius"] + (["ius_sd"] if len(scorer.model.members) > 1 else [])
    names += [f"contribution_{n}" for n in scorer.components] + [f"share_{n}" for n in scorer.components]
    return names + [f"probability_{n}" for n in scorer.classes]


def numbers_of(scores: Scores) -> Tensor:
    """[B, columns], the columns as in `number_columns`."""
    spread = [] if scores.ius_sd is None else [scores.ius_sd[:, None]]
    return torch.cat([scores.ius[:, None], *spread, scores.contributions, scores.shares, scores.probabilities], dim=1)


def table_schema(scorer: Scorer, *, grouped: bool = False) -> pa.Schema:
    """Columns of the table, in order; ``grouped`` where the images have groups."""
    import pyarrow as pa

    fields = [("uid", pa.string()), ("target", pa.string()), *([("group", pa.string())] if grouped else [])]
    fields += [(name, pa.float32()) for name in number_columns(scorer)]
    fields += [("width", pa.int32()), ("height", pa.int32()), ("warnings", pa.string()), ("error", pa.string())]
    return pa.schema(fields)


@dataclass(frozen=True)
class PartInfo:
    """What the footer of a part says.

    Attributes:
        run: identity of the run that wrote it.
        index: of the shard.
        n: number of rows.
        unreadable: rows with an error.
        passing: places of those whose reason lies in the machine, such as a lack of rights: they are worth another try.
        known: images that the model was made from, and of how many rows this can be said.
        content: SHA-256 in hex of the rows.
        features: by target, of a model that has named ones.
    """

    run: str
    index: int
    n: int
    unreadable: int
    passing: tuple[int, ...]
    known: tuple[int, int]
    content: str
    features: dict[str, PartFeatures]


@dataclass(frozen=True)
class PartFeatures:
    """Number and sum of features [F] (float64) over a part's images of one target, and some images [k, F] (float32)."""

    n: int
    total: Array
    kept: Array

    def to_record(self) -> FeaturesRecord:
        """As they stand in the footer."""
        return FeaturesRecord(self.n, _text(self.total, "<f8"), _text(self.kept, "<f4"), len(self.kept))

    @classmethod
    def of(cls, record: FeaturesRecord) -> PartFeatures:
        """Read what `to_record` returned.

        Raises:
            ValueError: it holds other numbers than it says.
        """
        total = _array(record.total, "<f8")
        if not np.isfinite(total).all():
            raise ValueError("total")
        return cls(record.n, total, _array(record.kept, "<f4").reshape(record.rows, len(total)))


@dataclass(frozen=True)
class FeaturesRecord:
    """`PartFeatures` in JSON; the numbers are base64 of little-endian bytes."""

    n: Annotated[int, msgspec.Meta(ge=1, le=2**31)]
    total: str
    kept: str
    rows: Count


@dataclass(frozen=True)
class PartRecord:
    """The footer of a part; attributes as of `PartInfo`. Version 0.1 wrote neither ``passing`` nor ``known``."""

    run: str
    index: Count
    unreadable: Count
    content: str
    features: dict[str, FeaturesRecord]
    passing: tuple[Count, ...] = ()
    known: tuple[Count, Count] = (0, 0)


def _text(values: Array, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode()


def _array(text: str, dtype: str) -> Array:
    return np.frombuffer(base64.b64decode(text), dtype=dtype)


class PartRows:
    """The rows of one shard, filled in any order of batches.

    Args:
        scorer: names the columns.
        n: rows.
        sample: images, of each target, whose features are kept.
        group_by: finds their groups; None: they have none.
    """

    def __init__(self, scorer: Scorer, n: int, sample: int, group_by: GroupBy | None = None) -> None:
        self.schema = table_schema(scorer, grouped=group_by is not None)
        self.group_by = group_by
        self.names = number_columns(scorer)
        self.numbers = np.full((n, len(self.names)), np.nan, dtype=np.float32)
        self.sizes = np.zeros((n, 2), dtype=np.int32)
        self.texts: dict[str, list[Any]] = {key: [None] * n for key in ("uid", "target", "group", "warnings", "error")}
        self.features = np.full((n, len(scorer.model.features)), np.nan, dtype=np.float32)
        self.sample = sample
        self.passing: set[int] = set()
        self.known = (0, 0)
        self.done = 0  # rows whose scores are there, counted by whoever puts them in

    def put(self, start: int, samples: Sequence[Sample], targets: Sequence[str], errors: Sequence[str | None]) -> None:
        """Rows of decoded images (their pixels are not looked at), without scores."""
        end = start + len(samples)
        self.texts["uid"][start:end] = [sample.uid for sample in samples]
        self.texts["target"][start:end] = targets
        if self.group_by is not None:
            self.texts["group"][start:end] = [self.group_by.of(sample.uid) for sample in samples]
        self.texts["error"][start:end] = errors
        self.texts["warnings"][start:end] = ["; ".join(sample.warnings) for sample in samples]
        self.sizes[start:end] = [(sample.width, sample.height) for sample in samples]
        self.passing |= {start + i for i, sample in enumerate(samples) if sample.passing}

    def put_known(self, known: tuple[int, int]) -> None:
        """Add to the images that the model was made from, and to those of which this can be said."""
        self.known = (self.known[0] + known[0], self.known[1] + known[1])

    def put_scores(self, rows: Sequence[int], scores: Scores) -> None:
        """Scores of the images in these rows; warnings of the model are added to those of the file."""
        self.numbers[rows] = numbers_of(scores).cpu().numpy()
        if scores.features is not None:
            self.features[rows] = scores.features.cpu().numpy()
        said = self.texts["warnings"]
        for row, texts in zip(rows, scores.warnings, strict=True):
            if texts:
                said[row] = "; ".join((*([said[row]] if said[row] else []), *texts))

    def write(self, path: Path, run: str, index: int) -> PartInfo:
        """Write the part: a hidden file first, renamed when it is on the disk.

        Raises:
            OSError: no space, no permission; no file is left behind.
        """
        import pyarrow.parquet as pq

        table = self._table()
        info = self._info(table, run, index)
        features = {name: part.to_record() for name, part in info.features.items()}
        record = PartRecord(run, index, info.unreadable, info.content, features, info.passing, info.known)
        with atomic_write(path) as file:
            pq.write_table(table.replace_schema_metadata({_KEY: json.dumps(records.to_json(record))}), file)
        return info

    def _table(self) -> pa.Table:
        import pyarrow as pa

        missing = np.array([error is not None for error in self.texts["error"]], dtype=bool)
        columns: dict[str, Any] = {"uid": self.texts["uid"], "target": self.texts["target"]}
        if self.group_by is not None:
            columns["group"] = self.texts["group"]
        for i, name in enumerate(self.names):
            columns[name] = pa.array(self.numbers[:, i], mask=missing)
        columns |= {"width": self.sizes[:, 0], "height": self.sizes[:, 1]}
        columns |= {"warnings": self.texts["warnings"], "error": self.texts["error"]}
        return pa.table(columns, schema=self.schema)

    def _info(self, table: pa.Table, run: str, index: int) -> PartInfo:
        unreadable = sum(error is not None for error in self.texts["error"])
        features = {}
        targets = np.array(self.texts["target"])
        if self.features.shape[1]:
            usable = np.isfinite(self.features).all(axis=1)
            for name in dict.fromkeys(self.texts["target"]):
                values = self.features[usable & (targets == name)]
                if len(values):
                    # Evenly, so that neighbors in a list of frames are not the ones kept.
                    chosen = np.linspace(0, len(values) - 1, min(self.sample, len(values))).astype(int)
                    features[name] = PartFeatures(len(values), values.sum(axis=0, dtype=np.float64), values[chosen])
        passing = tuple(sorted(self.passing))
        return PartInfo(run, index, len(self.numbers), unreadable, passing, self.known, content_of(table), features)


def sample_size(shards: int) -> int:
    """Images of each target whose features a part keeps, so that all parts together keep some times `MAX_NEIGHBORS`."""
    return min(MAX_NEIGHBORS, -(-4 * MAX_NEIGHBORS // max(shards, 1)))


def content_of(table: pa.Table) -> str:
    """SHA-256 in hex over all values of a table, column by column."""
    total = hashlib.sha256()
    for name in table.column_names:
        column = table.column(name)
        total.update(f"\n{name} {column.type} {len(column)}\n".encode())
        if str(column.type) == "string":
            total.update(json.dumps(column.to_pylist()).encode())
        else:
            values = column.to_numpy()
            total.update(np.isnan(values).tobytes() + np.nan_to_num(values).tobytes())
    return total.hexdigest()


def read_info(path: Path) -> PartInfo | None:
    """What a part's footer says; None where there is no such file, or none of this library's."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open(path, "rb", opener=regular_only) as file:  # a path that is not UTF-8 cannot be given
            footer = pq.read_metadata(file)
        record = records.from_json(PartRecord, records.parse_json((footer.metadata or {})[_KEY]))
        if record.unreadable > footer.num_rows:
            return None
        features = {name: PartFeatures.of(part) for name, part in record.features.items()}
        return PartInfo(record.run, record.index, footer.num_rows, record.unreadable, record.passing, record.known,
                        record.content, features)  # fmt: skip
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return None


def read_part(path: Path, columns: list[str] | None = None) -> pa.Table:
    """The rows of a part.

    Raises:
        UserError: they are damaged, or the part is gone.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # One thread: of several that find damage, one may end the process. Not read_table: it imports the datasets.
        with open(path, "rb", opener=regular_only) as file:
            return pq.ParquetFile(file, pre_buffer=False).read(columns, use_threads=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        said = " ".join(str(error).split())
        raise UserError(f"{path} is damaged ({said}): remove it and run the same 'iuscore score' again") from error


def finished(out: Path, run: str, shards: int, skip: Container[int] = ()) -> Iterator[PartInfo]:
    """The parts of a run that are there, in the order of their shards, but for those to skip."""
    present = {entry.name for entry in os.scandir(out / FOLDER)}
    for index in range(shards):
        path = part_path(out, index)
        if index not in skip and path.name in present:
            info = read_info(path)
            if info is not None and (info.run, info.index) == (run, index):
                yield info


def strangers(folder: Path, parts: int, *, hidden: bool = True) -> list[str]:
    """Up to three files in the folder of parts that are none of a run of so many; readers pass ``hidden`` ones over."""
    if not (folder / FOLDER).is_dir():
        return []
    with os.scandir(folder / FOLDER) as entries:
        names = (entry.name for entry in entries if hidden or not entry.name.startswith((".", "_")))
        return heapq.nsmallest(3, (name for name in names if not _is_part(name, parts)))


def _is_part(name: str, parts: int) -> bool:
    """Whether a file has the name of one of so many parts."""
    index = int(name[5:-8]) if NAME.fullmatch(name) and len(name) < 40 else parts
    return index < parts and name == part_path(Path(), index).name
