"""The columns of a finished run that a selection needs, read part by part: scores, values and views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from iuscore.engine.parts import FOLDER, finished, part_path, read_part
from iuscore.engine.records import RunRecord, require_run
from iuscore.errors import UserError
from iuscore.explain.select.order import Keys, Places, name_digests, rank_sum
from iuscore.explain.select.policies import Pool
from iuscore.explain.select.spread import Rows, joined_rows
from iuscore.explain.value.views import VIEWS, View
from iuscore.images.listing import counted
from iuscore.progress import Progress

if TYPE_CHECKING:
    import pyarrow as pa

VALUES_FOLDER, VIEWS_FOLDER = "values.parquet", "views.parquet"
"""Names of the folders beside that of the scores; their parts have the same names, and rows in the same order."""

SCORE_AGAIN = "fit a model with this version and score the images again with it"

_OTHER_IMAGES = "has other images than the part of the scores: run the same 'iuscore score' again"

Bytes: TypeAlias = "npt.NDArray[np.uint8]"


@dataclass(frozen=True, eq=False)
class RunColumns:
    """A run, and of each of its images what a selection needs: some 40 bytes.

    Attributes:
        folder: of the run. record: its record.
        parts: numbers of the finished parts, ascending. starts: int64 [parts + 1], the first row of each, then the end.
        pool: the images as columns, with values where the run has them.
        has_views: whether the run has the views of its images.
    """

    folder: Path
    record: RunRecord
    parts: tuple[int, ...]
    starts: Places
    pool: Pool
    has_views: bool

    def by_part(self, places: Places) -> Iterator[tuple[int, Places, Places]]:
        """(number of a part, rows in it, where these are in ``places``) of each part with some; rows ascend."""
        order = np.argsort(places, kind="stable")
        ascending = places[order]
        ends = np.searchsorted(ascending, self.starts)
        for i, part in enumerate(self.parts):
            mine = slice(ends[i], ends[i + 1])
            if mine.start < mine.stop:
                yield part, ascending[mine] - self.starts[i], order[mine]

    def part(self, folder: str, index: int, columns: list[str] | None = None) -> pa.Table:
        """Columns of a part in one of the folders; rows as in the part of the scores."""
        return read_part(_path(self.folder, folder, index), columns)

    def names(self, places: Places) -> pa.LargeStringArray:
        """The uids of images, in the order of ``places``."""
        import pyarrow as pa

        found, order = [], []
        for part, rows, where in self.by_part(places):
            texts = self.part(FOLDER, part, ["uid"]).column("uid").combine_chunks().take(pa.array(rows))
            found.append(texts.cast(pa.large_string()))
            order.append(where)
        back = np.empty(len(places), np.int64)
        back[np.concatenate(order)] = np.arange(len(places))
        return pa.chunked_array(found).combine_chunks().take(pa.array(back))

    def views(self, places: Places, views: Sequence[View]) -> dict[View, Rows]:
        """view -> float32 [n, d]: rows of images in the order of ``places``."""
        found: dict[View, Rows] = {}
        for part, rows, where in self.by_part(places):
            content = self._views(part, rows, places[where], views)
            for view in views:
                values = content[view].view("<f2")
                if view not in found:
                    found[view] = np.empty((len(places), values.shape[1]), np.float32)
                elif found[view].shape[1] != values.shape[1]:
                    raise UserError(
                        f"{self._views_path(part)}: {view}: expected {found[view].shape[1]} values, as in the parts "
                        f"before, got {values.shape[1]}: run the same 'iuscore score' again"
                    )
                found[view][where] = values
        return found

    def joined(self, places: Places) -> Rows:
        """Rows of images as `joined_rows` gives them."""
        rows = self.views(places, ("texture", "patch"))
        return joined_rows(rows["texture"], rows["patch"])

    def twins(self, progress: Progress) -> Keys:
        """`Pool.twins`, from the views of all images that have a near copy, or of all where copies are not known."""
        pool = self.pool
        asked = pool.readable & np.isfinite(pool.ius)
        if pool.copies is not None:
            asked &= pool.copies > 1
        found = np.zeros(len(pool), np.uint64)
        progress.start("comparing", len(self.parts), "part")
        for part, rows, where in self.by_part(places := np.flatnonzero(asked)):
            progress.advance(1)
            content = np.concatenate(list(self._views(part, rows, places[where], VIEWS).values()), axis=1)
            found[places[where]] = np.maximum(name_digests(map(bytes, content), len(content)), 1)
        progress.stop()
        return found

    def _views(self, part: int, rows: Places, places: Places, views: Sequence[View]) -> dict[View, Bytes]:
        """view -> uint8 [n, bytes of a row]: rows of one part, which are the images at ``places``."""
        import pyarrow as pa

        table, path = self.part(VIEWS_FOLDER, part, ["uid", *views]), self._views_path(part)
        with _foreign_as_user_error(path):
            taken = _uids(table).take(pa.array(rows[rows < len(table)]))
            same = len(taken) == len(rows) and not taken.null_count
            if not same or (name_digests(_texts(taken), len(rows)) != self.pool.digests[places]).any():
                raise UserError(f"{path} {_OTHER_IMAGES}")
            found = {}
            for view in views:
                column = table.column(view)
                if not column.is_valid().to_numpy()[rows].all():
                    raise UserError(
                        f"{path}: {view}: an image with a score has no row: run the same 'iuscore score' again"
                    )
                found[view] = _row_bytes(column, path)[rows]
            return found

    def _views_path(self, part: int) -> Path:
        return _path(self.folder, VIEWS_FOLDER, part)


def _path(folder: Path, name: str, index: int) -> Path:
    return folder / name / part_path(folder, index).name


def read_columns(folder: Path, progress: Progress) -> RunColumns:
    """Read what a selection needs of every image of a run.

    Raises:
        UserError: no run, no finished part, damaged parts, or parts of values or views that do not fit those of scores.
    """
    record = require_run(folder)
    has_values, has_views = ((folder / name).is_dir() for name in (VALUES_FOLDER, VIEWS_FOLDER))
    if not (folder / FOLDER).is_dir():
        raise UserError(f"{folder} holds no scores yet: run the same 'iuscore score' again")
    reading = _Columns(record.n_images, has_values)
    parts, starts = [], [0]
    progress.start("reading", record.n_shards, "part")
    for info in finished(folder, record.run, record.n_shards):
        progress.advance(1)
        path = part_path(folder, info.index)
        with _foreign_as_user_error(path):
            reading.add_scores(path)
        if has_values:
            with _foreign_as_user_error(values := _path(folder, VALUES_FOLDER, info.index)):
                reading.add_values(values)
        if has_views and not _path(folder, VIEWS_FOLDER, info.index).exists():
            raise UserError(_lacks(_path(folder, VIEWS_FOLDER, info.index)))
        reading.end_of_part()
        parts.append(info.index)
        starts.append(reading.n)
    progress.stop()
    if not reading.n:
        raise UserError(f"{folder} holds no scores yet: run the same 'iuscore score' again")
    return RunColumns(folder, record, tuple(parts), np.array(starts, np.int64), reading.pool(), has_views)


class _Columns:
    """Columns of a run, filled part by part: no list of parts is kept, so that nothing is in memory twice."""

    def __init__(self, n: int, has_values: bool) -> None:
        self.n = self.stop = 0
        self.classes: list[str] = []
        self._wanted: list[str] | None = None
        self.has_values = has_values
        self.digests = np.zeros(n, np.uint64)
        self.labels = np.zeros(n, np.int32)
        self.readable = np.zeros(n, bool)
        self.ius = np.full(n, np.nan, np.float32)
        self.confidence = np.full(n, np.nan, np.float32)
        size = n if has_values else 0
        self.shapley = {view: np.full(size, np.nan, np.float32) for view in ("texture", "patch")}
        self.copies = np.ones(size, np.int32)
        self.contradicted = np.zeros(size, bool)
        self.uids: Any = None

    def add_scores(self, path: Path) -> None:
        import pyarrow.compute as pc

        table = read_part(path, self._wanted)
        if self._wanted is None:
            prefix = "probability_"
            self.classes = [n.removeprefix(prefix) for n in table.column_names if n.startswith(prefix)]
            self._wanted = ["uid", "target", "ius", "error", *(prefix + name for name in self.classes)]
        n = len(table)
        if self.n + n > len(self.labels):
            raise UserError(f"{path} has more rows than the run has images: run the same 'iuscore score' again")
        self.stop = self.n + n
        here = slice(self.n, self.stop)
        self.uids = _uids(table)
        self.digests[here] = name_digests(_texts(self.uids), n)
        self.readable[here] = pc.is_null(table.column("error")).to_numpy(zero_copy_only=False)
        self.ius[here] = table.column("ius").to_numpy()
        targets = table.column("target").combine_chunks().dictionary_encode()
        names = targets.dictionary.to_pylist()
        if not all(isinstance(name, str) for name in names) or targets.null_count:
            raise ValueError("target: expected the name of a class in each row")
        self.classes += [name for name in names if name not in self.classes]
        numbers = np.array([self.classes.index(name) for name in names], np.int32)
        self.labels[here] = labels = numbers[targets.indices.to_numpy(zero_copy_only=False)]
        for k in np.unique(labels):
            column = f"probability_{self.classes[k]}"
            if column in table.column_names:
                values = table.column(column).to_numpy()
                self.confidence[here][labels == k] = values[labels == k]

    def add_values(self, path: Path) -> None:
        wanted = ["uid", "shapley_texture", "shapley_patch", "copies", "contradicted"]
        if not path.exists():
            raise UserError(_lacks(path))
        table = read_part(path, wanted)
        if missing := [name for name in wanted if name not in table.column_names]:
            raise UserError(f"{path} has no column {', '.join(missing)}: {SCORE_AGAIN}")
        if not _uids(table).equals(self.uids):
            raise UserError(f"{path} {_OTHER_IMAGES}")
        here = slice(self.n, self.stop)
        for view, values in self.shapley.items():
            values[here] = table.column(f"shapley_{view}").to_numpy()
        self.copies[here] = table.column("copies").fill_null(1).to_numpy()
        self.contradicted[here] = table.column("contradicted").fill_null(False).to_numpy()

    def end_of_part(self) -> None:
        self.n, self.uids = self.stop, None

    def pool(self) -> Pool:
        here = slice(0, self.n)
        value = rank_sum(self.shapley["texture"][here], self.shapley["patch"][here]) if self.has_values else None
        return Pool(
            classes=tuple(self.classes),
            labels=self.labels[here],
            digests=self.digests[here],
            readable=self.readable[here],
            ius=self.ius[here],
            confidence=self.confidence[here],
            value=value,
            copies=self.copies[here] if self.has_values else None,
            contradicted=self.contradicted[here] if self.has_values else None,
        )


@contextmanager
def _foreign_as_user_error(path: Path) -> Iterator[None]:
    """Columns that are missing or of another type, as one line."""
    import pyarrow as pa

    try:
        yield
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} has other columns than a run writes ({reason}): {SCORE_AGAIN}") from None


def _lacks(path: Path) -> str:
    return f"{path} is missing: run the same 'iuscore score' again"


def _uids(table: pa.Table) -> Any:
    import pyarrow as pa

    return table.column("uid").cast(pa.string()).combine_chunks()


def _texts(column: Any) -> Iterator[bytes]:
    """The values of a column of texts as bytes, without a Python text for each."""
    _, offsets, content = column.buffers()
    ends = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1].tolist()
    data = b"" if content is None else content.to_pybytes()
    return (data[start:end] for start, end in pairwise(ends))


def _row_bytes(column: Any, path: Path) -> Bytes:
    """The rows of a column of fixed-size binary values, uint8 [n, width]; of a null, anything."""
    import pyarrow as pa

    if not pa.types.is_fixed_size_binary(column.type) or column.type.byte_width % 2:
        raise UserError(f"{path}: expected rows of 16-bit floats, got {column.type}: {SCORE_AGAIN}")
    array, width = column.combine_chunks(), column.type.byte_width
    if not len(array):
        return np.zeros((0, width), np.uint8)
    values = np.frombuffer(array.buffers()[1], np.uint8)[array.offset * width :]
    return values[: len(array) * width].reshape(len(array), width)


def unfinished_note(columns: RunColumns) -> str | None:
    """What to say of a run that is not finished; None of a finished one."""
    n, listed = len(columns.pool), columns.record.n_images
    if n == listed:
        return None
    return (
        f"the run is not finished: chosen among {n} of {counted(listed, 'image')}; run the same 'iuscore score' again"
    )
