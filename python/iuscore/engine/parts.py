"""The rows of a shard: collected batch by batch, then written as one Parquet file in one atomic write (a part)."""

from __future__ import annotations

import base64
import hashlib
import heapq
import json
import os
import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
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
from iuscore.engine.views import ViewRows, views_content, views_path
from iuscore.errors import UserError
from iuscore.explain.value import ReferenceViews
from iuscore.features import MAX_NEIGHBORS
from iuscore.images import Sample
from iuscore.images.groups import GroupBy
from iuscore.models.record import Count
from iuscore.scoring import Scorer, Scores

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "scores.parquet"
"""Name of the folder with the parts ``part-000000.parquet``, ...; readers of Parquet open it as one table."""

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
    """The footer of a part, with its number of rows.

    Attributes:
        run: identity of the run that wrote the part.
        index: index of the shard.
        n: number of rows.
        unreadable: number of rows with an error.
        transient: indices of rows whose error the machine caused, such as a missing permission: worth another try.
        known: number of images that the model was made from, and number of rows for which this can be tested.
        content: SHA-256 of the rows, in hex.
        features: target -> features of its images; empty for a model without named features.
        views: SHA-256 of the rows of its file of views, in hex; None where the run has none.
    """

    run: str
    index: int
    n: int
    unreadable: int
    transient: tuple[int, ...]
    known: tuple[int, int]
    content: str
    features: dict[str, PartFeatures]
    views: str | None = None


@dataclass(frozen=True)
class PartFeatures:
    """Features of a part's images of one target.

    Attributes:
        n: number of images.
        total: sum of their features, float64 [F].
        kept: features of a sample of k images, float32 [k, F].
    """

    n: int
    total: Array
    kept: Array

    def to_record(self) -> FeaturesRecord:
        """The features in the notation of the footer."""
        return FeaturesRecord(self.n, _text(self.total, "<f8"), _text(self.kept, "<f4"), len(self.kept))

    @classmethod
    def of(cls, record: FeaturesRecord) -> PartFeatures:
        """Read what `to_record` returned.

        Raises:
            ValueError: the numbers are not finite, or their count does not fit the record.
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
    """The footer of a part in JSON.

    Attributes as of `PartInfo`; ``passing`` is its ``transient``. Version 0.1 wrote neither ``passing`` nor ``known``.
    """

    run: str
    index: Count
    unreadable: Count
    content: str
    features: dict[str, FeaturesRecord]
    passing: tuple[Count, ...] = ()
    known: tuple[Count, Count] = (0, 0)
    views: str | None = None


def _text(values: Array, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode()


def _array(text: str, dtype: str) -> Array:
    return np.frombuffer(base64.b64decode(text), dtype=dtype)


class PartRows:
    """The rows of one shard, filled in any order of batches.

    Args:
        scorer: the model, which gives the names of the columns.
        n: number of rows.
        sample: number of images, for each target, whose features are kept.
        group_by: finds the group of an image; None where the images have no groups.
        reference: real images, for the views; None where the run has none.
    """

    def __init__(
        self,
        scorer: Scorer,
        n: int,
        sample: int,
        group_by: GroupBy | None = None,
        reference: ReferenceViews | None = None,
    ) -> None:
        self.schema = table_schema(scorer, grouped=group_by is not None)
        self.group_by = group_by
        self.names = number_columns(scorer)
        self.numbers = np.full((n, len(self.names)), np.nan, dtype=np.float32)
        self.sizes = np.zeros((n, 2), dtype=np.int32)
        self.texts: dict[str, list[Any]] = {key: [None] * n for key in ("uid", "target", "group", "warnings", "error")}
        self.features = np.full((n, len(scorer.model.features)), np.nan, dtype=np.float32)
        self.sample = sample
        self.views = None if reference is None else ViewRows(reference, n)
        self.transient: set[int] = set()
        self.known = (0, 0)
        self.done = 0  # finished rows, counted by the caller

    def put(self, start: int, samples: Sequence[Sample], targets: Sequence[str], errors: Sequence[str | None]) -> None:
        """Fill the rows of decoded images, all columns but the scores; pixels are not needed."""
        end = start + len(samples)
        self.texts["uid"][start:end] = [sample.uid for sample in samples]
        self.texts["target"][start:end] = targets
        if self.group_by is not None:
            self.texts["group"][start:end] = [self.group_by.of(sample.uid) for sample in samples]
        self.texts["error"][start:end] = errors
        self.texts["warnings"][start:end] = ["; ".join(sample.warnings) for sample in samples]
        self.sizes[start:end] = [(sample.width, sample.height) for sample in samples]
        self.transient |= {start + i for i, sample in enumerate(samples) if sample.passing}

    def put_known(self, known: tuple[int, int]) -> None:
        """Add to the counts of `PartInfo.known`."""
        self.known = (self.known[0] + known[0], self.known[1] + known[1])

    def put_scores(self, rows: Sequence[int], scores: Scores) -> None:
        """Fill the scores of these rows; append the model's warnings to the warnings of the reader."""
        self.numbers[rows] = numbers_of(scores).cpu().numpy()
        if scores.features is not None:
            self.features[rows] = scores.features.cpu().numpy()
        warnings = self.texts["warnings"]
        for row, texts in zip(rows, scores.warnings, strict=True):
            if texts:
                warnings[row] = "; ".join((*([warnings[row]] if warnings[row] else []), *texts))

    def write(self, path: Path, run: str, index: int) -> PartInfo:
        """Write the part in one atomic write: into a hidden file, renamed when its content is on the disk.

        The file of views is written before it, so that a part without views is no part.

        Raises:
            OSError: no space, or no permission; no file is left behind.
        """
        import pyarrow.parquet as pq

        views = None
        if self.views is not None:
            path_of_views = views_path(path.parent.parent, index)
            views = self.views.write(path_of_views, run, index, self.texts["uid"], self.texts["target"])
        table = self._table()
        info = replace(self._info(table, run, index), views=views)
        features = {name: part.to_record() for name, part in info.features.items()}
        record = PartRecord(run, index, info.unreadable, info.content, features, info.transient, info.known, views)
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
                    # Evenly spaced: consecutive images may be frames of one video, nearly equal to each other.
                    chosen = np.linspace(0, len(values) - 1, min(self.sample, len(values))).astype(int)
                    features[name] = PartFeatures(len(values), values.sum(axis=0, dtype=np.float64), values[chosen])
        transient = tuple(sorted(self.transient))
        return PartInfo(run, index, len(self.numbers), unreadable, transient, self.known, content_of(table), features)


def sample_size(shards: int) -> int:
    """Number of images of each target whose features a part keeps: all parts together keep about 4 `MAX_NEIGHBORS`."""
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
    """The footer of a part; None where there is no such file, or the file is not a part."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open(path, "rb", opener=regular_only) as file:  # pyarrow takes no path that is not UTF-8
            footer = pq.read_metadata(file)
        record = records.from_json(PartRecord, records.parse_json((footer.metadata or {})[_KEY]))
        if record.unreadable > footer.num_rows:
            return None
        features = {name: PartFeatures.of(part) for name, part in record.features.items()}
        return PartInfo(record.run, record.index, footer.num_rows, record.unreadable, record.passing, record.known,
                        record.content, features, record.views)  # fmt: skip
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return None


def has_footer(path: Path) -> bool:
    """Whether a Parquet file has a footer of this package."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open(path, "rb", opener=regular_only) as file:
            return _KEY in (pq.read_metadata(file).metadata or {})
    except (OSError, ValueError, pa.ArrowException):
        return False


def read_part(path: Path, columns: list[str] | None = None) -> pa.Table:
    """The rows of a part.

    Raises:
        UserError: the part is damaged or gone.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # One thread: where several threads meet damage, pyarrow may abort the process. Not read_table, which imports
        # pyarrow.dataset.
        with open(path, "rb", opener=regular_only) as file:
            return pq.ParquetFile(file, pre_buffer=False).read(columns, use_threads=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is damaged ({reason}): remove it and run the same 'iuscore score' again") from error


def finished(out: Path, run: str, shards: int, skip: Container[int] = ()) -> Iterator[PartInfo]:
    """The finished parts of a run, in the order of the shards, without the shards in ``skip``."""
    present = {entry.name for entry in os.scandir(out / FOLDER)}
    for index in range(shards):
        path = part_path(out, index)
        if index not in skip and path.name in present:
            info = finished_part(out, run, index)
            if info is not None:
                yield info


def finished_part(out: Path, run: str, index: int) -> PartInfo | None:
    """The finished part of a shard of this run, with its views; None where there is none."""
    info = read_info(part_path(out, index))
    if info is None or (info.run, info.index) != (run, index):
        return None
    if info.views is not None and views_content(views_path(out, index), run, index) != info.views:
        return None
    return info


def foreign_files(folder: Path, parts: int, *, hidden: bool = True) -> list[str]:
    """Names of up to three files in the folder of parts that are not among the ``parts`` parts of the run.

    ``hidden`` includes names that begin with "." or "_", which readers of Parquet ignore.
    """
    if not (folder / FOLDER).is_dir():
        return []
    with os.scandir(folder / FOLDER) as entries:
        names = (entry.name for entry in entries if hidden or not entry.name.startswith((".", "_")))
        return heapq.nsmallest(3, (name for name in names if not _is_part(name, parts)))


def _is_part(name: str, parts: int) -> bool:
    """Whether ``name`` is the name of one of the first ``parts`` parts."""
    index = int(name[5:-8]) if NAME.fullmatch(name) and len(name) < 40 else parts
    return index < parts and name == part_path(Path(), index).name
